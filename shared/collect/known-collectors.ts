/** What an isolate of the ingress knows of its collectors, and which way it has a payload take. */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import type { PayloadId } from "../payload-key.ts";
import { Advised, collectorOf } from "./advice.ts";
import { CollectorPause } from "./pause.ts";

/** The number of a payload's collector, and whether it gets the payload. A collector that failed is left alone for a while. */
export interface Choice {
  readonly collector: number;
  readonly way: "collector" | "alone by advice" | "collector is paused";
}

export class KnownCollectors {
  readonly advised = new Advised();
  readonly #pauses = Array.from({ length: limits.collectorsMax }, () => new CollectorPause());

  /** `now`: ms since the epoch. When what goes alone by advice has been answered, `advised.aloneEnded` is called. */
  choose(id: PayloadId, now: number): Choice {
    const collector = collectorOf(id, this.advised.collectors);
    if (this.advised.takeAlone(now)) {
      return { collector, way: "alone by advice" };
    }
    if (!this.pauseOf(collector).take(now)) {
      this.advised.bypassed();
      return { collector, way: "collector is paused" };
    }
    return { collector, way: "collector" };
  }

  /** By collector: one that fails does not keep payloads from the others. */
  pauseOf(collector: number): CollectorPause {
    const pause = this.#pauses[collector];
    assert(pause !== undefined, "an isolate chooses among so many collectors as it knows");
    return pause;
  }
}
