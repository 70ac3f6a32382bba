import { describe, expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { ByteSink } from "../../shared/rows/byte-sink.ts";
import { scalarReserve, scalarUnchecked } from "../../shared/rows/scalar-text.ts";
import { ValueText } from "../../shared/rows/value-text.ts";
import { value } from "../fixtures/protobuf.ts";

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** The text by the short way, or undefined where it is left to the other. */
function short(bytes: Uint8Array): string | undefined {
  const sink = new ByteSink();
  sink.reserve(scalarReserve);
  if (!scalarUnchecked(sink, bytes, viewOf(bytes), 0, bytes.length)) {
    expect(sink.at).toBe(0);
    return undefined;
  }
  expect(sink.bytes[0]).toBe(sink.at - 1);
  return Buffer.from(sink.bytes.subarray(1, sink.at)).toString("latin1");
}

function long(bytes: Uint8Array): string {
  const text = new ValueText();
  text.write(bytes, viewOf(bytes), 0, bytes.length);
  return Buffer.from(text.bytes.subarray(0, text.length)).toString("latin1");
}

describe("the short way to a scalar's text", () => {
  test("gives what the long way gives, and takes every number below 2^28", () => {
    const around = (n: number): number[] => [n - 1, n, n + 1];
    const numbers = [
      0,
      ...[1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 2 ** 7, 2 ** 14, 2 ** 21].flatMap(around),
    ];
    for (const n of [...numbers, 2 ** 28 - 1]) {
      const bytes = Uint8Array.from(value.int(n));
      expect(short(bytes)).toBe(String(n));
      expect(long(bytes)).toBe(String(n));
    }
    for (const flag of [true, false]) {
      const bytes = Uint8Array.from(value.bool(flag));
      expect(short(bytes)).toBe(String(flag));
      expect(long(bytes)).toBe(String(flag));
    }
  });

  test("takes a padded number, and leaves what is larger, negative, cut off or of another kind", () => {
    expect(short(Uint8Array.of(0x18, 0x85, 0x00))).toBe("5");
    expect(short(Uint8Array.from(value.int(2 ** 28)))).toBeUndefined();
    expect(short(Uint8Array.from(value.int(-1)))).toBeUndefined();
    expect(short(Uint8Array.of(0x18))).toBeUndefined();
    expect(short(Uint8Array.of(0x18, 0x85))).toBeUndefined();
    expect(short(Uint8Array.of(0x18, 0x05, 0x05))).toBeUndefined();
    expect(short(Uint8Array.of(0x10, 0x02))).toBeUndefined();
    expect(short(Uint8Array.of(0x10, 0x81, 0x00))).toBeUndefined();
    expect(short(Uint8Array.from(value.double(1)).subarray(0, 8))).toBeUndefined();
  });

  test("takes every double, whichever stood in its place before", () => {
    const random = new Random(5);
    const doubles = [
      0,
      -0,
      Number.NaN,
      1 / 0,
      -1 / 0,
      5e-324,
      -1.2345678901234567e-308,
      1e21,
      123456789012345680000,
    ];
    for (let i = 0; i < 5000; i++) {
      doubles.push(random.below(1000) / 7, (random.next() - 2 ** 31) * 2 ** (random.below(200) - 100));
    }
    for (const double of [...doubles, ...doubles]) {
      const bytes = Uint8Array.from(value.double(double));
      expect(short(bytes)).toBe(Object.is(double, -0) ? "-0" : String(double));
    }
  });
});
