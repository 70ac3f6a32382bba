/**
 * Handing a group's next step to a consumer, who has it alone until the lease ends, and taking back what was out for
 * too long. Here the token's trust ends: past its safe window, or under another transcoder, a group is not inserted
 * again but verified.
 */
import { assert, unreachable } from "../assert.ts";
import { afterUnknown, cameBack, cameFor, mayInsert, wentOut } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import type { Group, GroupTask, Lease } from "./group.ts";
import type { TableState } from "./head.ts";
import { toVerify } from "./make-group.ts";
import type { LedgerSettings } from "./settings.ts";

/** Queue `group` rang for this group: its next step, or null if there is none for the caller now. */
export function takeGroup(
  draft: Draft,
  group: Group,
  codecVersion: number,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  const { lease } = group.state;
  const breaker = cameFor(draft.head.breaker, group.id);
  if (breaker !== draft.head.breaker) {
    draft.head = { ...draft.head, breaker };
  }
  if (lease === null) {
    return handOut(draft, group, codecVersion, now, settings);
  }
  return now < lease.until
    ? null
    : handOut(draft, expire(draft, group, now, settings), codecVersion, now, settings);
}

export function handOut(
  draft: Draft,
  group: Group,
  codecVersion: number,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  const { state } = group;
  assert(state.lease === null, "an attempt is handed out when none is out");
  switch (state.at) {
    case "open":
      return handOutOpen(draft, group, codecVersion, now, settings);
    case "counting": {
      const { base, out, lease } = attempt(group, now, settings);
      draft.change({ ...out, state: { ...state, lease } });
      return { ...base, step: "count" };
    }
    case "verifying": {
      if (now < state.fence) {
        return null; // an INSERT of it may still be running: what is seen now proves nothing
      }
      const { base, out, lease } = attempt(group, now, settings);
      draft.change({ ...out, state: { ...state, lease } });
      return { ...base, step: "verify", rows: group.rows };
    }
    case "closing": {
      const { base, out, lease } = attempt(group, now, settings);
      draft.change({ ...out, state: { ...state, lease, given: state.receipts.length } });
      return { ...base, step: "receipts", receipts: state.receipts, completeView: state.completeView };
    }
    case "held":
      return null;
    case "clearing": {
      const { base, out, lease } = attempt(group, now, settings);
      draft.change({ ...out, lastInsertAt: now, state: { ...state, lease } });
      return { ...base, step: "clear" };
    }
    default:
      return unreachable(state);
  }
}

function handOutOpen(
  draft: Draft,
  group: Group,
  codecVersion: number,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  const { head } = draft;
  if (group.codecVersion !== null && group.codecVersion !== codecVersion) {
    // Another transcoder may write other bytes, and under one token ClickHouse keeps the first (FACTS B2).
    return handOut(draft, toVerify(draft, group, now, settings), codecVersion, now, settings);
  }
  if (!mayInsert(head, now)) {
    if (group.rings > 0) {
      // It was rung and its slot is taken. The ring was not lost: it is due again as soon as there is a slot.
      draft.change({ ...group, rings: 0, due: now });
    }
    return null;
  }
  if (group.firstInsertAt !== null && now - group.firstInsertAt > settings.measureAfterMs) {
    if (now - head.table.measuredAt > settings.measureFreshMs) {
      const { base, out, lease } = attempt(group, now, settings);
      draft.change({ ...out, state: { at: "open", lease, out: "measure" } });
      return { ...base, step: "measure" };
    }
    if (!isTrusted(group, group.firstInsertAt, head.table, now)) {
      return handOut(draft, toVerify(draft, group, now, settings), codecVersion, now, settings);
    }
  }
  const { base, out, lease } = attempt(group, now, settings);
  draft.head = { ...head, breaker: wentOut(head.breaker, group.id) };
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
  // An attempt that sent an INSERT, or may have, left the group unclean; `attempts` and `inserts` also count those that
  // ended before they sent it.
  const serverDeadline = lease.until + (head.table.measure?.clockAheadMs ?? 0);
  return { ...base, step: "insert", isFirstInsert: !group.unclean, serverDeadline };
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

function attempt(
  group: Group,
  now: number,
  settings: LedgerSettings,
): {
  readonly base: Pick<GroupTask, "group" | "attempt" | "deadline" | "payloads">;
  readonly out: Group;
  readonly lease: Lease;
} {
  const number = group.attempts + 1;
  const lease: Lease = { attempt: number, until: now + settings.leaseMs };
  return {
    base: { group: group.id, attempt: number, deadline: lease.until, payloads: group.payloads },
    out: { ...group, attempts: number, rings: 0, due: lease.until },
    lease,
  };
}

/** The attempt was never reported. If it was an INSERT it may have stored the rows, or may yet. */
export function expire(draft: Draft, group: Group, now: number, settings: LedgerSettings): Group {
  const { state } = group;
  switch (state.at) {
    case "open": {
      const isInsert = state.out === "insert";
      if (isInsert) {
        const breaker = cameBack(draft.head.breaker, group.id);
        draft.head = { ...draft.head, breaker: afterUnknown(breaker, group.id, now, settings) };
      }
      return draft.change({
        ...group,
        unclean: group.unclean || isInsert,
        due: now,
        state: { ...state, lease: null },
      });
    }
    case "counting":
    case "verifying":
      return draft.change({ ...group, due: now, state: { ...state, lease: null } });
    case "closing":
    case "clearing":
      return draft.change({ ...group, due: now, state: { ...state, lease: null } });
    case "held":
      return assertNever("what is held is never out");
    default:
      return unreachable(state);
  }
}

function assertNever(claim: string): never {
  assert(false, claim);
}
