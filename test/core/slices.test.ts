/** One payload's rows in as many blocks as were said (shared/rows/slices.ts), and how many that is (shared/ledger/grouping.ts). */
import { describe, expect, test } from "vitest";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { blocksOf } from "../../shared/ledger/grouping.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { formatPayloadId, formatPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";
import { ok } from "../../shared/result.ts";
import { Slices, StartOver } from "../../shared/rows/slices.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { countPayload } from "../../workers/consumer/build-block.ts";
import type { FetchedPayload } from "../../workers/consumer/load-payloads.ts";
import { adviseSize, tooLarge } from "../../workers/ingress/advise-size.ts";
import { hardlyCompresses } from "../../workers/ingress/hardly-compresses.ts";
import { payloadId } from "../fixtures/blocks.ts";
import { bytesField, varintField } from "../fixtures/protobuf.ts";
import { everySpan, randomText, wideBody } from "../fixtures/wide-bodies.ts";

const { caps } = defaultSettings;
const MB = 1_000_000;

function payload(
  outputBytes: number,
  spans: number,
  missingDays: GroupPayload["missingDays"] = null,
): GroupPayload {
  const key = "k" as PayloadKey;
  const rest = { arrival: 0, cause: "ingress", doorbell: true, duplicateKeys: [], erase: null } as const;
  return { key, outputBytes, spans, missingDays, ...rest };
}

describe("a group's blocks", () => {
  test("are one, unless it is one wide payload", () => {
    expect(blocksOf([], caps)).toBe(1);
    expect(blocksOf([payload(limits.groupOutputBytesMax, 500)], caps)).toBe(1);
    expect(blocksOf([payload(MB, 500), payload(MB, 500)], caps)).toBe(1);
    expect(blocksOf([payload(limits.groupOutputBytesMax + 1, 500)], caps)).toBe(5);
    expect(blocksOf([payload(limits.outputBytesMax, 8192)], caps)).toBe(32);
  });

  test("are no more than it has rows, of the days that it inserts", () => {
    expect(blocksOf([payload(40 * MB, 2)], caps)).toBe(2);
    const complete = [
      { day: 1, rows: 3 },
      { day: 2, rows: 497 },
    ];
    expect(blocksOf([payload(40 * MB, 500, { days: [1], complete })], caps)).toBe(3);
    expect(blocksOf([payload(40 * MB, 500, { days: [1, 2], complete })], caps)).toBe(5);
  });
});

/** The blocks' rows, and the bytes of each. */
function cut(body: Uint8Array, blocks: number, spans: number, bytes: number) {
  const sizes: { rows: number; bytes: number }[] = [];
  const slices = new Slices(blocks, spans, bytes, (chunks, rows) => {
    sizes.push({ rows, bytes: chunks.reduce((sum, { length }) => sum + length, 0) });
  });
  new BlockBuilder().addSliced({ id: payloadId, tenant: "t", body, bounds: everySpan, spans }, slices);
  return sizes;
}

describe("slices", () => {
  const spans = 300;
  const body = wideBody({ spans, resourceBytes: 50_000 });
  const { outputBytes } = inspectTraces(body, everySpan);

  test.each([1, 2, 3, 7, 299, 300])("are %i where that was said, with all rows", (blocks) => {
    const sizes = cut(body, blocks, spans, outputBytes);
    expect(sizes).toHaveLength(blocks);
    expect(sizes.reduce((sum, { rows }) => sum + rows, 0)).toBe(spans);
    expect(Math.min(...sizes.map(({ rows }) => rows))).toBeGreaterThan(0);
  });

  test("are as many where the cuts come too late, or at once", () => {
    expect(cut(body, 5, spans, 1e12)).toHaveLength(5);
    expect(cut(body, 5, spans, 5)).toHaveLength(5);
  });

  test("take a like share of the bytes each, whatever resource they are of", () => {
    const uneven = Buffer.concat([wideBody({ spans: 3000, resourceBytes: 10 }), body]);
    const bytes = inspectTraces(uneven, everySpan).outputBytes;
    for (const slice of cut(uneven, 4, 3300, bytes)) {
      expect(slice.bytes).toBeLessThan(bytes / 4 + 100_000);
    }
  });

  test("one of all rows has the bytes of an ordinary block", () => {
    const parts: Uint8Array[] = [];
    const small = wideBody({ spans: 20, resourceBytes: 100, startMs: () => 1_795_000_000_000 });
    const slices = new Slices(1, 20, 1, (chunks) => parts.push(Buffer.concat(chunks)));
    const taken = { id: payloadId, tenant: "acme", body: small, bounds: everySpan, spans: 20 };
    new BlockBuilder().addSliced(taken, slices);
    const builder = new BlockBuilder();
    builder.add(taken);
    expect(Buffer.concat(parts)).toEqual(Buffer.concat([...builder.finish().chunks]));
  });

  test("of a body that is not canonical begin again, once it is rewritten", () => {
    // The second resource appears twice: the two are merged, which the fast walk cannot do.
    const twice = bytesField(1, [bytesField(1, varintField(2, 1)), bytesField(1, varintField(2, 1))]);
    const broken = Buffer.concat([body, twice]);
    expect(() => cut(broken, 4, spans, outputBytes)).toThrow(StartOver);
    const repaired = { ...everySpan, textsRepaired: true };
    const rows: number[] = [];
    const slices = new Slices(4, spans, outputBytes, (_, n) => rows.push(n));
    const taken = { id: payloadId, tenant: "t", body: broken, bounds: repaired, spans };
    new BlockBuilder().addSliced(taken, slices);
    expect(rows).toHaveLength(4);
  });

  test("of several days are cut over all of them", () => {
    const days = wideBody({ spans, resourceBytes: 5000, startMs: (n) => (100 + (n % 3)) * DAY_MS });
    const rows: number[] = [];
    const slices = new Slices(5, 200, 1_000_000, (_, n) => rows.push(n));
    const builder = new BlockBuilder();
    for (const day of [100, 102]) {
      const bounds = { startMinMs: day * DAY_MS, startMaxMs: (day + 1) * DAY_MS - 1 };
      const added = builder.addSliced({ id: payloadId, tenant: "t", body: days, bounds, spans: 100 }, slices);
      expect([...added.rowsByDay]).toEqual([[day, 100]]);
    }
    expect(rows).toHaveLength(5);
    expect(rows.reduce((sum, n) => sum + n)).toBe(200);
  });
});

test("VERIFY counts a wide payload's rows by day as it counts any, whole and by the days that are missing", () => {
  const spans = 90;
  const startMs = (n: number) => (100 + (n % 3)) * DAY_MS;
  const body = wideBody({ spans, resourceBytes: 5000, startMs });
  const loaded = (outputBytes: number, missingDays: GroupPayload["missingDays"]): FetchedPayload => {
    const key = formatPayloadKey(0, "acme", formatPayloadId(payloadId));
    return {
      kind: "fetched",
      key,
      payload: { ...payload(outputBytes, spans, missingDays), key },
      metadata: {
        version: "1",
        type: "pb",
        encoding: "identity",
        spans,
        rejectedSpans: 0,
        inflatedBytes: body.length,
        outputBytes,
        arrival: 0,
        ...everySpan,
      },
      bytes: body.length,
      takeProtobuf: () => ok(body),
    };
  };
  const complete = [100, 101, 102].map((day) => ({ day, rows: 30 }));
  for (const outputBytes of [MB, 100 * MB]) {
    expect(blocksOf([payload(outputBytes, spans)], caps)).toBe(outputBytes === MB ? 1 : 12);
    expect(countPayload(loaded(outputBytes, null))).toEqual(complete);
    expect(countPayload(loaded(outputBytes, { days: [101], complete }))).toEqual([{ day: 101, rows: 30 }]);
  }
});

describe("a resource that is repeated by each span", () => {
  const refusal = (body: Uint8Array): string | undefined => {
    const inspection = inspectTraces(body, everySpan);
    const size = tooLarge(inspection) ?? hardlyCompresses(body, everySpan, inspection);
    return size === undefined ? undefined : adviseSize(size);
  };

  test("is taken: 70 KB of class path and 512 spans, 30 KB and 8192", () => {
    expect(refusal(wideBody({ spans: 512, resourceBytes: 70 * 1024 }))).toBeUndefined();
    expect(refusal(wideBody({ spans: 8192, resourceBytes: 30_000 }))).toBeUndefined();
  });

  test("is refused where it hardly compresses, and named", () => {
    const random = (spans: number) => wideBody({ spans, resourceBytes: 70 * 1024, text: randomText });
    expect(refusal(random(700))).toMatch(/a resource of 72 KB that hardly compresses, repeated by 700 spans/);
    expect(refusal(random(512))).toBeUndefined();
  });
});
