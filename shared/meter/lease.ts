/**
 * An isolate's side of limits: what it was leased of one unit, spans or bytes, and what it does with the next request. Most
 * requests are decided here, without asking the Meter (account.ts). Both units together: key-limits.ts.
 *
 * Worked example: a lease of 110 spans, requests of 10. The first ten are admitted; the eleventh asks, with what was
 * used meanwhile as the measure of what is wanted next. A lease that has run out is not spent: its rest is given back
 * with the next ask.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { type Allowance, type Ask, burstOf, type LimitKind, type MeterAnswer, monthOf } from "./account.ts";

export interface Refused {
  readonly limit: LimitKind;
  /** ms until the request could be admitted, above 0. */
  readonly retryAfterMs: number;
}

export type Decision =
  | { readonly kind: "admitted" }
  /** The Meter cannot be reached: admitted all the same. */
  | { readonly kind: "unmetered" }
  | { readonly kind: "refused"; readonly refused: Refused }
  | { readonly kind: "ask"; readonly ask: Ask };

export interface Lease {
  /** What may still be spent before `until` (ms since the epoch). */
  readonly left: number;
  readonly until: number;
  readonly month: string;
  /** Used since `since`, for the guess of what is needed next. */
  readonly used: number;
  readonly since: number;
  /** An ask is under way that brings more than its request needs; until then, should its request have been broken off. */
  readonly askingUntil: number;
  /** The Meter's last refusal, believed until `until`. */
  readonly refusal:
    | {
        readonly limit: LimitKind;
        readonly left: number;
        /** What the refused request likely comes to, and when so much could be admitted. */
        readonly amount: number;
        readonly retryAt: number;
        readonly until: number;
        readonly allowed: Allowance;
      }
    | undefined;
  /** The Meter refused by rate a moment ago: until then an isolate asks in intervals, whatever it is answered. */
  readonly overUntil: number;
  /** Admitted without the Meter, not reported to it yet. */
  readonly unmetered: number;
  /** What was spent and counts in the rate alone, not reported to the Meter yet. */
  readonly rateOnly: number;
  /** What the account's last request came to: the next one is likely like it. */
  readonly likely: number;
  /** The Meter is not asked before: it could not be reached a moment ago. */
  readonly askAgainAt: number;
}

export function noLease(now: number): Lease {
  return {
    left: 0,
    until: 0,
    month: "",
    used: 0,
    since: now,
    askingUntil: 0,
    refusal: undefined,
    overUntil: 0,
    unmetered: 0,
    rateOnly: 0,
    likely: 1,
    askAgainAt: 0,
  };
}

/** Null limits everywhere: the Meter has nothing to say. */
export function isLimited({ perSecond, perMonth }: Allowance): boolean {
  return perSecond !== null || perMonth !== null;
}

/** The refusal that a request of this amount would get at `now` without asking. */
export function refusedAlready(
  { refusal }: Lease,
  allowed: Allowance,
  amount: number,
  now: number,
): Refused | undefined {
  if (
    refusal === undefined ||
    now >= refusal.until ||
    amount <= refusal.left ||
    !sameLimits(refusal.allowed, allowed)
  ) {
    return undefined;
  }
  const { limit, retryAt, until } = refusal;
  if (limit === "month" || allowed.perSecond === null) {
    return { limit, retryAfterMs: Math.max(1, retryAt - now) };
  }
  // A smaller request fits earlier, a larger one later, as long as the bucket takes for the difference.
  const burst = burstOf(allowed);
  const fewer = Math.min(refusal.amount, burst) - Math.min(amount, burst);
  const fitsAt = Math.ceil(retryAt - (fewer / allowed.perSecond) * 1000);
  return { limit, retryAfterMs: Math.max(1, until - now, fitsAt - now) };
}

/**
 * Decides the first part of a request whose whole is not counted yet: it costs the rate something to find out what a body
 * holds. `admit` decides the whole request, with this part in hand. `isAsking`: the Meter is asked for the other unit anyway.
 */
export function admitFirst(
  lease: Lease,
  allowed: Allowance,
  amount: number,
  now: number,
  isAsking = false,
): Step {
  return decide(lease, allowed, { amount, likely: lease.likely }, now, { isGoingOn: false, isAsking });
}

/**
 * Decides a request, or says what to ask the Meter. `first`: that part was admitted a moment ago, and is given back with this,
 * so that the request is decided as one: one that is larger than the burst needs a full bucket.
 */
export function admit(
  lease: Lease,
  allowed: Allowance,
  amount: number,
  now: number,
  first?: Taken,
  isAsking = false,
): Step {
  const back = first === undefined ? lease : takeBack(lease, first);
  const isGoingOn = first !== undefined;
  return decide({ ...back, likely: amount }, allowed, { amount, likely: amount }, now, {
    isGoingOn,
    isAsking,
  });
}

export interface Step {
  readonly lease: Lease;
  readonly decision: Decision;
}

/** What was admitted of a request, and how. */
export interface Taken {
  readonly how: "admitted" | "unmetered";
  readonly amount: number;
}

function decide(
  lease: Lease,
  allowed: Allowance,
  { amount, likely }: Pick<Ask, "amount" | "likely">,
  now: number,
  { isGoingOn, isAsking }: { readonly isGoingOn: boolean; readonly isAsking: boolean },
): Step {
  const alive = now < lease.until && lease.month === monthOf(now);
  const isHeld = alive && amount <= lease.left;
  if (isHeld && !isAsking) {
    return {
      lease: { ...lease, left: lease.left - amount, used: lease.used + amount },
      decision: { kind: "admitted" },
    };
  }
  // A pause between two asks is over for a request whose first part was granted, and what the lease holds is admitted.
  const isPauseOver = isHeld || (isGoingOn && lease.refusal?.limit === "rate");
  const refused = isPauseOver ? undefined : refusedAlready(lease, allowed, amount, now);
  if (refused !== undefined) {
    return { lease, decision: { kind: "refused", refused } };
  }
  if (now < lease.askAgainAt) {
    return { lease: withoutMeter(lease, amount), decision: { kind: "unmetered" } };
  }
  // One ask at a time brings a stock; those beside it bring what their request needs.
  const elapsed = Math.max(now - lease.since, limits.meterUseMsMin);
  const alone = now >= lease.askingUntil;
  const stock = alone ? (lease.used / elapsed) * limits.meterLeaseUseMs : 0;
  const ask: Ask = {
    amount,
    likely: Math.max(amount, likely),
    wanted: amount + Math.floor(stock),
    unused: lease.left > 0 ? { amount: lease.left, month: lease.month, alive } : null,
    unmetered: lease.unmetered,
    rateOnly: lease.rateOnly > 0 ? { amount: lease.rateOnly, month: lease.month } : null,
  };
  return {
    lease: {
      ...lease,
      left: 0,
      unmetered: 0,
      rateOnly: 0,
      askingUntil: alone ? now + limits.meterTimeoutMs : lease.askingUntil,
      // The estimate decays: what was used long ago says little.
      used: lease.used / 2,
      since: now - elapsed / 2,
    },
    decision: { kind: "ask", ask },
  };
}

/** The Meter answered an ask. `lease` is the present one: other requests may have changed it meanwhile. */
export function answered(
  lease: Lease,
  allowed: Allowance,
  ask: Ask,
  answer: MeterAnswer,
  now: number,
): { readonly lease: Lease; readonly decision: Exclude<Decision, { kind: "ask" }> } {
  const askingUntil = ask.wanted > ask.amount ? 0 : lease.askingUntil;
  if (answer.kind === "refused") {
    const { limit, left, retryAfterMs } = answer;
    const retryAt = now + retryAfterMs;
    // Beyond the rate an isolate asks a few times a second, for whatever comes then. Beyond the quota it goes on asking
    // for what still fits.
    const believed =
      limit === "rate"
        ? { left: 0, until: now + limits.meterRefusalMs }
        : { left, until: now + Math.min(retryAfterMs, limits.meterQuotaRefusalMs) };
    return {
      lease: {
        ...lease,
        askingUntil,
        refusal: { limit, amount: ask.likely, retryAt, allowed, ...believed },
        overUntil: limit === "rate" ? now + limits.meterOverMs : lease.overUntil,
      },
      decision: { kind: "refused", refused: { limit, retryAfterMs: Math.max(1, retryAfterMs) } },
    };
  }
  const rest = answer.amount - ask.amount;
  assert(rest >= 0, "a lease holds the request's amount");
  const used = lease.used + ask.amount;
  // What is there already keeps its end: what is leased is spent within one lease's life of its grant. Another month's rest
  // cannot be added to.
  const held = lease.left > 0 && now < lease.until && lease.month === answer.month ? lease.left : 0;
  const until = held > 0 ? lease.until : now + limits.meterLeaseMs;
  // Over its rate a key would have a call for each request that is admitted. In intervals there are few, and more to lease.
  const pause = now + limits.meterRefusalMs;
  const refusal =
    now < lease.overUntil
      ? ({ limit: "rate", left: 0, amount: ask.amount, retryAt: pause, until: pause, allowed } as const)
      : undefined;
  return {
    lease: { ...lease, askingUntil, used, left: held + rest, until, month: answer.month, refusal },
    decision: { kind: "admitted" },
  };
}

/** The Meter did not answer. What was given back with the ask may be lost: it was debited, so the limits hold. */
export function unanswered(
  lease: Lease,
  ask: Ask,
  now: number,
): { readonly lease: Lease; readonly decision: { readonly kind: "unmetered" } } {
  const again = { ...lease, askingUntil: 0, askAgainAt: now + limits.meterAskAgainMs };
  return {
    lease: withoutMeter(
      {
        ...again,
        unmetered: again.unmetered + ask.unmetered,
        rateOnly: again.rateOnly + (ask.rateOnly?.amount ?? 0),
      },
      ask.amount,
    ),
    decision: { kind: "unmetered" },
  };
}

/** What was admitted costs nothing after all: the request is refused for now, or could not be stored. */
export function takeBack(lease: Lease, { how, amount }: Taken): Lease {
  return how === "admitted"
    ? { ...lease, left: lease.left + amount }
    : { ...lease, unmetered: Math.max(0, lease.unmetered - amount) };
}

/**
 * Of a request that brought nothing to store `kept` stays spent, in the rate alone. It may be more than what was taken, since
 * the size is known only after the body was read: the rest comes from the lease, or is debited with the next ask.
 */
export function keepInRate(lease: Lease, taken: Taken, kept: number): Lease {
  const back = takeBack(lease, taken);
  if (taken.how === "unmetered") {
    return back;
  }
  const spent = Math.min(back.left, kept);
  const owed = kept - spent;
  return {
    ...back,
    left: back.left - spent,
    unmetered: back.unmetered + owed,
    rateOnly: back.rateOnly + kept,
  };
}

function withoutMeter(lease: Lease, amount: number): Lease {
  return { ...lease, unmetered: lease.unmetered + amount, used: lease.used + amount };
}

function sameLimits(a: Allowance, b: Allowance): boolean {
  return a.perSecond === b.perSecond && a.burst === b.burst && a.perMonth === b.perMonth;
}
