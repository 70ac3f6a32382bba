/** Payload ids of both versions (decision 0085): what the bytes say, and nothing that differs from one try to the next. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { decodeBody } from "../../shared/decode-body.ts";
import {
  contentMinuteMax,
  contentMinuteOf,
  contentMinuteOfId,
  earliestIdTimeFrom,
  everyTime,
  formatIdTimeFrom,
  parseIdTimeFrom,
} from "../../shared/id-time.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import type { ContentEncoding } from "../../shared/messages.ts";
import { inspectTraces, type SpanBounds } from "../../shared/otlp/inspect.ts";
import { sampleThreshold } from "../../shared/otlp/sample-threshold.ts";
import { type BodyType, formatPayloadId, payloadId } from "../../shared/payload-key.ts";
import * as protobuf from "../fixtures/protobuf.ts";
import { seededRandom } from "../ledger/random-events.ts";

interface Vector {
  readonly name: string;
  readonly tenant: string;
  readonly type: BodyType;
  readonly encoding: ContentEncoding;
  /** base64 */
  readonly body: string;
  readonly contentMinute: number;
  /** hex */
  readonly version1: string;
  readonly version2: string;
}

/**
 * Frozen: an id that changes is a payload that is stored twice. Written by a program of its own (Python's hashlib and struct), of
 * which nothing is shared with the code.
 */
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/payload-ids.json"), "utf8"),
);

/** As an ingress has them at `arrival`, for a key that keeps this share of the traces. */
function boundsAt(arrival: number, share = 1): SpanBounds {
  return {
    startMinMs: arrival - limits.spanAgeMaxMs,
    startMaxMs: arrival + limits.spanFutureMaxMs,
    endMinMs: arrival - limits.spanAgeMaxMs,
    sampleThreshold: sampleThreshold(share),
  };
}

const arrival = Date.UTC(2026, 10, 24, 7, 42);
/** Under the first all spans of most vectors are accepted, under the last ones few or none. */
const everyBounds: readonly SpanBounds[] = [
  boundsAt(arrival),
  boundsAt(arrival, 0.5),
  boundsAt(arrival + DAY_MS, 0.1),
  { ...boundsAt(arrival), textsRepaired: true },
  { ...boundsAt(arrival), wrongIdsRefuse: true },
  boundsAt(arrival + 400 * DAY_MS),
  boundsAt(0),
];

/** Under each of these bounds. */
function contentMinutes(
  type: BodyType,
  encoding: ContentEncoding,
  body: Uint8Array,
  each: readonly SpanBounds[],
): readonly number[] {
  const decoded = decodeBody(zlib, body, { type, encoding });
  if (!decoded.ok) {
    throw new Error(decoded.refusal.message);
  }
  const { protobuf: bytes } = decoded.value;
  return each.map((bounds) => inspectTraces(bytes, bounds).contentMinute);
}

describe("frozen ids", () => {
  test.each(vectors)("$name", async ({ tenant, type, encoding, body, ...expected }) => {
    const bytes = new Uint8Array(Buffer.from(body, "base64"));
    const idFrom = (from: number) =>
      payloadId(tenant, type, encoding, bytes, { contentMinute: expected.contentMinute, from });
    const [version1, version2] = [expected.version1, expected.version2].map((hex) =>
      formatPayloadId(Buffer.from(hex, "hex")),
    );
    const minutes = new Set(contentMinutes(type, encoding, bytes, everyBounds));
    expect([...minutes]).toEqual([expected.contentMinute]);
    expect(await idFrom(0)).toBe(version2);
    expect(await idFrom(expected.contentMinute)).toBe(version2);
    expect(await idFrom(expected.contentMinute + 1)).toBe(version1);
    expect(await idFrom(Number.POSITIVE_INFINITY)).toBe(version1);
    expect(contentMinuteOfId(await idFrom(0))).toBe(expected.contentMinute);
  });

  test("the vectors meet what a time can be", () => {
    const minutes = new Set(vectors.map((vector) => vector.contentMinute));
    expect([...minutes]).toEqual(expect.arrayContaining([0, 1, contentMinuteMax]));
    expect(vectors.some(({ type }) => type === "json")).toBe(true);
    expect(vectors.some(({ encoding }) => encoding === "gzip")).toBe(true);
  });

  test.each(["-1", "1.5", "18446744073709551616", '"tomorrow"'])("a JSON time of %s gives no id", (time) => {
    const body = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":${time}}]}]}]}`;
    expect(() =>
      contentMinutes("json", "identity", new TextEncoder().encode(body), [boundsAt(arrival)]),
    ).toThrow();
  });
});

/** A span as the property below makes it: of JSON and of protobuf the same. */
interface MadeSpan {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly start: bigint;
  readonly end: bigint;
}

const nanosPerMs = 1_000_000n;

function randomSpans(random: () => number): readonly (readonly MadeSpan[])[] {
  const now = BigInt(arrival);
  const time = (): bigint => {
    const dice = random();
    const offset = BigInt(Math.round((random() - 0.5) * 6 * DAY_MS));
    return dice < 0.1 ? 0n : dice < 0.12 ? 2n ** 64n - 1n : dice < 0.14 ? 1n : (now + offset) * nanosPerMs;
  };
  const id = (length: number): Uint8Array => {
    const bytes = Uint8Array.from({ length: random() < 0.1 ? length - 1 : length }, () => random() * 256);
    return random() < 0.1 ? bytes.fill(0) : bytes;
  };
  return Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
    Array.from({ length: Math.floor(random() * 4) }, () => ({
      traceId: id(16),
      spanId: id(8),
      start: time(),
      end: time(),
    })),
  );
}

function protobufOf(resources: readonly (readonly MadeSpan[])[]): Uint8Array {
  const { bytesField, fixed64Field, join: bytes } = protobuf;
  return bytes(
    resources.map((spans) =>
      bytesField(
        1,
        bytesField(
          2,
          spans.map(({ traceId, spanId, start, end }) =>
            bytesField(2, [
              bytesField(1, traceId),
              bytesField(2, spanId),
              fixed64Field(7, start),
              fixed64Field(8, end),
            ]),
          ),
        ),
      ),
    ),
  );
}

function jsonOf(resources: readonly (readonly MadeSpan[])[]): Uint8Array {
  const hex = (id: Uint8Array) => Buffer.from(id).toString("hex");
  const resourceSpans = resources.map((spans) => ({
    scopeSpans: [
      {
        spans: spans.map(({ traceId, spanId, start, end }) => ({
          traceId: hex(traceId),
          spanId: hex(spanId),
          startTimeUnixNano: String(start),
          endTimeUnixNano: String(end),
        })),
      },
    ],
  }));
  return new TextEncoder().encode(JSON.stringify({ resourceSpans }));
}

/** The definition, over the spans as they were made. */
function minuteOfSpans(resources: readonly (readonly MadeSpan[])[]): number {
  const spans = resources.flat();
  const newest = (times: readonly bigint[]) => times.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n;
  const end = newest(spans.map((span) => span.end));
  const nanos = end > 0n ? end : newest(spans.map((span) => span.start));
  const minute = Number(nanos / 60_000_000_000n) - Date.UTC(2020, 0, 1) / 60_000;
  return Math.min(Math.max(minute, 0), 2 ** 24 - 1);
}

describe("equal bytes", () => {
  const forms: readonly (readonly [BodyType, ContentEncoding])[] = [
    ["pb", "identity"],
    ["pb", "gzip"],
    ["json", "identity"],
    ["json", "gzip"],
  ];

  test("have one content minute, whatever is accepted of them and however they are sent", () => {
    const random = seededRandom(85);
    const accepted = new Set<number>();
    for (let round = 0; round < 40; round++) {
      const spans = randomSpans(random);
      const expected = minuteOfSpans(spans);
      for (const [type, encoding] of forms) {
        const plain = type === "pb" ? protobufOf(spans) : jsonOf(spans);
        const body = encoding === "gzip" ? new Uint8Array(zlib.gzipSync(plain)) : plain;
        const minutes = new Set(contentMinutes(type, encoding, body, everyBounds));
        expect([...minutes]).toEqual([expected]);
      }
      accepted.add(inspectTraces(protobufOf(spans), boundsAt(arrival)).spans);
    }
    expect(accepted.size).toBeGreaterThan(2);
  });

  test("have one id in every instance and at every time, while ids change their version", async () => {
    const random = seededRandom(86);
    const rolledOutAt = arrival + 30 * 60_000;
    const from = parseIdTimeFrom(earliestIdTimeFrom(rolledOutAt)) ?? 0;
    const versions = new Set<string>();
    for (let round = 0; round < 100; round++) {
      // Content of one try before the rollout ends to a day after ids begin with their time; clocks a day ahead at most.
      const sentAt = arrival + Math.round(random() * 3 * DAY_MS);
      const clock = Math.round((random() - 0.5) * 2 * limits.spanFutureMaxMs);
      const end = BigInt(sentAt + clock) * nanosPerMs;
      const made = { traceId: protobuf.traceId, spanId: protobuf.spanId, start: end - 1000n, end };
      const body = protobufOf([[{ ...made, traceId: new Uint8Array(16) }], [{ ...made, end: end - 1n }]]);
      const ids = new Set<string>();
      for (let tries = 0; tries < 5; tries++) {
        const at = sentAt + Math.round(random() * limits.clientRetryMs);
        const knows = at >= rolledOutAt || random() < 0.5;
        const [contentMinute = 0] = contentMinutes("pb", "identity", body, [boundsAt(at)]);
        const time = {
          contentMinute,
          from: knows ? from : Number.POSITIVE_INFINITY,
        };
        ids.add(await payloadId("acme", "pb", "identity", body, time));
        versions.add(time.contentMinute < from ? "1" : "2");
      }
      expect([...ids]).toHaveLength(1);
    }
    expect(versions.size).toBe(2);
  });
});

describe("ID_TIME_FROM", () => {
  test("is a minute, or is not there", () => {
    expect(parseIdTimeFrom(everyTime)).toBe(0);
    expect(parseIdTimeFrom("2026-11-24T07:41Z")).toBe(3_627_821);
    expect(parseIdTimeFrom("")).toBe(Number.POSITIVE_INFINITY);
    expect(parseIdTimeFrom(undefined)).toBe(Number.POSITIVE_INFINITY);
  });

  test.each([
    "2026-11-24",
    "2026-11-24T07:41",
    "2026-11-24T07:41:00Z",
    "2026-13-24T07:41Z",
    "2019-12-31T23:59Z",
    "2060-01-01T00:00Z",
    "yes",
  ])("is not %s", (text) => {
    expect(parseIdTimeFrom(text)).toBeUndefined();
  });

  test("is written as the first minute that is not before a time", () => {
    expect(formatIdTimeFrom(Date.UTC(2026, 10, 24, 7, 41))).toBe("2026-11-24T07:41Z");
    expect(formatIdTimeFrom(Date.UTC(2026, 10, 24, 7, 41, 0, 1))).toBe("2026-11-24T07:42Z");
    expect(earliestIdTimeFrom(Date.UTC(2026, 10, 24, 7, 41))).toBe("2026-11-25T08:41Z");
  });

  test("is compared with the minute that a time lies in", () => {
    expect(contentMinuteOf(BigInt(Date.UTC(2026, 10, 24, 7, 41)) * nanosPerMs - 1n)).toBe(3_627_820);
    expect(contentMinuteOf(0n)).toBe(0);
    expect(contentMinuteOf(2n ** 64n - 1n)).toBe(contentMinuteMax);
  });
});
