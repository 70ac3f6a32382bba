/**
 * Sequences of attribute keys, remembered. Most spans carry one of a few: a step compares the next key with those that
 * followed before, and a sequence's end knows its sorted order and the keys' numbers in the block. So a known
 * sequence costs about one comparison a key, no hashing and no sorting.
 *
 * The sequences outlive a block; the numbers do not. In each block the first message with a sequence asks the block's
 * dictionary for them, key by key in wire order, as a message without a known sequence does. So what is remembered
 * decides how fast a block is written, and never its bytes.
 */
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { wildBytes } from "./byte-sink.ts";
import { wordsBytesMax } from "./copy-bytes.ts";
import { Dictionary, equalBytes } from "./dictionary.ts";
import { insertionMax, sortedByKey, sortFewByKey } from "./sort-keys.ts";

/** A shape is about 300 bytes of heap. Real fleets have some hundred; a hostile payload could make millions. */
const shapesMax = 8192;
/** Children that are compared one after the other. Beyond, they are looked up. */
const siblingsMax = 8;
/** Longer sequences are looked up and sorted each time. */
const depthMax = 128;
/** So are sequences with longer keys, and those met when the remembered keys take this many bytes. */
const keyBytesMax = 512;
const knownBytesMax = 1024 * 1024;

/**
 * A sequence of keys, as a path from the root. Fields begin as numbers: V8 keeps one that began as undefined in a form
 * that is checked at each look.
 */
class Shape {
  /** The position of the last step's key among the known keys, and its length. */
  readonly keyAt: number = 0;
  readonly keyLength: number = 0;
  readonly depth: number = 0;
  /** The keys that followed here first, one behind the other; the rest are in `others`. */
  next: Shape | undefined;
  /** Another key that followed the same one. */
  sibling: Shape | undefined;
  others: Map<number, Shape> | undefined;
  #children = 0;
  /** Set when a message has ended here. */
  order: KeyOrder | undefined;

  constructor(keyAt: number, keyLength: number, depth: number) {
    this.keyAt = keyAt;
    this.keyLength = keyLength;
    this.depth = depth;
  }

  add(shape: Shape): void {
    if (this.#children++ < siblingsMax) {
      shape.sibling = this.next;
      this.next = shape;
    } else {
      this.others ??= new Map();
      this.others.set(shape.keyAt, shape);
    }
  }
}

/** The sorted order of a message's attributes. */
export class KeyOrder {
  /** For each place of the sorted row, the attribute's number in wire order. */
  readonly order: Int32Array;
  /** The keys' numbers in the block's dictionary, in sorted order. */
  readonly keys: Int32Array;
  /** The same as single bytes, for dictionaries of up to 256 keys; to be copied in words. Of more keys than are copied so: none. */
  readonly narrowKeys: DataView;
  /** For which block's dictionary, and which state of it, `keys` holds. */
  era = -1;

  constructor(order: Int32Array) {
    this.order = order;
    this.keys = new Int32Array(order.length);
    const narrow = order.length <= wordsBytesMax ? order.length : 0;
    this.narrowKeys = new DataView(new ArrayBuffer(narrow + wildBytes));
  }
}

export class KeyShapes {
  readonly #dictionary: Dictionary;
  /** The keys in remembered sequences. */
  #known = new Dictionary();
  #root = new Shape(0, 0, 0);
  #shapes = 0;
  /** Raised when numbers in the block's dictionary may have been given back. */
  #era = 0;
  /** By how many keys, for short sequences that are not remembered; and where their keys are numbered. */
  readonly #few: KeyOrder[] = [];
  readonly #fewKeys = new Int32Array(insertionMax);

  /** `dictionary` numbers the keys of the block. */
  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  /** The order of one message's attributes. Its keys are in the block's dictionary afterwards. */
  orderOf(bytes: Uint8Array, view: DataView, scan: AttributeScan): KeyOrder {
    const { entries, count } = scan;
    const known = this.#known;
    const end = count * entrySize;
    let shape: Shape | undefined = this.#root;
    for (let slot = 0; slot < end; slot += entrySize) {
      const keyAt = entries[slot] ?? 0;
      const keyLength = entries[slot + 1] ?? 0;
      let next: Shape | undefined = shape.next;
      while (
        next !== undefined &&
        !(next.keyLength === keyLength && equalBytes(known.view, next.keyAt, view, keyAt, keyLength))
      ) {
        next = next.sibling;
      }
      shape = next ?? this.#step(shape, bytes, view, keyAt, keyLength);
      if (shape === undefined) {
        break;
      }
    }
    if (shape === undefined && count <= insertionMax) {
      return this.#orderOfFew(bytes, view, scan);
    }
    if (shape === undefined) {
      const keys = this.#intern(bytes, view, scan);
      return this.#number(new KeyOrder(sortedByKey(this.#dictionary, keys)), keys);
    }
    let order = shape.order;
    if (order === undefined) {
      order = new KeyOrder(sortedByKey(this.#dictionary, this.#intern(bytes, view, scan)));
      shape.order = order;
    }
    return order.era === this.#era ? order : this.#number(order, this.#intern(bytes, view, scan));
  }

  /** Of a sequence that is not remembered. It is good until the next one: somebody can send a million of one key each. */
  #orderOfFew(bytes: Uint8Array, view: DataView, { entries, count }: AttributeScan): KeyOrder {
    let order = this.#few[count];
    if (order === undefined) {
      order = new KeyOrder(new Int32Array(count));
      this.#few[count] = order;
    }
    const keys = this.#fewKeys;
    for (let i = 0; i < count; i++) {
      const at = entries[i * entrySize] ?? 0;
      keys[i] = this.#dictionary.intern(bytes, view, at, entries[i * entrySize + 1] ?? 0);
    }
    sortFewByKey(this.#dictionary, keys, order.order);
    return this.#number(order, keys);
  }

  /** Must be called when the block's dictionary was cut: the numbers behind the cut will be given anew. */
  forgetNumbers(): void {
    this.#era++;
  }

  /** Makes room where too much has been remembered. Called between blocks. */
  trim(): void {
    if (this.#shapes >= shapesMax || this.#known.at >= knownBytesMax) {
      this.#known = new Dictionary();
      this.#root = new Shape(0, 0, 0);
      this.#shapes = 0;
    }
  }

  /** The shape that follows `shape` with this key, or undefined beyond the bounds. */
  #step(
    shape: Shape,
    bytes: Uint8Array,
    view: DataView,
    keyAt: number,
    keyLength: number,
  ): Shape | undefined {
    if (keyLength > keyBytesMax || this.#known.at >= knownBytesMax) {
      return undefined;
    }
    const known = this.#known;
    const isFull = this.#shapes >= shapesMax || shape.depth >= depthMax;
    const key = isFull
      ? known.find(bytes, view, keyAt, keyLength)
      : known.intern(bytes, view, keyAt, keyLength);
    if (key < 0) {
      return undefined;
    }
    const at = known.keyAt[key] ?? 0; // only now: a new key may have moved the list
    let next = shape.others?.get(at);
    if (next === undefined) {
      if (isFull) {
        return undefined;
      }
      next = new Shape(at, keyLength, shape.depth + 1);
      shape.add(next);
      this.#shapes++;
    }
    return next;
  }

  /** Sets `order.keys` for the block as it is now. `keys`: the numbers in wire order. */
  #number(order: KeyOrder, keys: Int32Array): KeyOrder {
    const isNarrow = order.keys.length <= wordsBytesMax;
    for (let i = 0; i < order.keys.length; i++) {
      const key = keys[order.order[i] ?? 0] ?? 0;
      order.keys[i] = key;
      if (isNarrow) {
        order.narrowKeys.setUint8(i, key);
      }
    }
    order.era = this.#era;
    return order;
  }

  /** The keys' numbers in the block, in wire order. */
  #intern(bytes: Uint8Array, view: DataView, { entries, count }: AttributeScan): Int32Array {
    const keys = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      const at = entries[i * entrySize] ?? 0;
      keys[i] = this.#dictionary.intern(bytes, view, at, entries[i * entrySize + 1] ?? 0);
    }
    return keys;
  }
}
