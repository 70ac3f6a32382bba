/**
 * Where ClickHouse is, and how a request gets there. The `fetch` is handed in: a Worker with a VPC or service binding
 * named CLICKHOUSE passes that binding's, every other caller the global one. Statements are sent by ask.ts, blocks by
 * the consumer: both by `send`.
 */
import * as v from "valibot";
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { addressRefusal, privateNetworkWord } from "./address.ts";
import { within } from "./patience.ts";

const identifierSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is not a ClickHouse identifier ([A-Za-z_][A-Za-z0-9_]*)"),
);

/** The variables and secrets of a Worker that reaches ClickHouse, as they stand in wrangler.toml. */
const clickHouseVariablesSchema = v.pipe(
  v.object({
    CLICKHOUSE_URL: v.string(),
    CLICKHOUSE_USER: v.string(),
    CLICKHOUSE_PASSWORD: v.optional(v.string(), ""),
    CLICKHOUSE_DATABASE: identifierSchema,
    CLICKHOUSE_TRACES_TABLE: identifierSchema,
    CLICKHOUSE_CLUSTER: v.optional(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.-]*$/, "is not a cluster's name ([A-Za-z0-9_.-]*)")),
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

const transportVariablesSchema = v.object({
  CLICKHOUSE_INSERT_COMPRESSION: v.optional(v.picklist(insertCompressions), "zstd"),
  CLICKHOUSE_NETWORK: v.optional(v.picklist(["", privateNetworkWord]), ""),
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

/**
 * What the login is for. `full` sends the settings that evidence leans on with each query. `read_only` sends none, so that
 * it works for a login whose profile says `readonly = 1`, which may set nothing; what it reads proves nothing.
 */
export type Access = "full" | "read_only";

export interface ClickHouseConnection {
  readonly settings: ClickHouseSettings;
  readonly access: Access;
  readonly insertCompression: InsertCompression;
  /** How long the answer of a statement is waited for, ms; a block's INSERT has its lease. */
  readonly patienceMs: number;
  /**
   * One POST with the login in its header, and whatever comes back: a redirect is not followed, for the login and the rows
   * belong at this address and at no other. Rejects as `fetch` does.
   */
  readonly send: (request: ClickHouseRequest) => Promise<ClickHouseAnswer>;
}

interface ClickHouseRequest {
  /** URL parameters: settings, `query_id`, and `query` where the body is data. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long an answer is waited for. */
  readonly patienceMs: number;
}

export interface ClickHouseAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** The body; of a redirect, where it would have sent us. */
  readonly text: string;
  /** Did ClickHouse itself answer? Else something in between did: a proxy, a login page, another server. */
  readonly isClickHouses: boolean;
}

/** Nobody answered a question to ClickHouse: says at which address, and why. */
export class NotReached extends Error {
  override readonly name = "NotReached";
  constructor(url: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`ClickHouse at ${new URL(url).host} does not answer (${why})`, { cause });
  }
}

/** A service or VPC binding to ClickHouse. */
export interface ClickHouseBinding {
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;
}

/**
 * Connects by the binding where there is one, else by `otherwise`, the global fetch. Throws valibot's error, naming the
 * variable, when one is missing or malformed, and an error that says why when the address would have the login travel
 * in the clear. What a binding reaches is private.
 */
export function connectClickHouse(
  variables: unknown,
  binding: ClickHouseBinding | undefined,
  otherwise: typeof fetch,
  access: Access = "full",
): ClickHouseConnection {
  const settings: ClickHouseSettings = v.parse(clickHouseVariablesSchema, variables);
  const transport = v.parse(transportVariablesSchema, variables);
  const isPrivate = binding !== undefined || transport.CLICKHOUSE_NETWORK === privateNetworkWord;
  const refusal = addressRefusal(settings.url, isPrivate, {
    name: "CLICKHOUSE_URL",
    declare: `set CLICKHOUSE_NETWORK to ${privateNetworkWord}`,
  });
  if (refusal !== "") {
    throw new Error(refusal);
  }
  const fetcher: typeof fetch =
    binding === undefined ? otherwise : (input, init) => binding.fetch(input, init);
  const authorization = basicAuthorization(settings);
  return {
    settings,
    access,
    insertCompression: transport.CLICKHOUSE_INSERT_COMPRESSION,
    patienceMs: limits.queryTimeoutSeconds * 1000,
    send: async ({ parameters, body, headers, patienceMs }) => {
      assert(patienceMs > 0, "an answer is waited for");
      const url = new URL(settings.url);
      for (const [name, value] of Object.entries(parameters)) {
        url.searchParams.append(name, value);
      }
      return await within(patienceMs, async (signal) => {
        const response = await fetcher(url, {
          method: "POST",
          headers: { ...headers, authorization },
          body,
          redirect: "manual",
          signal,
        });
        return await answerOf(response);
      });
    },
  };
}

/** RFC 7617 with UTF-8, which ClickHouse expects. */
function basicAuthorization({ user, password }: ClickHouseSettings): string {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

async function answerOf(response: Response): Promise<ClickHouseAnswer> {
  const { status, headers } = response;
  const text = await response.text();
  return {
    status,
    headers,
    text: headers.get("location") ?? text,
    isClickHouses: headers.has("x-clickhouse-query-id") || headers.has("x-clickhouse-summary"),
  };
}
