/**
 * ClickHouse's HTTP interface before a chdb engine, as far as clients of a real server can tell: statements in the
 * URL or in the body, data behind an INSERT in every format and compression, settings, parameters, sessions, query
 * ids, formats, exceptions with their statuses, summaries.
 *
 * It promises that the bytes behind an INSERT reach the engine as they came (through a file, see `chdb.ts`), that an
 * INSERT whose body was cut off by the client is not run, and that an answer begins only when the statement has ended
 * (`wait_end_of_query` is always on). What differs from a server stands in the README of this folder.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { brotliCompress, deflate, gzip, zstdCompress } from "node:zlib";
import { frame, unframe } from "./block-framing.ts";
import type { EngineAnswer, EngineConnection } from "./chdb.ts";
import { type Connections, processesSubquery } from "./connections.ts";
import { ClickHouseException, codeOfException, statusOfException, textOfException } from "./exception.ts";
import { contentTypeOf } from "./formats.ts";
import {
  type FaceRequest,
  quote,
  quoteIdentifier,
  readFaceRequest,
  settingsStatement,
} from "./http-request.ts";
import { nativeAtRevision } from "./native-answer.ts";
import { compressionOf, inflated, readHead, writeBody } from "./request-body.ts";
import { readStatement, type Statement } from "./statement.ts";

/** A statement must end, and an INSERT's data begin, within so many bytes (max_query_size's default). */
const statementBytesMax = 262_144;
/** Where a client raises max_query_size; above, the request is refused. Keeps the face's memory bounded. */
const statementBytesCeiling = 64 * 1024 * 1024;
/** http_max_uri_size of a server. */
const headerBytesMax = 1_048_576;
/** keep_alive_timeout of a server. Node's default of 5 s makes clients reuse a socket that is being closed. */
const keepAliveMs = 30_000;

export interface FaceOptions {
  /** Temporary files of request bodies; emptied at start. */
  readonly bodiesDirectory: string;
  readonly version: string;
  readonly timezone: string;
  /** The password of the user `default`; with an empty one any is accepted, as on a new server. */
  readonly password: string;
  /** Where the face listens: on a loopback address it answers loopback names only. */
  readonly host: string;
  readonly log: (line: string) => void;
}

/** What a statement came to, before it is written out. */
interface Outcome {
  readonly bytes: Uint8Array;
  readonly format: string | undefined;
  readonly summary: Readonly<Record<string, string>>;
}

/** The server, not yet listening. Requests wait for `engine`. */
export function createFace(engine: Promise<{ connections: Connections; options: FaceOptions }>): Server {
  const server = createServer({ maxHeaderSize: headerBytesMax, requestTimeout: 0 }, (request, response) => {
    engine
      .then(({ connections, options }) => answer(request, response, connections, options))
      .catch((error: unknown) => {
        // Only a broken socket or a bug of ours comes here: the statement's own failures are answered.
        response.destroy(error instanceof Error ? error : new Error(String(error)));
      });
  });
  server.keepAliveTimeout = keepAliveMs;
  return server;
}

/** Makes an empty folder for bodies that only this user can read. */
export function prepareBodiesDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  connections: Connections,
  options: FaceOptions,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://clickhouse");
  response.setHeader("X-ClickHouse-Server-Display-Name", "headrace-local");
  response.setHeader("X-ClickHouse-Timezone", options.timezone);
  const stranger = strangeOrigin(request, options.host);
  if (stranger !== undefined) {
    sendText(response, 403, `${stranger}\n`);
    return;
  }
  if (url.pathname === "/ping" || url.pathname === "/replicas_status") {
    sendText(response, 200, "Ok.\n");
    return;
  }
  if (url.pathname !== "/") {
    sendText(response, 404, `There is no handle ${url.pathname}\n\nUse / or /ping for health checks.\n`);
    return;
  }
  if (request.method === "OPTIONS") {
    response.writeHead(204, { Allow: "OPTIONS, GET, POST" }).end();
    return;
  }
  if (request.method === "GET" && url.search === "") {
    sendText(response, 200, "Ok.\n");
    return;
  }

  let bodyPath: string | undefined;
  let asked: FaceRequest | undefined;
  try {
    const form = await readForm(request);
    const parameters = [...url.searchParams, ...form];
    asked = readFaceRequest(request.method ?? "GET", (name) => headerOf(request, name), parameters);
    authenticate(asked, options.password);
    const queryId = asked.queryId ?? randomUUID();
    response.setHeader("X-ClickHouse-Query-Id", queryId);
    bodyPath = join(options.bodiesDirectory, randomUUID());
    const body = form.length > 0 || request.method === "GET" ? Readable.from([]) : request;
    const encoding = headerOf(request, "content-encoding");
    const prepared = await prepare(asked, body, encoding, bodyPath, connections);
    const outcome = await run(asked, queryId, prepared, response, connections, bodyPath);
    await sendOutcome(request, response, asked, outcome);
  } catch (error) {
    if (request.readableAborted || response.destroyed) {
      options.log(`client hung up: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    sendException(response, error, options.version, bodyPath, asked?.compressAnswer === true);
  } finally {
    if (bodyPath !== undefined) {
      await rm(bodyPath, { force: true });
    }
  }
}

/** A statement with its data in place: what the connection is to run. */
type Prepared =
  | Exclude<Statement, { kind: "insert-data" | "insert-begun" | "empty" | "refused" }>
  | { readonly kind: "insert-file"; readonly text: string };

/** Reads statement and data. The data of an INSERT is in `bodyPath` then. Throws for what is no one statement. */
async function prepare(
  asked: FaceRequest,
  body: Readable,
  contentEncoding: string | undefined,
  bodyPath: string,
  connections: Connections,
): Promise<Prepared> {
  const compression = compressionOf(contentEncoding);
  const urlText = Buffer.from(asked.query, "utf8").toString("latin1");
  const urlStatement = readStatement(urlText, processesSubquery);
  if (urlStatement.kind === "insert-data" && urlStatement.dataStart >= urlText.length) {
    // The usual INSERT: the body is nothing but data, and stays as compressed as it is, but for ClickHouse's own blocks.
    const data = asked.decompressBody
      ? unframe(await plainBody(body, compression, bodyPath, connections))
      : body;
    await writeBody(bodyPath, new Uint8Array(0), data);
    return insertFile(urlStatement, bodyPath, asked.decompressBody ? "none" : compression);
  }
  const begin = Buffer.from(asked.query === "" ? "" : `${asked.query}\n`, "utf8");
  const plain = await plainBody(body, compression, bodyPath, connections);
  const { head, complete, rest } = await readHead(
    asked.decompressBody ? unframe(plain) : plain,
    statementBytesMax,
  );
  const text = Buffer.concat([begin, head]);
  const statement = readStatement(text.toString("latin1"), processesSubquery);
  switch (statement.kind) {
    case "insert-data":
      await writeBody(bodyPath, text.subarray(statement.dataStart), rest);
      return insertFile(statement, bodyPath, "none");
    case "empty":
      throw new ClickHouseException(
        62,
        "SYNTAX_ERROR",
        "Syntax error: failed at position 1 (end of query): Empty query",
      );
    case "insert-begun":
    case "other":
    case "refused":
    case "kill-query": {
      if (complete) {
        return finished(statement, text.toString("latin1"));
      }
      const whole = await readHead(rest, statementBytesCeiling);
      if (!whole.complete) {
        throw new ClickHouseException(
          62,
          "SYNTAX_ERROR",
          `Max query size exceeded: a statement has at most ${statementBytesCeiling} bytes here`,
        );
      }
      const all = Buffer.concat([text, whole.head]).toString("latin1");
      return finished(readStatement(all, processesSubquery), all);
    }
  }
}

/** The whole text has been read: what is not one statement is refused, half an INSERT is the engine's to judge. */
function finished(statement: Statement, text: string): Prepared {
  switch (statement.kind) {
    case "refused":
      throw new ClickHouseException(statement.code, statement.symbol, statement.reason);
    case "insert-begun":
    case "insert-data":
    case "empty":
      return { kind: "other", text, format: undefined, rows: false };
    case "kill-query":
    case "other":
      return statement;
  }
}

function insertFile(
  insert: Extract<Statement, { kind: "insert-data" }>,
  bodyPath: string,
  compression: string,
): Prepared {
  const file = `FROM INFILE ${quote(bodyPath)} COMPRESSION '${compression}'`;
  return {
    kind: "insert-file",
    text: `${insert.target} ${file} ${insert.settings} FORMAT ${insert.format}`,
  };
}

async function plainBody(
  body: Readable,
  compression: string,
  bodyPath: string,
  connections: Connections,
): Promise<Readable> {
  return inflated(body, compression) ?? (await inflateByEngine(body, compression, bodyPath, connections));
}

/** lz4, xz and bz2: the engine reads the file as one string. */
async function inflateByEngine(
  body: Readable,
  compression: string,
  bodyPath: string,
  connections: Connections,
): Promise<Readable> {
  const path = `${bodyPath}.${compression}`;
  try {
    await writeBody(path, new Uint8Array(0), body);
    const answer = await connections.use(undefined, randomUUID(), (connection) =>
      connection.query(
        `SELECT * FROM file(${quote(path)}, RawBLOB, 'body String', '${compression}')`,
        "RawBLOB",
      ),
    );
    return Readable.from([answer.bytes]);
  } finally {
    await rm(path, { force: true });
  }
}

async function run(
  asked: FaceRequest,
  queryId: string,
  prepared: Prepared,
  response: ServerResponse,
  connections: Connections,
  bodyPath: string,
): Promise<Outcome> {
  if (prepared.kind === "kill-query") {
    if (asked.readOnly) {
      throw new ClickHouseException(164, "READONLY", `${asked.user}: Cannot execute query in readonly mode.`);
    }
    const format = prepared.format ?? asked.defaultFormat;
    const killed = await connections.kill(utf8(prepared.condition), prepared.mode, format);
    return { bytes: killed.bytes, format, summary: readSummary(killed) };
  }
  return await connections.use(asked.session, queryId, async (connection) => {
    await connection.query(settingsStatement(asked, queryId), "Null");
    if (asked.database !== undefined) {
      await connection.query(`USE ${quoteIdentifier(asked.database)}`, "Null");
    }
    if (prepared.kind === "insert-file") {
      return await runInsert(connection, prepared.text, bodyPath);
    }
    const format = prepared.format ?? asked.defaultFormat;
    const stop = prepared.rows ? cancelWhenClosed(response, queryId, connections) : undefined;
    try {
      const result = await connection.query(utf8(prepared.text), format);
      return {
        bytes: prepared.rows ? result.bytes : new Uint8Array(0),
        format: prepared.rows ? format : undefined,
        summary: readSummary(result),
      };
    } finally {
      stop?.();
    }
  });
}

async function runInsert(connection: EngineConnection, text: string, bodyPath: string): Promise<Outcome> {
  const sent = await stat(bodyPath);
  const result = await connection.query(utf8(text), "Null");
  return {
    bytes: new Uint8Array(0),
    format: undefined,
    summary: {
      ...readSummary(result),
      written_rows: String(result.rowsRead),
      written_bytes: String(Math.max(result.bytesRead, sent.size)),
    },
  };
}

/** A client that goes away no longer waits for its rows; what writes goes on, as on a server. */
function cancelWhenClosed(response: ServerResponse, queryId: string, connections: Connections): () => void {
  const cancel = (): void => {
    connections.kill(`query_id = ${quote(queryId)}`, "ASYNC", "Null").catch(() => undefined);
  };
  response.once("close", cancel);
  return () => response.off("close", cancel);
}

function readSummary(result: EngineAnswer): Readonly<Record<string, string>> {
  return {
    read_rows: String(result.rowsRead),
    read_bytes: String(result.bytesRead),
    written_rows: "0",
    written_bytes: "0",
    total_rows_to_read: "0",
    result_rows: "0",
    result_bytes: String(result.bytes.length),
    elapsed_ns: String(Math.round(result.elapsedSeconds * 1e9)),
  };
}

async function sendOutcome(
  request: IncomingMessage,
  response: ServerResponse,
  asked: FaceRequest,
  outcome: Outcome,
): Promise<void> {
  response.setHeader("Content-Type", contentTypeOf(outcome.format ?? "text"));
  if (outcome.format !== undefined) {
    response.setHeader("X-ClickHouse-Format", outcome.format);
  }
  response.setHeader("X-ClickHouse-Summary", JSON.stringify(outcome.summary));
  let bytes: Uint8Array = outcome.bytes;
  if (asked.clientRevision > 0 && outcome.format?.toLowerCase() === "native") {
    bytes = nativeAtRevision(bytes, asked.clientRevision);
  }
  if (asked.compressAnswer) {
    bytes = frame(bytes);
  }
  const coding = asked.httpCompression && bytes.length > 0 ? acceptedCoding(request) : undefined;
  if (coding !== undefined) {
    bytes = await coding.compress(bytes);
    response.setHeader("Content-Encoding", coding.name);
  }
  response.setHeader("Content-Length", bytes.length);
  response.writeHead(200).end(request.method === "HEAD" ? undefined : bytes);
}

const codings = [
  { name: "gzip", compress: promisify<Uint8Array, Uint8Array>(gzip) },
  { name: "zstd", compress: promisify<Uint8Array, Uint8Array>(zstdCompress) },
  { name: "br", compress: promisify<Uint8Array, Uint8Array>(brotliCompress) },
  { name: "deflate", compress: promisify<Uint8Array, Uint8Array>(deflate) },
] as const;

function acceptedCoding(request: IncomingMessage): (typeof codings)[number] | undefined {
  const accepted = (headerOf(request, "accept-encoding") ?? "")
    .split(",")
    .map((item) => item.split(";")[0]?.trim());
  return codings.find((coding) => accepted.includes(coding.name));
}

function sendException(
  response: ServerResponse,
  error: unknown,
  version: string,
  bodyPath: string | undefined,
  compressed: boolean,
): void {
  const message = error instanceof Error ? error.message : String(error);
  const text = textOfException(message, version, bodyPath);
  const code = codeOfException(text);
  response.setHeader("X-ClickHouse-Exception-Code", String(code));
  if (code === 194) {
    response.setHeader("WWW-Authenticate", 'Basic realm="ClickHouse server HTTP API"');
  }
  const bytes = Buffer.from(text, "utf8");
  sendText(response, statusOfException(code), compressed ? frame(bytes) : bytes);
}

function sendText(response: ServerResponse, status: number, text: string | Uint8Array): void {
  response.writeHead(status, { "Content-Type": "text/plain; charset=UTF-8" }).end(text);
}

function authenticate(asked: FaceRequest, password: string): void {
  if (asked.user !== "default" || (password !== "" && asked.password !== password)) {
    throw new ClickHouseException(
      516,
      "AUTHENTICATION_FAILED",
      `${asked.user}: Authentication failed: password is incorrect, or there is no user with such name.`,
    );
  }
}

/** The fields of a multipart form (parameters too long for a URL); no field when the body is something else. */
async function readForm(request: IncomingMessage): Promise<readonly (readonly [string, string])[]> {
  const contentType = headerOf(request, "content-type") ?? "";
  if (!/^multipart\/form-data/i.test(contentType)) {
    return [];
  }
  const { head, complete } = await readHead(request, statementBytesCeiling);
  if (!complete) {
    throw new ClickHouseException(
      48,
      "NOT_IMPLEMENTED",
      `A form has at most ${statementBytesCeiling} bytes here`,
    );
  }
  const form = await new Response(new Uint8Array(head), {
    headers: { "Content-Type": contentType },
  }).formData();
  const fields: [string, string][] = [];
  for (const [name, value] of form.entries()) {
    if (typeof value !== "string") {
      throw new ClickHouseException(48, "NOT_IMPLEMENTED", `External tables are not known here: '${name}'`);
    }
    fields.push([name, value]);
  }
  return fields;
}

/**
 * Why a request must be refused that a browser sent on behalf of a page from elsewhere, or undefined. The engine reads
 * files of this machine; without this, any page could ask it to (Origin), or pretend to be it (DNS rebinding: Host).
 */
function strangeOrigin(request: IncomingMessage, host: string): string | undefined {
  if (!isLoopback(host)) {
    return undefined;
  }
  const asked = headerOf(request, "host");
  if (asked !== undefined && !isLoopback(asked.replace(/:\d+$/, ""))) {
    return `This engine is for this machine only: it does not answer to the name ${asked}`;
  }
  const origin = headerOf(request, "origin");
  if (origin !== undefined && !isLoopback(URL.canParse(origin) ? new URL(origin).hostname : origin)) {
    return `This engine is for this machine only: it does not answer pages of ${origin}`;
  }
  return undefined;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : value?.[0];
}

function utf8(binary: string): string {
  return Buffer.from(binary, "latin1").toString("utf8");
}
