import * as zlib from "node:zlib";
import { zstdDecompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { inflate } from "../../../shared/inflate.ts";
import { compressParts } from "../../../workers/consumer/compress-block.ts";

const mebibyte = 1024 * 1024;

function randomBytes(length: number, values: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  }
  return bytes.map((byte) => byte % values);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

test("workerd's zstd still has the limit that frames are cut for", () => {
  // When this fails, the limit has gone: a block can be one frame again (docs/decisions/0003).
  expect(() => zlib.zstdCompressSync(randomBytes(50_000, 256))).toThrow(/unexpected end of file/i);
});

test.each([
  ["one byte", 1, 1],
  ["zeros", 3 * mebibyte, 1],
  ["text-like bytes", 3 * mebibyte, 16],
  ["random bytes", mebibyte, 256],
])("%s come back from their frames", (_name, length, values) => {
  const block = randomBytes(length, values);
  const cuts = [0, 1, 7, 1000, 70_000, 900_000].filter((cut) => cut < length);
  const chunks = cuts.map((cut, index) => block.subarray(cut, cuts[index + 1] ?? length));
  for (const [compression, encoding] of [
    ["zstd", "zstd"],
    ["gzip", "gzip"],
    ["none", "identity"],
  ] as const) {
    const compressed = Buffer.concat(compressParts(chunks, compression));
    expect(sameBytes(inflate(zlib, compressed, encoding, length), block), compression).toBe(true);
  }
});

test("compressible chunks that follow incompressible ones are compressed well again", () => {
  const compressed = Buffer.concat(
    compressParts([randomBytes(mebibyte, 256), new Uint8Array(4 * mebibyte)], "zstd"),
  );
  expect(compressed.length).toBeLessThan(1.05 * mebibyte);
  expect(zstdDecompressSync(compressed).length).toBeGreaterThan(0);
});
