/**
 * Reads what a request to ClickHouse's HTTP interface asks for besides its body: who, which statement, which
 * settings and parameters, how to answer. Pure. Source: "HTTP Interface" of ClickHouse's documentation and
 * HTTPHandler.cpp.
 */
import { ClickHouseException } from "./exception.ts";

export interface FaceRequest {
  readonly user: string;
  readonly password: string;
  /** The statement, or its beginning, from the URL or a form. */
  readonly query: string;
  readonly queryId: string | undefined;
  readonly database: string | undefined;
  readonly defaultFormat: string;
  readonly session: SessionRequest | undefined;
  /** Settings and `param_` values in the order in which they came. */
  readonly settings: readonly (readonly [name: string, value: string])[];
  /** GET may read only, and change settings other than `readonly`. */
  readonly readOnly: boolean;
  /** Blocks of ClickHouse's own framing in the answer, and in the body. */
  readonly compressAnswer: boolean;
  readonly decompressBody: boolean;
  /** The client's protocol revision, for Native answers; 0: none given. */
  readonly clientRevision: number;
  /** Whether the answer may be compressed as Accept-Encoding allows. */
  readonly httpCompression: boolean;
}

export interface SessionRequest {
  readonly id: string;
  readonly timeoutSeconds: number;
  /** The session must exist already. */
  readonly check: boolean;
  /** The session ends with this request. */
  readonly close: boolean;
}

const sessionTimeoutSeconds = 60; // default_session_timeout
const sessionTimeoutSecondsMax = 3600; // max_session_timeout

/** Parameters that are no settings. */
const reserved = new Set([
  "query",
  "user",
  "password",
  "quota_key",
  "database",
  "default_format",
  "query_id",
  "session_id",
  "session_timeout",
  "session_check",
  "close_session",
  "compress",
  "decompress",
  "stacktrace",
  "buffer_size",
  "wait_end_of_query",
  "role",
  "client_protocol_version",
]);

/** Reads a request. Throws `ClickHouseException` for what the server refuses. */
export function readFaceRequest(
  method: string,
  header: (name: string) => string | undefined,
  parameters: readonly (readonly [name: string, value: string])[],
): FaceRequest {
  const first = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (!first.has(name)) {
      first.set(name, value);
    }
  }
  const flag = (name: string): boolean => ["1", "true"].includes(first.get(name) ?? "0");
  const settings = parameters.filter(([name]) => !reserved.has(name));
  for (const [name] of settings) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new ClickHouseException(115, "UNKNOWN_SETTING", `Unknown setting '${name}'`);
    }
  }
  return {
    ...readCredentials(header, first),
    query: first.get("query") ?? "",
    queryId: first.get("query_id") || undefined,
    database: first.get("database") || header("x-clickhouse-database") || undefined,
    defaultFormat: first.get("default_format") || header("x-clickhouse-format") || "TabSeparated",
    session: readSession(first, flag),
    settings,
    readOnly: method === "GET" || method === "HEAD",
    compressAnswer: flag("compress"),
    decompressBody: flag("decompress"),
    clientRevision: Number.parseInt(first.get("client_protocol_version") ?? "0", 10) || 0,
    httpCompression: flag("enable_http_compression"),
  };
}

/**
 * The SET statement that prepares a connection: the client's settings, and ours. `log_comment` carries the query id,
 * the one place where the engine keeps something of a client beside a running query.
 */
export function settingsStatement(request: FaceRequest, queryId: string): string {
  const assignments = request.settings
    .filter(([name]) => name !== "log_comment")
    .map(([name, value]) => `${name} = ${quote(value)}`);
  // chdb alone reads "1 + 1" as a SELECT; a server does not.
  assignments.unshift("implicit_select = 0", `log_comment = ${quote(queryId)}`);
  const readOnlyAlready = request.settings.some(([name, value]) => name === "readonly" && value !== "0");
  if (request.readOnly && !readOnlyAlready) {
    assignments.push("readonly = 2");
  }
  return `SET ${assignments.join(", ")}`;
}

/** A string literal of ClickHouse. */
export function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\0", "\\0")}'`;
}

/** An identifier of ClickHouse. */
export function quoteIdentifier(text: string): string {
  return `\`${text.replaceAll("\\", "\\\\").replaceAll("`", "\\`")}\``;
}

function readCredentials(
  header: (name: string) => string | undefined,
  parameters: ReadonlyMap<string, string>,
): { readonly user: string; readonly password: string } {
  const user = header("x-clickhouse-user");
  const password = header("x-clickhouse-key");
  if (user !== undefined || password !== undefined) {
    return { user: user || "default", password: password ?? "" };
  }
  const authorization = header("authorization");
  if (authorization !== undefined) {
    const encoded = /^Basic\s+([A-Za-z0-9+/=]+)$/i.exec(authorization)?.[1];
    if (encoded === undefined) {
      throw new ClickHouseException(
        516,
        "AUTHENTICATION_FAILED",
        "Invalid authentication: only the Basic scheme is known here",
      );
    }
    const decoded = new TextDecoder().decode(Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0)));
    const colon = decoded.indexOf(":");
    return colon < 0
      ? { user: decoded || "default", password: "" }
      : { user: decoded.slice(0, colon) || "default", password: decoded.slice(colon + 1) };
  }
  return { user: parameters.get("user") || "default", password: parameters.get("password") ?? "" };
}

function readSession(
  parameters: ReadonlyMap<string, string>,
  flag: (name: string) => boolean,
): SessionRequest | undefined {
  const id = parameters.get("session_id");
  if (id === undefined || id === "") {
    return undefined;
  }
  const text = parameters.get("session_timeout") ?? String(sessionTimeoutSeconds);
  const timeoutSeconds = Number(text);
  if (!/^\d+$/.test(text) || timeoutSeconds > sessionTimeoutSecondsMax) {
    throw new ClickHouseException(
      374,
      "INVALID_SESSION_TIMEOUT",
      `Invalid session timeout: '${text}' (at most ${sessionTimeoutSecondsMax} seconds)`,
    );
  }
  return { id, timeoutSeconds, check: flag("session_check"), close: flag("close_session") };
}
