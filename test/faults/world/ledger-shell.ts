/**
 * The ledger's Durable Object (workers/consumer/ledger-object.ts) around the real machine: one step is decided,
 * persisted as a whole, and only then rung and answered. It may die at each of these points, lose everything, or be
 * restored to an older copy.
 */
import { BrokenInvariant } from "../../../shared/assert.ts";
import type { GroupId, GroupTask } from "../../../shared/ledger/group.ts";
import { LedgerState } from "../../../shared/ledger/ledger-state.ts";
import { holds, type LedgerEvent, nextAlarm, step, tokensNeeded } from "../../../shared/ledger/machine.ts";
import type { PayloadKey } from "../../../shared/payload-key.ts";
import {
  beginRun,
  endRun,
  keepBook,
  newReconciler,
  type Reconciler,
} from "../../../shared/reconcile/lease.ts";
import type { MinuteBook } from "../../../shared/reconcile/minute-book.ts";
import type { World } from "./world.ts";

/** The call failed: whether it was done is not known to the caller. */
export class CallFailed extends Error {}

/** A snapshot that a restore goes back to. */
export interface Snapshot {
  readonly state: LedgerState;
  readonly counter: number;
  readonly reconciler: Reconciler;
}

const drawn: GroupId[] = [];

/** The n-th token that is ever drawn. */
function tokenAt(n: number): GroupId {
  let token = drawn[n];
  if (token === undefined) {
    token = n.toString(16).padStart(32, "0") as GroupId;
    drawn[n] = token;
  }
  return token;
}

export class LedgerShell {
  readonly #world: World;
  state = new LedgerState();
  /** Raised by each step that was persisted. */
  version = 0;
  #begun = false;
  #drawn = 0;
  /** When the platform rings next, by the ledger's clock. */
  #alarmAt: number | null = null;
  #isArmedHere = false;
  isFull = false;
  /** Kept by the same Durable Object, beside the machine's state. */
  reconciler: Reconciler = newReconciler;
  #runs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get now(): number {
    return this.#world.clock.now + this.#world.skews.ledger;
  }

  /** What a caller sees: the answer, or `CallFailed`. */
  call(event: LedgerEvent): GroupTask | null {
    const { fate, clock, ledgerAwayUntil } = this.#world;
    if (clock.now < ledgerAwayUntil) {
      throw new CallFailed("the ledger cannot be reached");
    }
    this.#begin();
    if (fate.strikes("ledger dies before")) {
      this.#die();
      throw new CallFailed("the ledger died before it persisted");
    }
    const task = this.#decide(event);
    if (fate.strikes("ledger answer lost")) {
      throw new CallFailed("the ledger's answer was lost");
    }
    return task;
  }

  holds(keys: readonly PayloadKey[]): readonly boolean[] {
    this.#reach();
    return holds(this.state, keys);
  }

  beginReconcile(leaseMs: number): { readonly run: string; readonly book: MinuteBook | null } | null {
    this.#reach();
    const run = String(++this.#runs);
    const begun = beginRun(this.reconciler, { run, now: this.now, leaseMs, takesOver: false });
    if (begun === null) {
      return null;
    }
    this.reconciler = begun;
    this.#reach();
    return { run, book: begun.book };
  }

  keepBook(run: string, leaseMs: number, book: MinuteBook): boolean {
    this.#reach();
    const kept = keepBook(this.reconciler, { run, now: this.now, leaseMs }, book);
    this.reconciler = kept ?? this.reconciler;
    this.#reach();
    return kept !== null;
  }

  endReconcile(run: string): void {
    this.#reach();
    this.reconciler = endRun(this.reconciler, run);
  }

  /** The call's way, or the answer's. */
  #reach(): void {
    if (
      this.#world.clock.now < this.#world.ledgerAwayUntil ||
      this.#world.fate.strikes("ledger answer lost")
    ) {
      throw new CallFailed("the ledger cannot be reached");
    }
  }

  /** The cron: the alarm is armed anew, the minute counted in R2. */
  wake(): void {
    this.#isArmedHere = false;
    this.call({ kind: "minute" });
    this.#world.store.counter = this.state.head?.counter ?? null;
  }

  snapshot(): Snapshot {
    const { state, reconciler } = this;
    return { state: state.copy(), counter: state.head?.counter ?? 0, reconciler };
  }

  /** Everything is lost: the Durable Object was deleted. What was drawn stays drawn. */
  lose(): void {
    this.#world.decisionsForgotten();
    this.state = new LedgerState();
    this.reconciler = newReconciler;
    this.#alarmAt = null;
    this.version++;
    this.#die();
  }

  /** By our command, which raises the epoch in R2 first, or by somebody else, whom the counter gives away. */
  restore({ state, reconciler }: Snapshot, byCommand: boolean): void {
    if (byCommand) {
      this.#world.store.epoch = Math.max(this.#world.store.epoch ?? 0, this.state.head?.epoch ?? 0) + 1;
    }
    this.#world.decisionsForgotten();
    this.state = state.copy();
    this.reconciler = reconciler;
    this.#alarmAt = null;
    this.version++;
    this.#die();
  }

  /** False after a death or a restore, until the first call: what it finds then it has not seen yet. */
  get isAwake(): boolean {
    return this.#begun;
  }

  #die(): void {
    this.#begun = false;
    this.#isArmedHere = false;
  }

  #begin(): void {
    if (this.#begun) {
      return;
    }
    const { store } = this.#world;
    const { head } = this.state;
    this.#world.askStore("the ledger's beginning");
    if (head === null) {
      const { epoch } = store;
      const anyPayload = epoch !== null || store.size > 0;
      const anyRow = anyPayload || this.#world.askTable("any row", (table) => table.hasAnyRow());
      store.epoch ??= 1;
      this.#decide({ kind: "born", facts: { epoch, anyPayload, anyRow } });
    } else {
      const epoch = store.epoch ?? head.epoch;
      if (epoch > head.epoch) {
        this.#decide({ kind: "restored", epoch });
      } else if ((store.counter ?? 0) > head.counter) {
        this.#decide({ kind: "restored", epoch: head.epoch + 1 });
        store.epoch = head.epoch + 1;
      }
    }
    this.#begun = true;
  }

  #decide(event: LedgerEvent): GroupTask | null {
    const { fate, settings } = this.#world;
    const tokens: GroupId[] = [];
    for (let i = tokensNeeded(event); i > 0; i--) {
      tokens.push(tokenAt(this.#drawn++));
    }
    const moment = { now: this.now, tokens, databaseBytes: this.isFull ? settings.databaseBytesMax + 1 : 0 };
    const { changes, rings, task } = step(this.state, event, moment, settings);
    this.state.apply(changes);
    this.version++;
    this.#world.say(
      () =>
        `ledger: ${tell(event)}${task === null ? "" : ` -> ${task.step} ${short(task.group)}.${task.attempt}`}${rings.length === 0 ? "" : `, rings ${rings.map(short).join(" ")}`}`,
    );
    this.#arm();
    if (fate.strikes("ledger dies after")) {
      this.#die();
      throw new CallFailed("the ledger died after it persisted");
    }
    for (const group of rings) {
      if (!fate.strikes("group ring lost")) {
        this.#world.queues.group.send({ kind: "group", group });
      }
    }
    return task;
  }

  /** Moves the alarm forward, never back. */
  #arm(): void {
    const next = nextAlarm(this.state, this.#world.settings);
    if (next !== undefined && (!this.#isArmedHere || this.#alarmAt === null || next < this.#alarmAt)) {
      this.#armAt(next);
    }
  }

  #armAt(at: number): void {
    this.#isArmedHere = true;
    this.#alarmAt = at;
    this.#world.clock.at(at - this.#world.skews.ledger, () => {
      if (this.#alarmAt === at) {
        this.#ring();
      }
    });
  }

  #ring(): void {
    this.#alarmAt = null;
    try {
      this.#begin(); // an alarm rings inside: no network stands between
      this.#decide({ kind: "alarm" });
    } catch (error) {
      if (error instanceof BrokenInvariant) {
        throw error;
      }
      this.#armAt(this.now + this.#world.settings.retryFirstMs);
    }
  }
}

export function short(group: GroupId): string {
  return group.replace(/^0+/, "") || "0";
}

function tell(event: LedgerEvent): string {
  switch (event.kind) {
    case "claim":
      return `claim ${event.doorbells.map(({ key, cause }) => `${key.slice(6, 22)}…${key.slice(-22, -18)} (${cause})`).join(" ")}`;
    case "take":
      return `take ${short(event.group)}`;
    case "report":
      return `report ${short(event.group)}.${event.attempt} ${event.report.kind}`;
    case "settle":
      return `settle ${event.settled.map(({ group }) => short(group)).join(" ")}`;
    default:
      return event.kind;
  }
}
