/** The format of segments (shared/segment/): what is written is read, and what is damaged is never taken for something else. */
import { assert, describe, expect, test } from "vitest";
import { perform } from "../../shared/effect.ts";
import { toHex } from "../../shared/hex.ts";
import { limits } from "../../shared/limits.ts";
import type { ContentEncoding, PayloadMetadata } from "../../shared/messages.ts";
import {
  type BodyType,
  formatPayloadId,
  formatPayloadKey,
  formatSlotKey,
  idOfKey,
  isInSegment,
  isObjectKey,
  isPayloadKey,
  minuteOfKey,
  objectOf,
  onlyPayloadOf,
  type PayloadKey,
  parsePayloadKey,
  payloadId,
  slotOf,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import { crc32 } from "../../shared/segment/crc32.ts";
import { erasePayloads, type NotErased } from "../../shared/segment/erase-payloads.ts";
import {
  type IndexEntry,
  indexBytes,
  isBodyOf,
  type NewSegmentPayload,
  readIndex,
  writeSegment,
} from "../../shared/segment/segment.ts";
import { contentOf, contentOfAll, formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { seededRandom } from "../ledger/random-events.ts";

const openedAt = Date.UTC(2026, 10, 24, 7, 41, 12, 345);

const plain: PayloadMetadata = {
  version: "1",
  type: "pb",
  encoding: "identity",
  spans: 3,
  rejectedSpans: 0,
  inflatedBytes: 120,
  outputBytes: 900,
  arrival: openedAt - 20,
  startMinMs: 0,
  startMaxMs: 2 ** 52,
};

async function payloadOf(
  tenant: string,
  body: Uint8Array,
  metadata: PayloadMetadata = plain,
  from = Number.POSITIVE_INFINITY,
): Promise<NewSegmentPayload> {
  const time = { contentMinute: 3_627_821, from };
  const id = await payloadId(tenant, metadata.type, metadata.encoding, body, time);
  return { id, tenant, metadata, body };
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

function indexOf(segment: Uint8Array, payloads: number): readonly (IndexEntry | null)[] {
  const index = readIndex(segment, payloads, segment.length);
  return index.kind === "index" ? index.entries : [];
}

const bodyIn = (segment: Uint8Array, { offset, bytes }: IndexEntry) =>
  segment.subarray(offset, offset + bytes);

test("the checksum is the one that gzip has", () => {
  expect(crc32(bytesOf("123456789"))).toBe(0xcb_f4_39_26);
  expect(crc32(new Uint8Array(0))).toBe(0);
});

describe("a segment", () => {
  test("is read as it was written: each payload with all that its metadata says", async () => {
    const random = seededRandom(7);
    const below = (n: number) => Math.floor(random() * n);
    const types: readonly BodyType[] = ["pb", "json"];
    const encodings: readonly ContentEncoding[] = ["identity", "gzip", "deflate", "zstd"];
    for (let round = 0; round < 60; round++) {
      const count = round === 0 ? 128 : 1 + below(6);
      const payloads: NewSegmentPayload[] = [];
      for (let slot = 0; slot < count; slot++) {
        const body = Uint8Array.from({ length: below(80) }, () => below(256));
        const has = () => below(2) === 1;
        const metadata: PayloadMetadata = {
          ...plain,
          type: types[below(2)] ?? "pb",
          encoding: encodings[below(4)] ?? "gzip",
          spans: below(2 ** 32),
          rejectedSpans: below(2 ** 32),
          inflatedBytes: below(2 ** 32),
          outputBytes: below(2 ** 32),
          arrival: below(2 ** 42),
          startMinMs: below(2 ** 42),
          startMaxMs: below(2 ** 42),
          ...(has() ? { endMinMs: below(2 ** 42) } : {}),
          ...(has() ? { oldestDay: below(100_000) } : {}),
          ...(has()
            ? {
                sampleThreshold: `0${below(2 ** 40)
                  .toString(16)
                  .padStart(13, "0")}`,
              }
            : {}),
          ...(has() ? { repairs: below(2 ** 32), repairedTexts: below(2 ** 32) } : {}),
        };
        const tenant = "a".repeat(1 + below(64));
        payloads.push(await payloadOf(tenant, body, metadata, has() ? 0 : Number.POSITIVE_INFINITY));
      }
      const segment = writeSegment(openedAt, payloads);
      const entries = indexOf(segment, count);
      expect(readIndex(segment.subarray(0, indexBytes(count)), count, segment.length)).toEqual({
        kind: "index",
        entries,
      });
      for (const [slot, entry] of entries.entries()) {
        const { body, ...payload } = payloads[slot] ?? expect.unreachable();
        expect(entry).toMatchObject({ ...payload, slot, isErased: false });
        expect(entry?.metadata).toEqual(payload.metadata);
        const read = bodyIn(segment, entry ?? expect.unreachable());
        expect(read).toEqual(body);
        expect(await isBodyOf(entry ?? expect.unreachable(), read)).toBe(true);
      }
    }
  });

  test("has these bytes: what was written is read by every later release", async () => {
    const segment = writeSegment(openedAt, [
      await payloadOf("acme", bytesOf("one"), { ...plain, oldestDay: 20_781, repairs: 1, repairedTexts: 1 }),
      await payloadOf("b", bytesOf("two"), { ...plain, type: "json", sampleThreshold: "80000000000000" }, 0),
    ]);
    expect(toHex(segment)).toMatchInlineSnapshot(
      `"4852534702000000020000000090b106c8207a4200000000000000001207a9e5505dad2ad2aac8ee3693e9d6f8de57ad010000140300000000000000780000008403000001000000010000002d5100000050b006c8207a420000000000000000000000000000304300000000000000000000000000000000a0010000030000000461636d6500000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000095b5fd4e375b2dc43ad48276c7c6d0961563519301010008030000000000000078000000840300000000000000000000000000000050b006c8207a420000000000000000000000000000304300000000000000008000000000000000a3010000030000000162000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000f43282c76f6e6574776f"`,
    );
  });

  test("of a tenant is not taken for another's, nor under another type or encoding", async () => {
    const payload = await payloadOf("acme", bytesOf("body"));
    expect(await isBodyOf({ ...payload, tenant: "other" }, payload.body)).toBe(false);
    expect(await isBodyOf({ ...payload, metadata: { ...plain, type: "json" } }, payload.body)).toBe(false);
    expect(await isBodyOf({ ...payload, metadata: { ...plain, encoding: "zstd" } }, payload.body)).toBe(
      false,
    );
    expect(await isBodyOf(payload, bytesOf("bodi"))).toBe(false);
    const timed = await payloadOf("acme", bytesOf("body"), plain, 0);
    expect(timed.id).not.toBe(payload.id);
    expect(await isBodyOf(timed, timed.body)).toBe(true);
    // Ids of version 1 have all 16 bytes of the hash; one that has only the last 13 of them shifted is nobody's.
    const shifted = formatPayloadId(new Uint8Array(16));
    expect(await isBodyOf({ ...payload, id: shifted }, payload.body)).toBe(false);
  });

  test("that is no segment, or one of a later version, is refused by what it is", async () => {
    const segment = writeSegment(openedAt, [await payloadOf("acme", bytesOf("one"))]);
    const later = segment.slice();
    later[4] = 3;
    new DataView(later.buffer).setUint32(28, crc32(later.subarray(0, 28)), true);
    expect(readIndex(later, 1, later.length)).toEqual({
      kind: "unreadable",
      reason: "it is a segment of version 3, which this release does not read",
    });
    const none = { kind: "unreadable", reason: "it does not begin as a segment" };
    expect(readIndex(bytesOf("some protobuf"), 1, 13)).toEqual(none);
    expect(readIndex(new Uint8Array(0), 1, 0)).toEqual(none);
    const unlike = segment.slice().fill(0, 0, 200);
    expect(readIndex(unlike, 1, unlike.length)).toEqual(none);
  });
});

describe("damage", () => {
  test("of an entry whose checksum is right is found too: a place outside of the object, a tenant or signal that is none", async () => {
    const payloads = [await payloadOf("acme", bytesOf("one")), await payloadOf("acme", bytesOf("another"))];
    const segment = writeSegment(openedAt, payloads);
    const last = indexBytes(1);
    /** The last entry with this in it, and a checksum for that. */
    const changed = (change: (entry: Uint8Array, view: DataView) => void) => {
      const copy = segment.slice();
      const entry = copy.subarray(last, indexBytes(2));
      const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
      change(entry, view);
      view.setUint32(188, crc32(entry.subarray(0, 188)), true);
      const [first, second] = indexOf(copy, 2);
      expect(first).toMatchObject({ id: payloads[0]?.id });
      return second;
    };
    const [offset, bytes] = [88, 92];
    const bodyAt = segment.length - bytesOf("another").length;
    expect(changed(() => undefined)).toMatchObject({ id: payloads[1]?.id, offset: bodyAt, bytes: 7 });
    expect(
      changed((_, view) => view.setUint32(bytes, 8, true)),
      "one byte more than there is",
    ).toBe(null);
    expect(changed((_, view) => view.setUint32(offset, segment.length, true))).toBe(null);
    expect(
      changed((_, view) => view.setUint32(offset, indexBytes(2) - 1, true)),
      "in the index",
    ).toBe(null);
    expect(
      changed((entry) => entry.fill(2, 16, 17)),
      "another signal",
    ).toBe(null);
    expect(
      changed((entry) => entry.fill(0x20, 97, 98)),
      "no tenant's name",
    ).toBe(null);
    expect(
      changed((entry) => entry.fill(9, 17, 18)),
      "no type of body",
    ).toBe(null);
    expect(
      changed((entry) => entry.fill(9, 18, 19)),
      "no encoding",
    ).toBe(null);
  });

  test("of any bit or length leads to the same payloads, or to none of them: never to another body", async () => {
    const payloads = [
      await payloadOf("acme", bytesOf("the first body")),
      await payloadOf("b", bytesOf("another's")),
      await payloadOf("acme", bytesOf(""), { ...plain, type: "json" }),
    ];
    const segment = writeSegment(openedAt, payloads);
    const check = async (damaged: Uint8Array): Promise<number> => {
      let whole = 0;
      for (const [slot, entry] of indexOf(damaged, 3).entries()) {
        const { body, ...payload } = payloads[slot] ?? expect.unreachable();
        if (entry !== null && (await isBodyOf(entry, bodyIn(damaged, entry)))) {
          expect(entry).toMatchObject({ ...payload, slot });
          expect(bodyIn(damaged, entry)).toEqual(body);
          whole += 1;
        }
      }
      return whole;
    };
    for (let bit = 0; bit < 8 * segment.length; bit++) {
      const damaged = segment.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      // One bit damages one payload at most, and of the header none: what it says of its version is believed with its checksum alone.
      expect(await check(damaged)).toBe(bit < 8 * indexBytes(0) ? 3 : 2);
    }
    for (let length = 0; length < segment.length; length++) {
      expect(await check(segment.slice(0, length))).toBeLessThan(3);
    }
    expect(await check(segment)).toBe(3);
  });
});

describe("erasing", () => {
  const segmentOf = async (...texts: readonly string[]) => {
    const payloads = await Promise.all(
      texts.map((text, n) => payloadOf(n % 2 === 0 ? "acme" : "b", bytesOf(text))),
    );
    const ids = payloads.map(({ id }) => id);
    const name = formatSegmentKey(openedAt, new Uint8Array(10), ids);
    const keys = payloads.map(({ tenant, id }, slot) => formatSlotKey(name, slot, tenant, id));
    return { name, keys, bytes: writeSegment(openedAt, payloads) };
  };

  let notErased: NotErased = { keys: [], reason: "" };
  let waited: number[] = [];
  /** What is in the object's place afterwards; null: nothing. `meanwhile`: what others write before it is written. */
  const erase = async (
    bytes: Uint8Array,
    keys: readonly PayloadKey[],
    meanwhile: (before: Uint8Array | null) => Uint8Array | null = () => null,
  ): Promise<Uint8Array | null> => {
    waited = [];
    let object: { bytes: Uint8Array; etag: string } | null = { bytes, etag: "0" };
    notErased = await perform(erasePayloads(keys), {
      get: async () => object,
      isBody: async ({ entry, body }) => await isBodyOf(entry, body),
      replace: async ({ bytes: written, etag }) => {
        const other = meanwhile(object?.bytes ?? null);
        if (other !== null) {
          object = { bytes: other, etag: `${object?.etag}+` };
        }
        const isSame = object?.etag === etag;
        object = isSame ? { bytes: written, etag: `${etag}+` } : object;
        return isSame;
      },
      delete: async () => {
        object = null;
        return null;
      },
      wait: async ({ ms }) => {
        waited.push(ms);
        return null;
      },
    });
    return object?.bytes ?? null;
  };

  const bodies = (bytes: Uint8Array | null, payloads: number) =>
    indexOf(bytes ?? expect.unreachable(), payloads).map((entry) =>
      entry === null || entry.isErased
        ? entry && "erased"
        : textOf(bodyIn(bytes ?? expect.unreachable(), entry)),
    );
  const textOf = (some: Uint8Array) => new TextDecoder().decode(some);

  test("overwrites a payload's body with zeros, and nothing else", async () => {
    const { keys, bytes } = await segmentOf("first", "second", "third");
    const before = bytes.slice();
    const after = await erase(bytes, keys.slice(1, 2));
    expect(bytes).toEqual(before);
    expect(bodies(after, 3)).toEqual(["first", "erased", "third"]);
    const differs = [...before.keys()].filter((at) => before[at] !== after?.[at]);
    const [, entry] = indexOf(before, 3);
    const { offset, bytes: length } = entry ?? expect.unreachable();
    const isOwn = (at: number) =>
      (at >= indexBytes(1) && at < indexBytes(2)) || (at >= offset && at < offset + length);
    expect(differs.every(isOwn)).toBe(true);
    expect(textOf(after ?? before)).not.toContain("second");
    expect(await erase(after ?? before, keys)).toBeNull();
  });

  test("of a payload whose entry is damaged takes what is no other's, and ends", async () => {
    const { keys, bytes } = await segmentOf("first", "second", "third");
    bytes.fill(7, indexBytes(1), indexBytes(1) + 30);
    const after = (await erase(bytes, keys.slice(1, 2))) ?? expect.unreachable();
    expect(bodies(after, 3)).toEqual(["first", "erased", "third"]);
    expect(textOf(after)).not.toContain("second");
    expect(indexOf(after, 3)[1]).toMatchObject({ id: idOfKey(keys[1] ?? expect.unreachable()), tenant: "b" });
    expect(await erase(after, keys.slice(1, 2))).toEqual(after);
  });

  test("of a payload whose entry leads to another's body leaves that one", async () => {
    const { keys, bytes } = await segmentOf("first", "other", "third");
    const [first, second] = [0, 1].map((slot) => bytes.subarray(indexBytes(slot), indexBytes(slot + 1)));
    second?.set(first?.subarray(88, 96) ?? [], 88); // where its body is, and how long
    new DataView(bytes.buffer).setUint32(indexBytes(2) - 4, crc32(second?.subarray(0, 188) ?? bytes), true);
    expect(bodies(bytes, 3)).toEqual(["first", "first", "third"]);
    const after = (await erase(bytes, keys.slice(1, 2))) ?? expect.unreachable();
    expect(bodies(after, 3)).toEqual(["first", "erased", "third"]);
    expect(textOf(after)).not.toContain("other");
    const again = await erase(after, keys.slice(1, 2));
    expect(bodies(again, 3)).toEqual(["first", "erased", "third"]);
    const withAnother = await erase(after, keys.slice(1));
    expect(bodies(withAnother, 3)).toEqual(["first", "erased", "erased"]);
  });

  test("of two that nobody can read leaves neither", async () => {
    const { keys, bytes } = await segmentOf("first", "second", "third", "fourth");
    bytes.fill(7, indexBytes(1), indexBytes(3));
    const after = (await erase(bytes, keys.slice(1, 2))) ?? expect.unreachable();
    expect(bodies(after, 4)).toEqual(["first", "erased", null, "fourth"]);
    expect(textOf(after)).not.toMatch(/second|third/);
  });

  test("under another payload's key takes nothing", async () => {
    const { name, keys, bytes } = await segmentOf("first", "second");
    const wrong = formatSlotKey(name, 0, "b", idOfKey(keys[1] ?? expect.unreachable()));
    const beyond = formatSlotKey(name, 5, "b", idOfKey(keys[1] ?? expect.unreachable()));
    expect(bodies(await erase(bytes, [wrong, beyond]), 2)).toEqual(["first", "second"]);
  });

  test("of a segment that other erasures write meanwhile reads it anew, eight times and a second apart", async () => {
    const { keys, bytes } = await segmentOf(...Array.from({ length: 11 }, (_, n) => `number ${n}`));
    const overtakenBy = async (others: number): Promise<Uint8Array | null> => {
      const rewritten: Uint8Array[] = [];
      let last = bytes;
      for (const key of keys.slice(1, 1 + others)) {
        last = (await erase(last, [key])) ?? expect.unreachable();
        rewritten.push(last);
      }
      return await erase(bytes, keys.slice(0, 1), () => rewritten.shift() ?? null);
    };
    for (const others of [1, 2, 8]) {
      const after = await overtakenBy(others);
      const goneOf = bodies(after, 11).map((body) => body === "erased");
      expect(goneOf, "nothing of what others erased is there again").toEqual(keys.map((_, n) => n <= others));
      expect(textOf(after ?? bytes)).not.toContain("number 0");
      expect(notErased).toEqual({ keys: [], reason: "" });
      expect(waited).toEqual(Array.from({ length: others }, () => 1000));
    }
    const after = await overtakenBy(9);
    expect(bodies(after, 11)[0], "it is left").toBe("number 0");
    expect(notErased).toEqual({ keys: keys.slice(0, 1), reason: expect.stringContaining("others wrote it") });
  });

  test("of many segments at once ends with each other one where one cannot be rewritten, or R2 does not take it", async () => {
    const segments = await Promise.all(
      ["a", "b", "c", "d"].map(async (text) => await segmentOf(`${text} one`, `${text} two`)),
    );
    const [later, broken, overtaken] = segments;
    later?.bytes.set([3], 4);
    new DataView(later?.bytes.buffer ?? new ArrayBuffer()).setUint32(
      28,
      crc32(later?.bytes.subarray(0, 28) ?? bytesOf("")),
      true,
    );
    const objects = new Map(segments.map(({ name, bytes }) => [name, bytes]));
    let puts = 0;
    let times = 2;
    const left = await perform(erasePayloads(segments.flatMap(({ keys }) => keys.slice(0, 1))), {
      get: async (name) => {
        const bytes = objects.get(name);
        return bytes === undefined ? null : { bytes, etag: "0" };
      },
      isBody: async ({ entry, body }) => await isBodyOf(entry, body),
      replace: async ({ segment, bytes }) => {
        puts++;
        if (segment === broken?.name || (segment === overtaken?.name && times-- > 0)) {
          throw new Error("R2 said no");
        }
        objects.set(segment, bytes);
        return true;
      },
      delete: async () => expect.unreachable(),
      wait: async () => null,
    });
    expect(left.keys).toEqual([later?.keys[0], broken?.keys[0]]);
    expect(left.reason).toBe(
      `${later?.name}: it is a segment of version 3, which this release does not read`,
    );
    expect(segments.slice(2).map(({ name }) => bodies(objects.get(name) ?? null, 2)[0])).toEqual([
      "erased",
      "erased",
    ]);
    expect(objects.get(later?.name ?? expect.unreachable())).toBe(later?.bytes);
    expect(puts, "eight again for all of them together").toBe(3 + limits.segmentRewritesAgainMax);
  });

  test("that was cut off writes again only what it had not come to", async () => {
    const segments = await Promise.all(
      ["a", "b", "c"].map((text) => segmentOf(`${text} one`, `${text} two`, "three")),
    );
    const objects = new Map(segments.map(({ name, bytes }) => [name, bytes]));
    const keys = segments.flatMap(({ keys }) => keys.slice(0, 2));
    const written: string[] = [];
    const attempt = async (writes: number) => {
      const work = erasePayloads(keys);
      written.length = 0;
      let step = work.next();
      while (step.done !== true && written.length < writes) {
        const asked = step.value;
        if (asked.name === "get") {
          step = work.next({
            is: "done",
            to: "get",
            value: { bytes: objects.get(asked.asks) ?? expect.unreachable(), etag: "0" },
          });
        } else if (asked.name === "isBody") {
          step = work.next({ is: "done", to: "isBody", value: true });
        } else {
          assert(asked.name === "replace");
          objects.set(asked.asks.segment, asked.asks.bytes);
          written.push(asked.asks.segment);
          step = work.next({ is: "done", to: "replace", value: true });
        }
      }
      return step.done === true ? step.value : null;
    };
    expect(await attempt(2)).toBeNull();
    const names = segments.map(({ name }) => name);
    expect(written).toEqual(names.slice(0, 2));
    expect(await attempt(9)).toEqual({ keys: [], reason: "" });
    expect(written).toEqual(names.slice(2));
    const after = new Map(objects);
    expect(await attempt(9)).toEqual({ keys: [], reason: "" });
    expect(written).toEqual([]);
    expect(objects).toEqual(after);
    expect(segments.map(({ name }) => bodies(objects.get(name) ?? null, 3))).toEqual(
      segments.map(() => ["erased", "erased", "three"]),
    );
  });

  test("ends whatever bit is damaged or wherever the segment is cut off, and costs no payload that could be read", async () => {
    const { keys, bytes } = await segmentOf("first", "second", "third");
    const isRead = async (some: Uint8Array, entry: IndexEntry | null | undefined): Promise<boolean> =>
      entry != null && !entry.isErased && (await isBodyOf(entry, bodyIn(some, entry)));
    const check = async (damaged: Uint8Array): Promise<void> => {
      const after = await erase(damaged, keys.slice(1, 2));
      expect(textOf(after ?? bytesOf(""))).not.toContain("second");
      const read = indexOf(after ?? expect.unreachable(), 3);
      expect(read[1]?.isErased).toBe(true);
      for (const slot of [0, 2]) {
        const before = indexOf(damaged, 3)[slot];
        expect(await isRead(after ?? damaged, read[slot])).toBe(await isRead(damaged, before));
      }
    };
    for (let bit = 0; bit < 8 * bytes.length; bit += 5) {
      const damaged = bytes.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await check(damaged);
    }
    for (let length = 0; length < bytes.length; length++) {
      await check(bytes.slice(0, length));
    }
  });

  test("of an object that is no segment takes all that it has, and ends", async () => {
    const { keys } = await segmentOf("first", "second");
    const some = bytesOf("something else ".repeat(60));
    const after = (await erase(some, keys.slice(1, 2))) ?? expect.unreachable();
    expect(bodies(after, 2)).toEqual([null, "erased"]);
    expect(textOf(after.subarray(indexBytes(2)))).not.toMatch(/[a-z]/);
    expect(await erase(bytesOf(""), keys)).toBeNull();
  });

  test("leaves what another release wrote, and says so", async () => {
    const { keys, bytes } = await segmentOf("first", "second");
    bytes[4] = 3;
    new DataView(bytes.buffer).setUint32(28, crc32(bytes.subarray(0, 28)), true);
    expect(await erase(bytes, keys)).toBe(bytes);
    expect(notErased).toEqual({
      keys,
      reason: expect.stringMatching(/^p\/.*: it is a segment of version 3, /),
    });
  });
});

describe("keys", () => {
  const idAt = (n: number) => formatPayloadId(new Uint8Array(16).fill(n));
  const ids = [idAt(255), idAt(2), idAt(255)];
  const segment = formatSegmentKey(
    openedAt,
    Uint8Array.from({ length: 10 }, (_, n) => n),
    ids,
  );

  test("of a segment say when it was opened, how many payloads it has, and what their ids add up to", () => {
    expect(segment).toBe("p/0/t/2026-11-24T0741/_2/0c1p000g40o40k30e20903040g2081040g0");
    expect(isObjectKey(segment)).toBe(true);
    expect(minuteOfKey(segment)).toBe("2026-11-24T0741");
    const alone = ids.map((id, n) => objectOf(formatPayloadKey(openedAt, `t${n}`, id)));
    expect(contentOf(segment)).toEqual(contentOfAll(alone));
    expect(contentOfAll([segment, ...alone]).payloads).toBe(6);
    const many = formatSegmentKey(
      openedAt,
      new Uint8Array(10),
      Array.from({ length: 128 }, () => idAt(255)),
    );
    expect(contentOf(many)).toEqual({ payloads: 128, checksum: BigInt.asUintN(64, 128n * (2n ** 64n - 1n)) });
    expect(many.length).toBe(segment.length);
  });

  test("of its payloads name the segment, the place, the tenant and the id", () => {
    const key = formatSlotKey(segment, 7, "acme", idAt(2));
    expect(key).toBe(`${segment}/007/acme/${idAt(2)}`);
    expect(isPayloadKey(key)).toBe(true);
    expect(parsePayloadKey(key)).toEqual({
      lane: "0",
      signal: "t",
      minute: "2026-11-24T0741",
      tenant: "acme",
      id: idAt(2),
      object: segment,
      slot: 7,
    });
    expect([objectOf(key), slotOf(key), tenantOfKey(key), idOfKey(key)]).toEqual([
      segment,
      7,
      "acme",
      idAt(2),
    ]);
    expect(isInSegment(key)).toBe(true);
    expect(formatSlotKey(segment, 127, "acme", idAt(2)) > key).toBe(true);
  });

  test("of a payload with its own object are its object's", () => {
    const text = `p/0/t/2026-11-24T0741/acme/${idAt(2)}`;
    const parts = parsePayloadKey(text) ?? expect.unreachable();
    expect([parts.object, parts.slot]).toEqual([text, 0]);
    expect(isObjectKey(text)).toBe(true);
    expect(isInSegment(parts.object)).toBe(false);
    expect(slotOf(onlyPayloadOf(parts.object))).toBe(0);
    expect(() => onlyPayloadOf(segment)).toThrow("a segment has many payloads");
  });

  test("are of no other form", () => {
    for (const text of [
      segment,
      `${segment}/7/acme/${idAt(2)}`,
      `${segment}/0007/acme/${idAt(2)}`,
      `${segment}/007/Acme/${idAt(2)}`,
      `${segment}/007/acme/${idAt(2)}0`,
      `${segment}/007/acme/${idAt(2)}/x`,
      `${segment.replace("_2", "_3")}/007/acme/${idAt(2)}`,
      `${segment}0/007/acme/${idAt(2)}`,
      `${segment.slice(0, -1)}/007/acme/${idAt(2)}`,
      `p/0/t/2026-11-24T0741/_2/${idAt(2)}`,
    ]) {
      expect(isPayloadKey(text), text).toBe(false);
    }
    for (const text of [
      `${segment}0`,
      segment.slice(0, -1),
      segment.replace("_2", "_3"),
      `${segment}/007/acme/${idAt(2)}`,
      `x${segment}`,
    ]) {
      expect(isObjectKey(text), text).toBe(false);
    }
    expect(() => formatSlotKey(segment, 1000, "acme", idAt(2))).toThrow("a slot has three digits");
    expect(() => formatSegmentKey(openedAt, new Uint8Array(9), ids)).toThrow("80 random bits");
    expect(() => formatSegmentKey(openedAt, new Uint8Array(10), [])).toThrow("1 to 128");
  });
});
