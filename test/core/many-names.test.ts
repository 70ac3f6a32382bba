/** What many attribute keys cost: how many are taken, whatever they are, and how they are found and sorted. */
import { describe, expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { Dictionary } from "../../shared/rows/dictionary.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { ValueText } from "../../shared/rows/value-text.ts";
import { adviseSize, tooLarge } from "../../workers/ingress/advise-size.ts";
import { tooManyNames } from "../../workers/ingress/too-many-names.ts";
import { anyValueText } from "../fixtures/any-value-reference.ts";
import { payloadId } from "../fixtures/blocks.ts";
import { keysThatHashAlike } from "../fixtures/keys-that-hash-alike.ts";
import { attribute, bounds, bytesField, keyValue, span, value } from "../fixtures/protobuf.ts";

/** Four letters: so a field has as many bytes whatever its number is. */
const name = (i: number): Uint8Array => new TextEncoder().encode(i.toString(36).padStart(4, "0"));

type Piece = (i: number) => Uint8Array;
const many = (count: number, piece: Piece, from = 0): Uint8Array =>
  Buffer.concat(Array.from({ length: count }, (_, i) => piece(from + i)));
const keyed =
  (field: number): Piece =>
  (i) =>
    Uint8Array.of(8 * field + 2, 6, 0x0a, 4, ...name(i));
/** An event, or a link, with one attribute. */
const around =
  (field: number, inner: Piece): Piece =>
  (i) =>
    bytesField(field, inner(i));
const event: Piece = (i) => bytesField(11, bytesField(2, name(i)));

/** Spans without a resource, which would have a name too. */
function request(...spans: readonly Uint8Array[]): Uint8Array {
  return bytesField(
    1,
    bytesField(
      2,
      spans.map((content) => bytesField(2, content)),
    ),
  );
}

describe("different names", () => {
  const most = 128;
  const isTaken = (body: Uint8Array): boolean =>
    tooManyNames(body, bounds, inspectTraces(body, bounds), most, most) === undefined;

  test("are taken up to the limit, and any number of attributes of so many", () => {
    expect(isTaken(request(span(many(most, keyed(9)))))).toBe(true);
    expect(isTaken(request(span(many(most + 1, keyed(9)))))).toBe(false);
    expect(isTaken(request(span(many(5000, (i) => keyed(9)(i % most)))))).toBe(true);
  });

  // An event without a name has the empty one.
  test.each([
    ["attributes", keyed(9), 0],
    ["attributes of events", around(11, keyed(3)), 1],
    ["attributes of links", around(13, keyed(4)), 0],
    ["events", event, 0],
  ])("of %s are counted over all spans, and each column's apart", (what, piece, more) => {
    const some = (count: number, from = 0) => span(many(count, piece, from));
    const rest = most - more - 50;
    expect(isTaken(request(some(50), some(rest, 50), some(50)))).toBe(true);
    expect(isTaken(request(some(50), some(rest + 1, 50), some(50)))).toBe(false);
    // The same texts in another column.
    const other = what === "attributes" ? around(13, keyed(4)) : keyed(9);
    expect(isTaken(request(some(50), span(many(rest, other))))).toBe(true);
    expect(isTaken(request(some(50), span(many(rest + 1, other))))).toBe(false);
  });

  test("of a resource count where it has a span, for it is in no row else", () => {
    const resource = bytesField(1, many(most + 1, keyed(1)));
    const scope = bytesField(2, bytesField(2, span()));
    expect(isTaken(Buffer.concat([bytesField(1, resource), request(span())]))).toBe(true);
    expect(isTaken(bytesField(1, [resource, scope]))).toBe(false);
  });

  test("are not looked at in a body of fewer", () => {
    const body = request(span(many(most, keyed(9))));
    const { namesAtMost } = inspectTraces(body, bounds);
    expect(namesAtMost).toBe(most);
    expect(tooManyNames(new Uint8Array([7]), bounds, { namesAtMost }, 16, most)).toBeUndefined(); // not protobuf
  });

  test("that are made to hash alike end the look early, and are refused", () => {
    const keys = keysThatHashAlike(300);
    const key: Piece = (i) => bytesField(9, bytesField(1, keys[i % keys.length] ?? name(i)));
    expect(tooManyNames(request(span(many(20_000, key))), bounds, { namesAtMost: 1e9 }, 2 ** 12)).toEqual({
      what: "names",
    });
  });

  test("are 2^15 at most where there are more than 2^17 in all, and the sender reads what a key is", () => {
    expect([limits.namesMax, limits.namesUncountedMax]).toEqual([32_768, 131_072]);
    expect(adviseSize({ what: "names" })).toMatch(
      /^The body has more than 32768 different attribute keys and event names\. .* belongs into a value/,
    );
  });
});

test("a dictionary of keys that hash alike grows once for all of them", () => {
  const keys = keysThatHashAlike(30_000);
  const dictionary = new Dictionary();
  const intern = (key: Uint8Array): number =>
    dictionary.intern(key, new DataView(key.buffer, key.byteOffset, key.length), 0, key.length);
  const before = process.cpuUsage().user;
  expect(keys.map(intern)).toEqual(keys.map((_, i) => i));
  const filled = process.cpuUsage().user;
  for (let i = 0; i < 12; i++) {
    expect(intern(name(i))).toBe(keys.length + i);
  }
  const grown = process.cpuUsage().user;
  expect(grown - filled).toBeLessThan(2 * (filled - before));
  expect(intern(keys[27_777] ?? name(0))).toBe(27_777);
});

describe("a map within a value", () => {
  const entries = (count: number, key: (i: number) => Uint8Array) =>
    many(count, (i) => Uint8Array.of(0x0a, 6, 0x0a, 4, ...key(i)));

  test("of many keys is sorted by their bytes, the last of equal ones wins", () => {
    const content = bytesField(
      6,
      entries(15_000, (i) => name((i * 7919) % 10_000)),
    );
    const view = new DataView(content.buffer);
    const written = new ValueText();
    written.write(content, view, 0, content.length);
    const text = new TextDecoder().decode(written.bytes.subarray(0, written.length));
    expect(text).toBe(anyValueText(content, view, 0, content.length));
    expect(Object.keys(JSON.parse(text) as object)).toHaveLength(10_000);
  });

  test("has entries that count as attributes, at any depth: more than 2^20 are refused", () => {
    const inner = value.map(keyValue("w", value.int(1)), keyValue("x", value.map(keyValue("y", value.none))));
    const inspection = inspectTraces(
      request(span(attribute("map", inner), attribute("a", value.none))),
      bounds,
    );
    expect(inspection.attributes).toBe(2 + 3);
    expect(tooLarge({ ...inspection, attributes: limits.attributesMax })).toBeUndefined();
    expect(tooLarge({ ...inspection, attributes: limits.attributesMax + 1 })).toMatchObject({
      what: "attributes",
    });
  });
});

test("the text of a value takes no more room than it has bytes, and none once it is written", () => {
  const builder = new BlockBuilder();
  const long = value.array(value.string("x".repeat(5_000_000)));
  const body = request(span(attribute("a", long)));
  builder.add({ id: payloadId, tenant: "t", body, bounds, spans: 1 });
  const text = new ValueText();
  const bytes = new Uint8Array(long);
  text.write(bytes, new DataView(bytes.buffer), 0, bytes.length);
  expect(text.bytes.length).toBeLessThan(5_700_000);
  expect(builder.heldBytes).toBeGreaterThan(5_000_000);
  expect(builder.heldBytes).toBeLessThan(6_000_000);
});
