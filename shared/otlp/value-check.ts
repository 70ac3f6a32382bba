/**
 * Checks an attribute's value that is not a string, nested values included, and bounds the text that it becomes.
 */
import { limits } from "../limits.ts";
import { VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { notCanonical } from "./malformed.ts";
import { isAscii, isUtf8 } from "./utf8.ts";

/** "false" */
const boolTextBytesMax = 5;
/** "-9223372036854775808" */
const intTextBytesMax = 20;
/** "-1.2345678901234567e-308" */
const doubleTextBytesMax = 24;
/** "null" */
const nullTextBytes = 4;

/** Throws `notCanonical` unless `bytes[from, to)` is UTF-8. `view` shows the same bytes. */
export function checkText(bytes: Uint8Array, view: DataView, from: number, to: number): void {
  if (!isAscii(bytes, view, from, to) && !isUtf8(bytes, from, to)) {
    throw notCanonical;
  }
}

export class ValueCheck {
  /** Values met beyond the depth, and numbers that JSON does not know inside arrays and maps (repairs.ts). */
  nested = 0;
  numbers = 0;
  /** Entries of maps. */
  entries = 0;
  readonly #cursor = new VarintCursor();

  /**
   * Takes the AnyValue in `bytes[from, to)`, nested `depth` levels deep (an attribute's own value: 1). Returns how
   * many bytes its text takes at most: as an attribute's own value or, which is longer, inside a JSON text. Throws
   * `notCanonical`. A value beyond the depth is not looked into: null is written in its place (rows/value-text.ts).
   */
  check(bytes: Uint8Array, view: DataView, from: number, to: number, depth: number): number {
    if (from === to) {
      return nullTextBytes;
    }
    if (depth > limits.depthMax) {
      this.nested++;
      return nullTextBytes;
    }
    switch (bytes[from]) {
      case tags.anyValue.bool:
        this.#varint(bytes, from + 1, to);
        return boolTextBytesMax;
      case tags.anyValue.int:
        this.#varint(bytes, from + 1, to);
        return intTextBytesMax;
      case tags.anyValue.double:
        if (to - from !== 9) {
          throw notCanonical;
        }
        // An exponent of ones: NaN or an infinity.
        if (depth > 1 && (view.getInt32(to - 4, true) & 0x7ff00000) === 0x7ff00000) {
          this.numbers++;
        }
        return doubleTextBytesMax;
      case tags.anyValue.string: {
        const at = this.#content(bytes, from, to);
        checkText(bytes, view, at, to);
        return jsonStringBytesMax(bytes, at, to);
      }
      case tags.anyValue.bytes:
        return 2 + Math.ceil((to - this.#content(bytes, from, to)) / 3) * 4;
      case tags.anyValue.array: {
        let text = 2;
        let at = this.#content(bytes, from, to);
        while (at < to) {
          const end = this.#element(bytes, at, to);
          text += 1 + this.check(bytes, view, this.#cursor.at, end, depth + 1);
          at = end;
        }
        return text;
      }
      case tags.anyValue.kvlist: {
        let text = 2;
        let at = this.#content(bytes, from, to);
        while (at < to) {
          const end = this.#element(bytes, at, to);
          this.entries++;
          text += 2 + this.#keyValue(bytes, view, this.#cursor.at, end, depth + 1);
          at = end;
        }
        return text;
      }
      default:
        throw notCanonical;
    }
  }

  /** The bytes that key and value take in a JSON text, without colon and comma. */
  #keyValue(bytes: Uint8Array, view: DataView, from: number, to: number, depth: number): number {
    let at = from;
    let key = 2;
    if (at < to && bytes[at] === tags.keyValue.key) {
      const length = this.#cursor.length(bytes, at + 1);
      at = this.#cursor.at + length;
      if (at > to) {
        throw notCanonical;
      }
      checkText(bytes, view, at - length, at);
      key = jsonStringBytesMax(bytes, at - length, at);
    }
    if (at === to) {
      return key + nullTextBytes;
    }
    if (bytes[at] !== tags.keyValue.value) {
      throw notCanonical;
    }
    return key + this.check(bytes, view, this.#content(bytes, at, to), to, depth);
  }

  /** Where the content of the only field in `[from, to)` begins; it reaches to `to`. */
  #content(bytes: Uint8Array, from: number, to: number): number {
    const length = this.#cursor.length(bytes, from + 1);
    if (this.#cursor.at + length !== to) {
      throw notCanonical;
    }
    return this.#cursor.at;
  }

  /** Where the list element at `at` ends; the cursor is where its content begins. */
  #element(bytes: Uint8Array, at: number, to: number): number {
    if (bytes[at] !== tags.list.values) {
      throw notCanonical;
    }
    const end = this.#cursor.length(bytes, at + 1) + this.#cursor.at;
    if (end > to) {
      throw notCanonical;
    }
    return end;
  }

  #varint(bytes: Uint8Array, from: number, to: number): void {
    this.#cursor.low32(bytes, from);
    if (this.#cursor.at !== to) {
      throw notCanonical;
    }
  }
}

/** A string's bytes in JSON, at most: quotes, six bytes for a control character, six for U+2028 and U+2029. */
function jsonStringBytesMax(bytes: Uint8Array, from: number, to: number): number {
  let escapes = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c || byte === 0xe2) {
      escapes++;
    }
  }
  return 2 + to - from + 5 * escapes;
}
