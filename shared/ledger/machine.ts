/**
 * The delivery protocol (docs/architecture.md): a pure function of the ledger's state, one event, the time and fresh
 * random tokens. It promises that a payload is in at most one live group (I3), that a token serves one group whose
 * payloads never change (I5), and that whatever was claimed is notified again until it is done.
 *
 * A group's way:
 *
 *   made -> open -> (INSERT out)* -> receipting -> receipts written -> over
 *             |                        ^
 *             +-> counting ------------+     a 200 after an attempt of unknown outcome, or a refusal: are the rows there?
 *             |      |                 |
 *             +------+--> verifying ---+     after the fence; what is missing goes on as a new group, new token
 *                                |
 *                                +-> held    neither none nor all of it: a person resolves it,
 *                                             accepts it, or has its rows deleted: clearing -> verifying
 *
 * The caller applies `changes` in one transaction first, and only then rings and answers.
 */
import { assert, unreachable } from "../assert.ts";
import { limits } from "../limits.ts";
import type { Doorbell } from "../messages.ts";
import { idOfKey, type PayloadId, type PayloadKey } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import { insertDue, insertsFree, mayInsert, wasFetched, wasNotified } from "./breaker.ts";
import { claim, groupWaiting, payloadOf, readyAt } from "./claim.ts";
import { Draft, type Moment } from "./draft.ts";
import {
  type AttemptReport,
  dueNever,
  type Group,
  type GroupPayload,
  type GroupState,
  type GroupTask,
} from "./group.ts";
import { splitByCaps } from "./grouping.ts";
import { type BirthFacts, bornHead } from "./head.ts";
import { accepted, afterLook, type TableLook } from "./known-table.ts";
import { expire, leaseTask, takeGroup } from "./lease-task.ts";
import { inThisEpoch, makeGroup, readGroup, receiptingState, verifyingState } from "./make-group.ts";
import { forget, unknownSince } from "./memory.ts";
import { blankReceipt, sumOf } from "./receipts.ts";
import { backOffMs, fenceMs, type LedgerSettings } from "./settings.ts";
import { shortText } from "./short-text.ts";
import { takeOutErased } from "./take-out.ts";
import { takeReport } from "./take-report.ts";
import type { Change, LedgerView } from "./view.ts";

export type LedgerEvent =
  /** A ledger without memory begins. */
  | { readonly kind: "born"; readonly facts: BirthFacts }
  /** A ledger whose memory is older than it was: restored. `epoch` is the one that R2 has, or this one's plus one. */
  | { readonly kind: "restored"; readonly epoch: number }
  /** The counter that R2 keeps is about to be written. */
  | { readonly kind: "minute" }
  /** The table check's result. */
  | { readonly kind: "table"; readonly table: TableLook }
  /** A person accepts whatever table answers now as the one to insert into. */
  | { readonly kind: "acceptTable" }
  /** Doorbells came; the caller can take one ready group along. */
  | {
      readonly kind: "claim";
      readonly doorbells: readonly Doorbell[];
      /**
       * How many the batch has that they come from. Null: others of it follow, and the caller takes no group yet. Absent where an
       * earlier version claims: each was a message.
       */
      readonly messages?: number | null;
      readonly codecVersion: number;
    }
  /** Queue `group` rang. */
  | { readonly kind: "take"; readonly group: GroupId; readonly codecVersion: number }
  | {
      readonly kind: "report";
      readonly group: GroupId;
      readonly attempt: number;
      readonly report: AttemptReport;
    }
  /** The receipts that these attempts were handed are in ClickHouse. */
  | { readonly kind: "receipted"; readonly receipted: readonly Receipted[] }
  /** A person wants a payload gone, under all of its keys: as soon as it is no longer live. */
  | { readonly kind: "erase"; readonly payloads: readonly Doorbell[]; readonly reason: string }
  /** A person decides about a payload whose rows are inexact: they stand as they are, or are deleted and written anew. */
  | { readonly kind: "resolve"; readonly key: PayloadKey; readonly how: "accept" | "rewrite" }
  | { readonly kind: "alarm" };

export interface Receipted {
  readonly group: GroupId;
  readonly attempt: number;
}

export interface Step {
  /** To be applied in one transaction, before anything else is done. */
  readonly changes: readonly Change[];
  /** Groups to ring into queue `group`. A lost ring is notified again by the alarm. */
  readonly rings: readonly GroupId[];
  /** What the caller has been handed. */
  readonly task: GroupTask | null;
}

/** How many tokens a step may draw: a claim can fill two groups with each doorbell, anything else makes few. */
export function tokensNeeded(event: LedgerEvent): number {
  switch (event.kind) {
    case "claim":
      return 2 * event.doorbells.length + 6;
    case "report": // a group may fall into one for each of its payloads, or into parts (own-failures.ts)
      switch (event.report.kind) {
        case "verified":
          return event.report.payloads.length + 3;
        case "broken":
          return limits.groupPayloadsMax;
        default:
          return limits.splitParts;
      }
    case "receipted": // each group may leave one
      return event.receipted.length + 3;
    case "erase": // each payload may be the only one of its group, or leave the others of it to one of their own
      return 2 * event.payloads.length + 4;
    default:
      return 4;
  }
}

export function step(view: LedgerView, event: LedgerEvent, moment: Moment, settings: LedgerSettings): Step {
  const draft = new Draft(view, moment, settings);
  const { now } = draft;
  let rings: readonly GroupId[] = [];
  let task: GroupTask | null = null;
  switch (event.kind) {
    case "born":
      assert(!draft.isBorn, "a ledger is born once");
      draft.head = bornHead(event.facts, now, settings.concurrencyFirst);
      break;
    case "restored":
      restore(draft, view, event.epoch);
      break;
    case "minute":
      draft.head = { ...draft.head, counter: draft.head.counter + 1 };
      forget(draft, 0); // the head is written anyway
      break;
    case "table":
      draft.head = {
        ...draft.head,
        table: afterLook(draft.head.table, shortTable(event.table), now, settings),
      };
      break;
    case "acceptTable":
      draft.head = { ...draft.head, table: accepted(now) };
      break;
    case "claim": {
      const [first] = claim(draft, event.doorbells, event.messages);
      // Three groups are ready: the caller goes home with the first, the alarm (due now) rings the other two.
      const takesOne = first !== undefined && event.messages !== null;
      task = takesOne ? leaseTask(draft, first, event.codecVersion) : null;
      break;
    }
    case "take": {
      const group = readGroup(draft, event.group);
      // Notified, done, and notified again by a doubled message: there is no such group any more.
      task = group === undefined ? null : takeGroup(draft, group, event.codecVersion);
      break;
    }
    case "report": {
      const group = readGroup(draft, event.group);
      // Attempt 1 ran out, attempt 2 is in flight (or the group is done), now attempt 1 reports: it was counted as unknown
      // when its lease ended, and nothing it says can undo that.
      if (group?.state.lease?.attempt === event.attempt) {
        task = takeReport(draft, group, event.report);
      }
      break;
    }
    case "receipted":
      for (const { group: id, attempt } of event.receipted) {
        const group = readGroup(draft, id);
        if (group?.state.lease?.attempt === attempt) {
          takeReceipted(draft, group);
        }
      }
      break;
    case "erase":
      erase(draft, event.payloads, shortText(event.reason, limits.reasonBytesMax));
      break;
    case "resolve":
      resolve(draft, event.key, event.how);
      break;
    case "alarm":
      rings = alarm(draft, view);
      break;
    default:
      unreachable(event);
  }
  return { changes: draft.changes(), rings, task };
}

/** What the check says, as far as the head's row has room for it. */
function shortTable({ refusal, measure }: TableLook): TableLook {
  const ttl = measure?.ttl;
  const measured = { refusal: shortText(refusal, limits.noteTextBytesMax), measure };
  return measure !== null && ttl?.kind === "unclear"
    ? {
        ...measured,
        measure: { ...measure, ttl: { ...ttl, clause: shortText(ttl.clause, limits.reasonBytesMax) } },
      }
    : measured;
}

/** When the alarm must ring next, of a state to which all changes have been applied. */
export function nextAlarm(view: LedgerView, settings: LedgerSettings): number | undefined {
  const { head } = view;
  if (head === null) {
    return undefined;
  }
  const insert = view.nextDue("insert");
  const rescue = head.pendingRescues[0];
  const next = Math.min(
    view.waiting.payloads.length > 0 ? readyAt(view.waiting, settings) : dueNever,
    view.nextDue("other") ?? dueNever,
    (insert === undefined ? undefined : insertDue(head, insert)) ?? dueNever,
    rescue === undefined ? dueNever : rescue.at + settings.overtakenMs,
  );
  return next === dueNever ? undefined : next;
}

/** For the reconciler: does the ledger hold each key's id, waiting or in a live group? In the order asked. */
export function holds(view: LedgerView, keys: readonly PayloadKey[]): readonly boolean[] {
  const waiting = new Set(view.waiting.payloads.map(({ key }) => idOfKey(key)));
  const ids = keys.map(idOfKey);
  const places = view.places(ids);
  return ids.map((id) => waiting.has(id) || places.get(id)?.at === "group");
}

// --- restored

/**
 * A ledger restored to an older time looks healthy and has forgotten. Its memory begins now; whatever it holds may
 * have been stored, or be being inserted by attempts that it no longer knows: VERIFY, fence from now. Groups follow
 * when they are read (`inThisEpoch`): there may be any number of them. Those that are held only a person reads, who may
 * have decided about them in the time that is forgotten: they follow at once, as many as an event can take.
 */
function restore(draft: Draft, view: LedgerView, epoch: number): void {
  const { now, settings } = draft;
  const { head } = draft;
  assert(epoch > head.epoch, "a restored ledger begins a later epoch");
  draft.head = {
    ...head,
    epoch,
    birth: now,
    memSince: now,
    breaker: { ...head.breaker, inFlight: [], notified: [] },
  };
  if (draft.waitingCount > 0) {
    const payloads = draft.waiting;
    draft.nobodyWaits();
    const fence = now + fenceMs(settings);
    makeGroup(draft, payloads, verifyingState(fence), fence);
  }
  for (const held of view.heldGroups(heldGroupsRead)) {
    inThisEpoch(draft, held);
  }
}

/** Held groups that a restored ledger verifies by itself; further ones when a person asks about them. */
const heldGroupsRead = 100;

// --- receipts

/**
 * The receipts that this attempt was handed are written. What was appended since is still owed. What somebody asked for
 * meanwhile, to erase it or because its rows are missing, is verified then.
 */
function takeReceipted(draft: Draft, group: Group): void {
  const { now, settings } = draft;
  const { state } = group;
  assert(state.at === "receipting", "only written receipts are reported so");
  const owed = state.receipts.slice(state.leased);
  if (owed.length > 0) {
    draft.change({ ...group, due: now, state: { ...state, lease: null, receipts: owed, leased: 0 } });
    return;
  }
  const toErase = group.payloads.filter(({ erase }) => erase !== null);
  const isErased = (key: PayloadKey): boolean =>
    state.ended.some((ended) => ended.outcome === "erased" && idOfKey(ended.key) === idOfKey(key));
  const asked = new Set((state.asked ?? []).map(idOfKey));
  const isAsked = ({ key, erase }: GroupPayload): boolean => erase === null && asked.has(idOfKey(key));
  const next = [
    ...toErase,
    ...group.payloads.filter(isAsked).map((payload) => ({ ...payload, missingDays: null })),
  ].filter(({ key }) => !isErased(key));
  if (next.length > 0) {
    // Somebody asked while it was live. Its last INSERT must be over, or it would bring back what is erased.
    const fence = (group.lastInsertAt ?? group.made) + fenceMs(settings);
    makeGroup(draft, next, verifyingState(fence), Math.max(now, fence), { failure: group.failure });
  }
  const ids = new Set(next.map(({ key }) => idOfKey(key)));
  draft.end(
    group,
    state.ended.filter(({ key }) => !ids.has(idOfKey(key))),
    now,
  );
}

// --- erasing

/**
 * Live: marked, and taken out of their groups before the next attempt; where rows may be there already, erased when the group's receipts
 * are written. Done or unknown: after the fence of any INSERT of them that may still run, as many together as a group takes, for each
 * group has its parts of the table written anew. Who need not wait for a fence waits for nobody's.
 */
function erase(draft: Draft, payloads: readonly Doorbell[], reason: string): void {
  const { now, settings } = draft;
  const rest = new Map<PayloadId, { readonly payload: GroupPayload; readonly fence: number }>();
  const open = new Set<GroupId>();
  for (const payload of payloads) {
    const id = idOfKey(payload.key);
    const waiting = draft.waitingPayload(id);
    const place = draft.place(id);
    if (waiting !== undefined) {
      draft.wait({ ...waiting, erase: reason });
    } else if (place?.at === "group") {
      const group = markErased(draft, place.group, id, reason);
      if (group.state.at === "held") {
        takeOut(draft, group, id, verifyingState(now)); // whatever its rows are, they go
      } else if (group.state.at === "open" && group.state.lease === null) {
        open.add(group.id);
      }
    } else {
      // What the table was counted to have may be more than was ever accepted: a person doubled the rows, or accepted doubled ones.
      const spans = Math.min(payload.spans, settings.caps.rowsMax);
      const marked = { ...payloadOf(payload), spans, doorbell: true, erase: reason };
      rest.set(id, {
        payload: marked,
        fence: (place?.since ?? unknownSince(draft.head, id)) + fenceMs(settings),
      });
    }
  }
  for (const id of open) {
    const group = readGroup(draft, id);
    assert(group !== undefined, "a group that was marked is there");
    takeOutErased(draft, group);
  }
  for (const some of Map.groupBy(rest.values(), ({ fence }) => fence <= now).values()) {
    const fence = Math.max(...some.map((one) => one.fence));
    const together = some.map(({ payload }) => payload);
    for (const run of splitByCaps(together, settings.caps)) {
      makeGroup(draft, run, verifyingState(fence), Math.max(now, fence));
    }
  }
}

function markErased(draft: Draft, groupId: GroupId, id: PayloadId, reason: string): Group {
  const group = readGroup(draft, groupId);
  assert(group !== undefined, "an id is placed in a group that is there");
  const payloads = group.payloads.map((one) => (idOfKey(one.key) === id ? { ...one, erase: reason } : one));
  return draft.change({ ...group, payloads });
}

// --- resolving

/** Takes the payload out of what is held, and closes or verifies it. */
function resolve(draft: Draft, key: PayloadKey, how: "accept" | "rewrite"): void {
  const place = draft.place(idOfKey(key));
  const group = place?.at === "group" ? readGroup(draft, place.group) : undefined;
  if (group?.state.at !== "held") {
    return; // resolved already, or verified again since
  }
  const id = idOfKey(key);
  const payload = group.payloads.find((one) => idOfKey(one.key) === id);
  const seen = group.state.found.find((one) => one.key === payload?.key);
  assert(payload !== undefined && seen !== undefined, "what is held says what was found");
  switch (how) {
    case "accept": {
      const receipts = [
        {
          key: payload.key,
          outcome: "stored",
          group: group.id,
          // What is accepted is what the table has: usage and volumes add it up.
          spans: sumOf(seen.rowsByDay),
          rowsByDay: seen.rowsByDay,
          rejectedSpans: 0,
          bytes: 0,
          reason: shortText(`accepted: ${seen.reason}`, limits.reasonBytesMax),
        } as const,
        ...payload.duplicateKeys.map((other) => ({
          ...blankReceipt(payload, group.id, undefined),
          key: other,
        })),
      ];
      const ended = [{ key: payload.key, outcome: "stored" } as const];
      takeOut(draft, group, id, receiptingState(receipts, ended, false));
      break;
    }
    case "rewrite":
      takeOut(draft, group, id, { at: "clearing", lease: null, found: [seen] });
      break;
    default:
      unreachable(how);
  }
}

/** Takes one payload out of what is held, into a group of its own; what is left stays held. */
function takeOut(draft: Draft, group: Group, id: PayloadId, state: GroupState): void {
  const { now } = draft;
  const payload = group.payloads.find((one) => idOfKey(one.key) === id);
  assert(payload !== undefined && group.state.at === "held", "it is held");
  // A person looked and asked: what has a `stored` receipt may be stored again.
  const again =
    state.at === "receipting" ? payload : ({ ...payload, cause: "replay", missingDays: null } as const);
  makeGroup(draft, [again], state, now, { failure: group.failure });
  const rest = group.payloads.filter((one) => one !== payload);
  if (rest.length > 0) {
    const found = group.state.found.filter((one) => one.key !== payload.key);
    makeGroup(draft, rest, { at: "held", lease: null, found }, dueNever, { failure: group.failure });
  }
  draft.end(group, [], now);
}

// --- the alarm

function alarm(draft: Draft, view: LedgerView): readonly GroupId[] {
  const { now, settings } = draft;
  const rings: GroupId[] = [];
  const others = view.groupsDue("other", now, settings.ringsMax);
  const again = notifyAgain(draft);
  rings.push(...again);
  // Who was just called again is due in the view still.
  const inserts = view
    .groupsDue("insert", now, Math.min(settings.ringsMax, insertsFree(draft.head, now) + again.length))
    .filter(({ id }) => !again.includes(id))
    .slice(0, insertsFree(draft.head, now));
  for (const old of others) {
    const group = inThisEpoch(draft, old);
    const { lease } = group.state;
    if (group.due > now) {
      continue; // it has just gone to VERIFY, and its fence is ahead
    }
    if (lease === null) {
      rings.push(ring(draft, group));
    } else {
      assert(lease.until <= now, "a leased group is due when its lease ends");
      expire(draft, group); // due now, in the queue that its state says
    }
  }
  for (const old of inserts) {
    const group = inThisEpoch(draft, old);
    if (group.due <= now) {
      rings.push(notifyForInsert(draft, group));
    }
  }
  const { waitingSince: since, waiting: payloads } = draft;
  if (payloads.length > 0 && now >= readyAt({ since, payloads }, settings)) {
    for (const group of groupWaiting(draft)) {
      if (insertsFree(draft.head, now) > 0) {
        rings.push(notifyForInsert(draft, group));
      }
    }
  }
  countRescues(draft);
  forget(draft, settings.forgetLagMs);
  return rings;
}

/** Rings a group, and looks again after the back-off: the ring may be lost, or its consumer die. */
function ring(draft: Draft, group: Group): GroupId {
  const { now, settings } = draft;
  draft.change({ ...group, rings: group.rings + 1, due: now + backOffMs(group.rings, settings) });
  return group.id;
}

/** Rings a group for its INSERT. Notified again after the back-off, a lease at the longest: it keeps a slot meanwhile. */
function notifyForInsert(draft: Draft, group: Group): GroupId {
  const { now, settings } = draft;
  const again = now + Math.min(backOffMs(group.rings, settings), settings.leaseMs);
  draft.head = { ...draft.head, breaker: wasNotified(draft.head.breaker, { group: group.id, again }) };
  draft.change({ ...group, rings: group.rings + 1, due: again });
  return group.id;
}

/** Rings those again that were notified a while ago and have not been fetched. */
function notifyAgain(draft: Draft): readonly GroupId[] {
  const { now } = draft;
  const rings: GroupId[] = [];
  if (!mayInsert(draft.head, now)) {
    return rings;
  }
  for (const call of draft.head.breaker.notified.filter(({ again }) => again <= now)) {
    const group = readGroup(draft, call.group);
    if (group?.state.at === "open" && group.state.lease === null) {
      rings.push(notifyForInsert(draft, group));
    } else {
      draft.head = { ...draft.head, breaker: wasFetched(draft.head.breaker, call.group) };
    }
  }
  return rings;
}

/** A late ring's payload whose doorbell has not come by now was rescued, unless doorbells are late altogether. */
function countRescues(draft: Draft): void {
  const { now, settings } = draft;
  const { head } = draft;
  const over = head.pendingRescues.filter(({ at }) => at + settings.overtakenMs <= now);
  if (over.length === 0) {
    return;
  }
  const counted = over.filter(({ at }) => head.backlogAt < at - settings.overtakenMs);
  const count = (which: "event" | "reconcile"): number =>
    head.rescues[which] + counted.filter(({ ring: by }) => by === which).length;
  draft.head = {
    ...head,
    pendingRescues: head.pendingRescues.slice(over.length),
    rescues: { event: count("event"), reconcile: count("reconcile") },
  };
}
