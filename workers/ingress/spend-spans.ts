/**
 * Whether a key may send so many spans now, by the leases that this isolate holds and, where they do not suffice, by
 * the tenant's Meter. A key without limits never asks. A Meter that cannot be reached stops nobody: the request is
 * admitted, counted as such, and its spans are reported later.
 */
import { limits } from "../../shared/limits.ts";
import { type Answer, type Ask, monthOf, nextMonthMs } from "../../shared/meter/account.ts";
import {
  type Admitted,
  admit,
  admitFirst,
  answered,
  type Decision,
  keepOne,
  type Lease,
  noLease,
  type Refused,
  refusedAlready,
  takeBack,
  unanswered,
} from "../../shared/meter/lease.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { Sender } from "./authenticate.ts";
import type { IngressBindings } from "./bindings.ts";
import { within } from "./deadline.ts";
import type { Refusal } from "./refusal.ts";
import type { Tally } from "./tally.ts";

/** The leases that this isolate holds, by account. One a Worker instance. */
export type Leases = Map<string, Lease>;

/** What a request has taken of its key's limits, and what it comes to in the end. */
export interface Charge {
  /** Admits or refuses all of the request's spans. False: admitted, but the Meter could not count them. */
  readonly spend: (spans: number) => Promise<Result<boolean, Refusal>>;
  /**
   * Once, at the end. `all`: the payload is stored. `one`: it brought nothing to store, and looking at it costs one span of the
   * rate. `nothing`: the sender is to try again.
   */
  readonly settle: (cost: "all" | "one" | "nothing") => void;
}

/** Of a key without limits, which asks nobody. */
export const noCharge: Charge = { spend: async () => ok(true), settle: () => undefined };

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

/**
 * Begins what a request costs: one span of its key's rate, taken before the body is inflated, since that is what costs us.
 * Refused where not even that is left. For keys that have a limit.
 */
export async function openCharge(
  sender: Sender,
  meters: IngressBindings["METER"],
  leases: Leases,
  tally: Tally,
): Promise<Result<Charge, Refusal>> {
  const { record } = sender;
  const account = accountOf(sender);
  if (!leases.has(account) && leases.size >= limits.leasesMax) {
    leases.clear();
  }
  const held = (): Lease => leases.get(account) ?? noLease(Date.now());
  const { spansPerSecond, burstSpans, spansPerMonth } = record;
  const allowed = { spansPerSecond, burstSpans, spansPerMonth };
  const decided = async (step: ReturnType<typeof admit>): Promise<Result<Admitted, Refusal>> => {
    leases.set(account, step.lease);
    const decision = step.decision.kind === "ask" ? await askMeter(step.decision.ask) : step.decision;
    return decision.kind === "refused"
      ? refuse(refusalOf(decision.refused, sender, Date.now()))
      : ok(decision.kind);
  };
  const askMeter = async (ask: Ask): Promise<Exclude<Decision, { kind: "ask" }>> => {
    let answer: Answer | undefined;
    tally.meterCalls++;
    try {
      const meter = meters.get(meters.idFromName(record.tenant));
      const key = { tenant: record.tenant, account, limits: allowed };
      ({ answer } = await within(meter.lease(key, ask), limits.meterTimeoutMs));
    } catch (error) {
      writeLog("error", { message: "the Meter cannot be reached", tenant: record.tenant }, error);
    }
    const now = Date.now();
    const { lease, decision } =
      answer === undefined ? unanswered(held(), ask, now) : answered(held(), allowed, ask, answer, now);
    leases.set(account, lease);
    return decision;
  };

  // A key without a rate has nothing that a look costs.
  let taken: { readonly how: Admitted; readonly spans: number } | undefined;
  if (spansPerSecond !== null) {
    const first = await decided(admitFirst(held(), allowed, Date.now()));
    if (!first.ok) {
      return first;
    }
    taken = { how: first.value, spans: 1 };
  }
  return ok({
    spend: async (spans) => {
      const first = taken?.how;
      taken = undefined;
      const all = await decided(admit(held(), allowed, spans, Date.now(), first));
      if (!all.ok) {
        return all;
      }
      taken = { how: all.value, spans };
      return ok(all.value === "admitted");
    },
    settle: (cost) => {
      if (taken === undefined || cost === "all") {
        return;
      }
      const { how, spans } = taken;
      taken = undefined;
      const isKept = cost === "one" && spansPerSecond !== null;
      leases.set(account, isKept ? keepOne(held(), how, spans) : takeBack(held(), how, spans));
    },
  });
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
