/** What the ingress counted, as rows of `headrace_outcomes` (schema/0009_request_outcomes.sql). */
import type { OutcomesMessage } from "../messages.ts";
import { formatDateTime, formatDateTime64 } from "./date-time.ts";

/** The columns that an INSERT of outcomes names. */
export const outcomeColumns = [
  "minute",
  "tenant",
  "key",
  "outcome",
  "reason",
  "reporter",
  "sequence",
  "requests",
  "spans",
  "rejected_spans",
  "bytes",
  "key_lookups",
  "meter_calls",
  "at",
] as const;

/** `at`: ms since the epoch. */
export function outcomeRows({ reporter, sequence, counts }: OutcomesMessage, at: number) {
  return counts.map(({ minute, rejectedSpans, keyLookUps, meterCalls, ...count }) => ({
    ...count,
    minute: formatDateTime(minute),
    reporter,
    sequence,
    rejected_spans: rejectedSpans,
    key_lookups: keyLookUps,
    meter_calls: meterCalls,
    at: formatDateTime64(at),
  }));
}
