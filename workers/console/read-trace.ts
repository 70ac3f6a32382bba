/**
 * `GET /api/trace`: a trace as the table has it, with the payloads that it came in and how those ended. What an answer cannot
 * hold is said, and is answered by the span (read-trace-span.ts).
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { isCut } from "../../shared/console/cut-spans.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import {
  type AskedTrace,
  type Cut,
  type TraceScope,
  tracePayloadsQuestion,
  traceSpansQuestion,
} from "../../shared/console/one-trace-queries.ts";
import { type Question, traceTimesQuestion } from "../../shared/console/trace-queries.ts";
import type { ShapeSpan, Trace, TracePayload, TraceSpan } from "../../shared/console/traces.ts";
import { toHex } from "../../shared/hex.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { type PayloadId, payloadIdToBytes } from "../../shared/payload-key.ts";
import { pairs, readSmallTrace, spanEntries } from "./read-small-trace.ts";
import { broughtSchema, isOurs, payloadsOfRows, readPayloads } from "./read-trace-payloads.ts";
import { agreed, readTotals, type TraceTotals, totalsOf } from "./read-trace-totals.ts";
import { isTooMuch } from "./trace-search.ts";

export const spansSchema = v.array(
  v.object({
    ...spanEntries,
    resource: v.string(),
    resourceAttributes: pairs,
    resourceCount: v.number(),
    isFirst: v.number(),
    attributesCount: v.number(),
    eventsCount: v.number(),
    linksCount: v.number(),
    hasDetail: v.number(),
    attributes: pairs,
    events: v.array(v.tuple([v.string(), v.string(), pairs, v.number()])),
    links: v.array(v.tuple([v.string(), v.string(), pairs, v.number()])),
  }),
);
export type SpanRow = v.InferOutput<typeof spansSchema>[number];
/** A resource's id, and what an answer says of it. */
interface ResourceRow {
  readonly id: string;
  readonly resource: Trace["resources"][number];
}
const timesSchema = v.array(v.object({ begin: v.number(), end: v.number() }));

const wholeCut: Cut = {
  members: limits.traceSpanMembersMax,
  textChars: limits.traceTextCharsMax,
  detailBytes: limits.traceDetailBytesMax,
  spans: limits.traceSpansMax,
};
/** Of a trace whose texts were too much for ClickHouse's memory or for the answer. */
const bareTrace: Cut = { ...wholeCut, members: 0, detailBytes: -1 };

/** Asks with what keeps the console's login within limits, where it may set something (search-limits.ts). */
export type Ask = <S extends v.GenericSchema>(question: Question, schema: S) => Promise<v.InferOutput<S>>;

export function asker(clickHouse: ClickHouseConnection, settings: Readonly<Record<string, string>>): Ask {
  return async ({ query, parameters }, schema) =>
    await queryRows(clickHouse, schema, query, parameters, { settings });
}

/** A trace that is not there has no spans. `settings`: what keeps the queries within limits. */
export async function readTrace(
  clickHouse: ClickHouseConnection,
  asked: AskedTrace,
  settings: Readonly<Record<string, string>> = {},
): Promise<Trace> {
  const ask = asker(clickHouse, settings);
  const { rows, totals, brought } = await wholeTrace(clickHouse, ask, asked);
  const { spans: spansCount, errors, ofOthers, begin, end, lastBegin } = totals;
  const payloads = await readPayloads(clickHouse, settings, brought.slice(0, limits.payloadsListed));
  const found = resourcesOf(rows);
  const resources = found.map(({ resource }) => resource);
  const spans = rows.map(spanOf(begin, payloads, found));
  // Where fewer are listed than may be, a difference is of what came, or went, between two queries.
  const spansUnlisted =
    payloads.length < limits.payloadsListed
      ? 0
      : Math.max(
          0,
          payloads.reduce((left, payload) => left - payload.spans, spansCount - ofOthers),
        );
  return {
    ...whose(asked, totals),
    start: rows.length === 0 ? null : formatInstant(begin),
    durationNs: Number(end - begin),
    spansCount,
    errorsCount: errors,
    spans,
    resources,
    payloads,
    spansUnlisted,
    spansOfOthers: ofOthers,
    notes: [
      ...notesOf(spans, resources, asked, totals),
      ...(spansUnlisted > 0
        ? [
            `Its spans came in more than ${limits.payloadsListed} payloads: the first ${limits.payloadsListed} by start time are listed, and ${spansUnlisted} spans came in others.`,
          ]
        : []),
      ...daysApart(lastBegin - begin),
    ],
  };
}

/** Its first spans, what all of them come to, and the payloads that brought them. */
async function wholeTrace(clickHouse: ClickHouseConnection, ask: Ask, asked: AskedTrace) {
  const { rows, scope } = await spansOf(clickHouse, ask, asked);
  if (rows.length < limits.traceSpansMax) {
    return { rows, totals: totalsOf(rows), brought: payloadsOfRows(rows) };
  }
  const [counted, brought] = await Promise.all([
    readTotals(clickHouse.settings, ask, asked),
    ask(tracePayloadsQuestion(clickHouse.settings, scope), broughtSchema),
  ]);
  const found = agreed(counted, rows);
  return { ...found, brought: found.rows.length === 0 ? [] : brought };
}

/** Where the trace's spans lie in time, by the view of trace ids; where it has missed the trace, all of the table is looked at. */
export async function scopeOf(
  { settings }: ClickHouseConnection,
  ask: Ask,
  asked: AskedTrace,
  spanId: string | null,
): Promise<TraceScope> {
  const [seconds] = await ask(traceTimesQuestion(settings, [asked.traceId]), timesSchema);
  return { ...asked, spanId, seconds: seconds ?? null };
}

interface FoundSpans {
  /** By their begin. */
  readonly rows: readonly SpanRow[];
  readonly scope: TraceScope;
}

/** The spans that an answer shows: by one query if they are few, else cut in ClickHouse. */
async function spansOf(clickHouse: ClickHouseConnection, ask: Ask, asked: AskedTrace): Promise<FoundSpans> {
  const { settings } = clickHouse;
  const small = await readSmallTrace(settings, ask, asked, wholeCut);
  if (small !== null) {
    return { rows: small, scope: { ...asked, spanId: null, seconds: null } };
  }
  const scope = await scopeOf(clickHouse, ask, asked, null);
  try {
    return { rows: await ask(traceSpansQuestion(settings, scope, wholeCut), spansSchema), scope };
  } catch (error) {
    if (!isTooMuch(error)) {
      throw error;
    }
    return { rows: await ask(traceSpansQuestion(settings, scope, bareTrace), spansSchema), scope };
  }
}

export function resourcesOf(rows: readonly SpanRow[]): readonly ResourceRow[] {
  return rows
    .filter(({ isFirst }) => isFirst === 1)
    .map(({ resource, service, resourceAttributes: attributes, resourceCount: attributesCount }) => ({
      id: resource,
      resource: { service, attributes, attributesCount },
    }));
}

/** `begin`: of the trace, ns since the epoch. */
export function spanOf(
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
    resourceCount: _count,
    isFirst: _isFirst,
    tenant: _tenant,
    ...row
  }) => ({
    ...row,
    startNs: after(at),
    payload: payloadAt.get(payload) ?? (isOurs(payload) ? -1 : null),
    resource: resourceAt.get(resource) ?? -1,
    ...(hasDetail === 1
      ? {
          attributes,
          events: events.map(([time, name, of, attributesCount]) => ({
            startNs: after(time),
            name,
            attributes: of,
            attributesCount,
          })),
          links: links.map(([traceId, spanId, of, attributesCount]) => ({
            traceId,
            spanId,
            attributes: of,
            attributesCount,
          })),
        }
      : { attributes: null, events: null, links: null }),
  });
}

function notesOf(
  spans: readonly TraceSpan[],
  resources: Trace["resources"],
  asked: AskedTrace,
  totals: TraceTotals,
): string[] {
  const without = spans.filter(({ attributes }) => attributes === null).length;
  const cut = spans.filter(
    (span) => span.attributes !== null && isCut(span, resources[span.resource]),
  ).length;
  return [
    ...shapeNotes(spans, asked, totals),
    ...(without > 0
      ? [
          `Attributes, events and links of ${without} spans are left out to keep the answer small: open a span to see its own.`,
        ]
      : []),
    ...(cut > 0
      ? [
          `${cut === 1 ? "1 span is shown in part: it has" : `${cut} spans are shown in part: they have`} more than ${cutText(wholeCut)}. Open a span to see all of it.`,
        ]
      : []),
  ];
}

/** What of a span is cut off: more than this. */
export function cutText({ members, textChars }: Cut): string {
  return `${members} attributes, events or links, or texts longer than ${textChars} characters (these end in "…")`;
}

/** Which trace it is, and whose. */
export function whose({ traceId, tenant }: AskedTrace, { tenants }: TraceTotals) {
  return { traceId, tenant, tenants: tenants.slice(0, limits.traceTenantsListed) };
}

/** What is to be said of a trace whose spans are drawn. */
export function shapeNotes(
  spans: readonly ShapeSpan[],
  { tenant }: AskedTrace,
  { spans: spansCount, tenants }: TraceTotals,
): string[] {
  if (spans.length === 0) {
    return tenant !== null
      ? [`The table has no span of this trace that is of tenant ${tenant}.`]
      : [
          "The table has no span of this trace: it was never sent, is on its way (the overview shows what is in flight), was refused or erased, or is older than the table keeps spans.",
        ];
  }
  return [
    ...(tenants.length > 1 ? [`Its spans are of ${tenantsText(tenants)}.`] : []),
    ...(spansCount > spans.length
      ? [`It has ${spansCount} spans: these are the first ${spans.length} by start time.`]
      : []),
  ];
}

/** How many, and which: as many as are listed. */
export function tenantsText(tenants: readonly string[]): string {
  const { traceTenantsListed } = limits;
  return tenants.length > traceTenantsListed
    ? `more than ${traceTenantsListed} tenants, ${tenants.slice(0, traceTenantsListed).join(", ")} among them`
    : `${tenants.length} tenants: ${tenants.join(", ")}`;
}

export function daysApart(ns: bigint): string[] {
  const days = Math.floor(Number(ns / 1_000_000n) / DAY_MS);
  return days < 1
    ? []
    : [
        `Its spans begin up to ${days === 1 ? "a day" : `${days} days`} apart: a trace id is used again, or a sender's clock is wrong.`,
      ];
}
