/**
 * ClickHouse's compressed blocks. Hashes and the LZ4 block were made with the libraries that clickhouse-go uses
 * (go-faster/city v1.0.1, pierrec/lz4 v4).
 */
import { zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { frame, unframe } from "../../dev/clickhouse/block-framing.ts";
import { cityHash128 } from "../../dev/clickhouse/city-hash.ts";
import { inflateLz4 } from "../../dev/clickhouse/lz4.ts";

const hashes: readonly (readonly [length: number, hash: string])[] = [
  [10, "9f2c5c710baac48d72f6a64cc5ccee8b"],
  [15, "ffc7a10a47b64314594c685a8398f970"],
  [16, "3d930c8990287e4ec7770444d611659b"],
  [17, "4ef4c7b104ede9f0ae31544dd0c6178a"],
  [20, "d40c3fdd88510dc50a1655112c8d67bc"],
  [24, "bbcf5e236b08343a8f05e6ac8050b60c"],
  [25, "1b0892d24ecd967361f829f8233838d3"],
  [31, "7ecda92a1185f199288950f0ed6227d4"],
  [32, "c9a6465f93dff0adfcb2f7829d06c645"],
  [33, "11ffe63b615e068a46a80c8146255435"],
  [47, "797255157a8f0df274dd41a29e2292c5"],
  [48, "4139a04a5eb7d897ed193e1ca2022882"],
  [49, "1d621e4ceee9475fd981a81da9d507c1"],
  [143, "26d3b014d4b40623956851eb41bd80e9"],
  [144, "227fbc9d0276a19b08a16461a4ae9ca9"],
  [145, "1adfb6aebd2142592527e0ec8ba6b49e"],
  [272, "0933d0de8406b248c29112ef6d3f1610"],
  [400, "1e3fb4dafe074758a0a3d7b7e03b14c8"],
  [1000, "24448d65900ddd99c08c302cd54ef570"],
];

const lz4Block = Buffer.from(
  "f005726f772030206f6620746865207461626c653b2014001f311400001f321400001f331400001f341400001f351400001f3614" +
    "00000f8c00ffffffff111f780100ff0be07878787878787878787878787878",
  "hex",
);
const lz4Text =
  Array.from({ length: 60 }, (_, i) => `row ${i % 7} of the table; `).join("") + "x".repeat(300);

/** A frame around data that is compressed already; nobody compares its checksum. */
function frameOf(method: number, data: Uint8Array, size: number): Uint8Array {
  const bytes = Buffer.alloc(25 + data.length);
  bytes[16] = method;
  bytes.writeUInt32LE(9 + data.length, 17);
  bytes.writeUInt32LE(size, 21);
  bytes.set(data, 25);
  return bytes;
}

async function read(body: Uint8Array, chunkBytes = body.length): Promise<string> {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < body.length; at += chunkBytes) {
      yield body.subarray(at, at + chunkBytes);
    }
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of unframe(chunks())) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("latin1");
}

describe("the checksum", () => {
  test.each(hashes)("of %i bytes is ClickHouse's", (length, hash) => {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + length) % 256);
    expect(Buffer.from(cityHash128(bytes)).toString("hex")).toBe(hash);
  });
});

describe("frames", () => {
  const zstd = zstdCompressSync("zstandard");
  const body = Buffer.concat([
    frameOf(0x02, Buffer.from("plain "), 6),
    frameOf(0x82, lz4Block, lz4Text.length),
    frameOf(0x90, zstd, 9),
  ]);

  test("of every method are read, in whatever pieces they come", async () => {
    for (const chunkBytes of [1, 7, 25, 1000]) {
      expect(await read(body, chunkBytes)).toBe(`plain ${lz4Text}zstandard`);
    }
  });

  test("that we write are read again, none for no bytes", async () => {
    const large = "0123456789".repeat(250_000);
    expect(await read(frame(Buffer.from(large)))).toBe(large);
    expect(frame(new Uint8Array(0)).length).toBe(0);
  });

  test("that are cut off, lie about a size or have an unknown method are refused", async () => {
    for (let length = 1; length < 40; length++) {
      await expect(read(body.subarray(0, body.length - length))).rejects.toThrow(/Code: (33|271)/);
    }
    await expect(read(frameOf(0x90, zstd, 8))).rejects.toThrow("Code: 271");
    await expect(read(frameOf(0x90, zstd, 10))).rejects.toThrow("Code: 271");
    await expect(read(frameOf(0x77, zstd, 9))).rejects.toThrow("Code: 89");
    await expect(read(frameOf(0x02, Buffer.from("ab"), 3))).rejects.toThrow("Code: 271");
  });
});

describe("an LZ4 block", () => {
  test("inflates, with matches that overlap themselves", () => {
    expect(Buffer.from(inflateLz4(lz4Block, lz4Text.length)).toString()).toBe(lz4Text);
  });

  test("that is damaged anywhere ends in an error or in other bytes of the right length", () => {
    for (let at = 0; at < lz4Block.length; at++) {
      for (const bit of [1, 16, 128]) {
        const damaged = Uint8Array.from(lz4Block);
        damaged[at] = (damaged[at] ?? 0) ^ bit;
        try {
          expect(inflateLz4(damaged, lz4Text.length).length).toBe(lz4Text.length);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    }
    expect(() => inflateLz4(lz4Block, lz4Text.length + 1)).toThrow(RangeError);
    expect(() => inflateLz4(lz4Block, lz4Text.length - 1)).toThrow(RangeError);
  });
});
