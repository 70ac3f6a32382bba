/**
 * The Meter's side of limits: one account a line of keys (a key and what it was rotated into), kept by one Durable
 * Object a tenant. Spans are the unit.
 *
 * Isolates of the ingress do not ask for each request: they are leased some spans and spend them. A lease is debited
 * when it is granted, so the leases out are never beyond the limits; its size is a share of what is left, so that many
 * isolates find something. Over any T seconds an account admits at most
 *
 *     burst + rate * (T + life of a lease) + one request
 *
 * and in a month at most its quota and one lease's life of the month before. Both leave out what was admitted while the
 * Meter could not be reached; that is reported and debited later.
 *
 * Worked example, rate 100/s, burst 1000, the bucket full: an isolate that has used 20 spans/s asks for a request of 10
 * and 100 more. It is leased 110 (at most an eighth, 125); 890 stay. It asks again about five seconds later.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";

/** What a key's record allows. Null: there is no such limit. */
export interface KeyLimits {
  readonly spansPerSecond: number | null;
  readonly burstSpans: number | null;
  readonly spansPerMonth: number | null;
}

export interface Account {
  /** What the bucket held at `at`; below 0 after a request larger than the burst. Null: no rate was asked about yet. */
  readonly tokens: number | null;
  /** ms since the epoch */
  readonly at: number;
  /** `2026-11`, UTC: the month of `usedSpans`. */
  readonly month: string;
  /** Leased in the month, less what was given back. */
  readonly usedSpans: number;
  /** Which share of the quota people were told about in this month, in percent. */
  readonly reported: 0 | 80 | 100;
}

/** Spans of an earlier lease that were not spent. */
export interface Unused {
  readonly spans: number;
  readonly month: string;
  /** Whether the lease was still alive. One that had run out is not put back into the bucket, which has refilled since. */
  readonly alive: boolean;
}

export interface Ask {
  /** The request's spans: all or none. */
  readonly spans: number;
  /**
   * What the request will likely come to: the first of its spans is taken before the others are counted. Leased where it is
   * there, so that one call is enough.
   */
  readonly likely: number;
  /** What the isolate is likely to use in the next seconds, the request's spans included. */
  readonly wanted: number;
  readonly unused: Unused | null;
  /** Spans that were admitted while the Meter could not be reached. */
  readonly unmetered: number;
  /** Spans of earlier leases that count in the rate alone: of requests that brought nothing to store. */
  readonly rateOnly: { readonly spans: number; readonly month: string } | null;
}

export type LimitKind = "rate" | "month";

export type Answer =
  /** `spans` include the request's own. */
  | { readonly kind: "leased"; readonly spans: number; readonly month: string }
  | {
      readonly kind: "refused";
      readonly limit: LimitKind;
      /** The request could be admitted then, if nobody else takes it. */
      readonly retryAfterMs: number;
      /** What a smaller request could still get. */
      readonly leftSpans: number;
    };

/** What people are told about a quota. */
export interface QuotaNotice {
  readonly month: string;
  readonly percent: 80 | 100;
  readonly state: "open" | "resolved";
  readonly usedSpans: number;
  readonly spansPerMonth: number;
}

/** `2026-11` */
export function monthOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 7);
}

/** The first moment of the month after the one of `timeMs`, ms since the epoch. */
export function nextMonthMs(timeMs: number): number {
  const date = new Date(timeMs);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

/** How many spans may come at once. */
export function burstOf({ burstSpans, spansPerSecond }: KeyLimits): number {
  return spansPerSecond === null
    ? Number.POSITIVE_INFINITY
    : (burstSpans ?? spansPerSecond * limits.meterBurstSeconds);
}

/** Decides one ask at `now` (ms since the epoch). `before` is undefined for an account that was never asked about. */
export function lease(
  before: Account | undefined,
  allowed: KeyLimits,
  ask: Ask,
  now: number,
): { readonly account: Account; readonly answer: Answer; readonly notices: readonly QuotaNotice[] } {
  assert(ask.spans >= 0 && ask.wanted >= ask.spans, "an isolate wants at least the request's spans");
  assert(ask.likely >= ask.spans, "a request comes to at least what it asks for");
  const month = monthOf(now);
  const notices: QuotaNotice[] = [];
  const quota = allowed.spansPerMonth ?? Number.POSITIVE_INFINITY;
  const burst = burstOf(allowed);
  let used = before?.month === month ? before.usedSpans : 0;
  let reported = before?.month === month ? before.reported : 0;
  if (before !== undefined && before.month !== month && allowed.spansPerMonth !== null) {
    const { spansPerMonth } = allowed;
    for (const percent of [80, 100] as const) {
      if (before.reported >= percent) {
        const { usedSpans } = before;
        notices.push({ month: before.month, percent, state: "resolved", usedSpans, spansPerMonth });
      }
    }
  }

  let tokens = refilled(before, allowed, now);
  if (ask.unused !== null) {
    used -= ask.unused.month === month ? Math.min(used, ask.unused.spans) : 0;
    tokens = ask.unused.alive ? Math.min(burst, tokens + ask.unused.spans) : tokens;
  }
  used -= ask.rateOnly?.month === month ? Math.min(used, ask.rateOnly.spans) : 0;
  used += ask.unmetered;
  tokens -= ask.unmetered;

  // A request larger than the burst is admitted by a full bucket, and leaves it in debt.
  const enough = Math.min(ask.spans, burst);
  let answer: Answer;
  if (ask.spans > quota - used) {
    const leftSpans = Math.max(0, quota - used);
    answer = { kind: "refused", limit: "month", retryAfterMs: nextMonthMs(now) - now, leftSpans };
  } else if (tokens < enough) {
    const { spansPerSecond } = allowed;
    assert(spansPerSecond !== null, "a bucket without a rate is never empty");
    const wholeRequest = Math.min(ask.likely, burst);
    const retryAfterMs = Math.ceil(((wholeRequest - tokens) / spansPerSecond) * 1000);
    answer = { kind: "refused", limit: "rate", retryAfterMs, leftSpans: Math.max(0, Math.floor(tokens)) };
  } else {
    const left = Math.min(tokens, quota - used);
    const share = Math.floor(left * limits.meterLeaseShare);
    const likely = Math.min(ask.likely, Math.floor(left));
    const spans = Math.max(ask.spans, likely, Math.min(Math.ceil(ask.wanted), share));
    used += spans;
    tokens -= spans;
    answer = { kind: "leased", spans, month };
  }

  if (allowed.spansPerMonth !== null) {
    const { spansPerMonth } = allowed;
    const refusedByQuota = answer.kind === "refused" && answer.limit === "month";
    const percent = refusedByQuota || used >= quota ? 100 : used >= 0.8 * quota ? 80 : 0;
    for (const step of [80, 100] as const) {
      if (percent >= step && reported < step) {
        reported = step;
        notices.push({ month, percent: step, state: "open", usedSpans: used, spansPerMonth });
      }
    }
  }
  const kept = Number.isFinite(tokens) ? tokens : null;
  return { account: { tokens: kept, at: now, month, usedSpans: used, reported }, answer, notices };
}

/** What the bucket holds at `now`: full at first; without a rate there is no end to it. */
function refilled(before: Account | undefined, allowed: KeyLimits, now: number): number {
  const burst = burstOf(allowed);
  if (before === undefined || before.tokens === null || allowed.spansPerSecond === null) {
    return burst;
  }
  const elapsed = Math.max(0, now - before.at) / 1000;
  return Math.min(burst, before.tokens + elapsed * allowed.spansPerSecond);
}
