import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { CorruptEncoding, InflatedTooLarge, inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";

const body = new TextEncoder().encode("spans ".repeat(1000));
const encoded = {
  identity: body,
  gzip: zlib.gzipSync(body),
  deflate: zlib.deflateSync(body),
  zstd: zlib.zstdCompressSync(body),
} as const;
const encodings = ["identity", "gzip", "deflate", "zstd"] as const;

describe.each(encodings)("%s", (encoding) => {
  test("gives the body back, up to and at the bound", () => {
    expect(Buffer.from(inflate(zlib, encoded[encoding], encoding, body.length))).toEqual(Buffer.from(body));
  });

  test("one byte over the bound is too large", () => {
    expect(() => inflate(zlib, encoded[encoding], encoding, body.length - 1)).toThrow(InflatedTooLarge);
  });
});

describe.each(["gzip", "deflate", "zstd"] as const)("%s", (encoding) => {
  test("cut off anywhere, or not that encoding at all, is corrupt", () => {
    const whole = encoded[encoding];
    for (const length of [1, 5, whole.length >> 1, whole.length - 1]) {
      expect(() => inflate(zlib, whole.subarray(0, length), encoding, 1e6), `${length}`).toThrow(
        CorruptEncoding,
      );
    }
    expect(() => inflate(zlib, body, encoding, 1e6)).toThrow(CorruptEncoding);
  });
});

describe("several members or frames are one body (RFC 1952 section 2.2, RFC 8878 section 3)", () => {
  const two = {
    gzip: Buffer.concat([zlib.gzipSync("one"), zlib.gzipSync("two")]),
    zstd: Buffer.concat([zlib.zstdCompressSync("one"), zlib.zstdCompressSync("two")]),
  } as const;

  test.each(["gzip", "zstd"] as const)("%s", (encoding) => {
    expect(Buffer.from(inflate(zlib, two[encoding], encoding, 6)).toString()).toBe("onetwo");
    expect(() => inflate(zlib, two[encoding], encoding, 5)).toThrow(InflatedTooLarge);
  });
});

test.each(["gzip", "deflate", "zstd"] as const)(
  "%s with bytes after its end is corrupt, not cut to size",
  (encoding) => {
    const longer = Buffer.concat([encoded[encoding], Buffer.from("more")]);
    expect(() => inflate(zlib, longer, encoding, 1e6)).toThrow(CorruptEncoding);
  },
);

test("the length that a gzip body claims decides nothing: members before the last are whole, a lie is corrupt", () => {
  const lastIsShort = Buffer.concat([encoded.gzip, zlib.gzipSync("x")]);
  expect(Buffer.from(inflate(zlib, lastIsShort, "gzip", 1e6)).toString()).toBe(`${"spans ".repeat(1000)}x`);
  for (const claimed of [0, 1, body.length - 1, body.length + 1, 2 ** 32 - 1]) {
    const wrong = Buffer.from(encoded.gzip);
    wrong.writeUInt32LE(claimed, wrong.length - 4);
    expect(() => inflate(zlib, wrong, "gzip", 1e6), `${claimed}`).toThrow(CorruptEncoding);
  }
});

test("a zstd body has 64 frames at most, the empty ones counted", () => {
  const frames = (count: number) =>
    Buffer.concat(Array.from({ length: count }, (_, n) => zlib.zstdCompressSync(n === 7 ? "one" : "")));
  const inflated = inflate(zlib, frames(limits.zstdFramesMax), "zstd", 1000);
  expect(Buffer.from(inflated).toString()).toBe("one");
  expect(() => inflate(zlib, frames(limits.zstdFramesMax + 1), "zstd", 1000)).toThrow(/more than 64 frames/);
});
