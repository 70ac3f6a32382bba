/** The finding about a key's quota. */
import type { Finding } from "../finding.ts";
import type { QuotaMessage } from "../messages.ts";

/** One finding per line of a key, month, unit and share: said twice, it is one. */
export function quotaFinding(quota: QuotaMessage): Finding {
  const { tenant, account, month, percent, state, unit, used, perMonth } = quota;
  const key = `The key ${account.slice(0, 12)}… of tenant ${tenant}`;
  const share = `has used ${used} of its ${perMonth} ${unit} of ${month}`;
  const then = percent === 80 ? "At 100 % its requests are" : `Requests with more ${unit} than are left are`;
  return {
    kind: "quota",
    subject: `${tenant}/${month}/${percent}/${account}${unit === "spans" ? "" : `/${unit}`}`,
    state,
    severity: percent === 80 ? "note" : "warning",
    tenant,
    message: `${key} ${share}.${state === "open" ? ` ${then} answered 429 until the next month.` : ""}`,
    openedAt: Date.parse(`${month}-01T00:00:00Z`),
  };
}
