import { type Attributes, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { type IdGenerator, RandomIdGenerator, type ReadableSpan } from "@opentelemetry/sdk-trace";
import { describe, expect, test } from "vitest";
import { type GenerateOptions, generateSpans } from "../../dev/send/generate-spans.ts";

const startMs = Date.UTC(2026, 10, 24, 7, 41);
const windowMs = 60_000;

/** Ids that count up, so that two runs of one seed are equal in everything. */
function countingIds(): IdGenerator {
  let next = 1;
  return {
    generateTraceId: () => (next++).toString(16).padStart(32, "0"),
    generateSpanId: () => (next++).toString(16).padStart(16, "0"),
  };
}

function batchesOf(options: Partial<GenerateOptions>): ReadableSpan[][] {
  return [
    ...generateSpans({
      spans: 1_000,
      services: 5,
      seed: 1,
      batchSpans: 512,
      startMs,
      windowMs,
      resource: { "headrace.demo.run": "a run" },
      ids: countingIds(),
      ...options,
    }),
  ];
}

const spansOf = (options: Partial<GenerateOptions>): ReadableSpan[] => batchesOf(options).flat();

/** All that goes out of a span, as comparable data. */
function shapeOf(span: ReadableSpan): unknown {
  const { name, kind, startTime, endTime, status, attributes, links, events, parentSpanContext } = span;
  const { traceId, spanId, traceState } = span.spanContext();
  const parent = parentSpanContext?.spanId;
  const resource = span.resource.attributes;
  const state = traceState?.serialize();
  const scope = span.instrumentationScope;
  return {
    name,
    kind,
    startTime,
    endTime,
    status,
    attributes,
    links,
    events,
    traceId,
    spanId,
    state,
    parent,
    resource,
    scope,
  };
}

/** The OTLP value types that the SDK makes of attributes, arrays with their element types. */
function valueTypes(attributes: Attributes): string[] {
  return Object.values(attributes).map(valueType);
}

function valueType(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${[...new Set(value.map(valueType))].sort().join(" ")}]`;
  }
  if (typeof value === "number") {
    return Number.isInteger(value) ? (Number.isSafeInteger(value) ? "int" : "int beyond 2^53") : "double";
  }
  if (typeof value === "string") {
    return /^\p{ASCII}*$/u.test(value) ? "string" : "non-ASCII string";
  }
  return value === null ? "empty" : value instanceof Uint8Array ? "bytes" : typeof value;
}

describe("the demo's spans", () => {
  test.each([
    [1, 512],
    [7, 3],
    [512, 512],
    [1_000, 512],
    [1_001, 100],
  ])("are exactly %i in batches of %i, only the last one smaller", (spans, batchSpans) => {
    const batches = batchesOf({ spans, batchSpans });
    expect(batches.flat().length).toBe(spans);
    expect(batches.slice(0, -1).every((batch) => batch.length === batchSpans)).toBe(true);
    expect(batches.at(-1)?.length).toBe(spans % batchSpans === 0 ? batchSpans : spans % batchSpans);
  });

  test("are the same for the same seed and ids, others for another seed", () => {
    const first = spansOf({ seed: 7 }).map(shapeOf);
    expect(spansOf({ seed: 7 }).map(shapeOf)).toEqual(first);
    expect(spansOf({ seed: 8 }).map(shapeOf)).not.toEqual(first);
  });

  test("share no id between two runs with random ids", () => {
    const ids = [1, 2]
      .flatMap(() => spansOf({ ids: new RandomIdGenerator() }))
      .map((span) => span.spanContext().spanId);
    expect(new Set(ids).size).toBe(2_000);
  });

  test("carry every attribute type that the SDK sends", () => {
    const types = new Set(spansOf({}).flatMap((span) => valueTypes(span.attributes)));
    for (const type of [
      "string",
      "non-ASCII string",
      "int",
      "int beyond 2^53",
      "double",
      "boolean",
      "bytes",
      "object",
      "empty",
      "[int]",
      "[double]",
      "[string]",
      "[boolean]",
      "[boolean double int string]",
    ]) {
      expect(types, type).toContain(type);
    }
  });

  test("name an integer beyond 2^53 whose text is exact, so that JSON and protobuf say the same", () => {
    const values = spansOf({}).flatMap((span) => Object.values(span.attributes));
    const large = values.filter((value) => typeof value === "number").filter((value) => value > 2 ** 53);
    expect(large.length).toBeGreaterThan(0);
    expect(large.every((value) => BigInt(value).toString() === String(value))).toBe(true);
  });

  test("have every kind, status, exceptions with stack traces, and tracestates", () => {
    const spans = spansOf({});
    expect(new Set(spans.map((span) => span.kind))).toEqual(
      new Set([SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]),
    );
    expect(new Set(spans.map((span) => span.status.code))).toEqual(
      new Set([SpanStatusCode.UNSET, SpanStatusCode.OK, SpanStatusCode.ERROR]),
    );
    const exceptions = spans.flatMap((span) => span.events.filter((event) => event.name === "exception"));
    expect(exceptions.length).toBeGreaterThan(0);
    for (const { attributes } of exceptions) {
      expect(attributes?.["exception.type"]).toBeTypeOf("string");
      expect(attributes?.["exception.stacktrace"]).toMatch(/\n/);
    }
    expect(spans.some((span) => span.events.some((event) => event.name !== "exception"))).toBe(true);
    const states = spans.map((span) => span.spanContext().traceState?.serialize() ?? "");
    expect(states).toContain("");
    expect(states.some((state) => /^ot=th:.*,congo=/.test(state))).toBe(true);
  });

  test("link to producer spans of the same run", () => {
    const spans = spansOf({});
    const kinds = new Map(spans.map((span) => [span.spanContext().spanId, span.kind]));
    const links = spans.flatMap((span) => span.links);
    expect(links.some((link) => Object.keys(link.attributes ?? {}).length > 0)).toBe(true);
    expect(new Set(links.map((link) => kinds.get(link.context.spanId)))).toEqual(
      new Set([SpanKind.PRODUCER]),
    );
  });

  test("have their parents in the run, in the same trace, also where the number of spans cuts a trace", () => {
    for (const spans of [2, 3, 5, 11, 1_000]) {
      const made = spansOf({ spans });
      const byId = new Map(made.map((span) => [span.spanContext().spanId, span]));
      for (const span of made) {
        if (span.parentSpanContext !== undefined) {
          const parent = byId.get(span.parentSpanContext.spanId);
          expect(parent?.spanContext().traceId, `${spans} spans`).toBe(span.spanContext().traceId);
        }
      }
    }
  });

  test("say that a parent is remote exactly where the service changes", () => {
    const spans = spansOf({});
    const byId = new Map(spans.map((span) => [span.spanContext().spanId, span]));
    const remote = spans.filter((span) => span.parentSpanContext?.isRemote === true);
    expect(remote.length).toBeGreaterThan(0);
    for (const span of spans) {
      const parent = byId.get(span.parentSpanContext?.spanId ?? "");
      if (parent !== undefined) {
        expect(span.parentSpanContext?.isRemote === true).toBe(parent.resource !== span.resource);
      }
    }
  });

  test("begin within the window and end after they began", () => {
    for (const span of spansOf({})) {
      const [begun, ended] = [span.startTime, span.endTime].map(([s, ns]) => s * 1000 + ns / 1e6);
      expect(begun).toBeGreaterThanOrEqual(startMs);
      expect(begun).toBeLessThan(startMs + windowMs + 5_000);
      expect(ended).toBeGreaterThanOrEqual(begun ?? 0);
      expect(span.startTime[1]).toBeLessThan(1e9);
      expect(span.endTime[1]).toBeLessThan(1e9);
    }
  });

  test.each([1, 5, 20])("run through all of %i services, each with its own resource", (services) => {
    const resources = new Set(spansOf({ services, spans: 4_000 }).map((span) => span.resource));
    const names = [...resources].map((resource) => resource.attributes["service.name"]);
    expect(new Set(names).size).toBe(services);
    expect(resources.size).toBe(services);
    for (const { attributes } of resources) {
      expect(attributes["headrace.demo.run"]).toBe("a run");
    }
  });

  test("are made only as they are asked for", () => {
    const many = generateSpans({
      spans: 100_000_000,
      services: 5,
      seed: 1,
      batchSpans: 512,
      startMs,
      windowMs,
      resource: {},
      ids: countingIds(),
    });
    expect(many.next().value).toHaveLength(512);
  });
});
