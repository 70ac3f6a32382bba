/** Counts spans by the UTC day of their start, as ClickHouse's toDate(Timestamp) partitions them. */

const nanosPerDay = 86_400_000_000_000n;

export class DayCount {
  readonly #byDay = new Map<number, number>();
  #day = -1;
  /** Spans of the current day since it became the current one. */
  #count = 0;
  /** The current day in nanoseconds, as high and low 32 bits: its first, and the next day's first. */
  #startHigh = 0;
  #startLow = 0;
  #endHigh = 0;
  #endLow = 0;

  /** Counts the time whose eight bytes stand at `at`: nanoseconds since the epoch, below 2^63. */
  add(view: DataView, at: number): void {
    const low = view.getUint32(at, true);
    const high = view.getUint32(at + 4, true);
    const before = high < this.#startHigh || (high === this.#startHigh && low < this.#startLow);
    const after = high > this.#endHigh || (high === this.#endHigh && low >= this.#endLow);
    if (before || after) {
      this.#enter((BigInt(high) << 32n) | BigInt(low));
    }
    this.#count++;
  }

  /** Spans by day: days since the epoch. */
  byDay(): ReadonlyMap<number, number> {
    this.#leave();
    return this.#byDay;
  }

  #leave(): void {
    if (this.#count > 0) {
      this.#byDay.set(this.#day, (this.#byDay.get(this.#day) ?? 0) + this.#count);
      this.#count = 0;
    }
  }

  /** Nearly all spans of a payload are of one day, so this runs about once. Doubles would be off by 128 ns. */
  #enter(nanos: bigint): void {
    this.#leave();
    const day = nanos / nanosPerDay;
    const start = day * nanosPerDay;
    const end = start + nanosPerDay;
    this.#day = Number(day);
    this.#startHigh = Number(start >> 32n);
    this.#startLow = Number(start & 0xffffffffn);
    this.#endHigh = Number(end >> 32n);
    this.#endLow = Number(end & 0xffffffffn);
  }
}
