/**
 * A LowCardinality(String) column, or the LowCardinality part of a nested one: a dictionary and an index a row.
 *
 * The indices are as narrow as the number of keys allows: one byte up to 256 keys, two up to 65,536, four above.
 * They are kept in that width while the block grows, and widened when a key is too many for it.
 *
 * Source: ClickHouse, SerializationLowCardinality: UInt64 flags (index type, 0x200 "has additional keys"), UInt64
 * number of keys, the keys, UInt64 number of rows, the indices. Every index width and unused keys are accepted;
 * a body written for zero rows is read as junk (tried), so there is none then.
 */
import { assert } from "../assert.ts";
import { ByteSink } from "./byte-sink.ts";
import { copyWords, wordsBytesMax } from "./copy-bytes.ts";
import { Dictionary } from "./dictionary.ts";

type IndexWidth = 1 | 2 | 4;

/** The widest index. */
const indexBytesMax = 4;
const additionalKeysFlag = 0x200;

export class LowCardinality {
  readonly keys = new Dictionary();
  #indices = new ByteSink();
  #width: IndexWidth = 1;
  /** Keys that `#width` has room for. */
  #widthKeysMax = keysMax(1);
  #markedRows = 0;
  #markedKeys = 0;
  /** Indices written so far. */
  rows = 0;

  get heldBytes(): number {
    return this.#indices.heldBytes + this.keys.heldBytes;
  }

  /** Bytes written, the heads of keys and indices left aside. */
  get length(): number {
    return this.#indices.length + this.keys.at;
  }

  /** Makes room for `rows` indices, for `appendUnchecked`. */
  reserve(rows: number): void {
    this.#indices.reserve(rows * indexBytesMax);
  }

  /** Appends one row with key number `key`. */
  append(key: number): void {
    this.#indices.reserve(indexBytesMax);
    this.appendUnchecked(key);
  }

  /** Appends one row for which there is room. */
  appendUnchecked(key: number): void {
    if (this.keys.count > this.#widthKeysMax) {
      this.#widen();
    }
    this.rows++;
    const sink = this.#indices;
    if (this.#width === 1) {
      sink.bytes[sink.at++] = key;
    } else {
      this.#write(sink, key);
    }
  }

  /** Appends the rows `keys`. `narrow` shows up to `wordsBytesMax` of them as single bytes, and has `wildBytes` more. */
  appendMany(keys: Int32Array, narrow: DataView): void {
    const count = keys.length;
    if (this.keys.count > this.#widthKeysMax) {
      this.#widen();
    }
    this.rows += count;
    const sink = this.#indices;
    sink.reserve(count * this.#width);
    if (this.#width === 1 && count <= wordsBytesMax) {
      copyWords(sink.view, sink.at, narrow, 0, count);
      sink.at += count;
    } else if (this.#width === 2) {
      const { view } = sink;
      let { at } = sink;
      for (let i = 0; i < count; i++) {
        view.setUint16(at, keys[i] ?? 0, true);
        at += 2;
      }
      sink.at = at;
    } else {
      for (let i = 0; i < count; i++) {
        this.#write(sink, keys[i] ?? 0);
      }
    }
  }

  /** Appends `times` rows with key number `key`. */
  appendFilled(key: number, times: number): void {
    if (this.keys.count > this.#widthKeysMax) {
      this.#widen();
    }
    this.rows += times;
    const sink = this.#indices;
    sink.reserve(times * this.#width);
    if (this.#width === 1) {
      sink.bytes.fill(key, sink.at, sink.at + times);
      sink.at += times;
      return;
    }
    for (let i = 0; i < times; i++) {
      this.#write(sink, key);
    }
  }

  /** Appends the rows `keys[0, count)`, `times` times over. `scratch` is used and left with anything. */
  appendRepeated(keys: Int32Array, count: number, times: number, scratch: ByteSink): void {
    if (this.keys.count > this.#widthKeysMax) {
      this.#widen();
    }
    scratch.clear();
    scratch.reserve(count * this.#width);
    for (let i = 0; i < count; i++) {
      this.#write(scratch, keys[i] ?? 0);
    }
    this.rows += count * times;
    this.#indices.appendRepeated(scratch.bytes.subarray(0, scratch.at), times);
  }

  /** Remembers how far it has got, for `rewind`. */
  mark(): void {
    this.#indices.mark();
    this.#markedRows = this.rows;
    this.#markedKeys = this.keys.count;
  }

  /** Forgets the rows and keys since `mark`. */
  rewind(): void {
    // The width follows from the keys that are left, so that a payload that failed leaves no trace in the bytes.
    this.keys.truncate(this.#markedKeys);
    this.rows = this.#markedRows;
    const width = widthFor(this.#markedKeys);
    if (width === this.#width) {
      this.#indices.rewind();
    } else {
      this.#convert(width, this.#markedRows);
    }
  }

  /** Forgets everything. What `body` gave is overwritten from now on. */
  clear(): void {
    this.keys.truncate(0);
    this.#indices.clear();
    this.rows = 0;
    this.#setWidth(1);
  }

  /** The body of the column in a block: nothing for zero rows. */
  body(): Uint8Array[] {
    if (this.rows === 0) {
      return [];
    }
    const head = new Uint8Array(16);
    const headView = new DataView(head.buffer);
    const indexType = this.#width === 1 ? 0 : this.#width === 2 ? 1 : 2;
    headView.setUint32(0, additionalKeysFlag | indexType, true);
    headView.setUint32(8, this.keys.count, true);
    const rows = new Uint8Array(8);
    new DataView(rows.buffer).setUint32(0, this.rows, true);
    const keys = this.keys.bytes.subarray(0, this.keys.at);
    return [head, keys, rows, ...this.#indices.chunks()];
  }

  #widen(): void {
    this.#convert(widthFor(this.keys.count), this.rows);
  }

  #setWidth(width: IndexWidth): void {
    this.#width = width;
    this.#widthKeysMax = keysMax(width);
  }

  /** Rewrites the first `rows` indices in another width. */
  #convert(width: IndexWidth, rows: number): void {
    const from = this.#width;
    const old = this.#indices.chunks();
    // What was reserved in the old sink is reserved in the new one.
    const open = this.#indices.bytes.length;
    this.#indices = new ByteSink();
    this.#setWidth(width);
    let left = rows;
    for (const chunk of old) {
      assert(chunk.length % from === 0, "a chunk holds whole indices");
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const count = Math.min(left, chunk.length / from);
      this.#indices.reserve(count * width);
      for (let at = 0; at < count * from; at += from) {
        const key =
          from === 1 ? view.getUint8(at) : from === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
        this.#write(this.#indices, key);
      }
      left -= count;
    }
    this.#indices.reserve(open);
  }

  /** Writes one index into a sink in which there is room for it. */
  #write(sink: ByteSink, key: number): void {
    if (this.#width === 1) {
      sink.bytes[sink.at] = key;
    } else if (this.#width === 2) {
      sink.view.setUint16(sink.at, key, true);
    } else {
      sink.view.setUint32(sink.at, key, true);
    }
    sink.at += this.#width;
  }
}

/** The narrowest index for this many keys. */
function widthFor(keys: number): IndexWidth {
  if (keys <= keysMax(1)) {
    return 1;
  }
  return keys <= keysMax(2) ? 2 : 4;
}

/** A block has far fewer keys than 2^30. */
function keysMax(width: IndexWidth): number {
  return width === 4 ? 2 ** 30 : 0x100 ** width;
}
