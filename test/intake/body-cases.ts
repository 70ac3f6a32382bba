/** Requests that are odd as a whole: framing, encodings, headers, paths and sizes. Their spans are good. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { bytesField, join, keyValue, stringField, value, varintField } from "../fixtures/protobuf.ts";
import {
  type IntakeCase,
  jsonRequest,
  jsonSpan,
  jsonText,
  jsonTextOf,
  pbRequest,
  pbRequestOf,
  pbSpan,
  type Times,
} from "./requests.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const mebibyte = 1024 * 1024;

type Body = Uint8Array | (() => Uint8Array);

interface Shape extends Omit<IntakeCase, "name" | "type" | "body"> {
  readonly pb?: Body;
  readonly json?: Body | string;
}

function casesOf(shapes: Readonly<Record<string, Shape>>): IntakeCase[] {
  return Object.entries(shapes).flatMap(([name, { pb, json, ...rest }]): IntakeCase[] => [
    ...(pb === undefined
      ? []
      : [{ name: `${name} (protobuf)`, body: madeOf(pb), type: "protobuf" as const, ...rest }]),
    ...(json === undefined
      ? []
      : [{ name: `${name} (JSON)`, body: madeOf(json), type: "json" as const, ...rest }]),
  ]);
}

function madeOf(body: Body | string): () => Uint8Array {
  return typeof body === "function" ? body : () => (typeof body === "string" ? encode(body) : body);
}

function framing(at: Times): IntakeCase[] {
  const pb = () => pbRequest(at, [{}, {}]);
  const json = () => jsonText(at, [{}, {}]);
  const { now } = at;
  const nanos = `${now}000000`;
  const twoScopes = (name: string): string => json().replace('"scopeSpans"', `"${name}"`);
  return casesOf({
    "no body": { pb: new Uint8Array(0), json: "" },
    "an empty object": { json: "{}" },
    "an empty array": { json: "[]" },
    "the word null": { json: "null", differs: "null-is-default" },
    "a text": { json: '"spans"' },
    "no resourceSpans": { json: '{"resourceSpans":[]}' },
    "resourceSpans null": { json: '{"resourceSpans":null}', differs: "null-is-default" },
    "resourceSpans as an object": { json: '{"resourceSpans":{}}' },
    "spans as an object": { json: '{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}' },
    "a span null": { json: jsonTextOf([jsonSpan(at), "null", jsonSpan(at)]), differs: "null-is-default" },
    "a span that is an array": { json: jsonTextOf([jsonSpan(at), "[]", jsonSpan(at)]) },
    "scopes under their old name": { json: twoScopes("instrumentationLibrarySpans") },
    "everything in snake_case": {
      json: json()
        .replaceAll("resourceSpans", "resource_spans")
        .replaceAll("scopeSpans", "scope_spans")
        .replaceAll("traceId", "trace_id")
        .replaceAll("spanId", "span_id")
        .replaceAll("startTimeUnixNano", "start_time_unix_nano")
        .replaceAll("endTimeUnixNano", "end_time_unix_nano")
        .replaceAll("stringValue", "string_value"),
    },
    "a byte order mark": { json: join(0xef, 0xbb, 0xbf, encode(json())), differs: "byte-order-mark" },
    "white space around": { json: `\r\n\t ${json()} \n` },
    "UTF-16": { json: Uint8Array.from([...json()].flatMap((char) => [char.charCodeAt(0), 0])) },
    "a comma too many": { json: json().replace(/\]\}$/, ",]}") },
    comments: { json: `/* spans */${json()}` },
    "single quotes": { json: json().replaceAll('"', "'") },
    "two documents": { json: `${json()}${json()}`, differs: "after-the-end" },
    "a document a line": { json: `${json()}\n${json()}\n`, differs: "after-the-end" },
    "text after the end": { json: `${json()}x`, differs: "after-the-end" },
    "cut in the middle": { pb: pb().subarray(0, 90), json: json().slice(0, 200) },
    "cut before its last byte": { pb: pb().subarray(0, -1), json: json().slice(0, -1) },
    "a byte after the end": { pb: join(pb(), 0) },
    "two requests one after the other": { pb: join(pb(), pb()) },
    "field number 0": { pb: join(0x02, 0x00) },
    "wire type 7": { pb: join(0x0f, 0x00) },
    "a length beyond the end": { pb: join(0x0a, 0x7f, 1) },
    "a length of ten bytes": { pb: join(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01) },
    "padded lengths, as .NET writes them": {
      pb: bytesField(1, bytesField(2, bytesField(2, pbSpan(at), 4), 4), 4),
    },
    "a resource in two pieces": {
      pb: bytesField(1, [
        bytesField(1, bytesField(1, keyValue("a", value.int(1)))),
        bytesField(2, bytesField(2, pbSpan(at))),
        bytesField(1, bytesField(1, keyValue("b", value.int(2)))),
      ]),
    },
    "no resource and no scope": {
      pb: bytesField(1, bytesField(2, bytesField(2, pbSpan(at)))),
      json: `{"resourceSpans":[{"scopeSpans":[{"spans":[${jsonSpan(at)}]}]}]}`,
    },
    "a resource null": {
      json: `{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[${jsonSpan(at)}]}]}]}`,
      differs: "null-is-default",
    },
    "a schemaUrl": {
      json: `{"resourceSpans":[{"schemaUrl":"https://x","scopeSpans":[{"schemaUrl":"y","spans":[${jsonSpan(at)}]}]}]}`,
    },
    "a resource that is not UTF-8": {
      pb: pbRequestOf([pbSpan(at), pbSpan(at)], bytesField(1, keyValue("k", bytesField(1, [0xc3])))),
    },
    "2000 resources": {
      pb: () => join(...Array.from({ length: 2000 }, () => pbRequest(at, [{}]))),
    },
    metrics: {
      pb: bytesField(
        1,
        bytesField(2, bytesField(2, [stringField(1, "requests"), bytesField(5, bytesField(1, []))])),
      ),
      json: `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"requests","gauge":{"dataPoints":[{"timeUnixNano":"${nanos}","asInt":"1"}]}}]}]}]}`,
      differs: "another-signal",
    },
    logs: {
      pb: bytesField(
        1,
        bytesField(2, bytesField(2, [varintField(2, 9), bytesField(5, value.string("hello"))])),
      ),
      json: `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}`,
      differs: "another-signal",
    },
    "field names of nobody": { json: '{"spans":[{"name":"a"}],"service":"shop"}' },
    "JSON sent as protobuf": { pb: encode(json()) },
    "protobuf sent as JSON": { json: pb(), differs: "collector-500" },
    "a gRPC frame": { pb: join(0, 0, 0, 0, pb().length, pb()) },
    "a form": { json: "resourceSpans=1&x=2" },
    XML: { json: "<spans/>" },
  });
}

function encodings(at: Times): IntakeCase[] {
  const pb = () => pbRequest(at, [{}, {}]);
  const json = () => jsonRequest(at, [{}, {}]);
  const as = (encoding: string, pbBody: Uint8Array, jsonBody?: Uint8Array, differs?: string): Shape => ({
    headers: { "content-encoding": encoding },
    pb: new Uint8Array(pbBody),
    ...(jsonBody === undefined ? {} : { json: new Uint8Array(jsonBody) }),
    ...(differs === undefined ? {} : { differs }),
  });
  const gzip = (body: Uint8Array): Uint8Array => new Uint8Array(gzipSync(body));
  const wrongCrc = gzip(pb());
  wrongCrc[wrongCrc.length - 8] = (wrongCrc[wrongCrc.length - 8] ?? 0) ^ 0xff;
  const zstd = (body: Uint8Array): Uint8Array => new Uint8Array(zstdCompressSync(body));
  const skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
  const unknown = "unknown-encoding";
  return casesOf({
    gzip: as("gzip", gzip(pb()), gzip(json())),
    "gzip in upper case": as("GZIP", gzip(pb()), undefined, "encoding-name"),
    "x-gzip": as("x-gzip", gzip(pb()), undefined, "encoding-name"),
    deflate: as("deflate", deflateSync(pb()), deflateSync(json())),
    "deflate without zlib's header": as("deflate", deflateRawSync(pb())),
    zlib: as("zlib", deflateSync(pb()), undefined, "encoding-name"),
    zstd: as("zstd", zstd(pb()), zstd(json())),
    identity: as("identity", pb(), json(), "encoding-name"),
    none: as("none", pb(), undefined, unknown),
    br: as("br", brotliCompressSync(pb()), undefined, unknown),
    snappy: as("snappy", pb(), undefined, unknown),
    lz4: as("lz4", pb(), undefined, unknown),
    "gzip twice": as("gzip, gzip", gzip(gzip(pb())), undefined, unknown),
    "gzip of nothing": as("gzip", gzip(new Uint8Array(0))),
    "gzip without a body": as("gzip", new Uint8Array(0)),
    "gzip of two members": as("gzip", join(gzip(pb()), gzip(pb()))),
    "gzip with zeros behind it": as("gzip", join(gzip(pb()), new Uint8Array(20)), undefined, "behind-gzip"),
    "gzip with text behind it": as("gzip", join(gzip(pb()), encode("tail"))),
    "gzip that is cut off": as("gzip", gzip(pb()).subarray(0, -9)),
    "gzip with a wrong checksum": as("gzip", wrongCrc),
    "gzip that is none": as("gzip", pb(), json()),
    "gzip without its header": { pb: gzip(pb()), json: gzip(json()), differs: "collector-500" },
    "zstd without its header": { pb: zstd(pb()) },
    "zstd that is none": as("zstd", pb()),
    "zstd of two frames": as("zstd", join(zstd(pb()), zstd(pb()))),
    "zstd with a skippable frame": as("zstd", join(skippable, zstd(pb()))),
    "zstd that is cut off": as("zstd", zstd(pb()).subarray(0, -3)),
    "deflate that is cut off": as("deflate", new Uint8Array(deflateSync(pb())).subarray(0, -3)),
  });
}

function headersAndPaths(at: Times): IntakeCase[] {
  const pb = () => pbRequest(at, [{}, {}]);
  const json = () => jsonRequest(at, [{}, {}]);
  const type = (content: string, shape: Pick<Shape, "pb" | "json">, differs?: string): Shape => ({
    headers: { "content-type": content },
    ...shape,
    ...(differs === undefined ? {} : { differs }),
  });
  const path = (at: string, differs?: string): Shape => ({
    path: at,
    pb: pb(),
    ...(differs === undefined ? {} : { differs }),
  });
  const method = (name: string, differs?: string): Shape => ({
    method: name,
    pb: name === "GET" || name === "HEAD" ? new Uint8Array(0) : pb(),
    ...(differs === undefined ? {} : { differs }),
  });
  return casesOf({
    "Content-Type in upper case": type("APPLICATION/X-PROTOBUF", { pb: pb() }),
    "Content-Type with a parameter": type("application/x-protobuf; proto=x", { pb: pb() }),
    "Content-Type application/protobuf": type("application/protobuf", { pb: pb() }),
    "Content-Type application/octet-stream": type("application/octet-stream", { pb: pb() }),
    "Content-Type of a form": type("application/x-www-form-urlencoded", { pb: pb() }),
    "Content-Type of gRPC": type("application/grpc+proto", { pb: pb() }),
    "Content-Type text/plain": type("text/plain", { json: json() }),
    "Content-Type text/json": type("text/json", { json: json() }),
    "Content-Type with utf-8": type("application/json; charset=utf-8", { json: json() }),
    "Content-Type with latin-1": type("application/json; charset=iso-8859-1", { json: json() }),
    "Content-Type of ndjson": type("application/x-ndjson", { json: json() }),
    "Content-Type with a broken parameter": type(
      "application/json; charset",
      { json: json() },
      "content-type-parameter",
    ),
    "a preflight": {
      method: "OPTIONS",
      pb: new Uint8Array(0),
      headers: { origin: "https://shop.example", "access-control-request-method": "POST" },
    },
    GET: method("GET"),
    HEAD: method("HEAD"),
    PUT: method("PUT"),
    DELETE: method("DELETE"),
    "two slashes before the path": path("//v1/traces", "odd-path"),
    "two slashes within the path": path("/v1//traces", "odd-path"),
    "a slash behind the path": path("/v1/traces/", "odd-path"),
    "a query": path("/v1/traces?key=1"),
    "a path in upper case": path("/V1/TRACES"),
    "a path that is cut": path("/v1/trace"),
    "the path /": path("/"),
    "the path of OpenTelemetry's old collector": path("/api/v2/spans"),
    "the path of metrics": path("/v1/metrics"),
    "Accept of another type": { headers: { accept: "text/html" }, pb: pb(), json: json() },
    "Accept-Encoding gzip": { headers: { "accept-encoding": "gzip" }, pb: pb() },
    "Expect nothing, X-anything": { headers: { "x-anything": "x".repeat(4000) }, pb: pb() },
  });
}

/** A body of exactly so many bytes: its one long text is as long as it takes. */
function ofLength(bytes: number, of: (text: string) => Uint8Array): Uint8Array {
  const first = of("x".repeat(bytes - 1000));
  return of("x".repeat(bytes - 1000 + bytes - first.length));
}

function sizes(at: Times): IntakeCase[] {
  const long = (text: string): Uint8Array => {
    const attribute = bytesField(9, keyValue("gen_ai.prompt", value.string(text)));
    return pbRequest({ now: at.now }, [{}, { more: attribute }, {}]);
  };
  const longJson = (text: string): Uint8Array =>
    jsonRequest(at, [
      {},
      { more: `"attributes":[{"key":"gen_ai.prompt","value":{"stringValue":"${text}"}}]` },
      {},
    ]);
  const gzip = { "content-encoding": "gzip" };
  const packed = (body: Uint8Array): Uint8Array => new Uint8Array(gzipSync(body, { level: 1 }));
  const wide = (spans: number, resourceBytes: number): Uint8Array =>
    pbRequestOf(
      new Array<Uint8Array>(spans).fill(pbSpan(at)),
      bytesField(1, keyValue("process.command_line", value.string("c".repeat(resourceBytes)))),
    );
  const rows = "rows-too-large";
  return casesOf({
    "a prompt of 5 MB": { pb: () => long("p".repeat(5e6)), json: () => longJson("p".repeat(5e6)) },
    "a prompt of 17 MB in gzip": {
      headers: gzip,
      pb: () => packed(long("p".repeat(17e6))),
      json: () => packed(longJson("p".repeat(17e6))),
    },
    "20 MiB": { pb: () => ofLength(20 * mebibyte, long), json: () => ofLength(20 * mebibyte, longJson) },
    "20 MiB and a byte": { pb: () => ofLength(20 * mebibyte + 1, long), differs: "too-large-status" },
    "20 MiB in gzip": { headers: gzip, pb: () => packed(ofLength(20 * mebibyte, long)) },
    "20 MiB and a byte in gzip": {
      headers: gzip,
      pb: () => packed(ofLength(20 * mebibyte + 1, long)),
      differs: "too-large-status",
    },
    "512 spans with a resource of 40 KB": { pb: () => wide(512, 40_000) },
    "512 spans with a resource of 70 KB": { pb: () => wide(512, 70_000) },
    "8192 spans with a resource of 3 KB": { pb: () => wide(8192, 3000) },
    "8192 spans with a resource of 4 KB": { pb: () => wide(8192, 4096) },
    "8192 spans": { pb: () => wide(8192, 10) },
    "100,001 spans": {
      headers: gzip,
      pb: () => packed(wide(100_001, 10)),
      differs: "too-many",
    },
    "6 MB of quotes in an array": {
      pb: () =>
        pbRequest(at, [
          {},
          { more: bytesField(9, keyValue("k", value.array(value.string('"'.repeat(6e6))))) },
          {},
        ]),
      differs: rows,
    },
  });
}

export function bodyCases(at: Times): IntakeCase[] {
  return [...framing(at), ...encodings(at), ...headersAndPaths(at), ...sizes(at)];
}
