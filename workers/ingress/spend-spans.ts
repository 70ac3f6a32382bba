/**
 * Whether a key may send so many spans now, by the leases that this isolate holds and, where they do not suffice, by
 * the tenant's Meter. A key without limits never asks. A Meter that cannot be reached stops nobody: the request is
 * admitted, counted as such, and its spans are reported later.
 */
import { unreachable } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import { type Answer, monthOf, nextMonthMs } from "../../shared/meter/account.ts";
import {
  admit,
  answered,
  giveBack,
  isLimited,
  type Lease,
  noLease,
  type Refused,
  refusedAlready,
  unanswered,
} from "../../shared/meter/lease.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { Sender } from "./authenticate.ts";
import type { IngressBindings } from "./bindings.ts";
import type { Refusal } from "./refusal.ts";
import type { Tally } from "./tally.ts";
import { within } from "./wait-within.ts";

/** The leases that this isolate holds, by account. One a Worker instance. */
export type Leases = Map<string, Lease>;

export interface Admission {
  /** Whether the Meter counted it. */
  readonly metered: boolean;
  /** Takes the spans back: the request could not be stored, or was stored before. */
  readonly giveBack: () => void;
}

const unlimited: Admission = { metered: true, giveBack: () => undefined };

function accountOf({ id, record }: Sender): string {
  return record.account ?? id;
}

/**
 * Whether nothing of this key can be admitted at present, however little: told before its body is read. How large the
 * request is, nobody knows yet: its time is the one of the request that was refused, and at most the usual one, since an
 * exporter gives up a small request that is told to wait for a large one's.
 */
export function overLimit(sender: Sender, leases: Leases, now: number): Refusal | undefined {
  const lease = leases.get(accountOf(sender));
  if (lease === undefined || lease.spans > 0 || refusedAlready(lease, sender.record, 1, now) === undefined) {
    return undefined;
  }
  const refused = refusedAlready(lease, sender.record, lease.refusal?.spans ?? 1, now);
  if (refused === undefined) {
    return undefined;
  }
  const { limit, retryAfterMs } = refused;
  const usualMs = limits.retryAfterSeconds * 1000;
  return refusalOf(
    { limit, retryAfterMs: limit === "rate" ? Math.min(retryAfterMs, usualMs) : retryAfterMs },
    sender,
    now,
  );
}

/** Admits or refuses `spans` spans, all or none. `now` in ms since the epoch. */
export async function spendSpans(
  sender: Sender,
  spans: number,
  meters: IngressBindings["METER"],
  leases: Leases,
  now: number,
  tally: Tally,
): Promise<Result<Admission, Refusal>> {
  const { record } = sender;
  if (!isLimited(record)) {
    return ok(unlimited);
  }
  const account = accountOf(sender);
  const held = (): Lease => leases.get(account) ?? noLease(now);
  if (!leases.has(account) && leases.size >= limits.leasesMax) {
    leases.clear();
  }
  const { spansPerSecond, burstSpans, spansPerMonth } = record;
  const allowed = { spansPerSecond, burstSpans, spansPerMonth };
  let { lease, decision } = admit(held(), allowed, spans, now);
  leases.set(account, lease);
  if (decision.kind === "ask") {
    const { ask } = decision;
    let answer: Answer | undefined;
    tally.meterCalls++;
    try {
      const meter = meters.get(meters.idFromName(record.tenant));
      const key = { tenant: record.tenant, account, limits: allowed };
      ({ answer } = await within(meter.lease(key, ask), limits.meterTimeoutMs));
    } catch (error) {
      writeLog("error", { message: "the Meter cannot be reached", tenant: record.tenant }, error);
    }
    const answeredAt = Date.now();
    ({ lease, decision } =
      answer === undefined
        ? unanswered(held(), ask, answeredAt)
        : answered(held(), allowed, ask, answer, answeredAt));
    leases.set(account, lease);
  }
  switch (decision.kind) {
    case "admitted":
      return ok({ metered: true, giveBack: () => leases.set(account, giveBack(held(), spans)) });
    case "unmetered":
      return ok({ metered: false, giveBack: () => undefined });
    case "refused":
      return refuse(refusalOf(decision.refused, sender, now));
    default:
      return unreachable(decision);
  }
}

function refusalOf({ limit, retryAfterMs }: Refused, { record }: Sender, now: number): Refusal {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  if (limit === "rate") {
    return {
      reason: "rate_exceeded",
      message: `The API key "${record.name}" may send ${record.spansPerSecond} spans a second. Try again in ${seconds} s.`,
      retryAfterSeconds: seconds,
    };
  }
  const reset = new Date(nextMonthMs(now)).toISOString().slice(0, 10);
  return {
    reason: "quota_exceeded",
    message: `The API key "${record.name}" has used its ${record.spansPerMonth} spans of ${monthOf(now)}, or has fewer left than this request holds. The next month begins on ${reset} at 00:00 UTC.`,
    retryAfterSeconds: Math.min(seconds, limits.quotaRetryAfterMaxSeconds),
  };
}
