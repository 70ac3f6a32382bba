/**
 * Payloads that go alone although a collector was to have them. Nothing is lost by it, and it costs money: the ingress counts them
 * as a reason of its outcomes, and where it goes on for ten minutes it is a finding (shared/alerts.ts).
 */
import { counted } from "../counted.ts";
import type { Finding } from "../finding.ts";
import { limits, MINUTE_MS } from "../limits.ts";

/** Why, as the reason of an accepted request. */
export const bypassReasons = {
  collector_full: "it was full",
  collector_failed: "it did not answer, or its puts failed",
  collector_version: "it is of another version than its callers",
} as const;
export type BypassReason = keyof typeof bypassReasons;

/** The reason of an accepted request that the Meter, which did not answer, has not counted. `bypassed`: why it bypassed the collector too. */
export function unmeteredReason(bypassed: BypassReason | undefined): string {
  return bypassed === undefined ? "unmetered" : `unmetered_${bypassed}`;
}

/** Accepted requests of one minute, and those of them that bypassed the collector. */
export interface BypassMinute extends Readonly<Record<BypassReason, number>> {
  readonly requests: number;
}

/** The whole minutes that are judged: the last ones that every isolate has reported. `now`: ms since the epoch. */
export function bypassPeriod(now: number): { readonly since: number; readonly until: number } {
  const until = Math.floor((now - limits.alertBypassLateMs) / MINUTE_MS) * MINUTE_MS;
  return { since: until - limits.alertBypassMinutes * MINUTE_MS, until };
}

const advice: Readonly<Record<BypassReason, string>> = {
  collector_full:
    "Its puts are slower than requests come: look at R2's latency; `COLLECT_MS` has no part in it",
  collector_failed:
    "Look at the ingress's log for its name and at Cloudflare's status; where Durable Objects are well, deploy the ingress again",
  collector_version:
    "Deploy the ingress again: Worker and object change at different times, and one of them has not",
};

/** Appends the finding, where it holds, to `found`. */
export function bypassCondition(
  minutes: readonly BypassMinute[],
  found: Pick<Finding, "kind" | "subject" | "severity" | "tenant" | "message">[],
): void {
  const costly = minutes.filter((minute) => {
    const least = (limits.alertBypassRequestsASecond * MINUTE_MS) / 1000;
    return minute.requests >= least && bypassedOf(minute) > minute.requests * limits.alertBypassShare;
  });
  if (costly.length < limits.alertBypassCostlyMinutes) {
    return;
  }
  const sum = (of: (minute: BypassMinute) => number): number =>
    costly.reduce((total, minute) => total + of(minute), 0);
  const requests = sum((minute) => minute.requests);
  const bypassed = sum(bypassedOf);
  const reasons = (Object.keys(bypassReasons) as BypassReason[])
    .map((reason) => ({ reason, requests: sum((minute) => minute[reason]) }))
    .filter((one) => one.requests > 0)
    .sort((a, b) => b.requests - a.requests);
  const [first] = reasons;
  const perSecond = bypassed / costly.length / 60;
  const dollars = perSecond * 30 * 24 * 3600 * limits.bypassDollars;
  found.push({
    kind: "collector_bypassed",
    subject: "ingress",
    severity: "warning",
    tenant: "",
    message: `In ${costly.length} of the last ${limits.alertBypassMinutes} minutes ${counted(bypassed, "payload")} of ${requests} (${Math.round((100 * bypassed) / requests)} %) went into R2 one by one although the collector was to have them: ${reasons.map(({ reason, requests: some }) => `${some} because ${bypassReasons[reason]}`).join(", ")}. Nothing is lost; each costs up to $${limits.bypassDollars * 1e6} per million more, at this rate $${dollars < 10 ? dollars.toFixed(1) : dollars.toFixed(0)} per month. ${first === undefined ? "" : advice[first.reason]}. COLLECT=off ends the attempts.`,
  });
}

function bypassedOf(minute: BypassMinute): number {
  return minute.collector_full + minute.collector_failed + minute.collector_version;
}
