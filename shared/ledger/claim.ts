/**
 * Taking payloads over. An id that the ledger has never seen, and provably so, takes the fast path: it waits for
 * others, and is inserted without looking. An id that it has is a duplicate of itself. Whatever it cannot be sure of
 * goes to VERIFY.
 */
import { assert, unreachable } from "../assert.ts";
import type { Cause, Doorbell } from "../messages.ts";
import { idOfKey, type PayloadId } from "../payload-key.ts";
import type { Draft } from "./draft.ts";
import type { Group, GroupPayload } from "./group.ts";
import { addToSize, byDays, fitsCaps, isReadyBySize, keysCounted, sizeOf, splitByCaps } from "./grouping.ts";
import { mayStoreAgain } from "./head.ts";
import { storedUnder, tagOfKey } from "./key-tag.ts";
import { makeGroup, openState, readGroup, receiptingState, verifyingState } from "./make-group.ts";
import { mayBeTrimmed, unknownSince } from "./memory.ts";
import { blankReceipt, keysOf, receiptBesides } from "./receipts.ts";
import { fenceMs, type LedgerSettings } from "./settings.ts";
import type { PayloadPlace, Waiting } from "./view.ts";

/**
 * Takes the payloads over. Returns the groups that became ready, the oldest first. `messages`: how many the batch has that they
 * came in; null: others of it follow.
 */
export function claim(
  draft: Draft,
  doorbells: readonly Doorbell[],
  messages: number | null = doorbells.length,
): readonly Group[] {
  const { now, settings } = draft;
  const ready: Group[] = [];
  const owed = new Map<PayloadId, OwedReceipts>();
  const questioned = new Map<PayloadId, GroupPayload>();
  let questionedSince = Number.NEGATIVE_INFINITY;
  const question = (payload: GroupPayload, since: number): void => {
    questioned.set(idOfKey(payload.key), payload);
    questionedSince = Math.max(questionedSince, since);
  };

  // A batch that is not full is one group at the end, whatever it has, if it is not cut before; and one of segments brings so much
  // that smaller groups would only be more of them.
  const { rowsReady, rowsTogether, batchMax } = settings.caps;
  const waitsForOthers = isFull(messages, settings) && doorbells.length <= batchMax;
  const rowsUntilThen = waitsForOthers ? rowsReady : rowsTogether;
  draft.readPlaces(doorbells.map(({ key }) => idOfKey(key)));
  for (const doorbell of doorbells) {
    noteDoorbell(draft, doorbell);
    const id = idOfKey(doorbell.key);
    const waiting = draft.waitingPayload(id);
    const asked = questioned.get(id);
    const owing = owed.get(id);
    const place = draft.place(id);
    if (waiting !== undefined) {
      // A client sent the same bytes twice within a second: one payload waits, the other key is kept with it.
      draft.wait(withRing(waiting, doorbell, settings, draft.waiting));
    } else if (asked !== undefined) {
      questioned.set(id, withRing(asked, doorbell, settings, []));
    } else if (owing !== undefined && !isQuestion(doorbell.cause)) {
      owing.payload = withRing(owing.payload, doorbell, settings, []);
    } else if (place?.at === "group") {
      const group = readGroup(draft, place.group);
      assert(group !== undefined, "an id is placed in a group that is there");
      ringLive(draft, group, doorbell);
    } else if (place?.at === "done") {
      if (isQuestioned(place, doorbell)) {
        // The fence counts from the end of the group that had it: none of its attempts was leased later.
        question({ ...payloadOf(doorbell), doorbell: true }, place.since);
        owed.delete(id); // VERIFY writes the receipts of its other keys
      } else if (tagOfKey(doorbell.key) !== place.tag) {
        // A client retried two minutes later, and the first key is stored: the second key's receipt is owed.
        owed.set(id, { payload: payloadOf(doorbell), tag: place.tag });
      }
    } else if (isFast(draft, doorbell)) {
      const payload = payloadOf(doorbell);
      const grown = addToSize(draft.waitingSize, payload);
      if (!fitsCaps(grown, settings.caps)) {
        // 99,990 rows wait, 20 come: the 20 begin the next group.
        ready.push(...groupWaiting(draft));
      }
      draft.wait(payload);
      if (isReadyBySize(draft.waitingSize, settings.caps, rowsUntilThen)) {
        ready.push(...groupWaiting(draft));
      }
    } else {
      // Unknown, and the memory is not complete for it: it may have been inserted, and be so still.
      question(payloadOf(doorbell), unknownSince(draft.head, id));
    }
  }

  if (isReadyNow(draft, messages)) {
    ready.push(...groupWaiting(draft));
  }
  groupOwed(draft, [...owed.values()]);
  for (const payloads of splitByCaps([...questioned.values()], settings.caps)) {
    const fence = questionedSince + fenceMs(settings);
    makeGroup(draft, payloads, verifyingState(fence), Math.max(now, fence));
  }
  return ready;
}

/** Groups of which only receipts are left to write. */
function groupOwed(draft: Draft, owed: readonly OwedReceipts[]): void {
  const { now, settings } = draft;
  const tags = new Map(owed.map(({ payload, tag }) => [payload.key, tag]));
  const all = owed.map(({ payload }) => payload);
  for (const payloads of splitByCaps(all, settings.caps)) {
    // Live again until the receipts are written, then remembered anew: a retry of this retry is still one payload.
    const ended = payloads.map(({ key }) => {
      const tag = tags.get(key);
      assert(tag !== undefined, "what is owed a receipt is remembered by another key");
      return storedUnder(key, tag);
    });
    const state = receiptingState([], ended, false);
    const group = makeGroup(draft, payloads, state, now);
    const receipts = payloads.flatMap((payload) =>
      keysOf(payload).map((key) => ({ ...blankReceipt(payload, group.id, undefined), key })),
    );
    draft.change({ ...group, state: { ...state, receipts } });
  }
}

/**
 * All that wait become a group, or two where some have spans of old days. They are due now: the next caller leases
 * or notifies them. What a person wants erased is not among them: VERIFY ends it.
 */
export function groupWaiting(draft: Draft): readonly Group[] {
  const { now } = draft;
  const payloads = draft.waiting;
  assert(payloads.length > 0, "a group of waiting payloads has one");
  draft.nobodyWaits();
  const erased = payloads.filter(({ erase }) => erase !== null);
  if (erased.length > 0) {
    makeGroup(draft, erased, verifyingState(now), now);
  }
  const others = payloads.filter(({ erase }) => erase === null);
  return byDays(others).map((alike) => makeGroup(draft, alike, openState, now));
}

/**
 * When those that wait are a group by their age: a second after the oldest arrived, and a second after the first was claimed
 * where that comes later than any age could say (a clock that is ahead, or a second that was over before the claim, which
 * then left them waiting for those behind them).
 */
export function readyAt({ since, payloads }: Waiting, { caps }: LedgerSettings): number {
  const byArrival = oldestArrival(payloads) + caps.ageReadyMs;
  const byClaim = since + caps.ageReadyMs;
  return byArrival > since ? Math.min(byArrival, byClaim) : byClaim;
}

/**
 * Are those that wait a group at this claim? A batch that is not full says that the queue has no more, and what is older than
 * a second waits no longer. Example: a lone payload, whose second has gone by in the queue, which waited for others to deliver
 * with it. A full batch has others behind it, mostly: then it is the alarm's time that counts, so that a backlog of an hour is
 * inserted in groups as large as they can be, and not in one per batch.
 */
function isReadyNow(draft: Draft, messages: number | null): boolean {
  const { now, settings } = draft;
  const { caps } = settings;
  const { waitingSince: since, waiting: payloads } = draft;
  if (payloads.length === 0) {
    return false;
  }
  const isOld = now >= oldestArrival(payloads) + caps.ageReadyMs;
  return (
    isReadyBySize(draft.waitingSize, caps) ||
    (isOld && !isFull(messages, settings)) ||
    now >= readyAt({ since, payloads }, settings)
  );
}

/** Have these messages others behind them, of their batch or in the queue? */
function isFull(messages: number | null, { caps }: LedgerSettings): boolean {
  return messages === null || messages >= caps.batchMax;
}

function oldestArrival(payloads: readonly GroupPayload[]): number {
  return payloads.reduce((least, { arrival }) => Math.min(least, arrival), Number.POSITIVE_INFINITY);
}

/**
 * May an unknown id be inserted without looking? Only where the memory is complete for everything that could be it.
 * Everything finished since `memSince` is remembered. An earlier key of these bytes arrived at most K before this one
 * (a client's retry); if this one arrived more than K after `memSince`, the earlier one arrived after it, was finished
 * after that, and would be known: equal bytes have one content time, and what was trimmed had an older one. `audit` and
 * `replay` are questions, and are answered by looking.
 */
function isFast(draft: Draft, { key, arrival, cause }: Doorbell): boolean {
  const { head, settings } = draft;
  return (
    !mayStoreAgain(cause) &&
    arrival > head.memSince + settings.clientRetryMs &&
    !mayBeTrimmed(head, idOfKey(key))
  );
}

/** A payload that is stored under its owner's key and arrived under others. */
interface OwedReceipts {
  payload: GroupPayload;
  /** By which key it is remembered. */
  readonly tag: number;
}

/** Somebody misses the payload, or wants it again. */
function isQuestion(cause: Cause): boolean {
  switch (cause) {
    case "ingress":
    case "event":
      return false;
    case "reconcile":
    case "audit":
    case "replay":
      return true;
    default:
      return unreachable(cause);
  }
}

/** Does this ring question a payload that is done? */
function isQuestioned(place: Extract<PayloadPlace, { at: "done" }>, { key, cause }: Doorbell): boolean {
  // Stored: the second ring, nothing to do. Dead or erased, and equal bytes arrive again under another key: that
  // key's object may decode where the first one's was missing, and only receipts say what was erased.
  return isQuestion(cause) || (place.outcome !== "stored" && tagOfKey(key) !== place.tag);
}

export function payloadOf({ v: _, key, cause, ...counts }: Doorbell): GroupPayload {
  return {
    ...counts,
    key,
    cause,
    doorbell: cause === "ingress",
    duplicateKeys: [],
    missingDays: null,
    erase: null,
  };
}

/**
 * The payload, knowing of one more ring. The same object if the ring says nothing new. A key for which it, or those
 * together with it, have no room is not kept: the reconciler brings it its receipt.
 */
function withRing(
  payload: GroupPayload,
  { key, cause }: Doorbell,
  settings: LedgerSettings,
  together: readonly GroupPayload[],
): GroupPayload {
  const isKnown = payload.key === key || payload.duplicateKeys.includes(key);
  const isKept = isKnown || !hasRoom(payload, settings, together);
  const isStronger = mayStoreAgain(cause) && !mayStoreAgain(payload.cause);
  const isFirstBell = cause === "ingress" && !payload.doorbell;
  if (isKept && !isStronger && !isFirstBell) {
    return payload;
  }
  return {
    ...payload,
    cause: isStronger ? cause : payload.cause,
    doorbell: payload.doorbell || cause === "ingress",
    duplicateKeys: isKept ? payload.duplicateKeys : [...payload.duplicateKeys, key],
  };
}

/** Has the payload room for one more key, and the group that it is of, or will be? */
function hasRoom(
  { duplicateKeys }: GroupPayload,
  { duplicateKeysMax, caps }: LedgerSettings,
  together: readonly GroupPayload[],
): boolean {
  if (duplicateKeys.length >= duplicateKeysMax) {
    return false;
  }
  const grows = keysCounted({ duplicateKeys }) < 2 + duplicateKeys.length;
  return !grows || sizeOf(together).keys < caps.keysMax;
}

/** A payload rang while it is in a live group: another key's receipt will follow the owner's. */
function ringLive(draft: Draft, group: Group, doorbell: Doorbell): void {
  const { settings } = draft;
  const { key } = doorbell;
  const id = idOfKey(key);
  const owner = group.payloads.find((payload) => idOfKey(payload.key) === id);
  assert(owner !== undefined, "an id is placed in a group that has it");
  const { state } = group;
  const notified = withRing(owner, doorbell, settings, group.payloads);
  // Its rows are decided, and somebody who looked misses them: a person may have deleted them since.
  const isAsked =
    state.at === "receipting" &&
    mayStoreAgain(doorbell.cause) &&
    state.asked?.some((one) => idOfKey(one) === id) !== true;
  if (notified === owner && !isAsked) {
    return;
  }
  const payloads = group.payloads.map((payload) => (payload === owner ? notified : payload));
  switch (state.at) {
    case "open":
    case "counting":
    case "verifying":
    case "clearing":
      draft.change({ ...group, payloads });
      break;
    case "held": {
      // Another key of these bytes may have the object whose rows the table shows: it is looked at once more.
      const isNewKey = notified.duplicateKeys.length > owner.duplicateKeys.length;
      const again = { due: draft.now, state: verifyingState(draft.now) };
      draft.change({ ...group, payloads, ...(isNewKey && isInexact(state) ? again : {}) });
      break;
    }
    case "receipting": {
      // The receipts are planned, perhaps being written: this one is appended, and settling the others keeps it.
      const isNewKey = notified.duplicateKeys.length > owner.duplicateKeys.length;
      const receipts = isNewKey
        ? [...state.receipts, receiptBesides(state, key, owner, group)]
        : state.receipts;
      const asked = isAsked ? { asked: [...(state.asked ?? []), key] } : {};
      draft.change({ ...group, payloads, state: { ...state, receipts, ...asked } });
      break;
    }
    default:
      unreachable(state);
  }
}

/** Held because of its rows, not because it breaks an invariant of ours. */
function isInexact({ found }: Extract<Group["state"], { readonly at: "held" }>): boolean {
  return found.every(({ reason }) => !reason.startsWith("broken_invariant"));
}

/** A doorbell came: a late ring for its id had only overtaken it. */
function noteDoorbell(draft: Draft, { key, cause, arrival }: Doorbell): void {
  const { now, settings } = draft;
  if (cause !== "ingress") {
    return;
  }
  const { head } = draft;
  const id = idOfKey(key);
  if (head.pendingRescues.some((pending) => pending.id === id)) {
    draft.head = { ...head, pendingRescues: head.pendingRescues.filter((pending) => pending.id !== id) };
  }
  if (now - arrival > settings.overtakenMs) {
    draft.head = { ...draft.head, backlogAt: now };
  }
}
