/**
 * Which rows of ids there are, in memory: a look for ids reads those rows only that may have them. Columns of plain numbers,
 * 32 bytes per row, in the order of the rows' numbers: an outage of a week has 600,000 of them.
 */
import { assert } from "../assert.ts";

export interface IdRow {
  readonly number: number;
  /** Where its first and its last id lie (`placeOfId`). */
  readonly low: number;
  readonly high: number;
  /** When the last of its ids ended, ms since the epoch. Infinity: they are live. */
  readonly last: number;
  readonly count: number;
  /** Of the hot ids (hot-ids.ts); 0: they were never there. */
  readonly generation: number;
}

const rowsFirst = 64;
/** So many rows, one behind the other, have bounds together: most of what is there is of other times than what is looked for. */
const blockRows = 64;

export class IdRows {
  size = 0;
  /** Of how many rows the ids have ended, how many these are, and when the first of them did, at the latest. */
  ended = 0;
  endedIds = 0;
  endedFirst = Number.POSITIVE_INFINITY;
  #numbers = new Float64Array(rowsFirst);
  #lows = new Uint32Array(rowsFirst);
  #highs = new Uint32Array(rowsFirst);
  #lasts = new Float64Array(rowsFirst);
  #counts = new Uint32Array(rowsFirst);
  #generations = new Uint32Array(rowsFirst);
  /** The lowest and the highest of each block's rows, or what is around them. */
  #blockLows: number[] = [];
  #blockHighs: number[] = [];

  /** Adds a row, or puts another version in its place. */
  set(row: IdRow): void {
    const at = this.#placeOf(row.number);
    if (at === this.size || this.#numbers[at] !== row.number) {
      this.#makeRoom(at);
    } else {
      this.#count(at, -1);
    }
    this.#numbers[at] = row.number;
    this.#lows[at] = row.low;
    this.#highs[at] = row.high;
    this.#lasts[at] = row.last;
    this.#counts[at] = row.count;
    this.#generations[at] = row.generation;
    this.#count(at, 1);
    this.#widenBlock(at);
  }

  #widenBlock(at: number): void {
    const block = Math.floor(at / blockRows);
    this.#blockLows[block] = Math.min(
      this.#blockLows[block] ?? Number.POSITIVE_INFINITY,
      this.#lows[at] ?? 0,
    );
    this.#blockHighs[block] = Math.max(this.#blockHighs[block] ?? 0, this.#highs[at] ?? 0);
  }

  /** From this row on, other rows are in the blocks. */
  #boundBlocks(from: number): void {
    const block = Math.floor(from / blockRows);
    this.#blockLows.length = Math.min(block, this.#blockLows.length);
    this.#blockHighs.length = this.#blockLows.length;
    for (let at = block * blockRows; at < this.size; at++) {
      this.#widenBlock(at);
    }
  }

  /** Of a row that comes or goes. When the first one ended is known anew when none is left. */
  #count(at: number, by: 1 | -1): void {
    const last = this.#lasts[at] ?? 0;
    if (last !== Number.POSITIVE_INFINITY) {
      this.ended += by;
      this.endedIds += by * (this.#counts[at] ?? 0);
      this.endedFirst = this.ended === 0 ? Number.POSITIVE_INFINITY : Math.min(this.endedFirst, last);
    }
  }

  get(number: number): IdRow | undefined {
    const at = this.#placeOf(number);
    return at < this.size && this.#numbers[at] === number ? this.#at(at) : undefined;
  }

  /** The highest number; 0: there is no row. */
  get highest(): number {
    return this.size === 0 ? 0 : (this.#numbers[this.size - 1] ?? 0);
  }

  /** Takes those rows out, and gives them back. */
  takeOut(isTaken: (row: Pick<IdRow, "last" | "high">) => boolean): readonly IdRow[] {
    const taken: IdRow[] = [];
    const looked = { last: 0, high: 0 };
    let kept = 0;
    let first = this.size;
    for (let at = 0; at < this.size; at++) {
      looked.last = this.#lasts[at] ?? 0;
      looked.high = this.#highs[at] ?? 0;
      if (isTaken(looked)) {
        taken.push(this.#at(at));
        this.#count(at, -1);
        first = Math.min(first, at);
      } else if (kept === at) {
        kept++;
      } else {
        for (const column of this.#columns()) {
          column[kept] = column[at] ?? 0;
        }
        kept++;
      }
    }
    this.size = kept;
    this.#boundBlocks(first);
    return taken;
  }

  remove(number: number): void {
    const at = this.#placeOf(number);
    if (at < this.size && this.#numbers[at] === number) {
      this.#count(at, -1);
      for (const column of this.#columns()) {
        column.copyWithin(at, at + 1, this.size);
      }
      this.size--;
      this.#boundBlocks(at);
    }
  }

  *all(): Iterable<IdRow> {
    for (let at = 0; at < this.size; at++) {
      yield this.#at(at);
    }
  }

  /**
   * The rows between whose first and last id one of these lies, which are in their order. Rows of hot generations, from
   * `hotFrom` on, are passed over. `each`: what is to be done with the row of this number, and where the first of these is.
   */
  around(
    places: ArrayLike<number>,
    hotFrom: number,
    each: (number: number, high: number, first: number) => void,
  ): void {
    const least = places[0];
    const most = places[places.length - 1];
    if (least === undefined || most === undefined) {
      return;
    }
    // The rows of a run lie one behind the other, so that the search mostly goes on where it was.
    let lowBefore = 0;
    let first = 0;
    for (let at = 0; at < this.size; at++) {
      if (at % blockRows === 0) {
        const block = at / blockRows;
        if ((this.#blockLows[block] ?? 0) > most || (this.#blockHighs[block] ?? 0) < least) {
          at += blockRows - 1;
          continue;
        }
      }
      const low = this.#lows[at] ?? 0;
      const high = this.#highs[at] ?? 0;
      if (low > most || high < least || (this.#generations[at] ?? 0) >= hotFrom) {
        continue;
      }
      first = firstFrom(places, low, low >= lowBefore ? first : 0);
      lowBefore = low;
      const place = places[first];
      if (place !== undefined && place <= high) {
        each(this.#numbers[at] ?? 0, high, first);
      }
    }
  }

  #at(at: number): IdRow {
    return {
      number: this.#numbers[at] ?? 0,
      low: this.#lows[at] ?? 0,
      high: this.#highs[at] ?? 0,
      last: this.#lasts[at] ?? 0,
      count: this.#counts[at] ?? 0,
      generation: this.#generations[at] ?? 0,
    };
  }

  /** Where a row with this number is, or would be. Mostly it is the last. */
  #placeOf(number: number): number {
    if (number > this.highest) {
      return this.size;
    }
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#numbers[middle] ?? 0) < number) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  #makeRoom(at: number): void {
    if (this.size === this.#numbers.length) {
      this.#numbers = grown(this.#numbers, new Float64Array(2 * this.size));
      this.#lows = grown(this.#lows, new Uint32Array(2 * this.size));
      this.#highs = grown(this.#highs, new Uint32Array(2 * this.size));
      this.#lasts = grown(this.#lasts, new Float64Array(2 * this.size));
      this.#counts = grown(this.#counts, new Uint32Array(2 * this.size));
      this.#generations = grown(this.#generations, new Uint32Array(2 * this.size));
    }
    for (const column of this.#columns()) {
      column.copyWithin(at + 1, at, this.size);
    }
    this.size++;
    assert(this.size <= this.#numbers.length, "there is room for a row");
    if (at < this.size - 1) {
      this.#boundBlocks(at);
    }
  }

  #columns(): readonly (Float64Array | Uint32Array)[] {
    return [this.#numbers, this.#lows, this.#highs, this.#lasts, this.#counts, this.#generations];
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Of numbers in their order, from the one at `from` on, where the first is that is not below `least`. */
function firstFrom(places: ArrayLike<number>, least: number, from: number): number {
  let low = from;
  // What is looked for is mostly near.
  let width = 1;
  while (low + width < places.length && (places[low + width] ?? 0) < least) {
    low += width;
    width *= 2;
  }
  let high = Math.min(low + width, places.length);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle] ?? 0) < least) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
