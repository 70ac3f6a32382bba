/**
 * An isolate's side of limits: the spans that it was leased, and what it does with the next request. Most requests are
 * decided here, without asking the Meter (account.ts).
 *
 * Worked example: a lease of 110 spans, requests of 10. The first ten are admitted; the eleventh asks, with what was
 * used meanwhile as the measure of what is wanted next. A lease that has run out is not spent: its rest is given back
 * with the next ask.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { type Answer, type Ask, burstOf, type KeyLimits, type LimitKind, monthOf } from "./account.ts";

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
  /** Spans that may still be spent before `until` (ms since the epoch). */
  readonly spans: number;
  readonly until: number;
  readonly month: string;
  /** Spans used since `since`, for the guess of what is needed next. */
  readonly used: number;
  readonly since: number;
  /** An ask is under way that brings more than its request's spans; until then, should its request have been broken off. */
  readonly askingUntil: number;
  /** The Meter's last refusal, believed until `until`. */
  readonly refusal:
    | {
        readonly limit: LimitKind;
        readonly leftSpans: number;
        /** The refused request's spans, and when it could be admitted. */
        readonly spans: number;
        readonly retryAt: number;
        readonly until: number;
        readonly allowed: KeyLimits;
      }
    | undefined;
  /** The Meter refused by rate a moment ago: until then an isolate asks in intervals, whatever it is answered. */
  readonly overUntil: number;
  /** Spans admitted without the Meter, not reported to it yet. */
  readonly unmetered: number;
  /** The Meter is not asked before: it could not be reached a moment ago. */
  readonly askAgainAt: number;
}

export function noLease(now: number): Lease {
  return {
    spans: 0,
    until: 0,
    month: "",
    used: 0,
    since: now,
    askingUntil: 0,
    refusal: undefined,
    overUntil: 0,
    unmetered: 0,
    askAgainAt: 0,
  };
}

/** Whether the key may send at all. Null limits everywhere: the Meter has nothing to say. */
export function isLimited({ spansPerSecond, spansPerMonth }: KeyLimits): boolean {
  return spansPerSecond !== null || spansPerMonth !== null;
}

/** The refusal that a request of so many spans would get at `now` without asking. */
export function refusedAlready(
  { refusal }: Lease,
  allowed: KeyLimits,
  spans: number,
  now: number,
): Refused | undefined {
  if (
    refusal === undefined ||
    now >= refusal.until ||
    spans <= refusal.leftSpans ||
    !sameLimits(refusal.allowed, allowed)
  ) {
    return undefined;
  }
  const { limit, retryAt, until } = refusal;
  if (limit === "month" || allowed.spansPerSecond === null) {
    return { limit, retryAfterMs: Math.max(1, retryAt - now) };
  }
  // A smaller request fits earlier, a larger one later, as long as the bucket takes for the difference.
  const burst = burstOf(allowed);
  const fewer = Math.min(refusal.spans, burst) - Math.min(spans, burst);
  const fitsAt = Math.ceil(retryAt - (fewer / allowed.spansPerSecond) * 1000);
  return { limit, retryAfterMs: Math.max(1, until - now, fitsAt - now) };
}

/** Decides a request, or says what to ask the Meter. */
export function admit(
  lease: Lease,
  allowed: KeyLimits,
  spans: number,
  now: number,
): { readonly lease: Lease; readonly decision: Decision } {
  const alive = now < lease.until && lease.month === monthOf(now);
  if (alive && spans <= lease.spans) {
    return {
      lease: { ...lease, spans: lease.spans - spans, used: lease.used + spans },
      decision: { kind: "admitted" },
    };
  }
  const refused = refusedAlready(lease, allowed, spans, now);
  if (refused !== undefined) {
    return { lease, decision: { kind: "refused", refused } };
  }
  if (now < lease.askAgainAt) {
    return { lease: withoutMeter(lease, spans), decision: { kind: "unmetered" } };
  }
  // One ask at a time brings a stock; those beside it bring what their request needs.
  const elapsed = Math.max(now - lease.since, limits.meterUseMsMin);
  const alone = now >= lease.askingUntil;
  const stock = alone ? (lease.used / elapsed) * limits.meterLeaseUseMs : 0;
  const ask: Ask = {
    spans,
    wanted: spans + Math.floor(stock),
    unused: lease.spans > 0 ? { spans: lease.spans, month: lease.month, alive } : null,
    unmetered: lease.unmetered,
  };
  return {
    lease: {
      ...lease,
      spans: 0,
      unmetered: 0,
      askingUntil: alone ? now + limits.meterTimeoutMs : lease.askingUntil,
      // The guess forgets by halves: what was used long ago says little.
      used: lease.used / 2,
      since: now - elapsed / 2,
    },
    decision: { kind: "ask", ask },
  };
}

/** The Meter answered an ask. `lease` is the present one: other requests may have changed it meanwhile. */
export function answered(
  lease: Lease,
  allowed: KeyLimits,
  ask: Ask,
  answer: Answer,
  now: number,
): { readonly lease: Lease; readonly decision: Exclude<Decision, { kind: "ask" }> } {
  const askingUntil = ask.wanted > ask.spans ? 0 : lease.askingUntil;
  if (answer.kind === "refused") {
    const { limit, leftSpans, retryAfterMs } = answer;
    const retryAt = now + retryAfterMs;
    // Beyond the rate an isolate asks a few times a second, for whatever comes then. Beyond the quota it goes on asking
    // for what still fits.
    const believed =
      limit === "rate"
        ? { leftSpans: 0, until: now + limits.meterRefusalMs }
        : { leftSpans, until: now + Math.min(retryAfterMs, limits.meterQuotaRefusalMs) };
    return {
      lease: {
        ...lease,
        askingUntil,
        refusal: { limit, spans: ask.spans, retryAt, allowed, ...believed },
        overUntil: limit === "rate" ? now + limits.meterOverMs : lease.overUntil,
      },
      decision: { kind: "refused", refused: { limit, retryAfterMs: Math.max(1, retryAfterMs) } },
    };
  }
  const rest = answer.spans - ask.spans;
  assert(rest >= 0, "a lease holds the request's spans");
  const used = lease.used + ask.spans;
  // What is there already keeps its end: a span is spent within one lease's life of its grant. Another month's rest
  // cannot be added to.
  const held = lease.spans > 0 && now < lease.until && lease.month === answer.month ? lease.spans : 0;
  const until = held > 0 ? lease.until : now + limits.meterLeaseMs;
  // Over its rate a key would have a call for each request that is admitted. In intervals there are few, and more to lease.
  const pause = now + limits.meterRefusalMs;
  const refusal =
    now < lease.overUntil
      ? ({ limit: "rate", leftSpans: 0, spans: ask.spans, retryAt: pause, until: pause, allowed } as const)
      : undefined;
  return {
    lease: { ...lease, askingUntil, used, spans: held + rest, until, month: answer.month, refusal },
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
    lease: withoutMeter({ ...again, unmetered: again.unmetered + ask.unmetered }, ask.spans),
    decision: { kind: "unmetered" },
  };
}

/** A request that was admitted by a lease costs nothing after all: it could not be stored, or was stored before. */
export function giveBack(lease: Lease, spans: number): Lease {
  return { ...lease, spans: lease.spans + spans };
}

function withoutMeter(lease: Lease, spans: number): Lease {
  return { ...lease, unmetered: lease.unmetered + spans, used: lease.used + spans };
}

function sameLimits(a: KeyLimits, b: KeyLimits): boolean {
  return (
    a.spansPerSecond === b.spansPerSecond &&
    a.burstSpans === b.burstSpans &&
    a.spansPerMonth === b.spansPerMonth
  );
}
