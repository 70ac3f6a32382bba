/**
 * The ledger's state as its rows hold it: JSON, with days as plain numbers. Every row that is written is at most
 * `limits.ledgerRowBytesMax`, because what is in it is bounded: `widestRows` adds it up, and the machine keeps to it.
 * What earlier versions wrote is read as it is.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import type { DayRows, GroupId, PlannedReceipt } from "../receipt.ts";
import type { Group, GroupPayload, GroupState } from "./group.ts";
import { sizeOf } from "./grouping.ts";
import type { Breaker, Call, Head } from "./head.ts";
import { withoutGroups } from "./head-row.ts";
import type { Waiting } from "./view.ts";

/** Rows by day, one after the other: day, rows, day, rows. An earlier version wrote objects. */
type RowDays = readonly number[] | readonly DayRows[];

/**
 * A head as an earlier version may have written it: it split no group, counted all of its rescues, and its breaker had
 * other names, or kept no notified groups.
 */
type StoredHead = Omit<Head, "breaker" | "lastSplitAt"> & {
  readonly lastSplitAt?: number;
  readonly breaker: Omit<Breaker, "inFlight" | "notified" | "concurrencyLimit"> &
    Partial<Pick<Breaker, "inFlight" | "notified" | "concurrencyLimit">> & {
      readonly out?: readonly GroupId[];
      readonly called?: readonly Call[];
      readonly slots?: number;
    };
};

/**
 * A group as an earlier version may have written it: one block, without a count of its failures or their reasons, and
 * `outcomeUnknown` under another name.
 */
type StoredGroup = Omit<
  Group,
  "payloads" | "blocks" | "state" | "ownFailures" | "ownFailedAt" | "outcomeUnknown" | "failure"
> &
  Partial<Pick<Group, "blocks" | "ownFailures" | "ownFailedAt" | "outcomeUnknown" | "failure">> & {
    readonly payloads: readonly StoredPayload[];
    readonly state: StoredState;
    readonly unclean?: boolean;
  };

/** As an earlier version may have written it: the days to insert were `only`, and all of its days `whole`. */
type StoredPayload = Omit<GroupPayload, "missingDays"> & {
  readonly missingDays?: GroupPayload["missingDays"];
  readonly only?: { readonly days: readonly number[]; readonly whole: readonly DayRows[] } | null;
};

/** As an earlier version may have written it: with other names for `receipting`, `leased` and `split`. */
type StoredState = (
  | GroupState
  | (Omit<Extract<GroupState, { at: "receipting" }>, "at"> & { readonly at: "closing" })
) & { readonly given?: number; readonly halve?: boolean };

export function headToRow(head: Head): string {
  return JSON.stringify(withoutGroups(head));
}

export function headFromRow(text: string): Head {
  const head: StoredHead = JSON.parse(text);
  assert(Number.isSafeInteger(head.memSince), "the head was written by the ledger");
  return {
    ...head,
    breaker: breakerFromRow(head.breaker),
    lastSplitAt: head.lastSplitAt ?? 0,
    pendingRescues: head.pendingRescues.slice(0, limits.pendingRescuesMax),
  };
}

function breakerFromRow({ out, called, slots, ...breaker }: StoredHead["breaker"]): Breaker {
  return {
    ...breaker,
    inFlight: breaker.inFlight ?? out ?? [],
    notified: breaker.notified ?? called ?? [],
    concurrencyLimit: breaker.concurrencyLimit ?? slots ?? 1,
  };
}

export function waitingToRow({ since, payloads }: Waiting): string {
  return JSON.stringify({ since, payloads: payloads.map(payloadToRow) });
}

export function waitingFromRow(text: string): Waiting {
  const waiting: Omit<Waiting, "payloads"> & { readonly payloads: readonly StoredPayload[] } =
    JSON.parse(text);
  assert(Array.isArray(waiting.payloads), "what waits was written by the ledger");
  return { ...waiting, payloads: payloadsFromRow(waiting.payloads) };
}

export function groupToRow({ payloads, ...group }: Group): string {
  const rest = JSON.stringify({
    ...group,
    rows: group.rows?.map(withRowDays) ?? null,
    state: stateToRow(group.state),
  });
  return `{"payloads":${payloadsToRow(payloads)},${rest.slice(1)}`;
}

/** A group is written with each of its steps, and its payloads mostly stay the same list. */
function payloadsToRow(payloads: readonly GroupPayload[]): string {
  let text = payloadTexts.get(payloads);
  if (text === undefined) {
    text = JSON.stringify(payloads.map(payloadToRow));
    payloadTexts.set(payloads, text);
  }
  return text;
}

const payloadTexts = new WeakMap<readonly GroupPayload[], string>();

export function groupFromRow(text: string): Group {
  const { unclean, ...group }: StoredGroup = JSON.parse(text);
  assert(Array.isArray(group.payloads), "a group was written by the ledger");
  return {
    ...group,
    outcomeUnknown: group.outcomeUnknown ?? unclean ?? false,
    payloads: payloadsFromRow(group.payloads),
    blocks: group.blocks ?? 1,
    rows: group.rows?.map(fromRowDays) ?? null,
    state: stateFromRow(group.state),
    ownFailures: group.ownFailures ?? 0,
    ownFailedAt: group.ownFailedAt ?? 0,
    failure: group.failure ?? null,
  };
}

/** Of what is written beside its key, and beside so many bytes of ids: nothing that the ledger writes is above it. */
export function fitsRow(name: string, text: string, idBytes = 0): boolean {
  const bytesMax = limits.ledgerRowBytesMax - name.length - idBytes;
  // A character of UTF-16 takes three bytes of UTF-8 at most.
  return text.length * 3 <= bytesMax || encoder.encode(text).length <= bytesMax;
}

const encoder = new TextEncoder();

function payloadToRow(payload: GroupPayload): object {
  const { missingDays } = payload;
  return missingDays === null
    ? payload
    : { ...payload, missingDays: { days: missingDays.days, complete: toRowDays(missingDays.complete) } };
}

/** An earlier version kept more keys in a group: a second one of each stays, the reconciler sees to the others. */
function payloadsFromRow(payloads: readonly StoredPayload[]): readonly GroupPayload[] {
  const read = payloads.map(payloadFromRow);
  return sizeOf(read).keys <= limits.groupKeysMax
    ? read
    : read.map((payload) => ({ ...payload, duplicateKeys: payload.duplicateKeys.slice(0, 1) }));
}

function payloadFromRow({ only = null, missingDays, ...payload }: StoredPayload): GroupPayload {
  const earlier = only && { days: only.days, complete: only.whole };
  const stored = missingDays === undefined ? earlier : missingDays;
  return { ...payload, missingDays: stored && { ...stored, complete: daysOf(stored.complete) } };
}

function stateToRow(state: GroupState): object {
  switch (state.at) {
    case "receipting":
      // By the name that an earlier version reads: a deployment may be rolled back.
      return { ...state, at: "closing", receipts: state.receipts.map(withRowDays) };
    case "held":
    case "clearing":
      return { ...state, found: state.found.map(withRowDays) };
    default:
      return state;
  }
}

function stateFromRow(stored: StoredState): GroupState {
  const { given, halve, ...state } = stored;
  switch (state.at) {
    case "closing":
    case "receipting":
      return {
        ...state,
        at: "receipting",
        receipts: state.receipts.map((receipt): PlannedReceipt => fromRowDays(receipt)),
        leased: state.leased ?? given ?? 0,
      };
    case "verifying":
      return { ...state, split: state.split ?? halve ?? false };
    case "held":
    case "clearing":
      return { ...state, found: state.found.map(fromRowDays) };
    default:
      return state;
  }
}

function withRowDays<T extends { readonly rowsByDay: readonly DayRows[] }>(one: T): object {
  return { ...one, rowsByDay: toRowDays(one.rowsByDay) };
}

function fromRowDays<T extends { readonly rowsByDay: readonly DayRows[] }>(one: T): T {
  return { ...one, rowsByDay: daysOf(one.rowsByDay) };
}

function toRowDays(days: readonly DayRows[]): readonly number[] {
  return days.flatMap(({ day, rows }) => [day, rows]);
}

function daysOf(days: RowDays): readonly DayRows[] {
  if (!isNumbers(days)) {
    return days;
  }
  return Array.from({ length: Math.ceil(days.length / 2) }, (_, i) => {
    const [day, rows] = days.slice(2 * i);
    assert(day !== undefined && rows !== undefined, "each day has its rows");
    return { day, rows };
  });
}

function isNumbers(days: RowDays): days is readonly number[] {
  return typeof days[0] === "number";
}
