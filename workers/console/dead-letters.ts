/** Dead letters: which payloads could not be stored, and why. */
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { isoOf } from "../../shared/clickhouse/date-time.ts";
import { type DeadLetter, deadLettersSchema } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import { listDeadLetterRecords } from "./dead-letter-records.ts";

/** Keys whose receipt says dead. Receipts are searched by key, for the keys that died: there are few of these. */
export const stillDead = `SELECT key FROM headrace_receipts FINAL
      WHERE key IN (SELECT key FROM headrace_dead_letters) AND outcome = 'dead'`;

/**
 * Those that are still dead, the newest first: of the table, at most `limits.deadLettersListed`, and while it does not answer of
 * R2's records.
 */
export async function listDeadLetters(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "whereAre">,
): Promise<readonly DeadLetter[]> {
  try {
    return await readTable(clickHouse);
  } catch (error) {
    writeLog("warn", { message: "dead letters of R2's records, for the table cannot be read" }, error);
    return await listDeadLetterRecords(bucket, consumer);
  }
}

async function readTable(clickHouse: ClickHouseConnection): Promise<readonly DeadLetter[]> {
  return await queryRows(
    clickHouse,
    deadLettersSchema,
    `SELECT key, tenant, reason, message, refusals, spans, record, ${isoOf("headrace_dead_letters.at")} AS at
      FROM headrace_dead_letters FINAL
      WHERE key IN (${stillDead})
      ORDER BY headrace_dead_letters.at DESC LIMIT ${limits.deadLettersListed}`,
  );
}
