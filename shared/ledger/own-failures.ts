/**
 * Failures that may be a group's own: a payload that no isolate can decode, no lease is long enough for, or that
 * ClickHouse has no memory for. Such a group is not tried whole for ever. After a few of them it is split, so that its
 * innocents are stored within minutes; a payload that is alone and fails on ends as a dead letter, or is held.
 *
 * Nobody can tell from one group whether it is the group or everything that fails. So what everybody would meet (no
 * answer, too many parts) counts only when another group was stored since, and without such a proof one group per minute
 * is split at most: an outage of a day leaves 1440 groups more, not 500 times as many.
 */
import { limits } from "../limits.ts";
import type { Draft } from "./draft.ts";
import { type AttemptReport, dueNever, type Group, type GroupPayload } from "./group.ts";
import { makeGroup, openState, toVerify } from "./make-group.ts";
import type { LedgerSettings } from "./settings.ts";
import { shortText } from "./short-text.ts";

/** Why an INSERT failed, as far as it may be its group's own fault. */
export interface OwnCause {
  /** The reason of its dead letter, should it come to that. */
  readonly reason: string;
  /** Counts although nothing was stored since the last one. */
  readonly isSure: boolean;
  /** A payload that is alone ends with it: as a dead letter, held for a person, or it is tried on. */
  readonly alone: "dead" | "held" | "again";
}

/** MEMORY_LIMIT_EXCEEDED: its block may be the one that is too large. */
const memoryLimit = 241;
/** TIMEOUT_EXCEEDED and TOO_SLOW, said by ClickHouse itself: a view of the user's may be too slow for it. */
const timeouts: readonly number[] = [159, 160];

/** The lease ended without a report: the isolate died, or took longer. */
export const neverReported: OwnCause = { reason: "too_slow", isSure: true, alone: "dead" };

/** Reasons of dead letters that are not a refusal of ClickHouse's. */
export const ownReasons: readonly string[] = ["too_slow", "too_large"];

/** A complete answer with a code that no table lists. */
export function unlistedCause({
  code,
  reason,
}: {
  readonly code?: number;
  readonly reason: string;
}): OwnCause {
  return { reason: String(code ?? reason), isSure: true, alone: "dead" };
}

/** Null: it is everybody's, and says nothing about this group. */
export function ownCauseOf(report: AttemptReport): OwnCause | null {
  switch (report.kind) {
    case "retry":
      if (report.passes === true) {
        return null;
      }
      if (report.code === memoryLimit || report.tooLarge === true) {
        return { reason: "too_large", isSure: true, alone: "dead" };
      }
      // Nothing was sent: R2 may not have answered, for this object or for all.
      return report.code === undefined ? { reason: "unreadable", isSure: true, alone: "again" } : null;
    case "unknown":
      return report.code !== undefined && timeouts.includes(report.code)
        ? { reason: "too_slow", isSure: true, alone: "dead" }
        : { reason: "no_answer", isSure: false, alone: "again" };
    case "unlisted":
      return unlistedCause(report);
    case "broken":
      return { reason: `broken_invariant: ${report.reason}`, isSure: true, alone: "held" };
    default:
      return null;
  }
}

/**
 * One more failure of this cause, if it counts. Example: ClickHouse does not answer for group A at 12:00 and 12:01, and
 * B was stored in between: then it is not everybody's.
 */
export function withOwnFailure(draft: Draft, group: Group, cause: OwnCause | null): Group {
  if (cause === null || !(cause.isSure || draft.head.lastStoredInsertAt > group.ownFailedAt)) {
    return group;
  }
  return { ...group, ownFailures: group.ownFailures + 1, ownFailedAt: draft.now };
}

/** Has it had its tries, and may it be taken apart now? */
export function isToSeparate(draft: Draft, group: Group, cause: OwnCause | null): cause is OwnCause {
  const { head, now, settings } = draft;
  if (cause === null || group.ownFailures < settings.ownFailuresMax) {
    return false;
  }
  if (group.payloads.length === 1) {
    return cause.alone !== "again";
  }
  return head.lastStoredInsertAt >= group.made || now - head.lastSplitAt >= settings.splitEveryMs;
}

/** Is it of a group that was split? Then its failures say nothing about ClickHouse. */
export function isSuspect({ ownFailures }: Group, { ownFailuresMax }: LedgerSettings): boolean {
  return ownFailures >= ownFailuresMax - 1;
}

/**
 * Takes the group apart. Where some of it may have been stored, VERIFY does, payload by payload. Where nothing was ever
 * sent it falls into eighths: 500, 63, 8, 1. What is alone is held, or refused once.
 */
export function separate(draft: Draft, group: Group, cause: OwnCause): void {
  const { now, settings } = draft;
  const [alone] = group.payloads;
  if (group.payloads.length === 1 && alone !== undefined && cause.alone === "held") {
    const reason = shortText(cause.reason, limits.reasonBytesMax);
    const found = [{ key: alone.key, rowsByDay: [], reason }];
    draft.change({ ...group, due: dueNever, state: { at: "held", lease: null, found } });
    return;
  }
  if (group.payloads.length > 1) {
    draft.head = { ...draft.head, lastSplitAt: now };
  }
  if (group.outcomeUnknown || group.payloads.length === 1) {
    // Alone without ever being sent: no isolate can hold it. VERIFY's evidence ends it like the others.
    // The isolate that transcodes it may not survive: its rows are counted, and compared with what its object says.
    toVerify(draft, { ...group, ownFailures: 0 }, { code: cause.reason, isBlind: cause === neverReported });
    return;
  }
  for (const part of partsOf(group.payloads, settings.splitParts)) {
    makeSuspect(draft, part, group);
  }
  draft.end(group, [], now);
}

/** A group out of a split one: its next failure separates it again. */
export function makeSuspect(
  draft: Draft,
  payloads: readonly GroupPayload[],
  { failure }: Pick<Group, "failure">,
): void {
  const made = makeGroup(draft, payloads, openState, draft.now, { failure });
  draft.change({ ...made, ownFailures: draft.settings.ownFailuresMax - 1, ownFailedAt: draft.now });
}

/** At most so many parts that hardly differ in size. */
function partsOf(payloads: readonly GroupPayload[], parts: number): readonly (readonly GroupPayload[])[] {
  const each = Math.ceil(payloads.length / parts);
  return Array.from({ length: Math.ceil(payloads.length / each) }, (_, i) =>
    payloads.slice(i * each, (i + 1) * each),
  );
}
