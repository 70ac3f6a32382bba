/** The advice to the sender of a request that is too large: what to change in this request. */
import { describe, expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { type Inspection, inspectTraces } from "../../shared/otlp/inspect.ts";
import { adviseSize, tooLarge } from "../../workers/ingress/advise-size.ts";
import { bounds, bytesField, keyValue, request, span, stringField, value } from "../fixtures/protobuf.ts";

const lengthLimit = /shorten its texts \(OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=/;
const fewer = /Send at most (\d+) spans like these per request \(OTEL_BSP_MAX_EXPORT_BATCH_SIZE/;
const attribute = (text: string): Uint8Array => bytesField(9, keyValue("key", value.string(text)));
/** Each quote is six bytes at most in the text of an array. */
const quotes = bytesField(9, keyValue("prompt", value.array(value.string('"'.repeat(6_000_000)))));

function adviceOn(...parts: Uint8Array[]): string | undefined {
  return adviceOnBody(request(...parts));
}

function adviceOnBody(body: Uint8Array): string | undefined {
  return words(inspectTraces(body, bounds));
}

function words(inspection: Inspection): string | undefined {
  const size = tooLarge(inspection);
  return size === undefined ? undefined : adviseSize(size);
}

/** A resource with an attribute of so many bytes, and spans that repeat it. */
function repeated(resourceBytes: number, spans: number): Uint8Array {
  return bytesField(1, [
    bytesField(1, bytesField(1, keyValue("process.command_args", value.string("x".repeat(resourceBytes))))),
    bytesField(
      2,
      Array.from({ length: spans }, () => bytesField(2, span())),
    ),
  ]);
}

/** Requests of up to `most` spans that are all the same. */
function repeatedSpan(content: Uint8Array, most: number): (count: number) => Uint8Array {
  const one = bytesField(2, content);
  const spans = new Uint8Array(most * one.length);
  for (let at = 0; at < spans.length; at += one.length) {
    spans.set(one, at);
  }
  return (count) => bytesField(1, bytesField(2, spans.subarray(0, count * one.length)));
}

describe("rows that are too large", () => {
  test("of one span never get the advice to send fewer spans", () => {
    const advice = adviceOn(span(quotes));
    expect(advice).toMatch(lengthLimit);
    expect(advice).toMatch(/Span resource_spans\[0\]\.scope_spans\[0\]\.spans\[0\] alone/);
    expect(advice).not.toMatch(/fewer|at most/);
  });

  test("of one long prompt among ordinary spans name that span", () => {
    const advice = adviceOn(span(), span(attribute("short")), span(quotes), span());
    expect(advice).toMatch(/^One row could take 36\d{6} bytes, more than 33554432\. Span .*spans\[2\]/);
    expect(advice).not.toMatch(fewer);
  });

  test("of a long resource say how long it is, and how many spans would fit", () => {
    const body = repeated(70_000, 4096);
    const advice = adviceOnBody(body) ?? "";
    const most = Number(fewer.exec(advice)?.[1]);
    expect(advice).toMatch(/take 71 KB, and each span's row repeats them/);
    expect(adviceOnBody(repeated(70_000, most))).toBeUndefined();
    expect(adviceOnBody(repeated(70_000, most + 10))).toBeDefined();
  });

  test("of one span's resource say to make that smaller", () => {
    const attribute = keyValue("a", value.array(value.string('"'.repeat(6_000_000))));
    const huge = bytesField(1, [
      bytesField(1, bytesField(1, attribute)),
      bytesField(2, bytesField(2, span())),
    ]);
    expect(adviceOnBody(huge)).toMatch(/Send a smaller resource: its attributes .* take 36\d{3} KB/);
  });

  test("of many ordinary spans say how many would fit", () => {
    // Each quote is a byte of the body and six of the rows.
    const count = 2 * Math.floor(limits.outputBytesMax / 540_000);
    const prompt = bytesField(9, keyValue("prompt", value.array(value.string('"'.repeat(90_000)))));
    const inspection = inspectTraces(repeatedSpan(span(prompt), count)(count), bounds);
    const advice = words({ ...inspection, outputBytes: 2 * limits.outputBytesMax }) ?? "";
    expect(advice).not.toMatch(/LENGTH_LIMIT|resource/);
    expect(Number(fewer.exec(advice)?.[1])).toBe(count / 2);
  });
});

test("attributes that are too many name the span that has them, or how many spans fit", () => {
  const many = (count: number): Uint8Array => {
    const one = bytesField(9, stringField(1, "a"));
    const all = new Uint8Array(count * one.length);
    for (let at = 0; at < all.length; at += one.length) {
      all.set(one, at);
    }
    return all;
  };
  expect(adviceOn(span(), span(many(limits.attributesMax)), span(many(1)))).toMatch(
    /spans\[1\] alone has 1048576: give it fewer attributes \(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT/,
  );
  const advice = adviceOn(...Array.from({ length: 40 }, () => span(many(50_000))));
  expect(advice).toMatch(/Send at most 20 spans like these/);
});

test("too many spans say how many may be sent", () => {
  const body = repeatedSpan(span(), limits.spansMax + 1)(limits.spansMax + 1);
  expect(adviceOnBody(body)).toMatch(/^The body holds 100001 spans, more than 100000\. Send at most 100000 /);
});

test("a body that nobody has read gets both advices, and that to compress only where it is not compressed", () => {
  const received = (isCompressed: boolean) => adviseSize({ what: "received", isCompressed });
  expect(received(false)).toMatch(/20971520 bytes as received\. Compress it/);
  expect(received(true)).not.toMatch(/ompress it/);
  for (const isCompressed of [true, false]) {
    expect(received(isCompressed)).toMatch(/If it holds many spans, send fewer .*; if one of its spans/);
    expect(received(isCompressed)).toMatch(lengthLimit);
  }
});
