/**
 * Seeded hostile payloads: bodies of the real SDK and odd ones by hand, then some steps of damage. Most steps know
 * where protobuf keeps its lengths, because damage that breaks the outermost frame tests little.
 */

import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { makeSpans } from "../../bench/corpus.ts";
import type { Random } from "../../bench/random.ts";
import {
  attribute,
  bytesField,
  fixed64Field,
  join,
  type Part,
  request,
  resource,
  span,
  spanId,
  startNanos,
  stringField,
  tag,
  traceId,
  value,
  varint,
  varintField,
} from "../fixtures/protobuf.ts";

/** Bodies to begin from: small ones, so that a mutation hits something that matters. */
export function seedBodies(random: Random): Uint8Array[] {
  const bodies = ["frontend", "checkout", "cart"].flatMap((service) =>
    [1, 2, 3].map(
      (count) =>
        ProtobufTraceSerializer.serializeRequest(makeSpans(random, service, count)) ?? new Uint8Array(0),
    ),
  );
  for (let i = 0; i < 40; i++) {
    bodies.push(randomRequest(random));
  }
  return bodies;
}

const words = [
  "a",
  "b",
  "service.name",
  "größe",
  "",
  "key",
  "\u2028",
  "x".repeat(130),
  "😀",
  'q"\\\n',
  "z".repeat(9),
];

/**
 * A valid body in a form that no SDK sends: any order, repeated fields, padding, unknown fields. `valuesInPieces`:
 * also AnyValues that are set more than once.
 */
export function randomRequest(random: Random, { valuesInPieces } = { valuesInPieces: true }): Uint8Array {
  const some = (limit: number, make: () => Part): Part[] => Array.from({ length: random.below(limit) }, make);
  const word = (): string => random.pick(words);
  const pad = (): number => (random.chance(0.1) ? 1 + random.below(10) : 0);
  const unknown = (): Part =>
    random.pick<() => Part>([
      () => varintField(20 + random.below(2000), random.next()),
      () => bytesField(30, [1, 2, 3], pad()),
      () => join(tag(40, 3), varintField(1, 1), join(tag(41, 3), tag(41, 4)), tag(40, 4)),
      () => join(tag(50, 5), [1, 2, 3, 4]),
      () => fixed64Field(60, 1n),
      () => [],
      () => [],
      () => [],
    ])();
  const anyValue = (depth: number): Part => {
    const one = (): Part =>
      random.pick<() => Part>([
        () => value.string(word()),
        () =>
          value.int(
            BigInt.asIntN(64, (BigInt(random.next()) << 32n) | BigInt(random.next())) >>
              BigInt(random.below(64)),
          ),
        () =>
          value.double(
            random.pick([0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e21, 1e-7, random.next() / 7]),
          ),
        () => join(tag(2, 0), varint(random.below(2), pad())),
        () => value.bytes(...Array.from({ length: random.below(6) }, () => random.below(256))),
        () => (depth > 2 ? [] : value.array(...some(4, () => anyValue(depth + 1)))),
        () => (depth > 2 ? [] : value.map(...some(4, () => keyValueOf(depth + 1)))),
        () => unknown(),
      ])();
    return random.chance(0.85) || !valuesInPieces ? one() : [one(), one(), unknown()];
  };
  const keyValueOf = (depth: number): Part => {
    const parts: Part[] = [stringField(1, word()), bytesField(2, anyValue(depth), pad())];
    if (random.chance(0.05)) parts.reverse();
    if (random.chance(0.05)) parts.pop();
    if (random.chance(0.05)) parts.push(unknown());
    if (random.chance(0.03) && valuesInPieces) parts.push(bytesField(2, anyValue(depth)));
    return parts;
  };
  const attributes = (number: number): Part => some(6, () => bytesField(number, keyValueOf(0), pad()));
  const shuffled = (parts: Part[]): Part[] => {
    if (random.chance(0.4)) {
      for (let i = parts.length - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [parts[i], parts[j]] = [parts[j] ?? [], parts[i] ?? []];
      }
    }
    return parts;
  };
  const status = (): Part =>
    bytesField(15, shuffled([varintField(3, random.below(4), pad()), stringField(2, word()), unknown()]));
  const event = (): Part =>
    bytesField(
      11,
      shuffled([
        fixed64Field(1, startNanos + BigInt(random.below(99))),
        stringField(2, word()),
        attributes(3),
        varintField(4, 1),
        unknown(),
      ]),
      pad(),
    );
  const link = (): Part =>
    bytesField(
      13,
      shuffled([
        bytesField(1, traceId),
        bytesField(2, random.chance(0.2) ? [] : spanId),
        stringField(3, word()),
        attributes(4),
        unknown(),
      ]),
      pad(),
    );
  const aSpan = (): Part =>
    random.chance(0.5)
      ? span(attributes(9))
      : shuffled([
          bytesField(1, random.chance(0.05) ? [1, 2] : traceId, pad()),
          bytesField(2, spanId, pad()),
          stringField(3, word()),
          bytesField(4, random.chance(0.5) ? spanId : []),
          stringField(5, word()),
          varintField(6, random.below(7), pad()),
          fixed64Field(7, startNanos + BigInt(random.below(1000))),
          fixed64Field(8, startNanos + BigInt(random.below(2000)) - 500n),
          attributes(9),
          varintField(10, 3),
          some(3, event),
          varintField(12, 1),
          some(3, link),
          status(),
          random.chance(0.1) ? status() : [],
          join([0x85, 0x01], [1, 0, 0, 0]),
          unknown(),
          attribute(word(), anyValue(0)),
          random.chance(0.1) ? stringField(5, word()) : [],
        ]);
  const scope = (): Part =>
    bytesField(1, shuffled([stringField(1, word()), stringField(2, word()), attributes(3), unknown()]));
  const scopeSpans = (): Part =>
    bytesField(
      2,
      shuffled([
        random.chance(0.9) ? scope() : [scope(), scope()],
        some(4, () => bytesField(2, aSpan(), pad())),
        stringField(3, word()),
        unknown(),
      ]),
      pad(),
    );
  const aResource = (): Part =>
    random.chance(0.5)
      ? resource(["service.name", value.string(word())])
      : bytesField(1, [attributes(1), varintField(2, 1), unknown()]);
  const resourceSpans = (): Part =>
    bytesField(
      1,
      shuffled([
        random.chance(0.9) ? aResource() : [aResource(), aResource()],
        some(4, scopeSpans),
        stringField(3, word()),
        unknown(),
      ]),
      pad(),
    );
  return random.chance(0.2) ? request(aSpan(), aSpan()) : join(some(4, resourceSpans), unknown());
}

/** `body` after one to four steps of damage; sometimes as it was. */
export function mutate(random: Random, body: Uint8Array, other: Uint8Array): Uint8Array {
  let bytes = body;
  const steps = random.below(5);
  for (let i = 0; i < steps && bytes.length > 0; i++) {
    bytes = step(random, bytes, other);
  }
  return bytes;
}

function step(random: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = random.below(bytes.length);
  const copy = bytes.slice();
  switch (random.below(10)) {
    case 0: // one bit
      copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    case 1: // one byte
      copy[at] = random.below(256);
      return copy;
    case 2: // a byte that means something
      copy[at] = random.pick([
        0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x39, 0x4a, 0x5a, 0x6a, 0x7a,
      ]);
      return copy;
    case 3: // a length that is off by a little
      copy[at] = (copy[at] ?? 0) + random.pick([-2, -1, 1, 2]);
      return copy;
    case 4: // cut
      return bytes.slice(0, at);
    case 5: {
      // a piece gone
      const end = Math.min(bytes.length, at + 1 + random.below(16));
      return join(bytes.subarray(0, at), bytes.subarray(end));
    }
    case 6: {
      // a piece twice
      const end = Math.min(bytes.length, at + 1 + random.below(64));
      return join(bytes.subarray(0, end), bytes.subarray(at));
    }
    case 7: // another body's tail
      return join(bytes.subarray(0, at), other.subarray(random.below(other.length + 1)));
    case 8: // two bodies are one request
      return join(bytes, other);
    default: {
      // some bytes more
      const more = Array.from({ length: 1 + random.below(4) }, () => random.below(256));
      return join(bytes.subarray(0, at), more, bytes.subarray(at));
    }
  }
}
