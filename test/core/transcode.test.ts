import { describe, expect, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { BrokenInvariant } from "../../shared/assert.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { blockBytes, blockOf, blockWithin, payload } from "../fixtures/blocks.ts";
import {
  attribute,
  bounds,
  bytesField,
  fixed64Field,
  join,
  request,
  span,
  spanId,
  startMs,
  traceId,
  value,
} from "../fixtures/protobuf.ts";

describe("a block", () => {
  test("has the same bytes after other blocks as before them", () => {
    const bodies = makeCorpus(11, 3, 60).map((p) => p.protobuf);
    const first = blockWithin(corpusBounds, ...bodies);
    blockWithin(corpusBounds, ...makeCorpus(12, 4, 200).map((p) => p.protobuf));
    blockOf(request(span(attribute("zz", value.string("first key of all")))));
    expect(blockWithin(corpusBounds, ...bodies)).toEqual(first);
  });

  test("has the same bytes from a builder that wrote other blocks before, whole or broken off", () => {
    const bodies = makeCorpus(11, 3, 60).map((p) => p.protobuf);
    const builder = new BlockBuilder();
    for (const other of [...makeCorpus(12, 4, 300), ...makeCorpus(16, 2, 1)]) {
      builder.add(payload(other.protobuf, corpusBounds));
    }
    // More names than one byte can number, and the corpus's keys in another order.
    const keys = ["url.path", "http.route", "http.request.method", "db.system.name"];
    const names = Array.from({ length: 300 }, (_, i) =>
      span(
        bytesField(5, new TextEncoder().encode(`name-${i}`)),
        ...keys.map((key) => attribute(key, value.int(i))),
      ),
    );
    const expected = blockWithin(corpusBounds, ...bodies);
    const again = (): Uint8Array => {
      builder.clear();
      for (const body of bodies) {
        builder.add(payload(body, corpusBounds));
      }
      return blockBytes(builder);
    };
    builder.add(payload(request(...names)));
    expect(again()).toEqual(expected);
    builder.clear();
    expect(() => builder.add({ ...payload(request(...names)), spans: 2 })).toThrow(BrokenInvariant);
    expect(again()).toEqual(expected);
  });

  test("has the same bytes wherever its payloads lie in memory", () => {
    const [p] = makeCorpus(13, 1, 20);
    const body = p?.protobuf ?? new Uint8Array(0);
    const padded = new Uint8Array(body.length + 100).fill(0xff);
    padded.set(body, 33);
    expect(blockWithin(corpusBounds, padded.subarray(33, 33 + body.length))).toEqual(
      blockWithin(corpusBounds, body.slice()),
    );
  });

  test("does not keep a payload's body", () => {
    const [p] = makeCorpus(14, 1, 20);
    const body = (p?.protobuf ?? new Uint8Array(0)).slice();
    const expected = blockWithin(corpusBounds, body);
    const builder = new BlockBuilder();
    builder.add(payload(body, corpusBounds));
    body.fill(0);
    expect(blockBytes(builder)).toEqual(expected);
  });

  test("holds the values of hundreds of attributes in one span as it holds those of few", () => {
    const pairs = Array.from({ length: 300 }, (_, i) => {
      const key = `key-${String(i).padStart(3, "0")}`;
      return [attribute(key, value.string(`v${i}`)), attribute(`${key}-n`, value.int(i))];
    });
    const texts = pairs.flatMap((_, i) => [`v${i}`, String(i)]);
    const values = Buffer.concat(
      texts.map((text) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)])),
    );
    const few = pairs.map((pair) => span(...pair));
    expect(Buffer.from(blockOf(request(...few))).includes(values)).toBe(true);
    expect(Buffer.from(blockOf(request(span(...pairs.flat())))).includes(values)).toBe(true);
  });

  test("with 100,000 attributes in a span holds little more memory than it has bytes", () => {
    const attributes = Array.from({ length: 100_000 }, () => attribute("k", value.string("")));
    const builder = new BlockBuilder();
    builder.add(payload(request(span(...attributes))));
    // With room made for the longest value of each attribute it is 3.3 MB.
    expect(builder.heldBytes).toBeLessThan(1_500_000);
  });

  test("says its rows and its bytes", () => {
    const builder = new BlockBuilder();
    builder.add(payload(request(span(), span())));
    builder.add(payload(request(span())));
    const block = builder.finish();
    expect(block.rows).toBe(3);
    expect(block.bytes).toBe([...block.chunks].reduce((sum, chunk) => sum + chunk.length, 0));
  });
});

describe("adding a payload", () => {
  test("says the rows by day of their start, to the nanosecond", () => {
    const day = Math.floor(startMs / 86_400_000);
    const midnight = BigInt(day) * 86_400_000_000_000n;
    const at = (nanos: bigint): Uint8Array =>
      join(bytesField(1, traceId), bytesField(2, spanId), fixed64Field(7, nanos));
    const spans = [midnight - 1n, midnight, midnight + 1n, midnight - 2n, midnight + 86_399_999_999_999n];
    const added = new BlockBuilder().add(
      payload(request(...spans.map(at)), { startMinMs: 0, startMaxMs: startMs * 2 }),
    );
    expect(added.rows).toBe(5);
    expect([...added.rowsByDay]).toEqual([
      [day - 1, 2],
      [day, 3],
    ]);
  });

  test("leaves the block as it was when the payload is malformed", () => {
    const good = makeCorpus(15, 2, 30).map((p) => payload(p.protobuf, corpusBounds));
    const [first, second] = good;
    if (first === undefined || second === undefined) throw new Error("no corpus");
    const expected = new BlockBuilder();
    expected.add(first);
    expected.add(second);

    // Many new keys and names come before the fault, so that dictionaries and widths grow and must shrink again.
    const many = Array.from({ length: 300 }, (_, i) =>
      span(attribute(`key-${i}`, value.string("v")), bytesField(5, new TextEncoder().encode(`name-${i}`))),
    );
    const broken = join(request(...many), request(join(span(), [0x4a, 0x7f])));
    const builder = new BlockBuilder();
    builder.add(first);
    expect(() => builder.add({ ...first, body: broken, bounds, spans: 301 })).toThrow(MalformedBody);
    builder.add(second);
    expect(blockBytes(builder)).toEqual(blockBytes(expected));
  });

  test("breaks off when the rows are not those that the ingress accepted", () => {
    const builder = new BlockBuilder();
    const good = payload(request(span(), span()));
    expect(() => builder.add({ ...good, spans: 3 })).toThrow(BrokenInvariant);
    expect(() => builder.add({ ...good, spans: 1 })).toThrow(/accepted 1 spans, 2 rows/);
    expect(builder.add(good).rows).toBe(2);
    expect(blockBytes(builder)).toEqual(blockOf(good.body));
  });

  test("refuses the spans that the inspection refused", () => {
    const zero = join(bytesField(1, traceId), bytesField(2, new Uint8Array(8)), fixed64Field(7, 0n));
    expect(blockOf(request(span(), zero, span()))).toEqual(blockOf(request(span(), span())));
  });
});
