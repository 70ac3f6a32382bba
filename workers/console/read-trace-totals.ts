/** How many spans and errors a trace has, and from when to when it is: counted here where an answer has all of its spans, else in ClickHouse. */
import * as v from "valibot";
import type { ClickHouseSettings } from "../../shared/clickhouse/connection.ts";
import { traceTotalsQuestion } from "../../shared/console/one-trace-queries.ts";
import type { Ask } from "./read-trace.ts";
import { isOurs } from "./read-trace-payloads.ts";

export interface TraceTotals {
  readonly spans: number;
  readonly errors: number;
  /** Spans that did not come through Headrace. */
  readonly ofOthers: number;
  /** ns since the epoch */
  readonly begin: bigint;
  readonly end: bigint;
  readonly lastBegin: bigint;
}

const totalsSchema = v.array(
  v.object({
    spans: v.number(),
    errors: v.number(),
    ofOthers: v.number(),
    begin: v.string(),
    end: v.string(),
    lastBegin: v.string(),
  }),
);

export async function readTotals(
  settings: ClickHouseSettings,
  ask: Ask,
  traceId: string,
): Promise<TraceTotals> {
  const [found] = await ask(traceTotalsQuestion(settings, traceId), totalsSchema);
  const { begin = "0", end = "0", lastBegin = "0", spans = 0, errors = 0, ofOthers = 0 } = found ?? {};
  return { spans, errors, ofOthers, begin: BigInt(begin), end: BigInt(end), lastBegin: BigInt(lastBegin) };
}

/** What a trace is counted by of a span. `payload`: in hex, where it is known. */
interface CountedSpan {
  readonly at: string;
  readonly durationNs: number;
  readonly status: string;
  readonly payload?: string;
}

/**
 * Totals and spans of two queries, between which spans may have come, or been erased: where one of them found none, the trace is not there;
 * else it has at least what is listed.
 */
export function agreed<Row extends CountedSpan>(
  counted: TraceTotals,
  rows: readonly Row[],
): { readonly totals: TraceTotals; readonly rows: readonly Row[] } {
  if (counted.spans === 0 || rows.length === 0) {
    return { totals: totalsOf([]), rows: [] };
  }
  const listed = totalsOf(rows);
  const totals = {
    spans: Math.max(counted.spans, listed.spans),
    errors: Math.max(counted.errors, listed.errors),
    ofOthers: Math.max(counted.ofOthers, listed.ofOthers),
    begin: earliest([counted.begin, listed.begin]),
    end: -earliest([-counted.end, -listed.end]),
    lastBegin: -earliest([-counted.lastBegin, -listed.lastBegin]),
  };
  return { totals, rows };
}

/** ns since the epoch */
export function earliest(times: readonly bigint[]): bigint {
  const [first = 0n] = [...times].sort((a, b) => (a < b ? -1 : 1));
  return first;
}

/** Of all spans of a trace, by their begin. */
export function totalsOf(rows: readonly CountedSpan[]): TraceTotals {
  let end = 0n;
  for (const { at, durationNs } of rows) {
    const ended = BigInt(at) + BigInt(Math.round(durationNs));
    end = ended > end ? ended : end;
  }
  return {
    spans: rows.length,
    errors: rows.filter(({ status }) => status === "Error").length,
    ofOthers: rows.filter(({ payload }) => payload !== undefined && !isOurs(payload)).length,
    begin: BigInt(rows[0]?.at ?? 0),
    end,
    lastBegin: BigInt(rows.at(-1)?.at ?? 0),
  };
}
