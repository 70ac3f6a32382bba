/** What the ingress counted, as rows of `headrace_outcomes` (schema/0009_request_outcomes.sql). */
import { type BypassReason, bypassReasons, unmeteredReason } from "../collect/bypass.ts";
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

/**
 * POST requests of a time that the ingress counted (`since` to before `until`, whole minutes in ms since the epoch): all but
 * those of another method. What an isolate took along when it ended is missing.
 */
export function requestsQuery(since: number, until: number): string {
  return `SELECT toFloat64(sum(requests)) AS requests FROM headrace_outcomes AS o FINAL
    WHERE o.minute >= toDateTime(${since / 1000}, 'UTC') AND o.minute < toDateTime(${until / 1000}, 'UTC')
      AND o.reason != 'wrong_method'`;
}

/** Accepted requests of a time by minute, and how many of them bypassed the collector, by reason. Times as above. */
export function bypassQuery(since: number, until: number): string {
  const reasons = Object.keys(bypassReasons) as BypassReason[];
  const counts = reasons.map(
    (why) => `toFloat64(sumIf(o.requests, o.reason IN ('${why}', '${unmeteredReason(why)}'))) AS ${why}`,
  );
  return `SELECT toFloat64(sum(o.requests)) AS requests, ${counts.join(", ")} FROM headrace_outcomes AS o FINAL
    WHERE o.minute >= toDateTime(${since / 1000}, 'UTC') AND o.minute < toDateTime(${until / 1000}, 'UTC')
      AND o.outcome = 'accepted'
    GROUP BY o.minute ORDER BY o.minute`;
}
