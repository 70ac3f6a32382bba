/**
 * A queue: messages come in batches, perhaps twice, late, in another order; a batch whose consumer throws or dies
 * is redelivered; after its retries a message goes to the dead-letter queue, which is a queue like the others.
 */

import type { Cause, Doorbell } from "../../../shared/messages.ts";
import type { ObjectKey, PayloadKey } from "../../../shared/payload-key.ts";
import type { GroupId } from "../../../shared/receipt.ts";
import type { Clock } from "./clock.ts";
import type { Fate } from "./fate.ts";

export type Body =
  | { readonly kind: "doorbells"; readonly doorbells: readonly Doorbell[] }
  | { readonly kind: "bare"; readonly key: PayloadKey | ObjectKey; readonly cause: Cause }
  | { readonly kind: "group"; readonly group: GroupId };

export interface Message {
  readonly body: Body;
  readonly tries: number;
}

export interface QueueSettings {
  readonly delayMs: number;
  readonly batchMs: number;
  readonly batchMax: number;
  readonly retryMs: number;
  readonly retriesMax: number;
}

export class Queue {
  readonly #clock: Clock;
  readonly #fate: Fate;
  readonly #settings: QueueSettings;
  readonly #deliver: (messages: readonly Message[], queue: Queue) => void;
  readonly #dead: Queue | null;
  /** The longest that a late message is late. */
  readonly #lateMs: number;
  #ready: Message[] = [];
  #flushing = false;
  /** Sent and not acked. */
  pending = 0;

  constructor(
    clock: Clock,
    fate: Fate,
    settings: QueueSettings,
    lateMs: number,
    dead: Queue | null,
    deliver: (messages: readonly Message[], queue: Queue) => void,
  ) {
    this.#clock = clock;
    this.#fate = fate;
    this.#settings = settings;
    this.#lateMs = lateMs;
    this.#dead = dead;
    this.#deliver = deliver;
  }

  send(body: Body): void {
    this.#schedule({ body, tries: 0 }, this.#settings.delayMs);
    if (this.#fate.strikes("message doubled")) {
      this.#schedule({ body, tries: 0 }, this.#settings.delayMs + this.#fate.sometime(this.#lateMs));
    }
  }

  /** The consumer threw or was killed: all of them are redelivered. */
  retry(messages: readonly Message[]): void {
    for (const { body, tries } of messages) {
      this.pending--;
      if (tries + 1 > this.#settings.retriesMax && this.#dead !== null) {
        this.#dead.send(body);
      } else {
        this.#schedule({ body, tries: tries + 1 }, this.#settings.retryMs);
      }
    }
  }

  ack(messages: readonly Message[]): void {
    this.pending -= messages.length;
  }

  #schedule(message: Message, delay: number): void {
    this.pending++;
    const late = this.#fate.strikes("message late") ? this.#fate.sometime(this.#lateMs) : 0;
    this.#clock.after(delay + late + this.#fate.between(0, 20), () => this.#arrive(message));
  }

  #arrive(message: Message): void {
    this.#ready.push(message);
    if (this.#ready.length >= this.#settings.batchMax) {
      this.#flush();
    } else if (!this.#flushing) {
      this.#flushing = true;
      this.#clock.after(this.#settings.batchMs, () => {
        this.#flushing = false;
        this.#flush();
      });
    }
  }

  #flush(): void {
    const messages = this.#ready;
    this.#ready = [];
    if (messages.length > 0) {
      this.#deliver(messages, this);
    }
  }
}
