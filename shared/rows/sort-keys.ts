/**
 * The order that sorts a message's attributes by their keys' bytes, unsigned, the shorter first (how Go compares strings); equal
 * keys stay in wire order. A radix sort from the first byte on: it looks at each byte of each key about twice, whatever somebody
 * chooses as keys. A sort by comparisons would look at 900,000 keys twenty times each, and at what they begin with alike every time.
 */

/** So few are sorted by insertion: cheaper than counting 257 buckets. */
export const insertionMax = 24;
/** From so many attributes on, each different key is sorted once. */
const manyMin = 1024;
/** The end of a key sorts before each byte. */
const buckets = 257;

/** The keys of a dictionary: number `key` is `bytes[keyAt[key], keyAt[key] + keyLength[key])`. */
export interface KeyBytes {
  readonly bytes: Uint8Array;
  readonly keyAt: Int32Array;
  readonly keyLength: Int32Array;
}

/** For each place of the sorted row, the attribute's number in wire order. `keys`: their numbers in the dictionary, in wire order. */
export function sortedByKey(dictionary: KeyBytes, keys: Int32Array): Int32Array<ArrayBuffer> {
  const order = new Int32Array(keys.length);
  for (let i = 0; i < order.length; i++) {
    order[i] = i;
  }
  if (keys.length <= insertionMax) {
    sortByInsertion(dictionary, keys, order, 0, keys.length, 0);
  } else if (keys.length < manyMin) {
    sortByRadix(dictionary, keys, order);
  } else {
    sortByRank(dictionary, keys, order);
  }
  return order;
}

/** The same into `order`, for as many attributes as it has, at most `insertionMax`: nothing is made. */
export function sortFewByKey(dictionary: KeyBytes, keys: Int32Array, order: Int32Array): void {
  for (let i = 0; i < order.length; i++) {
    order[i] = i;
  }
  sortByInsertion(dictionary, keys, order, 0, order.length, 0);
}

/** Sorts each different key once, and then the attributes by their keys' places: a million of them may have few keys. */
function sortByRank(dictionary: KeyBytes, keys: Int32Array, order: Int32Array): void {
  let most = 0;
  for (const key of keys) {
    most = Math.max(most, key);
  }
  /** Of each key: how many attributes have it, and then where the next one goes. */
  const places = new Int32Array(most + 1);
  let count = 0;
  for (const key of keys) {
    count += places[key] === 0 ? 1 : 0;
    places[key] = (places[key] ?? 0) + 1;
  }
  if (count === keys.length) {
    sortByRadix(dictionary, keys, order);
    return;
  }
  const different = new Int32Array(count);
  for (let key = 0, at = 0; key <= most; key++) {
    if (places[key] !== 0) {
      different[at++] = key;
    }
  }
  const sorted = Int32Array.from(different.keys());
  sortByRadix(dictionary, different, sorted);
  let end = 0;
  for (const at of sorted) {
    const key = different[at] ?? 0;
    const same = places[key] ?? 0;
    places[key] = end;
    end += same;
  }
  for (let attribute = 0; attribute < keys.length; attribute++) {
    const key = keys[attribute] ?? 0;
    const place = places[key] ?? 0;
    places[key] = place + 1;
    order[place] = attribute;
  }
}

function sortByRadix(dictionary: KeyBytes, keys: Int32Array, order: Int32Array): void {
  const moved = new Int32Array(order.length);
  const ends = new Int32Array(buckets);
  /** Ranges of `order` that are alike up to a depth, and not sorted yet: from, to, depth, from, … */
  const open = [0, order.length, 0];
  for (;;) {
    const depthOrEnd = open.pop();
    if (depthOrEnd === undefined) {
      return;
    }
    const to = open.pop() ?? 0;
    const from = open.pop() ?? 0;
    const depth = firstDifference(dictionary, keys, order, from, to, depthOrEnd);
    if (depth < 0) {
      continue;
    }
    if (to - from <= insertionMax) {
      sortByInsertion(dictionary, keys, order, from, to, depth);
      continue;
    }
    ends.fill(0);
    for (let i = from; i < to; i++) {
      const bucket = byteAt(dictionary, keys[order[i] ?? 0] ?? 0, depth);
      ends[bucket] = (ends[bucket] ?? 0) + 1;
    }
    let end = from;
    for (let bucket = 0; bucket < buckets; bucket++) {
      const count = ends[bucket] ?? 0;
      // Keys that end here are equal.
      if (count > 1 && bucket > 0) {
        open.push(end, end + count, depth + 1);
      }
      ends[bucket] = end;
      end += count;
    }
    for (let i = from; i < to; i++) {
      const attribute = order[i] ?? 0;
      const bucket = byteAt(dictionary, keys[attribute] ?? 0, depth);
      const at = ends[bucket] ?? 0;
      ends[bucket] = at + 1;
      moved[at] = attribute;
    }
    order.set(moved.subarray(from, to), from);
  }
}

/** The first depth from `depth` on at which the keys of the range are not alike; -1: they are equal. */
function firstDifference(
  dictionary: KeyBytes,
  keys: Int32Array,
  order: Int32Array,
  from: number,
  to: number,
  depth: number,
): number {
  const first = keys[order[from] ?? 0] ?? 0;
  for (let at = depth; ; at++) {
    const byte = byteAt(dictionary, first, at);
    for (let i = from + 1; i < to; i++) {
      if (byteAt(dictionary, keys[order[i] ?? 0] ?? 0, at) !== byte) {
        return at;
      }
    }
    if (byte === 0) {
      return -1;
    }
  }
}

/** 1 + the key's byte at `depth`, or 0 behind its end. */
function byteAt({ bytes, keyAt, keyLength }: KeyBytes, key: number, depth: number): number {
  return depth < (keyLength[key] ?? 0) ? (bytes[(keyAt[key] ?? 0) + depth] ?? 0) + 1 : 0;
}

function sortByInsertion(
  dictionary: KeyBytes,
  keys: Int32Array,
  order: Int32Array,
  from: number,
  to: number,
  depth: number,
): void {
  for (let i = from + 1; i < to; i++) {
    const attribute = order[i] ?? 0;
    const key = keys[attribute] ?? 0;
    let at = i;
    for (; at > from && isBehind(dictionary, keys[order[at - 1] ?? 0] ?? 0, key, depth); at--) {
      order[at] = order[at - 1] ?? 0;
    }
    order[at] = attribute;
  }
}

/** Whether key `a` sorts behind key `b`; they are alike before `depth`. */
function isBehind({ bytes, keyAt, keyLength }: KeyBytes, a: number, b: number, depth: number): boolean {
  if (a === b) {
    return false;
  }
  const aAt = keyAt[a] ?? 0;
  const bAt = keyAt[b] ?? 0;
  const aLength = keyLength[a] ?? 0;
  const bLength = keyLength[b] ?? 0;
  const length = Math.min(aLength, bLength);
  for (let i = depth; i < length; i++) {
    const difference = (bytes[aAt + i] ?? 0) - (bytes[bAt + i] ?? 0);
    if (difference !== 0) {
      return difference > 0;
    }
  }
  return aLength > bLength;
}
