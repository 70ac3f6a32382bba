/** One decoding for ingress, consumer and console, and the bytes that it may take. */
import * as zlib from "node:zlib";
import { describe, expect, test } from "vitest";
import { decodeBody } from "../../shared/decode-body.ts";
import { limits } from "../../shared/limits.ts";
import { request, span } from "../fixtures/protobuf.ts";

const protobuf = request(span());
const json = new TextEncoder().encode('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}');
const encodings = { gzip: zlib.gzipSync, deflate: zlib.deflateSync, zstd: zlib.zstdCompressSync } as const;

describe.each(["gzip", "deflate", "zstd"] as const)("a body in %s", (encoding) => {
  const encoded = (body: Uint8Array): Uint8Array => new Uint8Array(encodings[encoding](body));

  test("is decoded, and converted where it is JSON", () => {
    const decoded = decodeBody(zlib, encoded(protobuf), { type: "pb", encoding });
    expect(decoded).toMatchObject({ ok: true, value: { protobuf: Buffer.from(protobuf) } });
    const converted = decodeBody(zlib, encoded(json), { type: "json", encoding });
    expect(converted.ok && converted.value.inflated.length).toBe(json.length);
    expect(converted.ok && converted.value.protobuf.length).toBeLessThan(json.length);
  });

  test("needs room for its inflated form, and as much again for what is made of it", () => {
    const body = encoded(json);
    const form = { type: "json", encoding } as const;
    expect(decodeBody(zlib, body, form, 2 * json.length)).toMatchObject({ ok: true });
    expect(decodeBody(zlib, body, form, 2 * json.length - 1)).toMatchObject({ refusal: { kind: "no_room" } });
    expect(decodeBody(zlib, body, form, 0)).toMatchObject({ refusal: { kind: "no_room" } });
  });

  test("is too large beyond the limit only, however much room there is", () => {
    const largest = new Uint8Array(limits.inflatedBytesMax);
    const form = { type: "pb", encoding } as const;
    expect(decodeBody(zlib, encoded(largest), form)).toMatchObject({ ok: true });
    expect(decodeBody(zlib, encoded(new Uint8Array(limits.inflatedBytesMax + 1)), form)).toMatchObject({
      refusal: { kind: "inflates_too_large" },
    });
  });

  test("that is cut off is corrupt, not malformed", () => {
    const body = encoded(protobuf);
    expect(decodeBody(zlib, body.subarray(0, -3), { type: "pb", encoding })).toMatchObject({
      refusal: { kind: "corrupt_encoding" },
    });
  });
});

test("a body that is not encoded needs room for what is made of it alone", () => {
  const form = { type: "pb", encoding: "identity" } as const;
  expect(decodeBody(zlib, protobuf, form, protobuf.length)).toMatchObject({ ok: true });
  expect(decodeBody(zlib, protobuf, form, protobuf.length - 1)).toMatchObject({
    refusal: { kind: "no_room" },
  });
});

test("JSON that is none is malformed, with what it inflated to", () => {
  const body = new TextEncoder().encode("{nope}");
  expect(decodeBody(zlib, body, { type: "json", encoding: "identity" })).toMatchObject({
    refusal: { kind: "malformed", inflated: body, message: expect.stringMatching(/expected a string/) },
  });
});
