/**
 * Receipts as rows of `headrace_receipts` (schema/0003_receipts.sql): as RowBinary, as the consumer writes them, and as
 * JSONEachRow, the canonical form, which says the same in words.
 */
import { assert } from "../assert.ts";
import { toHex } from "../hex.ts";
import { DAY_MS } from "../limits.ts";
import type { PayloadOutcome } from "../outcome.ts";
import { minuteToMs, type PayloadKey, parsePayloadKey, payloadIdToBytes } from "../payload-key.ts";
import type { Receipt } from "../receipt.ts";
import { ByteSink } from "../rows/byte-sink.ts";
import { insertBinaryRows } from "./ask.ts";
import type { ClickHouseConnection } from "./connection.ts";
import { formatDateTime64 } from "./date-time.ts";

const columnsBehindId = [
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

/** In the order in which `appendReceipt` writes them; `rank` comes from `outcome`. */
const binaryColumns = ["key", "payload", ...columnsBehindId] as const;

/** The values of the column's Enum8 (schema/0010_expired.sql). */
const outcomeNumbers: Readonly<Record<PayloadOutcome, number>> = {
  dead: 1,
  duplicate: 2,
  stored: 3,
  erased: 4,
  expired: 5,
};

/**
 * Stores receipts: all of them, or it rejects, and then nobody knows. `at`: when they are written, ms since the epoch. As RowBinary:
 * JSON cost the engine 15 to 22 % more for 100 to 500 receipts, and nothing more for one (bench/README.md, "Pipeline").
 */
export async function insertReceipts(
  clickHouse: ClickHouseConnection,
  receipts: readonly Receipt[],
  at: number,
): Promise<void> {
  if (receipts.length > 0) {
    await insertBinaryRows(clickHouse, "headrace_receipts", binaryColumns, receiptBytes(receipts, at));
  }
}

const encoder = new TextEncoder();

/** RowBinary has no separators: values one after another, fixed ones little-endian (clickhouse.com/docs/interfaces/formats/RowBinary). */
function receiptBytes(receipts: readonly Receipt[], at: number): Uint8Array {
  const sink = new ByteSink();
  for (const receipt of receipts) {
    appendReceipt(sink, receipt, at);
  }
  return sink.joined();
}

function appendReceipt(sink: ByteSink, receipt: Receipt, at: number): void {
  const parts = parsePayloadKey(receipt.key);
  assert(parts !== undefined, "a receipt's key is a payload key");
  appendText(sink, receipt.key);
  sink.append(payloadIdToBytes(parts.id));
  appendUInt(sink, minuteToMs(parts.minute) / 1000, 4);
  appendText(sink, parts.tenant);
  sink.byte(outcomeNumbers[receipt.outcome]);
  appendText(sink, receipt.group);
  appendUInt(sink, receipt.spans, 4);
  appendUInt(sink, receipt.rejectedSpans, 4);
  appendLength(sink, receipt.rowsByDay.length);
  for (const { day, rows } of receipt.rowsByDay) {
    appendUInt(sink, day, 2);
    appendUInt(sink, rows, 4);
  }
  appendUInt(sink, receipt.bytes, 8);
  appendText(sink, receipt.reason);
  appendUInt(sink, at, 8);
}

/** `bytes`: how many the type has. A value that does not fit would be another one in the table. */
function appendUInt(sink: ByteSink, value: number, bytes: 2 | 4 | 8): void {
  const max = bytes === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (8 * bytes) - 1;
  assert(Number.isInteger(value) && value >= 0 && value <= max, "a receipt's number fits its column");
  sink.reserve(bytes);
  if (bytes === 2) {
    sink.view.setUint16(sink.at, value, true);
  } else {
    sink.view.setUint32(sink.at, value % 2 ** 32, true);
  }
  if (bytes === 8) {
    sink.view.setUint32(sink.at + 4, Math.floor(value / 2 ** 32), true);
  }
  sink.at += bytes;
}

function appendText(sink: ByteSink, text: string): void {
  const bytes = encoder.encode(text);
  appendLength(sink, bytes.length);
  sink.append(bytes);
}

/** LEB128, seven bits per byte. */
function appendLength(sink: ByteSink, length: number): void {
  let left = length;
  for (; left > 127; left >>>= 7) {
    sink.byte((left & 127) | 128);
  }
  sink.byte(left);
}

/** The columns that an INSERT of receipts as JSON names: `payload` comes from `payload_hex`, `rank` from `outcome`. */
export const receiptColumns = ["key", "payload_hex", ...columnsBehindId] as const;

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
