/** Receipts as ClickHouse answers them, parsed. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import { isPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";
import { type DayRows, isGroupId, type Receipt } from "../../shared/receipt.ts";
import type { DatedReceipt } from "../../shared/reconcile/effects.ts";

export const payloadKeySchema = v.custom<PayloadKey>(
  (key) => typeof key === "string" && isPayloadKey(key),
  "not a payload key",
);

const receiptRowsSchema = v.array(
  v.object({
    key: payloadKeySchema,
    outcome: v.picklist(payloadOutcomes),
    group_id: v.string(),
    spans: v.number(),
    rejected_spans: v.number(),
    days: v.array(v.number()),
    rows: v.array(v.number()),
    bytes: v.number(),
    reason: v.string(),
    at: v.number(),
  }),
);

/** The receipts of a query that names `receiptFields` (shared/clickhouse/statements.ts). Rejects for anything else. */
export async function queryReceipts(
  clickHouse: ClickHouseConnection,
  query: string,
): Promise<readonly DatedReceipt[]> {
  const rows = await queryRows(clickHouse, receiptRowsSchema, query);
  return rows.map((row) => {
    const rowsByDay: DayRows[] = row.days.map((day, index) => ({ day, rows: row.rows[index] ?? 0 }));
    return {
      key: row.key,
      outcome: row.outcome,
      group: groupOf(row.group_id),
      spans: row.spans,
      rowsByDay: rowsByDay.sort((a, b) => a.day - b.day),
      rejectedSpans: row.rejected_spans,
      bytes: row.bytes,
      reason: row.reason,
      at: row.at,
    };
  });
}

const noGroup = "0".repeat(32);

function groupOf(text: string): Receipt["group"] {
  const group = isGroupId(text) ? text : noGroup;
  if (!isGroupId(group)) {
    throw new Error("32 zeros are a group's id");
  }
  return group;
}
