import { describe, expect, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { inspectTraces, rejectionMessage } from "../../shared/otlp/inspect.ts";
import { sampleThreshold } from "../../shared/otlp/sample-threshold.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { ok } from "../../shared/result.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { countPayload } from "../../workers/consumer/build-block.ts";
import type { FetchedPayload } from "../../workers/consumer/load-payloads.ts";
import { bounds, bytesField, join, request, span, spanId } from "../fixtures/protobuf.ts";

const random = new Random(7);
const fromHex = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** A span of this trace; a field that comes twice counts as the last one. */
function spanOf(traceId: string): Uint8Array {
  return span(bytesField(1, fromHex(traceId)));
}

/** Which of these traces are kept when each is inspected alone. */
function kept(traceIds: readonly string[], share: number): readonly string[] {
  const within = { ...bounds, sampleThreshold: sampleThreshold(share) };
  return traceIds.filter((id) => inspectTraces(request(spanOf(id)), within).spans === 1);
}

describe("the threshold of a share", () => {
  // The probabilities and thresholds that the specification's text gives as examples, and the ends.
  test.each([
    [1, "00000000000000"],
    [0.75, "40000000000000"],
    [0.5, "80000000000000"],
    [0.25, "c0000000000000"],
    [2 ** -8, "ff000000000000"],
    [2 ** -56, "ffffffffffffff"],
    [0, "100000000000000"],
  ])("%d is %s", (share, threshold) => {
    expect(sampleThreshold(share)).toBe(threshold);
  });
});

describe("a trace is kept", () => {
  test.each([
    ["80000000000000", 0.5, true],
    ["7fffffffffffff", 0.5, false],
    ["00000000000000", 1, true],
    ["ffffffffffffff", 0, false],
    ["ffffffffffffff", 2 ** -56, true],
    ["fffffffffffffe", 2 ** -56, false],
    ["c0000000000000", 0.25, true],
    ["bfffffffffffff", 0.25, false],
    ["ffffff00000000", 2 ** -24, true],
    ["fffffeffffffff", 2 ** -24, false],
  ])("by its last seven bytes alone: %s at %d is %s", (randomness, share, wanted) => {
    for (const front of ["000000000000000001", "ffffffffffffffffff", "0102030405060708ff"]) {
      const id = `${front}${randomness}`;
      expect(kept([id], share).length === 1, id).toBe(wanted);
    }
  });

  test("in the share asked for, and a smaller share keeps a part of a larger one", () => {
    const ids = Array.from({ length: 2000 }, () => random.hex(16));
    let larger: readonly string[] = ids;
    for (const share of [0.9, 0.5, 0.1, 0.02]) {
      const now = kept(ids, share);
      const deviation = Math.sqrt(share * (1 - share) * ids.length);
      expect(Math.abs(now.length - share * ids.length), `at ${share}`).toBeLessThan(4 * deviation);
      expect(now.every((id) => larger.includes(id))).toBe(true);
      larger = now;
    }
  });
});

test("the rows are the spans that the inspection counted, for every share of an SDK's bodies", () => {
  for (const share of [0, 0.05, 0.3, 0.5, 0.99, 1]) {
    const within = { ...corpusBounds, sampleThreshold: sampleThreshold(share) };
    for (const { protobuf, spans } of makeCorpus(11, 4, 200)) {
      const inspection = inspectTraces(protobuf, within);
      expect(inspection).toMatchObject({ rejectedSpans: 0, sampledSpans: spans - inspection.spans });
      const id = new Uint8Array(16);
      const payload = { id, tenant: "acme", body: protobuf, bounds: within, spans: inspection.spans };
      expect(new BlockBuilder().add(payload).rows).toBe(inspection.spans);
    }
  }
});

test("a payload that is inserted again, whole or only one of its days, keeps to the threshold of its metadata", () => {
  const day = 86_400_000;
  const first = Math.floor(corpusBounds.startMinMs / day) * day;
  for (const { protobuf } of makeCorpus(12, 2, 200)) {
    const bounds = { ...corpusBounds, sampleThreshold: sampleThreshold(0.5) };
    const { spans } = inspectTraces(protobuf, bounds);
    const loaded = (missingDays: GroupPayload["missingDays"]): FetchedPayload => {
      const key = formatPayloadKey(first, "acme", formatPayloadId(new Uint8Array(16)));
      const payload = { key, spans, outputBytes: 0, arrival: 0, cause: "ingress", doorbell: true } as const;
      return {
        kind: "fetched",
        key,
        payload: { ...payload, duplicateKeys: [], missingDays, erase: null },
        metadata: {
          version: "1",
          type: "pb",
          encoding: "identity",
          spans,
          rejectedSpans: 0,
          inflatedBytes: protobuf.length,
          outputBytes: 0,
          arrival: 0,
          ...bounds,
        },
        bytes: protobuf.length,
        takeProtobuf: () => ok(protobuf),
      };
    };
    const whole = countPayload(loaded(null));
    expect(whole).not.toBe("undecodable");
    if (whole !== "undecodable") {
      expect(whole.reduce((sum, { rows }) => sum + rows, 0)).toBe(spans);
      const days = whole.map((rows) => rows.day);
      expect(countPayload(loaded({ days, complete: whole }))).toEqual(whole);
    }
  }
});

test("a span that is refused is named whatever its trace, and one left out is not called rejected", () => {
  const within = { ...bounds, sampleThreshold: sampleThreshold(0.5) };
  const out = spanOf(`${"01".repeat(9)}7fffffffffffff`);
  const bad = join(out, bytesField(2, spanId.subarray(0, 3)));
  const inspection = inspectTraces(request(out, bad, span()), within);
  expect(inspection).toMatchObject({ spans: 0, rejectedSpans: 1, sampledSpans: 2 });
  expect(rejectionMessage(inspection)).toMatch(/^1 of 3 spans rejected: .*spans\[1\]: span_id is 3 bytes/);
});
