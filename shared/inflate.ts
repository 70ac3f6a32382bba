/**
 * Undoes a payload's content encoding, bounded. The ingress inflates to check and the consumer to transcode; both go
 * through here, so that what one accepted the other can read.
 */
import { assert, unreachable } from "./assert.ts";
import { scanDeflate } from "./deflate-scan.ts";
import { limits } from "./limits.ts";
import type { ContentEncoding } from "./messages.ts";
import { hasTooManyZstdBlocks } from "./zstd-scan.ts";

/** What `node:zlib` gives for `info: true`: the output, and how much of the input it was made from. */
interface Inflated {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

/** The part of `node:zlib` that inflates; handed in, since `shared/` imports no runtime. */
export interface Zlib {
  gunzipSync(body: Uint8Array, options: { maxOutputLength: number; chunkSize: number }): Uint8Array;
  inflateSync(body: Uint8Array, options: { maxOutputLength: number; info: true }): object;
  zstdDecompressSync(body: Uint8Array, options: { maxOutputLength: number; info: true }): object;
}

/** The body is not what its Content-Encoding says: corrupt or cut off. */
export class CorruptEncoding extends Error {
  override readonly name = "CorruptEncoding";
}

/** The body inflates to more than was allowed. Thrown at the bound, not after it. */
export class InflatedTooLarge extends Error {
  override readonly name = "InflatedTooLarge";
}

/**
 * Returns the inflated body, at most `bytesMax` long; the body itself where it is not encoded.
 * Throws `CorruptEncoding` or `InflatedTooLarge`.
 */
export function inflate(
  zlib: Zlib,
  body: Uint8Array,
  encoding: ContentEncoding,
  bytesMax: number,
): Uint8Array {
  if (encoding === "identity") {
    if (body.length > bytesMax) {
      throw new InflatedTooLarge(`the body is larger than ${bytesMax} bytes`);
    }
    return body;
  }
  try {
    return decode(zlib, body, encoding, bytesMax);
  } catch (error) {
    // zlib says "Cannot create a Buffer larger than …" (Node) or "Memory limit exceeded" (workerd), both RangeError.
    if (error instanceof RangeError) {
      throw new InflatedTooLarge(`the body inflates to more than ${bytesMax} bytes`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new CorruptEncoding(`the body is not valid ${encoding}: ${reason}`, { cause: error });
  }
}

function decode(
  zlib: Zlib,
  body: Uint8Array,
  encoding: Exclude<ContentEncoding, "identity">,
  bytesMax: number,
): Uint8Array {
  if (encoding !== "zstd" && body.length > limits.deflateUnwalkedBytesMax) {
    const scan = scanDeflate(body, encoding, bytesMax);
    if (scan.kind === "too_many_blocks") {
      throw new Error(`its first ${scan.blocks} blocks hold almost nothing`);
    }
  }
  switch (encoding) {
    case "gzip": // takes members one after the other by itself
      return zlib.gunzipSync(body, {
        maxOutputLength: bytesMax,
        chunkSize: gunzipChunkBytes(body, bytesMax),
      });
    case "deflate": {
      const { buffer, engine } = withInfo(zlib.inflateSync(body, { maxOutputLength: bytesMax, info: true }));
      if (engine.bytesWritten < body.length) {
        throw new Error(`${body.length - engine.bytesWritten} bytes follow its end`);
      }
      return buffer;
    }
    case "zstd":
      return decodeZstd(zlib, body, bytesMax);
  }
  return unreachable(encoding);
}

/** zlib's least. */
const chunkBytesMin = 64;
/** Text in protobuf deflates about 8 to 1. What claims to be far more is inflated in several chunks. */
const chunkRatioMax = 32;

/**
 * zlib gathers its output in chunks, 16 KiB each by default, and joins them at the end: half of the time. A gzip
 * member's last four bytes are its length (RFC 1952 section 2.3.1), so one chunk is enough where they are true; and
 * where they are not, only the number of chunks is another. One byte more tells zlib that nothing follows.
 */
function gunzipChunkBytes(body: Uint8Array, bytesMax: number): number {
  const at = body.length - 4;
  const [a = 0, b = 0, c = 0, d = 0] = at < 0 ? [] : body.subarray(at);
  const length = (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  return Math.max(chunkBytesMin, Math.min(length, bytesMax, body.length * chunkRatioMax) + 1);
}

/**
 * A zstd body may be several frames (RFC 8878 section 3). zlib inflates the first and is silent about the rest, which
 * would be spans that were answered 200 and never stored.
 */
function decodeZstd(zlib: Zlib, body: Uint8Array, bytesMax: number): Uint8Array {
  if (hasTooManyZstdBlocks(body)) {
    throw new Error("its blocks are too many for their size");
  }
  const frames: Uint8Array[] = [];
  let count = 0;
  let bytes = 0;
  for (let at = 0; at < body.length; ) {
    const options = { maxOutputLength: Math.max(1, bytesMax - bytes), info: true } as const;
    const { buffer, engine } = withInfo(zlib.zstdDecompressSync(body.subarray(at), options));
    assert(engine.bytesWritten > 0, "a frame takes bytes");
    at += engine.bytesWritten;
    count++;
    if (count > limits.zstdFramesMax) {
      throw new Error(`it has more than ${limits.zstdFramesMax} frames`);
    }
    if (buffer.length > 0) {
      frames.push(buffer); // an empty frame is 9 bytes, and would keep an object each
    }
    bytes += buffer.length;
    if (bytes > bytesMax) {
      throw new RangeError("over the bound");
    }
  }
  const [only] = frames;
  if (only !== undefined && frames.length === 1) {
    return only;
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const frame of frames) {
    whole.set(frame, at);
    at += frame.length;
  }
  return whole;
}

/** node:zlib's types do not know `info` (documented under "zlib options"): what it gives is looked at here. */
function withInfo(result: object): Inflated {
  assert("buffer" in result && result.buffer instanceof Uint8Array, "zlib gives its output");
  assert(
    "engine" in result && typeof result.engine === "object" && result.engine !== null,
    "zlib gives its engine",
  );
  const { buffer, engine } = result;
  assert("bytesWritten" in engine && typeof engine.bytesWritten === "number", "zlib counts its input");
  return { buffer, engine: { bytesWritten: engine.bytesWritten } };
}
