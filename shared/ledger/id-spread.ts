/**
 * Which ids lie together by their content time. A row of ids is looked into for every id that lies between its first and its
 * last: one whose clock is a year ahead would have it looked into for all that comes in that year. So what lies apart is kept
 * apart.
 */
import { placeOfId, runBytes } from "./id-records.ts";

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
  const together = new RowCutter(records, nearMinutes);
  const apart = new RowCutter(records, Number.POSITIVE_INFINITY);
  for (const [i, minute] of minutes.entries()) {
    (isCrowded[i] === true ? together : apart).add(i * runBytes, minute);
  }
  return [...together.take(), ...apart.take()];
}

/** Cuts records into rows: where one is full, and where the next record is further away than `gapMax` minutes. */
class RowCutter {
  readonly #records: Uint8Array;
  readonly #gapMax: number;
  /** Each as the parts of `records` that it is of, one behind the other. */
  readonly #rows: Uint8Array[] = [];
  #parts: { from: number; to: number }[] = [];
  #bytes = 0;
  #last = 0;

  constructor(records: Uint8Array, gapMax: number) {
    this.#records = records;
    this.#gapMax = gapMax;
  }

  add(from: number, minute: number): void {
    if (this.#bytes + runBytes > rowBytesMax || minute - this.#last > this.#gapMax) {
      this.#cut();
    }
    const part = this.#parts.at(-1);
    if (part?.to === from) {
      part.to += runBytes;
    } else {
      this.#parts.push({ from, to: from + runBytes });
    }
    this.#bytes += runBytes;
    this.#last = minute;
  }

  take(): readonly Uint8Array[] {
    this.#cut();
    return this.#rows;
  }

  #cut(): void {
    if (this.#bytes > 0) {
      const row = new Uint8Array(this.#bytes);
      let at = 0;
      for (const { from, to } of this.#parts) {
        row.set(this.#records.subarray(from, to), at);
        at += to - from;
      }
      this.#rows.push(row);
    }
    this.#parts = [];
    this.#bytes = 0;
  }
}
