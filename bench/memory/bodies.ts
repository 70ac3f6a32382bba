/** Bodies at the limits of one payload, usual ones and those that somebody might make on purpose. */
import { gzipSync } from "node:zlib";
import { assert } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import { type Inspection, inspectTraces } from "../../shared/otlp/inspect.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import { corpusBounds, corpusStartMs, makeCorpus } from "../corpus.ts";
import { Random } from "../random.ts";

export interface Body {
  readonly type: "pb" | "json";
  readonly encoding: "gzip" | "identity";
  /** As a client sends it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly inflatedBytes: number;
  readonly inspection: Inspection;
}

/** At most as many payloads of `spansEach` spans as fit into one group. */
export function usualBodies(spansEach: number, payloadsMax: number): Body[] {
  const corpus = makeCorpus(7, payloadsMax, spansEach);
  return fitting(corpus.map(({ protobuf }) => bodyOf("pb", "gzip", protobuf)));
}

/** A payload of about as many usual spans as fit into one payload's limits, in protobuf or JSON. */
export function largestUsual(type: Body["type"]): Body {
  const make = (spans: number): Body => {
    const [payload] = makeCorpus(7, 1, spans);
    assert(payload !== undefined, "a corpus of one payload has one");
    return bodyOf(type, "gzip", type === "pb" ? payload.protobuf : payload.json);
  };
  const few = 2000;
  const { inflatedBytes, inspection } = make(few);
  const times = Math.min(
    limits.inflatedBytesMax / inflatedBytes,
    limits.groupOutputBytesMax / inspection.outputBytes,
  );
  const body = make(Math.floor(few * times * 0.98));
  assert(fits(body), "the largest payload is within the limits");
  return body;
}

/** One payload of as many attributes as fit, of as many different keys as are taken, in `spans` spans. */
export function distinctKeys(spans: number): Body {
  for (let keys: number = limits.attributesMax; ; keys = Math.floor(keys * 0.97)) {
    const writer = new BodyWriter(limits.inflatedBytesMax);
    const each = Math.floor(keys / spans);
    for (let span = 0; span < spans && !writer.isFull; span++) {
      writer.span(span, each, (at) => {
        const key = (span * each + at) % limits.namesMax;
        writer.attribute(key.toString(36).padStart(4, "0"), "");
      });
    }
    if (!writer.isFull) {
      const body = bodyOf("pb", "gzip", writer.bytes());
      if (fits(body)) {
        return body;
      }
    }
  }
}

/** One payload of a span with a map of as many entries as are taken, each with a key of its own. */
export function largeMap(): Body {
  const entries = Array.from({ length: limits.attributesMax - 1 }, (_, at) =>
    Buffer.from(`\x0a\x06\x0a\x04${at.toString(36).padStart(4, "0")}`),
  );
  const writer = new BodyWriter(limits.inflatedBytesMax);
  writer.span(0, 1, () => writer.list("map", [0x32], Buffer.concat(entries)));
  const body = bodyOf("pb", "gzip", writer.bytes());
  assert(fits(body), "the largest map is within the limits");
  return body;
}

/** One payload of a span with a text as long as a body may be, as an array's only element. */
export function longTextInArray(): Body {
  const writer = new BodyWriter(limits.inflatedBytesMax);
  writer.span(0, 1, () =>
    writer.list("texts", [0x2a, 0x0a, 0x0a], Buffer.alloc(limits.inflatedBytesMax - 1000, "x")),
  );
  return bodyOf("pb", "gzip", writer.bytes());
}

/** One payload of a span with an array of as many elements without a value as one row may have: `null,` each. */
export function longArray(): Body {
  const writer = new BodyWriter(limits.inflatedBytesMax);
  const count = Math.floor((limits.rowOutputBytesMax - 1000) / "null,".length);
  writer.span(0, 1, () => writer.list("nothing", [0x2a], Buffer.alloc(2 * count, "\x0a\x00")));
  const body = bodyOf("pb", "gzip", writer.bytes());
  assert(fits(body), "the longest text is within the limits");
  return body;
}

/** `count` payloads of `bytesEach` bytes of random text, which hardly compresses. */
export function randomBodies(count: number, bytesEach: number): Body[] {
  const random = new Random(11);
  return fitting(
    Array.from({ length: count }, (_, index) => {
      const writer = new BodyWriter(bytesEach);
      for (let span = 0; !writer.isFull && writer.at < bytesEach - 10_000; span++) {
        const text = randomText(random);
        writer.span(index * 100_000 + span, 1, () => writer.attribute("text", text));
      }
      return bodyOf("pb", "identity", writer.bytes());
    }),
  );
}

/** A payload in JSON that inflates to the limit and hardly compresses. */
export function randomJson(seed: number): Body {
  const random = new Random(seed);
  const spans: string[] = [];
  const head = '{"resourceSpans":[{"scopeSpans":[{"spans":[';
  let bytes = head.length + 10;
  for (let span = 1; ; span++) {
    const id = (seed * 100_000 + span).toString(16);
    const attribute = `{"key":"text","value":{"stringValue":"${randomText(random)}"}}`;
    const time = `"${corpusStartMs}000000"`;
    const text = `{"traceId":"${id.padStart(32, "0")}","spanId":"${id.padStart(16, "0")}","name":"x","startTimeUnixNano":${time},"endTimeUnixNano":${time},"attributes":[${attribute}]}`;
    bytes += text.length + 1;
    if (bytes > limits.inflatedBytesMax) {
      return bodyOf("json", "gzip", Buffer.from(`${head}${spans.join()}]}]}]}`));
    }
    spans.push(text);
  }
}

/** A payload in JSON that inflates to the limit, of one text that has escapes. */
export function escapedJson(): Body {
  const head =
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708"';
  const text = `\\n${"x".repeat(limits.inflatedBytesMax - 1000)}\\n`;
  const attributes = `[{"key":"text","value":{"stringValue":"${text}"}}]`;
  return bodyOf(
    "json",
    "gzip",
    Buffer.from(`${head},"startTimeUnixNano":"${corpusStartMs}000000","attributes":${attributes}}]}]}]}`),
  );
}

function randomText(random: Random): string {
  return Buffer.from(random.hex(3000), "hex").toString("base64");
}

/** A body of 4 MiB that inflates to 16 MiB: a quarter random text, the rest the same byte. */
export function slowlyInflating(seed: number): Body {
  const random = new Random(seed);
  const writer = new BodyWriter(limits.inflatedBytesMax);
  const spans = 1100;
  for (let span = 0; span < spans; span++) {
    writer.span(seed * 10_000 + span, 1, () => {
      const text = Buffer.from(random.hex(3600), "hex").toString("base64");
      writer.attribute("text", text.padEnd(14_900, "x"));
    });
  }
  return bodyOf("pb", "gzip", writer.bytes());
}

export function bodyOf(type: Body["type"], encoding: Body["encoding"], inflated: Uint8Array): Body {
  const bytes = encoding === "gzip" ? gzipSync(inflated) : new Uint8Array(inflated);
  const protobuf = type === "json" ? jsonToProtobuf(inflated) : inflated;
  return {
    type,
    encoding,
    bytes: new Uint8Array(bytes),
    inflatedBytes: inflated.length,
    inspection: inspectTraces(protobuf, corpusBounds),
  };
}

function fits({ bytes, inflatedBytes, inspection }: Body): boolean {
  return (
    bytes.length <= limits.bodyBytesMax &&
    inflatedBytes <= limits.inflatedBytesMax &&
    inspection.outputBytes <= limits.outputBytesMax
  );
}

/** The first of these bodies, as many as one group may have. */
function fitting(bodies: readonly Body[]): Body[] {
  const taken: Body[] = [];
  let outputBytes = 0;
  let rows = 0;
  for (const body of bodies) {
    outputBytes += body.inspection.outputBytes;
    rows += body.inspection.spans;
    const isFull =
      taken.length === limits.groupPayloadsMax ||
      outputBytes > limits.groupOutputBytesMax ||
      rows > limits.groupRowsMax;
    if (isFull) {
      return taken;
    }
    taken.push(body);
  }
  return taken;
}

/** Writes one ExportTraceServiceRequest of one resource and scope; lengths stand in four bytes, so that they can come last. */
class BodyWriter {
  readonly #bytes: Uint8Array;
  readonly #scopeAt: number;
  at = 0;
  isFull = false;

  constructor(bytesMax: number) {
    this.#bytes = new Uint8Array(bytesMax + 1024 * 1024);
    this.#bytesMax = bytesMax;
    this.#open(0x0a); // resource_spans
    this.#scopeAt = this.#open(0x12); // scope_spans
  }

  readonly #bytesMax: number;

  /** A span whose attributes `attributes` writes, `count` times. */
  span(number: number, count: number, attributes: (at: number) => void): void {
    const from = this.#open(0x12);
    this.#put(0x0a, 16);
    this.at += 12;
    this.#int32(number + 1);
    this.#put(0x12, 8);
    this.at += 4;
    this.#int32(number + 1);
    const view = new DataView(this.#bytes.buffer);
    for (const tag of [0x39, 0x41]) {
      this.#bytes[this.at] = tag;
      view.setBigUint64(this.at + 1, BigInt(corpusStartMs) * 1_000_000n, true);
      this.at += 9;
    }
    for (let i = 0; i < count && !this.isFull; i++) {
      attributes(i);
      this.isFull = this.at > this.#bytesMax;
    }
    this.#close(from);
  }

  /** A KeyValue with a string; no value where it is empty. */
  attribute(key: string, text: string): void {
    if (text === "") {
      this.#put(0x4a, key.length + 2);
      this.#text(0x0a, key);
      return;
    }
    const pair = this.#open(0x4a);
    this.#text(0x0a, key);
    const value = this.#open(0x12);
    const string = this.#open(0x0a);
    this.at += Buffer.from(this.#bytes.buffer).write(text, this.at, "latin1");
    this.#close(string);
    this.#close(value);
    this.#close(pair);
  }

  /** A KeyValue whose value lies within these messages, one in the other, and ends with `content`. */
  list(key: string, tags: readonly number[], content: Uint8Array): void {
    const pair = this.#open(0x4a);
    this.#text(0x0a, key);
    const opened = [pair, this.#open(0x12), ...tags.map((tag) => this.#open(tag))];
    this.#bytes.set(content, this.at);
    this.at += content.length;
    for (const from of opened.reverse()) {
      this.#close(from);
    }
  }

  bytes(): Uint8Array {
    this.#close(this.#scopeAt);
    this.#close(5);
    return this.#bytes.subarray(0, this.at);
  }

  #put(tag: number, length: number): void {
    this.#bytes[this.at++] = tag;
    this.#bytes[this.at++] = length;
  }

  #text(tag: number, text: string): void {
    this.#put(tag, text.length);
    for (let i = 0; i < text.length; i++) {
      this.#bytes[this.at++] = text.charCodeAt(i);
    }
  }

  #int32(value: number): void {
    new DataView(this.#bytes.buffer).setUint32(this.at, value, true);
    this.at += 4;
  }

  /** Begins a field of a length that is not known yet; returns where its content begins. */
  #open(tag: number): number {
    this.#bytes[this.at] = tag;
    this.at += 5;
    return this.at;
  }

  #close(from: number): void {
    const length = this.at - from;
    this.#bytes.set(
      [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, ((length >> 14) & 0x7f) | 0x80, length >> 21],
      from - 4,
    );
  }
}
