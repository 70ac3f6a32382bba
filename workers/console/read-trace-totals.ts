/** How many spans and errors a trace has, and from when to when it is: counted here where an answer has all of its spans, else in ClickHouse. */
import * as v from "valibot";
import type { ClickHouseSettings } from "../../shared/clickhouse/connection.ts";
import { type AskedTrace, traceTotalsQuestion } from "../../shared/console/one-trace-queries.ts";
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
  /** In order; spans of another exporter are nobody's. */
  readonly tenants: readonly string[];
}

const totalsSchema = v.array(
  v.object({
    spans: v.number(),
    errors: v.number(),
    ofOthers: v.number(),
    begin: v.string(),
    end: v.string(),
    lastBegin: v.string(),
    tenants: v.array(v.string()),
  }),
);

export async function readTotals(
  settings: ClickHouseSettings,
  ask: Ask,
  asked: AskedTrace,
): Promise<TraceTotals> {
  const [found] = await ask(traceTotalsQuestion(settings, asked), totalsSchema);
  const {
    begin = "0",
    end = "0",
    lastBegin = "0",
    spans = 0,
    errors = 0,
    ofOthers = 0,
    tenants = [],
  } = found ?? {};
  const times = { begin: BigInt(begin), end: BigInt(end), lastBegin: BigInt(lastBegin) };
  return { spans, errors, ofOthers, ...times, tenants: inOrder(tenants) };
}

function inOrder(tenants: readonly string[]): readonly string[] {
  return [...new Set(tenants)].filter((tenant) => tenant !== "").sort();
}

/** What a trace is counted by of a span. `payload`: in hex, where it is known. */
interface CountedSpan {
  readonly at: string;
  readonly durationNs: number;
  readonly status: string;
  readonly tenant: string;
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
    end: latest([counted.end, listed.end]),
    lastBegin: latest([counted.lastBegin, listed.lastBegin]),
    tenants: inOrder([...counted.tenants, ...listed.tenants]),
  };
  return { totals, rows };
}

/** ns since the epoch, here and below. */
export function earliest(times: readonly bigint[]): bigint {
  return inTime(times)[0] ?? 0n;
}

function latest(times: readonly bigint[]): bigint {
  return inTime(times).at(-1) ?? 0n;
}

function inTime(times: readonly bigint[]): readonly bigint[] {
  return times.toSorted((a, b) => (a < b ? -1 : 1));
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
    tenants: inOrder(rows.map(({ tenant }) => tenant)),
  };
}
