/**
 * The join of what R2 lists with what has a receipt: which keys have not ended. `ORDER BY key` in SQL equals R2's
 * listing order bytewise (docs/facts.md: evidence), so both sides come in the same order, page by page, in constant memory.
 */
import { assert } from "../assert.ts";
import type { PayloadOutcome } from "../outcome.ts";
import {
  contentMinuteBytes,
  idOfKey,
  type PayloadId,
  type PayloadKey,
  payloadIdToBytes,
} from "../payload-key.ts";

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

/**
 * The sum, modulo 2^64, of 8 bytes (little-endian) of the keys' ids: equal sets of keys have equal sums. They are the first of
 * those that are hashed in ids of both versions: the payloads of a minute have their content minute in common. SQL
 * computes it as sum(reinterpretAsUInt64(substring(payload, 4, 8))) (clickhouse/minutes.ts).
 */
export function keyChecksum(ids: Iterable<PayloadId>): bigint {
  // Two sums of 32 bits, as numbers: those of a few million ids are less than 2^53.
  let low = 0;
  let high = 0;
  for (const id of ids) {
    const bytes = payloadIdToBytes(id);
    low += uint32(bytes, contentMinuteBytes);
    high += uint32(bytes, contentMinuteBytes + 4);
  }
  return BigInt.asUintN(64, (BigInt(high) << 32n) + BigInt(low));
}

/** Little-endian. A DataView would make a buffer of its own for each id. */
function uint32(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
  return low + (bytes[at + 3] ?? 0) * 2 ** 24;
}

export function idsOf(keys: readonly PayloadKey[]): readonly PayloadId[] {
  return [...new Set(keys.map(idOfKey))];
}
