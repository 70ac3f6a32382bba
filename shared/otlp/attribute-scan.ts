/**
 * Finds the keys and values of one message's attributes. It checks the framing of each KeyValue down to a string
 * value; what other values contain is checked by whoever reads them (`value-check.ts`, `rows/any-value.ts`).
 */
import { tags } from "./fields.ts";
import { notPlain } from "./malformed.ts";
import { VarintCursor } from "./plain-reader.ts";

/** Numbers an entry takes. */
export const entrySize = 4;
const entriesMin = 64;

export class AttributeScan {
  /**
   * Four numbers an attribute, in wire order: where the key's bytes begin, how many, where the value begins, how
   * many. A value of n >= 0 bytes is a string's content; -n means an AnyValue message of n bytes, not a string.
   * A missing value is a string of 0 bytes: both give the empty text.
   */
  entries = new Int32Array(entriesMin * entrySize);
  count = 0;
  readonly #cursor = new VarintCursor();

  clear(): void {
    this.count = 0;
  }

  /** Takes the KeyValue in `bytes[from, to)`. Throws `notPlain`. */
  add(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    let keyAt = from;
    let keyLength = 0;
    if (at < to && bytes[at] === tags.keyValue.key) {
      keyLength = bytes[at + 1] ?? 0;
      at += 2;
      if (keyLength >= 0x80) {
        keyLength = this.#cursor.length(bytes, at - 1);
        at = this.#cursor.at;
      }
      keyAt = at;
      at += keyLength;
      if (at > to) {
        throw notPlain;
      }
    }
    let valueAt = at;
    let valueLength = 0;
    if (at < to) {
      if (bytes[at] !== tags.keyValue.value) {
        throw notPlain;
      }
      let length = bytes[at + 1] ?? 0;
      at += 2;
      if (length >= 0x80) {
        length = this.#cursor.length(bytes, at - 1);
        at = this.#cursor.at;
      }
      // The value must end where the KeyValue ends: nothing stands behind it in the plain form.
      if (at + length !== to) {
        throw notPlain;
      }
      valueAt = at;
      if (length > 0) {
        if (bytes[at] === tags.anyValue.string) {
          valueLength = bytes[at + 1] ?? 0;
          at += 2;
          if (valueLength >= 0x80) {
            valueLength = this.#cursor.length(bytes, at - 1);
            at = this.#cursor.at;
          }
          if (at + valueLength !== to) {
            throw notPlain;
          }
          valueAt = at;
        } else {
          valueLength = -length;
        }
      }
    }
    const slot = this.count * entrySize;
    if (slot + entrySize > this.entries.length) {
      this.#grow();
    }
    this.entries[slot] = keyAt;
    this.entries[slot + 1] = keyLength;
    this.entries[slot + 2] = valueAt;
    this.entries[slot + 3] = valueLength;
    this.count++;
  }

  #grow(): void {
    const larger = new Int32Array(this.entries.length * 2);
    larger.set(this.entries);
    this.entries = larger;
  }
}
