/**
 * What a key without a rate of spans may cost an isolate by requests that bring nothing to store: bodies that were sent before,
 * or of which not one span can be used. A key with a rate pays for each with a span of it; one without has nothing that a look
 * could count in, and its month is for what is stored. So such requests draw on a budget in bytes, per account and isolate, and
 * beyond it are answered 429 before their bodies are read.
 *
 * It is generous, since good requests of the same key wait with the others: a service whose every span is refused, beside ones
 * that are well, never comes near it. It costs no call, so it does not hold across isolates.
 */
import { limits } from "../../shared/limits.ts";
import { accountOf, type Sender } from "./authenticate.ts";
import type { Refusal } from "./refusal.ts";

interface Bucket {
  /** Bytes that were there at `at`; below 0 after a large body. */
  readonly bytes: number;
  /** ms since the epoch */
  readonly at: number;
}

export class FruitlessRequests {
  readonly #buckets = new Map<string, Bucket>();

  /** The refusal of whatever this key sends at `now`, or undefined. */
  refusal(sender: Sender, now: number): Refusal | undefined {
    const bytes = this.#bytesAt(accountOf(sender), now);
    if (bytes > 0) {
      return undefined;
    }
    const seconds = Math.max(1, Math.ceil(-bytes / limits.fruitlessBytesPerSecond));
    return { reason: "fruitless_requests", name: sender.record.name, retryAfterSeconds: seconds };
  }

  /** A request of this key brought nothing to store. `lookBytes`: of its body, without its content encoding. */
  add(sender: Sender, lookBytes: number, now: number): void {
    const account = accountOf(sender);
    const bytes = this.#bytesAt(account, now) - lookBytes - limits.fruitlessRequestBytes;
    if (!this.#buckets.has(account) && this.#buckets.size >= limits.leasesMax) {
      this.#buckets.clear();
    }
    this.#buckets.set(account, { bytes, at: now });
  }

  #bytesAt(account: string, now: number): number {
    const bucket = this.#buckets.get(account);
    if (bucket === undefined) {
      return limits.fruitlessBurstBytes;
    }
    const refilled = (Math.max(0, now - bucket.at) / 1000) * limits.fruitlessBytesPerSecond;
    return Math.min(limits.fruitlessBurstBytes, bucket.bytes + refilled);
  }
}
