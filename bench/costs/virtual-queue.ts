/** A queue that delivers when a batch is full, or so long after the first message of it: Cloudflare's rule. */
import type { VirtualClock } from "./virtual-clock.ts";

export class VirtualQueue<Message> {
  readonly #clock: VirtualClock;
  readonly #waitMs: number;
  readonly #batchMax: number;
  readonly #deliver: (batch: readonly Message[]) => void;
  #messages: Message[] = [];
  #batches = 0;

  constructor(
    clock: VirtualClock,
    waitMs: number,
    batchMax: number,
    deliver: (batch: readonly Message[]) => void,
  ) {
    this.#clock = clock;
    this.#waitMs = waitMs;
    this.#batchMax = batchMax;
    this.#deliver = deliver;
  }

  send(message: Message): void {
    this.#messages.push(message);
    if (this.#messages.length >= this.#batchMax) {
      this.#flush();
    } else if (this.#messages.length === 1) {
      const batch = this.#batches;
      this.#clock.after(this.#waitMs, () => {
        if (batch === this.#batches) {
          this.#flush();
        }
      });
    }
  }

  #flush(): void {
    const messages = this.#messages;
    this.#messages = [];
    this.#batches++;
    this.#deliver(messages);
  }
}
