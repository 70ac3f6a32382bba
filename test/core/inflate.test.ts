import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { CorruptEncoding, InflatedTooLarge, inflate } from "../../shared/inflate.ts";

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

test("gzip of several members is one body (RFC 1952 section 2.2)", () => {
  const two = Buffer.concat([zlib.gzipSync("one"), zlib.gzipSync("two")]);
  expect(Buffer.from(inflate(zlib, two, "gzip", 100)).toString()).toBe("onetwo");
});
