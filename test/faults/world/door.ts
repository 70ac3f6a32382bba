/**
 * What an isolate of the ingress knows of its collectors, and which way it has a payload take: the twin of what
 * workers/ingress/receive-traces.ts does around the acceptance, over the product's own advice and pauses (shared/collect/).
 */
import { type Advice, Advised, type Caller, collectorOf } from "../../../shared/collect/advice.ts";
import { CollectorPause } from "../../../shared/collect/pause.ts";
import { limits } from "../../../shared/limits.ts";
import type { PayloadId } from "../../../shared/payload-key.ts";
import { Collector } from "./collector.ts";

/** The number of a collector; or why there is none. */
type Way = number | "alone by advice" | "collector is paused";

export class Door {
  readonly #advised = new Advised();
  readonly #collectors = new Map<number, { readonly collector: Collector; readonly pause: CollectorPause }>();
  /** For the checker: when it was advised last, and what has gone alone since. */
  #advisedAt = Number.NEGATIVE_INFINITY;
  #alone = 0;
  #onTheirWay: number[] = [];

  choose(id: PayloadId, now: number): Way {
    const number = collectorOf(id, this.#advised.collectors);
    if (this.#advised.takeAlone(now)) {
      return "alone by advice";
    }
    if (!this.at(number).pause.take(now)) {
      this.#advised.bypassed();
      return "collector is paused";
    }
    return number;
  }

  at(number: number): { readonly collector: Collector; readonly pause: CollectorPause } {
    let one = this.#collectors.get(number);
    if (one === undefined) {
      one = { collector: new Collector(), pause: new CollectorPause() };
      this.#collectors.set(number, one);
    }
    return one;
  }

  call(): Caller {
    return this.#advised.call();
  }

  answered(advice: Advice, now: number): void {
    this.#advised.answered(advice, now);
    this.#advisedAt = now;
    this.#alone = 0;
  }

  unanswered(caller: Caller, isOverloaded: boolean): void {
    this.#advised.unanswered(caller, isOverloaded);
  }

  /** It goes alone, and was to have a collector. */
  bypassed(): void {
    this.#advised.bypassed();
  }

  /** For the checker: why a payload that goes alone by advice should not. Empty: it may. */
  sendsAlone(now: number): string {
    this.#onTheirWay = this.#onTheirWay.filter((at) => now - at < limits.collectAloneBusyMs);
    const busy = this.#onTheirWay.length;
    this.#onTheirWay.push(now);
    this.#alone++;
    if (busy > 0) {
      return `${busy} others are on their way alone`;
    }
    if (this.#alone > limits.collectAlonePayloads) {
      return `it is the ${this.#alone}th since a collector was asked`;
    }
    const age = now - this.#advisedAt;
    return age > limits.collectAloneMs ? `the advice is ${age} ms old` : "";
  }

  aloneEnded(): void {
    this.#advised.aloneEnded();
    this.#onTheirWay = [];
  }
}
