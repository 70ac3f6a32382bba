/**
 * Finds the keys and values of one message's attributes. It checks the framing of each KeyValue down to a string
 * value; what other values contain is checked by their readers (`value-check.ts`, `rows/value-text.ts`).
 */

import { limits } from "../limits.ts";
import { VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { notCanonical, TooManyMembers } from "./malformed.ts";

/** Numbers an entry takes. */
export const entrySize = 4;
const entriesMin = 64;
/** Attributes whose places are kept for the next body: 64 KiB of them. A list for a million takes 16 MiB. */
const entriesKept = 4096;
/** Of the four bytes tag, length, tag, length: the tags, and the bits that make a length longer than one byte. */
const twoOneByteLengths = 0x80ff80ff | 0;

export class AttributeScan {
  /**
   * Four numbers an attribute, in wire order: where the key's bytes begin, how many, where the value begins, how
   * many. A value of n >= 0 bytes is a string's content; -n means an AnyValue message of n bytes, not a string.
   * A missing value is a string of 0 bytes: both give the empty text.
   */
  entries = new Int32Array(entriesMin * entrySize);
  count = 0;
  /** Bytes that the attributes take in the body: no key and no string is longer. */
  bytes = 0;
  readonly #cursor = new VarintCursor();

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  /** Lets go of a list that one body has made long. */
  trim(): void {
    this.clear();
    if (this.entries.length > entriesKept * entrySize) {
      this.entries = new Int32Array(entriesMin * entrySize);
    }
  }

  /**
   * Takes what most attributes are: from `from` on, fields with the one-byte tag `tag` whose KeyValue has a key, then
   * a value of two bytes or more, and all lengths in one byte. Returns where the first field begins that is anything
   * else; at the latest `to`. `view` shows the body.
   *
   * Two looks of four bytes each find an attribute: tag, length, the key's tag and length; then the value's tag and
   * length, its kind, and a string's length.
   */
  addRun(view: DataView, from: number, to: number, tag: number): number {
    const head = tag | (tags.keyValue.key << 16);
    let { entries } = this;
    let slot = this.count * entrySize;
    let at = from;
    while (at + 4 <= to) {
      const field = view.getInt32(at, true);
      // Positions are below 2^28: "| 0" says so, and spares V8 to look for an overflow.
      const keyAt = (at + 4) | 0;
      const keyLength = field >>> 24;
      const end = (at + 2 + ((field >>> 8) & 0x7f)) | 0;
      const valueAt = (keyAt + keyLength) | 0;
      // A first length of 128 or more, in either byte, shows in the bits that are compared.
      if ((field & twoOneByteLengths) !== head || end > to || valueAt + 4 > end) {
        break;
      }
      const value = view.getInt32(valueAt, true);
      if ((value & 0x80ff) !== tags.keyValue.value || valueAt + 2 + ((value >>> 8) & 0x7f) !== end) {
        break;
      }
      const contentLength = (end - valueAt - 4) | 0;
      const kind = (value >>> 16) & 0xff;
      if (kind === tags.anyValue.string && value >>> 24 !== contentLength) {
        break;
      }
      if (slot + entrySize > entries.length) {
        entries = this.#grow();
      }
      entries[slot] = keyAt;
      entries[slot + 1] = keyLength;
      if (kind === tags.anyValue.string) {
        entries[slot + 2] = valueAt + 4;
        entries[slot + 3] = contentLength;
      } else {
        entries[slot + 2] = valueAt + 2;
        entries[slot + 3] = -contentLength - 2;
      }
      slot = (slot + entrySize) | 0;
      at = end;
    }
    this.count = slot / entrySize;
    this.bytes += at - from;
    return at;
  }

  /** Takes the KeyValue in `bytes[from, to)`. Throws `notCanonical`. */
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
        throw notCanonical;
      }
    }
    let valueAt = at;
    let valueLength = 0;
    if (at < to) {
      if (bytes[at] !== tags.keyValue.value) {
        throw notCanonical;
      }
      let length = bytes[at + 1] ?? 0;
      at += 2;
      if (length >= 0x80) {
        length = this.#cursor.length(bytes, at - 1);
        at = this.#cursor.at;
      }
      // The value must end where the KeyValue ends: nothing follows it in the canonical form.
      if (at + length !== to) {
        throw notCanonical;
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
            throw notCanonical;
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
    this.bytes += to - from;
  }

  #grow(): Int32Array<ArrayBuffer> {
    if (this.entries.length >= limits.membersMax * entrySize) {
      throw new TooManyMembers(`more than ${limits.membersMax} attributes in one list`);
    }
    const larger = new Int32Array(this.entries.length * 2);
    larger.set(this.entries);
    this.entries = larger;
    return larger;
  }
}
