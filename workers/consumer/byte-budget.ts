/**
 * The isolate's budget of bytes in hand over all groups. An isolate has 128 MB and runs several queue batches at
 * once; the consumer waits its turn where the ingress would answer 503.
 */
import { assert } from "../../shared/assert.ts";

export class ByteBudget {
  readonly #bytesMax: number;
  #bytes = 0;
  /** In order of arrival, so that a large group is not overtaken for ever. */
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Resolves when `bytes` (at most the whole budget) are free and taken; call the function that it gives, once. */
  async take(bytes: number): Promise<() => void> {
    assert(bytes <= this.#bytesMax, "no group is larger than the whole budget");
    if (this.#waiting.length > 0 || this.#bytes + bytes > this.#bytesMax) {
      await new Promise<void>((go) => this.#waiting.push({ bytes, go }));
    } else {
      this.#bytes += bytes;
    }
    return () => this.#give(bytes);
  }

  #give(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, "no more bytes are given back than were taken");
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#bytes + first.bytes > this.#bytesMax) {
        return;
      }
      this.#waiting.shift();
      this.#bytes += first.bytes;
      first.go();
    }
  }
}
