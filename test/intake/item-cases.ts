/**
 * Requests with one faulty or odd item: a span, or something of a span, between two good spans of which nothing is wrong.
 * Each is in protobuf and in JSON where both can express it.
 */
import {
  bytesField,
  doubleField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  stringField,
  value,
  varintField,
} from "../fixtures/protobuf.ts";
import { type IntakeCase, jsonRequest, pbRequest, type Times } from "./requests.ts";

/** `{name}` of a span's JSON members, and the fields of the same span in protobuf. Undefined: this form cannot say it. */
interface Item {
  readonly name: string;
  readonly pb?: Part;
  readonly json?: string;
  /** The class of the difference to the Collector, where there is one in either form. */
  readonly differs?: string;
}

const text = (string: string): Uint8Array => new TextEncoder().encode(string);
const hex = (bytes: number): string => "ab".repeat(bytes);
const raw = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(0xab);
const attribute = (content: Part): Uint8Array => bytesField(9, content);
const cut = Uint8Array.of(0x61, 0xc3);

function ids(): Item[] {
  const wrong = "wrong-id";
  const items: Item[] = [];
  for (const [field, number, bytes] of [
    ["traceId", 1, 16],
    ["spanId", 2, 8],
  ] as const) {
    items.push({ name: `${field} empty`, pb: bytesField(number, []), json: `"${field}":""`, differs: wrong });
    items.push({
      name: `${field} all zero`,
      pb: bytesField(number, new Uint8Array(bytes)),
      json: `"${field}":"${"00".repeat(bytes)}"`,
      differs: wrong,
    });
    for (const length of [1, bytes / 2, bytes - 1, bytes + 1, 2 * bytes]) {
      items.push({
        name: `${field} of ${length} bytes`,
        pb: bytesField(number, raw(length)),
        json: `"${field}":"${hex(length)}"`,
        differs: wrong,
      });
    }
  }
  for (const [name, id] of [
    ["traceId in base64", "q6urq6urq6urq6urq6urqw=="],
    ["traceId as a UUID", "abababab-abab-abab-abab-abababababab"],
    ["traceId with 0x", `0x${hex(16)}`],
    ["traceId of an odd number of digits", hex(16).slice(1)],
    ["traceId with a letter that is no digit", `g${hex(16).slice(1)}`],
    ["traceId in upper case", hex(16).toUpperCase()],
  ] as const) {
    const isFine = name.endsWith("upper case");
    items.push({ name, json: `"traceId":"${id}"`, ...(isFine ? {} : { differs: wrong }) });
  }
  items.push({ name: "spanId in base64", json: '"spanId":"q6urq6urq6s="', differs: wrong });
  items.push({ name: "traceId null", json: '"traceId":null', differs: wrong });
  items.push({ name: "traceId as a number", json: '"traceId":1' });
  for (const length of [1, 7, 9, 16]) {
    items.push({
      name: `parentSpanId of ${length} bytes`,
      pb: bytesField(4, raw(length)),
      json: `"parentSpanId":"${hex(length)}"`,
      differs: "wrong-link-or-parent",
    });
  }
  items.push({
    name: "parentSpanId all zero",
    pb: bytesField(4, new Uint8Array(8)),
    json: '"parentSpanId":"0000000000000000"',
  });
  items.push({ name: "parentSpanId empty", pb: bytesField(4, []), json: '"parentSpanId":""' });
  items.push({ name: "parentSpanId null", json: '"parentSpanId":null', differs: "null-is-default" });
  return items;
}

function times({ now }: Times): Item[] {
  const nanos = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;
  const day = 86_400_000;
  const start = (name: string, at: bigint, differs?: string): Item => ({
    name: `start ${name}`,
    pb: [fixed64Field(7, at), fixed64Field(8, at)],
    json: `"startTimeUnixNano":"${at}","endTimeUnixNano":"${at}"`,
    ...(differs === undefined ? {} : { differs }),
  });
  const end = (name: string, at: bigint): Item => ({
    name: `end ${name}`,
    pb: fixed64Field(8, at),
    json: `"endTimeUnixNano":"${at}"`,
  });
  const bound = "time-out-of-bounds";
  return [
    start("zero", 0n, bound),
    start("in milliseconds", BigInt(now), bound),
    start("in microseconds", BigInt(now) * 1000n, bound),
    start("in seconds", BigInt(Math.floor(now / 1000)), bound),
    start("a second after 1970", nanos(1000), bound),
    start("29 days ago", nanos(now - 29 * day)),
    start("31 days ago", nanos(now - 31 * day), bound),
    start("a year ago", nanos(now - 365 * day), bound),
    start("in an hour", nanos(now + day / 24)),
    start("in two days", nanos(now + 2 * day), bound),
    start("2^63", 2n ** 63n, bound),
    start("2^64 - 1", 2n ** 64n - 1n, bound),
    {
      name: "start 45 days ago, end now",
      pb: [fixed64Field(7, nanos(now - 45 * day)), fixed64Field(8, nanos(now))],
      json: `"startTimeUnixNano":"${nanos(now - 45 * day)}","endTimeUnixNano":"${nanos(now)}"`,
    },
    end("before the start", nanos(now - 1000)),
    end("zero", 0n),
    end("Go's zero time", 11_651_379_494_838_206_464n),
    end("2^64 - 1", 2n ** 64n - 1n),
    { name: "times as numbers", json: `"startTimeUnixNano":${nanos(now)},"endTimeUnixNano":${nanos(now)}` },
    {
      name: "a time with a fraction of zero",
      json: `"endTimeUnixNano":"${nanos(now)}.0"`,
      differs: "protojson-number",
    },
    { name: "a time with an exponent", json: `"endTimeUnixNano":${now}e6`, differs: "protojson-number" },
    { name: "a negative time", json: '"endTimeUnixNano":-1', differs: "collector-500" },
    { name: "a time beyond 64 bits", json: '"endTimeUnixNano":"18446744073709551616"' },
    { name: "a time as an object", json: '"endTimeUnixNano":{"low":1,"high":2}' },
    { name: "a time in ISO 8601", json: '"endTimeUnixNano":"2026-11-27T00:00:00Z"' },
    { name: "a time null", json: '"endTimeUnixNano":null', differs: "null-is-default" },
    { name: "a time true", json: '"endTimeUnixNano":true' },
    { name: "a time as an empty text", json: '"endTimeUnixNano":""' },
  ];
}

function texts(): Item[] {
  const both = (name: string, number: number, member: string): Item[] => [
    { name: `${name} is not UTF-8`, pb: bytesField(number, cut), json: `"${member}":"a\u0000cut"` },
    { name: `${name} with half of a surrogate pair`, json: `"${member}":"a\\ud800"` },
    { name: `${name} with NUL`, pb: stringField(number, "a\u0000b"), json: `"${member}":"a\\u0000b"` },
    { name: `${name} empty`, pb: bytesField(number, []), json: `"${member}":""` },
  ];
  const keyed = (key: Part, content: Part): Uint8Array =>
    attribute(join(bytesField(1, key), bytesField(2, content)));
  return [
    ...both("name", 5, "name"),
    ...both("traceState", 3, "traceState"),
    { name: "name missing", pb: [], json: '"kind":2' },
    { name: "name null", json: '"name":null', differs: "null-is-default" },
    { name: "name as a number", json: '"name":7' },
    { name: "name of a megabyte", pb: stringField(5, "n".repeat(1e6)), json: `"name":"${"n".repeat(1e6)}"` },
    { name: "name with every escape", json: '"name":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"' },
    { name: "name with an unknown escape", json: '"name":"\\x41"' },
    { name: "name with a raw line break", json: '"name":"a\nb"' },
    {
      name: "attribute value is not UTF-8",
      pb: attribute(join(stringField(1, "k"), bytesField(2, bytesField(1, cut)))),
    },
    { name: "attribute key is not UTF-8", pb: keyed(cut, value.string("v")) },
    { name: "status message is not UTF-8", pb: bytesField(15, bytesField(2, cut)) },
    { name: "event name is not UTF-8", pb: bytesField(11, bytesField(2, cut)) },
    {
      name: "text of an array is not UTF-8",
      pb: keyed(text("k"), bytesField(5, bytesField(1, bytesField(1, cut)))),
    },
  ];
}

function attributes(): Item[] {
  const json = (content: string): string => `"attributes":[{"key":"k","value":${content}}]`;
  const of = (content: Part): Uint8Array => attribute(keyValue("k", content));
  const nested = (levels: number): Item => {
    let pb: Part = value.string("x");
    let text = '{"stringValue":"x"}';
    for (let level = 0; level < levels; level++) {
      pb = value.array(pb);
      text = `{"arrayValue":{"values":[${text}]}}`;
    }
    const differs = levels > 60 ? { differs: "deep-nesting" } : {};
    return { name: `an array nested ${levels} deep`, pb: of(pb), json: json(text), ...differs };
  };
  const many = (count: number): Item => ({
    name: `${count} attributes`,
    pb: Array.from({ length: count }, (_, i) => attribute(keyValue(`k${i}`, value.int(i)))),
    json: `"attributes":[${Array.from({ length: count }, (_, i) => `{"key":"k${i}","value":{"intValue":"${i}"}}`).join()}]`,
  });
  return [
    {
      name: "an attribute without value",
      pb: attribute(stringField(1, "k")),
      json: '"attributes":[{"key":"k"}]',
    },
    {
      name: "an attribute without key",
      pb: attribute(bytesField(2, value.int(1))),
      json: '"attributes":[{"value":{"intValue":"1"}}]',
    },
    { name: "an attribute with nothing", pb: attribute([]), json: '"attributes":[{}]' },
    { name: "an attribute null", json: '"attributes":[null]', differs: "null-is-default" },
    { name: "attributes null", json: '"attributes":null', differs: "null-is-default" },
    { name: "attributes as an object", json: '"attributes":{"k":"v"}' },
    { name: "attributes as a text", json: '"attributes":"k=v"' },
    { name: "an empty value", pb: of(value.none), json: json("{}") },
    { name: "a value null", json: json("null"), differs: "null-is-default" },
    { name: "a value that is a bare text", json: json('"v"') },
    { name: "a value of an unknown kind", json: json('{"dateValue":"x"}') },
    { name: "a value of two kinds", json: json('{"stringValue":"x","intValue":"1"}'), differs: "json-twice" },
    {
      name: "a key twice",
      pb: [of(value.int(1)), of(value.int(2))],
      json: '"attributes":[{"key":"k","value":{"intValue":"1"}},{"key":"k","value":{"intValue":"2"}}]',
    },
    { name: "an int as a number", pb: of(value.int(5)), json: json('{"intValue":5}') },
    {
      name: "the least int",
      pb: of(value.int(-(2n ** 63n))),
      json: json('{"intValue":"-9223372036854775808"}'),
    },
    { name: "an int beyond 64 bits", json: json('{"intValue":"9223372036854775808"}') },
    { name: "an int with a fraction", json: json('{"intValue":1.5}') },
    { name: "an int with a fraction of zero", json: json('{"intValue":1.0}'), differs: "protojson-number" },
    { name: "an int that is a word", json: json('{"intValue":"many"}') },
    { name: "an int null", json: json('{"intValue":null}'), differs: "null-is-default" },
    { name: "a double as a text", json: json('{"doubleValue":"1.5"}') },
    { name: "a double NaN", pb: of(value.double(Number.NaN)), json: json('{"doubleValue":"NaN"}') },
    {
      name: "a double Infinity",
      pb: of(value.double(Number.POSITIVE_INFINITY)),
      json: json('{"doubleValue":"Infinity"}'),
    },
    {
      name: "a double -Infinity",
      pb: of(value.double(Number.NEGATIVE_INFINITY)),
      json: json('{"doubleValue":"-Infinity"}'),
    },
    { name: "a double NaN without quotes", json: json('{"doubleValue":NaN}') },
    { name: "a double null", json: json('{"doubleValue":null}'), differs: "null-is-default" },
    { name: "a double beyond its range", json: json('{"doubleValue":1e999}') },
    {
      name: "NaN inside an array",
      pb: of(value.array(value.double(1.5), value.double(Number.NaN))),
      json: json('{"arrayValue":{"values":[{"doubleValue":1.5},{"doubleValue":"NaN"}]}}'),
    },
    { name: "a bool as a text", json: json('{"boolValue":"true"}') },
    { name: "a text as a number", json: json('{"stringValue":5}') },
    { name: "bytes in base64", pb: of(value.bytes(1, 2, 251)), json: json('{"bytesValue":"AQL7"}') },
    { name: "bytes in URL-safe base64", json: json('{"bytesValue":"-_8"}'), differs: "base64" },
    { name: "bytes that are no base64", json: json('{"bytesValue":"%%%"}') },
    {
      name: "a map with a key twice",
      pb: of(value.map(keyValue("a", value.int(1)), keyValue("a", value.int(2)))),
      json: json(
        '{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}},{"key":"a","value":{"intValue":"2"}}]}}',
      ),
    },
    { name: "an array that is a bare array", json: json('{"arrayValue":[{"intValue":"1"}]}') },
    nested(10),
    nested(63),
    nested(64),
    nested(200),
    many(1000),
    many(10_000),
    {
      name: "a key of a megabyte",
      pb: attribute(keyValue("k".repeat(1e6), value.int(1))),
      json: `"attributes":[{"key":"${"k".repeat(1e6)}","value":{"intValue":"1"}}]`,
    },
    {
      name: "a doubleField where an int belongs",
      pb: attribute(join(stringField(1, "k"), bytesField(2, doubleField(3, 1)))),
    },
  ];
}

function enums(): Item[] {
  const kind = (name: string, json: string, pb?: Part): Item => ({
    name: `kind ${name}`,
    json: `"kind":${json}`,
    ...(pb === undefined ? {} : { pb }),
  });
  const status = (name: string, json: string, pb?: Part): Item => ({
    name: `status ${name}`,
    json: `"status":${json}`,
    ...(pb === undefined ? {} : { pb }),
  });
  return [
    kind("0", "0", varintField(6, 0)),
    kind("5", "5", varintField(6, 5)),
    kind("99", "99", varintField(6, 99)),
    kind("-1", "-1", varintField(6, -1)),
    kind("by name", '"SPAN_KIND_SERVER"'),
    { ...kind("by a short name", '"SERVER"'), differs: "unknown-enum-name" },
    { ...kind("as a text of digits", '"2"'), differs: "unknown-enum-name" },
    { ...kind("null", "null"), differs: "null-is-default" },
    { ...kind("with a fraction of zero", "2.0"), differs: "protojson-number" },
    kind("true", "true"),
    kind("beyond 32 bits", "4294967298", varintField(6, 4_294_967_298n)),
    status("empty", "{}", bytesField(15, [])),
    status("1", '{"code":1}', bytesField(15, varintField(3, 1))),
    status("7", '{"code":7}', bytesField(15, varintField(3, 7))),
    status("by name", '{"code":"STATUS_CODE_OK"}'),
    { ...status("by a short name", '{"code":"OK"}'), differs: "unknown-enum-name" },
    { ...status("null", "null"), differs: "null-is-default" },
    status("as a number", "2"),
  ];
}

function eventsAndLinks({ now }: Times): Item[] {
  const time = BigInt(now) * 1_000_000n;
  const link = (trace: Uint8Array, span: Uint8Array): Part =>
    bytesField(13, [bytesField(1, trace), bytesField(2, span)]);
  const jsonLink = (trace: string, span: string): string =>
    `"links":[{"traceId":"${trace}","spanId":"${span}"}]`;
  const wrong = "wrong-link-or-parent";
  return [
    { name: "a good link", pb: link(raw(16), raw(8)), json: jsonLink(hex(16), hex(8)) },
    {
      name: "a link with a trace id of 8 bytes",
      pb: link(raw(8), raw(8)),
      json: jsonLink(hex(8), hex(8)),
      differs: wrong,
    },
    {
      name: "a link with a span id of 4 bytes",
      pb: link(raw(16), raw(4)),
      json: jsonLink(hex(16), hex(4)),
      differs: wrong,
    },
    { name: "a link without ids", pb: bytesField(13, []), json: '"links":[{}]' },
    {
      name: "a link of zeros",
      pb: link(new Uint8Array(16), new Uint8Array(8)),
      json: jsonLink("00".repeat(16), "00".repeat(8)),
    },
    { name: "links null", json: '"links":null', differs: "null-is-default" },
    { name: "an event without anything", pb: bytesField(11, []), json: '"events":[{}]' },
    {
      name: "an event at zero",
      pb: bytesField(11, [fixed64Field(1, 0n), stringField(2, "e")]),
      json: '"events":[{"timeUnixNano":"0","name":"e"}]',
    },
    {
      name: "an event at 2^64 - 1",
      pb: bytesField(11, [fixed64Field(1, 2n ** 64n - 1n)]),
      json: '"events":[{"timeUnixNano":"18446744073709551615"}]',
    },
    {
      name: "an event long before its span",
      pb: bytesField(11, [fixed64Field(1, 1n)]),
      json: '"events":[{"timeUnixNano":"1"}]',
    },
    {
      name: "an event now",
      pb: bytesField(11, [fixed64Field(1, time), stringField(2, "e")]),
      json: `"events":[{"timeUnixNano":"${time}","name":"e"}]`,
    },
    {
      name: "1000 events",
      pb: Array.from({ length: 1000 }, () => bytesField(11, stringField(2, "e"))),
      json: `"events":[${'{"name":"e"},'.repeat(999)}{"name":"e"}]`,
    },
    { name: "events null", json: '"events":null', differs: "null-is-default" },
    { name: "a negative dropped count", json: '"droppedAttributesCount":-1', differs: "collector-500" },
    { name: "a dropped count beyond 32 bits", json: '"droppedAttributesCount":4294967296' },
    { name: "a dropped count as a text", json: '"droppedAttributesCount":"3"' },
    { name: "flags", pb: join(0x85, 0x01, 1, 3, 0, 0), json: '"flags":257' },
    { name: "flags null", json: '"flags":null', differs: "null-is-default" },
    { name: "flags as a text", json: '"flags":"257"' },
  ];
}

function shapes(): Item[] {
  return [
    { name: "an unknown field", pb: varintField(999, 1), json: '"whatever":{"a":[1,2,{"b":null}]}' },
    {
      name: "an unknown field of each wire type",
      pb: [varintField(900, 1), doubleField(901, 1), stringField(902, "x"), join(0xb5, 0x38, 1, 2, 3, 4)],
    },
    { name: "an unknown group", pb: join(0xbb, 0x38, 0x08, 1, 0xbc, 0x38), differs: "groups" },
    { name: "a group that does not end", pb: join(0xbb, 0x38, 0x08, 1), differs: "groups" },
    {
      name: "a field twice",
      pb: [stringField(5, "a"), stringField(5, "b")],
      json: '"name":"a","name":"b"',
      differs: "json-twice",
    },
    { name: "a status twice", pb: [bytesField(15, varintField(3, 1)), bytesField(15, stringField(2, "m"))] },
    { name: "a name of another wire type", pb: varintField(5, 1) },
    { name: "a time of another wire type", pb: varintField(7, 1) },
    { name: "a padded length", pb: bytesField(5, text("n"), 4) },
    { name: "members in snake_case", json: '"parent_span_id":"abababababababab","dropped_events_count":1' },
    {
      name: "members in both cases",
      json: '"droppedEventsCount":1,"dropped_events_count":1',
      differs: "json-twice",
    },
    { name: "a member in another case", json: '"NAME":7' },
    { name: "a member without value", json: '"x":' },
    { name: "a member without quotes", json: "x:1" },
  ];
}

/** `{name}: {form}`, each with a good span before and one behind it. */
export function itemCases(at: Times): IntakeCase[] {
  const items = [
    ...ids(),
    ...times(at),
    ...texts(),
    ...attributes(),
    ...enums(),
    ...eventsAndLinks(at),
    ...shapes(),
  ];
  return items.flatMap(({ name, pb, json, differs }): IntakeCase[] => {
    const more = differs === undefined ? {} : { differs };
    return [
      ...(pb === undefined
        ? []
        : [
            {
              name: `${name} (protobuf)`,
              body: () => pbRequest(at, [{}, { more: pb }, {}]),
              type: "protobuf",
              ...more,
            } as const,
          ]),
      ...(json === undefined
        ? []
        : [
            {
              name: `${name} (JSON)`,
              body: () => jsonRequest(at, [{}, { more: json }, {}]),
              type: "json",
              ...more,
            } as const,
          ]),
    ];
  });
}
