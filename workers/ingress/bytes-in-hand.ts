/**
 * The isolate's budget of body bytes held across an await. An isolate has 128 MB for all its requests at once, and
 * dies beyond; so a request that would exceed the budget is answered 503 with Retry-After instead. The inflated form
 * is not counted: it lives within one synchronous step, so there is at most one.
 */
import { assert } from "../../shared/assert.ts";

export class BytesInHand {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Takes `bytes` from the budget; false when they are not there. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) {
      return false;
    }
    this.#bytes += bytes;
    return true;
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, "no more bytes are given back than were taken");
  }
}
