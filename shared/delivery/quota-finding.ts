/** What people are told of a key's quota. */
import type { Finding } from "../clickhouse/findings.ts";
import type { QuotaMessage } from "../messages.ts";

/** One finding per line of a key, month and share: said twice, it is one. */
export function quotaFinding(quota: QuotaMessage): Finding {
  const { tenant, account, month, percent, state, usedSpans, spansPerMonth } = quota;
  const key = `the key ${account.slice(0, 12)}… of tenant ${tenant}`;
  const used = `has used ${usedSpans} of its ${spansPerMonth} spans of ${month}`;
  const then = percent === 80 ? "At 100 % its requests are" : "Requests with more spans than are left are";
  const message = `${key} ${used}. ${then} answered 429 until the next month; PATCH /api/keys/{id} of each key of this line raises spansPerMonth, within two minutes.`;
  return {
    kind: "quota",
    subject: `${tenant}/${month}/${percent}/${account}`,
    state,
    severity: percent === 80 ? "note" : "warning",
    tenant,
    message: state === "resolved" ? `A new month has begun. ${message}` : message,
    openedAt: Date.parse(`${month}-01T00:00:00Z`),
  };
}
