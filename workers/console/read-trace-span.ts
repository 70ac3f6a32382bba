/** `GET /api/trace-span`: a span of a trace with longer texts than there, and the payload that brought it. */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import type { ClickHouseConnection, ClickHouseSettings } from "../../shared/clickhouse/connection.ts";
import { isCut } from "../../shared/console/cut-spans.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import {
  type AskedTrace,
  type Cut,
  spanSurroundingsQuestion,
  type TraceScope,
  traceSpansQuestion,
} from "../../shared/console/one-trace-queries.ts";
import type { TraceSpanDetail } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import {
  type Ask,
  asker,
  cutText,
  resourcesOf,
  type SpanRow,
  scopeOf,
  spanOf,
  spansSchema,
  tenantsText,
} from "./read-trace.ts";
import { payloadsOfRows, readPayloads } from "./read-trace-payloads.ts";
import { earliest } from "./read-trace-totals.ts";
import { isTooMuch } from "./trace-search.ts";

/** Spans of one id: more than one is a sender's mistake. */
const spansAlone = 10;

/** All of it; where that is too much, as much as fits: the last is less than 4 MiB whatever the span says. */
const cuts: readonly Cut[] = [
  { members: limits.traceDetailBytesMax, textChars: limits.traceDetailBytesMax },
  { members: limits.traceSpanAloneMembersMax, textChars: limits.traceTextCharsMax },
  { members: limits.traceSpanLeastMembers, textChars: limits.traceSpanLeastTextChars },
].map((cut) => ({ ...cut, detailBytes: limits.traceDetailBytesMax, spans: spansAlone }));

const surroundingsSchema = v.array(
  v.object({ begin: v.string(), spansByPayload: v.array(v.tuple([v.string(), v.number()])) }),
);

export async function readTraceSpan(
  clickHouse: ClickHouseConnection,
  { span: spanId, ...asked }: AskedTrace & { readonly span: string },
  settings: Readonly<Record<string, string>> = {},
): Promise<TraceSpanDetail> {
  const ask = asker(clickHouse, settings);
  const { traceId } = asked;
  const at = clickHouse.settings;
  const scope = await scopeOf(clickHouse, ask, asked, spanId);
  const [{ rows: all, cut }, [surroundings]] = await Promise.all([
    readSpans(at, ask, scope),
    ask(spanSurroundingsQuestion(at, scope), surroundingsSchema),
  ]);
  const spansOf = new Map(surroundings?.spansByPayload);
  // What was erased between the two is not there, and began at no time.
  const rows = spansOf.size === 0 ? [] : all;
  const begin = earliest([surroundings?.begin ?? 0, ...rows.map((row) => row.at)].map(BigInt));
  const brought = payloadsOfRows(rows).map((one) => ({
    ...one,
    spans: spansOf.get(one.payload) ?? one.spans,
  }));
  const payloads = await readPayloads(clickHouse, settings, brought);
  const found = resourcesOf(rows);
  const resources = found.map(({ resource }) => resource);
  const spans = rows.map(spanOf(begin, payloads, found));
  const isWhole = spans.every(
    (span) => span.attributes !== null && !isCut(span, resources[span.resource], cut.textChars),
  );
  return {
    traceId,
    start: rows.length === 0 ? null : formatInstant(begin),
    spans,
    resources,
    payloads,
    notes: [
      ...countNotes(rows, asked),
      ...(isWhole
        ? []
        : [
            `Shown in part: it has more than ${cutText(cut)}. All of it is in the table: SELECT * FROM ${at.tracesTable} WHERE TraceId = '${traceId}' AND SpanId = '${spanId}'${asked.tenant === null ? "" : ` AND HeadraceTenant = '${asked.tenant}'`}`,
          ]),
    ],
  };
}

/** What is to be said where not exactly one span was found. */
function countNotes(rows: readonly SpanRow[], { tenant }: AskedTrace): readonly string[] {
  const tenants = [...new Set(rows.map((row) => row.tenant))].sort();
  if (rows.length === 0) {
    const whose = tenant === null ? "" : ` that is of tenant ${tenant}`;
    return [`The table has no span with this id in this trace${whose}.`];
  }
  const count = rows.length < spansAlone ? rows.length : `At least ${spansAlone}`;
  if (tenants.length > 1) {
    return [`${count} spans have this id, of ${tenantsText(tenants)}.`];
  }
  return rows.length === 1 ? [] : [`${count} spans have this id: their sender used it twice.`];
}

interface FoundSpans {
  readonly rows: readonly SpanRow[];
  readonly cut: Cut;
}

/** The spans with as much of what they say as an answer has room for. */
async function readSpans(settings: ClickHouseSettings, ask: Ask, scope: TraceScope): Promise<FoundSpans> {
  let found: FoundSpans | null = null;
  for (const cut of cuts) {
    try {
      found = { rows: await ask(traceSpansQuestion(settings, scope, cut), spansSchema), cut };
    } catch (error) {
      if (!isTooMuch(error) || cut === cuts.at(-1)) {
        throw error;
      }
      continue;
    }
    if (found.rows.every(({ hasDetail }) => hasDetail === 1)) {
      break;
    }
  }
  assert(found !== null, "the last cut is answered, or thrown");
  return found;
}
