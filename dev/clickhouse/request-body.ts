/**
 * Reads request bodies: a beginning into memory, the rest into a file, never more than a chunk at once. It keeps
 * the bytes as they are; the engine inflates what it reads from a file.
 */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { ClickHouseException } from "./exception.ts";

/** The content encodings that ClickHouse reads, and the names that its COMPRESSION clause gives them. */
const compressions: Readonly<Record<string, string>> = {
  identity: "none",
  gzip: "gzip",
  "x-gzip": "gzip",
  deflate: "deflate",
  br: "br",
  xz: "xz",
  zstd: "zstd",
  lz4: "lz4",
  bz2: "bz2",
};

/** The COMPRESSION name of a Content-Encoding. Throws for one that ClickHouse does not know. */
export function compressionOf(contentEncoding: string | undefined): string {
  const compression = compressions[contentEncoding?.trim().toLowerCase() || "identity"];
  if (compression === undefined) {
    throw new ClickHouseException(
      48,
      "NOT_IMPLEMENTED",
      `Unknown compression method '${contentEncoding}'. Only 'gzip', 'deflate', 'br', 'xz', 'zstd', 'lz4', 'bz2' are supported`,
    );
  }
  return compression;
}

/** The inflated stream, for those codecs that Node has; undefined for the others, which the engine inflates. */
export function inflated(body: Readable, compression: string): Readable | undefined {
  if (compression === "none") {
    return body;
  }
  const inflate =
    compression === "gzip"
      ? createGunzip()
      : compression === "deflate"
        ? createInflate()
        : compression === "br"
          ? createBrotliDecompress()
          : compression === "zstd"
            ? createZstdDecompress()
            : undefined;
  if (inflate === undefined) {
    return undefined;
  }
  body.on("error", (error) => inflate.destroy(error));
  body.on("close", () => {
    if (!body.readableEnded) {
      inflate.destroy(new Error("the client hung up before the body was complete"));
    }
  });
  return body.pipe(inflate);
}

/** The first bytes of a stream, and what follows them. */
export interface BodyHead {
  readonly head: Buffer;
  /** Whether `head` is all. */
  readonly complete: boolean;
  /** What follows `head`; may be read once. */
  readonly rest: AsyncIterable<Uint8Array>;
}

/** Reads at least `bytes` bytes, or all. */
export async function readHead(body: AsyncIterable<Uint8Array>, bytes: number): Promise<BodyHead> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const iterator = body[Symbol.asyncIterator]();
  while (size < bytes) {
    const next = await iterator.next();
    if (next.done === true) {
      return { head: Buffer.concat(chunks), complete: true, rest: nothing() };
    }
    chunks.push(next.value);
    size += next.value.length;
  }
  return { head: Buffer.concat(chunks), complete: false, rest: { [Symbol.asyncIterator]: () => iterator } };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Writes chunks into a new file. The file is only complete when the promise resolves. */
export async function writeBody(
  path: string,
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): Promise<void> {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    if (first.length > 0) {
      yield first;
    }
    yield* rest;
  }
  await pipeline(
    Readable.from(chunks(), { objectMode: false }),
    createWriteStream(path, { flags: "wx", mode: 0o600 }),
  );
}
