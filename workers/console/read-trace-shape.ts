/** `GET /api/trace-shape`: what a trace's waterfall is drawn from, by one query of narrow columns. */
import * as v from "valibot";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import { tracePartsQuestion, traceShapeQuestion } from "../../shared/console/one-trace-queries.ts";
import type { TraceShape } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { shapeEntries } from "./read-small-trace.ts";
import { asker, daysApart, partsSchema, scopeOf, shapeNotes, sum, timesOf } from "./read-trace.ts";

const rowsSchema = v.array(v.object(shapeEntries));

/** A trace that is not there has no spans. `settings`: what keeps the queries within limits. */
export async function readTraceShape(
  clickHouse: ClickHouseConnection,
  traceId: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<TraceShape> {
  const ask = asker(clickHouse, settings);
  const at = clickHouse.settings;
  const found = await ask(traceShapeQuestion(at, traceId, false), rowsSchema);
  const isMore = found.length > limits.traceSpansMax;
  const rows = isMore ? await ask(traceShapeQuestion(at, traceId, true), rowsSchema) : found;
  const timed = rows
    .map(({ at: begin, ...row }) => ({ begin: BigInt(begin), row }))
    .sort((a, b) =>
      a.begin === b.begin ? (a.row.spanId < b.row.spanId ? -1 : 1) : a.begin < b.begin ? -1 : 1,
    );
  const whole = isMore
    ? await wholeOf(clickHouse, traceId, settings)
    : {
        begin: timed[0]?.begin ?? 0n,
        end: timed.reduce(
          (last, { begin, row }) => later(last, begin + BigInt(Math.round(row.durationNs))),
          0n,
        ),
        lastBegin: timed.at(-1)?.begin ?? 0n,
        spansCount: rows.length,
        errorsCount: rows.filter(({ status }) => status === "Error").length,
      };
  const { begin, end, lastBegin, spansCount, errorsCount } = whole;
  const spans = timed.map(({ begin: at0, row }) => ({ ...row, startNs: Number(at0 - begin) }));
  return {
    traceId,
    start: rows.length === 0 ? null : formatInstant(begin),
    durationNs: Number(end - begin),
    spansCount,
    errorsCount,
    spans,
    notes: [...shapeNotes(spans, spansCount), ...daysApart(lastBegin - begin)],
  };
}

const later = (a: bigint, b: bigint): bigint => (a < b ? b : a);

/** Of a trace that has more spans than are shown. */
async function wholeOf(
  clickHouse: ClickHouseConnection,
  traceId: string,
  settings: Readonly<Record<string, string>>,
) {
  const ask = asker(clickHouse, settings);
  const scope = await scopeOf(clickHouse, ask, traceId, null);
  const parts = await ask(tracePartsQuestion(clickHouse.settings, scope), partsSchema);
  return { ...timesOf(parts), spansCount: sum(parts, "spans"), errorsCount: sum(parts, "errors") };
}
