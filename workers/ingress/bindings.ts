/** What the ingress may touch: the bindings of `[env.ingress]` in wrangler.toml. */
import type { Doorbell, OutcomesMessage, QuotaMessage } from "../../shared/messages.ts";
import type { Meter } from "./meter-object.ts";

export interface IngressBindings {
  /** API keys by hash; written by the console, read here. */
  readonly KEYS: KVNamespace;
  /** Counts unknown keys by client address, within one location. */
  readonly UNKNOWN_KEYS: RateLimit;
  /** The log: every accepted payload. */
  readonly PAYLOADS: R2Bucket;
  /** Who may send how much: one object a tenant. */
  readonly METER: DurableObjectNamespace<Meter>;
  /** What the ingress has to tell the operator: it cannot write into ClickHouse. */
  readonly OUTCOMES: Queue<OutcomesMessage | QuotaMessage>;
  /** The doorbell's queue. */
  readonly RING: Queue<Doorbell>;
}
