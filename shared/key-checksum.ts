/** The checksum of a set of payloads: equal sets have equal ones, and no order matters. */
import { contentMinuteBytes, type PayloadId, payloadIdToBytes } from "./payload-key.ts";

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
