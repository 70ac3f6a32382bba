/**
 * A Map(LowCardinality(String), String) column: keys sorted by their bytes, duplicates kept in wire order, values as
 * text. That is what the Collector's exporter writes (`orderedmap`, FACTS D).
 *
 * Most spans of a payload carry one of a few sequences of keys. The column remembers the sequences it has met as a
 * tree: a step compares the next key with the one that followed last time, and a sequence's end knows its sorted
 * order. So a known sequence costs one comparison a key, no hashing and no sorting. The tree is bounded; beyond it
 * keys are looked up and sorted one message at a time.
 */
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { ByteSink } from "./byte-sink.ts";
import { appendString, copyReserved, varintReserved } from "./copy-bytes.ts";
import { LowCardinality } from "./low-cardinality.ts";
import { ValueText } from "./value-text.ts";

/** A sequence of keys, as a path from the root. */
class Shape {
  /** The key of the last step. */
  readonly key: number;
  readonly depth: number;
  /** Where the last message went on from here. */
  next: Shape | undefined;
  #others: Map<number, Shape> | undefined;
  /** Which attribute stands where in the sorted row; undefined until a message ends here. */
  order: Int32Array | undefined;
  /** The keys in sorted order. */
  sortedKeys: Int32Array | undefined;

  constructor(key: number, depth: number) {
    this.key = key;
    this.depth = depth;
  }

  child(key: number): Shape | undefined {
    return this.#others?.get(key);
  }

  add(shape: Shape): void {
    this.#others ??= new Map();
    this.#others.set(shape.key, shape);
  }
}

/** A shape is about 200 bytes of heap. Real fleets have some hundred; a hostile payload could make millions. */
const shapesMax = 8192;
/** Longer sequences are looked up and sorted each time. */
const shapeDepthMax = 128;
/** A length of up to 2^28 as a varint, or the longest text of a bool, int or double with its length. */
const stringReserve = 32;

export class AttributeMap {
  readonly keys = new LowCardinality();
  #values = new ByteSink();
  #root = new Shape(-1, 0);
  #shapes = 0;
  /** The order and the keys of the last message that had no shape. */
  #order: Int32Array = new Int32Array(0);
  #sortedKeys: Int32Array = new Int32Array(0);
  readonly #text = new ValueText();

  /** Bytes of the values written so far. */
  get valueBytes(): number {
    return this.#values.length;
  }

  /** Appends one map. Throws `notPlain`; then what was written must be cut off by `truncate`. */
  append(bytes: Uint8Array, view: DataView, scan: AttributeScan): void {
    if (scan.count === 0) {
      return;
    }
    this.#sort(bytes, view, scan);
    this.keys.appendMany(this.#sortedKeys, scan.count);
    this.#appendValues(this.#values, bytes, view, scan);
  }

  /** Appends the same map `times` times. */
  appendRepeated(bytes: Uint8Array, view: DataView, scan: AttributeScan, times: number): void {
    if (scan.count === 0 || times === 0) {
      return;
    }
    this.#sort(bytes, view, scan);
    this.keys.appendRepeated(this.#sortedKeys, scan.count, times);
    const once = new ByteSink();
    this.#appendValues(once, bytes, view, scan);
    this.#values.appendRepeated(join(once.chunks()), times);
  }

  /** Forgets everything behind the first `rows` entries, `keys` keys and `valueBytes` bytes of values. */
  truncate(rows: number, keys: number, valueBytes: number): void {
    this.keys.truncate(rows, keys);
    this.#values.truncate(valueBytes);
    // Shapes may hold keys that are gone.
    this.#root = new Shape(-1, 0);
    this.#shapes = 0;
  }

  /** The values, after the keys in the block. */
  valueChunks(): readonly Uint8Array[] {
    return this.#values.chunks();
  }

  /** Finds the order of one message's attributes: sets `#order` and `#sortedKeys`. */
  #sort(bytes: Uint8Array, view: DataView, scan: AttributeScan): void {
    const { entries, count } = scan;
    const dictionary = this.keys.keys;
    let shape: Shape | undefined = this.#root;
    for (let i = 0; i < count && shape !== undefined; i++) {
      const keyAt = entries[i * entrySize] ?? 0;
      const keyLength = entries[i * entrySize + 1] ?? 0;
      const guess: Shape | undefined = shape.next;
      shape =
        guess !== undefined && dictionary.equals(guess.key, bytes, view, keyAt, keyLength)
          ? guess
          : this.#step(shape, dictionary.intern(bytes, view, keyAt, keyLength));
    }
    if (shape === undefined) {
      this.#sortOnce(bytes, view, scan);
      return;
    }
    if (shape.order === undefined || shape.sortedKeys === undefined) {
      this.#sortOnce(bytes, view, scan);
      shape.order = this.#order.slice(0, count);
      shape.sortedKeys = this.#sortedKeys.slice(0, count);
    }
    this.#order = shape.order;
    this.#sortedKeys = shape.sortedKeys;
  }

  /** The shape that follows `shape` with `key`, or undefined beyond the bounds. */
  #step(shape: Shape, key: number): Shape | undefined {
    let next = shape.child(key);
    if (next === undefined) {
      if (this.#shapes >= shapesMax || shape.depth >= shapeDepthMax) {
        return undefined;
      }
      next = new Shape(key, shape.depth + 1);
      shape.add(next);
      this.#shapes++;
    }
    shape.next = next;
    return next;
  }

  #sortOnce(bytes: Uint8Array, view: DataView, scan: AttributeScan): void {
    const { entries, count } = scan;
    const dictionary = this.keys.keys;
    const keys = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      keys[i] = dictionary.intern(bytes, view, entries[i * entrySize] ?? 0, entries[i * entrySize + 1] ?? 0);
    }
    // The sort is stable, so equal keys stay in wire order.
    const order = Int32Array.from(keys.keys()).sort((a, b) => {
      const keyA = keys[a] ?? 0;
      const keyB = keys[b] ?? 0;
      return keyA === keyB ? 0 : dictionary.compare(keyA, keyB);
    });
    this.#order = order;
    this.#sortedKeys = order.map((index) => keys[index] ?? 0);
  }

  #appendValues(sink: ByteSink, bytes: Uint8Array, view: DataView, scan: AttributeScan): void {
    const { entries, count } = scan;
    const order = this.#order;
    for (let i = 0; i < count; i++) {
      const slot = (order[i] ?? 0) * entrySize;
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (valueLength >= 0) {
        sink.reserve(valueLength + stringReserve);
        varintReserved(sink, valueLength);
        copyReserved(sink, bytes, view, valueAt, valueLength);
      } else {
        const text = this.#text;
        text.write(bytes, view, valueAt, valueAt - valueLength);
        appendString(sink, text.bytes, text.view, 0, text.length);
      }
    }
  }
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks;
  if (chunks.length === 1 && first !== undefined) {
    return first;
  }
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
