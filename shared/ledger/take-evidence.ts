/**
 * What VERIFY makes of its group: each payload's verdict (verify.ts) ends it, holds it for a person, or inserts what is
 * missing under a new token.
 */
import { assert, unreachable } from "../assert.ts";
import { limits } from "../limits.ts";
import type { DayRows, Receipt } from "../receipt.ts";
import type { Draft } from "./draft.ts";
import {
  type AttemptReport,
  dueNever,
  type EndedPayload,
  type Evidence,
  type Group,
  type GroupPayload,
  type GroupState,
  type GroupTask,
} from "./group.ts";
import { byDays } from "./grouping.ts";
import { later, leaseNext } from "./lease-task.ts";
import { closed, makeGroup, noRefusals, openState, receiptingState, verifyingState } from "./make-group.ts";
import { makeSuspect, ownCauseOf, separate, withOwnFailure } from "./own-failures.ts";
import { refuseAlone } from "./refuse-alone.ts";
import { shortText } from "./short-text.ts";
import { judge } from "./verify.ts";

export function takeVerified(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "verifying" }>,
  report: Extract<AttemptReport, { kind: "verified" }>,
): GroupTask | null {
  if (report.running) {
    // It was still running after the fence, and has been killed: what was read proves nothing yet.
    later(draft, group);
    return null;
  }
  const evidence = new Map(report.payloads.map((one) => [one.key, one]));
  assert(
    evidence.size === report.payloads.length && evidence.size > 0,
    "a verification answers for a payload once, and for one at least",
  );
  const { over, receipts, ended, completeView, absent, inexact, found, unsure } = judgeAll(
    draft,
    group,
    state,
    evidence,
    report.oldestDay,
  );
  const { now } = draft;
  const { failure } = group;
  const receipting = receiptingState(receipts, ended, completeView);
  if (over.length === group.payloads.length) {
    if (receipts.length === 0 && !completeView) {
      draft.end(group, ended, now);
      return null;
    }
    return leaseNext(draft, draft.change({ ...group, ...closed(over), failures: 0, state: receipting }));
  }
  let task: GroupTask | null = null;
  if (over.length > 0) {
    task = leaseNext(draft, makeGroup(draft, closed(over).payloads, receipting, now, { failure }));
  }
  if (inexact.length > 0) {
    makeGroup(draft, inexact, { at: "held", lease: null, found }, dueNever, { failure });
  }
  for (const payload of unsure) {
    verifyOn(draft, group, state, [payload], { isBlind: false, rows: null });
  }
  // It looks for a bounded number of objects: what it did not get to is looked at by another one.
  const left = group.payloads.filter(({ key }) => !evidence.has(key));
  if (left.length > 0) {
    const rows = group.rows?.filter(({ key }) => !evidence.has(key)) ?? null;
    verifyOn(draft, group, state, left, { isBlind: state.isBlind === true, rows });
  }
  insertAbsent(draft, group, state, absent);
  draft.end(group, [], now);
  return task;
}

/** A group's payloads by their verdict. */
interface Judged {
  /** Nothing more is done but to write these receipts. */
  readonly over: GroupPayload[];
  readonly receipts: Receipt[];
  readonly ended: EndedPayload[];
  readonly completeView: boolean;
  /** To be inserted. */
  readonly absent: GroupPayload[];
  /** To be held for a person, with what was found of each. */
  readonly inexact: GroupPayload[];
  readonly found: { key: GroupPayload["key"]; rowsByDay: readonly DayRows[]; reason: string }[];
  /** To be verified again, each by itself. */
  readonly unsure: GroupPayload[];
}

/** The verdict on each payload that the evidence is about. Counts late doorbells in the head. */
function judgeAll(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "verifying" }>,
  evidence: ReadonlyMap<GroupPayload["key"], Evidence>,
  oldestDay: number,
): Judged {
  const answered = group.payloads.filter(({ key }) => evidence.has(key));
  assert(answered.length === evidence.size, "a verification answers for the group's payloads");
  const over: GroupPayload[] = [];
  const receipts: Receipt[] = [];
  const ended: EndedPayload[] = [];
  const absent: GroupPayload[] = [];
  const inexact: GroupPayload[] = [];
  const unsure: GroupPayload[] = [];
  const found: Judged["found"] = [];
  let completeView = false;
  const attempted = group.inserts > 0;
  const isBlind = state.isBlind === true;
  for (const payload of answered) {
    const seen = evidence.get(payload.key);
    assert(seen !== undefined, "a verification answers for the group's payloads");
    const rows = group.rows?.find(({ key }) => key === payload.key) ?? null;
    const verdict = judge({
      payload,
      evidence: seen,
      rows,
      group: group.id,
      attempted,
      oldestDay,
      isBlind,
      erasedKeysMax: draft.settings.erasedKeysMax,
    });
    switch (verdict.kind) {
      case "end":
        if (receipts.length > 0 && receipts.length + verdict.receipts.length > draft.settings.caps.keysMax) {
          unsure.push(payload); // too many receipts for one group: looked at by itself
          break;
        }
        over.push(verdict.erase === null ? payload : { ...payload, erase: verdict.erase });
        receipts.push(...verdict.receipts);
        if (verdict.erase === null) {
          ended.push({ key: verdict.key, outcome: verdict.outcome });
        }
        // Rows whose INSERT went wrong, or of which no group is remembered: their view may be incomplete.
        completeView ||= verdict.found && (attempted || !isReceipted(seen));
        if (verdict.lateBell) {
          draft.head = { ...draft.head, lateBells: draft.head.lateBells + 1 };
        }
        break;
      case "insert":
        absent.push(verdict.payload);
        break;
      case "inexact":
        if (isBlind && group.ownFailures < draft.settings.ownFailuresMax) {
          unsure.push(payload);
          break;
        }
        inexact.push(payload);
        found.push({
          key: payload.key,
          rowsByDay: seen.rowsByDay.slice(0, limits.payloadDaysMax),
          reason: shortText(verdict.reason, limits.reasonBytesMax),
        });
        break;
      default:
        unreachable(verdict);
    }
  }
  return { over, receipts, ended, completeView, absent, inexact, found, unsure };
}

/**
 * Looked at by another VERIFY: one payload alone, its object transcoded, of which some rows are there while others of its
 * group may be to blame; or all that this one did not come to.
 */
function verifyOn(
  draft: Draft,
  { inserts, firstInsertAt, lastInsertAt, failure }: Group,
  { split, code }: Extract<GroupState, { at: "verifying" }>,
  payloads: readonly GroupPayload[],
  { isBlind, rows }: { readonly isBlind: boolean; readonly rows: Group["rows"] },
): void {
  const state = { ...verifyingState(draft.now), split, code, isBlind };
  const made = makeGroup(draft, payloads, state, draft.now, { failure });
  draft.change({ ...made, inserts, firstInsertAt, lastInsertAt, rows, outcomeUnknown: inserts > 0 });
}

/** VERIFY broke an invariant: of one payload, so that each is verified by itself; one that is alone is held. */
export function takeBrokenVerify(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "verifying" }>,
  report: Extract<AttemptReport, { kind: "broken" }>,
): void {
  const cause = ownCauseOf(report);
  const counted = withOwnFailure(draft, group, cause);
  if (cause === null || counted.ownFailures < draft.settings.ownFailuresMax) {
    later(draft, counted);
  } else if (group.payloads.length === 1) {
    separate(draft, counted, cause);
  } else {
    for (const payload of group.payloads) {
      const due = Math.max(draft.now, state.fence);
      const made = makeGroup(draft, [payload], { ...state, lease: null }, due, { failure: group.failure });
      const ownFailures = draft.settings.ownFailuresMax - 1;
      draft.change({ ...made, ownFailures, lastInsertAt: group.lastInsertAt, inserts: group.inserts });
    }
    draft.end(group, [], draft.now);
  }
}

function isReceipted({ receipts }: Evidence): boolean {
  return receipts.some(({ outcome }) => outcome === "stored");
}

/** What is missing gets a new token; payload by payload where the group as a whole failed for a reason of its own. */
function insertAbsent(
  draft: Draft,
  group: Group,
  { split, code }: Extract<GroupState, { at: "verifying" }>,
  absent: readonly GroupPayload[],
): void {
  const { now } = draft;
  const { failure } = group;
  const { refusals, lastRefusalAt } = group.payloads.length === 1 ? group : noRefusals;
  const history = { refusals, lastRefusalAt, failure };
  if (absent.length === 0) {
    return;
  }
  if (!split) {
    for (const alike of byDays(absent)) {
      makeGroup(draft, alike, openState, now, history);
    }
  } else if (absent.length > 1) {
    for (const payload of absent) {
      makeSuspect(draft, [payload], group);
    }
  } else {
    // Alone, failed for a reason of its own, and not there: that is a refusal.
    const alone: Group = { ...group, ...history, payloads: absent };
    refuseAlone(draft, alone, code, { due: now, failures: 0 });
  }
}
