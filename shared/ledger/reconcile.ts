/**
 * The reconciler's decision for one minute, as a merge-join of three streams in the order of keys: what R2 lists, what
 * has a receipt, and what the ledger holds. `ORDER BY key` in SQL equals R2's listing order bytewise (FACTS I), so a
 * minute of a million payloads is joined in constant memory, page by page.
 */
import { assert } from "../assert.ts";
import type { PayloadKey } from "../payload-key.ts";

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

function assertAscending(keys: readonly PayloadKey[]): void {
  let last = "";
  for (const key of keys) {
    assert(last < key, "keys are joined in ascending order, each once");
    last = key;
  }
}
