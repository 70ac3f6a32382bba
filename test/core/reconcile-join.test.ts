import { expect, test } from "vitest";
import { keyChecksum } from "../../shared/key-checksum.ts";
import { formatPayloadId, idOfHash, idOfKey, type PayloadKey } from "../../shared/payload-key.ts";
import { missingKeys, receiptCounts } from "../../shared/reconcile/join.ts";
import { seededRandom } from "../ledger/random-events.ts";
import { doorbell } from "../ledger/world.ts";

const key = (n: number): PayloadKey => doorbell({ n }).key;

test("a receipt whose object is gone is nothing missing", () => {
  expect(missingKeys([key(2)], [key(1), key(2), key(3)])).toEqual([]);
});

test("a duplicate counts only while another key of its id has ended otherwise", () => {
  expect(receiptCounts("duplicate", ["duplicate", "stored"])).toBe(true);
  expect(receiptCounts("duplicate", ["duplicate", "dead"])).toBe(true);
  expect(receiptCounts("duplicate", ["duplicate", "duplicate"])).toBe(false);
  expect(receiptCounts("dead", ["dead"])).toBe(true);
  expect(receiptCounts("stored", ["duplicate"])).toBe(true);
});

test("the checksum of keys does not depend on their order, and tells sets apart", () => {
  const ids = [1, 2, 3].map((n) => idOfKey(key(n)));
  expect(keyChecksum(ids)).toBe(keyChecksum([...ids].reverse()));
  expect(keyChecksum(ids)).not.toBe(keyChecksum(ids.slice(1)));
  expect(keyChecksum([])).toBe(0n);
});

test("refuses keys that are not ascending", () => {
  expect(() => missingKeys([key(2), key(1)], [])).toThrow("ascending");
  expect(() => missingKeys([], [key(1), key(1)])).toThrow("ascending");
});

test("equals the difference of sets, for any two sets", () => {
  const random = seededRandom(5);
  for (let round = 0; round < 500; round++) {
    const some = (): readonly PayloadKey[] =>
      Array.from({ length: 12 }, (_, n) => n)
        .filter(() => random() < 0.5)
        .map(key);
    const listed = some();
    const receipts = some();
    expect(missingKeys(listed, receipts)).toEqual(listed.filter((one) => !receipts.includes(one)));
  }
});

test("the checksum is of bytes that are hashed, in ids of both versions", () => {
  const hash = Uint8Array.from({ length: 32 }, (_, n) => 7 * n);
  const idOf = (contentMinute: number) => idOfHash(hash, { contentMinute, from: 0 });
  expect(keyChecksum([idOf(1)])).toBe(keyChecksum([idOf(3_627_821)]));
  expect(keyChecksum([idOf(1)])).toBe(new DataView(hash.buffer).getBigUint64(0, true));
});

test("the checksum is of 64 bits, as ClickHouse's sum of UInt64 wraps", () => {
  const ending = (first: number, last: number) => {
    const bytes = new Uint8Array(16);
    bytes[3] = first;
    bytes[10] = last;
    return formatPayloadId(bytes);
  };
  expect(keyChecksum([ending(0, 0x80)])).toBe(2n ** 63n);
  expect(keyChecksum([ending(1, 0x80), ending(2, 0x80)])).toBe(3n);
});
