import { describe, expect, test } from "vitest";
import { Random } from "../../bench/random.ts";
import { ValueText } from "../../shared/rows/value-text.ts";
import { anyValueText } from "../fixtures/any-value-reference.ts";
import { join, keyValue, type Part, value } from "../fixtures/protobuf.ts";

function text(content: Part): string {
  const bytes = join([9, 9, 9], content, [9, 9]);
  const view = new DataView(bytes.buffer);
  const written = new ValueText();
  written.write(bytes, view, 3, bytes.length - 2);
  const result = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
    written.bytes.subarray(0, written.length),
  );
  expect(result).toBe(anyValueText(bytes, view, 3, bytes.length - 2));
  return result;
}

/** pdata/pcommon/value.go and its tests, value_test.go (TestAsString). */
const rows: readonly (readonly [string, Part, string])[] = [
  ["nothing", value.none, ""],
  ["a string as it is", value.string('a"b<\n'), 'a"b<\n'],
  ["true", value.bool(true), "true"],
  ["false", value.bool(false), "false"],
  ["an integer", value.int(42), "42"],
  ["a negative integer", value.int(-7), "-7"],
  ["the largest integer", value.int(2n ** 63n - 1n), "9223372036854775807"],
  ["the smallest integer", value.int(-(2n ** 63n)), "-9223372036854775808"],
  ["an integer beyond 2^53", value.int(9007199254740993n), "9007199254740993"],
  ["a whole double", value.double(3), "3"],
  ["minus zero", value.double(-0), "-0"],
  ["zero", value.double(0), "0"],
  ["NaN", value.double(Number.NaN), "NaN"],
  ["infinity", value.double(Number.POSITIVE_INFINITY), "Infinity"],
  ["minus infinity", value.double(Number.NEGATIVE_INFINITY), "-Infinity"],
  ["a double below 1e21", value.double(123456789012345680000), "123456789012345680000"],
  ["a double of 1e21", value.double(1e21), "1e+21"],
  ["a small double", value.double(0.000001), "0.000001"],
  ["a smaller double", value.double(1e-7), "1e-7"],
  ["the shortest digits", value.double(0.1 + 0.2), "0.30000000000000004"],
  ["the smallest double", value.double(5e-324), "5e-324"],
  ["no bytes", value.bytes(), ""],
  ["one byte", value.bytes(0xff), "/w=="],
  ["two bytes", value.bytes(0xfb, 0xff), "+/8="],
  ["three bytes", value.bytes(1, 2, 3), "AQID"],
  ["an empty array", value.array(), "[]"],
  [
    "an array of everything",
    value.array(
      value.string("a"),
      value.bool(true),
      value.int(-1),
      value.double(-0),
      value.double(1e-7),
      value.bytes(1),
      value.bytes(),
      value.none,
      value.array(),
    ),
    '["a",true,-1,-0,1e-7,"AQ==",null,null,[]]',
  ],
  ["exact integers in an array", value.array(value.int(9007199254740993n)), "[9007199254740993]"],
  ["NaN in an array: its name", value.array(value.int(1), value.double(Number.NaN)), '[1,"NaN"]'],
  [
    "infinity deep inside: its name",
    value.map(keyValue("a", value.array(value.double(Number.NEGATIVE_INFINITY)))),
    '{"a":["-Infinity"]}',
  ],
  ["NaN as a string is no NaN", value.array(value.string("NaN")), '["NaN"]'],
  ["an empty map", value.map(), "{}"],
  [
    "keys in byte order",
    value.map(
      keyValue("b", value.int(1)),
      keyValue("a", value.int(2)),
      keyValue("B", value.int(3)),
      keyValue("", value.int(4)),
    ),
    '{"":4,"B":3,"a":2,"b":1}',
  ],
  [
    "byte order is not UTF-16 order",
    value.map(keyValue("\u{10000}", value.int(1)), keyValue("\uffee", value.int(2))),
    '{"\uffee":2,"\u{10000}":1}',
  ],
  [
    "the last of equal keys",
    value.map(keyValue("a", value.int(1)), keyValue("b", value.none), keyValue("a", value.double(2.5))),
    '{"a":2.5,"b":null}',
  ],
  [
    "NaN that another key replaced",
    value.map(keyValue("a", value.double(Number.NaN)), keyValue("a", value.int(1))),
    '{"a":1}',
  ],
  [
    "Go's escapes",
    value.array(value.string('"\\\n\r\t\b\f\u0000\u001f\u007f<>&/\u2028\u2029é😀')),
    '["\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\u007f<>&/\\u2028\\u2029é😀"]',
  ],
];

describe("the text of a value", () => {
  test.each(rows)("%s", (_, content, expected) => {
    expect(text(content)).toBe(expected);
  });
});

test("integers of every size, and random values, equal the rule as it is written", () => {
  for (let bit = 0n; bit < 64n; bit++) {
    for (const near of [-1n, 0n, 1n]) {
      const n = BigInt.asIntN(64, (1n << bit) + near);
      expect(text(value.int(n))).toBe(String(n));
      expect(text(value.int(-n))).toBe(String(BigInt.asIntN(64, -n)));
    }
  }
  for (let power = 1n; power < 10n ** 19n; power *= 10n) {
    expect(text(value.int(power - 1n))).toBe(String(BigInt.asIntN(64, power - 1n)));
    expect(text(value.int(power))).toBe(String(BigInt.asIntN(64, power)));
  }
  const random = new Random(31);
  for (let i = 0; i < 3000; i++) {
    text(randomValue(random, 0));
  }
});

function randomValue(random: Random, depth: number): Part {
  const bits = (BigInt(random.next()) << 32n) | BigInt(random.next());
  switch (random.below(depth > 3 ? 6 : 8)) {
    case 0:
      return value.none;
    case 1:
      return value.bool(random.chance(0.5));
    case 2:
      return value.int(bits >> BigInt(random.below(64)));
    case 3:
      return value.double(
        random.chance(0.2) ? random.below(1000) / 8 : random.next() * 10 ** (random.below(60) - 40),
      );
    case 4:
      return value.bytes(...Array.from({ length: random.below(9) }, () => random.below(256)));
    case 5:
      return value.string(randomText(random));
    case 6:
      return value.array(...Array.from({ length: random.below(4) }, () => randomValue(random, depth + 1)));
    default:
      return value.map(
        ...Array.from({ length: random.below(6) }, () =>
          keyValue(randomText(random), randomValue(random, depth + 1)),
        ),
      );
  }
}

function randomText(random: Random): string {
  const letters = [
    "a",
    "b",
    '"',
    "\\",
    "\n",
    "\u0001",
    "é",
    "\u2028",
    "\u2029",
    "\u20ac",
    "\uffee",
    "😀",
    "/",
    "<",
  ];
  return Array.from({ length: random.below(4) }, () => random.pick(letters)).join("");
}
