/** Payloads of segments in a real bucket: loaded, completed, found, erased and copied, each by its own key. */
import { reset } from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { subrequestsOf } from "../../../shared/delivery/subrequests.ts";
import type { GroupPayload } from "../../../shared/ledger/group.ts";
import { formatPayloadMetadata, type PayloadMetadata } from "../../../shared/messages.ts";
import {
  deadCopyOf,
  deadLetterPrefix,
  formatPayloadKey,
  formatSlotKey,
  getsOf,
  idOfKey,
  type ObjectKey,
  objectOf,
  type PayloadKey,
  payloadId,
} from "../../../shared/payload-key.ts";
import { crc32 } from "../../../shared/segment/crc32.ts";
import { headPayload, readSegment } from "../../../shared/segment/payload-objects.ts";
import { indexBytes, type NewSegmentPayload, writeSegment } from "../../../shared/segment/segment.ts";
import { formatSegmentKey } from "../../../shared/segment/segment-key.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import { completeDoorbell, completeDoorbells } from "../../../workers/consumer/complete-doorbell.ts";
import { copyDead, eraseObjects } from "../../../workers/consumer/erase-objects.ts";
import { loadPayloads, setAside } from "../../../workers/consumer/load-payloads.ts";

const bucket = (given as unknown as ConsumerBindings).PAYLOADS;
const openedAt = Date.UTC(2026, 10, 24, 7, 41, 12);
const encoder = new TextEncoder();

beforeEach(async () => {
  await reset();
});

const metadataOf = (spans: number, body: Uint8Array): PayloadMetadata => ({
  version: "1",
  type: "pb",
  encoding: "identity",
  spans,
  rejectedSpans: 0,
  inflatedBytes: body.length,
  outputBytes: 1000 * spans,
  arrival: openedAt - spans,
  startMinMs: 0,
  startMaxMs: openedAt,
});

interface Put {
  readonly segment: ObjectKey;
  readonly keys: readonly PayloadKey[];
  readonly bytes: Uint8Array;
}

/** Puts payloads with these bodies as one segment; the first is of tenant `a`, the others of `b`. */
async function putSegment(...bodies: readonly string[]): Promise<Put> {
  const payloads = await Promise.all(
    bodies.map(async (text, n): Promise<NewSegmentPayload> => {
      const tenant = n === 0 ? "a" : "b";
      const body = encoder.encode(text);
      const time = { contentMinute: 0, from: Number.POSITIVE_INFINITY };
      return {
        id: await payloadId(tenant, "pb", "identity", body, time),
        tenant,
        metadata: metadataOf(n + 1, body),
        body,
      };
    }),
  );
  const segment = formatSegmentKey(
    openedAt,
    crypto.getRandomValues(new Uint8Array(10)),
    payloads.map(({ id }) => id),
  );
  const bytes = writeSegment(openedAt, payloads);
  await bucket.put(segment, bytes);
  return {
    segment,
    keys: payloads.map(({ tenant, id }, slot) => formatSlotKey(segment, slot, tenant, id)),
    bytes,
  };
}

const wanted = (key: PayloadKey): GroupPayload => ({
  key,
  spans: 1,
  outputBytes: 1000,
  arrival: openedAt,
  cause: "ingress",
  doorbell: true,
  duplicateKeys: [],
  missingDays: null,
  erase: null,
});

/** The bucket, and what is asked of it. */
function watch() {
  const asked: string[] = [];
  const watched = new Proxy(bucket, {
    get: (target, name) =>
      typeof name === "string" && ["get", "head", "put"].includes(name)
        ? (key: string, ...more: readonly unknown[]) => {
            asked.push(`${name} ${key}`);
            return Reflect.apply(Reflect.get(target, name), target, [key, ...more]);
          }
        : Reflect.get(target, name),
  });
  return { bucket: watched, asked };
}

/** Each key with its body's text, or with why it has none; and which objects were got. */
async function load(...keys: readonly PayloadKey[]) {
  const gets: string[] = [];
  const watched = new Proxy(bucket, {
    get: (target, name) =>
      name === "get"
        ? (key: string) => {
            gets.push(key);
            return target.get(key);
          }
        : Reflect.get(target, name),
  });
  const loaded: string[] = [];
  for await (const one of loadPayloads(watched, keys.map(wanted))) {
    const protobuf = one.kind === "fetched" ? one.takeProtobuf() : null;
    loaded.push(
      one.kind === "unreadable"
        ? one.reason
        : new TextDecoder().decode(protobuf?.ok ? protobuf.value : undefined),
    );
  }
  return { loaded, gets };
}

async function damage(key: string, change: (bytes: Uint8Array) => void): Promise<void> {
  const bytes = new Uint8Array((await (await bucket.get(key))?.arrayBuffer()) ?? expect.unreachable());
  change(bytes);
  await bucket.put(key, bytes);
}

describe("loading", () => {
  test("gets an object once for those of its payloads that follow one another", async () => {
    const { segment, keys } = await putSegment("one", "two", "three");
    const other = await putSegment("four");
    const alone = formatPayloadKey(
      openedAt,
      "a",
      await payloadId("a", "pb", "identity", encoder.encode("five"), {
        contentMinute: 0,
        from: Number.POSITIVE_INFINITY,
      }),
    );
    const customMetadata = formatPayloadMetadata(metadataOf(1, encoder.encode("five")));
    await bucket.put(alone, "five", { customMetadata });
    expect(await load(...keys, alone, ...other.keys)).toEqual({
      loaded: ["one", "two", "three", "five", "four"],
      gets: [segment, alone, other.segment],
    });
    const [first, , third] = keys;
    expect((await load(third ?? expect.unreachable(), first ?? expect.unreachable())).loaded).toEqual([
      "three",
      "one",
    ]);
  });

  test("never gives another payload's bytes: what does not fit its id is unreadable, and the others are as they were", async () => {
    const { segment, keys } = await putSegment("one", "two", "three");
    // A body that was overwritten, and an entry whose bytes were.
    await damage(segment, (bytes) => bytes.set(encoder.encode("TWO"), indexBytes(3) + 3));
    expect((await load(...keys)).loaded).toEqual(["one", "unreadable", "three"]);
    await damage(segment, (bytes) => bytes.fill(7, indexBytes(0), indexBytes(0) + 20));
    expect((await load(...keys)).loaded).toEqual(["unreadable", "unreadable", "three"]);
    await bucket.put(segment, "something else");
    expect((await load(...keys)).loaded).toEqual(["unreadable", "unreadable", "unreadable"]);
  });

  test("finds nothing under the key of another tenant, another id or another place", async () => {
    const { segment, keys } = await putSegment("one", "two");
    const [first = expect.unreachable(), second = expect.unreachable()] = keys;
    const strangers = [
      first.replace("/a/", "/b/"),
      second.replace("/001/", "/000/"),
      first.replace("/000/", "/001/"),
    ] as PayloadKey[];
    expect((await load(...strangers)).loaded).toEqual(["missing_object", "missing_object", "missing_object"]);
    for (const key of strangers) {
      expect(await headPayload(bucket, key)).toBeNull();
    }
    expect((await load(second.replace("/001/", "/002/") as PayloadKey)).loaded).toEqual(["unreadable"]);
    await bucket.delete(segment);
    expect((await load(...keys)).loaded).toEqual(["missing_object", "missing_object"]);
  });
});

test("an event of a segment is completed to a doorbell for each of its payloads, by its index alone", async () => {
  const { segment, keys } = await putSegment("one", "two", "three");
  const doorbells = await completeDoorbells(bucket, segment, "event");
  expect(doorbells).toEqual(
    keys.map((key, n) => ({
      v: 1,
      key,
      cause: "event",
      spans: n + 1,
      outputBytes: 1000 * (n + 1),
      arrival: openedAt - n - 1,
      inflatedBytes: n === 2 ? 5 : 3,
    })),
  );
  expect(await completeDoorbell(bucket, keys[1] ?? expect.unreachable(), "replay")).toEqual({
    ...doorbells[1],
    cause: "replay",
  });
  await bucket.delete(segment);
  expect(await completeDoorbells(bucket, segment, "event")).toEqual([]);
});

describe("erasing", () => {
  test("takes a payload's bytes out of its segment, and leaves the others' as they were", async () => {
    const { segment, keys, bytes } = await putSegment("the first", "the second", "the third");
    const [first = expect.unreachable(), second = expect.unreachable(), third = expect.unreachable()] = keys;
    await bucket.put(`${deadLetterPrefix}${second}`, "{}");
    await eraseObjects(bucket, [second]);
    await eraseObjects(bucket, [second]);
    expect((await load(first, second, third)).loaded).toEqual(["the first", "missing_object", "the third"]);
    const after = await (await bucket.get(segment))?.text();
    expect(after).toContain("the first");
    expect(after).not.toContain("second");
    expect((await bucket.head(segment))?.size).toBe(bytes.length);
    expect(await bucket.head(`${deadLetterPrefix}${second}`)).toBeNull();
    expect((await readSegment(bucket, segment))?.map(({ isErased }) => isErased)).toEqual([
      false,
      true,
      false,
    ]);
    expect((await completeDoorbells(bucket, segment, "event")).map(({ key }) => key)).toEqual([first, third]);
  });

  test("deletes the object when nothing is left in it", async () => {
    const { segment, keys } = await putSegment("one", "two");
    await eraseObjects(bucket, keys.slice(0, 1));
    await eraseObjects(bucket, keys.slice(1));
    expect(await bucket.head(segment)).toBeNull();
    const both = await putSegment("one", "two");
    await eraseObjects(bucket, both.keys);
    expect(await bucket.head(both.segment)).toBeNull();
    await eraseObjects(bucket, both.keys);
  });

  test("of four at once none undoes another, and each is done", async () => {
    const { segment, keys } = await putSegment("one", "two", "three", "four", "five");
    const ends = await Promise.all(keys.slice(0, 4).map((key) => eraseObjects(bucket, [key])));
    expect(ends.map(({ keys: left }) => left)).toEqual([[], [], [], []]);
    expect((await readSegment(bucket, segment))?.map(({ isErased }) => isErased)).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect((await load(...keys)).loaded.at(-1)).toBe("five");
    expect(await (await bucket.get(segment))?.text()).not.toMatch(/one|two|three|four/);
  });

  test("goes on behind a segment that a later version wrote, and names what is in it", async () => {
    const later = await putSegment("one", "two");
    await damage(later.segment, (bytes) => {
      bytes[4] = 3;
      new DataView(bytes.buffer).setUint32(28, crc32(bytes.subarray(0, 28)), true);
    });
    const { keys } = await putSegment("three", "four");
    const alone = formatPayloadKey(openedAt, "a", idOfKey(keys[0] ?? expect.unreachable()));
    await bucket.put(alone, "its own object");
    const asked = [...later.keys.slice(0, 1), ...keys.slice(0, 1), alone];
    await bucket.put(`${deadLetterPrefix}${asked[1]}`, "{}");
    expect(await eraseObjects(bucket, asked)).toEqual({
      keys: asked.slice(0, 1),
      reason: `${later.segment}: it is a segment of version 3, which this release does not read`,
    });
    expect((await load(...keys)).loaded).toEqual(["missing_object", "four"]);
    expect(await bucket.head(alone)).toBeNull();
    expect(await bucket.head(`${deadLetterPrefix}${asked[1]}`)).toBeNull();
    expect(await (await bucket.get(later.segment))?.text()).toContain("one");
  });

  test("of a payload whose entry is damaged takes what is no other's", async () => {
    const { segment, keys } = await putSegment("one", "two");
    await damage(segment, (bytes) => bytes.fill(7, indexBytes(0), indexBytes(0) + 20));
    await eraseObjects(bucket, keys.slice(0, 1));
    expect((await load(...keys)).loaded).toEqual(["missing_object", "two"]);
    expect(await (await bucket.get(segment))?.text()).not.toContain("one");
    await bucket.put(segment, "something else");
    await eraseObjects(bucket, keys);
    expect(await bucket.head(segment)).toBeNull();
  });
});

describe("what is asked of R2 for dead payloads whose segments are gone", () => {
  /** So many, each the first of a segment of its own, with a copy unless it is one of `without`. */
  const gone = async (count: number, without: readonly number[] = []): Promise<readonly PayloadKey[]> => {
    const keys: PayloadKey[] = [];
    for (let n = 0; n < count; n++) {
      const { segment, keys: own } = await putSegment(`body ${n}`, "another");
      const [key = expect.unreachable()] = own;
      keys.push(key);
      if (!without.includes(n)) {
        await copyDead(bucket, key);
      }
      await bucket.delete(segment);
    }
    return keys;
  };
  const loadedOf = async (keys: readonly PayloadKey[], getsMax: number) => {
    const watched = watch();
    const loaded: string[] = [];
    for await (const one of loadPayloads(watched.bucket, keys.map(wanted), getsMax)) {
      loaded.push(one.kind === "fetched" ? "fetched" : one.reason);
    }
    return { loaded, asked: watched.asked.length };
  };

  test("is what is counted of it", async () => {
    const [copied = expect.unreachable(), lost = expect.unreachable()] = await gone(2, [1]);
    const there = (await putSegment("one", "two")).keys[0] ?? expect.unreachable();
    for (const key of [copied, lost, there]) {
      const watched = watch();
      await completeDoorbell(watched.bucket, key, "replay");
      expect(watched.asked.length).toBeLessThanOrEqual(
        subrequestsOf({ name: "completeDoorbell", asks: { key, cause: "replay" } }),
      );
      const { asked } = await loadedOf([key], 9);
      expect(asked).toBeLessThanOrEqual(getsOf(key));
      watched.asked.length = 0;
      await copyDead(watched.bucket, key);
      // Beside these its record.
      expect(watched.asked.length).toBeLessThanOrEqual(2);
    }
    const [again = expect.unreachable()] = await gone(1);
    const watched = watch();
    await copyDead(watched.bucket, again);
    expect(watched.asked, "it has its copy").toEqual([`get ${objectOf(again)}`]);
    expect((await load(again)).loaded).toEqual(["body 0"]);
  });

  test("is bounded for a group: what takes more is set aside, for a later attempt", async () => {
    const keys = await gone(12, [3]);
    const few = await loadedOf(keys, 11);
    expect(few.asked).toBeLessThanOrEqual(11);
    expect(few.loaded.slice(0, 5)).toEqual(["fetched", "fetched", "fetched", "missing_object", "fetched"]);
    expect(few.loaded.slice(5)).toEqual(keys.slice(5).map(() => setAside));
    const all = await loadedOf(keys, 25);
    expect(all.asked).toBe(24);
    expect(all.loaded).not.toContain(setAside);
    const { keys: together } = await putSegment("one", "two", "three");
    expect(await loadedOf(together, 4)).toEqual({ loaded: ["fetched", "fetched", "fetched"], asked: 1 });
  });
});

test("an erasure that is repeated writes its segment no more", async () => {
  const { segment, keys } = await putSegment("one", "two", "three");
  const versions: (string | undefined)[] = [];
  for (const some of [keys.slice(0, 1), keys.slice(0, 1), keys.slice(0, 2), keys.slice(0, 2)]) {
    expect(await eraseObjects(bucket, some)).toEqual({ keys: [], reason: "" });
    versions.push((await bucket.head(segment))?.version);
  }
  expect(versions[1]).toBe(versions[0]);
  expect(versions[2]).not.toBe(versions[0]);
  expect(versions[3]).toBe(versions[2]);
  expect((await load(...keys)).loaded).toEqual(["missing_object", "missing_object", "three"]);
});

describe("the copy of a dead payload", () => {
  test("is read in its place when its segment is gone, and erased with it", async () => {
    const { segment, keys } = await putSegment("one", "two", "three");
    const [, second = expect.unreachable()] = keys;
    await copyDead(bucket, second);
    await bucket.delete(segment);
    expect((await load(...keys)).loaded).toEqual(["missing_object", "two", "missing_object"]);
    expect(await completeDoorbell(bucket, second, "replay")).toMatchObject({ key: second, spans: 2 });
    await eraseObjects(bucket, [second]);
    expect(await bucket.head(deadCopyOf(second))).toBeNull();
    expect(await completeDoorbell(bucket, second, "replay")).toBeNull();
  });

  test("is made of nothing but its own bytes", async () => {
    const { segment, keys } = await putSegment("one", "two");
    const [first = expect.unreachable()] = keys;
    await damage(segment, (bytes) => bytes.set(encoder.encode("ONE"), indexBytes(2)));
    await copyDead(bucket, first);
    expect(await bucket.head(deadCopyOf(first))).toBeNull();
    await bucket.put(deadCopyOf(first), (await putSegment("two")).bytes);
    await bucket.delete(segment);
    expect(objectOf(first)).toBe(segment);
    expect((await load(first)).loaded).toEqual(["missing_object"]);
  });
});
