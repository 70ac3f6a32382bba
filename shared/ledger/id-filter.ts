/**
 * A Bloom filter for the ids of a row: says for certain that an id is not in it, and mostly so where it is not. Where it
 * does not, the row is read. 16 bits an id and 6 probes let one in a thousand through.
 */
import { payloadIdBytes } from "../payload-key.ts";
import { placeOfId, type Records } from "./id-records.ts";

const bitsAnId = 16;
const probes = 6;

/** What a filter asks of an id: where its first bit is, and how far it is from each to the next. */
export interface IdHash {
  readonly first: number;
  readonly by: number;
}

export function hashOfId(bytes: Uint8Array, at = 0): IdHash {
  return { first: firstHash(bytes, at), by: secondHash(bytes, at) };
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

/** False: the row has no such id. */
export function mayHold(filter: Uint8Array, { first, by }: IdHash): boolean {
  // An even share of the filter's bits for each share of 2^32.
  const share = (filter.length * 8) / 2 ** 32;
  let hash = first;
  for (let i = 0; i < probes; i++) {
    const bit = Math.floor(hash * share);
    if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) {
      return false;
    }
    hash = (hash + by) >>> 0;
  }
  return true;
}

/** Behind their first four bytes ids are hashes; those are mixed in, for the tests' ids differ in nothing else. */
export function firstHash(bytes: Uint8Array, at: number): number {
  return (Math.imul(placeOfId(bytes, at), 0x9e3779b1) ^ placeOfId(bytes, at + 4)) >>> 0;
}

function secondHash(bytes: Uint8Array, at: number): number {
  const mixed = Math.imul(placeOfId(bytes, at), 0x85ebca77) ^ placeOfId(bytes, at + 8);
  return ((mixed ^ placeOfId(bytes, at + payloadIdBytes - 4)) | 1) >>> 0;
}
