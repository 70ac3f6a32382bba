/**
 * Receipts: the rows that say how each key ended. They follow the acknowledged INSERT, never a materialized view: a
 * receipt must not exist before the rows do. Writing them twice is harmless (ReplacingMergeTree by key).
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import type { ReceiptDraft } from "../../shared/ledger/group.ts";

/** Writes the receipts in one INSERT, `now` (ms since the epoch) as their time. Throws when it fails. */
export async function writeReceipts(
  { client }: ClickHouseConnection,
  receipts: readonly ReceiptDraft[],
  now: number,
): Promise<void> {
  await client.insert({
    table: "headrace_receipts",
    columns: [...receiptColumns],
    values: receipts.map((receipt) => receiptRow(receipt, now)),
    format: "JSONEachRow",
    clickhouse_settings: { async_insert: 0, wait_end_of_query: 1, input_format_skip_unknown_fields: 0 },
  });
}
