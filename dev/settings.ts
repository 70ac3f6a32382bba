/**
 * The settings of the local pipeline: ports and folders, from environment variables. Documented in
 * docs/local.md.
 */
import { resolve } from "node:path";
import * as v from "valibot";
import { addressRefusal, privateNetworkWord } from "../shared/clickhouse/address.ts";
import { collectWords, parseCollectMs } from "../shared/collect/settings.ts";
import { limits } from "../shared/limits.ts";

const portSchema = v.pipe(
  v.string(),
  v.regex(/^\d{1,5}$/, "is not a port number"),
  v.transform(Number),
  v.maxValue(65_535, "is not a port number (above 65535)"),
);

const variablesSchema = v.object({
  HEADRACE_PORT: v.optional(portSchema, "4318"),
  HEADRACE_CONSOLE_PORT: v.optional(portSchema, "4319"),
  HEADRACE_CLICKHOUSE_PORT: v.optional(portSchema, "8123"),
  HEADRACE_GRPC_PORT: v.optional(portSchema, "4317"),
  HEADRACE_STATE: v.optional(v.string(), ".headrace"),
  CLICKHOUSE_NETWORK: v.optional(v.literal(privateNetworkWord, `is not ${privateNetworkWord}`)),
  CLICKHOUSE_URL: v.optional(v.pipe(v.string(), v.url("is not a URL"))),
  ALERT_WEBHOOK: v.optional(v.pipe(v.string(), v.url("is not a URL"))),
  COLLECT: v.optional(v.picklist(collectWords, `is not one of ${collectWords.join(", ")}`)),
  COLLECT_MS: v.optional(
    v.pipe(
      v.string(),
      v.check(
        (text) => parseCollectMs(text) !== undefined,
        `is not a number of ms up to ${limits.collectMsMax}`,
      ),
    ),
  ),
  HEADRACE_LEDGER_TIMES_FASTER: v.optional(v.pipe(v.string(), v.regex(/^\d{1,4}$/, "is not a whole number"))),
});

export interface DevSettings {
  /** 4318: the port that OTLP exporters use when nobody says otherwise. 0: a free one. */
  readonly port: number;
  readonly consolePort: number;
  readonly clickHousePort: number;
  /** Absolute path of the folder that holds everything which survives a restart. */
  readonly stateFolder: string;
  /** A ClickHouse server to use instead of the local one. User and password may stand in the URL. */
  readonly clickHouseUrl: string | undefined;
  /** Findings are posted there (docs/operating.md). */
  readonly alertWebhook?: string | undefined;
  /** The ingress's COLLECT and COLLECT_MS, where they are not as in wrangler.toml. */
  readonly collect?: Readonly<Record<string, string>>;
  /** For tests: the ledger's durations (leases, back-off) are divided by this. */
  readonly ledgerTimesFaster: string | undefined;
}

/** What `npm run dev` reads besides. */
export interface CommandSettings extends DevSettings {
  /** 4317: the default port of gRPC exporters, which are answered there that they should use the OTLP/HTTP port. */
  readonly grpcPort: number;
}

/** A setting is wrong, or something that the pipeline needs is in use: the message is for the person at the terminal. */
export class CannotStart extends Error {
  override readonly name = "CannotStart";
}

/** Throws `CannotStart` naming the variable. */
export function readDevSettings(environment: NodeJS.ProcessEnv): CommandSettings {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""));
  const parsed = v.safeParse(variablesSchema, given);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new CannotStart(`${v.getDotPath(issue) ?? "a setting"}="${String(issue.input)}" ${issue.message}.`);
  }
  const variables = parsed.output;
  const refusal =
    variables.CLICKHOUSE_URL === undefined
      ? ""
      : addressRefusal(variables.CLICKHOUSE_URL, variables.CLICKHOUSE_NETWORK !== undefined, {
          name: "CLICKHOUSE_URL",
          declare: `set CLICKHOUSE_NETWORK to ${privateNetworkWord}`,
        });
  if (refusal !== "") {
    throw new CannotStart(refusal);
  }
  return {
    port: variables.HEADRACE_PORT,
    consolePort: variables.HEADRACE_CONSOLE_PORT,
    clickHousePort: variables.HEADRACE_CLICKHOUSE_PORT,
    grpcPort: variables.HEADRACE_GRPC_PORT,
    stateFolder: resolve(variables.HEADRACE_STATE),
    clickHouseUrl: variables.CLICKHOUSE_URL,
    alertWebhook: variables.ALERT_WEBHOOK,
    collect: {
      ...(variables.COLLECT === undefined ? {} : { COLLECT: variables.COLLECT }),
      ...(variables.COLLECT_MS === undefined ? {} : { COLLECT_MS: variables.COLLECT_MS }),
    },
    ledgerTimesFaster: variables.HEADRACE_LEDGER_TIMES_FASTER,
  };
}
