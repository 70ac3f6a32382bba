/**
 * `npm run bench -- hostile [words,words]`: what bodies cost that somebody makes on purpose, beside usual ones, at the ingress (inflating,
 * conversion, inspection) and, where that takes them, at the consumer (the same, rows, compression); in Node, CPU time of the
 * process. No body may cost more than 100 ms and three times what a usual one in JSON, the dearer form, costs per inflated MiB
 * (and 4 ms per MiB of rows). The bounds that are aimed at, in figures of their own, are printed beside. README.md has the figures.
 */
import * as zlib from "node:zlib";
import { decodeBody } from "../shared/decode-body.ts";
import { limits } from "../shared/limits.ts";
import type { ContentEncoding } from "../shared/messages.ts";
import { jsonToProtobuf } from "../shared/otlp/json.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import {
  emptyDynamicBlocks,
  emptyFixedBlocks,
  emptyStoredBlocks,
  gzipOf,
  zstdOf,
} from "../test/fixtures/hostile-encodings.ts";
import { compressParts } from "../workers/consumer/compress-block.ts";
import { checkPayload } from "../workers/ingress/check-payload.ts";
import { corpusBounds, makeCorpus } from "./corpus.ts";

const mebibyte = 1024 * 1024;
const rounds = 4;
/** Before anything is measured: an isolate that bodies are sent to is warm. */
const warmRounds = 6;
const allowedBaseMs = 100;
const allowedTimesUsual = 3;
const allowedRowsMsPerMib = 4;
/** What is aimed at per inflated MiB, on a machine that does nothing else. */
const aimedMsPerMib = { ingress: 25, consumer: 30 } as const;
/** About what one inflated body may have; its frame is a few hundred bytes. */
const bytesMax = limits.inflatedBytesMax - 1000;

type Form = "pb" | "json";

/** As many pieces as fit, at most `countMax`. */
function pieces(piece: string, separator = ",", countMax = Number.POSITIVE_INFINITY): string {
  const count = Math.min(countMax, Math.floor(bytesMax / (piece.length + separator.length)));
  return new Array<string>(count).fill(piece).join(separator);
}

function repeated(piece: Uint8Array, countMax = Number.POSITIVE_INFINITY): Uint8Array {
  const count = Math.min(countMax, Math.floor((bytesMax - 100) / piece.length));
  const bytes = new Uint8Array(count * piece.length);
  for (let at = 0; at < bytes.length; at += piece.length) {
    bytes.set(piece, at);
  }
  return bytes;
}

function field(tag: number, content: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = content.length; rest > 0 || length.length === 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Uint8Array.of(tag, ...length), content]);
}

const nanos = `${corpusBounds.startMinMs + 1000}000000`;
const goodSpan = `{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","startTimeUnixNano":"${nanos}"`;
const spansOf = (spans: string): string => `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`;
const spanWith = (value: string): string =>
  spansOf(`${goodSpan},"attributes":[{"key":"a","value":${value}}]}`);
const arrayOf = (values: string): string => spanWith(`{"arrayValue":{"values":[${values}]}}`);

const hostileJson: Readonly<Record<string, () => string>> = {
  "empty spans": () => spansOf(pieces("{}")),
  "empty resources": () => `{"resourceSpans":[${pieces("{}")}]}`,
  "unknown members": () => `{${pieces('"a":0')}}`,
  "unknown empty texts": () => `{"x":[${pieces('""')}]}`,
  "unknown arrays": () => `{"x":[${pieces("[[]]")}]}`,
  "one text of \\u escapes": () => spanWith(`{"stringValue":"${pieces("\\u00e9", "")}"}`),
  "one text of \\n escapes": () => spanWith(`{"stringValue":"${pieces("\\n", "")}"}`),
  "a million attributes": () =>
    spansOf(`${goodSpan},"attributes":[${pieces('{"key":"a"}', ",", 1_000_000)}]}`),
  "a million resource attributes": () =>
    `{"resourceSpans":[{"resource":{"attributes":[${pieces('{"key":"a"}', ",", 1_000_000)}]}}]}`,
  "one array of integers": () => arrayOf(pieces('{"intValue":1}')),
  "one array of doubles": () => arrayOf(pieces('{"doubleValue":1.5}')),
  "one array of nothing": () => arrayOf(pieces("{}")),
  "one array of other doubles": () => arrayOf(numbered((i) => `{"doubleValue":${(i + 1) / 7}}`, 400_000)),
  "bytes in base64": () => spanWith(`{"bytesValue":"${"A".repeat(bytesMax - 400)}"}`),
  "arrays in arrays, 25 deep": () =>
    spansOf(
      `${goodSpan},"attributes":[${pieces(`{"key":"k","value":${'{"arrayValue":{"values":['.repeat(25)}{"intValue":"1"}${"]}}".repeat(25)}}`)}]}`,
    ),
  "900,000 keys of their own": () =>
    spansOf(`${goodSpan},"attributes":[${numbered((i) => `{"key":"${i.toString(36)}"}`, 900_000)}]}`),
  "100,000 small spans": () => spansOf(pieces(`${goodSpan}}`, ",", 100_000)),
  "a million events": () => spansOf(`${goodSpan},"events":[${pieces('{"name":"e"}', ",", 1_000_000)}]}`),
  "links without an id": () => spansOf(`${goodSpan},"links":[${pieces('{"traceId":""}', ",", 1_000_000)}]}`),
  "white space": () => `{"resourceSpans":[${" ".repeat(bytesMax)}]}`,
  "a number of many digits": () => `{"x":${"1".repeat(bytesMax)}}`,
};

function numbered(piece: (index: number) => string, countMax: number): string {
  const made: string[] = [];
  for (let [i, bytes] = [0, 0]; i < countMax && bytes < bytesMax - 400; i++) {
    const text = piece(i);
    bytes += text.length + 1;
    made.push(text);
  }
  return made.join(",");
}

/** As received: the decoder's work is what costs. */
const hostileEncodings: Readonly<Record<string, () => readonly [ContentEncoding, Uint8Array]>> = {
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
    const value = field(0x4a, Buffer.concat([Uint8Array.of(0x0a, 1, 97), field(0x12, field(0x0a, text))]));
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
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
let letterState = 1;
function nextLetter(): number {
  letterState = (Math.imul(letterState, 1_103_515_245) + 12_345) & 0x7fffffff;
  return letterState >>> 25;
}

const hostileProtobuf: Readonly<Record<string, () => Uint8Array>> = {
  "empty spans, 60 a scope": () => field(0x0a, repeated(field(0x12, repeated(Uint8Array.of(0x12, 0), 60)))),
  "empty resources": () => repeated(Uint8Array.of(0x0a, 0)),
  "events of spans without ids": () =>
    field(0x0a, field(0x12, repeated(field(0x12, repeated(Uint8Array.of(0x5a, 0), 60)), 150_000))),
  "unknown fields": () => repeated(Uint8Array.of(0x78, 0)),
  "resources of 25 empty attributes": () =>
    repeated(field(0x0a, field(0x0a, repeated(Uint8Array.of(0x0a, 2, 0x0a, 0), 25)))),
};

interface Cost {
  readonly ingressMs: number;
  /** Undefined: it is refused. */
  readonly consumer: { readonly ms: number; readonly rowsMib: number } | undefined;
  readonly inflatedMib: number;
  readonly said: string;
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The least of some rounds. */
function costOf(type: Form, encoding: ContentEncoding, body: Uint8Array): Cost {
  let ingressMs = Number.POSITIVE_INFINITY;
  let checked: ReturnType<typeof checkPayload> | undefined;
  for (let round = 0; round < rounds; round++) {
    const ms = cpuMs(() => {
      checked = checkPayload(body, { type, encoding }, corpusBounds, Number.POSITIVE_INFINITY);
    });
    ingressMs = Math.min(ingressMs, ms);
  }
  if (checked?.ok !== true) {
    const { message = "", inflatedBytes = 0 } = checked?.refusal ?? {};
    return { ingressMs, consumer: undefined, inflatedMib: inflatedBytes / mebibyte, said: message };
  }
  const { inflatedBytes, inspection } = checked.value;
  const said = `${inspection.spans} spans`;
  const inflatedMib = inflatedBytes / mebibyte;
  if (inspection.spans === 0) {
    return { ingressMs, consumer: undefined, inflatedMib, said };
  }
  const consumer = { ms: Number.POSITIVE_INFINITY, rowsMib: 0 };
  for (let round = 0; round < rounds; round++) {
    const ms = cpuMs(() => {
      consumer.rowsMib = transcode(type, encoding, body, inspection.spans) / mebibyte;
    });
    consumer.ms = Math.min(consumer.ms, ms);
  }
  return { ingressMs, consumer, inflatedMib, said };
}

/** The byte work of an INSERT of this payload alone. Returns the bytes of its rows. */
function transcode(type: Form, encoding: ContentEncoding, body: Uint8Array, spans: number): number {
  const decoded = decodeBody(zlib, body, { type, encoding });
  if (!decoded.ok) {
    throw new Error(decoded.refusal.message);
  }
  const builder = new BlockBuilder();
  const id = new Uint8Array(16).fill(7);
  builder.add({ id, tenant: "bench", body: decoded.value.protobuf, bounds: corpusBounds, spans });
  const block = builder.finish();
  compressParts(block.chunks, "zstd");
  return block.bytes;
}

interface Usual {
  readonly ingress: number;
  readonly consumer: number;
}

/** Whether it is within the bound of three times the usual. */
function printRow(form: string, name: string, cost: Cost, usual: Usual | undefined): boolean {
  const { ingressMs, consumer, inflatedMib, said } = cost;
  const side = (ms: number, of: keyof Usual, rowsMib: number) => {
    const bound = (perMib: number) => allowedBaseMs + perMib * inflatedMib + allowedRowsMsPerMib * rowsMib;
    const allowed = usual === undefined ? Number.POSITIVE_INFINITY : bound(allowedTimesUsual * usual[of]);
    const aimed = bound(aimedMsPerMib[of]);
    const mark = ms > allowed ? "  OVER" : ms > aimed ? "  over the aim" : "";
    const bounds = usual === undefined ? "" : ` of ${allowed.toFixed(0)}, aim ${aimed.toFixed(0)}${mark}`;
    return { isWithin: ms <= allowed, text: `${ms.toFixed(0)} ms${bounds}` };
  };
  const ingress = side(ingressMs, "ingress", 0);
  const rowsMib = consumer?.rowsMib ?? 0;
  const consumed = consumer === undefined ? undefined : side(consumer.ms, "consumer", rowsMib);
  const figures = [
    form.padEnd(4),
    name.padEnd(34),
    `${inflatedMib.toFixed(1)} MiB`.padStart(8),
    `ingress ${ingress.text}`.padEnd(42),
    (consumed === undefined ? "" : `consumer ${consumed.text}, rows ${rowsMib.toFixed(1)} MiB`).padEnd(58),
    said.slice(0, 50),
  ];
  console.log(figures.join(" | "));
  return ingress.isWithin && consumed?.isWithin !== false;
}

function gzipped(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(zlib.gzipSync(bytes, { level: 1 }));
}

/** Those whose name has one of the words, which stand between commas. */
function chosen<Make>(bodies: Readonly<Record<string, Make>>, words: string): [string, Make][] {
  return Object.entries(bodies).filter(([name]) => words.split(",").some((word) => name.includes(word)));
}

export function benchHostile(words = ""): void {
  const [payload] = makeCorpus(1, 1, 16_500);
  const ordinary: Record<Form, Uint8Array> = {
    pb: payload?.protobuf ?? new Uint8Array(0),
    json: Buffer.from(payload?.json ?? ""),
  };
  for (let round = 0; round < warmRounds; round++) {
    for (const form of ["json", "pb"] as const) {
      costOf(form, "gzip", gzipped(ordinary[form]));
    }
  }
  let usual: Usual = { ingress: 0, consumer: 0 };
  let isWithin = true;
  for (const form of ["json", "pb"] as const) {
    const cost = costOf(form, "gzip", gzipped(ordinary[form]));
    printRow(form, "usual spans", cost, undefined);
    const { ingressMs, consumer, inflatedMib } = cost;
    usual = {
      ingress: Math.max(usual.ingress, ingressMs / inflatedMib),
      consumer: Math.max(
        usual.consumer,
        ((consumer?.ms ?? 0) - allowedRowsMsPerMib * (consumer?.rowsMib ?? 0)) / inflatedMib,
      ),
    };
  }
  const [ingress, consumer] = [usual.ingress.toFixed(1), usual.consumer.toFixed(1)];
  console.log(
    `usual, the dearer form: ingress ${ingress}, consumer ${consumer} ms per inflated MiB (rows left out)`,
  );
  for (const [name, make] of chosen(hostileJson, words)) {
    isWithin =
      printRow("json", name, costOf("json", "gzip", gzipped(Buffer.from(make()))), usual) && isWithin;
  }
  for (const [name, make] of chosen(hostileProtobuf, words)) {
    isWithin = printRow("pb", name, costOf("pb", "gzip", gzipped(make())), usual) && isWithin;
  }
  for (const [name, make] of chosen(hostileEncodings, words)) {
    const [encoding, body] = make();
    isWithin = printRow("pb", name, costOf("pb", encoding, new Uint8Array(body)), usual) && isWithin;
  }
  if (!isWithin) {
    process.exitCode = 1;
  }
}
