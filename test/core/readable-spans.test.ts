import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { describe, expect, test } from "vitest";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import { readableSpans } from "../../shared/console/readable-spans.ts";
import { limits } from "../../shared/limits.ts";

const startMs = Date.UTC(2026, 10, 24, 12, 0, 0);
const bounds = { startMinMs: startMs - 86_400_000, startMaxMs: startMs + 86_400_000 };

function spansOf(count: number) {
  const settings = {
    spans: count,
    services: 2,
    seed: 3,
    batchSpans: count,
    startMs,
    windowMs: 1000,
    resource: {},
  };
  return [...generateSpans({ ...settings, ids: new RandomIdGenerator() })].flat();
}
const bodyOf = (spans: ReturnType<typeof spansOf>) =>
  new Uint8Array(ProtobufTraceSerializer.serializeRequest(spans) ?? []);

/** What the text says, of the kind that was sent. */
function readValue(text: string | undefined, sent: unknown): unknown {
  if (sent === null) {
    return text === "" ? null : text;
  }
  if (sent instanceof Uint8Array) {
    return new Uint8Array(Buffer.from(text ?? "", "base64"));
  }
  return typeof sent === "string" ? text : JSON.parse(text ?? "");
}

describe("a payload's spans as text", () => {
  test("are what the SDK sent", () => {
    const sent = spansOf(12);
    const { spans, spansCount, failure } = readableSpans(bodyOf(sent), bounds);
    expect([spansCount, failure]).toEqual([12, ""]);
    for (const span of sent) {
      const { traceId, spanId } = span.spanContext();
      const shown = spans.find((one) => one.spanId === spanId);
      expect(shown).toMatchObject({
        traceId,
        name: span.name,
        service: span.resource.attributes["service.name"],
        parentSpanId: span.parentSpanContext?.spanId ?? "",
        events: span.events.length,
        rejected: "",
      });
      expect(shown?.durationMs).toBeCloseTo(span.duration[0] * 1000 + span.duration[1] / 1e6, 3);
      const attributes = new Map(shown?.attributes);
      for (const [key, value] of Object.entries(span.attributes)) {
        expect(readValue(attributes.get(key), value), key).toEqual(value);
      }
    }
  });

  test("are at most as many as a person reads, with the count of all", () => {
    const { spans, spansCount } = readableSpans(bodyOf(spansOf(300)), bounds);
    expect(spans).toHaveLength(limits.payloadSpansShown);
    expect(spansCount).toBe(300);
  });

  test("say why a span is refused", () => {
    const { spans } = readableSpans(bodyOf(spansOf(1)), {
      startMinMs: startMs + 3_600_000,
      startMaxMs: bounds.startMaxMs,
    });
    expect(spans[0]?.rejected).toMatch(/start_time/);
  });

  test("of a body that breaks off are shown as far as it can be read, with where it breaks", () => {
    const whole = bodyOf(spansOf(40));
    const first = bodyOf(spansOf(5));
    const broken = new Uint8Array([...first, ...whole.subarray(0, whole.length - 10)]);
    const { spans, failure } = readableSpans(broken, bounds);
    expect(spans.length).toBeGreaterThanOrEqual(5);
    expect(failure).toMatch(/resource_spans/);
  });

  test("cut a text that nobody reads to its end", () => {
    const [span] = spansOf(1);
    const long =
      span === undefined ? [] : [Object.assign(span, { attributes: { long: "x".repeat(10_000) } })];
    const [shown] = readableSpans(bodyOf(long), bounds).spans;
    expect(shown?.attributes[0]?.[1]).toBe(`${"x".repeat(limits.spanTextCharsShown)}…`);
  });
});
