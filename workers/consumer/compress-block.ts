/**
 * Compresses a Native block, by default with zstd at level 1: for ClickHouse cheaper than none, since it reads fewer
 * bytes. gzip costs the Worker more (bench/README.md): it is for what lies between and knows no zstd.
 *
 * The result is whole before the request begins, and has a length. A request whose body is a stream would hold less
 * memory, but when such a stream fails half-way, workerd ends the body as if it were complete: ClickHouse then reads
 * an empty block, stores nothing and answers 200 (both tried; docs/decisions/0003).
 *
 * workerd's `zstdCompressSync` fails ("Unexpected end of file") once a frame's output passes 40 KiB, with any options.
 * So the block becomes many frames, which may follow each other (RFC 8878 section 3). The input of a frame follows
 * the block's own ratio: half as much when a frame fails, twice as much while frames come out small.
 */
import * as zlib from "node:zlib";
import { assert } from "../../shared/assert.ts";
import type { InsertCompression } from "../../shared/clickhouse/connection.ts";

const level = { params: { [zlib.constants.ZSTD_c_compressionLevel]: 1 } };
/** Random bytes of this length still make a frame: zstd adds some 20 bytes to what it cannot compress. */
const windowBytesMin = 32 * 1024;
/** zstd's own window at level 1 is 512 KiB: a longer input gains nothing. */
const windowBytesMax = 512 * 1024;
/** A frame below half of the limit lets the next window grow. */
const smallFrameBytes = 16 * 1024;

/**
 * The chunks compressed, in parts to be joined. They share no memory with the chunks: so these can be let go before the
 * parts are joined, and an isolate holds twice a block that hardly compresses, and not three times. An empty block is an
 * error of the caller.
 */
export function compressParts(chunks: Iterable<Uint8Array>, compression: InsertCompression): Uint8Array[] {
  switch (compression) {
    case "zstd":
      return compressFrames(chunks);
    case "gzip":
      return [zlib.gzipSync(Buffer.concat([...chunks]), { level: 1 })];
    case "none":
      return [Buffer.concat([...chunks])];
  }
}

function compressFrames(chunks: Iterable<Uint8Array>): Uint8Array[] {
  const frames: Uint8Array[] = [];
  let windowBytes = 128 * 1024;
  for (const piece of gather(chunks, windowBytesMax)) {
    for (let at = 0; at < piece.length; ) {
      const input = piece.subarray(at, at + windowBytes);
      const frame = compressFrame(input);
      if (frame === undefined) {
        assert(windowBytes > windowBytesMin, "the smallest window always makes a frame");
        windowBytes = Math.max(windowBytesMin, windowBytes >> 1);
        continue;
      }
      frames.push(frame);
      at += input.length;
      if (frame.length < smallFrameBytes && windowBytes < windowBytesMax) {
        windowBytes *= 2;
      }
    }
  }
  assert(frames.length > 0, "a block is not empty");
  return frames;
}

/** One zstd frame, or undefined when it would pass workerd's limit. */
function compressFrame(input: Uint8Array): Uint8Array | undefined {
  try {
    return zlib.zstdCompressSync(input, level);
  } catch (error) {
    if (error instanceof Error && /unexpected end of file/i.test(error.message)) {
      return undefined;
    }
    throw new Error("zstd could not compress a block", { cause: error });
  }
}

/** The same bytes in pieces of about `bytes`: columns' chunks are small, and each frame has a cost of its own. */
function* gather(chunks: Iterable<Uint8Array>, bytes: number): Generator<Uint8Array> {
  let gathered: Uint8Array[] = [];
  let length = 0;
  for (const chunk of chunks) {
    gathered.push(chunk);
    length += chunk.length;
    if (length >= bytes) {
      yield Buffer.concat(gathered);
      gathered = [];
      length = 0;
    }
  }
  if (length > 0) {
    yield Buffer.concat(gathered);
  }
}
