/**
 * ClickHouse's own framing of compressed data (`compress=1`, `decompress=1`): a CityHash128 checksum of what follows,
 * a method, the size with this header of 9 bytes, the inflated size, the data. Source: CompressedReadBufferBase.cpp.
 *
 * Answers carry true checksums and are not compressed (method NONE). Checksums of bodies are not compared: they come
 * over loopback, and in JavaScript the comparison would cost more than the INSERT.
 */
import { zstdDecompressSync } from "node:zlib";
import { cityHash128 } from "./city-hash.ts";
import { ClickHouseException } from "./exception.ts";
import { inflateLz4 } from "./lz4.ts";

const checksumBytes = 16;
const headerBytes = 9;
const methodNone = 0x02;
const methodLz4 = 0x82;
const methodZstd = 0x90;
/** Keeps a header that lies from asking for all memory. DBMS_MAX_COMPRESSED_SIZE of a server is the same. */
const frameBytesMax = 0x40000000;
/** max_compress_block_size of a server. */
const answerFrameBytes = 1_048_576;

/** An answer in frames. No bytes make no frame. */
export function frame(bytes: Uint8Array): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += answerFrameBytes) {
    const data = bytes.subarray(at, at + answerFrameBytes);
    const body = new Uint8Array(headerBytes + data.length);
    const header = new DataView(body.buffer);
    header.setUint8(0, methodNone);
    header.setUint32(1, body.length, true);
    header.setUint32(5, data.length, true);
    body.set(data, headerBytes);
    frames.push(cityHash128(body), body);
  }
  return Buffer.concat(frames);
}

/** The data of the frames that `body` is made of. Throws ClickHouse's own exceptions for what is none. */
export async function* unframe(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let held = 0;
  let wanted = checksumBytes + headerBytes;
  for await (const chunk of body) {
    chunks.push(chunk);
    held += chunk.length;
    while (held >= wanted) {
      const [first] = chunks;
      const bytes = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
      const end = checksumBytes + sizeOf(bytes);
      chunks = [bytes];
      if (held < end) {
        wanted = end;
        break;
      }
      yield inflate(bytes.subarray(checksumBytes, end));
      chunks = [bytes.subarray(end)];
      held -= end;
      wanted = checksumBytes + headerBytes;
    }
  }
  if (held > 0) {
    throw new ClickHouseException(
      33,
      "CANNOT_READ_ALL_DATA",
      "Cannot read all data: the last block is cut off",
    );
  }
}

function sizeOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(checksumBytes + 1, true);
  const inflatedSize = view.getUint32(checksumBytes + 5, true);
  if (size < headerBytes || size > frameBytesMax || inflatedSize > frameBytesMax) {
    throw new ClickHouseException(271, "CANNOT_DECOMPRESS", "A compressed block has an impossible size");
  }
  return size;
}

function inflate(block: Uint8Array): Uint8Array {
  const data = block.subarray(headerBytes);
  const inflatedSize = new DataView(block.buffer, block.byteOffset).getUint32(5, true);
  switch (block[0]) {
    case methodNone:
      return guard(() => data, inflatedSize);
    case methodLz4:
      return guard(() => inflateLz4(data, inflatedSize), inflatedSize);
    case methodZstd:
      return guard(
        () => zstdDecompressSync(data, { maxOutputLength: Math.max(1, inflatedSize) }),
        inflatedSize,
      );
    default:
      throw new ClickHouseException(
        89,
        "UNKNOWN_COMPRESSION_METHOD",
        `Unknown compression method code: ${block[0]} (NONE, LZ4 and ZSTD are known here)`,
      );
  }
}

function guard(run: () => Uint8Array, size: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = run();
  } catch (error) {
    throw new ClickHouseException(271, "CANNOT_DECOMPRESS", `Cannot decompress a block: ${String(error)}`);
  }
  if (bytes.length !== size) {
    throw new ClickHouseException(271, "CANNOT_DECOMPRESS", "A block has another size than it says");
  }
  return bytes;
}
