/** Which payloads are one INSERT: by how much work they are, and by the days that their spans are of. */
import { describe, expect, test } from "vitest";
import type { Evidence, Group } from "../../shared/ledger/group.ts";
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
