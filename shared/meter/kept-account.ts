/**
 * What is on disk of an account: a little more debited than was. A row that is written costs as much as seven calls of the Meter, and a
 * debit is on disk before its lease is answered; leases that come to no more than what was written ahead are on disk already.
 *
 * Of the month a hundredth of what was leased in it since the Meter started is written ahead: so much counts as used when it starts anew.
 * The first hundred leases are each written as they are; a busy account writes ever more seldom. What is given back beyond that is written
 * too. Of the bucket it is as much as one lease may have, an eighth of what is there.
 *
 * Worked example: 10,000 spans were leased since the start, in leases of 10. What is written has 100 more, which the next ten leases spend.
 */
import { limits } from "../limits.ts";
import { type Account, type Allowance, refilled } from "./account.ts";
import {
  type Answers,
  type Asks,
  type KeyAccount,
  type KeyLimits,
  leaseUnits,
  type PerUnit,
  perUnit,
  type UnitNotice,
  units,
} from "./key-limits.ts";

/** An account as its Meter has it at present. */
export interface MeteredAccount {
  readonly account: KeyAccount;
  /** As it is on disk. */
  readonly kept: KeyAccount;
  /** Leased since the Meter started. */
  readonly leased: PerUnit<number>;
}

const neverAsked: KeyAccount = { spans: undefined, bytes: undefined };

/** `kept`: as it was read from disk; without it nobody has asked yet. */
export function meteredAccount(kept: KeyAccount = neverAsked): MeteredAccount {
  return { account: kept, kept, leased: { spans: 0, bytes: 0 } };
}

export interface MeteredStep {
  /** Where its `kept` is another one than before, it is to be written before the answer is given. */
  readonly metered: MeteredAccount;
  readonly answers: Answers;
  readonly notices: readonly UnitNotice[];
}

/** Decides one call at `now` (ms since the epoch), as `leaseUnits` does, and what is on disk then. */
export function leaseKept(before: MeteredAccount, allowed: KeyLimits, asks: Asks, now: number): MeteredStep {
  const { account, answers, notices } = leaseUnits(before.account, allowed, asks, now);
  const leased = perUnit((unit) => {
    const answer = answers.kind === "leased" ? answers.answers[unit] : null;
    return before.leased[unit] + (answer?.kind === "leased" ? answer.amount : 0);
  });
  const isCovered = units.every((unit) =>
    isUnitCovered(account[unit], before.kept[unit], allowed[unit], leased[unit], now),
  );
  const kept = isCovered
    ? before.kept
    : perUnit((unit) => aheadOf(account[unit], allowed[unit], leased[unit]));
  return { metered: { account, kept, leased }, answers, notices };
}

/** Whether `kept` allows no more than `account` does at `now`, and of the month little less, and has notified of as much. */
function isUnitCovered(
  account: Account | undefined,
  kept: Account | undefined,
  allowed: Allowance,
  leased: number,
  now: number,
): boolean {
  if (account === undefined || kept === undefined) {
    return account === kept;
  }
  return (
    kept.month === account.month &&
    kept.reported === account.reported &&
    kept.used >= account.used &&
    // Further ahead where a lease was given back: a Meter that starts anew would count it for the rest of the month.
    kept.used - account.used <= Math.floor(leased * limits.meterAheadShare) &&
    (kept.tokens === null) === (account.tokens === null) &&
    // Two sums of fractions: a millionth of a span is none.
    refilled(kept, allowed, now) <= refilled(account, allowed, now) + 1e-6
  );
}

/** The account with a little debited ahead, and no more than is left. */
function aheadOf(account: Account | undefined, allowed: Allowance, leased: number): Account | undefined {
  if (account === undefined) {
    return undefined;
  }
  const { used, tokens } = account;
  const quotaLeft = Math.max(0, (allowed.perMonth ?? Number.POSITIVE_INFINITY) - used);
  return {
    ...account,
    used: used + Math.floor(Math.min(leased, used, quotaLeft) * limits.meterAheadShare),
    ahead: tokens === null ? 0 : Math.floor(Math.min(leased, Math.max(0, tokens)) * limits.meterLeaseShare),
  };
}
