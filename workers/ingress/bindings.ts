/** What the ingress may touch: the bindings of `[env.ingress]` in wrangler.toml. */
import type { BareDoorbell, Doorbell, SegmentDoorbell } from "../../shared/messages.ts";
import type { Collector, CollectorBindings } from "./collector-object.ts";
import type { Meter, MeterBindings } from "./meter-object.ts";

export interface IngressBindings extends MeterBindings, CollectorBindings {
  /** API keys by hash; written by the console, read here. */
  readonly KEYS: KVNamespace;
  /** Counts unknown keys by client address, within one location. */
  readonly UNKNOWN_KEYS: RateLimit;
  /** The log: every accepted payload. */
  readonly PAYLOADS: R2Bucket;
  /** They gather payloads into segments. */
  readonly COLLECTOR: DurableObjectNamespace<Collector>;
  /** `off`: each payload is put alone. Else they go to the collector. */
  readonly COLLECT?: string;
  /** Where the collectors are placed when they are first asked for; absent or empty: near who asks (docs/operating.md). */
  readonly COLLECTOR_LOCATION?: string;
  /** Who may send how much: one object per tenant. */
  readonly METER: DurableObjectNamespace<Meter>;
  /** The content time from which payload ids begin with it; absent or empty: none does (docs/operating.md). */
  readonly ID_TIME_FROM?: string;
  /** The doorbell's queue. */
  readonly RING: Queue<Doorbell | BareDoorbell | SegmentDoorbell>;
}
