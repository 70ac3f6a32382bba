/**
 * The entries of a value's maps, as places in the body: a map may have a million, and an object for each would take an
 * isolate's memory.
 */
import { sortedByKey } from "./sort-keys.ts";

const entriesMin = 64;
/** Entries whose places are kept for the next value. */
const entriesKept = 4096;

export class MapEntries {
  /** Of each entry: where its key begins and how long it is, and where the entry ends. */
  keyAt = new Int32Array(entriesMin);
  keyLength = new Int32Array(entriesMin);
  end = new Int32Array(entriesMin);
  count = 0;

  /** Forgets all, and lets go of lists that one value has made long. */
  clear(): void {
    this.count = 0;
    if (this.keyAt.length > entriesKept) {
      this.keyAt = new Int32Array(entriesMin);
      this.keyLength = new Int32Array(entriesMin);
      this.end = new Int32Array(entriesMin);
    }
  }

  add(keyAt: number, keyLength: number, end: number): void {
    const entry = this.count++;
    if (entry === this.keyAt.length) {
      this.#grow();
    }
    this.keyAt[entry] = keyAt;
    this.keyLength[entry] = keyLength;
    this.end[entry] = end;
  }

  #grow(): void {
    const { keyAt, keyLength, end } = this;
    this.keyAt = longer(keyAt);
    this.keyLength = longer(keyLength);
    this.end = longer(end);
  }

  isSameKey(bytes: Uint8Array, a: number, b: number): boolean {
    const length = this.keyLength[a] ?? 0;
    if (this.keyLength[b] !== length) {
      return false;
    }
    const aAt = this.keyAt[a] ?? 0;
    const bAt = this.keyAt[b] ?? 0;
    for (let i = 0; i < length; i++) {
      if (bytes[aAt + i] !== bytes[bAt + i]) {
        return false;
      }
    }
    return true;
  }
}

/** The entries from number `first` on, by their keys' bytes, equal ones in wire order. */
export function sortedEntries(
  { keyAt, keyLength, count }: MapEntries,
  bytes: Uint8Array,
  first: number,
): Int32Array {
  const entries = new Int32Array(count - first);
  for (let i = 0; i < entries.length; i++) {
    entries[i] = first + i;
  }
  if (entries.length > 1) {
    return sortedByKey({ bytes, keyAt, keyLength }, entries).map((i) => entries[i] ?? 0);
  }
  return entries;
}

function longer(list: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(list.length * 2);
  larger.set(list);
  return larger;
}
