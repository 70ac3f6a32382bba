/**
 * Writes what the ingress reported into ClickHouse: how requests ended, and what people should know of quotas. A report
 * is asked for again when it could not be written; it says totals, so writing one twice changes nothing.
 */
import { insertRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomeColumns, outcomeRows } from "../../shared/clickhouse/outcomes.ts";
import { limits } from "../../shared/limits.ts";
import type { OutcomesMessage } from "../../shared/messages.ts";
import { writeLog } from "../../shared/write-log.ts";

/** One message of the queue, and what it says. */
export interface Report {
  readonly message: Pick<Message, "retry">;
  readonly outcomes: OutcomesMessage;
}

/** Never throws: a report that could not be written is retried on its own, whatever else its batch holds. */
export async function writeOutcomes(
  clickHouse: ClickHouseConnection,
  reports: readonly Report[],
  now: number,
): Promise<void> {
  if (reports.length === 0) {
    return;
  }
  try {
    const rows = reports.flatMap(({ outcomes }) => outcomeRows(outcomes, now));
    await insertRows(clickHouse, "headrace_outcomes", outcomeColumns, rows);
  } catch (error) {
    writeLog("warn", { message: "outcomes could not be written", reports: reports.length }, error);
    for (const { message } of reports) {
      message.retry({ delaySeconds: limits.outcomeRetrySeconds });
    }
  }
}
