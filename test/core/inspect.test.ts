import { describe, expect, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { inspectTraces, rejectionMessage } from "../../shared/otlp/inspect.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { noRepairs } from "../../shared/otlp/repairs.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import {
  attribute,
  bounds,
  bytesField,
  fixed64Field,
  join,
  request,
  span,
  spanId,
  startMs,
  startNanos,
  stringField,
  tag,
  traceId,
  value,
  varint,
  varintField,
} from "../fixtures/protobuf.ts";

function malformed(body: Uint8Array): string {
  try {
    inspectTraces(body, bounds);
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedBody);
    return error instanceof Error ? error.message : "";
  }
  throw new Error("the body was accepted");
}

/** A span with these in place of the ids and the start that are good. */
function spanWith(trace: Uint8Array, id: Uint8Array, start: bigint, ...more: Uint8Array[]): Uint8Array {
  return join(bytesField(1, trace), bytesField(2, id), fixed64Field(7, start), more);
}

describe("inspection of an SDK's body", () => {
  test("counts the spans, refuses none", () => {
    for (const spans of [1, 100, 512]) {
      for (const payload of makeCorpus(3, 3, spans)) {
        expect(inspectTraces(payload.protobuf, corpusBounds)).toMatchObject({ spans, rejectedSpans: 0 });
      }
    }
  });

  test("bounds the block's bytes: not below them, and within twice", () => {
    const header = new BlockBuilder().finish().bytes;
    for (const { protobuf, spans } of [...makeCorpus(4, 3, 1), ...makeCorpus(5, 2, 300)]) {
      const builder = new BlockBuilder();
      builder.add({ id: new Uint8Array(16), tenant: "acme", body: protobuf, bounds: corpusBounds, spans });
      const rowBytes = builder.finish().bytes - header;
      const { outputBytes } = inspectTraces(protobuf, corpusBounds);
      expect(outputBytes).toBeGreaterThanOrEqual(rowBytes - 1000);
      expect(outputBytes).toBeLessThan(rowBytes * 2);
    }
  });

  test("takes an empty body for no spans", () => {
    expect(inspectTraces(new Uint8Array(0), bounds)).toEqual({
      spans: 0,
      rejectedSpans: 0,
      sampledSpans: 0,
      rejections: [],
      outputBytes: 0,
      largestRowBytes: 0,
      repeatedBytes: 0,
      largestSpan: undefined,
      attributes: 0,
      namesAtMost: 0,
      oldestDay: 0,
      contentMinute: 0,
      repairs: noRepairs(),
    });
  });
});

describe("a span is refused alone", () => {
  const otherUnits = [
    ["milliseconds", 1_000_000n],
    ["microseconds", 1000n],
    ["seconds", 1_000_000_000n],
  ] as const;
  const refusals: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["a trace id of 5 bytes", spanWith(traceId.subarray(0, 5), spanId, startNanos), /trace_id is 5 bytes/],
    ["no trace id", join(bytesField(2, spanId), fixed64Field(7, startNanos)), /trace_id is missing/],
    ["a zero trace id", spanWith(new Uint8Array(16), spanId, startNanos), /trace_id is all zero/],
    ["a span id of 16 bytes", spanWith(traceId, traceId, startNanos), /span_id is 16 bytes/],
    ["a zero span id", spanWith(traceId, new Uint8Array(8), startNanos), /span_id is all zero/],
    ["no start", join(bytesField(1, traceId), bytesField(2, spanId)), /start_time_unix_nano is missing/],
    [
      "a start before the bounds",
      spanWith(traceId, spanId, BigInt(bounds.startMinMs) * 1_000_000n - 1n),
      /is 2026-11-23T06:59:59.999Z, before 2026-11-23T07:00:00.000Z \(a span is taken up to 1 day after its start\)/,
    ],
    [
      "a start after the bounds",
      spanWith(traceId, spanId, BigInt(bounds.startMaxMs + 1) * 1_000_000n),
      /is 2026-11-25T07:00:00.001Z, after 2026-11-25T07:00:00.000Z/,
    ],
    ["a start of 2^64 - 1", spanWith(traceId, spanId, 2n ** 64n - 1n), /is 2554-07-21/],
    ...otherUnits.map(([unit, nanos]): readonly [string, Uint8Array, RegExp] => [
      `a start in ${unit}`,
      spanWith(traceId, spanId, startNanos / nanos),
      new RegExp(`is ${startNanos / nanos}: that would be in time in ${unit}`),
    ]),
  ];

  test.each(refusals)("for %s", (_, bad, reason) => {
    const inspection = inspectTraces(request(span(), bad, span()), bounds);
    expect(inspection.spans).toBe(2);
    expect(inspection.rejectedSpans).toBe(1);
    expect(inspection.rejections[0]?.path).toBe("resource_spans[0].scope_spans[0].spans[1]");
    expect(inspection.rejections[0]?.reason).toMatch(reason);
  });

  test("for an end before its bound, not for a start: a span is old by its end", () => {
    const endMinMs = bounds.startMinMs + 3_600_000;
    const old = BigInt(bounds.startMinMs) * 1_000_000n;
    const ended = (nanos: bigint) => spanWith(traceId, spanId, old, fixed64Field(8, nanos));
    const bound = BigInt(endMinMs) * 1_000_000n;
    const accepted = (...spans: Uint8Array[]) => inspectTraces(request(...spans), { ...bounds, endMinMs });
    expect(accepted(ended(bound))).toMatchObject({ spans: 1, rejectedSpans: 0 });
    expect(accepted(spanWith(traceId, spanId, bound))).toMatchObject({ spans: 1, rejectedSpans: 0 });
    expect(accepted(ended(bound - 1n)).rejections[0]?.reason).toBe(
      "the span ended 2026-11-23T07:59:59.999Z, before 2026-11-23T08:00:00.000Z (a span is taken up to 1 day after its end)",
    );
    // Without an end, or with one before its start, it ended when it began.
    expect(accepted(ended(1n)).rejections[0]?.reason).toMatch(/^the span ended 2026-11-23T07:00:00.000Z/);
    expect(accepted(spanWith(traceId, spanId, old)).rejectedSpans).toBe(1);
  });

  test("but not at the bounds themselves", () => {
    const first = spanWith(traceId, spanId, BigInt(bounds.startMinMs) * 1_000_000n);
    const last = spanWith(traceId, spanId, BigInt(bounds.startMaxMs) * 1_000_000n + 999_999n);
    expect(inspectTraces(request(first, last), bounds)).toMatchObject({ spans: 2, rejectedSpans: 0 });
  });

  test("with a message that names the first five and counts the rest", () => {
    const bad = spanWith(traceId, new Uint8Array(8), startNanos);
    const text = rejectionMessage(inspectTraces(request(span(), ...Array(8).fill(bad)), bounds));
    expect(text).toMatch(
      /^8 of 9 spans rejected: resource_spans\[0\]\.scope_spans\[0\]\.spans\[1\]: span_id/,
    );
    expect(text).toMatch(/spans\[5\]: span_id is all zero; and 3 more$/);
    expect(rejectionMessage(inspectTraces(request(span()), bounds))).toBe("");
  });
});

describe("a malformed body", () => {
  test("is named with path and byte", () => {
    expect(malformed(request(span(), join(span(), tag(9, 2), 120)))).toMatch(
      /^resource_spans\[0\]\.scope_spans\[0\]\.spans\[1\]\.attributes\[0\]: length 120 runs past the end of its message at byte \d+$/,
    );
  });

  test.each([
    ["HTML", new TextEncoder().encode("<html><body>hello</body></html>"), /request: /],
    ["JSON", new TextEncoder().encode('{"resourceSpans":[]}'), /request: /],
    [
      "a field of another wire type",
      request(span(varintField(9, 1))),
      /attributes\[0\]: wire type 0 instead of 2/,
    ],
    ["field number 0", request(span([0x02, 0x00])), /field number 0/],
    ["wire type 7", request(span([0xff, 0x07, 0x00])), /wire type 7 does not exist/],
    ["a group without an end", request(span(tag(99, 3))), /group without an end/],
    ["an end without a group", request(span(tag(99, 4))), /end of a group/],
    ["a varint of eleven bytes", request(span(tag(99, 0), Array(11).fill(0x80), 0)), /longer than ten bytes/],
    ["a length beyond 32 bits", request(span(tag(99, 2), varint(2n ** 40n))), /larger than 32 bits/],
    ["groups nested too deep", request(span(Array(200).fill(tag(99, 3)))), /groups nested deeper than 64/],
  ])("%s is refused", (_, body, reason) => {
    expect(malformed(body)).toMatch(reason);
  });

  test("cut at any byte, a body is refused or counted, never read beyond its end", () => {
    const [payload] = makeCorpus(6, 1, 4);
    const body = payload?.protobuf ?? new Uint8Array(0);
    for (let cut = 0; cut < body.length; cut++) {
      const part = body.slice(0, cut);
      if (cut === 0) {
        expect(inspectTraces(part, bounds).spans).toBe(0);
      } else {
        expect(malformed(part), `cut at ${cut}`).toContain("runs past the end");
      }
    }
  });
});

describe("any valid protobuf is accepted", () => {
  const plain = inspectTraces(request(span(attribute("a", value.int(5)))), bounds);

  test.each([
    [
      "unknown fields of every wire type",
      span(
        varintField(100, 7),
        bytesField(101, [1, 2]),
        fixed64Field(102, 1n),
        join(tag(103, 5), 1, 2, 3, 4),
        tag(104, 3),
        varintField(1, 1),
        tag(105, 3),
        tag(105, 4),
        tag(104, 4),
      ),
    ],
    [
      "fields in reverse order",
      join(
        fixed64Field(8, startNanos),
        fixed64Field(7, startNanos),
        stringField(5, "op"),
        bytesField(2, spanId),
        bytesField(1, traceId),
      ),
    ],
    [
      "lengths padded to four bytes, as .NET writes them",
      join(
        bytesField(1, traceId, 4),
        bytesField(2, spanId, 4),
        fixed64Field(7, startNanos),
        bytesField(
          9,
          [bytesField(1, new TextEncoder().encode("key"), 4), bytesField(2, bytesField(1, [0x41], 4), 4)],
          4,
        ),
      ),
    ],
    [
      "lengths padded to ten bytes",
      join(
        bytesField(1, traceId, 10),
        bytesField(2, spanId, 10),
        fixed64Field(7, startNanos),
        bytesField(9, [bytesField(1, [0x41], 10), bytesField(2, bytesField(1, [0x41], 10), 10)], 10),
      ),
    ],
    ["a value before its key", span(bytesField(9, [bytesField(2, value.int(5)), stringField(1, "a")]))],
    ["two statuses", span(bytesField(15, varintField(3, 1)), bytesField(15, stringField(2, "x")))],
    [
      "the string indices of profiles",
      span(bytesField(9, [stringField(1, "a"), bytesField(2, varintField(8, 3)), varintField(3, 9)])),
    ],
  ])("%s", (_, content) => {
    expect(inspectTraces(request(content), bounds)).toMatchObject({ spans: 1, rejectedSpans: 0 });
    expect(plain.spans).toBe(1);
  });

  test("the start's millisecond is the arrival's", () => {
    expect(startMs).toBe(Number(startNanos / 1_000_000n));
  });
});

test("a text that is not UTF-8 is found wherever it is among an attribute's neighbours", () => {
  const mark = "\u0001marked";
  const long = "x".repeat(200);
  const texts = [
    ["first", value.string(mark)],
    [mark, value.string("")],
    ["number", value.int(8080)],
    ["behind", value.string(mark)],
    [mark, value.bool(true)],
    ["größe", value.string("größe")],
    ["between", value.string(mark)],
    ["long", value.string(long + mark + long)],
    [`${long}${mark}`, value.string("v")],
    ["last", value.string(`v${mark}`)],
    [mark, value.int(1)],
  ] as const;
  const body = request(span(texts.map(([key, text]) => attribute(key, text))));
  expect(inspectTraces(body, bounds).spans).toBe(1);
  let marks = 0;
  for (let at = 0; at < body.length; at++) {
    if (body[at] === 1 && Buffer.from(body.subarray(at, at + mark.length)).toString() === mark) {
      marks++;
      const broken = body.slice();
      broken[at] = 0xff;
      const { spans, repairs } = inspectTraces(broken, bounds);
      expect([spans, repairs.texts], `mark ${marks}`).toEqual([1, 1]);
    }
  }
  expect(marks).toBe(9);
});
