/**
 * The join of what R2 lists with what has a receipt: which keys have not ended. `ORDER BY key` in SQL equals R2's
 * listing order bytewise (docs/facts.md: evidence), so both sides come in the same order, page by page, in constant memory.
 */
import { assert } from "../assert.ts";
import type { PayloadOutcome } from "../outcome.ts";
import { idOfKey, type PayloadId, type PayloadKey } from "../payload-key.ts";

/**
 * Keys listed that have no receipt, in order. Both inputs ascend by key without repetition. A receipt without an
 * object is not the concern of this join (deleted, purged).
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

export function idsOf(keys: readonly PayloadKey[]): readonly PayloadId[] {
  return [...new Set(keys.map(idOfKey))];
}
