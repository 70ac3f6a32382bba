/**
 * The consumer's cron: the product's own tick (shared/reconcile/tick.ts), its effects performed over this world. It rings
 * each minute while there is something to do, and rarely while nothing is, so that days cost little.
 */
import { type Answered, EffectFailed, failure } from "../../../shared/effect.ts";
import { subrequestsOf } from "../../../shared/reconcile/budget.ts";
import type { CronEffects } from "../../../shared/reconcile/effects.ts";
import { tick } from "../../../shared/reconcile/tick.ts";
import { resumeAsked } from "./asked-erasures.ts";
import type { Process } from "./clock.ts";
import { pauseMs } from "./consumer.ts";
import { loseSomething } from "./incidents.ts";
import { cronPerformer, reconcileSettingsOf, type Tick } from "./perform-tick.ts";
import { Invocation, isWorldFailure, Unanswered, type World } from "./world.ts";

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

/** What is asked at once after the effect before it: what happens in between would show nothing new. */
const askedAtOnce: ReadonlySet<keyof CronEffects> = new Set([
  "wake",
  "beginRun",
  "endRun",
  "alertState",
  "readRecent",
  "readVolumes",
  "readBypassed",
  "judgeAlerts",
  "warn",
]);

function* run(world: World): Process {
  const invocation = new Invocation(world, "a cron");
  if (yield* resumeAsked(world, invocation)) {
    return; // its subrequests went into that
  }
  const now = world.clock.now + world.skews.consumer;
  const begun: Tick = { world, began: world.clock.now };
  const work = tick({ now, everything: false }, reconcileSettingsOf(world), { kind: "no_zone" });
  try {
    let step = work.next();
    while (step.done !== true) {
      const { name, asks } = step.value;
      invocation.spend(subrequestsOf(step.value));
      if (!askedAtOnce.has(name)) {
        yield pauseMs(world);
        loseSomething(world);
      }
      step = work.next(answer(name, asks, begun));
    }
  } catch (error) {
    if (!(error instanceof EffectFailed)) {
      throw error;
    }
    // ClickHouse, R2 or the ledger could not be asked: the next tick does it.
  }
}

function answer<Name extends keyof CronEffects>(
  name: Name,
  asks: CronEffects[Name]["asks"],
  begun: Tick,
): Answered<CronEffects> {
  try {
    const value = cronPerformer[name](begun, asks);
    return value instanceof Unanswered ? value : ({ is: "done", to: name, value } as Answered<CronEffects>);
  } catch (error) {
    if (isWorldFailure(error)) {
      return failure(error);
    }
    throw error; // a bug, or an invariant that broke: the schedule fails
  }
}
