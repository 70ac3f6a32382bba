/**
 * The consumer's cron (workers/consumer/worker.ts, scheduled): wake the ledger, check the table, reconcile. It rings
 * each minute while there is something to do, and rarely while nothing is, so that days cost little.
 */
import { BrokenInvariant } from "../../../shared/assert.ts";
import type { Process } from "./clock.ts";
import { pause } from "./consumer.ts";
import { readTable } from "./perform.ts";
import { reconcile } from "./reconciler.ts";
import type { World } from "./world.ts";

const MINUTE_MS = 60_000;
const busyMaxMs = 60 * MINUTE_MS;
const restMaxMs = 360 * MINUTE_MS;

export class Cron {
  readonly #world: World;
  #waitMs = MINUTE_MS;
  #isOver = false;
  #turn = 0;

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    this.#schedule();
  }

  /** A tick before the first: what `npm run dev` does when it starts (decision 0005). */
  runNow(): void {
    this.#world.clock.start(this.#run());
  }

  stop(): void {
    this.#isOver = true;
  }

  /** Something came: minutes count again. */
  isWanted(): void {
    if (this.#waitMs > MINUTE_MS) {
      this.#waitMs = MINUTE_MS;
      this.#schedule();
    }
  }

  #schedule(): void {
    const turn = ++this.#turn;
    this.#world.clock.after(this.#waitMs, () => {
      if (turn === this.#turn && !this.#isOver) {
        this.#ring();
      }
    });
  }

  #run(): Process {
    return this.#world.profile.isCronSpared ? spared(this.#world, run(this.#world)) : run(this.#world);
  }

  #ring(): void {
    const world = this.#world;
    const { fate, clock } = world;
    if (!fate.strikes("cron skipped")) {
      const dies = () => fate.strikes("cron dies");
      clock.start(this.#run(), dies);
      if (fate.strikes("cron doubled")) {
        clock.start(this.#run(), dies);
      }
    }
    this.#waitMs = world.isBusy()
      ? Math.min(this.#waitMs * 1.25, busyMaxMs)
      : Math.min(this.#waitMs * 2, restMaxMs);
    this.#schedule();
  }
}

/** Nothing strikes while this process goes a step. */
function* spared({ fate }: World, process: Process): Process {
  for (;;) {
    const wasCalm = fate.isCalm;
    fate.isCalm = true;
    const step = process.next();
    fate.isCalm = wasCalm;
    if (step.done === true) {
      return;
    }
    yield step.value;
  }
}

function* run(world: World): Process {
  try {
    world.ledger.wake();
    yield* pause(world);
    yield* checkTable(world);
    yield* reconcile(world);
  } catch (error) {
    if (error instanceof BrokenInvariant || error instanceof TypeError) {
      throw error;
    }
    // ClickHouse, R2 or the ledger could not be asked: the next run does it.
  }
}

/** workers/consumer/check-traces.ts */
function* checkTable(world: World): Process {
  const { refusal, measure } = world.askTable("table check", () => readTable(world));
  yield* pause(world);
  world.ledger.call({ kind: "table", table: { refusal, measure } });
}
