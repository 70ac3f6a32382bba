/**
 * `GET /api/trace` and `GET /api/trace-span`: a trace as the table has it, with the payloads that it came in and how those
 * ended. What an answer cannot hold is said, and is answered by the span.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { countRowsQuery, receiptsQuery } from "../../shared/clickhouse/statements.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import {
  type Cut,
  type TraceScope,
  tracePartsQuestion,
  traceSpansQuestion,
} from "../../shared/console/one-trace-queries.ts";
import { type Question, traceTimesQuestion } from "../../shared/console/trace-queries.ts";
import type {
  Attributes,
  ShapeSpan,
  Trace,
  TracePayload,
  TraceSpan,
  TraceSpanDetail,
} from "../../shared/console/traces.ts";
import { fromHex, toHex } from "../../shared/hex.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import {
  formatPayloadId,
  minuteToMs,
  type PayloadId,
  parsePayloadKey,
  payloadIdToBytes,
} from "../../shared/payload-key.ts";
import { pairs, readSmallTrace, spanEntries } from "./read-small-trace.ts";
import { isTooMuch } from "./trace-search.ts";

const spansSchema = v.array(
  v.object({
    ...spanEntries,
    resource: v.string(),
    resourceAttributes: pairs,
    isFirst: v.number(),
    attributesCount: v.number(),
    eventsCount: v.number(),
    linksCount: v.number(),
    hasDetail: v.number(),
    attributes: pairs,
    events: v.array(v.tuple([v.string(), v.string(), pairs])),
    links: v.array(v.tuple([v.string(), v.string(), pairs])),
  }),
);
export type SpanRow = v.InferOutput<typeof spansSchema>[number];
/** A resource's id, and what an answer says of it. */
interface ResourceRow {
  readonly id: string;
  readonly service: string;
  readonly attributes: Attributes;
}
export const partsSchema = v.array(
  v.object({
    payload: v.string(),
    tenant: v.string(),
    spans: v.number(),
    errors: v.number(),
    begin: v.string(),
    end: v.string(),
    lastBegin: v.string(),
  }),
);
type Part = v.InferOutput<typeof partsSchema>[number];
const timesSchema = v.array(v.object({ begin: v.number(), end: v.number() }));
const countsSchema = v.array(v.object({ payload: v.string(), rows: v.number() }));
const receiptsSchema = v.array(
  v.object({
    key: v.string(),
    outcome: v.string(),
    group_id: v.string(),
    reason: v.string(),
    at: v.number(),
  }),
);

const wholeTrace: Cut = {
  members: limits.traceSpanMembersMax,
  textChars: limits.traceTextCharsMax,
  detailBytes: limits.traceDetailBytesMax,
  spans: limits.traceSpansMax,
};
/** Of a trace whose texts were too much for ClickHouse's memory or for the answer. */
const bareTrace: Cut = { ...wholeTrace, members: 0, detailBytes: -1 };
const spanAlone: Cut = {
  members: limits.traceSpanAloneMembersMax,
  textChars: limits.traceSpanAloneTextCharsMax,
  detailBytes: limits.traceDetailBytesMax,
  spans: 10,
};

/** Asks with what keeps the console's login within limits, where it may set something (search-limits.ts). */
export type Ask = <S extends v.GenericSchema>(question: Question, schema: S) => Promise<v.InferOutput<S>>;

export function asker(clickHouse: ClickHouseConnection, settings: Readonly<Record<string, string>>): Ask {
  return async ({ query, parameters }, schema) =>
    await queryRows(clickHouse, schema, query, parameters, { settings });
}

/** A trace that is not there has no spans. `settings`: what keeps the queries within limits. */
export async function readTrace(
  clickHouse: ClickHouseConnection,
  traceId: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<Trace> {
  const ask = asker(clickHouse, settings);
  const at = clickHouse.settings;
  const { rows, scope } = await spansOf(clickHouse, ask, traceId);
  const parts =
    rows.length < limits.traceSpansMax
      ? partsOf(rows)
      : await ask(tracePartsQuestion(at, scope), partsSchema);
  const resources = resourcesOf(rows);
  const listed = parts.slice(0, limits.payloadsListed);
  const payloads = await payloadsOf(clickHouse, settings, listed.filter(isOurs));
  const { begin, end, lastBegin } = timesOf(parts);
  const spansCount = sum(parts, "spans");
  const spans = rows.map(spanOf(begin, payloads, resources));
  return {
    traceId,
    start: parts.length === 0 ? null : formatInstant(begin),
    durationNs: Number(end - begin),
    spansCount,
    errorsCount: sum(parts, "errors"),
    spans,
    resources: resources.map(({ service, attributes }) => ({ service, attributes })),
    payloads,
    spansOfOthers: sum(
      parts.filter((part) => !isOurs(part)),
      "spans",
    ),
    notes: [
      ...notesOf(spans, spansCount),
      ...(parts.length > limits.payloadsListed
        ? [
            `Its spans came in more than ${limits.payloadsListed} payloads: the others are not listed, nor are their spans counted.`,
          ]
        : []),
      ...daysApart(lastBegin - begin),
    ],
  };
}

export async function readTraceSpan(
  clickHouse: ClickHouseConnection,
  { trace: traceId, span: spanId }: { readonly trace: string; readonly span: string },
  settings: Readonly<Record<string, string>> = {},
): Promise<TraceSpanDetail> {
  const ask = asker(clickHouse, settings);
  const at = clickHouse.settings;
  const scope = await scopeOf(clickHouse, ask, traceId, spanId);
  const [rows, parts] = await Promise.all([
    ask(traceSpansQuestion(at, scope, spanAlone), spansSchema),
    ask(tracePartsQuestion(at, { ...scope, spanId: null }), partsSchema),
  ]);
  const payloads = await payloadsOf(
    clickHouse,
    settings,
    parts.slice(0, limits.payloadsListed).filter(isOurs),
  );
  const resources = resourcesOf(rows);
  return {
    traceId,
    spans: rows.map(spanOf(timesOf(parts).begin, payloads, resources)),
    resources: resources.map(({ service, attributes }) => ({ service, attributes })),
    payloads,
    notes: [
      ...(rows.length === 0 ? ["The table has no span with this id in this trace."] : []),
      ...(rows.length > 1 ? [`${rows.length} spans have this id: their sender used it twice.`] : []),
      ...cutNotes(rows, spanAlone),
    ],
  };
}

/** Where the trace's spans lie in time, by the view of trace ids; where it has missed the trace, all of the table is looked at. */
export async function scopeOf(
  { settings }: ClickHouseConnection,
  ask: Ask,
  traceId: string,
  spanId: string | null,
): Promise<TraceScope> {
  const [seconds] = await ask(traceTimesQuestion(settings, [traceId]), timesSchema);
  return { traceId, spanId, seconds: seconds ?? null };
}

interface FoundSpans {
  /** By their begin. */
  readonly rows: readonly SpanRow[];
  readonly scope: TraceScope;
}

/** The spans that an answer shows: by one query if they are few, else cut in ClickHouse. */
async function spansOf(clickHouse: ClickHouseConnection, ask: Ask, traceId: string): Promise<FoundSpans> {
  const { settings } = clickHouse;
  const small = await readSmallTrace(settings, ask, traceId, wholeTrace);
  if (small !== null) {
    return { rows: small, scope: { traceId, spanId: null, seconds: null } };
  }
  const scope = await scopeOf(clickHouse, ask, traceId, null);
  try {
    return { rows: await ask(traceSpansQuestion(settings, scope, wholeTrace), spansSchema), scope };
  } catch (error) {
    if (!isTooMuch(error)) {
      throw error;
    }
    return { rows: await ask(traceSpansQuestion(settings, scope, bareTrace), spansSchema), scope };
  }
}

/** As tracePartsQuestion, of all spans of a trace. */
function partsOf(rows: readonly SpanRow[]): readonly Part[] {
  const byPayload = new Map<string, SpanRow[]>();
  for (const row of rows) {
    const others = byPayload.get(row.payload);
    if (others === undefined) {
      byPayload.set(row.payload, [row]);
    } else {
      others.push(row);
    }
  }
  return [...byPayload].map(([payload, own]) => {
    const ends = own.map(({ at, durationNs }) => BigInt(at) + BigInt(Math.round(durationNs)));
    return {
      payload,
      tenant: own[0]?.tenant ?? "",
      spans: own.length,
      errors: own.filter(({ status }) => status === "Error").length,
      begin: own[0]?.at ?? "0",
      end: String(ends.sort((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n),
      lastBegin: own.at(-1)?.at ?? "0",
    };
  });
}

function resourcesOf(rows: readonly SpanRow[]): readonly ResourceRow[] {
  return rows
    .filter(({ isFirst }) => isFirst === 1)
    .map(({ resource, service, resourceAttributes }) => ({
      id: resource,
      service,
      attributes: resourceAttributes,
    }));
}

const isOurs = ({ payload }: Part): boolean => !/^0+$/.test(payload);

export function sum(parts: readonly Part[], field: "spans" | "errors"): number {
  return parts.reduce((total, part) => total + part[field], 0);
}

/** ns since the epoch. */
export function timesOf(parts: readonly Part[]): Readonly<Record<"begin" | "end" | "lastBegin", bigint>> {
  const [first] = parts;
  let [begin, end, lastBegin] = [
    BigInt(first?.begin ?? 0),
    BigInt(first?.end ?? 0),
    BigInt(first?.lastBegin ?? 0),
  ];
  for (const part of parts) {
    begin = BigInt(part.begin) < begin ? BigInt(part.begin) : begin;
    end = BigInt(part.end) > end ? BigInt(part.end) : end;
    lastBegin = BigInt(part.lastBegin) > lastBegin ? BigInt(part.lastBegin) : lastBegin;
  }
  return { begin, end, lastBegin };
}

/** Ids per query: each is a literal of 70 characters. */
const idsAtOnce = 500;

async function payloadsOf(
  clickHouse: ClickHouseConnection,
  settings: Readonly<Record<string, string>>,
  parts: readonly Part[],
): Promise<readonly TracePayload[] & TracePayload[]> {
  const ids = parts.map(({ payload }) => formatPayloadId(fromHex(payload)));
  const rowsById = new Map<string, number>();
  const receiptsById = new Map<string, TracePayload["receipts"]>();
  for (let from = 0; from < ids.length; from += idsAtOnce) {
    const some = ids.slice(from, from + idsAtOnce);
    const [counts, receipts] = await Promise.all([
      queryRows(clickHouse, countsSchema, countRowsQuery(clickHouse.settings, some), {}, { settings }),
      queryRows(clickHouse, receiptsSchema, receiptsQuery(clickHouse.settings, some), {}, { settings }),
    ]);
    for (const { payload, rows } of counts) {
      rowsById.set(payload, (rowsById.get(payload) ?? 0) + rows);
    }
    for (const receipt of receipts) {
      const parsed = parsePayloadKey(receipt.key);
      if (parsed !== undefined) {
        const hex = toHex(payloadIdToBytes(parsed.id));
        receiptsById.set(hex, [...(receiptsById.get(hex) ?? []), receiptOf(receipt, parsed.minute)]);
      }
    }
  }
  return parts.map(({ payload, tenant, spans }, index) => {
    const receipts = receiptsById.get(payload) ?? [];
    return {
      payload: ids[index] ?? ("" as PayloadId),
      tenant,
      spans,
      spansInAll: rowsById.get(payload) ?? spans,
      keys: receipts.map(({ key }) => key),
      receipts,
    };
  });
}

function receiptOf(
  { key, outcome, group_id, reason, at }: v.InferOutput<typeof receiptsSchema>[number],
  minute: string,
): TracePayload["receipts"][number] {
  return {
    key,
    arrival: new Date(minuteToMs(minute)).toISOString(),
    outcome,
    group: /^0*$/.test(group_id) ? "" : group_id,
    reason,
    at: new Date(at).toISOString(),
  };
}

/** `begin`: of the trace, ns since the epoch. */
function spanOf(
  begin: bigint,
  payloads: readonly TracePayload[],
  resources: readonly ResourceRow[],
): (row: SpanRow) => TraceSpan {
  const payloadAt = new Map(
    payloads.map(({ payload }, index) => [toHex(payloadIdToBytes(payload as PayloadId)), index]),
  );
  const resourceAt = new Map(resources.map(({ id }, index) => [id, index]));
  const after = (at: string): number => Number(BigInt(at) - begin);
  return ({
    at,
    payload,
    resource,
    hasDetail,
    attributes,
    events,
    links,
    resourceAttributes: _attributes,
    isFirst: _isFirst,
    tenant: _tenant,
    ...row
  }) => ({
    ...row,
    startNs: after(at),
    payload: payloadAt.get(payload) ?? null,
    resource: resourceAt.get(resource) ?? -1,
    attributes: hasDetail === 1 ? attributes : null,
    events:
      hasDetail === 1
        ? events.map(([time, name, of]): { startNs: number; name: string; attributes: Attributes } => ({
            startNs: after(time),
            name,
            attributes: of,
          }))
        : null,
    links:
      hasDetail === 1 ? links.map(([traceId, spanId, of]) => ({ traceId, spanId, attributes: of })) : null,
  });
}

function notesOf(spans: readonly TraceSpan[], spansCount: number): string[] {
  const without = spans.filter(({ attributes }) => attributes === null).length;
  return [
    ...shapeNotes(spans, spansCount),
    ...(without > 0
      ? [
          `Attributes, events and links of ${without} spans are left out to keep the answer small: open a span to see its own.`,
        ]
      : []),
    ...cutNotes(spans, wholeTrace),
  ];
}

/** What is to be said of a trace whose spans are drawn. */
export function shapeNotes(spans: readonly ShapeSpan[], spansCount: number): string[] {
  if (spans.length === 0) {
    return [
      "The table has no span of this trace: it was never sent, is on its way (the overview shows what is in flight), was refused or erased, or is older than the table keeps spans.",
    ];
  }
  return spansCount > spans.length
    ? [`It has ${spansCount} spans: these are the first ${spans.length} by start time.`]
    : [];
}

function cutNotes(
  spans: readonly Pick<TraceSpan, "attributesCount" | "eventsCount" | "linksCount">[],
  { members }: Cut,
): string[] {
  const many = spans.filter(
    (span) => Math.max(span.attributesCount, span.eventsCount, span.linksCount) > members,
  ).length;
  return many === 0
    ? []
    : [
        `${many === 1 ? "1 span has" : `${many} spans have`} more than ${members} attributes, events or links: the first ${members} are here.`,
      ];
}

export function daysApart(ns: bigint): string[] {
  const days = Math.floor(Number(ns / 1_000_000n) / DAY_MS);
  return days < 1
    ? []
    : [
        `Its spans begin up to ${days === 1 ? "a day" : `${days} days`} apart: a trace id is used again, or a sender's clock is wrong.`,
      ];
}
