/** Which payloads are one INSERT: by how much work they are, and by the days that their spans are of. */
import { describe, expect, test } from "vitest";
import { payloadOf } from "../../shared/ledger/claim.ts";
import type { Evidence, Group } from "../../shared/ledger/group.ts";
import {
  blocksOf,
  byDays,
  fitsCaps,
  type GroupSize,
  halvesOf,
  isReadyBySize,
  keysCounted,
  partitionsAtMost,
  rowsWanted,
  sizeOf,
  splitByCaps,
} from "../../shared/ledger/grouping.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { countsOf, type Doorbell, type PayloadMetadata } from "../../shared/messages.ts";
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import {
  bounds,
  fixed64Field,
  request,
  span,
  startMs as spanStartMs,
  startNanos,
} from "../fixtures/protobuf.ts";
import { type Bell, codecVersion, doorbell, startMs, TestLedger } from "../ledger/world.ts";

const today = Math.floor(startMs / 86_400_000);

function claim(ledger: TestLedger, bells: readonly (Bell & Partial<Doorbell>)[]): void {
  const doorbells = bells.map((bell) => ({ ...doorbell(bell), ...rest(bell) }));
  ledger.step({ kind: "claim", doorbells, codecVersion });
}

function rest({ inflatedBytes, oldestDay }: Partial<Doorbell>): Partial<Doorbell> {
  return {
    ...(inflatedBytes === undefined ? {} : { inflatedBytes }),
    ...(oldestDay === undefined ? {} : { oldestDay }),
  };
}

/** Groups by the numbers of their payloads, once the age is over. */
function grouped(ledger: TestLedger): readonly (readonly number[])[] {
  ledger.now += ledger.settings.caps.ageReadyMs;
  ledger.alarm();
  return [...ledger.state.dump().groups.values()].map(numbersOf);
}

const keys = Array.from({ length: 100 }, (_, n) => doorbell({ n }).key);
const numbersOf = ({ payloads }: Group): readonly number[] => payloads.map(({ key }) => keys.indexOf(key));

describe("a payload with spans of old days", () => {
  test("is inserted apart from those of today and yesterday", () => {
    const ledger = new TestLedger();
    claim(ledger, [
      { n: 1, oldestDay: today },
      { n: 2, oldestDay: today - 30 },
      { n: 3, oldestDay: today - 1 },
      { n: 4, oldestDay: today - 2 },
    ]);
    expect(grouped(ledger)).toEqual([
      [1, 3],
      [2, 4],
    ]);
    // Both are due: the alarm has notified each of them.
    expect(ledger.state.head?.breaker.notified).toHaveLength(2);
  });

  test("is one of the others where an older ingress says nothing of its days", () => {
    const ledger = new TestLedger();
    claim(ledger, [{ n: 1, oldestDay: today }, { n: 2 }]);
    expect(grouped(ledger)).toEqual([[1, 2]]);
  });

  test("is kept apart by VERIFY as well", () => {
    const ledger = new TestLedger(undefined, { epoch: 1, anyPayload: true, anyRow: true });
    claim(ledger, [
      { n: 1, oldestDay: today },
      { n: 2, oldestDay: today - 30 },
    ]);
    const [group] = ledger.state.dump().groups.keys();
    ledger.now += 600_000;
    const task = group === undefined ? null : ledger.take(group);
    if (task === null) {
      throw new Error("what a ledger without memory is offered is verified");
    }
    const payloads = task.payloads.map(({ key, spans }): Evidence => {
      const object = { key, spans, rejectedSpans: 0, bytes: 1, rowsByDay: [{ day: today, rows: spans }] };
      return { key, receipts: [], rowsByDay: [], object };
    });
    ledger.report(task, { kind: "verified", running: false, oldestDay: 0, payloads });
    expect([...ledger.state.dump().groups.values()].map(numbersOf)).toEqual([[1], [2]]);
  });
});

test("bodies that inflate to more than a group may have are several groups, however few their rows", () => {
  const ledger = new TestLedger();
  const inflatedBytes = limits.inflatedBytesMax;
  claim(
    ledger,
    Array.from({ length: 9 }, (_, n) => ({ n, spans: 1, outputBytes: 100, inflatedBytes })),
  );
  expect(grouped(ledger)).toEqual([
    [0, 1, 2],
    [3, 4, 5],
    [6, 7, 8],
  ]);
});

describe("the size of a group", () => {
  const { caps } = defaultSettings;
  const payload = (n: number, more: Partial<Doorbell> = {}) =>
    payloadOf({ ...doorbell({ n }), spans: 3, outputBytes: 40, ...more });
  const one = sizeOf([payload(1)]);

  test("is what its payloads add up to, and nothing where there is none", () => {
    expect(sizeOf([])).toMatchObject({ payloads: 0, keys: 0, rows: 0, outputBytes: 0, inflatedBytes: 0 });
    const arrival = startMs - 5;
    const key = doorbell({ n: 2, arrival }).key;
    expect(sizeOf([payload(1), payload(2, { key, arrival, inflatedBytes: 7 })])).toEqual({
      payloads: 2,
      keys: 4,
      rows: 6,
      outputBytes: 80,
      inflatedBytes: 47, // where nobody said it, the bytes of its rows
      arrivalMin: startMs - 5,
      arrivalMax: startMs,
    });
  });

  test("counts two keys of a payload at least: VERIFY may find its object under one that nobody rang", () => {
    const keysOfOne = [0, 1, 2, 3].map((n) => Array.from({ length: n }, () => doorbell({ n: 1 }).key));
    expect(keysOfOne.map((duplicateKeys) => keysCounted({ duplicateKeys }))).toEqual([2, 2, 3, 4]);
  });

  test.each([
    ["payloads", caps.payloadsMax],
    ["keys", caps.keysMax],
    ["rows", caps.rowsMax],
    ["outputBytes", caps.outputBytesMax],
    ["inflatedBytes", caps.inflatedBytesMax],
  ] as const)("may be up to its cap on %s, and not above", (name, most) => {
    const sized = (value: number): GroupSize => ({ ...one, payloads: 2, [name]: value });
    expect([most, most + 1].map((value) => fitsCaps(sized(value), caps))).toEqual([true, false]);
  });

  test("of one payload may have any bytes of rows: it is wide, and alone", () => {
    const wide: GroupSize = { ...one, payloads: 1, outputBytes: caps.outputBytesMax + 1 };
    expect(fitsCaps(wide, caps)).toBe(true);
    expect(fitsCaps({ ...wide, payloads: 2 }, caps)).toBe(false);
  });

  test("spans as many days as its arrivals and the bounds on a span's start can touch, and one more", () => {
    const dayMs = 86_400_000;
    const bounds = { ...caps, spanAgeMs: 60 * dayMs, spanFutureMs: dayMs };
    const days = (apartMs: number) =>
      partitionsAtMost({ ...one, arrivalMin: startMs, arrivalMax: startMs + apartMs }, bounds);
    expect([0, 1, dayMs, dayMs + 1].map(days)).toEqual([62, 63, 63, 64]);
    const fits = (partitionsMax: number) =>
      fitsCaps({ ...one, arrivalMax: startMs }, { ...bounds, partitionsMax });
    expect([61, 62].map(fits)).toEqual([false, true]);
  });

  test("is ready with enough rows, or as many payloads as it may have", () => {
    const ready = (more: Partial<GroupSize>) => isReadyBySize({ ...one, ...more }, caps);
    expect([caps.rowsReady - 1, caps.rowsReady].map((rows) => ready({ rows }))).toEqual([false, true]);
    expect([caps.payloadsMax - 1, caps.payloadsMax].map((payloads) => ready({ payloads }))).toEqual([
      false,
      true,
    ]);
  });

  test("is ready with a payload that is wide, and not with as many bytes as a block may have", () => {
    const ready = (outputBytes: number) => isReadyBySize({ ...one, outputBytes }, caps);
    expect([caps.outputBytesMax, caps.outputBytesMax + 1].map(ready)).toEqual([false, true]);
  });

  test("in blocks is one, but for a wide payload that is alone: about so many bytes each, and a row at least", () => {
    const blocksOfOne = (outputBytes: number, spans: number) =>
      blocksOf([payload(1, { outputBytes, spans })], caps);
    const { outputBytesMax, sliceBytes } = caps;
    const blocks = Math.ceil((outputBytesMax + 1) / sliceBytes);
    expect(blocks).toBeGreaterThan(2);
    expect(blocksOfOne(outputBytesMax, 1000)).toBe(1);
    expect(blocksOfOne(outputBytesMax + 1, 1000)).toBe(blocks);
    expect(blocksOfOne(blocks * sliceBytes + 1, 1000)).toBe(blocks + 1);
    expect([2, 1, 0].map((spans) => blocksOfOne(outputBytesMax + 1, spans))).toEqual([2, 1, 1]);
    expect(blocksOf([], caps)).toBe(1);
    const wide = payload(1, { outputBytes: outputBytesMax + 1, spans: 1000 });
    expect(blocksOf([wide, payload(2)], caps)).toBe(1);
  });

  test("in rows is all of a payload, or those of the days that the table lacks", () => {
    const complete = [5, 6, 7].map((day) => ({ day, rows: day * 10 }));
    const rows = (days: readonly number[] | null) =>
      rowsWanted({ spans: 180, missingDays: days && { days, complete } });
    expect([null, [5, 7], [6], []].map(rows)).toEqual([180, 120, 60, 0]);
  });

  test("too large, is split in order into parts that each fit", () => {
    const payloads = [1, 2, 3, 4, 5].map((n) => payload(n));
    const split = (rowsMax: number) =>
      splitByCaps(payloads, { ...caps, rowsMax }).map(({ length }) => length);
    expect(split(3)).toEqual([1, 1, 1, 1, 1]);
    expect(split(6)).toEqual([2, 2, 1]);
    expect(split(15)).toEqual([5]);
    expect(splitByCaps(payloads, { ...caps, rowsMax: 8 }).flat()).toEqual(payloads);
    expect(splitByCaps([], caps)).toEqual([]);
  });

  test("is split in order, the first half the larger", () => {
    const payloads = [1, 2, 3, 4, 5].map((n) => payload(n));
    expect(halvesOf(payloads)).toEqual([payloads.slice(0, 3), payloads.slice(3)]);
    expect(halvesOf(payloads.slice(0, 2))).toEqual([payloads.slice(0, 1), payloads.slice(1, 2)]);
  });

  test("is of one kind of days: of the arrival's and the day before, or older", () => {
    const [young, old] = [payload(1, { oldestDay: today - 1 }), payload(2, { oldestDay: today - 2 })];
    expect(byDays([old, young, payload(3)])).toEqual([[young, payload(3)], [old]]);
    expect(byDays([old])).toEqual([[old]]);
    expect(byDays([])).toEqual([]);
  });
});

/** A later field of the same number replaces the one before it. */
const spanBegun = (daysAgo: number) =>
  span(fixed64Field(7, startNanos - BigInt(daysAgo) * 86_400_000_000_000n));

describe("the ingress counts", () => {
  test("the first day as the consumer counts it", () => {
    const daysAgo = [3, 0, 29, 12];
    const body = request(...daysAgo.map(spanBegun));
    const builder = new BlockBuilder();
    const wide = { ...bounds, startMinMs: 0 };
    const id = new Uint8Array(16);
    const { rowsByDay } = builder.add({ id, tenant: "acme", body, bounds: wide, spans: daysAgo.length });
    const inspection = inspectTraces(body, wide);
    expect(inspection.spans).toBe(daysAgo.length);
    expect(inspection.oldestDay).toBe(Math.min(...rowsByDay.keys()));
    expect(inspection.oldestDay).toBe(Math.floor(spanStartMs / 86_400_000) - 29);
  });

  test("nothing where there is no span, and what it inspected before does not count", () => {
    inspectTraces(request(spanBegun(29)), { ...bounds, startMinMs: 0 });
    expect(inspectTraces(new Uint8Array(0), bounds).oldestDay).toBe(0);
  });

  test("and an object of an older version says no day", () => {
    const metadata: PayloadMetadata = {
      version: "1",
      type: "pb",
      encoding: "gzip",
      spans: 3,
      rejectedSpans: 0,
      inflatedBytes: 500,
      outputBytes: 900,
      arrival: startMs,
      startMinMs: 0,
      startMaxMs: startMs,
    };
    const counts = { spans: 3, outputBytes: 900, arrival: startMs, inflatedBytes: 500 };
    expect(countsOf(metadata)).toEqual(counts);
    expect(countsOf({ ...metadata, oldestDay: 7 })).toEqual({ ...counts, oldestDay: 7 });
  });
});
