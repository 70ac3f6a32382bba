/**
 * The balance: accepted = stored + dead + duplicate + erased + expired + in flight, by sets of keys and not by counts, so that
 * one lost and one doubled payload do not cancel out. What is in none of the sets is missing, and is named.
 */
import { assert } from "./assert.ts";
import type { PayloadOutcome } from "./outcome.ts";
import type { PayloadKey } from "./payload-key.ts";

export interface Balance {
  readonly accepted: number;
  readonly stored: number;
  readonly dead: number;
  readonly duplicate: number;
  readonly erased: number;
  readonly expired: number;
  readonly inFlight: number;
  /** Accepted, without receipt, and held by nobody: a ring is due. Sorted. */
  readonly missing: readonly PayloadKey[];
}

/**
 * Adds up one range of keys. `accepted` are the keys that R2 lists; a key with a receipt counts as accepted too, for
 * R2 forgets payloads after the retention. `held` are those that the ledger has in flight.
 */
export function balanceOf(
  accepted: Iterable<PayloadKey>,
  receipts: ReadonlyMap<PayloadKey, PayloadOutcome>,
  held: ReadonlySet<PayloadKey>,
): Balance {
  const counts: Record<PayloadOutcome, number> = { stored: 0, dead: 0, duplicate: 0, erased: 0, expired: 0 };
  for (const outcome of receipts.values()) {
    counts[outcome] += 1;
  }
  const missing: PayloadKey[] = [];
  let inFlight = 0;
  for (const key of new Set(accepted)) {
    if (receipts.has(key)) {
      continue;
    }
    if (held.has(key)) {
      inFlight += 1;
    } else {
      missing.push(key);
    }
  }
  const ended = counts.stored + counts.dead + counts.duplicate + counts.erased + counts.expired;
  assert(ended === receipts.size, "every receipt is in exactly one outcome");
  missing.sort();
  return { accepted: ended + inFlight + missing.length, ...counts, inFlight, missing };
}
