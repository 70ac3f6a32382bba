/**
 * A Bloom filter for the ids of a row: says for certain that an id is not in it, and mostly so where it is not. Where it
 * does not, the row is read, 64 KiB of it. 22 bits an id and 6 probes let one in 5,000 through. Rows of an earlier version have filters
 * of 16 bits an id: how large one is, says its length. The probes are the same ones for ever.
 *
 * It has no salt, unlike the table of hot ids: a sender that knows what a row has (its own payloads) can choose ids that its filter lets
 * through. Each has the row read once, which is what the same bytes cost that are sent again, and no other sender's id does.
 */
import { payloadIdBytes } from "../payload-key.ts";
import { placeOfId, type Records } from "./id-records.ts";

const bitsAnId = 22;
const probes = 6;

/** What filters ask of ids: where an id's first bit is, and how far it is from each to the next. */
export class IdHashes {
  readonly firsts: Uint32Array;
  readonly steps: Uint32Array;

  constructor(ids: readonly Uint8Array[]) {
    this.firsts = new Uint32Array(ids.length);
    this.steps = new Uint32Array(ids.length);
    for (const [i, id] of ids.entries()) {
      this.firsts[i] = firstHash(id, 0);
      this.steps[i] = secondHash(id, 0);
    }
  }

  /**
   * Of the ids from one index to another, those that the row may have: how many they are. Their indexes are put into `held`, from its
   * beginning on, which has room for one more than that many.
   */
  heldBy(filter: Uint8Array, from: number, to: number, held: Uint32Array): number {
    const share = (filter.length * 8) / 2 ** 32;
    // First one bit of each, without a branch: what the processor waits for is the memory, and so it waits for several at once.
    let possible = 0;
    for (let index = from; index < to; index++) {
      const bit = Math.floor((this.firsts[index] ?? 0) * share);
      held[possible] = index;
      possible += ((filter[bit >>> 3] ?? 0) >>> (bit & 7)) & 1;
    }
    let count = 0;
    for (const index of held.subarray(0, possible)) {
      if (this.mayHold(filter, index)) {
        held[count++] = index;
      }
    }
    return count;
  }

  /** False: the row has no such id. */
  mayHold(filter: Uint8Array, index: number): boolean {
    // An even share of the filter's bits for each share of 2^32.
    const share = (filter.length * 8) / 2 ** 32;
    const step = this.steps[index] ?? 0;
    let hash = this.firsts[index] ?? 0;
    for (let i = 0; i < probes; i++) {
      const bit = Math.floor(hash * share);
      if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) {
        return false;
      }
      hash = (hash + step) >>> 0;
    }
    return true;
  }
}

export function makeFilter({ bytes, width }: Records): Uint8Array {
  const filter = new Uint8Array(Math.ceil(((bytes.length / width) * bitsAnId) / 8));
  const share = (filter.length * 8) / 2 ** 32;
  for (let at = 0; at < bytes.length; at += width) {
    let hash = firstHash(bytes, at);
    const by = secondHash(bytes, at);
    for (let i = 0; i < probes; i++) {
      const bit = Math.floor(hash * share);
      filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
      hash = (hash + by) >>> 0;
    }
  }
  return filter;
}

/** Behind their first four bytes ids are hashes; those are mixed in, for the tests' ids differ in nothing else. */
function firstHash(bytes: Uint8Array, at: number): number {
  return (Math.imul(placeOfId(bytes, at), 0x9e3779b1) ^ placeOfId(bytes, at + 4)) >>> 0;
}

function secondHash(bytes: Uint8Array, at: number): number {
  const mixed = Math.imul(placeOfId(bytes, at), 0x85ebca77) ^ placeOfId(bytes, at + 8);
  return ((mixed ^ placeOfId(bytes, at + payloadIdBytes - 4)) | 1) >>> 0;
}
