/**
 * How things end: the closed lists that logs, answers, receipts and SQL share. A value that is in none of them is a
 * bug, and the compiler says so.
 */

/**
 * How the key of an accepted payload ended: a value of `headrace_receipts`. `expired`: all of its rows were older than the
 * table's TTL.
 */
export const payloadOutcomes = ["stored", "dead", "duplicate", "erased", "expired"] as const;
export type PayloadOutcome = (typeof payloadOutcomes)[number];

/**
 * Which of two receipts of one key holds (ReplacingMergeTree's version column). `erased` is a person's decision,
 * `stored` beats a wrong death, `dead` is the weakest claim. `expired` gives way to `stored`, should the TTL be made longer.
 */
export const outcomeRank: Readonly<Record<PayloadOutcome, number>> = {
  erased: 4,
  stored: 3,
  duplicate: 2,
  expired: 2,
  dead: 1,
};

/** Why a request was never accepted. */
export const refusalOutcomes = [
  "unauthenticated",
  "forbidden",
  "over_quota",
  "rate_limited",
  "malformed",
  "too_large",
  "unsupported",
  "unavailable",
] as const;

/**
 * How a request ended at the ingress: `accepted` (the receipts say how its payload ends), or why it was not.
 * `sampled` is that of spans which the key's sampling rate left out, and of requests that had no others.
 */
export const requestOutcomes = ["accepted", "sampled", "empty", ...refusalOutcomes] as const;
export type RequestOutcome = (typeof requestOutcomes)[number];

const refusals: ReadonlySet<string> = new Set(refusalOutcomes);

/** Was a request that ended so never accepted? */
export function isRefusal(outcome: string): boolean {
  return refusals.has(outcome);
}
