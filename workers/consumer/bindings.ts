/** What the consumer may touch: the bindings of `[env.consumer]` in wrangler.toml. */
import type { BareDoorbell, Doorbell, GroupBell } from "../../shared/messages.ts";
import type { Ledger } from "./ledger-object.ts";

export interface ConsumerBindings {
  readonly PAYLOADS: R2Bucket;
  readonly RING: Queue<Doorbell | BareDoorbell>;
  readonly GROUP: Queue<GroupBell>;
  readonly LEDGER: DurableObjectNamespace<Ledger>;
  /** A VPC or service binding to ClickHouse; without it the consumer uses `fetch`. */
  readonly CLICKHOUSE?: Fetcher;
  /** Tests on real parts: every duration of the protocol divided by this. */
  readonly LEDGER_TIMES_FASTER?: string;
  readonly CLICKHOUSE_URL: string;
  /** `private-network`: http:// to it is let through (shared/clickhouse/address.ts). */
  readonly CLICKHOUSE_NETWORK?: string;
  readonly CLICKHOUSE_USER: string;
  readonly CLICKHOUSE_PASSWORD?: string;
  readonly CLICKHOUSE_DATABASE: string;
  readonly CLICKHOUSE_TRACES_TABLE: string;
  /** The servers with a replica of the traces, as system.clusters names them; empty or absent: there is one server. */
  readonly CLICKHOUSE_CLUSTER?: string;
  /** zstd, gzip or none; absent: zstd. */
  readonly CLICKHOUSE_INSERT_COMPRESSION?: string;
  /** The domain that the ingress is served on; empty or absent: it has its workers.dev address. */
  readonly INGRESS_HOST?: string;
  /** The zone of that domain, 32 hex digits. */
  readonly ZONE_ID?: string;
  /** A secret, optional: an API token with Zone · Analytics · Read, by which the zone is asked what it turned away. */
  readonly ZONE_ANALYTICS_TOKEN?: string;
  /** A secret: findings are posted there as `{ "text": … }` (Slack, Mattermost). Without it they are logged and stored. */
  readonly ALERT_WEBHOOK?: string;
  /** The console's page, for the link in these messages. It is not a secret. */
  readonly CONSOLE_URL?: string;
}
