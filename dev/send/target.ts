/**
 * Where the sender sends, with which key, and where it looks for what arrived: flags first, then OpenTelemetry's
 * environment variables, then what `npm run dev` wrote. Pure; the caller reads the file.
 *
 * The local key goes to the local endpoint only, never to another one that a flag or a variable names.
 */
import * as v from "valibot";
import { pageLink, tracePagePath } from "../../shared/console/page-routes.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import { type Flags, isHttpUrl } from "./flags.ts";

const devStateSchema = v.object({
  otlp: v.pipe(v.string(), v.check(isHttpUrl, "not a URL")),
  key: v.string(),
  clickhouse: v.pipe(v.string(), v.check(isHttpUrl, "not a URL")),
  console: v.exactOptional(v.pipe(v.string(), v.check(isHttpUrl, "not a URL"))),
  adminToken: v.exactOptional(v.string()),
});

export interface Target {
  /** The full URL of the export request. */
  readonly tracesUrl: string;
  /** Headers that name the key; empty when the SDK reads them from the environment, or when there is none. */
  readonly headers: Readonly<Record<string, string>>;
  /** For messages: which key it is and where it comes from. Only its first and last characters. */
  readonly keyText: string;
  /** ClickHouse's HTTP interface; undefined when nobody will look. */
  readonly clickhouseUrl: string | undefined;
  /** A link to a trace in the local console, which signs in by itself; undefined elsewhere, where a link must hold no token. */
  readonly traceLink: ((traceId: string) => string) | undefined;
}

export interface TargetFacts {
  readonly flags: Flags;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The path of dev.json as a person would write it, and its text; undefined when there is no such file. */
  readonly devPath: string;
  readonly devText: string | undefined;
}

export function chooseTarget({ flags, env, devPath, devText }: TargetFacts): Result<Target, string> {
  const dev = parseDevState(devText);
  if (dev === "broken") {
    return refuse(`${devPath} is not what \`npm run dev\` writes; start it again, or name --endpoint`);
  }
  const named = namedEndpoint(flags, env);
  if (named !== undefined && !isHttpUrl(named.url)) {
    return refuse(`${named.from} is a URL that begins with http:// or https://, not "${named.url}"`);
  }
  const tracesUrl = named?.url ?? (dev === undefined ? undefined : appendTracesPath(dev.otlp));
  if (tracesUrl === undefined) {
    return refuse(
      `there is no ${devPath}: start \`npm run dev\` first, or say where with --endpoint and --key`,
    );
  }
  const local = dev !== undefined && originOf(tracesUrl) === originOf(dev.otlp) ? dev : undefined;

  const clickhouseUrl = flags.wait ? (flags.clickhouse ?? local?.clickhouse) : undefined;
  if (flags.wait && clickhouseUrl === undefined) {
    return refuse("say with --clickhouse where the spans arrive, or --no-wait");
  }
  return ok({
    tracesUrl,
    clickhouseUrl,
    ...chooseKey(flags, env, local?.key, devPath),
    traceLink: traceLinkOf(local),
  });
}

function traceLinkOf(local: v.InferOutput<typeof devStateSchema> | undefined): Target["traceLink"] {
  if (local?.console === undefined || local.adminToken === undefined) {
    return undefined;
  }
  const { console, adminToken: token, key } = local;
  return (traceId) => pageLink(console, tracePagePath(traceId), { token, key });
}

/** The endpoint that flags or environment name, as a full URL. */
function namedEndpoint(
  flags: Flags,
  env: TargetFacts["env"],
): { readonly url: string; readonly from: string } | undefined {
  if (flags.endpoint !== undefined) {
    return { url: appendTracesPath(flags.endpoint), from: "--endpoint" };
  }
  // The OTLP exporter specification: the signal's own variable is taken as it is, the general one is a base URL.
  const own = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]?.trim() ?? "";
  if (own !== "") {
    return { url: own, from: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" };
  }
  const general = env["OTEL_EXPORTER_OTLP_ENDPOINT"]?.trim() ?? "";
  return general === "" ? undefined : { url: appendTracesPath(general), from: "OTEL_EXPORTER_OTLP_ENDPOINT" };
}

function chooseKey(
  flags: Flags,
  env: TargetFacts["env"],
  localKey: string | undefined,
  devPath: string,
): Pick<Target, "headers" | "keyText"> {
  if (flags.key !== undefined) {
    return { headers: bearer(flags.key), keyText: `the key ${shorten(flags.key)} (from --key)` };
  }
  for (const name of ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"] as const) {
    if ((env[name]?.trim() ?? "") !== "") {
      return { headers: {}, keyText: `the key in ${name}` };
    }
  }
  return localKey === undefined
    ? { headers: {}, keyText: "no key at all (--key names one)" }
    : { headers: bearer(localKey), keyText: `the key ${shorten(localKey)} (from ${devPath})` };
}

/** Scheme, host and port, with `localhost` as the address that it stands for. */
function originOf(url: string): string {
  const parsed = new URL(url);
  parsed.hostname = parsed.hostname === "localhost" ? "127.0.0.1" : parsed.hostname;
  return parsed.origin;
}

function bearer(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}

/** Enough of a key to know which one it is: `hr_AbCd…wxyz`. */
function shorten(key: string): string {
  return key.length < 16 ? key : `${key.slice(0, 7)}…${key.slice(-4)}`;
}

function appendTracesPath(base: string): string {
  const bare = base.replace(/\/+$/, "");
  return bare.endsWith("/v1/traces") ? bare : `${bare}/v1/traces`;
}

function parseDevState(
  text: string | undefined,
): v.InferOutput<typeof devStateSchema> | "broken" | undefined {
  if (text === undefined) {
    return undefined;
  }
  try {
    const parsed = v.safeParse(devStateSchema, JSON.parse(text));
    return parsed.success ? parsed.output : "broken";
  } catch {
    return "broken";
  }
}
