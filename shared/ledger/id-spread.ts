/**
 * Which ids lie together by their content time. A row of ids is looked into for every id that lies between its first and its
 * last: one whose clock is a year ahead would have it looked into for all that comes in that year. So what lies apart is kept
 * apart.
 */
import { copyBytes, placeOfId, runBytes } from "./id-records.ts";

/** Ids whose content is so many minutes apart at most are near each other. */
const nearMinutes = 32;

/** Of minutes in their order: which have so many near them, themselves included? */
export function crowded(minutes: readonly number[], least: number): readonly boolean[] {
  let from = 0;
  let to = 0;
  return minutes.map((minute) => {
    while ((minutes[from] ?? minute) < minute - nearMinutes) {
      from++;
    }
    while (to < minutes.length && (minutes[to] ?? minute) <= minute + nearMinutes) {
      to++;
    }
    return to - from >= least;
  });
}

/** A run's records are split into rows of this size, so that a look for one id reads little. */
const rowBytesMax = 65_536;
/** Of a run's records one is crowded where so large a part of them is near. */
const crowdedShare = 1 / 16;

/**
 * The records of a run as rows. What lies apart is in rows of its own, and those are wide; no other row has a gap.
 * Example: 12,000 ids of the last minute, 20 of yesterday and one of next year are five rows of that minute, and one of 21 ids.
 */
export function rowsOfRun(records: Uint8Array): readonly Uint8Array[] {
  const count = records.length / runBytes;
  const minutes = Array.from({ length: count }, (_, i) => placeOfId(records, i * runBytes) >>> 8);
  const isCrowded = crowded(minutes, Math.ceil(count * crowdedShare));
  const together = new RowCutter(nearMinutes);
  const apart = new RowCutter(Number.POSITIVE_INFINITY);
  for (const [i, minute] of minutes.entries()) {
    (isCrowded[i] === true ? together : apart).add(i * runBytes, minute);
  }
  return [...together.take(records), ...apart.take(records)];
}

/** Cuts records into rows: where one is full, and where the next record is further away than `gapMax` minutes. */
class RowCutter {
  readonly #gapMax: number;
  /** Where its records begin among all. */
  readonly #rows: number[][] = [];
  #last = 0;

  constructor(gapMax: number) {
    this.#gapMax = gapMax;
  }

  add(record: number, minute: number): void {
    const row = this.#rows.at(-1);
    if (
      row === undefined ||
      (row.length + 1) * runBytes > rowBytesMax ||
      minute - this.#last > this.#gapMax
    ) {
      this.#rows.push([record]);
    } else {
      row.push(record);
    }
    this.#last = minute;
  }

  take(records: Uint8Array): readonly Uint8Array[] {
    return this.#rows.map((row) => {
      const bytes = new Uint8Array(row.length * runBytes);
      for (const [i, at] of row.entries()) {
        copyBytes(records, at, bytes, i * runBytes, runBytes);
      }
      return bytes;
    });
  }
}
