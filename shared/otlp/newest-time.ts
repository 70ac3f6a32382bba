/**
 * The newest time in a body: of all of its spans, those that are refused or sampled out included. Which are depends on when the
 * body arrives and on its key, and a payload's id may not (decision 0085).
 */
import { contentMinuteOf } from "../id-time.ts";
import type { SpanScan } from "./span-scan.ts";

export class NewestTime {
  /** Nanoseconds since the epoch, as high and low 32 bits. 0: no span has one. */
  #endHigh = 0;
  #endLow = 0;
  #startHigh = 0;
  #startLow = 0;

  restart(): void {
    this.#endHigh = 0;
    this.#endLow = 0;
    this.#startHigh = 0;
    this.#startLow = 0;
  }

  /** `view` shows the bytes that `span` was scanned in. */
  add(view: DataView, { startTimeAt, endTimeAt }: SpanScan): void {
    if (endTimeAt >= 0) {
      const high = view.getUint32(endTimeAt + 4, true);
      if (high >= this.#endHigh) {
        const low = view.getUint32(endTimeAt, true);
        if (high > this.#endHigh || low > this.#endLow) {
          this.#endHigh = high;
          this.#endLow = low;
        }
      }
    }
    // A start counts only in a body in which no span has ended.
    if (startTimeAt >= 0 && this.#endHigh === 0 && this.#endLow === 0) {
      const high = view.getUint32(startTimeAt + 4, true);
      const low = view.getUint32(startTimeAt, true);
      if (high > this.#startHigh || (high === this.#startHigh && low > this.#startLow)) {
        this.#startHigh = high;
        this.#startLow = low;
      }
    }
  }

  /** The content minute of the newest end; where no span has one, of the newest start. */
  get minute(): number {
    const hasEnd = this.#endHigh !== 0 || this.#endLow !== 0;
    const [high, low] = hasEnd ? [this.#endHigh, this.#endLow] : [this.#startHigh, this.#startLow];
    return contentMinuteOf((BigInt(high) << 32n) | BigInt(low));
  }
}
