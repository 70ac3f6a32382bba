/**
 * What a report makes of its group: each kind of report is taken where its step is (take-insert.ts, take-count.ts,
 * take-evidence.ts).
 */
import { assert, unreachable } from "../assert.ts";
import { limits } from "../limits.ts";
import type { PayloadKey } from "../payload-key.ts";
import { insertEnded } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import { type AttemptReport, dueNever, type Group, type GroupState, type GroupTask } from "./group.ts";
import { afterLook } from "./known-table.ts";
import { later, leaseNext } from "./lease-task.ts";
import { toVerify } from "./make-group.ts";
import { withFailedReport } from "./note-failure.ts";
import { shortText } from "./short-text.ts";
import { takeCount } from "./take-count.ts";
import { takeBrokenVerify, takeVerified } from "./take-evidence.ts";
import { takeFailure, takeStored, takeUnreadable } from "./take-insert.ts";

export function takeReport(draft: Draft, leased: Group, reported: AttemptReport): GroupTask | null {
  const { now } = draft;
  const group = withFailedReport(leased, reported, now);
  const report =
    "reason" in reported
      ? { ...reported, reason: shortText(reported.reason, limits.reasonBytesMax) }
      : reported;
  const { state } = group;
  const isInsert = state.at === "open" && state.out === "insert";
  if (isInsert) {
    draft.head = { ...draft.head, breaker: insertEnded(draft.head.breaker, group.id) };
  }
  noteEvidence(draft, report);
  switch (report.kind) {
    case "stored":
      assert(isInsert, "only an INSERT is reported as stored");
      return takeStored(draft, group, report);
    case "retry":
    case "unknown":
    case "unlisted":
    case "halted":
    case "broken":
      if (isInsert) {
        takeFailure(draft, group, report);
      } else if (report.kind === "broken" && state.at === "verifying") {
        takeBrokenVerify(draft, group, state, report);
      } else if (report.kind === "retry" && report.left !== undefined && state.at === "receipting") {
        takeLeft(draft, group, state, report.left);
      } else {
        later(draft, group);
      }
      return null;
    case "refused": {
      if (!isInsert) {
        later(draft, group);
        return null;
      }
      const transcoded = { ...group, rows: group.rows ?? report.payloads ?? null };
      if (group.outcomeUnknown) {
        // The rows may be there already: a user's view raises errors after the commit (docs/facts.md: deduplication).
        return leaseNext(draft, toVerify(draft, transcoded));
      }
      const code = String(report.code ?? report.reason);
      const counting: GroupState = { at: "counting", lease: null, why: "refused", code };
      return leaseNext(draft, draft.change({ ...transcoded, state: counting }));
    }
    case "unreadable":
      assert(isInsert, "only an INSERT reads payloads to store them");
      takeUnreadable(draft, group, report);
      return null;
    case "measured":
      assert(state.at === "open" && state.out === "measure", "only a measure is reported as measured");
      return takeMeasured(draft, { ...group, state: { ...state, lease: null } }, report);
    case "cleared":
      assert(state.at === "clearing", "only a deletion is reported as cleared");
      // After the fence, for a DELETE that was leased and not reported may still begin: it must not meet new rows.
      toVerify(draft, group);
      return null;
    case "kept": {
      assert(state.at === "clearing", "only a deletion is reported as kept");
      const found = state.found.map((one) => ({ ...one, reason: withNoObject(one.reason) }));
      draft.change({ ...group, due: dueNever, state: { at: "held", lease: null, found } });
      return null;
    }
    case "counted":
      assert(state.at === "counting", "only a count is reported as counted");
      return takeCount(draft, group, state, report);
    case "verified":
      assert(state.at === "verifying", "only a verification is reported as verified");
      return takeVerified(draft, group, state, report);
    default:
      return unreachable(report);
  }
}

/**
 * What could not be erased is retried behind the receipts that no attempt has come to yet: a payload that nobody can erase keeps none
 * of its group. When an attempt has come to all of them, the next ones are further and further apart, and have only what is left to do.
 */
function takeLeft(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "receipting" }>,
  keysLeft: readonly PayloadKey[],
): void {
  const keys = new Set(keysLeft);
  const again = state.receipts.slice(0, state.leased).filter(({ key }) => keys.has(key));
  assert(again.length >= keys.size, "what is left was leased");
  const others = state.receipts.slice(state.leased);
  const written = again.map((receipt) => ({ ...receipt, isWritten: true }) as const);
  const rest = {
    ...group,
    state: { ...state, receipts: [...others, ...written], lease: null, leased: 0 },
  };
  if (others.some(({ isWritten }) => isWritten !== true)) {
    draft.change({ ...rest, due: draft.now });
  } else {
    later(draft, rest);
  }
}

/** What the look at the table found is the head's; the group goes on. */
function takeMeasured(
  draft: Draft,
  group: Group,
  { refusal, table: measure }: Extract<AttemptReport, { kind: "measured" }>,
): GroupTask | null {
  const table = afterLook(draft.head.table, { refusal, measure }, draft.now, draft.settings);
  draft.head = { ...draft.head, table };
  return leaseNext(draft, draft.change({ ...group, due: draft.now }));
}

/** For operators: since when no count of rows was evidence. */
function noteEvidence(draft: Draft, report: AttemptReport): void {
  const before = draft.head.noEvidence ?? null;
  if (report.kind === "counted" || report.kind === "verified") {
    if (before !== null) {
      draft.head = { ...draft.head, noEvidence: null };
    }
  } else if (report.kind === "retry" && report.noEvidence === true) {
    const reason = shortText(report.reason, limits.reasonBytesMax);
    draft.head = { ...draft.head, noEvidence: { since: before?.since ?? draft.now, reason } };
  }
}

/** The addition appears once, however often it is asked for. */
function withNoObject(reason: string): string {
  const why = reason.endsWith(noObject) ? reason.slice(0, -noObject.length) : reason;
  return `${shortText(why, limits.reasonBytesMax - noObject.length)}${noObject}`;
}

const noObject = "; R2 has no object to rewrite it from";
