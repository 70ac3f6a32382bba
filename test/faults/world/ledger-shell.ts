/**
 * The Durable Object of the model: performs what the ledger's life (shared/delivery/ledger-life.ts) asks for, over
 * the world. It may die before and after a step is persisted, each of its calls can fail, it can lose everything, or
 * be restored to an older copy.
 */
import {
  type AlertState,
  type Channel,
  judgeAlerts,
  markReported,
  noAlerts,
  type Unreported,
} from "../../../shared/alerts.ts";
import { assert, unreachable } from "../../../shared/assert.ts";
import { alertFacts } from "../../../shared/delivery/ledger-facts.ts";
import {
  armRetry,
  begin,
  type Decided,
  decideAndPersist,
  fireAlarm,
  type Instance,
  type Life,
  type LifeAnswer,
  type LifeEffect,
  newInstance,
  subrequestsOf,
  takeStep,
  wake,
} from "../../../shared/delivery/ledger-life.ts";
import type { Moment } from "../../../shared/ledger/draft.ts";
import type { Group, GroupTask } from "../../../shared/ledger/group.ts";
import { type BareBell, knows } from "../../../shared/ledger/knows.ts";
import { holds, type LedgerEvent, tokensNeeded } from "../../../shared/ledger/machine.ts";
import type { PayloadKey } from "../../../shared/payload-key.ts";
import type { GroupId } from "../../../shared/receipt.ts";
import type { Checkpoint } from "../../../shared/reconcile/checkpoint.ts";
import type { CronEffects, LearntFacts } from "../../../shared/reconcile/effects.ts";
import {
  beginRun,
  endRun,
  newReconciler,
  type Reconciler,
  saveCheckpoint,
} from "../../../shared/reconcile/lease.ts";
import { LedgerState, RowTooLarge } from "../../ledger/ledger-state.ts";
import { closeStores, StoredIds } from "./stored-ids.ts";
import { unseenTrouble } from "./unseen-trouble.ts";
import { Invocation, Unanswered, type World } from "./world.ts";

/** Groups of each kind that are looked into, where a deployment looks into `limits.inFlightGroupsLooked`. */
const groupsLooked = 2;

/** The call failed: whether it was done is not known to the caller. */
export class CallFailed extends Error {}

/** The instance is gone, and with it whatever it was about: nothing more of its code runs. */
class LedgerDied extends CallFailed {}

/** A snapshot that a restore goes back to. */
export interface Snapshot {
  readonly state: LedgerState;
  readonly counter: number;
  readonly reconciler: Reconciler;
  readonly alertState: AlertState;
}

const drawn: GroupId[] = [];

/** The n-th token that is ever drawn. */
function tokenAt(n: number): GroupId {
  while (drawn.length <= n) {
    drawn.push(drawn.length.toString(16).padStart(32, "0") as GroupId);
  }
  const token = drawn[n];
  assert(token !== undefined, "a token has a number");
  return token;
}

/** So many tokens, from the n-th on: made as they are used, for most steps use none. */
class Tokens implements IterableIterator<GroupId> {
  #next: number;
  readonly #end: number;

  constructor(first: number, count: number) {
    this.#next = first;
    this.#end = first + count;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<GroupId, undefined> {
    return this.#next < this.#end
      ? { done: false, value: tokenAt(this.#next++) }
      : { done: true, value: undefined };
  }
}

export class LedgerShell {
  readonly #world: World;
  state: LedgerState;
  /** Raised by each step that was persisted. */
  version = 0;
  /** The state as it was at a version: snapshots share it, for a restore copies it once more. */
  #copy: { readonly version: number; readonly state: LedgerState } | null = null;
  #drawn = 0;
  #instance: Instance = newInstance();
  /** When the platform fires the alarm next, by the ledger's clock. */
  #alarmAt: number | null = null;
  isFull = false;
  /** Kept by the same Durable Object, beside the machine's state. */
  reconciler: Reconciler = newReconciler;
  #alertState: AlertState = noAlerts;
  #runs = 0;
  /** An older instance that is still there, and what it remembers. */
  #moving: { readonly state: LedgerState; readonly until: number; calls: number } | null = null;
  #invocation: Invocation;

  constructor(world: World) {
    this.#world = world;
    this.#invocation = new Invocation(world, "a call of the ledger");
    closeStores();
    this.state = newState(world);
  }

  get now(): number {
    return this.#world.clock.now + this.#world.skews.ledger;
  }

  /** What a caller sees: the answer, or `CallFailed`. */
  call(event: LedgerEvent): GroupTask | null {
    return this.#call(() => takeStep(this.#instance, event));
  }

  #call<T>(life: () => Life<T>): T {
    this.#invocation = new Invocation(this.#world, "a call of the ledger");
    const { fate, clock, ledgerAwayUntil } = this.#world;
    if (clock.now < ledgerAwayUntil) {
      throw new CallFailed("the ledger cannot be reached");
    }
    if (this.#older() !== null) {
      throw new CallFailed("an older instance of the ledger was reached, which cannot persist");
    }
    const answer = this.#live(life());
    if (fate.strikes("ledger answer lost")) {
      throw new CallFailed("the ledger's answer was lost");
    }
    return answer;
  }

  holds(keys: readonly PayloadKey[]): readonly boolean[] {
    const older = this.#older();
    this.#reach();
    return holds(older ?? this.state, keys);
  }

  knows(bells: readonly BareBell[]): readonly boolean[] {
    const older = this.#older();
    this.#reach();
    return knows(older ?? this.state, bells);
  }

  beginReconcile(leaseMs: number, takesOver: boolean): CronEffects["beginRun"]["answers"] {
    this.#reach();
    const run = String(++this.#runs);
    const begun = beginRun(this.reconciler, { run, now: this.now, leaseMs, takesOver });
    if (begun === null) {
      return null;
    }
    this.reconciler = begun;
    this.#reach();
    // Sums for people are no part of this world.
    return { run, checkpoint: begun.checkpoint, table: this.state.head?.table.identity ?? null, changed: [] };
  }

  saveCheckpoint(run: string, leaseMs: number, checkpoint: Checkpoint): boolean {
    this.#reach();
    const kept = saveCheckpoint(this.reconciler, { run, now: this.now, leaseMs }, checkpoint);
    const { rowBytesMax } = this.#world.profile;
    if (kept !== null && rowBytesMax !== null && JSON.stringify(kept).length > rowBytesMax.reconciler) {
      throw this.#refused(`reconciler: ${JSON.stringify(kept).length} bytes`);
    }
    this.reconciler = kept ?? this.reconciler;
    this.#reach();
    return kept !== null;
  }

  endReconcile(run: string): void {
    this.#reach();
    this.reconciler = endRun(this.reconciler, run);
  }

  readAlertState(): { readonly alertState: AlertState; readonly checkpoint: Checkpoint | null } {
    this.#reach();
    return { alertState: this.#alertState, checkpoint: this.reconciler.checkpoint };
  }

  judgeAlerts(learnt: LearntFacts): readonly Unreported[] {
    this.#reach();
    const { head, waiting } = this.state;
    const known = {
      head,
      waiting,
      looked: this.state.groupsLookedInto(groupsLooked),
      databaseBytes: 0,
      broken: null,
      wrongTokens: null,
      trouble: "",
      settings: this.#world.settings,
      checkpoint: this.reconciler.checkpoint,
    };
    const judged = judgeAlerts(alertFacts(known, learnt, this.now), this.#alertState);
    this.#alertState = judged.alertState;
    this.#world.findingsJudged(judged.findings);
    const { refusedHeldMs } = this.#world.settings;
    const groups = this.state.dump().groups.values();
    const unseen = unseenTrouble(groups, judged.alertState.open, refusedHeldMs, this.now);
    if (unseen !== null) {
      this.#world.witness.unseen.push(unseen);
    }
    this.#reach();
    return judged.alertState.unreported;
  }

  alertsReported(unreported: readonly Unreported[], reached: readonly Channel[]): void {
    this.#reach();
    this.#alertState = markReported(this.#alertState, unreported, reached);
    this.#reach();
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

  wake(): void {
    this.#call(() => wake(this.#instance, this.state));
  }

  /**
   * For a moment there are two instances, while the platform moves the object. The older one answers what it remembers;
   * whatever it writes fails. Every other call reaches it. Null: the newer one is reached.
   */
  #older(): LedgerState | null {
    const { fate, clock } = this.#world;
    if (this.#moving !== null && clock.now >= this.#moving.until) {
      this.#moving = null;
    }
    if (this.#moving === null) {
      if (fate.strikes("an older ledger answers")) {
        this.#moving = { state: this.state.copy(), until: clock.now + 30_000, calls: 0 };
      }
      return null;
    }
    return this.#moving.calls++ % 2 === 0 ? this.#moving.state : null;
  }

  snapshot(): Snapshot {
    const { state, reconciler } = this;
    if (this.#copy?.version !== this.version) {
      this.#copy = { version: this.version, state: state.copy() };
    }
    const counter = state.head?.counter ?? 0;
    return { state: this.#copy.state, counter, reconciler, alertState: this.#alertState };
  }

  /** Everything is lost: the Durable Object was deleted. What was drawn stays drawn. */
  lose(): void {
    this.#world.decisionsForgotten();
    this.state = newState(this.#world);
    this.reconciler = newReconciler;
    this.#alertState = noAlerts;
    this.#alarmAt = null;
    this.version++;
    this.#die();
  }

  /** By our command, which raises the epoch in R2 first, or by somebody else, whom the counter gives away. */
  restore({ state, reconciler, alertState }: Snapshot, byCommand: boolean): void {
    if (byCommand) {
      this.#world.store.epoch = Math.max(this.#world.store.epoch ?? 0, this.state.head?.epoch ?? 0) + 1;
    }
    this.#world.decisionsForgotten();
    this.state = state.copy();
    this.reconciler = reconciler;
    this.#alertState = alertState;
    this.#alarmAt = null;
    this.version++;
    this.#die();
  }

  /** False after a death or a restore, until the first call: what it finds then it has not seen yet. */
  get isAwake(): boolean {
    return this.#instance.hasBegun;
  }

  #die(): void {
    this.#moving = null;
    this.#instance = newInstance();
    this.state.restart();
  }

  /** Performs what a part of the object's life asks for. A death is not thrown into it: nothing more of it runs. */
  #live<T>(life: Life<T>): T {
    let next = life.next();
    while (next.done !== true) {
      let answer: LifeAnswer;
      try {
        answer = this.#perform(next.value);
      } catch (error) {
        if (error instanceof LedgerDied) {
          throw error;
        }
        next = life.throw(error);
        continue;
      }
      next = life.next(answer);
    }
    return next.value;
  }

  #perform(effect: LifeEffect): LifeAnswer {
    const { store, fate } = this.#world;
    this.#invocation.spend(subrequestsOf(effect));
    switch (effect.do) {
      case "begin":
        this.#live(begin(this.#instance, this.state));
        return { to: "begin" };
      case "readAlarm":
        return { to: "readAlarm", at: this.#alarmAt };
      case "readEpoch":
        this.#world.askStore("the ledger's epoch");
        return { to: "readEpoch", epoch: store.epoch };
      case "readCounter":
        this.#world.askStore("the ledger's counter");
        return { to: "readCounter", counter: store.counter };
      case "findPayload":
        this.#world.askStore("any payload");
        return { to: "findPayload", found: store.size > 0 };
      case "findRow": {
        const found = this.#world.askTable("any row", (table) => table.hasAnyRow());
        if (found instanceof Unanswered) {
          throw new CallFailed("any row");
        }
        return { to: "findRow", found };
      }
      case "createEpoch": {
        const created = store.epoch === null;
        this.#put("the first epoch", () => {
          store.epoch ??= effect.epoch;
        });
        return { to: "createEpoch", created };
      }
      case "putEpoch":
        this.#put("the ledger's epoch", () => {
          store.epoch = effect.epoch;
        });
        return { to: "putEpoch" };
      case "putCounter":
        this.#put("the ledger's counter", () => {
          store.counter = effect.counter;
        });
        return { to: "putCounter" };
      case "step":
        return { to: "step", decided: this.#decide(effect.event) };
      case "armRetry":
        this.#armAt(armRetry(this.#instance, this.now, this.#world.settings));
        return { to: "armRetry" };
      case "notify":
        for (const group of effect.groups) {
          if (!fate.strikes("group ring lost")) {
            this.#world.queues.group.send({ kind: "group", group });
          }
        }
        return { to: "notify" };
      case "recordBroken":
        throw effect.broken; // in the model a broken invariant ends the schedule
      case "log":
        this.#world.say(() => `ledger: ${effect.message}`);
        return { to: "log" };
      default:
        return unreachable(effect);
    }
  }

  /** A put of R2: done, or not, or done and its answer lost. */
  #put(what: string, act: () => void): void {
    this.#world.askStore(what);
    act();
    this.#world.askStore(`${what}: the answer`);
  }

  #decide(event: LedgerEvent): Decided {
    const { fate, settings } = this.#world;
    if (isCall(event) && fate.strikes("ledger dies before")) {
      this.#die();
      throw new LedgerDied("the ledger died before it persisted");
    }
    const needed = tokensNeeded(event);
    const tokens = new Tokens(this.#drawn, needed);
    this.#drawn += needed;
    const moment = {
      now: this.now,
      tokens,
      databaseBytes: this.isFull ? settings.databaseBytesMax + 1 : 0,
      trimTo: this.isFull ? this.state.trimTo() : undefined,
    };
    const decided = this.#persist(event, moment);
    this.version++;
    this.#watchSlots(decided.task);
    if (this.#world.story !== null) {
      this.#tell(event, decided);
    }
    this.#armAt(decided.arm);
    if (fate.strikes("ledger dies after")) {
      this.#die();
      throw new LedgerDied("the ledger died after it persisted");
    }
    return decided;
  }

  /** Which INSERTs are in flight is said by the groups: an instance that has just started must know it, and no others. */
  #watchSlots(task: GroupTask | null): void {
    const { head } = this.state;
    if (head === null) {
      return;
    }
    const { inFlight, isOpen, concurrencyLimit } = head.breaker;
    const { crowded } = this.#world.witness;
    const groups = this.state.dump().groups;
    const isOut = ({ epoch, state }: Group): boolean =>
      epoch === head.epoch && state.at === "open" && state.lease !== null && state.out === "insert";
    for (const id of inFlight) {
      const group = groups.get(id);
      if (group === undefined || !isOut(group)) {
        crowded.push(`${short(id)} keeps a slot and is not in flight`);
      }
    }
    if (task?.step === "insert") {
      const count = [...groups.values()].filter(isOut).length;
      const most = isOpen ? 1 : concurrencyLimit;
      if (count > most) {
        crowded.push(`${count} in flight, ${most} allowed${isOpen ? ", breaker open" : ""}`);
      }
    }
  }

  #tell(event: LedgerEvent, { task, notify }: Decided): void {
    const leased = task === null ? "" : ` -> ${task.step} ${short(task.group)}.${task.attempt}`;
    const notified = notify.length === 0 ? "" : `, notifies ${notify.map(short).join(" ")}`;
    this.#world.say(() => `ledger: ${reportFindings(event)}${leased}${notified}`);
  }

  #persist(event: LedgerEvent, moment: Moment): Decided {
    try {
      return decideAndPersist(this.state, this.#instance, event, moment, this.#world.settings);
    } catch (error) {
      if (error instanceof RowTooLarge) {
        throw this.#refused(error.message);
      }
      throw error;
    }
  }

  #refused(row: string): CallFailed {
    this.#world.say(() => `ledger: a row is refused, ${row}`);
    this.#world.witness.refusedRows.push(row);
    return new CallFailed("the ledger could not persist");
  }

  #armAt(at: number | null): void {
    if (at === null) {
      return;
    }
    this.#alarmAt = at;
    this.#world.clock.at(at - this.#world.skews.ledger, () => {
      if (this.#alarmAt === at) {
        this.#fire();
      }
    });
  }

  /** No network is between the alarm and the object. Should the object die, the platform fires it again. */
  #fire(): void {
    this.#alarmAt = null;
    this.#invocation = new Invocation(this.#world, "an alarm");
    try {
      this.#live(fireAlarm(this.#instance));
    } catch (error) {
      if (!(error instanceof LedgerDied)) {
        throw error;
      }
      this.#armAt(this.now + this.#world.settings.retryFirstMs);
    }
  }
}

function newState({ profile }: World): LedgerState {
  return new LedgerState(profile.rowBytesMax, profile.storesIds ? new StoredIds() : null);
}

/** Does somebody wait for its answer? */
function isCall({ kind }: LedgerEvent): boolean {
  return kind !== "alarm" && kind !== "born" && kind !== "restored";
}

export function short(group: GroupId): string {
  return group.replace(/^0+/, "") || "0";
}

function reportFindings(event: LedgerEvent): string {
  switch (event.kind) {
    case "claim":
      return `claim ${event.doorbells.map(({ key, cause }) => `${key.slice(6, 22)}…${key.slice(-22, -18)} (${cause})`).join(" ")}`;
    case "take":
      return `take ${short(event.group)}`;
    case "report":
      return `report ${short(event.group)}.${event.attempt} ${event.report.kind}`;
    case "receipted":
      return `receipted ${event.receipted.map(({ group }) => short(group)).join(" ")}`;
    default:
      return event.kind;
  }
}
