/**
 * The last step of a group: everything about its payloads is decided, and is written down. Receipts follow the
 * acknowledged rows, never a materialized view: a receipt must not exist before the rows do. Every part may be
 * repeated: receipts and dead letters replace each other by key, and a deletion that was done deletes nothing.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { deadLetterColumns, deadLetterPrefix, deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import {
  completeViewStatement,
  eraseRowsStatement,
  eraseTraceTimesStatement,
} from "../../shared/clickhouse/statements.ts";
import type { GroupTask, Receipt } from "../../shared/ledger/group.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";

type ReceiptsTask = Extract<GroupTask, { readonly step: "receipts" }>;

const insertSettings = {
  async_insert: 0,
  wait_end_of_query: 1,
  input_format_skip_unknown_fields: 0,
} as const;

/** Throws when a part of it fails; then the whole step is repeated. `now`: ms since the epoch, the receipts' time. */
export async function closeGroup(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  task: ReceiptsTask,
  now: number,
): Promise<void> {
  const { client, settings } = clickHouse;
  const { receipts } = task;
  if (task.completeView && task.payloads.length > 0) {
    const ids = task.payloads.map(({ key }) => idOfKey(key));
    await client.command({ query: completeViewStatement(settings, ids) });
  }
  const dead = receipts.filter(({ outcome }) => outcome === "dead");
  if (dead.length > 0) {
    await bury(bucket, clickHouse, dead, now);
  }
  if (receipts.length > 0) {
    await client.insert({
      table: "headrace_receipts",
      columns: [...receiptColumns],
      values: receipts.map((receipt) => receiptRow(receipt, now)),
      format: "JSONEachRow",
      clickhouse_settings: insertSettings,
    });
  }
  const erased = receipts.filter(({ outcome }) => outcome === "erased");
  if (erased.length > 0) {
    const ids = [...new Set(erased.map(({ key }) => idOfKey(key)))];
    await client.command({ query: eraseTraceTimesStatement(settings, ids) });
    await client.command({ query: eraseRowsStatement(settings, ids) });
    await bucket.delete(erased.flatMap(({ key }) => [key, `${deadLetterPrefix}${key}`]));
  }
}

/** A dead letter is readable by a person in R2 and by SQL before its receipt says `dead`. The payload stays in R2. */
async function bury(
  bucket: R2Bucket,
  { client }: ClickHouseConnection,
  dead: readonly Receipt[],
  now: number,
): Promise<void> {
  const rows = dead.map((receipt) => deadLetterRow(receipt, now));
  for (const row of rows) {
    writeLog("error", { outcome: "dead", payload: row.key, reason: row.reason, record: row.record });
    await bucket.put(row.record, JSON.stringify(row, null, 2), {
      httpMetadata: { contentType: "application/json" },
    });
  }
  await client.insert({
    table: "headrace_dead_letters",
    columns: [...deadLetterColumns],
    values: rows,
    format: "JSONEachRow",
    clickhouse_settings: insertSettings,
  });
}
