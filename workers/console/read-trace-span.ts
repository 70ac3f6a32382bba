/** `GET /api/trace-span`: a span of a trace with longer texts than there, and the payload that brought it. */
import * as v from "valibot";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import {
  type Cut,
  spanSurroundingsQuestion,
  traceSpansQuestion,
} from "../../shared/console/one-trace-queries.ts";
import type { TraceSpanDetail } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { asker, cutNotes, resourcesOf, scopeOf, spanOf, spansSchema } from "./read-trace.ts";
import { payloadsOfRows, readPayloads } from "./read-trace-payloads.ts";

const spanAlone: Cut = {
  members: limits.traceSpanAloneMembersMax,
  textChars: limits.traceSpanAloneTextCharsMax,
  detailBytes: limits.traceDetailBytesMax,
  spans: 10,
};

const surroundingsSchema = v.array(
  v.object({ begin: v.string(), spansByPayload: v.array(v.tuple([v.string(), v.number()])) }),
);

export async function readTraceSpan(
  clickHouse: ClickHouseConnection,
  { trace: traceId, span: spanId }: { readonly trace: string; readonly span: string },
  settings: Readonly<Record<string, string>> = {},
): Promise<TraceSpanDetail> {
  const ask = asker(clickHouse, settings);
  const at = clickHouse.settings;
  const scope = await scopeOf(clickHouse, ask, traceId, spanId);
  const [rows, [surroundings]] = await Promise.all([
    ask(traceSpansQuestion(at, scope, spanAlone), spansSchema),
    ask(spanSurroundingsQuestion(at, scope), surroundingsSchema),
  ]);
  const begin = BigInt(surroundings?.begin ?? 0);
  const spansOf = new Map(surroundings?.spansByPayload);
  const brought = payloadsOfRows(rows).map((one) => ({
    ...one,
    spans: spansOf.get(one.payload) ?? one.spans,
  }));
  const payloads = await readPayloads(clickHouse, settings, brought);
  const resources = resourcesOf(rows);
  return {
    traceId,
    start: rows.length === 0 ? null : formatInstant(begin),
    spans: rows.map(spanOf(begin, payloads, resources)),
    resources: resources.map(({ service, attributes }) => ({ service, attributes })),
    payloads,
    notes: [
      ...(rows.length === 0 ? ["The table has no span with this id in this trace."] : []),
      ...(rows.length > 1 ? [`${rows.length} spans have this id: their sender used it twice.`] : []),
      ...cutNotes(rows, spanAlone),
    ],
  };
}
