/**
 * Traces, as the console's API is asked for them and answers: the list, how many there are over time, one trace whole, and
 * values to complete a filter with. Every answer says in words what it leaves out (`notes`), and how far it looked.
 */
import * as v from "valibot";

const count = v.number();
/** ISO 8601, UTC, to the nanosecond: `2026-11-27T20:55:12.123456789Z`. */
const instant = v.string();
/** One sentence each: what is left out, cut or not known, and what a person can do. Empty: nothing is. */
const notes = v.array(v.string());

/** How far a search came before its time was used up. It walks from the newest to the oldest. */
const searchedSchema = v.object({
  from: instant,
  to: instant,
  /** All of the time asked for was searched. */
  isWhole: v.boolean(),
});

/** `Unset`, `Ok` and `Error`, as the table has them; another exporter may have written other words. */
const status = v.string();

const rootSchema = v.object({
  spanId: v.string(),
  service: v.string(),
  name: v.string(),
  kind: v.string(),
  status,
});

const listedTraceSchema = v.object({
  traceId: v.string(),
  tenant: v.string(),
  /** Of the root span; where there is none, of the first span that matched. */
  start: instant,
  durationNs: v.number(),
  /** null: no span without a parent is in the table. */
  root: v.nullable(rootSchema),
  /**
   * Of the whole trace, without what began more than five minutes after its root's end. null: not counted, for the search's
   * time was used up.
   */
  spans: v.nullable(count),
  errors: v.nullable(count),
  /** Spans of it that match the filter, as far as it was searched; 0 where the filter asks nothing of spans. */
  matched: count,
  /** Of these the newest, or the longest: by which the trace has its place in the list. null: the root is. */
  span: v.nullable(v.object({ ...rootSchema.entries, start: instant, durationNs: v.number() })),
});
export type ListedTrace = v.InferOutput<typeof listedTraceSchema>;

/** `GET /api/traces` */
export const tracesSchema = v.object({
  traces: v.array(listedTraceSchema),
  searched: searchedSchema,
  notes,
  /** As `cursor` of the next question: what follows. null: nothing does, or (by duration) a narrower time has to be asked for. */
  cursor: v.nullable(v.string()),
});
export type Traces = v.InferOutput<typeof tracesSchema>;

/** `GET /api/trace-times`: the same question as for /api/traces, without sort, limit and cursor. */
export const traceTimesSchema = v.object({
  /** Of the first step, and of each step the length; the last ends at or behind `to`. */
  from: instant,
  to: instant,
  stepSeconds: v.number(),
  /** Each step, also those without any; null: not searched any more. Traces by their root, or spans where the filter asks for spans. */
  steps: v.array(v.nullable(v.object({ count, errors: count }))),
  of: v.picklist(["traces", "spans"]),
  searched: searchedSchema,
  notes,
});
export type TraceTimes = v.InferOutput<typeof traceTimesSchema>;

/** Key and value, in the table's order. A text that is longer than what is shown ends in `…`. */
const attributes = v.array(v.tuple([v.string(), v.string()]));
export type Attributes = v.InferOutput<typeof attributes>;
/** Those that are shown, and how many there are. */
const cutAttributes = { attributes, attributesCount: count };

/** What a waterfall draws of a span. */
const shapeSpanSchema = v.object({
  spanId: v.string(),
  /** Empty: a root. It may name a span that is not there. */
  parentSpanId: v.string(),
  service: v.string(),
  name: v.string(),
  kind: v.string(),
  /** After the trace's `start`. */
  startNs: v.number(),
  durationNs: v.number(),
  status,
});
export type ShapeSpan = v.InferOutput<typeof shapeSpanSchema>;

const spanSchema = v.object({
  ...shapeSpanSchema.entries,
  statusMessage: v.string(),
  scope: v.string(),
  /**
   * Index in `payloads`; -1: the payload that brought it is not listed (`GET /api/trace-span` has it); null: another way than
   * Headrace's (the Collector's exporter wrote it).
   */
  payload: v.nullable(v.number()),
  /** Index in `resources`. */
  resource: count,
  eventsCount: count,
  linksCount: count,
  attributesCount: count,
  /** null: the answer was full before it: `GET /api/trace-span` has them. */
  attributes: v.nullable(attributes),
  events: v.nullable(v.array(v.object({ startNs: v.number(), name: v.string(), ...cutAttributes }))),
  links: v.nullable(v.array(v.object({ traceId: v.string(), spanId: v.string(), ...cutAttributes }))),
});
export type TraceSpan = v.InferOutput<typeof spanSchema>;

const tracePayloadSchema = v.object({
  payload: v.string(),
  tenant: v.string(),
  /** Spans of this trace in it, and all of its spans. */
  spans: count,
  spansInAll: count,
  /** Keys under which it arrived, by its receipts. Empty: no receipt is written yet. */
  keys: v.array(v.string()),
  receipts: v.array(
    v.object({
      key: v.string(),
      /** The minute in which it arrived. */
      arrival: v.string(),
      outcome: v.string(),
      /** The group that stored it; empty: none did. */
      group: v.string(),
      reason: v.string(),
      /** When the receipt was written. */
      at: v.string(),
    }),
  ),
});
export type TracePayload = v.InferOutput<typeof tracePayloadSchema>;

/**
 * `GET /api/trace-shape?id=`: what the waterfall of a trace is drawn from, and no more. It is read from narrow columns alone, in a part
 * of the time that the whole trace takes.
 */
export const traceShapeSchema = v.object({
  traceId: v.string(),
  /** Whose spans alone were asked for; null: all. */
  tenant: v.nullable(v.string()),
  /** Whose spans these are, in order, at most `limits.traceTenantsListed`: equal ids may be several tenants'. Those of another exporter are nobody's. */
  tenants: v.array(v.string()),
  /** Of the span that begins first; null: the table has no span of this trace. */
  start: v.nullable(instant),
  /** From there to the last end. */
  durationNs: v.number(),
  /** Of the whole trace, those beyond the answer included. */
  spansCount: count,
  errorsCount: count,
  /** By their begin; at most `limits.traceSpansMax`. */
  spans: v.array(shapeSpanSchema),
  notes,
});
export type TraceShape = v.InferOutput<typeof traceShapeSchema>;

/** `GET /api/trace?id=`: the same, with all that its spans say and what brought them. */
export const traceSchema = v.object({
  ...traceShapeSchema.entries,
  /** By their begin; at most `limits.traceSpansMax`. */
  spans: v.array(spanSchema),
  resources: v.array(v.object({ service: v.string(), ...cutAttributes })),
  /** At most `limits.payloadsListed`: those whose spans begin first. */
  payloads: v.array(tracePayloadSchema),
  /** Spans that came in payloads that are not listed. */
  spansUnlisted: count,
  /** Spans that did not come through Headrace. */
  spansOfOthers: count,
});
export type Trace = v.InferOutput<typeof traceSchema>;

/** `GET /api/trace-span?trace=&span=`: one span with all that it says, up to 4 MiB. Several where several have the id. */
export const traceSpanSchema = v.object({
  traceId: v.string(),
  /** Of the trace, as there; null: the table has no span of it. */
  start: v.nullable(instant),
  spans: v.array(spanSchema),
  resources: traceSchema.entries.resources,
  /** Those that brought these spans. */
  payloads: v.array(tracePayloadSchema),
  notes,
});
export type TraceSpanDetail = v.InferOutput<typeof traceSpanSchema>;

export const valueKinds = ["service", "name", "tenant", "key", "value"] as const;
export type ValueKind = (typeof valueKinds)[number];

/** `GET /api/trace-values?of=`: with most spans first. */
export const traceValuesSchema = v.object({
  of: v.picklist(valueKinds),
  values: v.array(
    v.object({
      value: v.string(),
      /** Of a key: `span` or `resource`; of the others empty. */
      scope: v.picklist(["", "span", "resource"]),
      /** Among the spans that were looked at. */
      spans: count,
    }),
  ),
  notes,
});
export type TraceValues = v.InferOutput<typeof traceValuesSchema>;
