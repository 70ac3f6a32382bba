/**
 * When the table's rows bear a receipt out, and when a payload's object may go. Receipts are claims; the rows that the
 * table shows are the evidence.
 */

import { assert } from "../assert.ts";
import { MINUTE_MS } from "../limits.ts";
import { idOfKey, minuteOfKey, minuteToMs, type PayloadKey } from "../payload-key.ts";
import type { DayRows } from "../receipt.ts";
import type { DatedReceipt } from "./effects.ts";
import type { ReconcileSettings } from "./settings.ts";

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
  const claimedDays = new Set(claimed.map(({ day }) => day));
  const first = copies[0] ?? 1;
  const isExact =
    found.every(({ day }) => day < oldestDay || claimedDays.has(day)) &&
    copies.every((one) => one === first) &&
    Number.isInteger(first) &&
    first <= storedKeys;
  return isExact ? "exact" : "inexact";
}

export interface DeleteFacts {
  readonly key: PayloadKey;
  /** Receipts of every key of the id. `at`: when it was written, ms since the epoch. */
  readonly receipts: readonly Pick<DatedReceipt, "key" | "outcome" | "rowsByDay" | "at">[];
  /** Rows of the id in the table, read in this run. */
  readonly rowsByDay: readonly DayRows[];
  readonly oldestDay: number;
  /** The ledger holds the id. */
  readonly isHeld: boolean;
  /** The key's minute is sealed, and was listed in this run with nothing missing. */
  readonly isSealed: boolean;
  readonly now: number;
}

/**
 * May this payload's object be deleted? It is the last copy of what was accepted, so: past its retention, sealed,
 * receipted as stored, erased or expired (a duplicate: only when a key of the id is stored or expired), every row found in the table in
 * this very run (none, where it was erased), and nobody is working on it. Dead letters stay until they are purged.
 */
export function mayDelete(
  facts: DeleteFacts,
  { retentionMs, receiptAgeMs }: Pick<ReconcileSettings, "retentionMs" | "receiptAgeMs">,
): boolean {
  const { key, receipts, now } = facts;
  const own = receipts.find((receipt) => receipt.key === key);
  if (own === undefined || facts.isHeld || !facts.isSealed) {
    return false;
  }
  assert(
    receipts.every((receipt) => idOfKey(receipt.key) === idOfKey(key)),
    "receipts of one id decide about it",
  );
  // The minute's end counts: the key does not tell the moment of arrival.
  const arrivedBefore = minuteToMs(minuteOfKey(key)) + MINUTE_MS;
  if (now - arrivedBefore < retentionMs || receipts.some(({ at }) => now - at < receiptAgeMs)) {
    return false;
  }
  if (own.outcome === "erased") {
    return facts.rowsByDay.length === 0; // else the object is what the erasure is notified by, to be done again
  }
  const stored = receipts.filter(({ outcome }) => outcome === "stored");
  // What is expired has no rows, and claims none.
  const claimed = (stored[0] ?? receipts.find(({ outcome }) => outcome === "expired"))?.rowsByDay;
  if (own.outcome === "dead" || claimed === undefined) {
    return false;
  }
  const copiesMax = Math.max(1, stored.length);
  return auditRows(claimed, facts.rowsByDay, copiesMax, facts.oldestDay) === "exact";
}
