/** A dead letter as a row of `headrace_dead_letters` (schema/0004_dead_letters.sql), and as its record in R2. */
import type { Receipt } from "../ledger/group.ts";
import { receiptRow } from "./receipts.ts";

/** Outside the payloads' prefix, and so outside the notification rule. */
export const deadLetterPrefix = "dead/";

/** The columns that an INSERT of dead letters names. */
export const deadLetterColumns = [
  "key",
  "payload_hex",
  "minute",
  "tenant",
  "reason",
  "message",
  "group_id",
  "refusals",
  "spans",
  "bytes",
  "record",
  "at",
] as const;

/** `at`: ms since the epoch. `reason` is `decode`, `missing_object` or `rejected:<code>`. */
export function deadLetterRow(receipt: Receipt, at: number) {
  const {
    key,
    payload_hex,
    minute,
    tenant,
    reason,
    group_id,
    spans,
    bytes,
    at: time,
  } = receiptRow(receipt, at);
  return {
    key,
    payload_hex,
    minute,
    tenant,
    reason,
    message: receipt.reason,
    group_id,
    refusals: 0,
    spans,
    bytes,
    record: `${deadLetterPrefix}${receipt.key}`,
    at: time,
  };
}
