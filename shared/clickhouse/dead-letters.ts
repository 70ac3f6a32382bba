/** A dead letter as a row of `headrace_dead_letters` (schema/0004_dead_letters.sql), and as its record in R2. */
import { errorText, type Failure } from "../failure.ts";
import { deadLetterPrefix } from "../payload-key.ts";
import type { Receipt } from "../receipt.ts";
import { receiptRow } from "./receipts.ts";

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

/** The column is a UInt16. */
const refusalsShownMax = 65_535;

/**
 * `at`: ms since the epoch. `reason` is `decode`, `missing_object` or `rejected:<code>`; `failure` what the attempts to
 * store it failed with: its words are the message.
 */
export function deadLetterRow(receipt: Receipt, failure: Failure | null, at: number) {
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
    message: failure === null ? receipt.reason : errorText(failure),
    group_id,
    refusals: Math.min(failure?.refused ?? 0, refusalsShownMax),
    spans,
    bytes,
    record: `${deadLetterPrefix}${receipt.key}`,
    at: time,
  };
}
