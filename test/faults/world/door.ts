/** An isolate of the ingress with its collectors, and what it sends alone, for the checker. */
import type { Advice, Caller } from "../../../shared/collect/advice.ts";
import { type Choice, KnownCollectors } from "../../../shared/collect/known-collectors.ts";
import type { CollectorPause } from "../../../shared/collect/pause.ts";
import { limits } from "../../../shared/limits.ts";
import type { PayloadId } from "../../../shared/payload-key.ts";
import { Collector } from "./collector.ts";

/** The number of a collector; or why there is none. */
type Way = number | Exclude<Choice["way"], "collector">;

export class Door {
  readonly #known = new KnownCollectors();
  readonly #collectors = new Map<number, Collector>();
  /** For the checker: when it was advised last, and what has gone alone since. */
  #advisedAt = Number.NEGATIVE_INFINITY;
  #alone = 0;
  #onTheirWay: number[] = [];

  choose(id: PayloadId, now: number): Way {
    const { collector, way } = this.#known.choose(id, now);
    return way === "collector" ? collector : way;
  }

  at(number: number): { readonly collector: Collector; readonly pause: CollectorPause } {
    const collector = this.#collectors.get(number) ?? new Collector();
    this.#collectors.set(number, collector);
    return { collector, pause: this.#known.pauseOf(number) };
  }

  call(): Caller {
    return this.#known.advised.call();
  }

  answered(advice: Advice, now: number): void {
    this.#known.advised.answered(advice, now);
    this.#advisedAt = now;
    this.#alone = 0;
  }

  unanswered(caller: Caller, isOverloaded: boolean): void {
    this.#known.advised.unanswered(caller, isOverloaded);
  }

  /** It goes alone, and was to have a collector. */
  bypassed(): void {
    this.#known.advised.bypassed();
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
    this.#known.advised.aloneEnded();
    this.#onTheirWay = [];
  }
}
