import { describe, expect, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { blockOf, blockWithin } from "../fixtures/blocks.ts";
import {
  attribute,
  bounds,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  spanId,
  startNanos,
  stringField,
  traceId,
  value,
  varintField,
} from "../fixtures/protobuf.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const hexTrace = "0102030405060708090a0b0c0d0e0f10";
const hexSpan = "a1a2a3a4a5a6a7a8";

function requestText(spanText: string): string {
  return `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${hexTrace}","spanId":"${hexSpan}","startTimeUnixNano":"${startNanos}"${spanText}}]}]}]}`;
}

function twin(...more: readonly Part[]): Uint8Array {
  const span = join(bytesField(1, traceId), bytesField(2, spanId), fixed64Field(7, startNanos), more);
  return bytesField(1, bytesField(2, bytesField(2, span)));
}

function malformed(text: string | Uint8Array): string {
  try {
    jsonToProtobuf(typeof text === "string" ? encode(text) : text);
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedBody);
    return error instanceof Error ? error.message : "";
  }
  throw new Error("the body was accepted");
}

describe("an SDK's JSON body", () => {
  test("gives the block of its protobuf twin, and a body no longer than itself", () => {
    for (const { json, protobuf, spans } of [...makeCorpus(21, 6, 40), ...makeCorpus(22, 6, 1)]) {
      const converted = jsonToProtobuf(json);
      expect(inspectTraces(converted, corpusBounds)).toEqual(inspectTraces(protobuf, corpusBounds));
      expect(inspectTraces(converted, corpusBounds).spans).toBe(spans);
      expect(blockWithin(corpusBounds, converted)).toEqual(blockWithin(corpusBounds, protobuf));
      expect(converted.length).toBeLessThanOrEqual(json.length);
    }
  });
});

/** [what, span members in JSON, the same in protobuf] */
const twins: readonly (readonly [string, string, readonly Part[]])[] = [
  ["hex ids of either case", `,"parentSpanId":"A1a2A3a4A5a6A7a8"`, [bytesField(4, spanId)]],
  [
    "an enum as a number",
    `,"kind":3,"status":{"code":2,"message":"m"}`,
    [varintField(6, 3), bytesField(15, [stringField(2, "m"), varintField(3, 2)])],
  ],
  [
    "64-bit times as numbers, exactly",
    `,"endTimeUnixNano":1764000000000000001`,
    [fixed64Field(8, 1764000000000000001n)],
  ],
  ["times in exponent form", `,"endTimeUnixNano":1.764e18`, [fixed64Field(8, 1764000000000000000n)]],
  [
    "unknown members at every level",
    `,"x":{"y":[1,"2",{"z":null}],"traceId":5},"attributes":[{"key":"a","value":{"intValue":"1","q":[[]]},"w":0}]`,
    [attribute("a", value.int(1))],
  ],
  [
    "names in snake_case, as some protobuf libraries write them",
    `,"parent_span_id":"a1a2a3a4a5a6a7a8","end_time_unix_nano":"5","attributes":[{"key":"a","value":{"int_value":"1"}}],"dropped_links_count":1`,
    [bytesField(4, spanId), fixed64Field(8, 5n), attribute("a", value.int(1))],
  ],
  [
    "an enum by its name, or its number as text",
    `,"kind":"SPAN_KIND_SERVER","status":{"code":"2"}`,
    [varintField(6, 2), bytesField(15, varintField(3, 2))],
  ],
  [
    "a status code by its name",
    `,"status":{"code":"STATUS_CODE_ERROR"}`,
    [bytesField(15, varintField(3, 2))],
  ],
  [
    "null for any default",
    `,"parentSpanId":null,"name":null,"kind":null,"attributes":null,"events":null,"status":null,"endTimeUnixNano":null`,
    [],
  ],
  [
    "integers as strings and numbers, beyond 2^53",
    `,"attributes":[{"key":"a","value":{"intValue":"-9223372036854775808"}},{"key":"b","value":{"intValue":9223372036854775807}},{"key":"c","value":{"intValue":-5}},{"key":"d","value":{"intValue":1e3}},{"key":"e","value":{"intValue":10.00}}]`,
    [
      attribute("a", value.int(-(2n ** 63n))),
      attribute("b", value.int(2n ** 63n - 1n)),
      attribute("c", value.int(-5)),
      attribute("d", value.int(1000)),
      attribute("e", value.int(10)),
    ],
  ],
  [
    "doubles, also as text",
    `,"attributes":[{"key":"a","value":{"doubleValue":-0.0}},{"key":"b","value":{"doubleValue":"NaN"}},{"key":"c","value":{"doubleValue":"-Infinity"}},{"key":"d","value":{"doubleValue":"1.5e-7"}},{"key":"e","value":{"doubleValue":3}}]`,
    [
      attribute("a", value.double(-0)),
      attribute("b", value.double(Number.NaN)),
      attribute("c", value.double(Number.NEGATIVE_INFINITY)),
      attribute("d", value.double(1.5e-7)),
      attribute("e", value.double(3)),
    ],
  ],
  [
    "bytes in either base64, padded or not",
    `,"attributes":[{"key":"a","value":{"bytesValue":"+/8="}},{"key":"b","value":{"bytesValue":"-_8"}},{"key":"c","value":{"bytesValue":""}}]`,
    [
      attribute("a", value.bytes(0xfb, 0xff)),
      attribute("b", value.bytes(0xfb, 0xff)),
      attribute("c", value.bytes()),
    ],
  ],
  [
    "nested and empty values",
    `,"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"boolValue":true},{},null,{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}]}}},{"key":"b","value":{}},{"key":"c"},{"value":{"stringValue":"no key"}}]`,
    [
      attribute(
        "a",
        value.array(value.bool(true), value.none, value.none, value.map(keyValue("k", value.string("v")))),
      ),
      attribute("b", value.none),
      attribute("c", value.none),
      attribute("", value.string("no key")),
    ],
  ],
  [
    "every escape, and text beyond the BMP",
    String.raw`,"name":"\"\\\/\b\f\n\r\t\u0041\u00e4\u20ac\ud83d\ude00ä😀 "`,
    [stringField(5, '"\\/\b\f\n\r\tAä€😀ä😀 ')],
  ],
  [
    "half of a pair becomes U+FFFD",
    String.raw`,"name":"\ud800x\udc00\ud800\u0041"`,
    [stringField(5, "\ufffdx\ufffd\ufffdA")],
  ],
  [
    "events and links",
    `,"events":[{"timeUnixNano":"7","name":"e","attributes":[{"key":"a","value":{"boolValue":false}}],"droppedAttributesCount":1}],"links":[{"traceId":"${hexTrace}","spanId":"${hexSpan}","traceState":"t=1","flags":256}]`,
    [
      bytesField(11, [
        fixed64Field(1, 7n),
        stringField(2, "e"),
        bytesField(3, keyValue("a", value.bool(false))),
      ]),
      bytesField(13, [bytesField(1, traceId), bytesField(2, spanId), stringField(3, "t=1")]),
    ],
  ],
];

describe("OTLP/JSON", () => {
  test.each(twins)("%s", (_, text, parts) => {
    const json = encode(requestText(text));
    expect(blockOf(jsonToProtobuf(json))).toEqual(blockOf(twin(...parts)));
  });

  test("whole numbers of any length are what BigInt reads, and leading zeros are taken in quotes alone", () => {
    for (let digits = 1; digits <= 20; digits++) {
      for (const text of [
        "1".repeat(digits),
        `1${"0".repeat(digits - 1)}`,
        "9".repeat(Math.min(digits, 19)),
      ]) {
        const body = (number: string) => encode(requestText(`,"endTimeUnixNano":${number}`));
        const expected = blockOf(twin(fixed64Field(8, BigInt(text))));
        expect(blockOf(jsonToProtobuf(body(text))), text).toEqual(expected);
        expect(blockOf(jsonToProtobuf(body(`"00${text}"`))), text).toEqual(expected);
        expect(malformed(requestText(`,"endTimeUnixNano":0${text}`))).toMatch(/expected a comma/);
      }
    }
  });

  test("a fraction is the double that is nearest to it, whatever its digits; times are exact to the nanosecond", () => {
    const random = new Random(17);
    const digits = (count: number): string => Array.from({ length: count }, () => random.below(10)).join("");
    for (let i = 0; i < 4000; i++) {
      const whole = random.chance(0.3) ? "0" : `${1 + random.below(9)}${digits(random.below(12))}`;
      const fraction = random.chance(0.2) ? "" : `.${digits(1 + random.below(12))}`;
      const exponent = random.chance(0.1) ? `e${random.below(40) - 20}` : "";
      const text = `${random.chance(0.3) ? "-" : ""}${whole}${fraction}${exponent}`;
      const number = random.chance(0.2) ? `"${text}"` : text;
      const json = requestText(`,"attributes":[{"key":"a","value":{"doubleValue":${number}}}]`);
      const wanted = twin(attribute("a", value.double(Number(text))));
      expect(Buffer.compare(jsonToProtobuf(encode(json)), wanted), text).toBe(0);

      const end = BigInt(`${1 + random.below(9)}${digits(random.below(19))}`);
      const time = random.chance(0.5) ? `"${end}"` : `${end}`;
      const times = jsonToProtobuf(encode(requestText(`,"endTimeUnixNano":${time}`)));
      expect(Buffer.compare(times, twin(fixed64Field(8, end))), `${end}`).toBe(0);
    }
  });

  test.each(["01.5", "1.", ".5", "-", "1.5.5", "1e", "0x1", "+1"])("the number %s is none", (text) => {
    expect(malformed(requestText(`,"attributes":[{"key":"a","value":{"doubleValue":${text}}}]`))).toMatch(
      /attributes\[0\]\.value/,
    );
  });

  test("with white space and a byte order mark is the same", () => {
    const spaced = requestText(`,"kind":3`)
      .replace(/[{}[\],:]/g, (c) => ` \n\t\r${c} \n`)
      .replace(hexTrace, hexTrace);
    expect(jsonToProtobuf(join([0xef, 0xbb, 0xbf], encode(spaced)))).toEqual(
      jsonToProtobuf(encode(requestText(`,"kind":3`))),
    );
  });

  test("of nothing is an empty body", () => {
    for (const text of ["{}", `{"resourceSpans":[]}`, `{"resourceSpans":null}`, `{"unknown":[1]}`]) {
      expect(jsonToProtobuf(encode(text))).toHaveLength(0);
    }
  });

  test.each([
    ["base64 in place of hex", "AQIDBAUGBwgJCgsMDQ4PEA=="],
    ["16 characters that are no hex", "zzzzzzzzzzzzzzzz"],
    ["an odd number of digits", "012"],
    ["8 bytes", hexSpan],
  ])("a trace id of %s is a refused span, not a refused request", (_, id) => {
    const text = requestText("").replace(hexTrace, id);
    expect(inspectTraces(jsonToProtobuf(encode(text)), bounds)).toMatchObject({ spans: 0, rejectedSpans: 1 });
  });

  test("a body all in snake_case is the same body", () => {
    const text = requestText(`,"parentSpanId":"${hexSpan}"`);
    const snake = text.replace(/"([a-z]+[A-Z][A-Za-z]*)":/g, (_, name: string) => {
      return `"${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}":`;
    });
    expect(snake).toMatch(/^\{"resource_spans":/);
    expect(jsonToProtobuf(encode(snake))).toEqual(jsonToProtobuf(encode(text)));
  });
});

test("a name whose hash is a field's, and its bytes are not, is another name", () => {
  // "n" and "a" are to the hash what "o" and "B" are: 110 * 31 + 97 = 111 * 31 + 66.
  expect(jsonToProtobuf(encode(requestText(',"oBme":7')))).toEqual(jsonToProtobuf(encode(requestText(""))));
});

describe("a malformed JSON body is named with path and byte:", () => {
  test.each([
    ["", /^\$: expected an object at byte 0$/],
    ["[]", /expected an object/],
    ["<html>", /expected an object/],
    ['{"resourceSpans":{}}', /^\$\.resourceSpans: expected an array at byte 17$/],
    [
      '{"resourceSpans":[{"scopeSpans":[5]}]}',
      /^\$\.resourceSpans\[0\]\.scopeSpans\[0\]: expected an object/,
    ],
    ['{"resourceSpans":[]', /expected a comma|expected/],
    ['{"resourceSpans":[]} x', /more text after the end/],
    ['{"resourceSpans":[],}', /expected a string/],
    ['{"resourceSpans":[{},]}', /expected an object/],
    [
      requestText(`,"endTimeUnixNano":{"low":1,"high":2}`),
      /expected a number, not an object \(a 64-bit number is/,
    ],
    [requestText(`,"name":"a","kind":1,"kind":"SPAN_KIND_SERVER"`), /kind: the field appears twice/],
    [requestText(`,"trace_id":"${hexTrace}"`), /traceId: the field appears twice/],
    [requestText(`,"kind":1.5`), /expected an integer/],
    [requestText(`,"kind":99999999999`), /integer out of range/],
    [requestText(`,"endTimeUnixNano":-1`), /integer out of range/],
    [requestText(`,"endTimeUnixNano":"18446744073709551616"`), /integer out of range/],
    [requestText(`,"endTimeUnixNano":1e999999999`), /integer out of range/],
    [requestText(`,"endTimeUnixNano":1e-999999999`), /expected an integer/],
    [requestText(`,"endTimeUnixNano":01`), /expected a comma/],
    [requestText(`,"name":5`), /name: expected a string/],
    [requestText(`,"name":"a`), /string without an end|expected/],
    [requestText(`,"name":"\n"`), /control character/],
    [requestText(String.raw`,"name":"\x"`), /unknown escape/],
    [requestText(String.raw`,"name":"\u12g4"`), /unknown escape/],
    [requestText(`,"name":"a","name":"b"`), /name: the field appears twice/],
    [
      requestText(`,"attributes":[{"key":"a","value":{"intValue":1,"stringValue":"b"}}]`),
      /a second value in one AnyValue/,
    ],
    [requestText(`,"attributes":[{"key":"a","value":{"boolValue":1}}]`), /expected true or false/],
    [requestText(`,"attributes":[{"key":"a","value":{"doubleValue":"x"}}]`), /expected a number/],
    [requestText(`,"attributes":[{"key":"a","value":{"doubleValue":1e999}}]`), /expected a number/],
    [requestText(`,"attributes":[{"key":"a","value":{"bytesValue":"a"}}]`), /expected base64/],
    [requestText(`,"attributes":[{"key":"a","value":{"bytesValue":"ab*="}}]`), /expected base64/],
  ])("%s", (text, message) => {
    expect(malformed(text)).toMatch(message);
  });

  test("bytes that are not UTF-8 outside of a string", () => {
    expect(malformed(Uint8Array.of(0x7b, 0xff, 0x7d))).toMatch(/expected a string/);
  });

  test("values and unknown members nested without end, in time proportional to their length", () => {
    const deepValue = `{"arrayValue":{"values":[`.repeat(10_000);
    expect(malformed(requestText(`,"attributes":[{"key":"a","value":${deepValue}`))).toMatch(/expected/);
    expect(malformed(`{"x":${"[".repeat(1_000_000)}`)).toMatch(/JSON nested deeper than 65536/);
    expect(malformed(`{"x":${'{"a":'.repeat(1_000_000)}`)).toMatch(/JSON nested deeper than 65536/);
    expect(malformed(`{"x":[{"a":1]}`)).toMatch(/expected a comma/);
    expect(malformed(`{"x":[1,]}`)).toMatch(/expected a value/);
    expect(malformed(`{"x":{"a":1,}}`)).toMatch(/expected a string/);
  });

  test("cut at any byte", () => {
    const [payload] = makeCorpus(23, 1, 2);
    const json = payload?.json ?? new Uint8Array(0);
    for (let cut = 0; cut < json.length; cut++) {
      malformed(json.slice(0, cut));
    }
  });
});

test("a million keys are read without an object graph", () => {
  const text = `{"x":{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":${i}`).join(",")}}}`;
  expect(jsonToProtobuf(encode(text))).toHaveLength(0);
});
