/**
 * A bounds-checked cursor over protobuf bytes. It takes everything that the wire format allows (varints longer than
 * they need to be, unknown fields, groups) and throws at everything else; it never reads outside its range.
 *
 * This is the careful reader, for bodies in an unusual form and for naming what is wrong. The fast readers have
 * their own loops over the canonical form.
 *
 * Source: protobuf.dev/programming-guides/encoding/.
 */
import { limits } from "../limits.ts";
import { wireType } from "./fields.ts";
import { MalformedBody } from "./malformed.ts";

/** A varint is at most ten bytes: 64 bits, seven a byte. */
const varintBytesMax = 10;

export class WireReader {
  bytes: Uint8Array;
  at: number;
  end: number;

  /** Reads `bytes` from `at` to `end`, both within the array. */
  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Goes on with another range, as a new reader would. */
  use(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  /** `number << 3 | wire type`, unsigned. */
  tag(): number {
    const start = this.at;
    const tag = this.#varint32("tag");
    if (tag >>> 3 === 0) {
      throw malformed("field number 0", start);
    }
    return tag;
  }

  /** The length of what follows, which lies inside the message. */
  length(): number {
    const start = this.at;
    const length = this.#varint32("length");
    // A length past the parent's end would read the neighbour's bytes as ours.
    if (length > this.end - this.at) {
      throw malformed(`length ${length} runs past the end of its message`, start);
    }
    return length;
  }

  /** Steps over a varint of any value. */
  skipVarint(): void {
    const start = this.at;
    for (let i = 0; i < varintBytesMax; i++) {
      if (this.at >= this.end) {
        throw malformed("varint runs past the end of its message", start);
      }
      if ((this.bytes[this.at++] ?? 0) < 0x80) {
        return;
      }
    }
    throw malformed("varint longer than ten bytes", start);
  }

  /** Steps over the value of a field with this tag, groups included. */
  skip(tag: number): void {
    const start = this.at;
    switch (tag & 7) {
      case wireType.varint:
        this.skipVarint();
        return;
      case wireType.fixed64:
        this.#skipFixed(8);
        return;
      case wireType.length: {
        // `this.at += this.length()` would add to the position before the length was read.
        const length = this.length();
        this.at += length;
        return;
      }
      case wireType.groupStart:
        this.#skipGroup(tag >>> 3);
        return;
      case wireType.groupEnd:
        throw malformed("end of a group that did not begin", start);
      case wireType.fixed32:
        this.#skipFixed(4);
        return;
      default:
        throw malformed(`wire type ${tag & 7} does not exist`, start);
    }
  }

  #skipFixed(size: number): void {
    if (size > this.end - this.at) {
      throw malformed(`${size}-byte value runs past the end of its message`, this.at);
    }
    this.at += size;
  }

  /** Groups nest; a loop with its own stack cannot be made to overflow ours. */
  #skipGroup(number: number): void {
    const open = [number];
    while (open.length > 0) {
      const start = this.at;
      if (open.length > limits.depthMax) {
        throw malformed(`groups nested deeper than ${limits.depthMax} levels`, start);
      }
      if (this.done) {
        throw malformed("group without an end", start);
      }
      const tag = this.tag();
      if ((tag & 7) === wireType.groupStart) {
        open.push(tag >>> 3);
      } else if ((tag & 7) === wireType.groupEnd) {
        if (open.pop() !== tag >>> 3) {
          throw malformed("end of a group that did not begin", start);
        }
      } else {
        this.skip(tag);
      }
    }
  }

  /** A varint that must fit into 32 bits. Longer encodings of small values are legal. */
  #varint32(what: string): number {
    const start = this.at;
    const first = this.bytes[start] ?? 0;
    if (first < 0x80 && start < this.end) {
      this.at = start + 1;
      return first;
    }
    let value = 0;
    for (let i = 0; i < varintBytesMax; i++) {
      if (this.at >= this.end) {
        throw malformed(`${what} runs past the end of its message`, start);
      }
      const byte = this.bytes[this.at++] ?? 0;
      const bits = byte & 0x7f;
      if ((i === 4 && bits > 0x0f) || (i > 4 && bits !== 0)) {
        throw malformed(`${what} is larger than 32 bits`, start);
      }
      if (i < 5) {
        value += bits * 2 ** (7 * i);
      }
      if (byte < 0x80) {
        return value;
      }
    }
    throw malformed(`${what} longer than ten bytes`, start);
  }
}

function malformed(reason: string, byte: number): MalformedBody {
  return new MalformedBody(`${reason} at byte ${byte}`);
}
