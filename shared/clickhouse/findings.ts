/** A finding, something that a person should know, as a row of `headrace_findings` (schema/0006_findings.sql). */
import { formatDateTime64 } from "./date-time.ts";

export interface Finding {
  readonly kind: "table_check";
  /** What it is about: a table, a payload, a minute. */
  readonly subject: string;
  readonly state: "open" | "resolved";
  readonly severity: "note" | "warning" | "page";
  /** What is wrong and what to do. */
  readonly message: string;
}

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

/** `at`: ms since the epoch. */
export function findingRow(finding: Finding, at: number) {
  const time = formatDateTime64(at);
  return { ...finding, opened_at: time, tenant: "", detail: "{}", at: time };
}
