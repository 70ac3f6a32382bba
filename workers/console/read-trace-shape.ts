/** `GET /api/trace-shape`: what a trace's waterfall is drawn from, by one query of narrow columns. */
import * as v from "valibot";
import type { ClickHouseConnection, ClickHouseSettings } from "../../shared/clickhouse/connection.ts";
import { formatInstant } from "../../shared/console/instant.ts";
import { type AskedTrace, traceShapeQuestion } from "../../shared/console/one-trace-queries.ts";
import type { TraceShape } from "../../shared/console/traces.ts";
import { limits } from "../../shared/limits.ts";
import { shapeEntries } from "./read-small-trace.ts";
import { type Ask, asker, daysApart, shapeNotes, whose } from "./read-trace.ts";
import { agreed, readTotals, totalsOf } from "./read-trace-totals.ts";

const rowsSchema = v.array(v.object(shapeEntries));

/** A trace that is not there has no spans. `settings`: what keeps the queries within limits. */
export async function readTraceShape(
  clickHouse: ClickHouseConnection,
  asked: AskedTrace,
  settings: Readonly<Record<string, string>> = {},
): Promise<TraceShape> {
  const ask = asker(clickHouse, settings);
  const at = clickHouse.settings;
  const found = (await ask(traceShapeQuestion(at, asked, false), rowsSchema))
    .map((row) => ({ row, begins: BigInt(row.at) }))
    .sort(byBegin)
    .map(({ row }) => row);
  const { rows, totals } =
    found.length > limits.traceSpansMax
      ? await largeTrace(at, ask, asked)
      : { rows: found, totals: totalsOf(found) };
  const { begin, end, lastBegin } = totals;
  const spans = rows.map(({ at: begins, tenant: _tenant, ...row }) => ({
    ...row,
    startNs: Number(BigInt(begins) - begin),
  }));
  return {
    ...whose(asked, totals),
    start: rows.length === 0 ? null : formatInstant(begin),
    durationNs: Number(end - begin),
    spansCount: totals.spans,
    errorsCount: totals.errors,
    spans,
    notes: [...shapeNotes(spans, asked, totals), ...daysApart(lastBegin - begin)],
  };
}

/** The first of its spans, and how many there are. */
async function largeTrace(settings: ClickHouseSettings, ask: Ask, asked: AskedTrace) {
  const [rows, counted] = await Promise.all([
    ask(traceShapeQuestion(settings, asked, true), rowsSchema),
    readTotals(settings, ask, asked),
  ]);
  return agreed(counted, rows);
}

interface TimedRow {
  readonly begins: bigint;
  readonly row: { readonly spanId: string };
}

function byBegin(a: TimedRow, b: TimedRow): number {
  return a.begins === b.begins ? (a.row.spanId < b.row.spanId ? -1 : 1) : a.begins < b.begins ? -1 : 1;
}
