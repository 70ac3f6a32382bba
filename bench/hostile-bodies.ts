/** Bodies that somebody makes on purpose, each as expensive as it can be for its bytes; `hostile.ts` says what they cost. */
import * as zlib from "node:zlib";
import { limits } from "../shared/limits.ts";
import type { ContentEncoding } from "../shared/messages.ts";
import { jsonToProtobuf } from "../shared/otlp/json.ts";
import {
  emptyDynamicBlocks,
  emptyFixedBlocks,
  emptyStoredBlocks,
  gzipOf,
  zstdOf,
} from "../test/fixtures/hostile-encodings.ts";
import { keysThatHashAlike } from "../test/fixtures/keys-that-hash-alike.ts";
import { corpusBounds } from "./corpus.ts";

/** About what one inflated body may have; its frame is a few hundred bytes. */
const bytesMax = limits.inflatedBytesMax - 1000;
const million = 1_000_000;
const nanos = `${corpusBounds.startMinMs + 1000}000000`;

// --- JSON

/** As many pieces as fit, at most `countMax`. */
function pieces(piece: string, separator = ",", countMax = Number.POSITIVE_INFINITY): string {
  const count = Math.min(countMax, Math.floor(bytesMax / (piece.length + separator.length)));
  return new Array<string>(count).fill(piece).join(separator);
}

function numbered(piece: (index: number) => string, countMax: number): string {
  const made: string[] = [];
  for (let [i, bytes] = [0, 0]; i < countMax && bytes < bytesMax - 400; i++) {
    const text = piece(i);
    bytes += text.length + 1;
    made.push(text);
  }
  return made.join(",");
}

const goodSpan = `{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","startTimeUnixNano":"${nanos}"`;
const spansOf = (spans: string): string => `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`;
const spanWith = (value: string): string =>
  spansOf(`${goodSpan},"attributes":[{"key":"a","value":${value}}]}`);
const arrayOf = (values: string): string => spanWith(`{"arrayValue":{"values":[${values}]}}`);
const mapOf = (entries: string): string => spanWith(`{"kvlistValue":{"values":[${entries}]}}`);

export const hostileJson: Readonly<Record<string, () => string>> = {
  "empty spans": () => spansOf(pieces("{}")),
  "empty resources": () => `{"resourceSpans":[${pieces("{}")}]}`,
  "unknown members": () => `{${pieces('"a":0')}}`,
  "unknown empty texts": () => `{"x":[${pieces('""')}]}`,
  "unknown arrays": () => `{"x":[${pieces("[[]]")}]}`,
  "one text of \\u escapes": () => spanWith(`{"stringValue":"${pieces("\\u00e9", "")}"}`),
  "one text of \\n escapes": () => spanWith(`{"stringValue":"${pieces("\\n", "")}"}`),
  "a million attributes": () => spansOf(`${goodSpan},"attributes":[${pieces('{"key":"a"}', ",", million)}]}`),
  "a million resource attributes": () =>
    `{"resourceSpans":[{"resource":{"attributes":[${pieces('{"key":"a"}', ",", million)}]}}]}`,
  "one array of integers": () => arrayOf(pieces('{"intValue":1}')),
  "one array of doubles": () => arrayOf(pieces('{"doubleValue":1.5}')),
  "one array of nothing": () => arrayOf(pieces("{}")),
  "one array of other doubles": () => arrayOf(numbered((i) => `{"doubleValue":${(i + 1) / 7}}`, 400_000)),
  "one map of keys of their own": () => mapOf(numbered((i) => `{"key":"${i.toString(36)}"}`, million)),
  "one map of the same key": () => mapOf(pieces('{"key":"a"}', ",", million)),
  "maps in maps, 25 deep": () =>
    spansOf(
      `${goodSpan},"attributes":[${pieces(`{"key":"k","value":${'{"kvlistValue":{"values":[{"key":"k","value":'.repeat(25)}{"intValue":"1"}${"}]}}".repeat(25)}}`)}]}`,
    ),
  "a text of 20 MiB, 60 arrays deep": () =>
    spanWith(
      `${'{"arrayValue":{"values":['.repeat(60)}{"stringValue":"${"x".repeat(bytesMax - 3000)}"}${"]}}".repeat(60)}`,
    ),
  "bytes in base64": () => spanWith(`{"bytesValue":"${"A".repeat(bytesMax - 400)}"}`),
  "arrays in arrays, 25 deep": () =>
    spansOf(
      `${goodSpan},"attributes":[${pieces(`{"key":"k","value":${'{"arrayValue":{"values":['.repeat(25)}{"intValue":"1"}${"]}}".repeat(25)}}`)}]}`,
    ),
  "as many keys of their own as are taken": () => ownKeys(limits.namesUncountedMax),
  "900,000 keys of their own": () => ownKeys(900_000),
  "100,000 small spans": () => spansOf(pieces(`${goodSpan}}`, ",", 100_000)),
  "90,000 resources of one span": () =>
    `{"resourceSpans":[${numbered(
      (i) =>
        `{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s${i}"}}]},"scopeSpans":[{"spans":[${goodSpan}}]}]}`,
      90_000,
    )}]}`,
  "a million events": () => spansOf(`${goodSpan},"events":[${pieces('{"name":"e"}', ",", million)}]}`),
  "links without an id": () => spansOf(`${goodSpan},"links":[${pieces('{"traceId":""}', ",", million)}]}`),
  "white space": () => `{"resourceSpans":[${" ".repeat(bytesMax)}]}`,
  "a number of many digits": () => `{"x":${"1".repeat(bytesMax)}}`,
};

function ownKeys(count: number): string {
  return spansOf(`${goodSpan},"attributes":[${numbered((i) => `{"key":"${i.toString(36)}"}`, count)}]}`);
}

// --- protobuf

function field(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const bytes = content.reduce((sum, part) => sum + part.length, 0);
  const length: number[] = [];
  for (let rest = bytes; rest > 0 || length.length === 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Uint8Array.of(tag, ...length), ...content]);
}

function repeated(piece: Uint8Array, countMax = Number.POSITIVE_INFINITY): Uint8Array {
  const count = Math.min(countMax, Math.floor((bytesMax - 500) / piece.length));
  return Buffer.alloc(count * piece.length, piece);
}

/** As many as fit, at most `countMax`. */
function numberedBytes(piece: (index: number) => Uint8Array, countMax: number): Uint8Array {
  const all = Buffer.alloc(bytesMax);
  let at = 0;
  for (let i = 0; i < countMax; i++) {
    const bytes = piece(i);
    if (at + bytes.length > bytesMax - 500) {
      break;
    }
    all.set(bytes, at);
    at += bytes.length;
  }
  return all.subarray(0, at);
}

const tag = {
  resourceSpans: 0x0a,
  resource: 0x0a,
  resourceAttributes: 0x0a,
  scopeSpans: 0x12,
  spans: 0x12,
  spanAttributes: 0x4a,
  events: 0x5a,
  eventName: 0x12,
  eventAttributes: 0x1a,
  links: 0x6a,
  linkAttributes: 0x22,
  key: 0x0a,
  value: 0x12,
  string: 0x0a,
  double: 0x21,
  array: 0x2a,
  map: 0x32,
  values: 0x0a,
} as const;

const time = new Uint8Array(9);
time[0] = 0x39;
new DataView(time.buffer).setBigUint64(1, BigInt(nanos), true);
const idBytes = (count: number) => Uint8Array.from({ length: count }, (_, i) => i + 1);
const smallSpan = Buffer.concat([field(0x0a, idBytes(16)), field(0x12, idBytes(8)), time]);
const spanOf = (...content: readonly Uint8Array[]) => field(tag.spans, smallSpan, ...content);
const inScope = (...spans: readonly Uint8Array[]) =>
  field(tag.resourceSpans, field(tag.scopeSpans, ...spans));
/** One span that is taken: the rest of the body costs the consumer too. */
const goodOne = inScope(spanOf());
/** Four letters at least: so many names have no more. */
const name = (i: number): Uint8Array => Buffer.from(i.toString(36).padStart(4, "0"));
const keyOnly = (i: number): Uint8Array => field(tag.key, name(i));
/** Its text is cut within a character: the whole body is written anew. */
const broken = field(
  tag.resourceSpans,
  field(tag.resource, field(tag.resourceAttributes, field(tag.key, Uint8Array.of(0xc3)))),
);
const hundredKeys = (span: number): Uint8Array =>
  spanOf(...Array.from({ length: 100 }, (_, i) => field(tag.spanAttributes, keyOnly(100 * span + i))));
/** Of as many names as are taken, far from each other in turn. */
const nameOf = (i: number): Uint8Array => name((i * 7919) % limits.namesMax);
const keyOf = (i: number): Uint8Array => field(tag.key, nameOf(i));
const twoOfEach = (i: number): Uint8Array => field(tag.spanAttributes, keyOf(i));
/** Spans of a hundred of these each, up to a million. */
const hundreds = (piece: (i: number) => Uint8Array): Uint8Array =>
  numberedBytes(
    (span) => spanOf(...Array.from({ length: 100 }, (_, i) => piece(100 * span + i))),
    million / 100,
  );
const valueFirst = field(tag.spanAttributes, field(tag.value, field(tag.string)), field(tag.key, name(1)));
const resourceOf = (keys: number): Uint8Array =>
  field(
    tag.resource,
    numberedBytes(
      (i) => field(tag.resourceAttributes, keyOnly(i), field(tag.value, field(tag.string, name(i)))),
      keys,
    ),
  );

export const hostileProtobuf: Readonly<Record<string, () => Uint8Array>> = {
  "empty spans, 60 a scope": () =>
    Buffer.concat([goodOne, field(0x0a, repeated(field(0x12, repeated(Uint8Array.of(0x12, 0), 60))))]),
  "empty resources": () => Buffer.concat([goodOne, repeated(Uint8Array.of(0x0a, 0))]),
  "empty scopes": () => Buffer.concat([goodOne, field(0x0a, repeated(Uint8Array.of(0x12, 0), million))]),
  "events of spans without ids": () =>
    field(0x0a, field(0x12, repeated(field(0x12, repeated(Uint8Array.of(0x5a, 0), 60)), 150_000))),
  "unknown fields": () => Buffer.concat([goodOne, repeated(Uint8Array.of(0x78, 0))]),
  "unknown groups": () => Buffer.concat([goodOne, repeated(Uint8Array.of(0x7b, 0x7c))]),
  "resources of 25 empty attributes": () =>
    Buffer.concat([
      goodOne,
      repeated(field(0x0a, field(0x0a, repeated(Uint8Array.of(0x0a, 2, 0x0a, 0), 25)))),
    ]),
  "small spans": () => inScope(repeated(spanOf(), 100_000)),
  "resources of one span": () => repeated(goodOne, 100_000),
  "as many keys of their own as are taken": () =>
    inScope(spanOf(numberedBytes((i) => field(tag.spanAttributes, keyOnly(i)), limits.namesUncountedMax))),
  "a million keys of their own": () =>
    inScope(spanOf(numberedBytes((i) => field(tag.spanAttributes, keyOnly(i)), million))),
  "a million of them, 100 a span": () => inScope(numberedBytes(hundredKeys, million / 100)),
  "a million attributes of as many keys": () => inScope(spanOf(numberedBytes((i) => twoOfEach(i), million))),
  "the same, 100 a span": () => inScope(hundreds(twoOfEach)),
  "a million keys that hash alike": () => {
    const keys = keysThatHashAlike(million);
    return inScope(
      spanOf(numberedBytes((i) => field(tag.spanAttributes, field(tag.key, keys[i] ?? name(i))), million)),
    );
  },
  "attributes of as many keys that hash alike": () => {
    const keys = keysThatHashAlike(limits.namesMax).map((key) =>
      field(tag.spanAttributes, field(tag.key, key)),
    );
    return inScope(spanOf(numberedBytes((i) => keys[(i * 7919) % keys.length] ?? name(i), million)));
  },
  "a million events of their own names": () =>
    inScope(spanOf(numberedBytes((i) => field(tag.events, field(tag.eventName, name(i))), million))),
  "events of as many keys, 100 a span": () =>
    inScope(hundreds((i) => field(tag.events, field(tag.eventAttributes, keyOf(i))))),
  "events of one key, 100 a span": () =>
    inScope(hundreds(() => field(tag.events, field(tag.eventAttributes, keyOnly(1))))),
  "events of as many names, 100 a span": () =>
    inScope(hundreds((i) => field(tag.events, field(tag.eventName, nameOf(i))))),
  "links of as many keys, 100 a span": () =>
    inScope(hundreds((i) => field(tag.links, field(tag.linkAttributes, keyOf(i))))),
  "a million attributes of other doubles": () =>
    inScope(
      spanOf(
        numberedBytes((i) => {
          const double = Buffer.alloc(9, tag.double);
          double.writeDoubleLE((i + 1) / 7, 1);
          return field(tag.spanAttributes, keyOnly(1), field(tag.value, double));
        }, million),
      ),
    ),
  "a resource of many keys, in 250 MB of rows": () =>
    field(tag.resourceSpans, resourceOf(limits.namesMax), field(tag.scopeSpans, repeated(spanOf(), 330))),
  "a resource of 900 keys, in 250 MB of rows": () =>
    field(tag.resourceSpans, resourceOf(900), field(tag.scopeSpans, repeated(spanOf(), 18_000))),
  "one map of keys of their own": () =>
    inScope(
      spanOf(
        attribute(
          field(
            tag.map,
            numberedBytes((i) => field(tag.values, keyOnly(i)), million),
          ),
        ),
      ),
    ),
  "one map of empty entries": () =>
    inScope(spanOf(attribute(field(tag.map, repeated(Uint8Array.of(tag.values, 0), million))))),
  "maps in maps, 60 deep": () => {
    let value: Uint8Array = field(tag.string);
    for (let depth = 1; depth < 60; depth++) {
      value = field(tag.map, field(tag.values, keyOnly(1), field(tag.value, value)));
    }
    return inScope(repeated(spanOf(attribute(value))));
  },
  "written anew: usual attributes": () =>
    Buffer.concat([
      broken,
      inScope(
        spanOf(
          repeated(
            field(tag.spanAttributes, keyOnly(1), field(tag.value, field(tag.string, name(2)))),
            million,
          ),
        ),
      ),
    ]),
  "written anew: values before their keys": () => inScope(spanOf(repeated(valueFirst, million))),
  "written anew: empty attributes": () =>
    Buffer.concat([
      broken,
      goodOne,
      inScope(repeated(spanOf(repeated(Uint8Array.of(tag.spanAttributes, 0), 200)))),
    ]),
  "written anew: small spans": () => Buffer.concat([broken, inScope(repeated(spanOf(), 100_000))]),
  "written anew: empty spans": () =>
    Buffer.concat([broken, goodOne, inScope(repeated(Uint8Array.of(tag.spans, 0)))]),
  "written anew: empty resources": () => Buffer.concat([broken, goodOne, repeated(Uint8Array.of(0x0a, 0))]),
  "written anew: events": () =>
    Buffer.concat([
      broken,
      inScope(spanOf(repeated(field(tag.events, field(tag.eventName, name(1))), million))),
    ]),
  "written anew: texts that are broken": () =>
    Buffer.concat([
      broken,
      inScope(spanOf(repeated(field(tag.spanAttributes, field(tag.key, Uint8Array.of(97, 0xc3))), million))),
    ]),
  "written anew: a text of 20 MiB, 60 arrays deep": () => {
    let value: Uint8Array = field(tag.string, Buffer.alloc(bytesMax - 3000, "x"));
    for (let depth = 1; depth < 60; depth++) {
      value = field(tag.array, field(tag.values, value));
    }
    return Buffer.concat([broken, inScope(spanOf(attribute(value)))]);
  },
  "written anew: unknown fields": () => Buffer.concat([broken, goodOne, repeated(Uint8Array.of(0x78, 0))]),
  "written anew: one text that is broken": () =>
    Buffer.concat([broken, inScope(spanOf(attribute(field(tag.string, Buffer.alloc(6_500_000, 0xff)))))]),
};

function attribute(value: Uint8Array): Uint8Array {
  return field(tag.spanAttributes, keyOnly(1), field(tag.value, value));
}

// --- encodings

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
let letterState = 1;
function nextLetter(): number {
  letterState = (Math.imul(letterState, 1_103_515_245) + 12_345) & 0x7fffffff;
  return letterState >>> 25;
}

/** As received: the decoder's work is what costs. */
export const hostileEncodings: Readonly<Record<string, () => readonly [ContentEncoding, Uint8Array]>> = {
  "gzip: empty members": () => {
    const member = zlib.gzipSync("");
    return ["gzip", Buffer.alloc(member.length * Math.floor(bytesMax / member.length), member)];
  },
  "gzip: empty stored blocks": () => ["gzip", gzipOf(emptyStoredBlocks(bytesMax))],
  "gzip: empty fixed blocks": () => ["gzip", gzipOf(emptyFixedBlocks(bytesMax))],
  "gzip: empty dynamic blocks": () => ["gzip", gzipOf(emptyDynamicBlocks(bytesMax))],
  "gzip: the same, just not walked": () => [
    "gzip",
    gzipOf(emptyDynamicBlocks(limits.deflateUnwalkedBytesMax - 100)),
  ],
  "gzip: blocks as small as are taken": () => {
    const text = Uint8Array.from(
      { length: bytesMax / 2 },
      () => (letters.charCodeAt(nextLetter()) || 97) & 0x7f,
    );
    const value = field(0x4a, field(0x0a, Uint8Array.of(97)), field(0x12, field(0x0a, text)));
    return ["gzip", zlib.gzipSync(value, { memLevel: 2, level: 1 })];
  },
  "zstd: empty frames": () => {
    const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0);
    return ["zstd", Buffer.alloc(frame.length * Math.floor(bytesMax / frame.length), frame)];
  },
  "zstd: empty blocks": () => ["zstd", zstdOf(Uint8Array.of(0, 0, 0), bytesMax)],
  "gzip: text that hardly compresses": () => {
    const value = "x".repeat(bytesMax - 300).replace(/x/g, () => letters[nextLetter()] ?? "");
    return ["gzip", zlib.gzipSync(jsonToProtobuf(Buffer.from(spanWith(`{"stringValue":"${value}"}`))))];
  },
};
