/**
 * Handing a group's next step to a consumer, who has it alone until the lease ends, and taking back what was leased for
 * too long. Here the token's trust ends: past its safe window, or under another transcoder, a group is not inserted
 * again but verified.
 */
import { assert, unreachable } from "../assert.ts";
import type { Receipt } from "../receipt.ts";
import { afterSilence, insertBegan, insertEnded, isWideOut, mayInsert, wasFetched } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import type { Group, GroupState, GroupTask, Lease } from "./group.ts";
import type { TableState } from "./head.ts";
import { isOfOtherTable, isUnknown } from "./known-table.ts";
import { toVerify } from "./make-group.ts";
import { withSilence } from "./note-failure.ts";
import { isSuspect, isToSeparate, neverReported, separate, withOwnFailure } from "./own-failures.ts";
import { backOffMs } from "./settings.ts";
import { hasErased, takeOutErased } from "./take-out.ts";

/** Queue `group` rang for this group: its next step, or null if there is none for the caller now. */
export function takeGroup(draft: Draft, group: Group, codecVersion: number): GroupTask | null {
  const { now } = draft;
  const { lease } = group.state;
  const breaker = wasFetched(draft.head.breaker, group.id);
  if (breaker !== draft.head.breaker) {
    draft.head = { ...draft.head, breaker };
  }
  if (lease === null) {
    return leaseTask(draft, group, codecVersion);
  }
  return now < lease.until ? null : leaseTask(draft, expire(draft, group), codecVersion);
}

export function leaseTask(draft: Draft, group: Group, codecVersion: number): GroupTask | null {
  const { now } = draft;
  const { state } = group;
  assert(state.lease === null, "an attempt is leased when none is in flight");
  switch (state.at) {
    case "open":
      return leaseOpen(draft, group, codecVersion);
    case "counting": {
      const { base, out, lease } = beginAttempt(draft, group);
      draft.change({ ...out, state: { ...state, lease } });
      return { ...base, step: "count", why: state.why };
    }
    case "verifying": {
      if (now < state.fence) {
        return null; // an INSERT of it may still be running: what is seen now proves nothing
      }
      const { base, out, lease } = beginAttempt(draft, group);
      draft.change({ ...out, state: { ...state, lease } });
      return { ...base, step: "verify", rows: group.rows, isBlind: state.isBlind === true };
    }
    case "receipting": {
      const { base, out, lease } = beginAttempt(draft, group);
      const receipts = receiptsAtOnce(state.receipts, draft.settings.receiptsMax);
      draft.change({ ...out, state: { ...state, lease, leased: receipts.length } });
      const { failure } = group;
      return { ...base, step: "receipts", receipts, completeView: state.completeView, failure };
    }
    case "held":
      return null;
    case "clearing": {
      const { base, out, lease } = beginAttempt(draft, group);
      draft.change({ ...out, lastInsertAt: now, state: { ...state, lease } });
      return { ...base, step: "clear" };
    }
    default:
      return unreachable(state);
  }
}

/** Those that one attempt writes. All are one INSERT; what is dead or erased takes further calls, each of them. */
function receiptsAtOnce(receipts: readonly Receipt[], callsMax: number): readonly Receipt[] {
  let calls = 0;
  const end = receipts.findIndex(
    ({ outcome }) => (outcome === "dead" || outcome === "erased") && ++calls > callsMax,
  );
  return end < 0 ? receipts : receipts.slice(0, end);
}

function leaseOpen(draft: Draft, group: Group, codecVersion: number): GroupTask | null {
  const { now, settings } = draft;
  if (hasErased(group)) {
    const rest = takeOutErased(draft, group);
    return rest === null ? null : leaseTask(draft, rest, codecVersion);
  }
  const { head } = draft;
  if (group.codecVersion !== null && group.codecVersion !== codecVersion) {
    // Another transcoder may write other bytes, and under one token ClickHouse keeps the first (docs/facts.md: deduplication).
    return leaseTask(draft, toVerify(draft, group), codecVersion);
  }
  if (isOfOtherTable(group, head.table)) {
    return leaseTask(draft, toVerify(draft, group), codecVersion);
  }
  if (!mayInsert(head, now)) {
    if (group.rings > 0) {
      // It was notified and its slot is taken. The ring was not lost: it is due again as soon as there is a slot.
      draft.change({ ...group, rings: 0, due: now });
    }
    return null;
  }
  if (group.blocks > 1 && isWideOut(head.breaker)) {
    draft.change({ ...group, rings: 0, due: now + settings.retryFirstMs });
    return null;
  }
  if (isUnknown(head.table, now, settings)) {
    return leaseMeasure(draft, group, codecVersion);
  }
  if (group.firstInsertAt !== null && now - group.firstInsertAt > settings.measureAfterMs) {
    if (now - head.table.measuredAt > settings.measureFreshMs) {
      return leaseMeasure(draft, group, codecVersion);
    }
    if (!isTrusted(group, group.firstInsertAt, head.table, now)) {
      return leaseTask(draft, toVerify(draft, group), codecVersion);
    }
  }
  const { base, out, lease } = beginAttempt(draft, group);
  draft.head = { ...head, breaker: insertBegan(head.breaker, group) };
  draft.change({
    ...out,
    codecVersion,
    inserts: group.inserts + 1,
    firstInsertAt: group.firstInsertAt ?? now,
    lastInsertAt: now,
    // What was measured before is at most what was used by then: the safe side.
    blocksBefore: group.inserts === 0 ? (head.table.measure?.blocks ?? null) : group.blocksBefore,
    state: { at: "open", lease, out: "insert" },
  });
  // An attempt that sent an INSERT, or may have, left the group of unknown outcome; `attempts` and `inserts` also count those that
  // ended before they sent it.
  const serverDeadline = lease.until + (head.table.measure?.clockAheadMs ?? 0);
  return {
    ...base,
    step: "insert",
    blocks: group.blocks,
    isFirstInsert: !group.outcomeUnknown,
    serverDeadline,
    // A table that a person copied and put in the place of ours has our table's fence. A first INSERT is in it once, as in ours; a
    // retry may meet the copied rows of its first attempt, and must be refused.
    byColumn: group.inserts === 0 && isFenced(head.table),
  };
}

/** Does the table that is inserted into hold a fence of its own? */
function isFenced({ identity, measure }: TableState): boolean {
  return measure?.isFenced === true && measure.identity === identity;
}

/** The consumer that measures also inserts: its transcoder is the group's from here on. */
function leaseMeasure(draft: Draft, group: Group, codecVersion: number): GroupTask {
  const { base, out, lease } = beginAttempt(draft, group);
  draft.change({ ...out, codecVersion, state: { at: "open", lease, out: "measure" } });
  return { ...base, step: "measure" };
}

/**
 * May ClickHouse be trusted to remember the token? For half of the table's window, in blocks and in time: the other
 * half is for what others write until this INSERT ends. Example: window 100,000; blocks 7,000 before the first
 * attempt, 57,001 now: no.
 */
function isTrusted(group: Group, firstInsertAt: number, table: TableState, now: number): boolean {
  if (group.blocksBefore === null || table.measure === null) {
    return false;
  }
  const { blocks, windowBlocks, windowMs } = table.measure;
  const used = blocks - group.blocksBefore;
  // Fewer blocks than before: partitions were dropped, and their tokens with them.
  return used >= 0 && used < windowBlocks / 2 && (windowMs === null || now - firstInsertAt < windowMs / 2);
}

function beginAttempt(
  draft: Draft,
  group: Group,
): {
  readonly base: Pick<GroupTask, "group" | "attempt" | "deadline" | "payloads" | "table">;
  readonly out: Group;
  readonly lease: Lease;
} {
  const { now, settings } = draft;
  const table = draft.head.table.identity ?? null;
  const number = group.attempts + 1;
  const lease: Lease = { attempt: number, until: now + settings.leaseMs };
  return {
    base: { group: group.id, attempt: number, deadline: lease.until, payloads: group.payloads, table },
    out: { ...group, attempts: number, rings: 0, due: lease.until },
    lease,
  };
}

/** The same caller goes on with the group's next step. It transcodes as the group was transcoded before. */
export function leaseNext(draft: Draft, group: Group): GroupTask | null {
  return leaseTask(draft, group, group.codecVersion ?? 0);
}

/** Same group, same token, later. */
export function later(draft: Draft, group: Group): Group {
  const { now, settings } = draft;
  return draft.change({
    ...group,
    failures: group.failures + 1,
    due: now + backOffMs(group.failures, settings),
    state: leaseEnded(group.state),
  });
}

/**
 * The attempt was never reported. If it was an INSERT it may have stored the rows, or may yet; and the group may have
 * killed its isolate, or be too slow for any lease.
 */
export function expire(draft: Draft, leased: Group): Group {
  const { now, settings } = draft;
  const group = withSilence(leased, now);
  const { state } = group;
  if (state.at === "verifying") {
    // Transcoding an object may have killed the isolate that verified it: the third time, none is transcoded any more.
    const counted = withOwnFailure(draft, group, neverReported);
    const isBlind = state.isBlind === true || counted.ownFailures >= settings.ownFailuresMax;
    return draft.change({ ...counted, due: now, state: { ...state, lease: null, isBlind } });
  }
  if (state.at !== "open" || state.out !== "insert") {
    return draft.change({ ...group, due: now, state: leaseEnded(state) });
  }
  const breaker = insertEnded(draft.head.breaker, group.id);
  draft.head = {
    ...draft.head,
    breaker: isSuspect(group, settings) ? breaker : afterSilence(breaker, group.id, now, settings),
  };
  const counted = withOwnFailure(draft, group, neverReported);
  const expired = draft.change({ ...counted, outcomeUnknown: true, due: now, state: leaseEnded(state) });
  if (!isToSeparate(draft, expired, neverReported)) {
    return expired;
  }
  separate(draft, expired, neverReported);
  const separated = draft.group(group.id);
  assert(separated !== undefined, "what may have been stored is verified as a whole");
  return separated;
}

function leaseEnded(state: GroupState): GroupState {
  assert(state.at !== "held", "what is held is never out");
  return { ...state, lease: null };
}
