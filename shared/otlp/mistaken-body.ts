/**
 * What a body that is not a trace request seems to be, by its first bytes: for the message of a 400, never for a
 * decision. "wire type 7 does not exist at byte 1" is true of gzip without its header, and helps nobody.
 */
import type { BodyType } from "../payload-key.ts";
import { wireType } from "./fields.ts";
import { MalformedBody } from "./malformed.ts";
import { isUtf8 } from "./utf8.ts";
import { WireReader } from "./wire-reader.ts";

/** RFC 1952, RFC 8878, and RFC 1950 with the window that every zlib writes. */
const compressed = [
  { name: "gzip", encoding: "gzip", magic: [0x1f, 0x8b] },
  { name: "zstd", encoding: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: "zlib", encoding: "deflate", magic: [0x78, 0x01] },
  { name: "zlib", encoding: "deflate", magic: [0x78, 0x9c] },
  { name: "zlib", encoding: "deflate", magic: [0x78, 0xda] },
] as const;
/** A gRPC message's frame: a flag, and four bytes of its length. */
const grpcHeadBytes = 5;
/** How much of a JSON body is looked at for the name of its first field. */
const jsonHeadBytes = 200;

/** What `body`, inflated, seems to be, as a sentence; undefined where nothing is recognised. */
export function mistakeIn(body: Uint8Array, type: BodyType): string | undefined {
  for (const { name, encoding, magic } of compressed) {
    if (magic.every((byte, i) => body[i] === byte)) {
      return `The body is ${name}, and the request does not say so: send Content-Encoding: ${encoding}`;
    }
  }
  if (isGrpcFrame(body)) {
    return "The body is framed as gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf in the exporter";
  }
  const isJson = beginsAsJson(body);
  if (type === "pb" && isJson) {
    return "The body is JSON, and its Content-Type says protobuf: send application/json";
  }
  if (type === "json" && !isJson && firstField(body)?.number === 1) {
    return "The body is protobuf, and its Content-Type says JSON: send application/x-protobuf";
  }
  const signal = isJson ? jsonSignal(body) : protobufSignal(body);
  return signal === undefined
    ? undefined
    : `The body holds ${signal}, and /v1/traces takes traces: Headrace does not take ${signal}. Set OTEL_${signal.toUpperCase()}_EXPORTER=none in the exporter`;
}

function isGrpcFrame(body: Uint8Array): boolean {
  if (body.length < grpcHeadBytes || (body[0] ?? 0) > 1) {
    return false;
  }
  return new DataView(body.buffer, body.byteOffset).getUint32(1) === body.length - grpcHeadBytes;
}

/** An object or an array, behind white space and a byte order mark. */
function beginsAsJson(body: Uint8Array): boolean {
  return /^\ufeff?\s*[{[]\s*["{}\]]/.test(head(body));
}

function jsonSignal(body: Uint8Array): Signal | undefined {
  const [, signal] = /"resource_?(Spans|Metrics|Logs|Profiles)"/i.exec(head(body)) ?? [];
  switch (signal?.toLowerCase()) {
    case "metrics":
      return "metrics";
    case "logs":
      return "logs";
    case "profiles":
      return "profiles";
    default:
      return undefined;
  }
}

function head(body: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(body.subarray(0, jsonHeadBytes));
}

type Signal = "metrics" | "logs" | "profiles";

/**
 * The signals' requests are alike down to their items (field 1, 2 and 2): a Metric begins with its name, a LogRecord with
 * a fixed64 time (1 or 11), a Span with 16 bytes of an id.
 */
function protobufSignal(body: Uint8Array): Signal | undefined {
  const item = contentOf(contentOf(contentOf(body, 1), 2), 2);
  const first = item === undefined ? undefined : firstField(item);
  if (item === undefined || first === undefined) {
    return undefined;
  }
  if (first.wire === wireType.fixed64 && (first.number === 1 || first.number === 11)) {
    return "logs";
  }
  const name = contentOf(item, 1);
  // metrics.proto, Metric: gauge 5, sum 7, histogram 9, exponential_histogram 10, summary 11.
  const hasData = [5, 7, 9, 10, 11].some((number) => contentOf(item, number) !== undefined);
  const isName = name !== undefined && name.length > 0 && isUtf8(name, 0, name.length);
  return isName && hasData && !name.some((byte) => byte < 0x20) ? "metrics" : undefined;
}

/** The content of the first length-delimited field of this number. */
function contentOf(message: Uint8Array | undefined, number: number): Uint8Array | undefined {
  return message === undefined
    ? undefined
    : find(message, (field) => field.number === number && field.wire === wireType.length)?.content;
}

function firstField(message: Uint8Array): FoundField | undefined {
  return find(message, () => true);
}

interface FoundField {
  readonly number: number;
  readonly wire: number;
  /** Of a length-delimited field. */
  readonly content: Uint8Array;
}

/** Fields of a message looked at before it is given up. */
const fieldsMax = 64;

function find(message: Uint8Array, wanted: (field: FoundField) => boolean): FoundField | undefined {
  const reader = new WireReader(message);
  try {
    for (let n = 0; n < fieldsMax && !reader.done; n++) {
      const tag = reader.tag();
      const from = reader.at;
      reader.skip(tag);
      const isLength = (tag & 7) === wireType.length;
      const content = message.subarray(isLength ? contentStart(message, from, reader.at) : from, reader.at);
      const field = { number: tag >>> 3, wire: tag & 7, content };
      if (wanted(field)) {
        return field;
      }
    }
  } catch (error) {
    if (!(error instanceof MalformedBody)) {
      throw error;
    }
  }
  return undefined;
}

function contentStart(message: Uint8Array, from: number, to: number): number {
  const reader = new WireReader(message, from, to);
  reader.length();
  return reader.at;
}
