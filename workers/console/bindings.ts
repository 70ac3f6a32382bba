/** What the console may touch: the bindings of `[env.console]` in wrangler.toml. */
import type { ConsumerOperations } from "../../shared/console/operations.ts";

/** The ingress's Meters, as far as the console asks them: what a tenant's keys have used of their months. */
export interface MeterNamespace {
  idFromName(tenant: string): DurableObjectId;
  get(id: DurableObjectId): { usage(): Promise<unknown> };
}

export interface ConsoleBindings {
  readonly KEYS: KVNamespace;
  readonly METER: MeterNamespace;
  readonly PAYLOADS: R2Bucket;
  readonly CONSUMER: ConsumerOperations;
  /** The page's files. */
  readonly ASSETS: Fetcher;
  /** Where exporters send to (the ingress), for the page to tell. It is not a secret. */
  readonly OTLP_ENDPOINT?: string;
  readonly CLICKHOUSE?: Fetcher;
  /** Tests on real parts: the ledger's durations are divided by this (workers/consumer/bindings.ts). */
  readonly LEDGER_TIMES_FASTER?: string;
  readonly CLICKHOUSE_URL: string;
  /** `private-network`: http:// to it is let through (shared/clickhouse/address.ts). */
  readonly CLICKHOUSE_NETWORK?: string;
  readonly CLICKHOUSE_USER: string;
  readonly CLICKHOUSE_PASSWORD?: string;
  readonly CLICKHOUSE_DATABASE: string;
  readonly CLICKHOUSE_TRACES_TABLE: string;
  /** Wrong tokens, counted by client address. */
  readonly ADMIN_FAILURES: RateLimit;
  /** Cloudflare Access in front of the console: the team's domain and the application's audience tag. Empty: it is not declared. */
  readonly ACCESS_TEAM_DOMAIN?: string;
  readonly ACCESS_AUD?: string;
  /** A secret. Without it nobody is let in. */
  readonly ADMIN_TOKEN?: string;
  /** A secret that opens /metrics and nothing else, for a scraper. */
  readonly METRICS_TOKEN?: string;
}
