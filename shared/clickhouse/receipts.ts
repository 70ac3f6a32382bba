/** A receipt as a row of `headrace_receipts` (schema/0003_receipts.sql), for an INSERT as JSONEachRow. */
import { assert } from "../assert.ts";
import { toHex } from "../hex.ts";
import { DAY_MS } from "../limits.ts";
import { minuteToMs, type PayloadKey, parsePayloadKey, payloadIdToBytes } from "../payload-key.ts";
import type { Receipt } from "../receipt.ts";
import { formatDateTime64 } from "./date-time.ts";

/** The columns that an INSERT of receipts names: `payload` comes from `payload_hex`, `rank` from `outcome`. */
export const receiptColumns = [
  "key",
  "payload_hex",
  "minute",
  "tenant",
  "outcome",
  "group_id",
  "spans",
  "rejected_spans",
  "spans_by_day",
  "bytes",
  "reason",
  "at",
] as const;

export interface ReceiptRow {
  readonly key: PayloadKey;
  readonly payload_hex: string;
  /** Seconds since the epoch. */
  readonly minute: number;
  readonly tenant: string;
  readonly outcome: string;
  readonly group_id: string;
  readonly spans: number;
  readonly rejected_spans: number;
  readonly spans_by_day: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly reason: string;
  readonly at: string;
}

/** `at`: when the receipt is written, ms since the epoch. */
export function receiptRow(receipt: Receipt, at: number): ReceiptRow {
  const parts = parsePayloadKey(receipt.key);
  assert(parts !== undefined, "a receipt's key is a payload key");
  return {
    key: receipt.key,
    payload_hex: toHex(payloadIdToBytes(parts.id)),
    minute: minuteToMs(parts.minute) / 1000,
    tenant: parts.tenant,
    outcome: receipt.outcome,
    group_id: receipt.group,
    spans: receipt.spans,
    rejected_spans: receipt.rejectedSpans,
    spans_by_day: Object.fromEntries(
      receipt.rowsByDay.map(({ day, rows }) => [new Date(day * DAY_MS).toISOString().slice(0, 10), rows]),
    ),
    bytes: receipt.bytes,
    reason: receipt.reason,
    at: formatDateTime64(at),
  };
}
