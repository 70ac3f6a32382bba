/** By which of its keys an id is remembered (shared/ledger/key-tag.ts). */
import { expect, test } from "vitest";
import { storedUnder, tagOfEnded, tagOfKey } from "../../shared/ledger/key-tag.ts";
import { formatPayloadId, formatPayloadKey, formatSlotKey } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";

const arrival = Date.UTC(2026, 10, 24, 7, 41, 12);
const id = formatPayloadId(new Uint8Array(16).fill(3));

test("a key with an object of its own has its minute, counted from the epoch", () => {
  expect(tagOfKey(formatPayloadKey(arrival, "acme", id))).toBe(29_925_101);
  expect(tagOfKey(formatPayloadKey(arrival + 60_000, "acme", id))).toBe(29_925_102);
});

test("a key in a segment has a number of 32 bits that no minute has, another one for each place and segment", () => {
  const tags = new Set<number>();
  for (let n = 0; n < 50; n++) {
    const segment = formatSegmentKey(arrival, new Uint8Array(10).fill(n), [id]);
    for (let slot = 0; slot < 20; slot++) {
      const tag = tagOfKey(formatSlotKey(segment, slot, "acme", id));
      expect(tag).toBeGreaterThanOrEqual(2 ** 31);
      expect(tag).toBeLessThan(2 ** 32);
      expect(Number.isInteger(tag)).toBe(true);
      tags.add(tag);
    }
  }
  expect(tags.size).toBe(1000);
  // It is kept, so it never changes.
  expect(tagOfKey(formatSlotKey(formatSegmentKey(arrival, new Uint8Array(10), [id]), 7, "acme", id))).toBe(
    3_483_624_127,
  );
});

test("a payload that is stored under another key names it, or where that is in a segment its tag", () => {
  const own = formatPayloadKey(arrival, "acme", id);
  const segment = formatSegmentKey(arrival, new Uint8Array(10), [id]);
  const other = formatSlotKey(segment, 7, "acme", id);
  expect(storedUnder(other, tagOfKey(own))).toEqual({ key: own, outcome: "stored" });
  const inSegment = storedUnder(own, tagOfKey(other));
  expect(inSegment).toEqual({ key: own, outcome: "stored", tag: tagOfKey(other) });
  expect(tagOfEnded(inSegment)).toBe(tagOfKey(other));
});

test("what ended is remembered by its own key, or by the one that is named", () => {
  const key = formatPayloadKey(arrival, "acme", id);
  expect(tagOfEnded({ key, outcome: "stored" })).toBe(tagOfKey(key));
  expect(tagOfEnded({ key, outcome: "stored", tag: 7 })).toBe(7);
});
