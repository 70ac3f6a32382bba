/**
 * One page of the listing: which of its payloads have not ended, and a ring for those that nobody holds. It only ever
 * rings: a wrong ring costs a claim that finds the id known, and nothing else.
 */
import type { PayloadOutcome } from "../outcome.ts";
import { idOfKey, minuteOfKey, minuteToMs, type PayloadId, type PayloadKey } from "../payload-key.ts";
import { ask, type CronWork, type KeyOutcome, type Listed } from "./effects.ts";
import { idsOf, missingKeys, receiptCounts } from "./join.ts";

export interface JoinedPage {
  /** Keys that have not ended, in order. */
  readonly pending: readonly PayloadKey[];
  /** How many of these the ledger holds: in flight, not notified. */
  readonly held: number;
  readonly notified: number;
  /** Keys without receipt that are so old that it may have expired: neither pending nor notified. */
  readonly expired: readonly PayloadKey[];
}

/** Receipts of minutes before `receiptsFrom` (ms since the epoch) may have expired. */
export function* joinPage(objects: readonly Listed[], receiptsFrom: number): CronWork<JoinedPage> {
  const missing = yield* notEnded(objects.map(({ key }) => key));
  const isExpired = (key: PayloadKey): boolean => minuteToMs(minuteOfKey(key)) < receiptsFrom;
  const expired = missing.filter(isExpired);
  const pending = missing.filter((key) => !isExpired(key));
  if (pending.length === 0) {
    return { pending, held: 0, notified: 0, expired };
  }
  const held = yield* ask("holds", pending);
  const free = pending.filter((_, index) => held[index] !== true);
  // A group may have finished between the two questions: the receipts are read once more before anything is notified.
  const lost = new Set(yield* notEnded(free));
  const doorbells = objects
    .filter(({ key }) => lost.has(key))
    .map(({ key }) => ({ v: 1, key, cause: "reconcile" }) as const);
  if (doorbells.length > 0) {
    yield* ask("ring", doorbells);
  }
  return {
    pending: pending.filter((key, index) => held[index] === true || lost.has(key)),
    held: pending.length - free.length,
    notified: doorbells.length,
    expired,
  };
}

/** Keys without a receipt that counts, of ascending keys. */
function* notEnded(keys: readonly PayloadKey[]): CronWork<readonly PayloadKey[]> {
  if (keys.length === 0) {
    return [];
  }
  const outcomes = yield* ask("outcomes", keys);
  const doubtful = outcomes.filter(({ outcome }) => outcome === "duplicate");
  const worthless = yield* withoutOwner(doubtful);
  const ended = outcomes.filter(({ key }) => !worthless.has(key)).map(({ key }) => key);
  return missingKeys(keys, ended);
}

/** Of keys that are duplicates: those of which no other key is stored, dead or erased. */
function* withoutOwner(duplicates: readonly KeyOutcome[]): CronWork<ReadonlySet<PayloadKey>> {
  if (duplicates.length === 0) {
    return new Set();
  }
  const keys = duplicates.map(({ key }) => key);
  const receipts = yield* ask("receiptsOfIds", idsOf(keys));
  const outcomes = new Map<PayloadId, PayloadOutcome[]>();
  for (const { key, outcome } of receipts) {
    outcomes.set(idOfKey(key), [...(outcomes.get(idOfKey(key)) ?? []), outcome]);
  }
  return new Set(keys.filter((key) => !receiptCounts("duplicate", outcomes.get(idOfKey(key)) ?? [])));
}
