/**
 * Where ClickHouse is and how it is spoken to. The `fetch` is handed in: a Worker with a VPC or service binding
 * named CLICKHOUSE passes that binding's, every other caller the global one.
 */
import { type ClickHouseClient, ClickHouseError, createClient } from "@clickhouse/client-web";
import * as v from "valibot";
import { limits } from "../limits.ts";

const identifierSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is no ClickHouse identifier ([A-Za-z_][A-Za-z0-9_]*)"),
);

/** The variables and secrets of a Worker that reaches ClickHouse, as they stand in wrangler.toml. */
export const clickHouseVariablesSchema = v.pipe(
  v.object({
    CLICKHOUSE_URL: v.pipe(v.string(), v.url()),
    CLICKHOUSE_USER: v.string(),
    CLICKHOUSE_PASSWORD: v.optional(v.string(), ""),
    CLICKHOUSE_DATABASE: identifierSchema,
    CLICKHOUSE_TRACES_TABLE: identifierSchema,
    CLICKHOUSE_CLUSTER: v.optional(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.-]*$/, "is no cluster's name ([A-Za-z0-9_.-]*)")),
      "",
    ),
  }),
  v.transform((variables) => ({
    url: variables.CLICKHOUSE_URL,
    user: variables.CLICKHOUSE_USER,
    password: variables.CLICKHOUSE_PASSWORD,
    database: variables.CLICKHOUSE_DATABASE,
    tracesTable: variables.CLICKHOUSE_TRACES_TABLE,
    ...(variables.CLICKHOUSE_CLUSTER === "" ? {} : { cluster: variables.CLICKHOUSE_CLUSTER }),
  })),
);

/** How a block travels. zstd is the cheapest for both sides (bench/README.md); the others are for what lies between. */
export const insertCompressions = ["zstd", "gzip", "none"] as const;
export type InsertCompression = (typeof insertCompressions)[number];

const insertVariablesSchema = v.object({
  CLICKHOUSE_INSERT_COMPRESSION: v.optional(v.picklist(insertCompressions), "zstd"),
});

export interface ClickHouseSettings {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly tracesTable: string;
  /** As system.clusters names the servers that have a replica of the traces. Absent: one server says what runs. */
  readonly cluster?: string;
}

export interface ClickHouseConnection {
  readonly settings: ClickHouseSettings;
  readonly insertCompression: InsertCompression;
  readonly fetch: typeof fetch;
  /** For every query and statement but the block insert, whose body is binary. */
  readonly client: ClickHouseClient;
}

/** A service or VPC binding to ClickHouse. */
export interface ClickHouseBinding {
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;
}

/**
 * Connects by the binding where there is one, else by `otherwise`, the global fetch. Throws valibot's error, naming the
 * variable, when one is missing or malformed.
 */
export function connectClickHouse(
  variables: unknown,
  binding: ClickHouseBinding | undefined,
  otherwise: typeof fetch,
): ClickHouseConnection {
  const fetcher: typeof fetch =
    binding === undefined ? otherwise : (input, init) => binding.fetch(input, init);
  const settings: ClickHouseSettings = v.parse(clickHouseVariablesSchema, variables);
  const client = createClient({
    url: settings.url,
    username: settings.user,
    password: settings.password,
    database: settings.database,
    request_timeout: limits.queryTimeoutSeconds * 1000,
    fetch: fetcher,
  });
  const { CLICKHOUSE_INSERT_COMPRESSION: insertCompression } = v.parse(insertVariablesSchema, variables);
  return { settings, insertCompression, fetch: fetcher, client };
}

/** ACCESS_DENIED: the login lacks a right that the statement needs. */
export function isAccessDenied(error: unknown): boolean {
  return error instanceof ClickHouseError && error.code === "497";
}
