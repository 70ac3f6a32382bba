/**
 * Writes protobuf messages front to back. A message's length comes before it and is not known until it is written,
 * so one byte is kept free for it; a longer length moves the message by a few bytes, which costs one memmove per level.
 */
import { assert } from "../assert.ts";
import { MalformedBody } from "./malformed.ts";

const bufferBytesMin = 256;
/** A 64-bit varint, a tag and a fixed64 each fit. */
const scalarBytesMax = 16;
/** So few are copied faster one by one than by a view and a call. */
const copyByLoopBytesMax = 48;

export class WireWriter {
  #bytes: Uint8Array;
  #at = 0;
  readonly #bytesMax: number;

  /** `bytesExpected` avoids growing; it is not a limit. Beyond `bytesMax` a write throws `MalformedBody`. */
  constructor(bytesExpected: number, bytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesMax = Math.max(bytesMax, bufferBytesMin);
    this.#bytes = new Uint8Array(Math.max(bytesExpected, bufferBytesMin));
  }

  /** A view of what was written so far. It ends the writer's life: later writes may change it. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** A varint of an unsigned number below 2^53. */
  varint(value: number): void {
    this.#reserve(scalarBytesMax);
    if ((value & 0x7f) === value) {
      this.#bytes[this.#at++] = value;
      return;
    }
    assert(value >= 0 && Number.isSafeInteger(value), "a varint is an unsigned integer");
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  /** A varint of 64 bits; negative numbers as two's complement, ten bytes long. */
  varint64(value: bigint): void {
    this.#reserve(scalarBytesMax);
    if (value >= 0n && value < 0x20_0000_0000_0000n) {
      this.varint(Number(value));
      return;
    }
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#at++] = Number(rest);
  }

  /** 64 bits, little-endian. */
  fixed64(value: bigint): void {
    this.#reserve(scalarBytesMax);
    for (const half of [value, value >> 32n]) {
      let rest = Number(BigInt.asUintN(32, half));
      for (let i = 0; i < 4; i++) {
        this.#bytes[this.#at++] = rest & 0xff;
        rest >>>= 8;
      }
    }
  }

  /** The same, of the number's low and high 32 bits. */
  fixed64Halves(low: number, high: number): void {
    this.fixed32(low);
    this.fixed32(high);
  }

  /** 32 bits, little-endian. */
  fixed32(value: number): void {
    this.#reserve(scalarBytesMax);
    for (let i = 0; i < 4; i++) {
      this.#bytes[this.#at++] = (value >>> (8 * i)) & 0xff;
    }
  }

  double(value: number): void {
    this.#reserve(scalarBytesMax);
    new DataView(this.#bytes.buffer).setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  /** The bytes of `source` from `from` to `to`, as they are. */
  raw(source: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from);
    if (to - from > copyByLoopBytesMax) {
      this.#bytes.set(source.subarray(from, to), this.#at);
      this.#at += to - from;
      return;
    }
    const bytes = this.#bytes;
    let at = this.#at;
    for (let i = from; i < to; i++) {
      bytes[at++] = source[i] ?? 0;
    }
    this.#at = at;
  }

  /** Begins a length-delimited message. Give the result to `close`. */
  open(): number {
    this.#reserve(1);
    return ++this.#at;
  }

  /** Ends what `open` began, and writes its length. */
  close(start: number): void {
    const length = this.#at - start;
    let extra = 0;
    for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      extra++;
    }
    if (extra > 0) {
      this.#reserve(extra);
      this.#bytes.copyWithin(start + extra, start, this.#at);
    }
    // Not by `varint`: it makes room behind the length, where the message is, and growing the buffer would not move that.
    let at = start - 1;
    let rest = length;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#bytes[at++] = (rest % 0x80) | 0x80;
    }
    this.#bytes[at] = rest;
    this.#at += extra;
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#bytes.length) {
      return;
    }
    const needed = this.#at + count;
    if (needed > this.#bytesMax) {
      throw new MalformedBody(`its repaired form has more than ${this.#bytesMax} bytes`);
    }
    const larger = new Uint8Array(Math.min(Math.max(this.#bytes.length * 2, needed), this.#bytesMax));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}
