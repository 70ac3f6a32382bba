/** Receipts as ClickHouse answers them, parsed. */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { receiptClaimsQuery } from "../../shared/clickhouse/statements.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import { isPayloadKey, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import { type DayRows, isGroupId, type Receipt, type ReceiptClaim } from "../../shared/receipt.ts";
import type { DatedReceipt } from "../../shared/reconcile/effects.ts";

export const payloadKeySchema = v.custom<PayloadKey>(
  (key) => typeof key === "string" && isPayloadKey(key),
  "not a payload key",
);

const claimEntries = {
  key: payloadKeySchema,
  outcome: v.picklist(payloadOutcomes),
  reason: v.string(),
  days: v.array(v.number()),
  rows: v.array(v.number()),
};
const claimRowsSchema = v.array(v.object(claimEntries));
const receiptRowsSchema = v.array(
  v.object({
    ...claimEntries,
    group_id: v.string(),
    spans: v.number(),
    rejected_spans: v.number(),
    bytes: v.number(),
    at: v.number(),
  }),
);

/** What the receipts of these ids claim, under all of their keys, in the order of these. */
export async function readReceiptClaims(
  clickHouse: ClickHouseConnection,
  ids: readonly PayloadId[],
): Promise<readonly ReceiptClaim[]> {
  const rows = await queryRows(clickHouse, claimRowsSchema, receiptClaimsQuery(clickHouse.settings, ids));
  return rows.map(claimOf).sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The receipts of a query that names `receiptFields` (shared/clickhouse/statements.ts). Rejects for anything else. */
export async function queryReceipts(
  clickHouse: ClickHouseConnection,
  query: string,
): Promise<readonly DatedReceipt[]> {
  const rows = await queryRows(clickHouse, receiptRowsSchema, query);
  return rows.map((row) => ({
    ...claimOf(row),
    group: groupOf(row.group_id),
    spans: row.spans,
    rejectedSpans: row.rejected_spans,
    bytes: row.bytes,
    at: row.at,
  }));
}

function claimOf({
  key,
  outcome,
  reason,
  days,
  rows,
}: v.InferOutput<typeof claimRowsSchema>[number]): ReceiptClaim {
  const rowsByDay: DayRows[] = days.map((day, index) => ({ day, rows: rows[index] ?? 0 }));
  return { key, outcome, reason, rowsByDay: rowsByDay.sort((a, b) => a.day - b.day) };
}

const noGroup = "0".repeat(32);

function groupOf(text: string): Receipt["group"] {
  const group = isGroupId(text) ? text : noGroup;
  if (!isGroupId(group)) {
    throw new Error("32 zeros are a group's id");
  }
  return group;
}
