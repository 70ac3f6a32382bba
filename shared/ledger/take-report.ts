/**
 * What a report makes of its group. A 200 after clean attempts is proof; after an unclean one the rows are counted
 * (measured: ClickHouse 26.7 logged a token and lost its block at a SIGKILL). A refusal splits the group only when
 * the table shows none of its rows; a payload that is alone dies after three refusals, with other groups stored in
 * between. Everything else is VERIFY's.
 */
import { assert, unreachable } from "../assert.ts";
import { oldestDayOf } from "../clickhouse/ttl.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import { afterHalt, afterPressure, afterSuccess, afterUnknown, cameBack } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import { endOfRows } from "./expiry.ts";
import type {
  AttemptReport,
  DayRows,
  EndedPayload,
  Evidence,
  Group,
  GroupPayload,
  GroupState,
  GroupTask,
  Receipt,
  StoredPayload,
} from "./group.ts";
import { never } from "./group.ts";
import { handOut } from "./hand-out.ts";
import {
  blankReceipt,
  closingState,
  keysOf,
  makeGroup,
  noRefusals,
  openState,
  type Refusals,
  toVerify,
  verifyingState,
} from "./make-group.ts";
import { backOffMs, type LedgerSettings } from "./settings.ts";
import { deadReceipts, judge } from "./verify.ts";

type Report<K extends AttemptReport["kind"]> = Extract<AttemptReport, { kind: K }>;

export function takeReport(
  draft: Draft,
  group: Group,
  report: AttemptReport,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  const { state } = group;
  const isInsert = state.at === "open" && state.out === "insert";
  if (isInsert) {
    draft.head = { ...draft.head, breaker: cameBack(draft.head.breaker, group.id) };
  }
  switch (report.kind) {
    case "stored":
      assert(isInsert, "only an INSERT is reported as stored");
      return takeStored(draft, group, report, now, settings);
    case "retry":
    case "unknown":
    case "unlisted":
    case "halted":
      if (isInsert) {
        takeFailure(draft, group, report, now, settings);
      } else {
        later(draft, group, now, settings);
      }
      return null;
    case "refused": {
      if (!isInsert) {
        later(draft, group, now, settings);
        return null;
      }
      const transcoded = { ...group, rows: group.rows ?? report.payloads ?? null };
      if (group.unclean) {
        // The rows may be there already: a user's view raises errors after the commit (FACTS B8).
        return handOutAgain(draft, toVerify(draft, transcoded, now, settings), now, settings);
      }
      const code = String(report.code ?? report.reason);
      const counting: GroupState = { at: "counting", lease: null, why: "refused", code };
      return handOutAgain(draft, draft.change({ ...transcoded, due: now, state: counting }), now, settings);
    }
    case "unreadable":
      assert(isInsert, "only an INSERT reads payloads to store them");
      takeUnreadable(draft, group, report, now, settings);
      return null;
    case "measured":
      assert(state.at === "open" && state.out === "measure", "only a measure is reported as measured");
      draft.head = { ...draft.head, table: { ...draft.head.table, measure: report.table, measuredAt: now } };
      return handOutAgain(
        draft,
        draft.change({ ...group, due: now, state: { ...state, lease: null } }),
        now,
        settings,
      );
    case "cleared":
      assert(state.at === "clearing", "only a deletion is reported as cleared");
      // After the fence, for a DELETE that was handed out and not reported may still begin: it must not meet new rows.
      toVerify(draft, group, now, settings);
      return null;
    case "kept": {
      assert(state.at === "clearing", "only a deletion is reported as kept");
      const found = state.found.map((one) => ({
        ...one,
        reason: `${one.reason}; R2 has no object to rewrite it from`,
      }));
      draft.change({ ...group, due: never, state: { at: "held", lease: null, found } });
      return null;
    }
    case "counted":
      assert(state.at === "counting", "only a count is reported as counted");
      return takeCount(draft, group, state, report, now, settings);
    case "verified":
      assert(state.at === "verifying", "only a verification is reported as verified");
      return takeVerified(draft, group, state, report, now, settings);
    default:
      return unreachable(report);
  }
}

/** The same caller goes on with the group's next step. It transcodes as the group was transcoded before. */
function handOutAgain(draft: Draft, group: Group, now: number, settings: LedgerSettings): GroupTask | null {
  return handOut(draft, group, group.codecVersion ?? 0, now, settings);
}

/** Same group, same token, later. */
function later(draft: Draft, group: Group, now: number, settings: LedgerSettings): Group {
  const { state } = group;
  const free: Group = {
    ...group,
    failures: group.failures + 1,
    due: now + backOffMs(group.failures, settings),
  };
  switch (state.at) {
    case "open":
      return draft.change({ ...free, state: { ...state, lease: null } });
    case "counting":
    case "verifying":
      return draft.change({ ...free, state: { ...state, lease: null } });
    case "closing":
    case "clearing":
      return draft.change({ ...free, state: { ...state, lease: null } });
    case "held":
      return unreachableState("what is held is never out");
    default:
      return unreachable(state);
  }
}

// --- an INSERT ended

function takeStored(
  draft: Draft,
  group: Group,
  report: Report<"stored">,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  assert(group.lastInsertAt !== null, "what is reported was handed out");
  const { head } = draft;
  draft.head = {
    ...head,
    breaker: afterSuccess(head.breaker, settings),
    lastStoredInsertAt: Math.max(head.lastStoredInsertAt, group.lastInsertAt),
  };
  const stored: Group = { ...group, failures: 0, due: now, rows: group.rows ?? report.payloads };
  if (group.unclean) {
    const counting: GroupState = { at: "counting", lease: null, why: "stored", code: "" };
    return handOutAgain(draft, draft.change({ ...stored, state: counting }), now, settings);
  }
  return handOutAgain(draft, close(draft, stored, report.payloads, now), now, settings);
}

/** The rows are in the table: the group's receipts, and what late rings it came by. */
function close(draft: Draft, group: Group, payloads: readonly StoredPayload[], now: number): Group {
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
    draft.head = { ...draft.head, pendingRescues: [...draft.head.pendingRescues, ...late] };
  }
  // An attempt that ended unknown may have stored rows and not their view's: this group's, or those of the days that a
  // payload had before.
  const completeView = group.unclean || group.payloads.some(({ only }) => only !== null);
  const state = closingState(receipts, ended, completeView);
  return draft.change({ ...group, failures: 0, due: now, state });
}

/** Receipts of a stored group: the owner's first, then those of its other keys. */
function planReceipts(
  group: Group,
  stored: readonly StoredPayload[],
  oldestDay: number | null,
): readonly Receipt[] {
  const byKey = new Map(stored.map((payload) => [payload.key, payload]));
  assert(byKey.size === group.payloads.length, "a stored group reports each of its payloads once");
  return group.payloads.flatMap((payload) => {
    const came = byKey.get(payload.key);
    assert(came !== undefined, "a stored group reports its own payloads");
    const { only, spans } = payload;
    const expected = only === null ? spans : sumOf(only.whole.filter(({ day }) => only.days.includes(day)));
    assert(sumOf(came.rowsByDay) === expected, "a payload's rows are the spans that the ingress counted");
    const blank = blankReceipt(payload, group.id, came);
    const own: Receipt = { ...blank, ...endOfRows(only?.whole ?? came.rowsByDay, oldestDay) };
    return [own, ...payload.duplicateKeys.map((key) => ({ ...blank, key }))];
  });
}

function takeFailure(
  draft: Draft,
  group: Group,
  report: Report<"retry" | "unknown" | "unlisted" | "halted">,
  now: number,
  settings: LedgerSettings,
): void {
  const { breaker } = draft.head;
  const transcoded: Group = { ...group, rows: group.rows ?? report.payloads ?? null };
  switch (report.kind) {
    case "retry":
      draft.head = { ...draft.head, breaker: afterPressure(breaker, now, settings) };
      // Where ClickHouse answered, an INSERT was begun: "memory limit" may be said by a view, after the commit. Without
      // an answer of its none was.
      later(draft, { ...transcoded, unclean: group.unclean || report.code !== undefined }, now, settings);
      break;
    case "unknown":
      draft.head = { ...draft.head, breaker: afterUnknown(breaker, group.id, now, settings) };
      later(draft, { ...transcoded, unclean: true }, now, settings);
      break;
    case "halted":
      // "No such table" may be said by a view, after the commit: it proves as little as a timeout.
      draft.head = { ...draft.head, breaker: afterHalt(breaker, now, settings) };
      later(draft, { ...transcoded, unclean: true }, now, settings);
      break;
    case "unlisted": {
      draft.head = { ...draft.head, breaker: afterUnknown(breaker, group.id, now, settings) };
      const counted: Group = { ...transcoded, unclean: true, unlisted: group.unlisted + 1 };
      if (counted.unlisted < settings.unlistedMax) {
        later(draft, counted, now, settings);
      } else {
        toVerify(draft, counted, now, settings, { code: String(report.code ?? report.reason) });
      }
      break;
    }
    default:
      unreachable(report.kind);
  }
}

/** Some payloads could not be read, so no INSERT was begun. The others go on without them. */
function takeUnreadable(
  draft: Draft,
  group: Group,
  report: Report<"unreadable">,
  now: number,
  settings: LedgerSettings,
): void {
  const unreadable = new Set(report.keys);
  const bad = group.payloads.filter(({ key }) => unreadable.has(key));
  const good = group.payloads.filter(({ key }) => !unreadable.has(key));
  assert(bad.length > 0 && bad.length === unreadable.size, "what is unreadable is in the group");
  if (group.inserts > 1) {
    // An earlier attempt did begin: some of its rows may be there, under the token that all of them share.
    toVerify(draft, group, now, settings);
    return;
  }
  if (good.length === 0) {
    toVerify(draft, { ...group, lastInsertAt: null, firstInsertAt: null, inserts: 0 }, now, settings);
    return;
  }
  makeGroup(draft, good, openState, now, now, settings);
  makeGroup(draft, bad, verifyingState(now), now, now, settings);
  draft.end(group, [], now);
}

// --- the rows were counted

function takeCount(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "counting" }>,
  report: Report<"counted">,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  const found = new Map(report.payloads.map(({ key, rowsByDay }) => [key, rowsByDay]));
  assert(found.size === group.payloads.length, "a count answers for each payload once");
  switch (state.why) {
    case "stored": {
      const { rows } = group;
      assert(rows !== null, "what was stored was transcoded");
      const isWhole = rows.every(({ key, rowsByDay }) => covers(found.get(key), rowsByDay));
      return handOutAgain(
        draft,
        isWhole ? close(draft, group, rows, now) : toVerify(draft, group, now, settings),
        now,
        settings,
      );
    }
    case "refused": {
      const isAbsent = group.payloads.every(({ key }) => isNoneOf(group, key, found.get(key) ?? []));
      if (!isAbsent) {
        return handOutAgain(draft, toVerify(draft, group, now, settings), now, settings);
      }
      if (group.payloads.length === 1) {
        const again = { due: now + backOffMs(group.failures, settings), failures: group.failures + 1 };
        refuseAlone(draft, group, state.code, again, now, settings);
      } else {
        for (const half of halvesOf(group.payloads)) {
          makeGroup(draft, half, openState, now, now, settings);
        }
      }
      draft.end(group, [], now);
      return null;
    }
    default:
      return unreachable(state.why);
  }
}

/**
 * Nothing of what this group was to insert of a payload. The days that the payload had before do not count: a group that
 * went to VERIFY for them would come back with the same refusal for ever.
 */
function isNoneOf({ rows }: Group, key: PayloadKey, found: readonly DayRows[]): boolean {
  const inserted = rows?.find((one) => one.key === key)?.rowsByDay;
  return found.every((one) => one.rows === 0 || inserted?.every(({ day }) => day !== one.day) === true);
}

/** Exactly the inserted rows on the inserted days. Days that a payload had before this group are no concern here. */
function covers(found: readonly DayRows[] | undefined, inserted: readonly DayRows[]): boolean {
  return inserted.every(({ day, rows }) => found?.find((one) => one.day === day)?.rows === rows);
}

function halvesOf(payloads: readonly GroupPayload[]): readonly (readonly GroupPayload[])[] {
  const middle = Math.ceil(payloads.length / 2);
  return [payloads.slice(0, middle), payloads.slice(middle)];
}

/**
 * One more refusal of a payload that is alone. It counts if another group was stored whose INSERT began after the
 * last one that counted: then not everything is refused. Example, three refusals: at 12:00, at 12:02 after a group
 * that was handed out at 12:01, at 12:04 with nothing stored since: two count.
 */
function countRefusal(draft: Draft, { refusals, lastRefusalAt }: Refusals, now: number): Refusals {
  const counts = refusals === 0 || draft.head.lastStoredInsertAt > lastRefusalAt;
  return counts ? { refusals: refusals + 1, lastRefusalAt: now } : { refusals, lastRefusalAt };
}

/**
 * A payload that is alone was refused, and the table shows none of its rows. It dies, or is tried again, both in a group
 * of its own: the server may have committed before a view refused, and lost the rows with its life while it kept the
 * token (see the head of this file). Under that token a clean 200 would be for rows that nobody has.
 */
function refuseAlone(
  draft: Draft,
  alone: Group,
  code: string,
  again: Pick<Group, "due" | "failures">,
  now: number,
  settings: LedgerSettings,
): void {
  const refusals = countRefusal(draft, alone, now);
  if (refusals.refusals < settings.refusalsMax) {
    const made = makeGroup(draft, alone.payloads, openState, again.due, now, settings, refusals);
    draft.change({ ...made, failures: again.failures });
    return;
  }
  const { receipts, ended } = condemn(alone, code);
  makeGroup(draft, alone.payloads, closingState(receipts, ended, false), now, now, settings, refusals);
}

function condemn(
  group: Group,
  code: string,
): { readonly receipts: readonly Receipt[]; readonly ended: readonly EndedPayload[] } {
  return {
    receipts: group.payloads.flatMap((payload) => {
      const rows = group.rows?.find(({ key }) => key === payload.key);
      const blank = { ...blankReceipt(payload, group.id, rows), reason: `rejected:${code}` };
      return deadReceipts(keysOf(payload), blank);
    }),
    ended: group.payloads.map(({ key }) => ({ key, outcome: "dead" })),
  };
}

// --- the evidence was read

function takeVerified(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "verifying" }>,
  report: Report<"verified">,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  if (report.running) {
    // It was still running after the fence, and has been killed: what was read proves nothing yet.
    later(draft, group, now, settings);
    return null;
  }
  const evidence = new Map(report.payloads.map((one) => [one.key, one]));
  assert(evidence.size === group.payloads.length, "a verification answers for each payload once");
  const over: GroupPayload[] = [];
  const receipts: Receipt[] = [];
  const ended: EndedPayload[] = [];
  const absent: GroupPayload[] = [];
  const inexact: GroupPayload[] = [];
  const found: { key: GroupPayload["key"]; rowsByDay: readonly DayRows[]; reason: string }[] = [];
  let completeView = false;
  let lateBells = 0;
  for (const payload of group.payloads) {
    const seen = evidence.get(payload.key);
    assert(seen !== undefined, "a verification answers for the group's payloads");
    const rows = group.rows?.find(({ key }) => key === payload.key) ?? null;
    const { oldestDay } = report;
    const attempted = group.inserts > 0;
    const verdict = judge({ payload, evidence: seen, rows, group: group.id, attempted, oldestDay });
    switch (verdict.kind) {
      case "end":
        over.push(payload);
        receipts.push(...verdict.receipts);
        ended.push({ key: verdict.key, outcome: verdict.outcome });
        // Rows whose INSERT went wrong, or whose group nobody remembers closing: their view may be incomplete.
        completeView ||= verdict.found && (attempted || !isReceipted(seen));
        lateBells += verdict.lateBell ? 1 : 0;
        break;
      case "insert":
        absent.push(verdict.payload);
        break;
      case "inexact":
        inexact.push(payload);
        found.push({ key: payload.key, rowsByDay: seen.rowsByDay, reason: verdict.reason });
        break;
      default:
        unreachable(verdict);
    }
  }
  if (lateBells > 0) {
    draft.head = { ...draft.head, lateBells: draft.head.lateBells + lateBells };
  }

  const closing = closingState(receipts, ended, completeView);
  if (over.length === group.payloads.length) {
    if (receipts.length === 0 && !completeView) {
      draft.end(group, ended, now);
      return null;
    }
    const closed = draft.change({ ...group, failures: 0, due: now, state: closing });
    return handOutAgain(draft, closed, now, settings);
  }
  let task: GroupTask | null = null;
  if (over.length > 0) {
    task = handOutAgain(draft, makeGroup(draft, over, closing, now, now, settings), now, settings);
  }
  if (inexact.length > 0) {
    makeGroup(draft, inexact, { at: "held", lease: null, found }, never, now, settings);
  }
  insertAbsent(draft, group, state, absent, now, settings);
  draft.end(group, [], now);
  return task;
}

function isReceipted({ receipts }: Evidence): boolean {
  return receipts.some(({ outcome }) => outcome === "stored");
}

/** What is missing gets a new token; in halves where the group as a whole was answered and never stored. */
function insertAbsent(
  draft: Draft,
  group: Group,
  { halve, code }: Extract<GroupState, { at: "verifying" }>,
  absent: readonly GroupPayload[],
  now: number,
  settings: LedgerSettings,
): void {
  const history: Refusals = group.payloads.length === 1 ? group : noRefusals;
  if (absent.length === 0) {
    return;
  }
  if (!halve) {
    makeGroup(draft, absent, openState, now, now, settings, history);
  } else if (absent.length > 1) {
    for (const half of halvesOf(absent)) {
      makeGroup(draft, half, openState, now, now, settings);
    }
  } else {
    // Alone, answered five times with an unlisted code, and not there: that is a refusal.
    const alone: Group = { ...group, ...history, payloads: absent };
    refuseAlone(draft, alone, code, { due: now, failures: 0 }, now, settings);
  }
}

function sumOf(rowsByDay: readonly DayRows[]): number {
  return rowsByDay.reduce((sum, { rows }) => sum + rows, 0);
}

function unreachableState(claim: string): never {
  assert(false, claim);
}
