/** The messages of `fields.ts` as the JSON reader wants them: a field by the bytes of its name, with all that is known of it at hand. */
import { assert } from "../assert.ts";
import { type Field, type MessageName, messages, type ScalarKind, wireTypeOf } from "./fields.ts";

const nameCharsMax = 32;

/** Fields begin in one order, so that V8 has one form for all. */
export class JsonField {
  readonly field: Field;
  /** In protobuf. */
  readonly tag: number;
  /** Marks the field among those that an object had. */
  readonly bit: number;
  readonly kind: ScalarKind | "message";
  readonly isMany: boolean;
  readonly isOneof: boolean;
  /** Of a nested message. */
  readonly message: JsonMessage;
  /** Which field followed in the last object that had one: most objects of a sender are alike. */
  next: JsonField | undefined;

  constructor(field: Field, message: JsonMessage) {
    this.field = field;
    this.tag = field.number * 8 + wireTypeOf(field.type);
    assert(field.number < 31, "each field has a bit of its own");
    this.bit = 1 << field.number;
    this.kind = typeof field.type === "object" ? "message" : field.type;
    this.isMany = field.cardinality === "many";
    this.isOneof = field.cardinality === "oneof";
    this.message = message;
    this.next = undefined;
  }
}

/** A name by which a field may stand: its JSON name, or its name in the .proto file; all are ASCII. */
interface Name {
  readonly bytes: Uint8Array;
  readonly field: JsonField;
}

export class JsonMessage {
  readonly isAnyValue: boolean;
  /** The field that the last object began with. */
  first: JsonField | undefined = undefined;
  /**
   * By the hash of a name's bytes: no text is made of a name, of which a body may have five million. Two names of one message
   * never share a hash; other names may, so the bytes are compared.
   */
  readonly #named = new Map<number, Name>();
  /** The JSON name of each field, by its number. */
  readonly #jsonNames: Uint8Array[] = [];

  constructor(name: MessageName) {
    this.isAnyValue = name === "anyValue";
  }

  add(field: JsonField): void {
    for (const name of new Set([field.field.jsonName, field.field.name])) {
      const bytes = Uint8Array.from(name, (char) => char.charCodeAt(0));
      const hash = hashOf(bytes, 0, bytes.length);
      assert(!this.#named.has(hash), "names of one message have hashes of their own");
      assert(bytes.length <= nameCharsMax, "a name is within the longest");
      this.#named.set(hash, { bytes, field });
      this.#jsonNames[field.field.number] ??= bytes;
    }
  }

  /** Whether `text[from, to)` is the JSON name of `field`. */
  isNameOf(field: JsonField, text: Uint8Array, from: number, to: number): boolean {
    const name = this.#jsonNames[field.field.number];
    return name !== undefined && areEqual(name, text, from, to);
  }

  /** The field that `text[from, to)` names. */
  named(text: Uint8Array, from: number, to: number): JsonField | undefined {
    if (to - from > nameCharsMax) {
      return undefined;
    }
    const named = this.#named.get(hashOf(text, from, to));
    return named !== undefined && areEqual(named.bytes, text, from, to) ? named.field : undefined;
  }
}

const built = new Map<MessageName, JsonMessage>();
for (const name of Object.keys(messages) as MessageName[]) {
  built.set(name, new JsonMessage(name));
}
/** What a scalar's field has for a message: nobody looks at it. */
const noMessage = new JsonMessage("request");
for (const { name, fields } of Object.values(messages)) {
  const message = messageOf(name);
  for (const field of fields) {
    if (field !== undefined) {
      const nested = typeof field.type === "object" ? messageOf(field.type.message) : noMessage;
      message.add(new JsonField(field, nested));
    }
  }
}

function messageOf(name: MessageName): JsonMessage {
  const message = built.get(name);
  assert(message !== undefined, "each message is built first");
  return message;
}

export const requestMessage = messageOf("request");

function areEqual(name: Uint8Array, text: Uint8Array, from: number, to: number): boolean {
  const { length } = name;
  if (to - from !== length) {
    return false;
  }
  for (let i = 0; i < length; i++) {
    if (text[from + i] !== name[i]) {
      return false;
    }
  }
  return true;
}

function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = to - from;
  for (let i = from; i < to; i++) {
    hash = (Math.imul(hash, 31) + (bytes[i] ?? 0)) | 0;
  }
  return hash;
}
