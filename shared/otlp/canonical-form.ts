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
 *
 * One broken character sends a body this way, and a body may have ten million messages: so nothing is made per message. What
 * is known of a message lies in a frame per level, used again for the next one, and what is wrong is worded when it is wrong.
 */
import { limits } from "../limits.ts";
import { type Field, type MessageName, messages, wireType, wireTypeOf } from "./fields.ts";
import { MalformedBody } from "./malformed.ts";
import { noRepairs, type Repairs } from "./repairs.ts";
import { isUtf8, writeRepaired } from "./utf8.ts";
import { WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

/** Pieces of one message that are merged: nobody sends more than a few, and each takes three places of a list. */
const piecesMax = 65_536;
const piecesFirst = 256;
/** The highest field number of any message. */
const fieldsMax = 16;
const none = -1;

/** A field, as it is rewritten. */
interface CanonicalField {
  readonly name: string;
  readonly number: number;
  readonly wire: number;
  /** Number and wire type, in one varint. */
  readonly tag: number;
  readonly isMany: boolean;
  readonly isOneof: boolean;
  readonly isText: boolean;
  /** Undefined for what is no message. */
  readonly message: CanonicalMessage | undefined;
}

interface CanonicalMessage {
  readonly isAnyValue: boolean;
  /** By field number. */
  readonly fields: (CanonicalField | undefined)[];
}

/** The messages of `fields.ts`, linked with each other. */
const canonicalMessages = new Map<MessageName, CanonicalMessage>();

function canonicalMessage(name: MessageName): CanonicalMessage {
  const known = canonicalMessages.get(name);
  if (known !== undefined) {
    return known;
  }
  const message: CanonicalMessage = { isAnyValue: name === "anyValue", fields: [] };
  canonicalMessages.set(name, message);
  for (let number = 0; number < messages[name].fields.length; number++) {
    const field = messages[name].fields[number];
    message.fields.push(field === undefined ? undefined : canonicalField(field));
  }
  return message;
}

function canonicalField({ name, number, type, cardinality }: Field): CanonicalField {
  const wire = wireTypeOf(type);
  return {
    name,
    number,
    wire,
    tag: number * 8 + wire,
    isMany: cardinality === "many",
    isOneof: cardinality === "oneof",
    isText: type === "string",
    message: typeof type === "object" ? canonicalMessage(type.message) : undefined,
  };
}

const request = canonicalMessage("request");

/** What is known of the message that is read at one level. */
class Frame {
  readonly reader = new WireReader(new Uint8Array(0));
  /** Of each singular field: the first and the last piece of what it holds (`none`: it has not been met), and how many. */
  readonly first = new Int32Array(fieldsMax + 1);
  readonly last = new Int32Array(fieldsMax + 1);
  readonly pieces = new Int32Array(fieldsMax + 1);
  /** How often each field has been met. */
  readonly met = new Int32Array(fieldsMax + 1);
  /** The field that is read or written at present. */
  field: CanonicalField | undefined;

  begin(fields: number): void {
    // By hand: a call of `fill` for the two fields of an attribute costs more.
    for (let number = 0; number < fields; number++) {
      this.first[number] = none;
      this.met[number] = 0;
    }
    this.field = undefined;
  }

  /** `attributes[3]`, or nothing between two fields. */
  path(): string[] {
    const { field } = this;
    if (field === undefined) {
      return [];
    }
    return [field.isMany ? `${field.name}[${(this.met[field.number] ?? 1) - 1}]` : field.name];
  }
}

/**
 * The canonical form of an ExportTraceServiceRequest. Throws `MalformedBody` for anything else: bad framing, a known field
 * of another wire type. Texts that were repaired are counted in `repairs`. What lies deeper than `limits.depthMax` is copied
 * as it is: nobody reads it.
 */
export function toCanonicalForm(body: Uint8Array, repairs = noRepairs()): Uint8Array {
  return new CanonicalForm(body, repairs).write();
}

class CanonicalForm {
  readonly #body: Uint8Array;
  readonly #repairs: Repairs;
  readonly #writer: WireWriter;
  readonly #frames: Frame[] = [];
  /** Levels that are open. */
  #depth = 0;
  /**
   * Pieces that a message, or a singular field, is scattered over: where each begins and ends in the body, and which one
   * follows. Those of a level are given back when it ends.
   */
  #from = new Int32Array(piecesFirst);
  #to = new Int32Array(piecesFirst);
  #next = new Int32Array(piecesFirst);
  #pieces = 0;

  constructor(body: Uint8Array, repairs: Repairs) {
    this.#body = body;
    this.#repairs = repairs;
    this.#writer = new WireWriter(body.length, Math.max(body.length, limits.inflatedBytesMax));
  }

  write(): Uint8Array {
    try {
      this.#message(request, this.#piece(0, this.#body.length), 0);
    } catch (error) {
      if (error instanceof MalformedBody) {
        const path = this.#frames.slice(0, this.#depth).flatMap((frame) => frame.path());
        throw new MalformedBody(`${path.length > 0 ? path.join(".") : "request"}: ${error.message}`);
      }
      throw error;
    }
    return this.#writer.finish();
  }

  /** Writes a message that lies in a list of pieces: merging messages means reading their bytes one after another. */
  #message(message: CanonicalMessage, firstPiece: number, valueDepth: number): void {
    const depth = this.#depth++;
    let frame = this.#frames[depth];
    if (frame === undefined) {
      frame = new Frame();
      this.#frames.push(frame);
    }
    frame.begin(message.fields.length);
    const pieces = this.#pieces;
    let chosen = 0;
    for (let piece = firstPiece; piece !== none; piece = this.#next[piece] ?? none) {
      chosen = this.#read(frame, message, this.#from[piece] ?? 0, this.#to[piece] ?? 0, valueDepth, chosen);
    }
    this.#writeSingular(frame, message, valueDepth);
    this.#pieces = pieces;
    this.#depth = depth;
  }

  /** Reads a piece of a message: writes what there may be many of, and notes the rest. Returns the oneof that was met last. */
  #read(
    frame: Frame,
    { fields }: CanonicalMessage,
    from: number,
    to: number,
    valueDepth: number,
    chosenBefore: number,
  ): number {
    const { reader, met } = frame;
    let chosen = chosenBefore;
    reader.use(this.#body, from, to);
    while (!reader.done) {
      const tagAt = reader.at;
      const tag = reader.tag();
      const number = tag >>> 3;
      const field = number < fields.length ? fields[number] : undefined;
      if (field === undefined) {
        reader.skip(tag);
        continue;
      }
      frame.field = field;
      met[number] = (met[number] ?? 0) + 1;
      if ((tag & 7) !== field.wire) {
        throw new MalformedBody(`wire type ${tag & 7} instead of ${field.wire} at byte ${tagAt}`);
      }
      let value = reader.at;
      if (field.wire === wireType.length) {
        const length = reader.length();
        value = reader.at;
        reader.at += length;
      } else {
        reader.skip(tag);
      }
      if (field.isMany && value === reader.at) {
        this.#writer.varint(field.tag);
        this.#writer.byte(0);
      } else if (field.isMany) {
        const pieces = this.#pieces;
        this.#field(field, this.#piece(value, reader.at), valueDepth);
        this.#pieces = pieces;
      } else {
        if (field.isOneof && chosen !== number) {
          frame.first[chosen] = none;
          chosen = number;
        }
        this.#note(frame, field, value, reader.at);
      }
      frame.field = undefined;
    }
    return chosen;
  }

  /** The last value of a field wins, and messages merge. */
  #note({ first, last, pieces }: Frame, { number, message }: CanonicalField, from: number, to: number): void {
    const before = first[number] ?? none;
    if (before === none) {
      first[number] = this.#piece(from, to);
      last[number] = first[number] ?? none;
      pieces[number] = 1;
      return;
    }
    if (message === undefined) {
      this.#from[before] = from;
      this.#to[before] = to;
      return;
    }
    const count = (pieces[number] ?? 0) + 1;
    if (count > piecesMax) {
      throw new MalformedBody(`a message in more than ${piecesMax} pieces`);
    }
    pieces[number] = count;
    const piece = this.#piece(from, to);
    this.#next[last[number] ?? 0] = piece;
    last[number] = piece;
  }

  #writeSingular(frame: Frame, { fields }: CanonicalMessage, valueDepth: number): void {
    for (let number = 1; number < fields.length; number++) {
      const field = fields[number];
      const piece = frame.first[number] ?? none;
      if (field !== undefined && piece !== none) {
        frame.field = field;
        this.#field(field, piece, valueDepth);
      }
    }
    frame.field = undefined;
  }

  #field(field: CanonicalField, piece: number, valueDepth: number): void {
    const writer = this.#writer;
    const from = this.#from[piece] ?? 0;
    const to = this.#to[piece] ?? 0;
    writer.varint(field.tag);
    if (field.wire !== wireType.length) {
      writer.raw(this.#body, from, to);
      return;
    }
    const start = writer.open();
    if (field.message !== undefined) {
      const depth = field.message.isAnyValue ? valueDepth + 1 : valueDepth;
      if (depth > limits.depthMax) {
        for (let at = piece; at !== none; at = this.#next[at] ?? none) {
          writer.raw(this.#body, this.#from[at] ?? 0, this.#to[at] ?? 0);
        }
      } else {
        this.#message(field.message, piece, depth);
      }
    } else if (field.isText && !isUtf8(this.#body, from, to)) {
      // Only the value that wins is looked at: the fast readers do not see the others either, and both must agree.
      this.#repairs.texts++;
      writeRepaired(writer, this.#body, from, to);
    } else {
      writer.raw(this.#body, from, to);
    }
    writer.close(start);
  }

  /** A piece that none follows yet. */
  #piece(from: number, to: number): number {
    const piece = this.#pieces++;
    if (piece === this.#from.length) {
      this.#from = twiceAsLong(this.#from);
      this.#to = twiceAsLong(this.#to);
      this.#next = twiceAsLong(this.#next);
    }
    this.#from[piece] = from;
    this.#to[piece] = to;
    this.#next[piece] = none;
    return piece;
  }
}

function twiceAsLong(list: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(list.length * 2);
  larger.set(list);
  return larger;
}
