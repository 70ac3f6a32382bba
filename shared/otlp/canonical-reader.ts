/**
 * What the fast readers share. They read the canonical form (`canonical-form.ts`) with bare loops over the bytes, check every
 * length against its message, and throw `notCanonical` at anything else. They explain nothing: the catcher of `notCanonical`
 * lets `toCanonicalForm` decide and explain.
 *
 * A byte is read as `bytes[at] ?? 0`. Beyond the array that gives 0 and does no harm, because each value's end is
 * compared with its message's end before the value is used.
 */

import { limits } from "../limits.ts";
import { notCanonical, TooManyMembers } from "./malformed.ts";
import { WireReader } from "./wire-reader.ts";

/** A length fits into five bytes unless somebody pads it further; then it is not canonical. */
const lengthBytesMax = 5;
/** A body has less than 2^28 bytes. A longer length is wrong, and the slow reader says so. */
const lengthBitsMax = 28;
const varintBytesMax = 10;

/** Reads the varints of more than one byte, which are rare enough for a call. */
export class VarintCursor {
  /** Where the last varint ended. */
  at = 0;

  /**
   * A length. .NET's exporter pads its lengths to four bytes, so long encodings are common. Everything here is small
   * integers on purpose: one double makes doubles of all positions that are computed from it.
   */
  length(bytes: Uint8Array, from: number): number {
    let value = 0;
    for (let i = 0; i < lengthBytesMax; i++) {
      const byte = bytes[from + i] ?? 0;
      if (7 * i < lengthBitsMax) {
        value |= (byte & 0x7f) << (7 * i);
      } else if (byte !== 0) {
        throw notCanonical;
      }
      if (byte < 0x80) {
        this.at = from + i + 1;
        return value;
      }
    }
    throw notCanonical;
  }

  /** The low 32 bits of a varint as a signed number, as protobuf reads an enum. */
  low32(bytes: Uint8Array, from: number): number {
    let value = 0;
    for (let i = 0; i < varintBytesMax; i++) {
      const byte = bytes[from + i] ?? 0;
      if (i < lengthBytesMax) {
        value |= (byte & 0x7f) << (7 * i);
      }
      if (byte < 0x80) {
        this.at = from + i + 1;
        return value;
      }
    }
    throw notCanonical;
  }
}

/**
 * Steps over an unknown field, whose tag begins at `from`, and returns where it ends. `numberMax` is the message's
 * highest known field: a tag that comes here with a known number has the wrong wire type or a padded tag.
 */
export function skipUnknown(bytes: Uint8Array, from: number, to: number, numberMax: number): number {
  const reader = new WireReader(bytes, from, to);
  const tag = reader.tag();
  if (tag >>> 3 <= numberMax) {
    throw notCanonical;
  }
  reader.skip(tag);
  return reader.at;
}

const rangesMin = 32;
/** Kept for the next message or body: 64 KiB. */
const rangesKept = 8192;

/** A growing list of `[from, to)` ranges, used again for the next message. */
export class Ranges {
  /** Pairs. Only the first `2 * count` numbers are ours. */
  at = new Int32Array(2 * rangesMin);
  count = 0;

  clear(): void {
    this.count = 0;
  }

  /** Lets go of a list that one body has made long. */
  trim(): void {
    this.clear();
    if (this.at.length > 2 * rangesKept) {
      this.at = new Int32Array(2 * rangesMin);
    }
  }

  add(from: number, to: number): void {
    const slot = this.count * 2;
    if (slot + 2 > this.at.length) {
      if (this.count >= limits.membersMax) {
        throw new TooManyMembers(`more than ${limits.membersMax} members in one list`);
      }
      const larger = new Int32Array(this.at.length * 2);
      larger.set(this.at);
      this.at = larger;
    }
    this.at[slot] = from;
    this.at[slot + 1] = to;
    this.count++;
  }
}
