/**
 * Minutes whose sums changed after they were sealed: a dead letter was replayed, a payload erased, a row inserted again.
 * The ledger notes a minute when it leases receipts of it and when these are written; until the reconciler has sealed
 * it anew, the sums (page, /metrics) are of its receipts and not of its row. A note that says too much costs one
 * question, so none is spared; one that says too little would leave a sum wrong for good.
 */

import { MINUTE_MS } from "../limits.ts";
import { minuteOfKey, minuteToMs } from "../payload-key.ts";
import type { Receipt } from "../receipt.ts";
import { type Checkpoint, isOpen } from "./checkpoint.ts";

export interface ChangedMinute {
  /** Its start, ms since the epoch. */
  readonly minute: number;
  /** Another one at each note, so that a note that came while it was sealed anew is not taken for the one before. */
  readonly stamp: number;
}

/**
 * The minutes of these receipts that may be sealed by the time that they are written. Sealed at the earliest `ageMs` after
 * its end; half of that is longer than receipts are leased for. An erased payload's object goes, so that its minute
 * may be passed over as an empty one, however young.
 */
export function minutesToNote(
  receipts: readonly Pick<Receipt, "key" | "outcome">[],
  now: number,
  ageMs: number,
): readonly number[] {
  const minutes = new Set<number>();
  for (const { key, outcome } of receipts) {
    const minute = minuteToMs(minuteOfKey(key));
    if (outcome === "erased" || minute + MINUTE_MS + ageMs / 2 <= now) {
      minutes.add(minute);
    }
  }
  return [...minutes];
}

/** Those that are sealed now; the others are sealed with what their receipts say then. */
export function sealedOf(
  changed: readonly ChangedMinute[],
  checkpoint: Checkpoint,
): readonly ChangedMinute[] {
  return changed.filter(({ minute }) => !isOpen(checkpoint, minute));
}
