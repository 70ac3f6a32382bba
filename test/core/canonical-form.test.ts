import { describe, expect, test } from "vitest";
import { makeCorpus } from "../../bench/corpus.ts";
import { Random } from "../../bench/random.ts";
import { toCanonicalForm } from "../../shared/otlp/canonical-form.ts";
import { noRepairs } from "../../shared/otlp/repairs.ts";
import { blockOf } from "../fixtures/blocks.ts";
import { canonicalFormReference } from "../fixtures/canonical-form-reference.ts";
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  keyValue,
  request,
  resource,
  span,
  startNanos,
  stringField,
  tag,
  value,
  varint,
  varintField,
} from "../fixtures/protobuf.ts";
import { mutate, randomRequest } from "../fuzz/mutations.ts";

/** What protobuf says is the same message, beside its canonical twin. */
const twins: readonly (readonly [string, Uint8Array, Uint8Array])[] = [
  [
    "the last of a repeated scalar wins",
    request(
      span(
        stringField(5, "first"),
        stringField(5, "second"),
        varintField(6, 1),
        fixed64Field(8, startNanos + 7n),
      ),
    ),
    request(
      join(
        span().subarray(0, 28),
        stringField(5, "second"),
        varintField(6, 1),
        fixed64Field(7, startNanos),
        fixed64Field(8, startNanos + 7n),
      ),
    ),
  ],
  [
    "two statuses merge",
    request(
      span(
        bytesField(15, [stringField(2, "lost"), varintField(3, 2)]),
        bytesField(15, stringField(2, "kept")),
      ),
    ),
    request(span(bytesField(15, [stringField(2, "kept"), varintField(3, 2)]))),
  ],
  [
    "two resources merge",
    bytesField(1, [
      resource(["service.name", value.string("shop")]),
      bytesField(2, bytesField(2, span())),
      resource(["zone", value.string("b")]),
    ]),
    bytesField(1, [
      resource(["service.name", value.string("shop")], ["zone", value.string("b")]),
      bytesField(2, bytesField(2, span())),
    ]),
  ],
  [
    "two scopes merge",
    bytesField(
      1,
      bytesField(2, [
        bytesField(1, stringField(1, "a")),
        bytesField(2, span()),
        bytesField(1, stringField(2, "9")),
      ]),
    ),
    bytesField(
      1,
      bytesField(2, [bytesField(1, [stringField(1, "a"), stringField(2, "9")]), bytesField(2, span())]),
    ),
  ],
  [
    "a value before its key, twice",
    request(
      span(
        bytesField(9, [
          bytesField(2, value.int(5)),
          stringField(1, "x"),
          stringField(1, "a"),
          bytesField(2, value.string("b")),
        ]),
      ),
    ),
    request(span(attribute("a", value.string("b")))),
  ],
  [
    "two arrays in one value merge",
    request(span(attribute("a", [value.array(value.int(1)), value.array(value.int(2))]))),
    request(span(attribute("a", value.array(value.int(1), value.int(2))))),
  ],
  [
    "an array, a string, an array: the last array alone",
    request(span(attribute("a", [value.array(value.int(1)), value.string("s"), value.array(value.int(2))]))),
    request(span(attribute("a", value.array(value.int(2))))),
  ],
  [
    "two arrays, then a string: the string",
    request(
      span(
        attribute("a", [value.array(value.int(1)), value.map(keyValue("k", value.none)), value.string("s")]),
      ),
    ),
    request(span(attribute("a", value.string("s")))),
  ],
  [
    "unknown fields and groups everywhere",
    join(
      varintField(50, 1),
      bytesField(1, [
        stringField(1000, "x"),
        bytesField(1, [
          tag(77, 3),
          stringField(1, "y"),
          tag(77, 4),
          bytesField(1, [
            keyValue("service.name", [varintField(60, 3), value.string("shop")]),
            varintField(3, 1),
          ]),
        ]),
        bytesField(2, [
          bytesField(1, [stringField(1, "lib"), stringField(99, "z"), stringField(2, "1.0")]),
          bytesField(2, span()),
        ]),
      ]),
    ),
    request(span()),
  ],
  [
    "varints longer than they need to be",
    request(
      span(
        varintField(6, 3, 9),
        bytesField(9, [bytesField(1, [0x61], 3), bytesField(2, varintField(3, 5, 10), 6)], 8),
      ),
    ),
    request(span(varintField(6, 3), attribute("a", value.int(5)))),
  ],
  [
    "padded tags",
    request(join([0x8a, 0x80, 0x00], varint(16), span().subarray(2, 18), span().subarray(18))),
    request(span()),
  ],
  [
    "absent key, absent value, empty ones",
    request(span(bytesField(9, bytesField(2, value.int(1))), bytesField(9, stringField(1, "n")))),
    request(span(attribute("", value.int(1)), attribute("n", value.none))),
  ],
];

describe("the same message in another form gives the same block", () => {
  test.each(twins)("%s", (_, unusual, canonical) => {
    expect(blockOf(unusual)).toEqual(blockOf(canonical));
    expect(blockOf(toCanonicalForm(unusual))).toEqual(blockOf(canonical));
  });
});

describe("a body that the fuzz test found", () => {
  const spans = bytesField(2, bytesField(2, span()));
  test.each([
    [
      "a bad string that another one replaced is not looked at",
      request(span(bytesField(3, [0xff]), stringField(3, "ok"))),
      request(span(stringField(3, "ok"))),
    ],
    [
      "nor is one in a scope",
      bytesField(
        1,
        bytesField(2, [bytesField(1, [bytesField(2, [0xe4]), stringField(2, "9")]), bytesField(2, span())]),
      ),
      bytesField(1, bytesField(2, [bytesField(1, stringField(2, "9")), bytesField(2, span())])),
    ],
    [
      "nor are a resource's entity_refs",
      bytesField(1, [bytesField(1, [bytesField(3, [0x0a, 0x7f, 0xff])]), spans]),
      bytesField(1, spans),
    ],
  ])("%s, by any reader", (_, body, twin) => {
    expect(blockOf(body)).toEqual(blockOf(twin));
    expect(blockOf(toCanonicalForm(body))).toEqual(blockOf(twin));
  });
});

describe("the canonical form", () => {
  test("of an SDK's body has the same block, and is not longer", () => {
    for (const { protobuf } of makeCorpus(8, 3, 50)) {
      const canonical = toCanonicalForm(protobuf);
      expect(canonical.length).toBeLessThanOrEqual(protobuf.length);
      expect(blockOf(canonical)).toEqual(blockOf(protobuf));
    }
  });

  test("of itself is itself", () => {
    for (const [, unusual] of twins) {
      const canonical = toCanonicalForm(unusual);
      expect(canonical.length).toBeLessThanOrEqual(unusual.length);
      expect(toCanonicalForm(canonical)).toEqual(canonical);
    }
  });
});

describe("of any body", () => {
  /** What comes out of it: bytes and counts, or the complaint. */
  function outcome(rewrite: typeof toCanonicalForm, body: Uint8Array): unknown {
    const repairs = noRepairs();
    try {
      return [Buffer.from(rewrite(body, repairs)).toString("hex"), repairs];
    } catch (error) {
      return String(error);
    }
  }

  test("whole or damaged, the canonical form, its repairs and its complaint are those of the shortest rule", () => {
    const random = new Random(77);
    const seen = new Set<string>();
    for (let i = 0; i < 700; i++) {
      const body = randomRequest(random);
      for (const one of [body, mutate(random, body, randomRequest(random))]) {
        const wanted = outcome(canonicalFormReference, one);
        expect(outcome(toCanonicalForm, one)).toEqual(wanted);
        seen.add(typeof wanted === "string" ? wanted.replace(/\d+/g, "n").replace(/^.*: /, "") : "written");
      }
    }
    expect(seen.size).toBeGreaterThan(8);
  }, 60_000);

  test("a message in as many pieces as are merged is whole, and one more is too many", () => {
    // An empty resource, so often.
    const inPieces = (count: number): Uint8Array =>
      bytesField(
        1,
        new Uint8Array(2 * count).fill(0x0a).map((byte, at) => (at % 2 === 0 ? byte : 0)),
      );
    expect(Buffer.from(toCanonicalForm(inPieces(65_536))).toString("hex")).toBe("0a020a00");
    expect(() => toCanonicalForm(inPieces(65_537))).toThrow(
      /resource_spans\[0\]\.resource: a message in more than 65536/,
    );
  });

  test("of a million messages costs what they are long", () => {
    const empty = new Uint8Array(2_000_000);
    for (let at = 0; at < empty.length; at += 2) {
      empty[at] = 0x4a; // an attribute without anything
    }
    const body = request(span(empty));
    const before = process.cpuUsage().user;
    expect(toCanonicalForm(body)).toHaveLength(body.length);
    expect((process.cpuUsage().user - before) / 1000, "ms").toBeLessThan(1000);
  }, 30_000);
});
