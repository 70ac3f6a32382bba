/**
 * Rewrites any valid OTLP trace body into the *canonical form*, which the fast readers take in one look, and says of an
 * invalid body what is wrong with it and where.
 *
 * Protobuf allows much that no OpenTelemetry SDK sends. In the canonical form
 *  - no singular message appears twice (protobuf.dev: parsers merge them),
 *  - a KeyValue is a key and then a value, each at most once,
 *  - an AnyValue has at most one field, the one that wins,
 *  - tags are as short as they can be, and no field is unknown.
 *  - text is UTF-8: U+FFFD stands for what is none.
 * The fast readers accept more than this (unknown fields, any order within a span, long varints), but never less, so
 * that a body is rewritten at most once. The rewritten form is never longer than the body but by U+FFFD (three bytes, where
 * one or more were), and is refused beyond `limits.inflatedBytesMax`.
 *
 * A known field with another wire type than its own is malformed: protobuf would treat it as unknown, and the span
 * would be stored without it and without a word.
 */
import { limits } from "../limits.ts";
import { type Field, type Message, messages, wireType, wireTypeOf } from "./fields.ts";
import { MalformedBody } from "./malformed.ts";
import { noRepairs, type Repairs } from "./repairs.ts";
import { isUtf8, writeRepaired } from "./utf8.ts";
import { WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

/** Pieces of one message that are merged: nobody sends more than a few, and each takes two places of a list. */
const piecesMax = 65_536;

interface Rewriting {
  readonly writer: WireWriter;
  readonly repairs: Repairs;
  /** Where we are. */
  readonly path: string[];
}

/**
 * The canonical form of an ExportTraceServiceRequest. Throws `MalformedBody` for anything else: bad framing, a known field
 * of another wire type. Texts that were repaired are counted in `repairs`. What lies deeper than `limits.depthMax` is copied
 * as it is: nobody reads it.
 */
export function toPlainForm(body: Uint8Array, repairs = noRepairs()): Uint8Array {
  const writer = new WireWriter(body.length, Math.max(body.length, limits.inflatedBytesMax));
  const path: string[] = [];
  try {
    writePlain({ writer, repairs, path }, messages.request, body, [0, body.length], 0);
  } catch (error) {
    if (error instanceof MalformedBody) {
      throw new MalformedBody(`${path.length > 0 ? path.join(".") : "request"}: ${error.message}`);
    }
    throw error;
  }
  return writer.finish();
}

/**
 * A message that may be scattered over several ranges of the body, `[from, to, from, to, …]`: merging messages means
 * reading the concatenation of their bytes. When it throws, `path` still leads to where it was.
 */
function writePlain(
  rewriting: Rewriting,
  message: Message,
  body: Uint8Array,
  ranges: readonly number[],
  valueDepth: number,
): void {
  const { path } = rewriting;
  /** The singular fields met so far, with the ranges of their values. */
  const singular = new Map<Field, number[]>();
  let chosen: Field | undefined;
  const counts = new Map<Field, number>();

  for (let r = 0; r < ranges.length; r += 2) {
    const reader = new WireReader(body, ranges[r], ranges[r + 1]);
    while (!reader.done) {
      const tagAt = reader.at;
      const tag = reader.tag();
      const field = message.fields[tag >>> 3];
      if (field === undefined) {
        reader.skip(tag);
        continue;
      }
      const index = counts.get(field) ?? 0;
      counts.set(field, index + 1);
      path.push(field.cardinality === "many" ? `${field.name}[${index}]` : field.name);
      if ((tag & 7) !== wireTypeOf(field.type)) {
        throw new MalformedBody(`wire type ${tag & 7} instead of ${wireTypeOf(field.type)} at byte ${tagAt}`);
      }
      const from = reader.at;
      reader.skip(tag);
      const value = wireTypeOf(field.type) === wireType.length ? contentOf(body, from, reader.at) : from;
      if (field.cardinality === "many") {
        writeField(rewriting, field, body, [value, reader.at], valueDepth);
      } else {
        const merged = typeof field.type === "object" ? singular.get(field) : undefined;
        if (field.cardinality === "oneof" && chosen !== field) {
          if (chosen !== undefined) {
            singular.delete(chosen);
          }
          chosen = field;
          singular.set(field, [value, reader.at]);
        } else if (merged !== undefined) {
          if (merged.length >= 2 * piecesMax) {
            throw new MalformedBody(`a message in more than ${piecesMax} pieces`);
          }
          merged.push(value, reader.at);
        } else {
          singular.set(field, [value, reader.at]);
        }
      }
      path.pop();
    }
  }

  for (const field of message.fields) {
    const value = field === undefined ? undefined : singular.get(field);
    if (field !== undefined && value !== undefined) {
      path.push(field.name);
      writeField(rewriting, field, body, value, valueDepth);
      path.pop();
    }
  }
}

function writeField(
  rewriting: Rewriting,
  field: Field,
  body: Uint8Array,
  ranges: readonly number[],
  valueDepth: number,
): void {
  const { writer, repairs } = rewriting;
  writer.varint(field.number * 8 + wireTypeOf(field.type));
  if (wireTypeOf(field.type) !== wireType.length) {
    writer.raw(body, ranges[0] ?? 0, ranges[1] ?? 0);
    return;
  }
  const start = writer.open();
  if (typeof field.type === "object") {
    const depth = field.type.message === "anyValue" ? valueDepth + 1 : valueDepth;
    if (depth > limits.depthMax) {
      for (let r = 0; r < ranges.length; r += 2) {
        writer.raw(body, ranges[r] ?? 0, ranges[r + 1] ?? 0);
      }
    } else {
      writePlain(rewriting, messages[field.type.message], body, ranges, depth);
    }
  } else {
    const [from = 0, to = 0] = ranges;
    // Only the value that wins is looked at: the fast readers do not see the others either, and both must agree.
    if (field.type === "string" && !isUtf8(body, from, to)) {
      repairs.texts++;
      writeRepaired(writer, body, from, to);
    } else {
      writer.raw(body, from, to);
    }
  }
  writer.close(start);
}

/** Where the content of a length-delimited value begins; `skip` has checked it. */
function contentOf(body: Uint8Array, from: number, to: number): number {
  const reader = new WireReader(body, from, to);
  reader.length();
  return reader.at;
}
