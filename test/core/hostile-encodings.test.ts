import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { makeCorpus } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import { scanDeflate } from "../../shared/deflate-scan.ts";
import { CorruptEncoding, inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";
import { hasTooManyZstdBlocks } from "../../shared/zstd-scan.ts";
import {
  emptyDynamicBlocks,
  emptyFixedBlocks,
  emptyStoredBlocks,
  gzipOf,
  zstdOf,
} from "../fixtures/hostile-encodings.ts";

const mebibyte = 1024 * 1024;
const bytesMax = limits.inflatedBytesMax;

function refusal(body: Uint8Array, encoding: "gzip" | "deflate" | "zstd"): string {
  try {
    inflate(zlib, body, encoding, bytesMax);
  } catch (error) {
    expect(error).toBeInstanceOf(CorruptEncoding);
    return error instanceof Error ? error.message : "";
  }
  return "inflated";
}

/** Bodies of every kind that somebody may send. */
const texts = (() => {
  const random = new Random(3);
  const noise = Uint8Array.from({ length: mebibyte / 4 }, () => random.below(256));
  const letters = noise.map((byte) => 97 + (byte % 26));
  const [payload] = makeCorpus(1, 1, 500);
  const spans = payload?.protobuf ?? noise;
  return [noise, letters, spans, Buffer.from(payload?.json ?? ""), new Uint8Array(2 * mebibyte)];
})();

const hostile = [emptyDynamicBlocks, emptyFixedBlocks, emptyStoredBlocks].map((blocks) => blocks(mebibyte));

describe("a deflate stream", () => {
  test("of any ordinary compressor is taken: every level and strategy, flushed after each piece, several members", () => {
    for (const text of texts) {
      for (const options of [
        { level: 0 },
        { level: 1 },
        { level: 6 },
        { strategy: zlib.constants.Z_FIXED },
        { strategy: zlib.constants.Z_HUFFMAN_ONLY },
        { memLevel: 2 },
      ]) {
        expect(scanDeflate(zlib.gzipSync(text, options), "gzip", bytesMax)).toEqual({ kind: "ordinary" });
        expect(scanDeflate(zlib.deflateSync(text, options), "deflate", bytesMax)).toEqual({
          kind: "ordinary",
        });
      }
      const members = Buffer.concat([zlib.gzipSync(text), zlib.gzipSync(""), zlib.gzipSync(text)]);
      expect(scanDeflate(members, "gzip", 2 * bytesMax)).toEqual({ kind: "ordinary" });
    }
  });

  test("is walked to its very end: a hostile one behind an ordinary one is found, in the same member and in a later one", () => {
    for (const text of texts.slice(0, 4)) {
      for (const blocks of hostile) {
        const member = Buffer.concat([zlib.gzipSync(text), gzipOf(blocks)]);
        expect(scanDeflate(member, "gzip", bytesMax).kind).toBe("too_many_blocks");
        const flushed = zlib.deflateRawSync(text, { finishFlush: zlib.constants.Z_FULL_FLUSH });
        expect(scanDeflate(gzipOf(Buffer.concat([flushed, blocks])), "gzip", bytesMax).kind).toBe(
          "too_many_blocks",
        );
      }
    }
  });

  test.each([
    ["dynamic blocks", emptyDynamicBlocks],
    ["fixed blocks", emptyFixedBlocks],
    ["stored blocks", emptyStoredBlocks],
  ])("of empty %s is refused before it is inflated", (_, blocks) => {
    const body = gzipOf(blocks(20 * mebibyte - 100));
    const before = process.cpuUsage().user;
    expect(refusal(body, "gzip")).toMatch(/its first \d+ blocks hold almost nothing/);
    expect((process.cpuUsage().user - before) / 1000, "ms").toBeLessThan(100);
    const zlibBody = Buffer.concat([Uint8Array.of(0x78, 0x01), blocks(20 * mebibyte - 100)]);
    expect(refusal(zlibBody, "deflate")).toMatch(/hold almost nothing/);
  });

  test("of members that hold nothing or a byte is refused before it is inflated, a thousand of them are not", () => {
    for (const member of [zlib.gzipSync(""), zlib.gzipSync("a")]) {
      const many = Buffer.alloc(member.length * 100_000, member);
      expect(refusal(many, "gzip")).toMatch(/hold almost nothing/);
      expect(
        refusal(
          Buffer.concat([...Array.from({ length: 400 }, () => member), zlib.gzipSync(texts[0] ?? "")]),
          "gzip",
        ),
      ).toBe("inflated");
    }
  });

  test("that is cut or changed anywhere is left to the decoder, and the walk ends", () => {
    const random = new Random(11);
    const gzip = zlib.gzipSync(texts[2] ?? "");
    for (let i = 0; i < 100; i++) {
      const body = new Uint8Array(
        gzip.subarray(0, random.chance(0.5) ? gzip.length : random.below(gzip.length)),
      );
      for (let k = random.below(4); k > 0; k--) {
        body[random.below(body.length)] = random.below(256);
      }
      expect(["ordinary", "too_many_blocks"]).toContain(scanDeflate(body, "gzip", bytesMax).kind);
    }
  });
});

describe("a zstd body", () => {
  test("of an ordinary compressor is taken, at any level, in several frames", () => {
    for (const text of texts) {
      for (const level of [1, 3, 9]) {
        const body = zlib.zstdCompressSync(text, {
          params: { [zlib.constants.ZSTD_c_compressionLevel]: level },
        });
        expect(hasTooManyZstdBlocks(body)).toBe(false);
        expect(hasTooManyZstdBlocks(Buffer.concat([body, body]))).toBe(false);
        expect(
          hasTooManyZstdBlocks(Buffer.concat([body, zstdOf(Uint8Array.of(0, 0, 0), 6 * mebibyte)])),
        ).toBe(true);
      }
    }
  });

  test.each([
    ["raw", Uint8Array.of(0, 0, 0)],
    ["repeated", Uint8Array.of(2, 0, 0, 0x41)],
  ])("of empty %s blocks is refused before it is inflated", (_, block) => {
    const before = process.cpuUsage().user;
    expect(refusal(zstdOf(block, 20 * mebibyte - 100), "zstd")).toMatch(/blocks are too many/);
    expect((process.cpuUsage().user - before) / 1000, "ms").toBeLessThan(100);
  });
});
