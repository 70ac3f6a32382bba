/**
 * Undoes a payload's content encoding, bounded. The ingress inflates to check and the consumer to transcode; both go
 * through here, so that what one accepted the other can read.
 */
import { unreachable } from "./assert.ts";
import type { ContentEncoding } from "./messages.ts";

/** The part of `node:zlib` that inflates; handed in, since `shared/` imports no runtime. */
export interface Zlib {
  gunzipSync(body: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
  inflateSync(body: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
  zstdDecompressSync(body: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
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
    return decode(zlib, body, encoding, { maxOutputLength: bytesMax });
  } catch (error) {
    // zlib says "Cannot create a Buffer larger than …" (Node) or "Memory limit exceeded" (workerd), both RangeError.
    if (error instanceof RangeError) {
      throw new InflatedTooLarge(`the body inflates to more than ${bytesMax} bytes`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new CorruptEncoding(`the body is no valid ${encoding}: ${reason}`, { cause: error });
  }
}

function decode(
  zlib: Zlib,
  body: Uint8Array,
  encoding: Exclude<ContentEncoding, "identity">,
  options: { maxOutputLength: number },
): Uint8Array {
  switch (encoding) {
    case "gzip":
      return zlib.gunzipSync(body, options);
    case "deflate":
      return zlib.inflateSync(body, options);
    case "zstd":
      return zlib.zstdDecompressSync(body, options);
  }
  return unreachable(encoding);
}
