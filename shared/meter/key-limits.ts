/**
 * A key's limits: allowances of spans and of bytes, each per second and per month. A request needs both, so both are asked for
 * in one call of the Meter, and both are admitted or neither. The rules of one unit are in account.ts (the Meter's side) and
 * lease.ts (an isolate's).
 *
 * Bytes are those of a body without its content encoding, or as received where that is more: what we inflate, convert and store.
 * There is no limit per span.
 */
import { assert } from "../assert.ts";
import {
  type Account,
  type Allowance,
  type Ask,
  lease,
  type MeterAnswer,
  type QuotaNotice,
} from "./account.ts";
import {
  admit,
  admitFirst,
  answered,
  isLimited,
  keepInRate,
  type Lease,
  noLease,
  type Refused,
  refusedAlready,
  type Step,
  type Taken,
  takeBack,
  unanswered,
} from "./lease.ts";

export type Unit = "spans" | "bytes";
export type PerUnit<T> = Readonly<Record<Unit, T>>;
export const units: readonly Unit[] = ["spans", "bytes"];

export type KeyLimits = PerUnit<Allowance>;

/** As they stand in a key's record. */
export interface LimitFields {
  readonly spansPerSecond: number | null;
  readonly burstSpans: number | null;
  readonly spansPerMonth: number | null;
  readonly bytesPerSecond: number | null;
  readonly burstBytes: number | null;
  readonly bytesPerMonth: number | null;
}

export function keyLimits(fields: LimitFields): KeyLimits {
  return {
    spans: { perSecond: fields.spansPerSecond, burst: fields.burstSpans, perMonth: fields.spansPerMonth },
    bytes: { perSecond: fields.bytesPerSecond, burst: fields.burstBytes, perMonth: fields.bytesPerMonth },
  };
}

/** Whether the Meter has anything to say of this key. */
export function isKeyLimited({ spans, bytes }: KeyLimits): boolean {
  return isLimited(spans) || isLimited(bytes);
}

export function perUnit<T>(of: (unit: Unit) => T): PerUnit<T> {
  return { spans: of("spans"), bytes: of("bytes") };
}

// --- the Meter's side

/** What the Meter keeps per line of keys. Undefined: that unit was never asked about. */
export type KeyAccount = PerUnit<Account | undefined>;

/** What an isolate asks in one call. Null: that unit is not asked about. */
export type Asks = PerUnit<Ask | null>;

export type Answers =
  | { readonly kind: "leased"; readonly answers: PerUnit<MeterAnswer | null> }
  | {
      readonly kind: "refused";
      readonly unit: Unit;
      readonly answer: Extract<MeterAnswer, { kind: "refused" }>;
    };

export interface UnitNotice extends QuotaNotice {
  readonly unit: Unit;
}

/** Decides one call at `now` (ms since the epoch). Where one unit is refused, the other one is debited nothing. */
export function leaseUnits(
  before: KeyAccount,
  allowed: KeyLimits,
  asks: Asks,
  now: number,
): {
  readonly account: KeyAccount;
  readonly answers: Answers;
  readonly notices: readonly UnitNotice[];
} {
  let decided = perUnit((unit) => leaseUnit(before, allowed, unit, asks[unit], now));
  let refused: Extract<Answers, { kind: "refused" }> | undefined;
  for (const unit of units) {
    const answer = decided[unit]?.answer;
    if (answer?.kind === "refused" && answer.retryAfterMs > (refused?.answer.retryAfterMs ?? 0)) {
      refused = { kind: "refused", unit, answer };
    }
  }
  if (refused !== undefined) {
    // What the other unit gives back and reports counts all the same.
    const other: Unit = refused.unit === "spans" ? "bytes" : "spans";
    const ask = asks[other];
    const reported = ask === null ? null : { ...ask, amount: 0, likely: 0, wanted: 0 };
    decided = { ...decided, [other]: leaseUnit(before, allowed, other, reported, now) };
  }
  return {
    account: perUnit((unit) => decided[unit]?.account ?? before[unit]),
    answers: refused ?? { kind: "leased", answers: perUnit((unit) => decided[unit]?.answer ?? null) },
    notices: units.flatMap((unit) => (decided[unit]?.notices ?? []).map((notice) => ({ ...notice, unit }))),
  };
}

function leaseUnit(before: KeyAccount, allowed: KeyLimits, unit: Unit, ask: Ask | null, now: number) {
  return ask === null ? undefined : lease(before[unit], allowed[unit], ask, now);
}

// --- an isolate's side

/** What an isolate holds of an account. */
export type KeyLease = PerUnit<Lease>;

export function noKeyLease(now: number): KeyLease {
  return perUnit(() => noLease(now));
}

/** What a request has taken. Undefined: that unit has no limit, or nothing of it was taken yet. */
export type KeyTaken = PerUnit<Taken | undefined>;
export const nothingTaken: KeyTaken = { spans: undefined, bytes: undefined };

export type KeyDecision =
  | { readonly kind: "taken"; readonly taken: KeyTaken }
  | { readonly kind: "refused"; readonly unit: Unit; readonly refused: Refused }
  /** `taken`: of the unit that is not asked about. */
  | { readonly kind: "ask"; readonly asks: Asks; readonly taken: KeyTaken };

export interface KeyStep {
  readonly lease: KeyLease;
  readonly decision: KeyDecision;
}

/**
 * The refusal of a request of whatever size, without asking; undefined where the lease holds something. How large the request
 * is, nobody knows yet: its time is the one of the request that was refused.
 */
export function refusedAtOnce(
  held: KeyLease,
  allowed: KeyLimits,
  now: number,
): { readonly unit: Unit; readonly refused: Refused } | undefined {
  for (const unit of units) {
    const { left, refusal } = held[unit];
    if (left > 0 || !isLimited(allowed[unit]) || refusal === undefined) {
      continue;
    }
    const least = refusedAlready(held[unit], allowed[unit], 1, now);
    const refused =
      least === undefined ? undefined : refusedAlready(held[unit], allowed[unit], refusal.amount, now);
    if (refused !== undefined) {
      return { unit, refused };
    }
  }
  return undefined;
}

/** Decides what looking at a body costs before it is inflated: of the rates alone, since it may bring nothing to store. */
export function admitLook(held: KeyLease, allowed: KeyLimits, look: PerUnit<number>, now: number): KeyStep {
  return decideUnits(held, look, nothingTaken, (unit, isAsking) =>
    allowed[unit].perSecond === null
      ? undefined
      : admitFirst(held[unit], allowed[unit], look[unit], now, isAsking),
  );
}

/** Decides the whole request, with what its look took in hand. */
export function admitWhole(
  held: KeyLease,
  allowed: KeyLimits,
  whole: PerUnit<number>,
  look: KeyTaken,
  now: number,
): KeyStep {
  return decideUnits(held, whole, look, (unit, isAsking) =>
    isLimited(allowed[unit])
      ? admit(held[unit], allowed[unit], whole[unit], now, look[unit], isAsking)
      : undefined,
  );
}

/** `step`: undefined for a unit without a limit. */
function decideUnits(
  held: KeyLease,
  amounts: PerUnit<number>,
  inHand: KeyTaken,
  step: (unit: Unit, isAsking: boolean) => Step | undefined,
): KeyStep {
  let steps = perUnit((unit) => step(unit, false));
  const refused = refusedIn(steps);
  if (refused !== undefined) {
    return { lease: afterRefusal(held, inHand, steps, refused.unit), decision: refused };
  }
  const isAsking = units.some((unit) => steps[unit]?.decision.kind === "ask");
  if (isAsking) {
    // One call brings a stock of both units.
    steps = perUnit((unit) => step(unit, true));
  }
  const asks = perUnit((unit) => {
    const decision = steps[unit]?.decision;
    return decision?.kind === "ask" ? decision.ask : null;
  });
  const taken = perUnit((unit): Taken | undefined => {
    const how = steps[unit]?.decision.kind;
    return how === "admitted" || how === "unmetered" ? { how, amount: amounts[unit] } : undefined;
  });
  const lease = perUnit((unit) => steps[unit]?.lease ?? held[unit]);
  return { lease, decision: isAsking ? { kind: "ask", asks, taken } : { kind: "taken", taken } };
}

function refusedIn(steps: PerUnit<Step | undefined>): Extract<KeyDecision, { kind: "refused" }> | undefined {
  let worst: Extract<KeyDecision, { kind: "refused" }> | undefined;
  for (const unit of units) {
    const decision = steps[unit]?.decision;
    if (decision?.kind === "refused" && decision.refused.retryAfterMs > (worst?.refused.retryAfterMs ?? 0)) {
      worst = { kind: "refused", unit, refused: decision.refused };
    }
  }
  return worst;
}

/** What the request had in hand is given back; nothing else is taken. */
function afterRefusal(
  held: KeyLease,
  inHand: KeyTaken,
  steps: PerUnit<Step | undefined>,
  refused: Unit,
): KeyLease {
  return perUnit((unit) => {
    const given = inHand[unit];
    return unit === refused
      ? (steps[unit]?.lease ?? held[unit])
      : given === undefined
        ? held[unit]
        : takeBack(held[unit], given);
  });
}

/** The Meter answered. `held` is the present lease: other requests may have changed it meanwhile. */
export function answeredUnits(
  held: KeyLease,
  allowed: KeyLimits,
  { asks, taken }: Extract<KeyDecision, { kind: "ask" }>,
  answers: Answers,
  now: number,
): { readonly lease: KeyLease; readonly decision: Exclude<KeyDecision, { kind: "ask" }> } {
  if (answers.kind === "refused") {
    const { unit: refusedUnit, answer } = answers;
    const ask = asks[refusedUnit];
    assert(ask !== null, "the Meter refuses what it is asked");
    const { lease: after, decision } = answered(held[refusedUnit], allowed[refusedUnit], ask, answer, now);
    assert(decision.kind === "refused", "a refused ask is a refusal");
    const lease = perUnit((unit) => {
      if (unit === refusedUnit) {
        return after;
      }
      const given = taken[unit];
      const present = given === undefined ? held[unit] : takeBack(held[unit], given);
      return asks[unit] === null ? present : { ...present, askingUntil: 0 };
    });
    return { lease, decision: { kind: "refused", unit: refusedUnit, refused: decision.refused } };
  }
  const lease = perUnit((unit) => {
    const [ask, answer] = [asks[unit], answers.answers[unit]];
    return ask === null || answer === null
      ? held[unit]
      : answered(held[unit], allowed[unit], ask, answer, now).lease;
  });
  const all = perUnit((unit): Taken | undefined => {
    const ask = asks[unit];
    return ask === null ? taken[unit] : { how: "admitted", amount: ask.amount };
  });
  return { lease, decision: { kind: "taken", taken: all } };
}

/** The Meter did not answer. */
export function unansweredUnits(
  held: KeyLease,
  { asks, taken }: Extract<KeyDecision, { kind: "ask" }>,
  now: number,
): { readonly lease: KeyLease; readonly decision: Extract<KeyDecision, { kind: "taken" }> } {
  const lease = perUnit((unit) => {
    const ask = asks[unit];
    return ask === null ? held[unit] : unanswered(held[unit], ask, now).lease;
  });
  const all = perUnit((unit): Taken | undefined => {
    const ask = asks[unit];
    return ask === null ? taken[unit] : { how: "unmetered", amount: ask.amount };
  });
  return { lease, decision: { kind: "taken", taken: all } };
}

/** Everything that was taken is given back. */
export function giveBack(held: KeyLease, taken: KeyTaken): KeyLease {
  return perUnit((unit) => {
    const given = taken[unit];
    return given === undefined ? held[unit] : takeBack(held[unit], given);
  });
}

/** Of what was taken, what the look at the body costs stays spent, where the unit has a rate, and in the rate alone. */
export function keepLook(
  held: KeyLease,
  allowed: KeyLimits,
  taken: KeyTaken,
  look: PerUnit<number>,
): KeyLease {
  return perUnit((unit) => {
    const given = taken[unit];
    if (given === undefined) {
      return held[unit];
    }
    return allowed[unit].perSecond === null
      ? takeBack(held[unit], given)
      : keepInRate(held[unit], given, look[unit]);
  });
}
