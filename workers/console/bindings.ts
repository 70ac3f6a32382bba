/** What the console may touch: the bindings of `[env.console]` in wrangler.toml. */
import type { Finding } from "../../shared/clickhouse/findings.ts";
import type { Check } from "../../shared/doctor/check.ts";
import type { InFlight } from "../../shared/ledger/in-flight.ts";
import type { LedgerHealth } from "../../shared/ledger/trouble.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import type { PayloadId, PayloadKey } from "../../shared/payload-key.ts";
import type { Checkpoint } from "../../shared/reconcile/checkpoint.ts";
import type { Presence } from "../../shared/reconcile/presence.ts";

/** The part of the consumer's `Operations` entrypoint that the console calls. */
export interface ConsumerOperations {
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
  whereIs(id: PayloadId): Promise<Whereabouts>;
  examine(): Promise<readonly Check[]>;
  reconcile(): Promise<unknown>;
  replay(keys: readonly string[]): Promise<object>;
  presence(id: PayloadId): Promise<Presence>;
  forget(asked: readonly string[]): Promise<object>;
  erase(keys: readonly string[], reason: string): Promise<object>;
  resolve(key: string, how: "accept" | "rewrite"): Promise<boolean>;
  acceptTable(): Promise<void>;
  status(): Promise<unknown>;
  health(): Promise<LedgerHealth>;
  openFindings(): Promise<readonly Finding[]>;
  checkpoint(): Promise<Checkpoint | null>;
  inFlight(): Promise<InFlight>;
}

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
  /** Where exporters send to (the ingress), for the page to tell. It is no secret. */
  readonly OTLP_ENDPOINT?: string;
  readonly CLICKHOUSE?: Fetcher;
  readonly CLICKHOUSE_URL: string;
  /** `private-network`: http:// to it is let through (shared/clickhouse/address.ts). */
  readonly CLICKHOUSE_NETWORK?: string;
  readonly CLICKHOUSE_USER: string;
  readonly CLICKHOUSE_PASSWORD?: string;
  readonly CLICKHOUSE_DATABASE: string;
  readonly CLICKHOUSE_TRACES_TABLE: string;
  /** A secret. Without it nobody is let in. */
  readonly ADMIN_TOKEN?: string;
  /** A secret that opens /metrics and nothing else, for whoever scrapes. */
  readonly METRICS_TOKEN?: string;
}
