/**
 * The keys of one LowCardinality column: each distinct key once, numbered in the order of its first appearance, so
 * that the same rows give the same bytes whatever was written before.
 *
 * The keys' bytes lie one after another as ClickHouse Strings, which is how they stand in the block.
 */
import { assert } from "../assert.ts";

const bytesFirst = 1024;
const keysFirst = 64;
const slotsFirst = 256;
/** A string's length as a varint. */
const varintBytesMax = 5;
/**
 * Somebody can choose keys that all hash alike. Past this many steps keys are found by V8's own seeded hash, so that
 * a hostile payload costs a constant more for each key and not a square.
 */
const probesMax = 32;

export class Dictionary {
  bytes = new Uint8Array(bytesFirst);
  view = new DataView(this.bytes.buffer);
  /** Bytes used. */
  at = 0;
  /** Keys held. */
  count = 0;
  /** Of key i: where its content begins in `bytes`, and its length. */
  keyAt = new Int32Array(keysFirst);
  keyLength = new Int32Array(keysFirst);
  /** Open addressing, linear probing. Two places a slot: 1 + the key's number, or 0, and the key's hash, so that a look is one. */
  #slots = new Int32Array(2 * slotsFirst);
  /** Keys that were not placed within `probesMax` steps, by their bytes as Latin-1. */
  readonly #crowded = new Map<string, number>();

  /** The number of the key `bytes[from, from + length)`, new or known. `view` shows the same bytes. */
  intern(bytes: Uint8Array, view: DataView, from: number, length: number): number {
    const hash = hashOf(bytes, view, from, length);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (hash << 1) & mask;
    for (let probe = 0; probe < probesMax; probe++) {
      const taken = slots[slot] ?? 0;
      if (taken === 0) {
        return this.#place(slot, hash, bytes, from, length);
      }
      if (slots[slot + 1] === hash && this.equals(taken - 1, view, from, length)) {
        return taken - 1;
      }
      slot = (slot + 2) & mask;
    }
    const text = latin1(bytes, from, length);
    const known = this.#crowded.get(text);
    if (known !== undefined) {
      return known;
    }
    const key = this.#store(bytes, from, length);
    this.#crowded.set(text, key);
    return key;
  }

  /** The number of a key that is known, or -1. */
  find(bytes: Uint8Array, view: DataView, from: number, length: number): number {
    const hash = hashOf(bytes, view, from, length);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (hash << 1) & mask;
    for (let probe = 0; probe < probesMax; probe++) {
      const taken = slots[slot] ?? 0;
      if (taken === 0) {
        return -1;
      }
      if (slots[slot + 1] === hash && this.equals(taken - 1, view, from, length)) {
        return taken - 1;
      }
      slot = (slot + 2) & mask;
    }
    return this.#crowded.get(latin1(bytes, from, length)) ?? -1;
  }

  /** Bytes of memory held. */
  get heldBytes(): number {
    return this.bytes.length + 4 * (this.#slots.length + 2 * this.keyAt.length);
  }

  /** Whether key number `key` is what `view` shows from `from` on, `length` bytes. */
  equals(key: number, view: DataView, from: number, length: number): boolean {
    return this.keyLength[key] === length && equalBytes(this.view, this.keyAt[key] ?? 0, view, from, length);
  }

  /** Forgets the keys from number `count` on. */
  truncate(count: number): void {
    assert(count <= this.count, "a dictionary is cut where it has been");
    if (count === this.count) {
      return;
    }
    this.count = count;
    this.at = count === 0 ? 0 : (this.keyAt[count - 1] ?? 0) + (this.keyLength[count - 1] ?? 0);
    if (count === 0) {
      this.#crowded.clear();
      this.#slots.fill(0);
    } else {
      this.#rehash(this.#slots.length);
    }
  }

  #place(slot: number, hash: number, bytes: Uint8Array, from: number, length: number): number {
    const key = this.#store(bytes, from, length);
    this.#slots[slot] = key + 1;
    this.#slots[slot + 1] = hash;
    let wanted = this.#slots.length;
    // At once for all keys, those in `#crowded` too: by one step per key they would be placed anew each time.
    while (this.count * 4 > wanted) {
      wanted *= 2;
    }
    if (wanted > this.#slots.length) {
      this.#rehash(wanted);
    }
    return key;
  }

  #store(bytes: Uint8Array, from: number, length: number): number {
    const key = this.count++;
    if (key === this.keyAt.length) {
      this.keyAt = doubled(this.keyAt);
      this.keyLength = doubled(this.keyLength);
    }
    const needed = this.at + varintBytesMax + length;
    if (needed > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.bytes.length * 2, needed));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    let rest = length;
    while (rest >= 0x80) {
      this.bytes[this.at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.at++] = rest;
    this.bytes.set(bytes.subarray(from, from + length), this.at);
    this.keyAt[key] = this.at;
    this.keyLength[key] = length;
    this.at += length;
    return key;
  }

  /** Places the keys below `count` anew. In the order of the old slots, so that the new ones are written one after the other. */
  #rehash(length: number): void {
    const old = this.#slots;
    const crowded = [...this.#crowded];
    this.#slots = new Int32Array(length);
    this.#crowded.clear();
    for (let slot = 0; slot < old.length; slot += 2) {
      const taken = old[slot] ?? 0;
      if (taken > 0 && taken <= this.count) {
        this.#placeAgain(taken - 1, old[slot + 1] ?? 0);
      }
    }
    for (const [, key] of crowded) {
      if (key < this.count) {
        this.#placeAgain(key, hashOf(this.bytes, this.view, this.keyAt[key] ?? 0, this.keyLength[key] ?? 0));
      }
    }
  }

  #placeAgain(key: number, hash: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (hash << 1) & mask;
    for (let probe = 0; probe < probesMax; probe++) {
      if (slots[slot] === 0) {
        slots[slot] = key + 1;
        slots[slot + 1] = hash;
        return;
      }
      slot = (slot + 2) & mask;
    }
    const from = this.keyAt[key] ?? 0;
    this.#crowded.set(latin1(this.bytes, from, this.keyLength[key] ?? 0), key);
  }
}

/** Whether `length` bytes of `a` from `aFrom` on are those of `b` from `bFrom` on. */
export function equalBytes(a: DataView, aFrom: number, b: DataView, bFrom: number, length: number): boolean {
  const last = length - 8;
  if (last < 0) {
    return equalShort(a, aFrom, b, bFrom, length);
  }
  for (let i = 0; i < last; i += 8) {
    if (a.getBigUint64(aFrom + i, true) !== b.getBigUint64(bFrom + i, true)) {
      return false;
    }
  }
  // The last word overlaps the one before it: cheaper than a loop over the rest.
  return a.getBigUint64(aFrom + last, true) === b.getBigUint64(bFrom + last, true);
}

/** `equalBytes` for less than eight bytes. */
function equalShort(a: DataView, aFrom: number, b: DataView, bFrom: number, length: number): boolean {
  if (length >= 4) {
    const last = length - 4;
    return (
      a.getInt32(aFrom, true) === b.getInt32(bFrom, true) &&
      a.getInt32(aFrom + last, true) === b.getInt32(bFrom + last, true)
    );
  }
  for (let i = 0; i < length; i++) {
    if (a.getUint8(aFrom + i) !== b.getUint8(bFrom + i)) {
      return false;
    }
  }
  return true;
}

/** Four bytes at a step, then the rest; multiplication spreads them over the low bits. `view` shows the same bytes. */
export function hashOf(bytes: Uint8Array, view: DataView, from: number, length: number): number {
  let hash = length;
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(from + i, true), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (let i = words; i < length; i++) {
    hash = Math.imul(hash ^ (bytes[from + i] ?? 0), 0x85ebca6b);
    hash ^= hash >>> 13;
  }
  return hash ^ (hash >>> 16);
}

function latin1(bytes: Uint8Array, from: number, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) {
    text += String.fromCharCode(bytes[from + i] ?? 0);
  }
  return text;
}

function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
