/**
 * Counts the blocks of a deflate stream before it is inflated. A block costs a decoder tables of its own, about 10 µs, and may
 * hold nothing: 20 MiB of them inflate to no byte at all in 2.5 s, and no bound on the output ends that. So a long body is
 * walked first, without making any output, and refused where its blocks hold too little; an ordinary compressor closes a block
 * after tens of kilobytes. The walk ends where so little is left that its blocks may be what they are.
 *
 * Source: RFC 1951 (deflate), RFC 1952 (gzip), RFC 1950 (zlib). What is malformed is left to the decoder, which names it: it can
 * do no more work than was walked.
 */

import { limits } from "./limits.ts";

/**
 * More blocks than this in one body, and than one per so many bytes of output, are refused. Flushed streams have small ones, and
 * so has a compressor with little memory: zlib closes a block after 16,384 symbols, and at `memLevel` 2 after 256.
 */
const blocksFree = 1024;
const blockOutputBytesMin = 250;

export type DeflateScan =
  | { readonly kind: "ordinary" }
  /** Its blocks hold too little. */
  | { readonly kind: "too_many_blocks"; readonly blocks: number };

const primaryBits = 9;
const codeBitsMax = 15;
const literalCodes = 288;
const distanceCodes = 32;
const endOfBlock = 256;

/** RFC 1951 section 3.2.5, by symbol from 257: the length, and the extra bits behind it. */
const lengthBase = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
];
const lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/** Section 3.2.7: in which order the lengths of the code length codes stand. */
const codeLengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Leaves the walk: the stream is cut off or malformed. */
class Malformed extends Error {}

/** A canonical Huffman code: short codes by one look, longer ones bit by bit. */
class HuffmanCode {
  /** By the next `primaryBits` bits: the symbol and, in the lowest four bits, its code's length; 0: it is longer. */
  readonly #table = new Uint16Array(1 << primaryBits);
  readonly #counts = new Uint16Array(codeBitsMax + 1);
  readonly #symbols = new Uint16Array(literalCodes);
  readonly #nextCode = new Uint16Array(codeBitsMax + 1);
  readonly #offsets = new Uint16Array(codeBitsMax + 1);

  /** `lengths[from, to)`: bits of each symbol's code. */
  read(lengths: Uint8Array, from: number, to: number): void {
    const [table, counts, nextCode, offsets] = [this.#table, this.#counts, this.#nextCode, this.#offsets];
    counts.fill(0);
    table.fill(0);
    for (let i = from; i < to; i++) {
      counts[lengths[i] ?? 0] = (counts[lengths[i] ?? 0] ?? 0) + 1;
    }
    counts[0] = 0;
    let code = 0;
    let offset = 0;
    let left = 1;
    for (let bits = 1; bits <= codeBitsMax; bits++) {
      const count = counts[bits] ?? 0;
      left = 2 * left - count;
      if (left < 0) {
        throw new Malformed();
      }
      nextCode[bits] = code;
      offsets[bits] = offset;
      code = (code + count) << 1;
      offset += count;
    }
    for (let symbol = 0; symbol < to - from; symbol++) {
      const bits = lengths[from + symbol] ?? 0;
      if (bits === 0) {
        continue;
      }
      const own = nextCode[bits] ?? 0;
      nextCode[bits] = own + 1;
      const at = offsets[bits] ?? 0;
      offsets[bits] = at + 1;
      this.#symbols[at] = symbol;
      if (bits <= primaryBits) {
        let reversed = 0;
        for (let i = 0; i < bits; i++) {
          reversed |= ((own >>> i) & 1) << (bits - 1 - i);
        }
        for (let i = reversed; i < table.length; i += 1 << bits) {
          table[i] = (symbol << 4) | bits;
        }
      }
    }
  }

  /** What the next bits say, as in the table: the symbol and its code's length. */
  next(bits: number): number {
    const entry = this.#table[bits & ((1 << primaryBits) - 1)] ?? 0;
    return entry === 0 ? this.#longer(bits) : entry;
  }

  #longer(bits: number): number {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length <= codeBitsMax; length++) {
      code |= (bits >>> (length - 1)) & 1;
      const count = this.#counts[length] ?? 0;
      if (code - count < first) {
        return ((this.#symbols[index + code - first] ?? 0) << 4) | length;
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Malformed();
  }
}

const literals = new HuffmanCode();
const distances = new HuffmanCode();
const lengths = new Uint8Array(literalCodes + distanceCodes);

/** Walks a body; one at a time, for the tables are shared. `bytesMax`: of output, behind which the decoder ends anyway. */
export function scanDeflate(body: Uint8Array, wrapper: "gzip" | "deflate", bytesMax: number): DeflateScan {
  const walk = new DeflateWalk(body, bytesMax);
  try {
    if (wrapper === "deflate") {
      walk.zlibStream();
    } else {
      walk.gzipMembers();
    }
  } catch (error) {
    if (!(error instanceof Malformed)) {
      throw error;
    }
  }
  return walk.isOver() ? { kind: "too_many_blocks", blocks: walk.blocks } : { kind: "ordinary" };
}

class DeflateWalk {
  readonly #body: Uint8Array;
  readonly #bytesMax: number;
  #at = 0;
  #bits = 0;
  #bitCount = 0;
  #output = 0;
  /** Blocks and members. */
  blocks = 0;

  constructor(body: Uint8Array, bytesMax: number) {
    this.#body = new Uint8Array(body.buffer, body.byteOffset, body.length);
    this.#bytesMax = bytesMax;
  }

  isOver(): boolean {
    return this.blocks > blocksFree + this.#output / blockOutputBytesMin;
  }

  zlibStream(): void {
    this.#at = 2;
    this.#stream();
  }

  /** RFC 1952 section 2.2: members stand one behind another. */
  gzipMembers(): void {
    const body = this.#body;
    while (this.#at < body.length && body[this.#at] === 0x1f && !this.#isEnough()) {
      this.blocks++;
      const flags = body[this.#at + 3] ?? 0;
      this.#at += 10;
      if ((flags & 4) !== 0) {
        this.#at += 2 + (body[this.#at] ?? 0) + 256 * (body[this.#at + 1] ?? 0);
      }
      for (const flag of [8, 16]) {
        if ((flags & flag) !== 0) {
          const end = body.indexOf(0, this.#at);
          this.#at = end < 0 ? body.length : end + 1;
        }
      }
      this.#at += (flags & 2) !== 0 ? 2 : 0;
      this.#stream();
      this.#at += 8; // CRC-32 and length
    }
  }

  #isEnough(): boolean {
    const left = this.#body.length - this.#at;
    return this.isOver() || this.#output > this.#bytesMax || left <= limits.deflateUnwalkedBytesMax;
  }

  /** From one block to the last, and to the next whole byte. */
  #stream(): void {
    this.#bits = 0;
    this.#bitCount = 0;
    for (let isLast = false; !isLast && !this.#isEnough(); ) {
      this.blocks++;
      isLast = this.#take(1) === 1;
      switch (this.#take(2)) {
        case 0:
          this.#storedBlock();
          break;
        case 1:
          lengths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288).fill(5, 288, 320);
          literals.read(lengths, 0, literalCodes);
          distances.read(lengths, literalCodes, literalCodes + distanceCodes);
          this.#symbols();
          break;
        case 2:
          this.#dynamicCodes();
          this.#symbols();
          break;
        default:
          throw new Malformed();
      }
    }
    this.#at -= this.#bitCount >>> 3;
  }

  #storedBlock(): void {
    this.#at -= this.#bitCount >>> 3;
    this.#bits = 0;
    this.#bitCount = 0;
    const length = (this.#body[this.#at] ?? 0) + 256 * (this.#body[this.#at + 1] ?? 0);
    this.#at += 4 + length;
    this.#output += length;
    if (this.#at > this.#body.length) {
      throw new Malformed();
    }
  }

  #dynamicCodes(): void {
    const literalCount = this.#take(5) + 257;
    const distanceCount = this.#take(5) + 1;
    const codeLengthCount = this.#take(4) + 4;
    lengths.fill(0);
    for (let i = 0; i < codeLengthCount; i++) {
      lengths[codeLengthOrder[i] ?? 0] = this.#take(3);
    }
    literals.read(lengths, 0, 19);
    const total = literalCount + distanceCount;
    for (let i = 0; i < total; ) {
      const symbol = this.#symbol(literals);
      if (symbol < 16) {
        lengths[i++] = symbol;
        continue;
      }
      const repeated = symbol === 16 ? (lengths[i - 1] ?? 0) : 0;
      const times =
        symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      if (i + times > total) {
        throw new Malformed();
      }
      lengths.fill(repeated, i, i + times);
      i += times;
    }
    literals.read(lengths, 0, literalCount);
    distances.read(lengths, literalCount, total);
  }

  /** The symbols of a block, as far as they tell how much it holds. */
  #symbols(): void {
    for (;;) {
      const symbol = this.#symbol(literals);
      if (symbol < endOfBlock) {
        this.#output++;
        continue;
      }
      if (symbol === endOfBlock) {
        return;
      }
      const extra = lengthExtra[symbol - 257];
      if (extra === undefined) {
        throw new Malformed();
      }
      this.#output += (lengthBase[symbol - 257] ?? 0) + (extra === 0 ? 0 : this.#take(extra));
      const distance = this.#symbol(distances);
      if (distance > 3) {
        this.#take((distance >>> 1) - 1);
      }
      if (this.#output > this.#bytesMax) {
        return;
      }
    }
  }

  #symbol(code: HuffmanCode): number {
    this.#fill();
    const entry = code.next(this.#bits);
    this.#drop(entry & 15);
    return entry >>> 4;
  }

  #take(count: number): number {
    this.#fill();
    const value = this.#bits & ((1 << count) - 1);
    this.#drop(count);
    return value;
  }

  #fill(): void {
    const body = this.#body;
    while (this.#bitCount < 24 && this.#at < body.length) {
      this.#bits |= (body[this.#at++] ?? 0) << this.#bitCount;
      this.#bitCount += 8;
    }
  }

  #drop(count: number): void {
    if (count > this.#bitCount) {
      throw new Malformed();
    }
    this.#bits >>>= count;
    this.#bitCount -= count;
  }
}
