/**
 * The Meter's side of limits: one account per line of keys (a key and what it was rotated into), kept by one Durable
 * Object per tenant. Spans are counted, and bytes; each has an account of its own by the same rules, and the amounts below
 * are of either (key-limits.ts has both).
 *
 * Isolates of the ingress do not ask for each request: they are leased some amount and spend it. A lease is debited
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

/** What a key's record allows of one unit. Null: there is no such limit. */
export interface Allowance {
  readonly perSecond: number | null;
  /** How much may come at once. */
  readonly burst: number | null;
  readonly perMonth: number | null;
}

export interface Account {
  /** What the bucket held at `at`; below 0 after a request larger than the burst. Null: no rate was asked about yet. */
  readonly tokens: number | null;
  /** ms since the epoch */
  readonly at: number;
  /** Of the bucket as it is refilled, however full, this is spent. 0 but for what is on disk (kept-account.ts). */
  readonly ahead: number;
  /** `2026-11`, UTC: the month of `used`. */
  readonly month: string;
  /** Leased in the month, less what was given back. */
  readonly used: number;
  /** Which share of the quota people were notified of in this month, in percent. */
  readonly reported: 0 | 80 | 100;
}

/** What was not spent of an earlier lease. */
interface Unused {
  readonly amount: number;
  readonly month: string;
  /** Whether the lease was still alive. One that had run out is not put back into the bucket, which has refilled since. */
  readonly alive: boolean;
}

export interface Ask {
  /** What the request needs: all or nothing. */
  readonly amount: number;
  /**
   * What the request will likely come to: a part of it is taken before the rest is counted. Leased where it is there, so that
   * one call is enough.
   */
  readonly likely: number;
  /** What the isolate is likely to use in the next seconds, the request's amount included. */
  readonly wanted: number;
  readonly unused: Unused | null;
  /** What was admitted while the Meter could not be reached. */
  readonly unmetered: number;
  /** What of earlier leases counts in the rate alone: of requests that brought nothing to store. */
  readonly rateOnly: { readonly amount: number; readonly month: string } | null;
}

export type LimitKind = "rate" | "month";

export type MeterAnswer =
  /** `amount` includes the request's own. */
  | { readonly kind: "leased"; readonly amount: number; readonly month: string }
  | {
      readonly kind: "refused";
      readonly limit: LimitKind;
      /** The request could be admitted then, if nobody else takes it. */
      readonly retryAfterMs: number;
      /** What a smaller request could still get. */
      readonly left: number;
    };

/** What people are notified of, of a quota. */
export interface QuotaNotice {
  readonly month: string;
  readonly percent: 80 | 100;
  readonly state: "open" | "resolved";
  readonly used: number;
  readonly perMonth: number;
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

/** How much may come at once. */
export function burstOf({ burst, perSecond }: Allowance): number {
  return perSecond === null ? Number.POSITIVE_INFINITY : (burst ?? perSecond * limits.meterBurstSeconds);
}

/** Decides one ask at `now` (ms since the epoch). `before` is undefined for an account that was never asked about. */
export function lease(
  before: Account | undefined,
  allowed: Allowance,
  ask: Ask,
  now: number,
): { readonly account: Account; readonly answer: MeterAnswer; readonly notices: readonly QuotaNotice[] } {
  assert(ask.amount >= 0 && ask.wanted >= ask.amount, "an isolate wants at least the request's amount");
  assert(ask.likely >= ask.amount, "a request comes to at least what it asks for");
  const month = monthOf(now);
  const notices: QuotaNotice[] = [];
  const quota = allowed.perMonth ?? Number.POSITIVE_INFINITY;
  const burst = burstOf(allowed);
  let used = before?.month === month ? before.used : 0;
  let reported = before?.month === month ? before.reported : 0;
  if (before !== undefined && before.month !== month && allowed.perMonth !== null) {
    const { perMonth } = allowed;
    // Both: a queue may have brought the end of the first one before its beginning.
    for (const percent of [80, 100] as const) {
      if (before.reported >= percent) {
        notices.push({ month: before.month, percent, state: "resolved", used: before.used, perMonth });
      }
    }
  }

  let tokens = refilled(before, allowed, now);
  if (ask.unused !== null) {
    used -= ask.unused.month === month ? Math.min(used, ask.unused.amount) : 0;
    tokens = ask.unused.alive ? Math.min(burst, tokens + ask.unused.amount) : tokens;
  }
  used += ask.unmetered;
  used -= ask.rateOnly?.month === month ? Math.min(used, ask.rateOnly.amount) : 0;
  tokens -= ask.unmetered;

  // A request larger than the burst is admitted by a full bucket, and leaves it in debt.
  const enough = Math.min(ask.amount, burst);
  // What its isolate holds already, and asks about because of the other unit, is not taken away by another one's debt.
  const isHeld = ask.unused?.alive === true && ask.unused.amount >= ask.amount;
  let answer: MeterAnswer;
  if (ask.amount > quota - used) {
    const left = Math.max(0, quota - used);
    answer = { kind: "refused", limit: "month", retryAfterMs: nextMonthMs(now) - now, left };
  } else if (tokens < enough && !isHeld) {
    const { perSecond } = allowed;
    assert(perSecond !== null, "a bucket without a rate is never empty");
    const wholeRequest = Math.min(ask.likely, burst);
    const retryAfterMs = Math.ceil(((wholeRequest - tokens) / perSecond) * 1000);
    answer = { kind: "refused", limit: "rate", retryAfterMs, left: Math.max(0, Math.floor(tokens)) };
  } else {
    const rest = Math.min(tokens, quota - used);
    const share = Math.floor(rest * limits.meterLeaseShare);
    const likely = Math.min(ask.likely, Math.floor(rest));
    const amount = Math.max(ask.amount, likely, Math.min(Math.ceil(ask.wanted), share));
    used += amount;
    tokens -= amount;
    answer = { kind: "leased", amount, month };
  }

  if (allowed.perMonth !== null) {
    const { perMonth } = allowed;
    const refusedByQuota = answer.kind === "refused" && answer.limit === "month";
    const percent = refusedByQuota || used >= quota ? 100 : used >= 0.8 * quota ? 80 : 0;
    if (percent > reported) {
      // What is used up is not nearly used up any more: one of the two is open.
      if (reported === 80) {
        notices.push({ month, percent: 80, state: "resolved", used, perMonth });
      }
      notices.push({ month, percent: percent === 100 ? 100 : 80, state: "open", used, perMonth });
      reported = percent;
    }
  }
  const kept = Number.isFinite(tokens) ? tokens : null;
  return { account: { tokens: kept, at: now, ahead: 0, month, used, reported }, answer, notices };
}

/** What the bucket holds at `now`: full at first; without a rate there is no end to it. */
export function refilled(before: Account | undefined, allowed: Allowance, now: number): number {
  const burst = burstOf(allowed);
  if (before === undefined || before.tokens === null || allowed.perSecond === null) {
    return burst;
  }
  const elapsed = Math.max(0, now - before.at) / 1000;
  return Math.min(burst, before.tokens + elapsed * allowed.perSecond) - before.ahead;
}
