/**
 * Requests in which the Collector's rules show: spans of the real SDK, every kind of AnyValue in every place that has
 * attributes, and the forms that protobuf and OTLP/JSON allow and no SDK sends. Seeded: the same each time.
 */
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { makeSpans } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  request,
  resource,
  span,
  spanId,
  startNanos,
  stringField,
  traceId,
  value,
  varintField,
} from "../fixtures/protobuf.ts";
import { randomRequest } from "../fuzz/mutations.ts";

export interface CollectorRequest {
  /** What it is about; the spans of a name differ from all others. */
  readonly name: string;
  readonly type: "protobuf" | "json";
  readonly body: Uint8Array;
}

const serviceName = "service.name";

/** Values with a text of their own, as the content of an AnyValue. */
function scalars(random: Random): Part[] {
  const doubles = [
    0,
    -0,
    1,
    -1,
    3,
    0.1,
    1.5,
    1e20,
    123456789012345680000,
    1e21,
    1.5e21,
    1e22,
    -1e21,
    1e-5,
    1e-6,
    9.99e-7,
    1e-7,
    1.5e-7,
    -1e-7,
    5e-324,
    2.2250738585072014e-308,
    Number.MAX_VALUE,
    Number.MAX_SAFE_INTEGER,
    2 ** 53,
    2 ** 63,
    2 ** 64,
    1 / 3,
    100,
    1e15,
    1e16,
    1e17,
    123456.789,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ];
  for (let exponent = -30; exponent <= 30; exponent += 3) {
    doubles.push(10 ** exponent, 1.25 * 10 ** exponent, -7 * 10 ** exponent);
  }
  const bits = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < 150; i++) {
    bits.setUint32(0, random.next());
    bits.setUint32(4, random.next());
    doubles.push(bits.getFloat64(0));
  }
  const integers = [
    0n,
    1n,
    -1n,
    9n,
    10n,
    -10n,
    2n ** 31n - 1n,
    2n ** 31n,
    -(2n ** 31n),
    2n ** 32n,
    2n ** 53n,
    2n ** 53n + 1n,
    -(2n ** 53n) - 1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    1_000_000_000n,
    999_999_999_999_999_999n,
  ];
  const texts = [
    "",
    " ",
    "plain",
    "größe",
    "😀",
    "日本語",
    "\u0000",
    "\u0001\u001f",
    "\b\t\n\f\r",
    '"\\/',
    "<a href='x'>&amp;</a>",
    "\u007f\u0080\u009f",
    "\u2028\u2029",
    "\ufeffbom",
    "\ufffd\ufffe\uffff",
    "\u{10ffff}",
    "a".repeat(127),
    "b".repeat(128),
    "c".repeat(20_000),
    '{"already":"json"}',
    "true",
    "null",
    "1e5",
  ];
  return [
    value.none,
    value.bool(true),
    value.bool(false),
    varintField(2, 2),
    value.bytes(),
    value.bytes(0),
    value.bytes(1, 2),
    value.bytes(255, 254, 253),
    value.bytes(...Array.from({ length: 100 }, (_, i) => i)),
    ...doubles.map((n) => value.double(n)),
    ...integers.map((n) => value.int(n)),
    ...texts.map((text) => value.string(text)),
    // A oneof that is set more than once: the last one holds.
    join(value.string("first"), value.int(2)),
    join(value.int(2), value.string("")),
  ];
}

/** Arrays and maps around what is given. */
function nested(inner: readonly Part[]): Part[] {
  const deep = (depth: number, leaf: Part): Part => {
    let content = leaf;
    for (let i = 0; i < depth; i++) {
      content = i % 2 === 0 ? value.array(content) : value.map(keyValue("k", content));
    }
    return content;
  };
  return [
    value.array(),
    value.map(),
    ...inner.map((content) => value.array(content)),
    ...inner.map((content) => value.map(keyValue("key", content))),
    value.array(...inner.slice(0, 20)),
    value.array(
      value.array(),
      value.map(),
      value.none,
      value.array(value.none),
      value.map(keyValue("", value.none)),
    ),
    value.map(keyValue("b", value.int(1)), keyValue("a", value.int(2)), keyValue("B", value.int(3))),
    value.map(
      keyValue("twice", value.int(1)),
      keyValue("a", value.none),
      keyValue("twice", value.string("last")),
    ),
    value.map(
      keyValue("ä", value.int(1)),
      keyValue("z", value.int(2)),
      keyValue("😀", value.int(3)),
      keyValue("\uffff", value.int(4)),
    ),
    value.map(
      keyValue('q"\\\n', value.string('q"\\\n')),
      keyValue("\u2028", value.bool(true)),
      keyValue("<&>", value.none),
    ),
    value.map(keyValue("", value.string("no key")), bytesField(2, value.string("key left out"))),
    value.array(value.string("ok"), value.map(keyValue("inner", value.array(value.double(Number.NaN))))),
    deep(8, value.string("deep")),
    deep(30, value.int(30)),
  ];
}

/** Each value as attribute of a span, a resource, an event and a link, and as service name. */
function everywhere(name: string, contents: readonly Part[]): CollectorRequest[] {
  const spans = contents.map((content, i) => {
    const entry = keyValue("value", content);
    return span(
      stringField(5, `${name} ${i}`),
      bytesField(9, entry),
      bytesField(11, [fixed64Field(1, startNanos), stringField(2, "event"), bytesField(3, entry)]),
      bytesField(13, [bytesField(1, traceId), bytesField(2, spanId), bytesField(4, entry)]),
    );
  });
  const resources = contents.map((content, i) =>
    bytesField(1, [
      resource(["value", content], [serviceName, content]),
      bytesField(2, [
        bytesField(1, stringField(1, name)),
        bytesField(2, span(stringField(5, `${name} of resource ${i}`))),
      ]),
    ]),
  );
  return [
    { name, type: "protobuf", body: request(...spans) },
    { name: `${name} of resources`, type: "protobuf", body: join(...resources) },
  ];
}

function duplicates(random: Random): CollectorRequest {
  const spans = [2, 3, 5, 11, 12, 13, 14, 20, 40, 200].flatMap((count) =>
    [1, 3, count].map((keys) =>
      span(
        stringField(5, `duplicates ${count} of ${keys}`),
        Array.from({ length: count }, (_, i) => attribute(`k${random.below(keys)}`, value.int(i))),
      ),
    ),
  );
  const sorted = span(
    stringField(5, "order"),
    ["b", "a", "ab", "B", "", "ä", "z", "😀", "\uffff", "a\u0000", "a."].map((key) =>
      attribute(key, value.string(key)),
    ),
  );
  return { name: "duplicate keys", type: "protobuf", body: request(...spans, sorted) };
}

/** More keys than any table of known keys begins with. */
function manyKeys(): CollectorRequest {
  const spans = Array.from({ length: 700 }, (_, i) =>
    span(
      stringField(5, `key ${i}`),
      attribute(`key-${i}`, value.int(i)),
      attribute(`k${i % 130}`, value.int(i)),
    ),
  );
  return { name: "many keys", type: "protobuf", body: request(...spans) };
}

function serviceNames(): CollectorRequest {
  const named = (name: string, ...attributes: (readonly [string, Part])[]): Uint8Array =>
    bytesField(1, [
      resource(...attributes),
      bytesField(2, bytesField(2, span(stringField(5, `service ${name}`)))),
    ]);
  return {
    name: "service names",
    type: "protobuf",
    body: join(
      named("absent"),
      named("empty", [serviceName, value.string("")]),
      named("first of two", [serviceName, value.string("one")], [serviceName, value.string("two")]),
      named("none, then one", [serviceName, value.none], [serviceName, value.string("two")]),
      named("in other case", ["Service.Name", value.string("no")], ["service_name", value.string("no")]),
      named(
        "behind others",
        ["a", value.string("x")],
        ["z", value.int(1)],
        [serviceName, value.string("late")],
      ),
      bytesField(1, bytesField(2, bytesField(2, span(stringField(5, "service without resource"))))),
    ),
  };
}

function numbers(): CollectorRequest {
  const spans = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    99,
    127,
    128,
    300,
    -1,
    -2,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32 + 2,
    2 ** 40,
  ].map((n) =>
    span(
      stringField(5, `number ${n}`),
      varintField(6, BigInt(n)),
      bytesField(15, [varintField(3, BigInt(n)), stringField(2, "m")]),
    ),
  );
  return {
    name: "kinds and status codes",
    type: "protobuf",
    body: request(...spans, span(stringField(5, "ok"), bytesField(15, []))),
  };
}

function idsAndScopes(): CollectorRequest {
  const zero16 = new Uint8Array(16);
  const zero8 = new Uint8Array(8);
  const link = (...parts: Part[]): Uint8Array => bytesField(13, parts);
  const spans = [
    span(stringField(5, "parent"), bytesField(4, spanId)),
    span(stringField(5, "parent zero"), bytesField(4, zero8)),
    span(stringField(5, "parent empty"), bytesField(4, [])),
    span(
      stringField(5, "links"),
      link(bytesField(1, traceId), bytesField(2, spanId), stringField(3, "a=1,b=2")),
      link(bytesField(1, zero16), bytesField(2, zero8)),
      link(),
    ),
    span(
      stringField(5, "trace state"),
      stringField(3, "congo=t61rcWkgMzE,größe=ü"),
      join([0x85, 0x01], [1, 1, 0, 0]),
    ),
    span(
      stringField(5, "counts that are not stored"),
      varintField(10, 7),
      varintField(12, 8),
      varintField(14, 9),
    ),
  ];
  const scoped = (name: string, ...scopes: Part[]): Uint8Array =>
    bytesField(1, [
      resource([serviceName, value.string("shop")]),
      bytesField(2, [
        scopes.map((scope) => bytesField(1, scope)),
        bytesField(2, span(stringField(5, `scope ${name}`))),
        stringField(3, "https://schema"),
      ]),
      stringField(3, "https://schema"),
    ]);
  return {
    name: "ids and scopes",
    type: "protobuf",
    body: join(
      request(...spans),
      scoped("none"),
      scoped("empty", []),
      scoped("name only", stringField(1, "lib")),
      scoped("version only", stringField(2, "1.2.3")),
      scoped("with attributes", [
        stringField(1, "lib"),
        stringField(2, "1"),
        bytesField(3, keyValue("short_name", value.string("x"))),
        varintField(4, 2),
      ]),
      scoped("in two pieces", stringField(1, "lib"), stringField(2, "2")),
    ),
  };
}

function times(): CollectorRequest {
  const ends = [
    startNanos,
    startNanos + 1n,
    startNanos + 2n ** 32n,
    startNanos + 86_400_000_000_000n,
    2n ** 63n - 1n,
  ];
  const spans = [
    ...ends.map((end, i) => span(stringField(5, `end ${i}`), fixed64Field(8, end))),
    ...[0n, 1n, startNanos - 1n, 1_000_000_000n, 2n ** 63n - 1n, 2n ** 64n - 1n].map((at, i) =>
      span(stringField(5, `event time ${i}`), bytesField(11, [fixed64Field(1, at), stringField(2, `e${i}`)])),
    ),
    span(stringField(5, "event without anything"), bytesField(11, [])),
    span(
      stringField(5, "many events"),
      Array.from({ length: 128 }, (_, i) =>
        bytesField(11, [
          fixed64Field(1, startNanos + BigInt(i)),
          stringField(2, `event ${i % 9}`),
          Array.from({ length: i % 4 }, (_, j) => bytesField(3, keyValue(`k${j}`, value.int(i)))),
        ]),
      ),
      Array.from({ length: 40 }, (_, i) =>
        bytesField(13, [
          bytesField(1, traceId),
          bytesField(2, spanId),
          bytesField(4, keyValue(`k${i}`, value.int(i))),
        ]),
      ),
    ),
  ];
  return { name: "times", type: "protobuf", body: request(...spans) };
}

/** JSON as the specification allows it: numbers as text, base64, ids in either case, null, fields that nobody knows. */
function jsonByHand(): CollectorRequest {
  const values = [
    '{"stringValue":"a\\u0000\\ud83d\\ude00\\u2028</"}',
    '{"boolValue":true}',
    '{"boolValue":false}',
    '{"intValue":"9223372036854775807"}',
    '{"intValue":"-9223372036854775808"}',
    '{"intValue":7}',
    '{"intValue":"0"}',
    '{"doubleValue":1.5e300}',
    '{"doubleValue":-0.0}',
    '{"doubleValue":3}',
    '{"doubleValue":1e-7}',
    '{"bytesValue":"AQID/w=="}',
    '{"bytesValue":""}',
    '{"arrayValue":{"values":[{"intValue":"9007199254740993"},{"stringValue":"x"},{}]}}',
    '{"arrayValue":{}}',
    '{"kvlistValue":{"values":[{"key":"b","value":{"doubleValue":1}},{"key":"a","value":{"arrayValue":{"values":[]}}}]}}',
    "{}",
  ];
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const spans = values.map(
    (
      content,
      i,
    ) => `{"traceId":"${hex(traceId)}","spanId":"${hex(spanId).toUpperCase()}","name":"json ${i}","kind":${i % 6},
    "startTimeUnixNano":"${startNanos}","endTimeUnixNano":"${startNanos + BigInt(i)}","unknown":{"a":[1,{"b":null}]},"parentSpanId":"",
    "attributes":[{"key":"value","value":${content}}],"events":[{"timeUnixNano":"${startNanos}","name":"e","attributes":[{"key":"value","value":${content}}]}],
    "links":[{"traceId":"${hex(traceId)}","spanId":"${hex(spanId)}","attributes":[{"key":"value","value":${content}}]}],
    "status":{"code":${i % 3},"message":"m"}}`,
  );
  return {
    name: "JSON by hand",
    type: "json",
    body: new TextEncoder().encode(
      `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"json"}}]},"scopeSpans":[{"scope":{"name":"s"},"spans":[${spans.join(",")}]}]}]}`,
    ),
  };
}

/** The same each time; some 2,100 spans. */
export function collectorRequests(): CollectorRequest[] {
  const random = new Random(20_261_124);
  const plain = scalars(random);
  const sdk = ["frontend", "checkout", "cart"].map(
    (service): CollectorRequest => ({
      name: `the SDK's ${service}`,
      type: "protobuf",
      body: ProtobufTraceSerializer.serializeRequest(makeSpans(random, service, 60)) ?? new Uint8Array(0),
    }),
  );
  const json: CollectorRequest = {
    name: "the SDK's JSON",
    type: "json",
    body: JsonTraceSerializer.serializeRequest(makeSpans(random, "payment", 60)) ?? new Uint8Array(0),
  };
  const odd = Array.from(
    { length: 400 },
    (_, i): CollectorRequest => ({
      name: `odd form ${i}`,
      type: "protobuf",
      body: randomRequest(random, { valuesInPieces: false }),
    }),
  );
  return [
    ...sdk,
    json,
    jsonByHand(),
    ...everywhere("scalar", plain),
    ...everywhere("nested", nested(plain.filter((_, i) => i < 60 || i > plain.length - 45))),
    duplicates(random),
    manyKeys(),
    serviceNames(),
    numbers(),
    idsAndScopes(),
    times(),
    ...odd,
  ];
}
