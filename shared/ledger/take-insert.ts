/**
 * What the end of an INSERT makes of its group. A 200 after clean attempts is proof; after an of unknown outcome one the rows are
 * counted (measured: ClickHouse 26.7 logged a token and lost its block at a SIGKILL).
 */
import { assert, unreachable } from "../assert.ts";
import { oldestDayOf } from "../clickhouse/ttl.ts";
import { idOfKey } from "../payload-key.ts";
import { afterHalt, afterPressure, afterSuccess, afterUnknown } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import type { AttemptReport, EndedPayload, Group, GroupState, GroupTask, StoredPayload } from "./group.ts";
import { afterLook, isOfOtherTable, refusedAsOther } from "./known-table.ts";
import { later, leaseNext } from "./lease-task.ts";
import { closed, makeGroup, openState, receiptingState, toVerify, verifyingState } from "./make-group.ts";
import {
  isSuspect,
  isToSeparate,
  type OwnCause,
  ownCauseOf,
  separate,
  unlistedCause,
  withOwnFailure,
} from "./own-failures.ts";
import { planReceipts } from "./receipts.ts";

type Report<K extends AttemptReport["kind"]> = Extract<AttemptReport, { kind: K }>;

export function takeStored(draft: Draft, group: Group, report: Report<"stored">): GroupTask | null {
  const { settings } = draft;
  assert(group.lastInsertAt !== null, "what is reported was leased");
  const { head } = draft;
  draft.head = {
    ...head,
    // What is known of the TTL may be a minute old: the one by which ClickHouse dropped rows of this INSERT was set before it.
    table: report.look === undefined ? head.table : afterLook(head.table, report.look, draft.now, settings),
    breaker: afterSuccess(head.breaker, settings),
    lastStoredInsertAt: Math.max(head.lastStoredInsertAt, group.lastInsertAt),
  };
  const stored: Group = { ...group, rows: group.rows ?? report.payloads };
  if (group.outcomeUnknown) {
    const counting: GroupState = { at: "counting", lease: null, why: "stored", code: "" };
    return leaseNext(draft, draft.change({ ...stored, failures: 0, state: counting }));
  }
  return leaseNext(draft, close(draft, stored, report.payloads));
}

/** The rows are in the table: the group's receipts, and what late rings it came by. */
export function close(draft: Draft, group: Group, payloads: readonly StoredPayload[]): Group {
  const { now, settings } = draft;
  const ttl = draft.head.table.measure?.ttl;
  const oldestDay = ttl === undefined ? null : oldestDayOf(ttl, now);
  const receipts = planReceipts(group, payloads, oldestDay);
  const ended: readonly EndedPayload[] = group.payloads.map(({ key }) => ({ key, outcome: "stored" }));
  const late = group.payloads.flatMap(({ key, cause, doorbell }) =>
    !doorbell && (cause === "event" || cause === "reconcile")
      ? [{ id: idOfKey(key), ring: cause, at: now }]
      : [],
  );
  if (late.length > 0) {
    // The oldest are kept: they show that doorbells are lost, and a backlog of others says no more.
    const pendingRescues = [...draft.head.pendingRescues, ...late].slice(0, settings.pendingRescuesMax);
    draft.head = { ...draft.head, pendingRescues };
  }
  // An attempt that ended unknown may have stored rows and not their view's: this group's, or those of the days that a
  // payload had before.
  const completeView = group.outcomeUnknown || group.payloads.some(({ missingDays }) => missingDays !== null);
  const state = receiptingState(receipts, ended, completeView);
  return draft.change({ ...group, ...closed(group.payloads), failures: 0, state });
}

export function takeFailure(
  draft: Draft,
  group: Group,
  report: Report<"retry" | "unknown" | "unlisted" | "halted" | "broken">,
): void {
  const { now, settings } = draft;
  const { breaker } = draft.head;
  const cause = ownCauseOf(report);
  const rows = group.rows ?? ("payloads" in report ? report.payloads : undefined) ?? null;
  const transcoded: Group = { ...withOwnFailure(draft, group, cause), rows };
  const isOwn = cause !== null && isSuspect(group, settings);
  switch (report.kind) {
    case "retry":
      // Where ClickHouse answered, an INSERT was begun: "memory limit" may be said by a view, after the commit. Without
      // an answer of its none was, and ClickHouse has nothing to do with it.
      if (report.code !== undefined && !isOwn) {
        draft.head = { ...draft.head, breaker: afterPressure(breaker, now, settings) };
      }
      laterOrApart(
        draft,
        { ...transcoded, outcomeUnknown: group.outcomeUnknown || report.code !== undefined },
        cause,
      );
      break;
    case "unknown":
      if (!isOwn) {
        draft.head = { ...draft.head, breaker: afterUnknown(breaker, group.id, now, settings) };
      }
      laterOrApart(draft, { ...transcoded, outcomeUnknown: true }, cause);
      break;
    case "broken":
      laterOrApart(draft, { ...transcoded, outcomeUnknown: true }, cause);
      break;
    case "halted":
      if (report.elsewhere === true) {
        // Its server refused it before the first row; what answers under this name next, nobody knows.
        if (!isOfOtherTable(group, draft.head.table)) {
          draft.head = { ...draft.head, table: refusedAsOther(draft.head.table, "", now) };
        }
        later(draft, transcoded);
        break;
      }
      // "No such table" may be said by a view, after the commit: it proves as little as a timeout.
      draft.head = { ...draft.head, breaker: afterHalt(breaker, now, settings) };
      later(draft, { ...transcoded, outcomeUnknown: true });
      break;
    case "unlisted": {
      draft.head = { ...draft.head, breaker: afterUnknown(breaker, group.id, now, settings) };
      const counted: Group = { ...transcoded, outcomeUnknown: true, unlisted: group.unlisted + 1 };
      if (counted.unlisted < settings.unlistedMax) {
        later(draft, counted);
      } else {
        toVerify(draft, counted, { code: unlistedCause(report).reason });
      }
      break;
    }
    default:
      unreachable(report);
  }
}

/** The same group again, later; or, where it has failed often enough for a reason of its own, what it falls into. */
function laterOrApart(draft: Draft, group: Group, cause: OwnCause | null): void {
  if (isToSeparate(draft, group, cause)) {
    separate(draft, group, cause);
  } else {
    later(draft, group);
  }
}

/** Some payloads could not be read, so no INSERT was begun. The others go on without them. */
export function takeUnreadable(draft: Draft, group: Group, report: Report<"unreadable">): void {
  const { now } = draft;
  const unreadable = new Set(report.keys);
  const bad = group.payloads.filter(({ key }) => unreadable.has(key));
  const good = group.payloads.filter(({ key }) => !unreadable.has(key));
  assert(bad.length > 0 && bad.length === unreadable.size, "what is unreadable is in the group");
  if (group.inserts > 1) {
    // An earlier attempt did begin: some of its rows may be there, under the token that all of them share.
    toVerify(draft, group);
    return;
  }
  if (good.length === 0) {
    toVerify(draft, { ...group, lastInsertAt: null, firstInsertAt: null, inserts: 0 });
    return;
  }
  const { failure } = group;
  makeGroup(draft, good, openState, now); // it was not theirs
  makeGroup(draft, bad, verifyingState(now), now, { failure });
  draft.end(group, [], now);
}
