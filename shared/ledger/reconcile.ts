/**
 * The reconciler's and the auditor's decisions. A minute is a merge-join of three streams in the order of keys: what
 * R2 lists, what has a receipt, and what the ledger holds. `ORDER BY key` in SQL equals R2's listing order bytewise
 * (FACTS I), so a minute of a million payloads is joined in constant memory, page by page.
 *
 * It rings and seals; and it alone deletes payloads, for which every condition stands in `mayDelete`.
 */
import { assert } from "../assert.ts";
import type { PayloadOutcome } from "../outcome.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import type { DayRows, Receipt } from "./group.ts";

// --- one minute

/**
 * Keys listed that have no receipt, in order. Both inputs ascend by key without repetition. A receipt without an
 * object is no concern of this join (deleted, purged). `receiptKeys` must reach as far as `listed` does: a page of
 * the listing is joined with the receipts from its first key to its last.
 *
 * Example: listed a b d, receipts a c d: b is missing.
 */
export function missingKeys(
  listed: readonly PayloadKey[],
  receiptKeys: readonly PayloadKey[],
): readonly PayloadKey[] {
  assertAscending(listed);
  assertAscending(receiptKeys);
  const missing: PayloadKey[] = [];
  let at = 0;
  for (const key of listed) {
    let receipt = receiptKeys[at];
    while (receipt !== undefined && receipt < key) {
      receipt = receiptKeys[++at];
    }
    if (receipt !== key) {
      missing.push(key);
    }
  }
  return missing;
}

/**
 * The keys to ring: listed, without receipt, and not held by the ledger (what it holds is in flight: ringing it would
 * count as a rescue and do nothing).
 */
export function planReconcile(
  listed: readonly PayloadKey[],
  receiptKeys: readonly PayloadKey[],
  held: ReadonlySet<PayloadKey>,
): readonly PayloadKey[] {
  return missingKeys(listed, receiptKeys).filter((key) => !held.has(key));
}

/**
 * Does a receipt end its key's story? A `duplicate` says "the same bytes are accounted for under another key", and is
 * worth nothing while no key of the id is: the owner's receipt may have been lost.
 */
export function receiptCounts(outcome: PayloadOutcome, outcomesOfId: readonly PayloadOutcome[]): boolean {
  return outcome !== "duplicate" || outcomesOfId.some((other) => other !== "duplicate");
}

function assertAscending(keys: readonly PayloadKey[]): void {
  let last = "";
  for (const key of keys) {
    assert(last < key, "keys are joined in ascending order, each once");
    last = key;
  }
}

// --- which minute is next

export interface ReconcileSettings {
  /** A minute is taken up when it ended this long ago. */
  readonly ageMs: number;
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
  /** A sealed minute is listed once more after this. */
  readonly againMs: number;
}

/** A minute that was taken up and is not sealed. Times in ms since the epoch. */
export interface OpenMinute {
  readonly minute: number;
  readonly tries: number;
  readonly dueAt: number;
}

/** Where the reconciler is: what is in none of the lists and before `from` is sealed, and was listed twice. */
export interface MinuteBook {
  readonly from: number;
  readonly open: readonly OpenMinute[];
  readonly again: readonly { readonly minute: number; readonly at: number }[];
}

const MINUTE_MS = 60_000;

/** A book that begins with everything that R2 may still have. */
export function newBook(from: number): MinuteBook {
  return { from: Math.floor(from / MINUTE_MS) * MINUTE_MS, open: [], again: [] };
}

/** The end of what may be taken up now: the first minute that is too young. */
export function takeUpEnd(now: number, settings: ReconcileSettings): number {
  return Math.floor((now - settings.ageMs) / MINUTE_MS) * MINUTE_MS;
}

/**
 * Takes up the minutes up to `end` in which a listing from `book.from` found keys; the empty ones between are sealed
 * by that listing. Example: from 12:00, end 12:07, keys in 12:03: one minute is open, seven are behind us.
 */
export function takeUp(
  book: MinuteBook,
  minutesWithKeys: readonly number[],
  end: number,
  now: number,
): MinuteBook {
  const known = new Set(book.open.map(({ minute }) => minute));
  const opened = minutesWithKeys
    .filter((minute) => minute >= book.from && minute < end && !known.has(minute))
    .map((minute) => ({ minute, tries: 0, dueAt: now }));
  return { ...book, from: Math.max(book.from, end), open: [...book.open, ...opened] };
}

/**
 * The minutes to join now, the longest due first: not the oldest, or minutes that cannot be sealed for a while (an
 * inexact payload, a dead server) would stand in front of all others and starve them.
 */
export function minutesDue(book: MinuteBook, now: number, atMost: number): readonly OpenMinute[] {
  return book.open
    .filter(({ dueAt }) => dueAt <= now)
    .sort((a, b) => a.dueAt - b.dueAt || a.minute - b.minute)
    .slice(0, atMost);
}

/** Sealed minutes whose second listing is due. */
export function minutesDueAgain(book: MinuteBook, now: number, atMost: number): readonly number[] {
  return book.again
    .filter(({ at }) => at <= now)
    .sort((a, b) => a.at - b.at || a.minute - b.minute)
    .slice(0, atMost)
    .map(({ minute }) => minute);
}

/** A minute was joined: nothing missing seals it, else it is due again later. */
export function afterJoin(
  book: MinuteBook,
  minute: number,
  isComplete: boolean,
  now: number,
  settings: ReconcileSettings,
): MinuteBook {
  const before = book.open.find((one) => one.minute === minute);
  const others = book.open.filter((one) => one.minute !== minute);
  if (isComplete) {
    const again = book.again.filter((one) => one.minute !== minute);
    return { ...book, open: others, again: [...again, { minute, at: now + settings.againMs }] };
  }
  const tries = (before?.tries ?? 0) + 1;
  const wait = Math.min(settings.retryFirstMs * 2 ** Math.min(tries - 1, 30), settings.retryLastMs);
  return { ...book, open: [...others, { minute, tries, dueAt: now + wait }] };
}

/** The second listing of a sealed minute: a key without receipt (a late put) opens it again. */
export function afterSecondListing(
  book: MinuteBook,
  minute: number,
  isComplete: boolean,
  now: number,
): MinuteBook {
  const again = book.again.filter((one) => one.minute !== minute);
  const open = book.open.filter((one) => one.minute !== minute);
  return { ...book, again, open: isComplete ? open : [...open, { minute, tries: 0, dueAt: now }] };
}

// --- the audit

/**
 * Is every row of a payload in the table, as its receipt claims? Days before `oldestDay` are outside the TTL. One
 * copy is expected for the id, and as many as its `stored` keys are exact.
 */
export function auditRows(
  claimed: readonly DayRows[],
  found: readonly DayRows[],
  storedKeys: number,
  oldestDay: number,
): "exact" | "too few" | "inexact" {
  const rows = new Map(found.map((one) => [one.day, one.rows]));
  const expected = claimed.filter(({ day }) => day >= oldestDay);
  const copies = expected.map((one) => (rows.get(one.day) ?? 0) / one.rows);
  if (copies.some((one) => one < 1)) {
    return "too few";
  }
  const first = copies[0] ?? 1;
  const isExact = copies.every((one) => one === first) && Number.isInteger(first) && first <= storedKeys;
  return isExact ? "exact" : "inexact";
}

// --- deleting

export interface DeleteFacts {
  readonly key: PayloadKey;
  /** Receipts of every key of the id. */
  readonly receipts: readonly Pick<Receipt, "key" | "outcome" | "rowsByDay">[];
  /** When the key's own receipt was written, ms since the epoch. */
  readonly receiptAt: number;
  /** Rows of the id in the table, read in this run. */
  readonly rowsByDay: readonly DayRows[];
  readonly oldestDay: number;
  /** The ledger holds the id. */
  readonly isHeld: boolean;
  /** The key's minute is sealed, and was listed in this run with nothing missing. */
  readonly isSealed: boolean;
  readonly arrival: number;
  readonly now: number;
}

/** A receipt younger than this may be a VERIFY's that has just stored the payload again. */
const receiptAgeMs = 3_600_000;

/**
 * May this payload's object be deleted? It is the last copy of what was accepted, so: past its retention, sealed,
 * receipted as stored or erased (a duplicate: only when a key of the id is stored), every row found in the table in
 * this very run, and nobody is working on it. Dead letters stay until they are purged.
 */
export function mayDelete(facts: DeleteFacts, retentionMs: number): boolean {
  const { key, receipts, now } = facts;
  const own = receipts.find((receipt) => receipt.key === key);
  if (own === undefined || facts.isHeld || !facts.isSealed) {
    return false;
  }
  assert(
    receipts.every((receipt) => idOfKey(receipt.key) === idOfKey(key)),
    "receipts of one id decide about it",
  );
  if (now - facts.arrival < retentionMs || now - facts.receiptAt < receiptAgeMs) {
    return false;
  }
  if (own.outcome === "erased") {
    return true;
  }
  const stored = receipts.filter(({ outcome }) => outcome === "stored");
  const claimed = stored[0]?.rowsByDay;
  if (own.outcome === "dead" || claimed === undefined) {
    return false;
  }
  return auditRows(claimed, facts.rowsByDay, stored.length, facts.oldestDay) === "exact";
}
