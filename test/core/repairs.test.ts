/**
 * One item's defect costs that item: what is changed so that a request can be stored, that it is counted, and that ingress
 * and consumer agree on the spans. Expected texts are TextDecoder's, or written by hand.
 */

import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { toHex } from "../../shared/hex.ts";
import { limits } from "../../shared/limits.ts";
import { acceptedBounds, payloadMetadataSchema } from "../../shared/messages.ts";
import { inspectTraces, partialMessage } from "../../shared/otlp/inspect.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { noRepairs, type Repairs } from "../../shared/otlp/repairs.ts";
import type { SpanBounds } from "../../shared/otlp/span-check.ts";
import { writeRepaired } from "../../shared/otlp/utf8.ts";
import { WireWriter } from "../../shared/otlp/wire-writer.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { blockBytes, payloadId } from "../fixtures/blocks.ts";
import {
  attribute,
  bounds,
  bytesField,
  join,
  keyValue,
  request,
  span,
  spanId,
  startNanos,
  stringField,
  traceId,
  value,
} from "../fixtures/protobuf.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The block as the consumer writes it: by the bounds that the ingress leaves in the metadata. */
function consumerBlock(body: Uint8Array, accepted: SpanBounds = bounds): Uint8Array {
  const { spans, repairs } = inspectTraces(body, accepted);
  const builder = new BlockBuilder();
  const read = { ...accepted, textsRepaired: repairs.texts > 0 };
  expect(builder.add({ id: payloadId, tenant: "acme", body, bounds: read, spans }).rows).toBe(spans);
  return blockBytes(builder);
}

/** Ingress and transcoder agree: the broken body is stored as its repaired twin, and what was changed is counted. */
function expectRepaired(broken: Uint8Array, twin: Uint8Array, counted: Partial<Repairs>): void {
  const inspection = inspectTraces(broken, bounds);
  const whole = inspectTraces(twin, bounds);
  expect(inspection.repairs).toEqual({ ...noRepairs(), ...counted });
  expect([inspection.spans, inspection.rejectedSpans]).toEqual([whole.spans, whole.rejectedSpans]);
  expect(consumerBlock(broken)).toEqual(consumerBlock(twin));
}

const cut = [0x61, 0xc3];
const good = span(stringField(5, "good"));

describe("text that is not UTF-8 is stored with U+FFFD", () => {
  const places: readonly (readonly [string, (text: readonly number[]) => Uint8Array])[] = [
    ["a name", (text) => request(good, span(bytesField(5, text)))],
    ["a trace state", (text) => request(good, span(bytesField(3, text)))],
    ["a status message", (text) => request(good, span(bytesField(15, bytesField(2, text))))],
    [
      "a key",
      (text) => request(good, span(bytesField(9, [bytesField(1, text), bytesField(2, value.int(1))]))),
    ],
    ["a value", (text) => request(good, span(attribute("a", bytesField(1, text))))],
    [
      "a value in an array",
      (text) => request(span(attribute("a", value.array(value.int(1), bytesField(1, text))))),
    ],
    [
      "a key in a map",
      (text) =>
        request(
          span(
            attribute("a", bytesField(6, bytesField(1, [bytesField(1, text), bytesField(2, value.int(1))]))),
          ),
        ),
    ],
    ["an event's name", (text) => request(span(bytesField(11, bytesField(2, text))), good)],
    ["a link's trace state", (text) => request(span(bytesField(13, bytesField(3, text))), good)],
    [
      "a resource's attribute",
      (text) =>
        bytesField(1, [
          bytesField(1, bytesField(1, keyValue("service.name", bytesField(1, text)))),
          bytesField(2, [bytesField(1, bytesField(1, text.slice(0, 1))), bytesField(2, good)]),
        ]),
    ],
    [
      "a scope's name",
      (text) => bytesField(1, bytesField(2, [bytesField(1, bytesField(1, text)), bytesField(2, good)])),
    ],
  ];

  test.each(places)("in %s", (_, body) => {
    expectRepaired(body(cut), body([0x61, 0xef, 0xbf, 0xbd]), { texts: 1 });
  });

  test("as TextDecoder reads it, whatever the bytes", () => {
    const texts = [
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xe2, 0x82],
      [0xf0, 0x9f, 0x98],
      [0xf4, 0x90, 0x80, 0x80],
    ];
    let seed = 7;
    for (let i = 0; i < 20_000; i++) {
      texts.push(
        Array.from({ length: 1 + (i % 7) }, () => {
          seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
          const interesting = [
            0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4,
            0xf5,
          ];
          return interesting[(seed >> 8) % interesting.length] ?? 0;
        }),
      );
    }
    const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
    for (const text of texts) {
      const bytes = Uint8Array.from(text);
      const writer = new WireWriter(0);
      writeRepaired(writer, bytes, 0, bytes.length);
      expect(
        Buffer.from(writer.finish()).equals(Buffer.from(encode(decoder.decode(bytes)))),
        text.join(" "),
      ).toBe(true);
    }
  });

  test("in JSON too, and half of a pair with it", () => {
    const text = (name: string) =>
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${toHex(traceId)}","spanId":"${toHex(spanId)}","startTimeUnixNano":"${startNanos}","traceState":"t","name":"${name}"}]}]}]}`;
    const [before = "", after = ""] = text("@").split("@");
    const repairs = noRepairs();
    const raw = jsonToProtobuf(join(encode(before), [0x61, 0xc3], encode(after)), repairs);
    expect(raw).toEqual(jsonToProtobuf(encode(text("a\ufffd"))));
    expect(repairs).toEqual({ ...noRepairs(), texts: 1 });
    expect(jsonToProtobuf(encode(text("a\\ud800")), repairs)).toEqual(raw);
    expect(repairs.texts).toBe(2);
    jsonToProtobuf(encode(text("a\\ud83d\\ude00")), repairs);
    expect(repairs.texts).toBe(2);
  });

  test("up to the bound of an inflated body", () => {
    const noise = new Uint8Array(limits.inflatedBytesMax / 2).fill(0xff);
    expect(() => inspectTraces(request(span(bytesField(5, noise))), bounds)).toThrow(MalformedBody);
    expect(
      inspectTraces(request(span(bytesField(5, noise.subarray(0, noise.length / 2)))), bounds).spans,
    ).toBe(1);
  });

  test("and where another string replaced it nothing is counted", () => {
    const body = request(span(bytesField(5, cut), stringField(5, "name"), stringField(100, "x")));
    expect(inspectTraces(body, bounds).repairs).toEqual(noRepairs());
  });
});

describe("a wrong id in a link or a parent", () => {
  const link = bytesField(13, [bytesField(1, traceId), bytesField(2, spanId)]);
  const bad = bytesField(13, [bytesField(1, traceId.subarray(8)), bytesField(2, spanId)]);

  test("takes the link, and leaves the span and its other links", () => {
    expectRepaired(request(good, span(link, bad, link, bad)), request(good, span(link, link)), { links: 2 });
    expectRepaired(request(span(bad)), request(span()), { links: 1 });
    expectRepaired(request(span(bytesField(13, bytesField(2, [1])))), request(span()), { links: 1 });
  });

  test("makes a span without parent", () => {
    expectRepaired(request(span(bytesField(4, [1, 2, 3]))), request(span()), { parents: 1 });
  });

  test("is counted once in a body that is read twice", () => {
    const body = request(span(bad), span(bytesField(5, cut)));
    expect(inspectTraces(body, bounds).repairs).toEqual({ ...noRepairs(), links: 1, texts: 1 });
  });

  test("is not counted in a span that is refused", () => {
    const body = request(good, span(bytesField(2, new Uint8Array(8)), bad));
    expect(inspectTraces(body, bounds)).toMatchObject({ spans: 1, rejectedSpans: 1, repairs: noRepairs() });
  });

  test("refuses its span in a payload that an older ingress has accepted", () => {
    const body = request(good, span(bad), span(bytesField(4, [1])));
    const metadata = {
      version: "1",
      type: "pb",
      encoding: "identity",
      spans: "1",
      rejectedSpans: "2",
      inflatedBytes: "1",
      outputBytes: "1",
      arrival: String(bounds.startMaxMs),
      startMinMs: String(bounds.startMinMs),
      startMaxMs: String(bounds.startMaxMs),
    };
    const accepted = (more: object) =>
      acceptedBounds(v.parse(payloadMetadataSchema, { ...metadata, ...more }));
    expect(inspectTraces(body, accepted({}))).toMatchObject({ spans: 1, rejectedSpans: 2 });
    expect(inspectTraces(body, accepted({ repairs: "2", repairedTexts: "0" }))).toMatchObject({ spans: 3 });
    const builder = new BlockBuilder();
    builder.add({ id: payloadId, tenant: "acme", body, bounds: accepted({}), spans: 1 });
  });
});

describe("a value that JSON text cannot hold keeps its rest", () => {
  const nested = (levels: number, inmost: Uint8Array): Uint8Array => {
    let inner = inmost;
    for (let i = 1; i < levels; i++) {
      inner = i % 2 === 0 ? value.array(value.int(i), inner) : value.map(keyValue("k", inner));
    }
    return request(good, span(attribute("deep", inner)));
  };

  test("null replaces what is nested beyond the bound, in either encoding", () => {
    const { depthMax } = limits;
    expect(inspectTraces(nested(depthMax, value.string("x")), bounds).repairs).toEqual(noRepairs());
    // What is replaced is the 65th level: a string, or a whole tree of any depth.
    expectRepaired(nested(depthMax + 1, value.string("x")), nested(depthMax + 1, value.none), { nested: 1 });
    const tree = value.array(value.array(value.double(Number.NaN)), bytesField(1, cut));
    expectRepaired(nested(depthMax + 1, tree), nested(depthMax + 1, value.none), { nested: 1 });
    const json = (levels: number) =>
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":${`{"arrayValue":{"values":[`.repeat(levels)}{"intValue":1}${"]}}".repeat(levels)}}]}]}]}]}`;
    for (const [levels, count] of [
      [depthMax - 1, 0],
      [depthMax, 1],
      [10_000, 1],
    ] as const) {
      const repairs = noRepairs();
      jsonToProtobuf(encode(json(levels)), repairs);
      expect(repairs.nested, String(levels)).toBe(count);
    }
  });

  test("a body in an unusual form has the same rows", () => {
    const deep = nested(limits.depthMax + 3, value.string("x"));
    const unusual = join(
      deep,
      request(span(bytesField(9, [bytesField(2, value.int(5)), stringField(1, "a")]))),
    );
    const { spans, repairs } = inspectTraces(unusual, bounds);
    expect([spans, repairs]).toEqual([3, { ...noRepairs(), nested: 1 }]);
    consumerBlock(unusual);
  });

  test("NaN and the infinities inside are their names", () => {
    const list = (inner: Uint8Array) => request(span(attribute("a", value.array(value.double(1.5), inner))));
    expectRepaired(list(value.double(Number.NaN)), list(value.string("NaN")), { numbers: 1 });
    expectRepaired(list(value.double(-Infinity)), list(value.string("-Infinity")), { numbers: 1 });
    const alone = request(span(attribute("a", value.double(Number.NaN))));
    expect(inspectTraces(alone, bounds).repairs).toEqual(noRepairs());
    expect(inspectTraces(list(value.double(Number.MAX_VALUE)), bounds).repairs).toEqual(noRepairs());
  });
});

test("a name that its enum lacks is stored as no text, as a number is that it lacks", () => {
  const text = (kind: string) =>
    encode(
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${toHex(traceId)}","spanId":"${toHex(spanId)}","startTimeUnixNano":"${startNanos}","kind":${kind}}]}]}]}`,
    );
  const repairs = noRepairs();
  expect(jsonToProtobuf(text('"SERVER"'), repairs)).toEqual(jsonToProtobuf(text("-1")));
  expect(repairs).toEqual({ ...noRepairs(), enums: 1 });
});

describe("an invalid id is reported as it was sent:", () => {
  const hexTrace = toHex(traceId);
  const hexSpan = toHex(spanId);
  const wrongIds: readonly (readonly [object, string | RegExp])[] = [
    [
      { traceId: "W47/95gDgQPSabYzgT/GDA==" },
      'trace_id "W47/95gDgQPSabYzgT/GDA==" is 24 characters, not 32 hex digits',
    ],
    [
      { traceId: "5b8efff7-9803-8103-d269-b633813fc60c" },
      /^trace_id ".*" is 36 characters, not 32 hex digits$/,
    ],
    [{ traceId: `0x${hexTrace}` }, /is 34 characters, not 32 hex digits/],
    [{ traceId: hexSpan }, /trace_id "a1a2a3a4a5a6a7a8" is 16 characters, not 32 hex digits/],
    [{ traceId: "g".repeat(32) }, /is 32 characters that are not all hex digits, not 32 hex digits/],
    [{ traceId: "äöü" }, /trace_id "äöü" is 3 characters/],
    [{ traceId: "x".repeat(1000) }, /^trace_id "x{40}…" is 1000 characters/],
    [{ traceId: undefined }, "trace_id is missing"],
    [{ spanId: hexTrace }, /span_id ".*" is 32 characters, not 16 hex digits/],
    // As many bytes as an id has: never taken for one.
    ...[6, 7, 8, 14, 15, 16].flatMap((length) => [
      [
        { traceId: "z".repeat(length) },
        `trace_id "${"z".repeat(length)}" is ${length} characters, not 32 hex digits`,
      ] as const,
    ]),
    ...[6, 7, 8, 14, 15].flatMap((length) => [
      [
        { spanId: "z".repeat(length) },
        `span_id "${"z".repeat(length)}" is ${length} characters, not 16 hex digits`,
      ] as const,
    ]),
  ];

  test.each(wrongIds)("%o", (changes, reason) => {
    const good = { traceId: hexTrace, spanId: hexSpan, startTimeUnixNano: String(startNanos) };
    const body = JSON.stringify({
      resourceSpans: [{ scopeSpans: [{ spans: [good, { ...good, ...changes }] }] }],
    });
    const { spans, rejections } = inspectTraces(jsonToProtobuf(encode(body)), bounds);
    expect(spans).toBe(1);
    expect(rejections[0]?.reason).toMatch(reason);
  });

  test("in protobuf by its bytes", () => {
    const { rejections } = inspectTraces(request(span(bytesField(1, [0xff, 0xff, 1, 0xfe]))), bounds);
    expect(rejections[0]?.reason).toBe("trace_id is 4 bytes, not 16");
  });
});

test("the message says what was refused and what was changed", () => {
  const body = request(span(bytesField(5, cut)), span(bytesField(1, [1])));
  expect(partialMessage(inspectTraces(body, bounds))).toBe(
    "1 of 2 spans rejected: resource_spans[0].scope_spans[0].spans[1]: trace_id is 1 bytes, not 16. Stored with changes: 1 texts are not UTF-8 (stored with U+FFFD for what is none)",
  );
});
