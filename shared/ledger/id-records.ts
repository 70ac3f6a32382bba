/**
 * Ids that the ledger keeps together: records of one width, sorted by id, in one blob. A row per id is what they replace: rows
 * are billed, and a B-tree of random ids outgrows its cache.
 *
 * What is sorted by id is sorted by content time, since an id of version 2 begins with it (decision 0085). Of an id of version 1
 * the first bytes are a hash: nothing here takes them for a time, they only say where it lies.
 *
 * A member's record: the id, 16 bytes; the tag of its key (key-tag.ts), 4 bytes; how it ended, 1 byte. In a run another
 * 6 bytes say when it ended, in ms since 1970. Integers are big-endian.
 */
import { assert } from "../assert.ts";
import { type PayloadId, payloadIdBytes, payloadIdToBytes } from "../payload-key.ts";

const tagBytes = 4;
const sinceBytes = 6;
export const memberBytes = payloadIdBytes + tagBytes + 1;
export const runBytes = memberBytes + sinceBytes;

/** An id with what its record says of it. */
export interface KnownId {
  readonly id: PayloadId;
  /** Of the key that it is known by. */
  readonly tag: number;
  readonly outcome: number;
}

/** Records with how they were found: `width` bytes each. */
export interface Records {
  readonly bytes: Uint8Array;
  readonly width: number;
}

/** Where an id lies among others: its first four bytes, as a number. */
export function placeOfId(bytes: Uint8Array, at = 0): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  );
}

/** The records of a group's ids. */
export function packMembers(known: readonly KnownId[]): Uint8Array {
  // The text of ids sorts as their bytes do.
  const sorted = [...known].sort((a, b) => (a.id < b.id ? -1 : 1));
  const bytes = new Uint8Array(sorted.length * memberBytes);
  for (const [i, { id, tag, outcome }] of sorted.entries()) {
    const at = i * memberBytes;
    assert(tag >= 0 && tag < 2 ** (8 * tagBytes), "a key's tag has 32 bits");
    bytes.set(payloadIdToBytes(id), at);
    writeInteger(bytes, at + payloadIdBytes, tag, tagBytes);
    bytes[at + payloadIdBytes + tagBytes] = outcome;
  }
  return bytes;
}

/** The offset of an id's record; -1: it has none. */
export function findRecord({ bytes, width }: Records, id: Uint8Array): number {
  let low = 0;
  let high = bytes.length / width;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareIds(bytes, middle * width, id, 0);
    if (order === 0) {
      return middle * width;
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return -1;
}

/** What the record at this offset says. `since`: of a run's record. */
export function readRecord(
  bytes: Uint8Array,
  at: number,
): { readonly tag: number; readonly outcome: number } {
  const tag = readInteger(bytes, at + payloadIdBytes, tagBytes);
  return { tag, outcome: bytes[at + payloadIdBytes + tagBytes] ?? 0 };
}

/** When the id of a run's record ended, ms since the epoch. */
export function sinceOf(bytes: Uint8Array, at: number): number {
  return readInteger(bytes, at + memberBytes, sinceBytes);
}

/** Members of a group that ended. */
export interface EndedMembers {
  /** ms since the epoch */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/**
 * The records of several groups as one sequence of a run's records. An id that is in two of them stays as it ended last; where
 * that is the same moment, as the later of the two says.
 */
export function mergeMembers(groups: readonly EndedMembers[]): Uint8Array {
  let sequences = groups.map(({ at, bytes }) => withSince(bytes, at));
  while (sequences.length > 1) {
    const merged: Uint8Array[] = [];
    for (let i = 0; i < sequences.length; i += 2) {
      const [first, second] = sequences.slice(i, i + 2);
      assert(first !== undefined, "there is one at least");
      merged.push(second === undefined ? first : mergeTwo(first, second));
    }
    sequences = merged;
  }
  return sequences[0] ?? new Uint8Array(0);
}

function withSince(members: Uint8Array, since: number): Uint8Array {
  const count = members.length / memberBytes;
  const bytes = new Uint8Array(count * runBytes);
  for (let i = 0; i < count; i++) {
    copyBytes(members, i * memberBytes, bytes, i * runBytes, memberBytes);
    writeInteger(bytes, i * runBytes + memberBytes, since, sinceBytes);
  }
  return bytes;
}

function mergeTwo(a: Uint8Array, b: Uint8Array): Uint8Array {
  const merged = new Uint8Array(a.length + b.length);
  let i = 0;
  let j = 0;
  let end = 0;
  while (i < a.length && j < b.length) {
    const order = compareIds(a, i, b, j);
    const isFirst = order < 0 || (order === 0 && sinceOf(a, i) > sinceOf(b, j));
    copyBytes(isFirst ? a : b, isFirst ? i : j, merged, end, runBytes);
    i += order <= 0 ? runBytes : 0;
    j += order >= 0 ? runBytes : 0;
    end += runBytes;
  }
  merged.set(a.subarray(i), end);
  end += a.length - i;
  merged.set(b.subarray(j), end);
  end += b.length - j;
  return merged.subarray(0, end);
}

function compareIds(a: Uint8Array, i: number, b: Uint8Array, j: number): number {
  for (let k = 0; k < payloadIdBytes; k++) {
    const order = (a[i + k] ?? 0) - (b[j + k] ?? 0);
    if (order !== 0) {
      return order;
    }
  }
  return 0;
}

/** `set` makes a view for each record, which takes longer than its bytes. */
export function copyBytes(from: Uint8Array, at: number, to: Uint8Array, toAt: number, count: number): void {
  for (let k = 0; k < count; k++) {
    to[toAt + k] = from[at + k] ?? 0;
  }
}

function writeInteger(bytes: Uint8Array, at: number, value: number, count: number): void {
  let rest = value;
  for (let k = count - 1; k >= 0; k--) {
    bytes[at + k] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function readInteger(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let k = 0; k < count; k++) {
    value = value * 256 + (bytes[at + k] ?? 0);
  }
  return value;
}
