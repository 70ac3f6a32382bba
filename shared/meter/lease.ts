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
        /** What the refused request likely comes to, and when so many could be admitted. */
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
  /** Spans that were spent and count in the rate alone, not reported to the Meter yet. */
  readonly rateOnly: number;
  /** What the account's last request came to: the next one is likely like it. */
  readonly likely: number;
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
    rateOnly: 0,
    likely: 1,
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

/**
 * Decides the first span of a request whose others are not counted yet: it costs the rate something to find out what a body
 * holds. `admit` decides the whole request, with this span in hand.
 */
export function admitFirst(
  lease: Lease,
  allowed: KeyLimits,
  now: number,
): { readonly lease: Lease; readonly decision: Decision } {
  return decide(lease, allowed, { spans: 1, likely: lease.likely }, now, false);
}

/**
 * Decides a request, or says what to ask the Meter. `first`: its first span was admitted a moment ago, and is given back with
 * this, so that the request is decided as one: one that is larger than the burst needs a full bucket.
 */
export function admit(
  lease: Lease,
  allowed: KeyLimits,
  spans: number,
  now: number,
  first?: Admitted,
): { readonly lease: Lease; readonly decision: Decision } {
  const back = first === undefined ? lease : takeBack(lease, first, 1);
  return decide({ ...back, likely: spans }, allowed, { spans, likely: spans }, now, first !== undefined);
}

export type Admitted = "admitted" | "unmetered";

function decide(
  lease: Lease,
  allowed: KeyLimits,
  { spans, likely }: Pick<Ask, "spans" | "likely">,
  now: number,
  isGoingOn: boolean,
): { readonly lease: Lease; readonly decision: Decision } {
  const alive = now < lease.until && lease.month === monthOf(now);
  if (alive && spans <= lease.spans) {
    return {
      lease: { ...lease, spans: lease.spans - spans, used: lease.used + spans },
      decision: { kind: "admitted" },
    };
  }
  // A pause between two asks is over for a request whose first span was granted.
  const refused =
    isGoingOn && lease.refusal?.limit === "rate" ? undefined : refusedAlready(lease, allowed, spans, now);
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
    likely: Math.max(spans, likely),
    wanted: spans + Math.floor(stock),
    unused: lease.spans > 0 ? { spans: lease.spans, month: lease.month, alive } : null,
    unmetered: lease.unmetered,
    rateOnly: lease.rateOnly > 0 ? { spans: lease.rateOnly, month: lease.month } : null,
  };
  return {
    lease: {
      ...lease,
      spans: 0,
      unmetered: 0,
      rateOnly: 0,
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
        refusal: { limit, spans: ask.likely, retryAt, allowed, ...believed },
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
    lease: withoutMeter(
      {
        ...again,
        unmetered: again.unmetered + ask.unmetered,
        rateOnly: again.rateOnly + (ask.rateOnly?.spans ?? 0),
      },
      ask.spans,
    ),
    decision: { kind: "unmetered" },
  };
}

/** Spans that were admitted cost nothing after all: the request is refused for now, or could not be stored. */
export function takeBack(lease: Lease, how: Admitted, spans: number): Lease {
  return how === "admitted"
    ? { ...lease, spans: lease.spans + spans }
    : { ...lease, unmetered: Math.max(0, lease.unmetered - spans) };
}

/** Of the spans of a request that was admitted one stays spent, in the rate alone: it brought nothing to store. */
export function keepOne(lease: Lease, how: Admitted, spans: number): Lease {
  const back = takeBack(lease, how, how === "admitted" ? spans - 1 : spans);
  return how === "admitted" ? { ...back, rateOnly: back.rateOnly + 1 } : back;
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
