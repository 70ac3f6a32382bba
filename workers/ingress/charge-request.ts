/**
 * What a request costs its key: spans and bytes, by the leases that this isolate holds and, where they do not suffice, by the
 * tenant's Meter, in one call for both. A key without limits never asks. A Meter that cannot be reached stops nobody: the
 * request is admitted, counted as such, and what it took is reported later.
 */
import { dependencies } from "../../shared/dependency.ts";
import { limits } from "../../shared/limits.ts";
import {
  type Answers,
  admitLook,
  admitWhole,
  answeredUnits,
  giveBack,
  isKeyLimited,
  type KeyDecision,
  type KeyLease,
  type KeyStep,
  type KeyTaken,
  keepLook,
  keyLimits,
  noKeyLease,
  nothingTaken,
  type PerUnit,
  refusedAtOnce,
  type Unit,
  unansweredUnits,
} from "../../shared/meter/key-limits.ts";
import type { Refused } from "../../shared/meter/lease.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";
import { accountOf, type Sender } from "./authenticate.ts";
import type { IngressBindings } from "./bindings.ts";
import { within } from "./deadline.ts";
import type { Refusal } from "./refusal.ts";
import type { Tally } from "./tally.ts";

/** The leases that this isolate holds, by account. One per Worker instance. */
export type Leases = Map<string, KeyLease>;

/** What a request comes to in the end. */
export type Cost =
  /** The payload is stored. */
  | "all"
  /** The sender is to try again. */
  | "nothing"
  /** It brought nothing to store: looking at it cost so many bytes, and one span. */
  | { readonly lookBytes: number };

/** What a request has taken of its key's limits. */
export interface Charge {
  /** Admits or refuses all of the request. False: admitted, but the Meter could not count it. */
  readonly spend: (whole: PerUnit<number>) => Promise<Result<boolean, Refusal>>;
  /** Once, at the end. */
  readonly settle: (cost: Cost) => void;
}

/** Of a key without limits, which asks nobody. */
export const noCharge: Charge = { spend: async () => ok(true), settle: () => undefined };

export function isCharged({ record }: Sender): boolean {
  return isKeyLimited(keyLimits(record));
}

/**
 * Whether nothing of this key can be admitted at present, however little; decided before the body is read. The request's
 * size is not known yet, so the answer has the delay of the request that was refused last, at most the default: otherwise a
 * small request would inherit a large one's wait, and its exporter would give up.
 */
export function overLimit(sender: Sender, leases: Leases, now: number): Refusal | undefined {
  const lease = leases.get(accountOf(sender));
  const refused = lease === undefined ? undefined : refusedAtOnce(lease, keyLimits(sender.record), now);
  if (refused === undefined) {
    return undefined;
  }
  const { limit, retryAfterMs } = refused.refused;
  const usualMs = limits.retryAfterSeconds * 1000;
  const atMost = limit === "rate" ? Math.min(retryAfterMs, usualMs) : retryAfterMs;
  return refusalOf({ limit, retryAfterMs: atMost }, refused.unit, sender, now);
}

/**
 * Begins what a request costs: one span of its key's rate, and its bytes as received of that of bytes, taken before the body is
 * inflated, since that is what costs us. Refused where not even that is left. For keys that have a limit.
 */
export async function openCharge(
  sender: Sender,
  bodyBytes: number,
  meters: IngressBindings["METER"],
  leases: Leases,
  tally: Tally,
): Promise<Result<Charge, Refusal>> {
  const { record } = sender;
  const account = accountOf(sender);
  if (!leases.has(account) && leases.size >= limits.leasesMax) {
    leases.clear();
  }
  const held = (): KeyLease => leases.get(account) ?? noKeyLease(Date.now());
  const allowed = keyLimits(record);
  let taken: KeyTaken = nothingTaken;
  const decided = async (step: KeyStep): Promise<Result<KeyTaken, Refusal>> => {
    leases.set(account, step.lease);
    const decision = step.decision.kind === "ask" ? await askMeter(step.decision) : step.decision;
    return decision.kind === "refused"
      ? refuse(refusalOf(decision.refused, decision.unit, sender, Date.now()))
      : ok(decision.taken);
  };
  const askMeter = async (ask: Extract<KeyDecision, { kind: "ask" }>) => {
    let answers: Answers | undefined;
    tally.meterCalls++;
    try {
      const meter = meters.get(meters.idFromName(record.tenant));
      const key = { tenant: record.tenant, account, limits: allowed };
      ({ answers } = await within(meter.leaseUnits(key, ask.asks), limits.meterTimeoutMs));
    } catch (error) {
      writeLog(
        "error",
        { message: `${dependencies.meter} does not answer; the request is admitted`, tenant: record.tenant },
        error,
      );
    }
    const now = Date.now();
    const { lease, decision } =
      answers === undefined
        ? unansweredUnits(held(), ask, now)
        : answeredUnits(held(), allowed, ask, answers, now);
    leases.set(account, lease);
    return decision;
  };

  const look = await decided(admitLook(held(), allowed, { spans: 1, bytes: bodyBytes }, Date.now()));
  if (!look.ok) {
    return look;
  }
  taken = look.value;
  return ok({
    spend: async (whole) => {
      const inHand = taken;
      taken = nothingTaken;
      const all = await decided(admitWhole(held(), allowed, whole, inHand, Date.now()));
      if (!all.ok) {
        return all;
      }
      taken = all.value;
      return ok(taken.spans?.how !== "unmetered" && taken.bytes?.how !== "unmetered");
    },
    settle: (cost) => {
      const settled = taken;
      taken = nothingTaken;
      if (cost === "nothing") {
        leases.set(account, giveBack(held(), settled));
      } else if (cost !== "all") {
        leases.set(account, keepLook(held(), allowed, settled, { spans: 1, bytes: cost.lookBytes }));
      }
    },
  });
}

function refusalOf({ limit, retryAfterMs }: Refused, unit: Unit, { record }: Sender, now: number): Refusal {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  const { name } = record;
  if (limit === "rate") {
    return unit === "spans"
      ? {
          reason: "rate_exceeded",
          name,
          perSecond: record.spansPerSecond,
          retryAfterSeconds: seconds,
        }
      : {
          reason: "byte_rate_exceeded",
          name,
          perSecond: record.bytesPerSecond,
          retryAfterSeconds: seconds,
        };
  }
  const retryAfterSeconds = Math.min(seconds, limits.quotaRetryAfterMaxSeconds);
  return unit === "spans"
    ? { reason: "quota_exceeded", name, perMonth: record.spansPerMonth, at: now, retryAfterSeconds }
    : { reason: "byte_quota_exceeded", name, perMonth: record.bytesPerMonth, at: now, retryAfterSeconds };
}
