/**
 * The life of the ledger's object around the machine (shared/ledger/machine.ts): how it begins, takes a step, wakes
 * and is woken. Each part is a generator that yields one effect at a time and goes on with its answer, so the same
 * code runs in the Durable Object (workers/consumer/ledger-object.ts, which awaits each effect) and in the model of
 * test/faults (where each can fail, or the object die at it).
 *
 * An effect that fails is thrown into the generator. An object that dies runs nothing more of it.
 */
import { assert, BrokenInvariant } from "../assert.ts";
import type { Moment } from "../ledger/draft.ts";
import type { GroupTask } from "../ledger/group.ts";
import type { BirthFacts, Head } from "../ledger/head.ts";
import { type LedgerEvent, nextAlarm, step } from "../ledger/machine.ts";
import type { LedgerSettings } from "../ledger/settings.ts";
import type { Change, LedgerView } from "../ledger/view.ts";
import { limits } from "../limits.ts";
import type { GroupId } from "../receipt.ts";

/** What one instance of the object keeps in memory only: lost when the instance ends. */
export interface Instance {
  /** When its alarm fires next, ms since the epoch, as far as it knows. Null: it does not. */
  armedAt: number | null;
  /** Does it know that it is born and not restored? Set by `begin`. */
  hasBegun: boolean;
}

/** What an instance knows before its first event. */
export function newInstance(): Instance {
  return { armedAt: null, hasBegun: false };
}

/** The state, with the way to change it. */
export interface LedgerStore extends LedgerView {
  /** Applies all changes, or throws and has applied none. Synchronous. */
  apply(changes: readonly Change[]): void;
}

/** What a step came to, now that it is persisted. */
export interface Decided {
  readonly task: GroupTask | null;
  /** Groups to send a message of to queue `group`. */
  readonly notify: readonly GroupId[];
  /** When the alarm is to be armed for; null: it stays as it is. */
  readonly arm: number | null;
}

export type LifeEffect =
  /** Before the first step of an instance: `begin`. Fails as that does, and is retried by the next event. */
  | { readonly do: "begin" }
  /** When the platform will fire the alarm, as far as it says: an earlier instance may have armed it. */
  | { readonly do: "readAlarm" }
  /** The epoch that R2 keeps: created once, raised by a restore. */
  | { readonly do: "readEpoch" }
  /** The minutes that R2 counted for the ledger. */
  | { readonly do: "readCounter" }
  /** Is any payload in R2? */
  | { readonly do: "findPayload" }
  /** Has the table any row of ours? */
  | { readonly do: "findRow" }
  /** Writes the epoch unless one is there. */
  | { readonly do: "createEpoch"; readonly epoch: number }
  | { readonly do: "putEpoch"; readonly epoch: number }
  | { readonly do: "putCounter"; readonly counter: number }
  /** Calls `decideAndPersist`, arms the alarm in the same synchronous run, and waits until both are durable. */
  | { readonly do: "step"; readonly event: LedgerEvent }
  /** Calls `armRetry` and arms the alarm as it says. */
  | { readonly do: "armRetry" }
  /** Sends messages to queue `group`. Nobody waits for it, and it never fails: what is lost is sent again when due. */
  | { readonly do: "notify"; readonly groups: readonly GroupId[] }
  /** An invariant of ours is broken: keeps it, so that it is reported (`judgeAlerts`). */
  | { readonly do: "recordBroken"; readonly broken: BrokenInvariant }
  | { readonly do: "log"; readonly message: string; readonly cause: unknown };

/** Subrequests that an effect takes at most; the object's own storage is none. */
export function subrequestsOf(effect: LifeEffect): number {
  switch (effect.do) {
    case "begin":
    case "readAlarm":
    case "step":
    case "armRetry":
    case "recordBroken":
    case "log":
      return 0;
    case "notify":
      return Math.ceil(effect.groups.length / limits.queueMessagesMax);
    default:
      return 1;
  }
}

export type LifeAnswer =
  | { readonly to: "readAlarm"; readonly at: number | null }
  | { readonly to: "readEpoch"; readonly epoch: number | null }
  | { readonly to: "readCounter"; readonly counter: number | null }
  | { readonly to: "findPayload"; readonly found: boolean }
  | { readonly to: "findRow"; readonly found: boolean }
  /** `created` false: one was there. */
  | { readonly to: "createEpoch"; readonly created: boolean }
  | { readonly to: "step"; readonly decided: Decided }
  | {
      readonly to: "begin" | "putEpoch" | "putCounter" | "armRetry" | "notify" | "recordBroken" | "log";
    };

/** A part of the object's life that yields effects and comes to a `T`. */
export type Life<T> = Generator<LifeEffect, T, LifeAnswer>;

// --- what the shells call

/**
 * Known before the first step of an instance: is this ledger born, and was it not restored to an older time? Throws
 * when R2 or ClickHouse cannot be asked: a ledger that does not know how it began takes nothing over.
 */
export function* begin(instance: Instance, view: LedgerView): Life<void> {
  // Each arming is a row that is billed, and an object with little to do is started for each payload.
  instance.armedAt = (yield* ask({ do: "readAlarm" })).at;
  const { head } = view;
  if (head === null) {
    const facts = yield* readBirthFacts();
    // Another ledger may have been born between the reading and now: then this is not a genesis.
    const isFirst = facts.epoch !== null || (yield* ask({ do: "createEpoch", epoch: 1 })).created;
    yield* decide({ kind: "born", facts: isFirst ? facts : { ...facts, anyPayload: true } });
    instance.hasBegun = true;
    return;
  }
  const epoch = yield* readRestoredEpoch(head);
  if (epoch !== null) {
    yield* log("the ledger was restored to an older time: everything it holds is verified", `epoch ${epoch}`);
    // Persisted first: an object that dies in between finds the counter ahead of its own again, or its epoch behind.
    yield* decide({ kind: "restored", epoch });
    yield { do: "putEpoch", epoch };
  }
  instance.hasBegun = true;
}

/** A caller's event. What it answers is persisted. */
export function takeStep(instance: Instance, event: LedgerEvent): Life<GroupTask | null> {
  return instance.hasBegun ? decide(event) : decideOnceBegun(event);
}

/** The cron, each minute: arms the alarm again, should the platform have given it up, and counts the minute in R2. */
export function* wake(instance: Instance, view: LedgerView): Life<void> {
  instance.armedAt = null;
  yield* takeStep(instance, { kind: "minute" });
  assert(view.head !== null, "a ledger that took a step is born");
  yield { do: "putCounter", counter: view.head.counter };
}

/**
 * The alarm fires: forms groups by age, notifies what is due. Whatever fails, the alarm is armed again, because the
 * platform tries a failed one six times and then never. Throws a broken invariant only, and after that.
 */
export function* fireAlarm(instance: Instance): Life<void> {
  instance.armedAt = null;
  try {
    yield* takeStep(instance, { kind: "alarm" });
  } catch (error) {
    yield { do: "armRetry" };
    if (error instanceof BrokenInvariant) {
      throw error;
    }
    yield* log("the alarm failed and is armed again", error);
  }
}

/**
 * Decides a step and persists it. Synchronous, as nothing may come between the reading of the state and its change;
 * its caller sets the alarm before it waits for anything, so that both are one write.
 */
export function decideAndPersist(
  store: LedgerStore,
  instance: Instance,
  event: LedgerEvent,
  moment: Moment,
  settings: LedgerSettings,
): Decided {
  const { changes, rings, task } = step(store, event, moment, settings);
  store.apply(changes);
  const next = nextAlarm(store, settings);
  // A store that is full forgets bit by bit, as long as it has something to forget.
  const isCrowded = moment.databaseBytes > settings.databaseBytesMax && changes.some(isForgetting);
  const again = isCrowded ? moment.now + settings.retryFirstMs : Number.POSITIVE_INFINITY;
  const at = Math.min(next ?? Number.POSITIVE_INFINITY, again);
  return { task, notify: rings, arm: at === Number.POSITIVE_INFINITY ? null : armForward(instance, at) };
}

function isForgetting({ kind }: Change): boolean {
  return kind === "forget";
}

/** Arms the alarm again after a failure; null: it fires before that. */
export function armRetry(instance: Instance, now: number, settings: LedgerSettings): number | null {
  return armForward(instance, now + settings.retryFirstMs);
}

/** Moves the alarm forward, never back: one that fires early finds nothing due, and a write is saved. */
function armForward(instance: Instance, at: number): number | null {
  if (instance.armedAt !== null && instance.armedAt <= at) {
    return null;
  }
  instance.armedAt = at;
  return at;
}

// --- parts

function* readBirthFacts(): Life<BirthFacts> {
  const { epoch } = yield* ask({ do: "readEpoch" });
  if (epoch !== null) {
    return { epoch, anyPayload: true, anyRow: true };
  }
  const { found: anyPayload } = yield* ask({ do: "findPayload" });
  return { epoch, anyPayload, anyRow: anyPayload || (yield* ask({ do: "findRow" })).found };
}

/**
 * The epoch that a restored ledger must go to, or null if this one's memory is as it was. Example: this head counts
 * minute 900, R2 says 1000: a hundred minutes are forgotten.
 */
function* readRestoredEpoch(head: Head): Life<number | null> {
  const epoch = (yield* ask({ do: "readEpoch" })).epoch ?? head.epoch;
  const { counter } = yield* ask({ do: "readCounter" });
  if (epoch > head.epoch) {
    return epoch;
  }
  return counter !== null && counter > head.counter ? head.epoch + 1 : null;
}

function* decideOnceBegun(event: LedgerEvent): Life<GroupTask | null> {
  yield { do: "begin" };
  return yield* decide(event);
}

/** One step: decided, persisted, and only then does anybody hear of it. */
function* decide(event: LedgerEvent): Life<GroupTask | null> {
  let decided: Decided;
  try {
    const answer = yield { do: "step", event }; // as `ask` does it, without a generator for each step
    assert(answer.to === "step", "an effect is given its own answer");
    ({ decided } = answer);
  } catch (error) {
    if (error instanceof BrokenInvariant) {
      yield { do: "recordBroken", broken: error };
    }
    throw error;
  }
  if (decided.notify.length > 0) {
    yield { do: "notify", groups: decided.notify };
  }
  return decided.task;
}

function* log(message: string, cause: unknown): Life<void> {
  yield { do: "log", message, cause };
}

/** Yields one effect and gives its own answer back. An effect whose answer says nothing is yielded as it is. */
function* ask<Name extends LifeEffect["do"]>(
  effect: Extract<LifeEffect, { readonly do: Name }>,
): Life<Extract<LifeAnswer, { readonly to: Name }>> {
  const answer = yield effect;
  assert(isAnswerTo(answer, effect.do), "an effect is given its own answer");
  return answer;
}

function isAnswerTo<Name extends LifeEffect["do"]>(
  answer: LifeAnswer,
  name: Name,
): answer is Extract<LifeAnswer, { readonly to: Name }> {
  return answer.to === name;
}
