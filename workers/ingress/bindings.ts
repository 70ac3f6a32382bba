/** What the ingress may touch: the bindings of `[env.ingress]` in wrangler.toml. */
import type { Doorbell } from "../../shared/messages.ts";

export interface IngressBindings {
  /** API keys by hash; written by the console, read here. */
  readonly KEYS: KVNamespace;
  /** Counts unknown keys by client address, within one location. */
  readonly UNKNOWN_KEYS: RateLimit;
  /** The log: every accepted payload. */
  readonly PAYLOADS: R2Bucket;
  /** The doorbell's queue. */
  readonly RING: Queue<Doorbell>;
}
