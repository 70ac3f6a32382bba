/** How requests ended, as the ingress counted it: best effort, for finding out why something does not arrive. */
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { isoOf } from "../../shared/clickhouse/date-time.ts";
import { type Fixed, type OutcomeSums, outcomesSchema } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";

const rowsSchema = outcomesSchema.entries.outcomes;

export interface OutcomesQuestion {
  /** ms since the epoch */
  readonly sinceMs: number;
  /** Undefined: every tenant, and requests of none. */
  readonly tenant: string | undefined;
  /** One row per minute instead of one for the whole time. */
  readonly byMinute: boolean;
}

export async function readOutcomes(
  clickHouse: ClickHouseConnection,
  { sinceMs, tenant, byMinute }: OutcomesQuestion,
): Promise<Fixed<OutcomeSums>> {
  const minute = byMinute ? `${isoOf("o.minute")} AS minute,` : "";
  const rows = await queryRows(
    clickHouse,
    rowsSchema,
    `SELECT ${minute} tenant, key, outcome, reason,
        toFloat64(sum(requests)) AS requests, toFloat64(sum(spans)) AS spans,
        toFloat64(sum(rejected_spans)) AS rejectedSpans, toFloat64(sum(bytes)) AS bytes,
        toFloat64(sum(key_lookups)) AS keyLookUps, toFloat64(sum(meter_calls)) AS meterCalls
      FROM headrace_outcomes AS o FINAL
      WHERE o.minute >= toStartOfMinute(fromUnixTimestamp64Milli({since:Int64}))
        ${tenant === undefined ? "" : "AND o.tenant = {tenant:String}"}
      GROUP BY ${byMinute ? "o.minute," : ""} o.tenant, o.key, o.outcome, o.reason
      ORDER BY ${byMinute ? "o.minute DESC," : ""} requests DESC, spans DESC
      LIMIT ${limits.outcomesListed + 1}`,
    { since: Math.floor(sinceMs), ...(tenant === undefined ? {} : { tenant }) },
  );
  return {
    bestEffort: true,
    since: new Date(sinceMs).toISOString(),
    outcomes: rows.slice(0, limits.outcomesListed),
    truncated: rows.length > limits.outcomesListed,
  };
}
