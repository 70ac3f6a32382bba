/**
 * The delivery protocol (docs/architecture.md): a pure function of the ledger's state, one event, the time and fresh
 * random tokens. It promises that a payload is in at most one live group (I3), that a token serves one group whose
 * payloads never change (I5), and that whatever was claimed is rung again until it is done.
 *
 * A group's way: made -> open -> (handed out, reported)* -> stored -> (receipts handed out)* -> settled, its ids
 * remembered as done. The caller applies `changes` in one transaction first, and only then rings and answers.
 */
import { assert, unreachable } from "../assert.ts";
import type { Doorbell } from "../messages.ts";
import { idOfKey, type PayloadKey, parsePayloadKey } from "../payload-key.ts";
import { Draft } from "./draft.ts";
import type { AttemptReport, Group, GroupId, GroupPayload, GroupTask, Lease, ReceiptDraft } from "./group.ts";
import { addToSize, fitsCaps, isReadyBySize, sizeOf } from "./grouping.ts";
import type { LedgerSettings } from "./settings.ts";
import type { Change, EndedPayload, LedgerView } from "./view.ts";

/** Time and randomness of one step. */
export interface Moment {
  /** ms since the epoch */
  readonly now: number;
  /** Fresh 128-bit tokens, at least `tokensNeeded(event)`. */
  readonly tokens: readonly GroupId[];
}

export type LedgerEvent =
  /** Doorbells came; the caller can take one ready group along. */
  | { readonly kind: "claim"; readonly doorbells: readonly Doorbell[]; readonly codecVersion: number }
  /** Queue `group` rang. */
  | { readonly kind: "take"; readonly group: GroupId; readonly codecVersion: number }
  | {
      readonly kind: "report";
      readonly group: GroupId;
      readonly attempt: number;
      readonly report: AttemptReport;
    }
  /** The receipts that these attempts were handed are in ClickHouse. */
  | { readonly kind: "settle"; readonly settled: readonly Settled[] }
  | { readonly kind: "alarm" };

export interface Settled {
  readonly group: GroupId;
  readonly attempt: number;
}

export interface Step {
  /** To be applied in one transaction, before anything else is done. */
  readonly changes: readonly Change[];
  /** Groups to ring into queue `group`. A lost ring is rung again by the alarm. */
  readonly rings: readonly GroupId[];
  /** What the caller has been handed. */
  readonly task: GroupTask | null;
}

/** How many tokens a step may draw: a claim can fill a group with each doorbell, and anything else makes few. */
export function tokensNeeded(event: LedgerEvent): number {
  return event.kind === "claim" ? event.doorbells.length + 2 : 4;
}

export function step(view: LedgerView, event: LedgerEvent, moment: Moment, settings: LedgerSettings): Step {
  const draft = new Draft(view);
  const tokens = [...moment.tokens];
  const { now } = moment;
  let rings: readonly GroupId[] = [];
  let task: GroupTask | null = null;
  switch (event.kind) {
    case "claim": {
      const ready = claim(draft, event.doorbells, now, tokens, settings);
      // Three groups are ready: the caller goes home with the first, the alarm (due now) rings the other two.
      const [first] = ready;
      task = first === undefined ? null : handOut(draft, first, now, settings);
      break;
    }
    case "take": {
      const group = draft.group(event.group);
      // Rung, done, and rung again by a doubled message: there is no such group any more.
      task = group === undefined ? null : takeGroup(draft, group, now, settings);
      break;
    }
    case "report": {
      const group = draft.group(event.group);
      const lease = group?.state.lease ?? null;
      // Attempt 1 ran out, attempt 2 is out (or the group is done), now attempt 1 reports: it was counted as unknown
      // when its lease ended, and nothing it says can undo that.
      if (group !== undefined && lease !== null && lease.attempt === event.attempt) {
        task = takeReport(draft, group, event.report, now, settings);
      }
      break;
    }
    case "settle": {
      for (const { group: id, attempt } of event.settled) {
        const group = draft.group(id);
        if (group !== undefined) {
          settle(draft, group, attempt, now);
        }
      }
      break;
    }
    case "alarm": {
      rings = ringDue(draft, now, settings);
      if (isReadyByAge(draft, now, settings)) {
        const group = makeGroup(draft, now, tokens, settings);
        rings = [...rings, ring(draft, group, now, settings)];
      }
      const oldest = draft.oldestFinished();
      if (oldest !== undefined && oldest < now - settings.memoryMs) {
        draft.forget(now - settings.memoryMs);
      }
      break;
    }
    default:
      unreachable(event);
  }
  return { changes: draft.changes(), rings, task };
}

/** When the alarm must ring next, of a state to which all changes have been applied. */
export function nextAlarm(view: LedgerView, settings: LedgerSettings): number | undefined {
  const times: number[] = [];
  if (view.waiting.payloads.length > 0) {
    times.push(view.waiting.since + settings.caps.ageReadyMs);
  }
  const due = view.nextDue();
  if (due !== undefined) {
    times.push(due);
  }
  const oldest = view.oldestFinished();
  if (oldest !== undefined) {
    times.push(oldest + settings.memoryMs + 1);
  }
  return times.length === 0 ? undefined : Math.min(...times);
}

/** For the reconciler: does the ledger hold each key's id, waiting or in a live group? In the order asked. */
export function holds(view: LedgerView, keys: readonly PayloadKey[]): readonly boolean[] {
  const waiting = new Set(view.waiting.payloads.map(({ key }) => idOfKey(key)));
  const ids = keys.map(idOfKey);
  const places = view.places(ids);
  return ids.map((id) => waiting.has(id) || places.get(id)?.at === "group");
}

// --- claim

/** Takes the payloads over. Returns the groups that became ready, the oldest first. */
function claim(
  draft: Draft,
  doorbells: readonly Doorbell[],
  now: number,
  tokens: GroupId[],
  settings: LedgerSettings,
): readonly Group[] {
  const ready: Group[] = [];
  const owed: Doorbell[] = [];
  draft.readPlaces(doorbells.map(({ key }) => idOfKey(key)));
  for (const doorbell of doorbells) {
    const id = idOfKey(doorbell.key);
    const waiting = draft.waitingPayload(id);
    const place = draft.place(id);
    if (waiting !== undefined) {
      // A client sent the same bytes twice within a second: one payload waits, the other key is kept with it.
      draft.wait(withKey(waiting, doorbell.key, settings), now);
    } else if (place?.at === "group") {
      const group = draft.group(place.group);
      assert(group !== undefined, "an id is placed in a group that is there");
      keepKey(draft, group, doorbell.key, settings);
    } else if (place?.at === "done") {
      // The second ring of a payload that is long stored: nothing to do. Under another key (the client retried two
      // minutes later): that key's `duplicate` receipt is still owed, and the owner's is written.
      if (parsePayloadKey(doorbell.key)?.minute !== place.minute) {
        owed.push(doorbell);
      }
    } else {
      const payload = payloadOf(doorbell);
      const grown = addToSize(sizeOf(draft.waiting), payload);
      if (!fitsCaps(grown, settings.caps)) {
        // 99,990 rows wait, 20 come: the 20 begin the next group.
        ready.push(makeGroup(draft, now, tokens, settings));
      }
      draft.wait(payload, now);
      if (isReadyBySize(sizeOf(draft.waiting), settings.caps)) {
        ready.push(makeGroup(draft, now, tokens, settings));
      }
    }
  }
  if (isReadyByAge(draft, now, settings)) {
    ready.push(makeGroup(draft, now, tokens, settings));
  }
  if (owed.length > 0) {
    draft.make(duplicatesGroup(drawToken(tokens), owed, now));
  }
  return ready;
}

function payloadOf({ key, spans, outputBytes, arrival, cause }: Doorbell): GroupPayload {
  return { key, spans, outputBytes, arrival, cause, duplicateKeys: [] };
}

/** The payload, knowing of one more key of its bytes. */
function withKey(payload: GroupPayload, key: PayloadKey, settings: LedgerSettings): GroupPayload {
  const isKnown = payload.key === key || payload.duplicateKeys.includes(key);
  const isFull = payload.duplicateKeys.length >= settings.duplicateKeysMax;
  return isKnown || isFull ? payload : { ...payload, duplicateKeys: [...payload.duplicateKeys, key] };
}

/** Equal bytes rang while their payload is in a live group: the other key's receipt will follow the owner's. */
function keepKey(draft: Draft, group: Group, key: PayloadKey, settings: LedgerSettings): void {
  const id = idOfKey(key);
  const owner = group.payloads.find((payload) => idOfKey(payload.key) === id);
  assert(owner !== undefined, "an id is placed in a group that has it");
  const changed = withKey(owner, key, settings);
  if (changed === owner) {
    return;
  }
  const payloads = group.payloads.map((payload) => (payload === owner ? changed : payload));
  switch (group.state.at) {
    case "open":
      draft.change({ ...group, payloads });
      break;
    case "stored": {
      // The receipts are planned, perhaps being written: this one is appended, and settling leaves it standing.
      const own = group.state.receipts.find((receipt) => idOfKey(receipt.key) === id);
      const receipt = duplicateReceipt(key, own?.group ?? group.id, owner.spans);
      draft.change({
        ...group,
        payloads,
        state: { ...group.state, receipts: [...group.state.receipts, receipt] },
      });
      break;
    }
    default:
      unreachable(group.state);
  }
}

function isReadyByAge(draft: Draft, now: number, settings: LedgerSettings): boolean {
  return draft.waitingCount > 0 && now - draft.waitingSince >= settings.caps.ageReadyMs;
}

/** All that wait become one group under a fresh token. It is due now: whoever comes first hands it out or rings it. */
function makeGroup(draft: Draft, now: number, tokens: GroupId[], settings: LedgerSettings): Group {
  const payloads = draft.waiting;
  assert(payloads.length > 0, "a group has a payload");
  assert(fitsCaps(sizeOf(payloads), settings.caps), "a group is within its caps");
  const group: Group = {
    id: drawToken(tokens),
    payloads,
    made: now,
    attempts: 0,
    unclean: false,
    failures: 0,
    rings: 0,
    due: now,
    state: { at: "open", lease: null },
  };
  draft.nobodyWaits();
  draft.make(group);
  return group;
}

/** Payloads that are done arrived under other keys: a group with nothing to insert, only those keys' receipts. */
function duplicatesGroup(token: GroupId, doorbells: readonly Doorbell[], now: number): Group {
  const receipts = doorbells.map(({ key, spans }) => duplicateReceipt(key, token, spans));
  return {
    id: token,
    payloads: [],
    made: now,
    attempts: 0,
    unclean: false,
    failures: 0,
    rings: 0,
    due: now,
    state: { at: "stored", lease: null, receipts, given: 0 },
  };
}

function drawToken(tokens: GroupId[]): GroupId {
  const token = tokens.shift();
  assert(token !== undefined, "a step is given the tokens that it needs");
  return token;
}

// --- handing out

function takeGroup(draft: Draft, group: Group, now: number, settings: LedgerSettings): GroupTask | null {
  const { lease } = group.state;
  if (lease !== null && now < lease.until) {
    return null;
  }
  return handOut(draft, lease === null ? group : expire(group), now, settings);
}

/** Gives the group's next attempt to the caller, who has it alone until the lease ends. */
function handOut(draft: Draft, group: Group, now: number, settings: LedgerSettings): GroupTask {
  assert(group.state.lease === null, "an attempt is handed out when none is out");
  const attempt = group.attempts + 1;
  const lease: Lease = { attempt, until: now + settings.leaseMs };
  const base = { group: group.id, attempt, deadline: lease.until, payloads: group.payloads };
  const handedOut = { ...group, attempts: attempt, rings: 0, due: lease.until };
  switch (group.state.at) {
    case "open":
      draft.change({ ...handedOut, state: { ...group.state, lease } });
      return { ...base, step: "insert" };
    case "stored":
      draft.change({ ...handedOut, state: { ...group.state, lease, given: group.state.receipts.length } });
      return { ...base, step: "receipts", receipts: group.state.receipts };
    default:
      return unreachable(group.state);
  }
}

/** The attempt was never reported. If it was an INSERT it may have stored the rows, or may yet. */
function expire(group: Group): Group {
  switch (group.state.at) {
    case "open":
      return { ...group, unclean: true, state: { ...group.state, lease: null } };
    case "stored":
      return { ...group, state: { ...group.state, lease: null } };
    default:
      return unreachable(group.state);
  }
}

// --- reports

function takeReport(
  draft: Draft,
  group: Group,
  report: AttemptReport,
  now: number,
  settings: LedgerSettings,
): GroupTask | null {
  switch (report.kind) {
    case "stored": {
      assert(group.state.at === "open", "only an INSERT is reported as stored");
      const stored: Group = {
        ...group,
        failures: 0,
        state: { at: "stored", lease: null, receipts: planReceipts(group, report.payloads), given: 0 },
      };
      draft.change(stored);
      return handOut(draft, stored, now, settings);
    }
    case "retry":
    case "unknown":
    case "refused":
    case "halted": {
      // Same group, same token, later. `unknown` may have stored the rows: from now on a 200 proves nothing.
      draft.change({
        ...group,
        unclean: group.unclean || (group.state.at === "open" && report.kind === "unknown"),
        failures: group.failures + 1,
        due: now + backOffMs(group.failures, settings),
        state: { ...group.state, lease: null },
      });
      return null;
    }
    default:
      return unreachable(report);
  }
}

/** Receipts of a stored group: the owner's first, then those of its other keys. */
function planReceipts(
  group: Group,
  stored: Extract<AttemptReport, { kind: "stored" }>["payloads"],
): readonly ReceiptDraft[] {
  const byKey = new Map(stored.map((payload) => [payload.key, payload]));
  assert(byKey.size === group.payloads.length, "a stored group reports each of its payloads once");
  return group.payloads.flatMap((payload) => {
    const came = byKey.get(payload.key);
    assert(came !== undefined, "a stored group reports its own payloads");
    const rows = came.rowsByDay.reduce((sum, { rows }) => sum + rows, 0);
    assert(rows === payload.spans, "a payload's rows are the spans that the ingress counted");
    const { rowsByDay, rejectedSpans, bytes } = came;
    const { key, spans, duplicateKeys } = payload;
    const own: ReceiptDraft = {
      key,
      outcome: "stored",
      group: group.id,
      spans,
      rowsByDay,
      rejectedSpans,
      bytes,
      reason: "",
    };
    return [own, ...duplicateKeys.map((other) => duplicateReceipt(other, group.id, spans))];
  });
}

function duplicateReceipt(key: PayloadKey, group: GroupId, spans: number): ReceiptDraft {
  return {
    key,
    outcome: "duplicate",
    group,
    spans,
    rowsByDay: [],
    rejectedSpans: 0,
    bytes: 0,
    reason: "",
  };
}

// --- settling

/** The receipts that `attempt` was handed are written. What was appended since is still owed. */
function settle(draft: Draft, group: Group, attempt: number, now: number): void {
  const { state } = group;
  if (state.at !== "stored" || state.lease?.attempt !== attempt) {
    return; // an attempt whose lease ended; the next one writes the same receipts again, which changes nothing
  }
  const owed = state.receipts.slice(state.given);
  if (owed.length > 0) {
    draft.change({ ...group, due: now, state: { at: "stored", lease: null, given: 0, receipts: owed } });
    return;
  }
  const ended: readonly EndedPayload[] = group.payloads.map(({ key }) => {
    const parts = parsePayloadKey(key);
    assert(parts !== undefined, "a group's keys are payload keys");
    return { id: parts.id, minute: parts.minute, outcome: "stored" };
  });
  draft.end(group, ended, now);
}

// --- the alarm

/** Rings every group that is due, the longest due first, after taking back what was out for too long. */
function ringDue(draft: Draft, now: number, settings: LedgerSettings): readonly GroupId[] {
  return draft.groupsDue(now, settings.ringsMax).map((group) => {
    const { lease } = group.state;
    assert(lease === null || lease.until <= now, "a group that is out is due when its lease ends");
    return ring(draft, lease === null ? group : expire(group), now, settings);
  });
}

/** Rings a group, and looks again after the back-off: the ring may be lost, or its consumer die. */
function ring(draft: Draft, group: Group, now: number, settings: LedgerSettings): GroupId {
  draft.change({ ...group, rings: group.rings + 1, due: now + backOffMs(group.rings, settings) });
  return group.id;
}

/** first, 2 first, 4 first ... up to last. */
export function backOffMs(failures: number, settings: LedgerSettings): number {
  return Math.min(settings.retryFirstMs * 2 ** Math.min(failures, 30), settings.retryLastMs);
}
