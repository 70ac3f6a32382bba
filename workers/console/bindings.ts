/** What the console may touch: the bindings of `[env.console]` in wrangler.toml. */
import type { PayloadKey } from "../../shared/payload-key.ts";
import type { MinuteBook } from "../../shared/reconcile/minute-book.ts";

/** The part of the consumer's `Operations` entrypoint that the console calls. */
export interface ConsumerOperations {
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
  reconcile(): Promise<unknown>;
  replay(keys: readonly string[]): Promise<object>;
  erase(keys: readonly string[], reason: string): Promise<object>;
  resolve(key: string, how: "accept" | "rewrite"): Promise<boolean>;
  status(): Promise<unknown>;
  book(): Promise<MinuteBook | null>;
}

export interface ConsoleBindings {
  readonly KEYS: KVNamespace;
  readonly PAYLOADS: R2Bucket;
  readonly CONSUMER: ConsumerOperations;
  readonly CLICKHOUSE?: Fetcher;
  readonly CLICKHOUSE_URL: string;
  readonly CLICKHOUSE_USER: string;
  readonly CLICKHOUSE_PASSWORD?: string;
  readonly CLICKHOUSE_DATABASE: string;
  readonly CLICKHOUSE_TRACES_TABLE: string;
  /** A secret. Without it nobody is let in. */
  readonly ADMIN_TOKEN?: string;
}
