/**
 * The ids that were placed last, in memory and exactly: most of what is claimed is new, and what is new is looked for among
 * these first. There are two tables: when the newer one is full, the older one is given up. So a row knows by its generation
 * whether all of its ids are still here.
 *
 * Which ids share a slot depends on a salt that nobody outside knows. Without one a sender tries bodies until their ids are neighbours
 * in the table, 64 tries for each: 60,000 of these made a look of everybody's ids 60 times as long, and one of its own 300 times.
 */
import { assert } from "../assert.ts";
import { payloadIdBytes } from "../payload-key.ts";
import { placeOfId } from "./id-records.ts";

const words = payloadIdBytes / 4;
/** 24 bytes each, and not more than half of them in use. */
const slotsFirst = 256;

/** So many random bytes decide which ids share a slot. */
export const hotSaltBytes = 4 * words;

export class HotIds {
  readonly #idsMax: number;
  readonly #salt: Uint32Array;
  #newer: IdTable;
  #older: IdTable;
  #generation = 1;

  /** `idsMax`: of each table. `salt`: `hotSaltBytes`, random. */
  constructor(idsMax: number, salt: Uint8Array) {
    assert(salt.length === hotSaltBytes, "a salt has a number for each word of an id");
    this.#idsMax = idsMax;
    this.#salt = Uint32Array.from({ length: words }, (_, k) => placeOfId(salt, 4 * k));
    this.#newer = new IdTable(this.#salt);
    this.#older = new IdTable(this.#salt);
  }

  /** Places a group's ids, 16 bytes each, `width` apart. Answers with their generation. */
  add(bytes: Uint8Array, width: number, seq: number): number {
    if (this.#newer.count + bytes.length / width > this.#idsMax && this.#newer.count > 0) {
      this.#older = this.#newer;
      this.#newer = new IdTable(this.#salt, this.#older.slots);
      this.#generation++;
    }
    for (let at = 0; at < bytes.length; at += width) {
      this.#newer.set(bytes, at, seq);
    }
    return this.#generation;
  }

  /** The group in which an id was placed last. Undefined: not in one that is hot. */
  get(id: Uint8Array): number | undefined {
    return this.#newer.get(id) ?? this.#older.get(id);
  }

  /** All ids of this generation and of later ones are here. */
  get hotFrom(): number {
    return Math.max(this.#generation - 1, 1);
  }

  get idsMax(): number {
    return this.#idsMax;
  }
}

/** Open addressing: an id's four words, and the number of its group. 0: nothing is here. */
class IdTable {
  readonly #salt: Uint32Array;
  #ids: Uint32Array;
  #seqs: Float64Array;
  count = 0;

  constructor(salt: Uint32Array, slots = slotsFirst) {
    this.#salt = salt;
    this.#ids = new Uint32Array(slots * words);
    this.#seqs = new Float64Array(slots);
  }

  get slots(): number {
    return this.#seqs.length;
  }

  get(id: Uint8Array): number | undefined {
    const seq = this.#seqs[this.#slotOf(id, 0)];
    return seq === 0 ? undefined : seq;
  }

  set(bytes: Uint8Array, at: number, seq: number): void {
    if (2 * (this.count + 1) > this.#seqs.length) {
      this.#grow();
    }
    const slot = this.#slotOf(bytes, at);
    if (this.#seqs[slot] === 0) {
      this.count++;
      for (let k = 0; k < words; k++) {
        this.#ids[slot * words + k] = placeOfId(bytes, at + 4 * k);
      }
    }
    this.#seqs[slot] = seq;
  }

  /** Where the id is, or would be. */
  #slotOf(bytes: Uint8Array, at: number): number {
    const mask = this.#seqs.length - 1;
    let slot = saltedHash(bytes, at, this.#salt) & mask;
    while (this.#seqs[slot] !== 0 && !this.#isAt(slot, bytes, at)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #isAt(slot: number, bytes: Uint8Array, at: number): boolean {
    for (let k = 0; k < words; k++) {
      if (this.#ids[slot * words + k] !== placeOfId(bytes, at + 4 * k)) {
        return false;
      }
    }
    return true;
  }

  #grow(): void {
    const ids = this.#ids;
    const seqs = this.#seqs;
    this.#ids = new Uint32Array(2 * ids.length);
    this.#seqs = new Float64Array(2 * seqs.length);
    this.count = 0;
    const bytes = new Uint8Array(payloadIdBytes);
    const view = new DataView(bytes.buffer);
    for (const [slot, seq] of seqs.entries()) {
      if (seq !== 0) {
        for (let k = 0; k < words; k++) {
          view.setUint32(4 * k, ids[slot * words + k] ?? 0);
        }
        this.set(bytes, 0, seq);
      }
    }
  }
}

/**
 * Each word of the id by a random factor: two ids have one sum by chance alone, whatever they were chosen for, and ids that were chosen to
 * be near each other under one salt are not under another. The last steps bring what only the sum's higher bits tell into the lower ones
 * (the end of MurmurHash3).
 */
export function saltedHash(bytes: Uint8Array, at: number, salt: Uint32Array): number {
  let hash = 0;
  for (let k = 0; k < words; k++) {
    hash = (hash + Math.imul(placeOfId(bytes, at + 4 * k), (salt[k] ?? 0) | 1)) | 0;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
