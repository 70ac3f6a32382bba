/** A finding as a row of `headrace_findings` (schema/0006_findings.sql). */
import type { Finding } from "../finding.ts";
import { formatDateTime64 } from "./date-time.ts";

/** The columns that an INSERT of findings names. */
export const findingColumns = [
  "kind",
  "subject",
  "opened_at",
  "state",
  "severity",
  "tenant",
  "message",
  "detail",
  "at",
] as const;

/** `at`: when it is written, ms since the epoch. `advice`: what to do about it, for who reads the table; empty: the message says it. */
export function findingRow({ openedAt, ...finding }: Finding, at: number, advice = "") {
  const detail = JSON.stringify(advice === "" ? {} : { advice });
  return { ...finding, opened_at: formatDateTime64(openedAt), detail, at: formatDateTime64(at) };
}
