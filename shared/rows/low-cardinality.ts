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
import { Dictionary } from "./dictionary.ts";

type IndexWidth = 1 | 2 | 4;

const additionalKeysFlag = 0x200;

export class LowCardinality {
  readonly keys = new Dictionary();
  #indices = new ByteSink();
  #width: IndexWidth = 1;

  /** Indices written so far. */
  get rows(): number {
    return this.#indices.length / this.#width;
  }

  /** Appends one row with key number `key`. */
  append(key: number): void {
    this.#widen();
    this.#indices.reserve(4);
    this.#write(this.#indices, key);
  }

  /** Appends the rows `keys[0, count)`. */
  appendMany(keys: Int32Array, count: number): void {
    this.#widen();
    const sink = this.#indices;
    sink.reserve(count * this.#width);
    if (this.#width === 1) {
      const { bytes, at } = sink;
      for (let i = 0; i < count; i++) {
        bytes[at + i] = keys[i] ?? 0;
      }
      sink.at = at + count;
      return;
    }
    for (let i = 0; i < count; i++) {
      this.#write(sink, keys[i] ?? 0);
    }
  }

  /** Appends the rows `keys[0, count)`, `times` times over. */
  appendRepeated(keys: Int32Array, count: number, times: number): void {
    if (count === 0 || times === 0) {
      return;
    }
    this.#widen();
    const once = new ByteSink();
    once.reserve(count * this.#width);
    for (let i = 0; i < count; i++) {
      this.#write(once, keys[i] ?? 0);
    }
    this.#indices.appendRepeated(once.bytes.subarray(0, once.at), times);
  }

  /** Forgets the rows from `rows` on and the keys from number `keys` on. */
  truncate(rows: number, keys: number): void {
    this.#indices.truncate(rows * this.#width);
    this.keys.truncate(keys);
    // The width follows from the keys that are left, so that a payload that failed leaves no trace in the bytes.
    this.#convert(widthFor(keys));
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
    const width = widthFor(this.keys.count);
    if (width > this.#width) {
      this.#convert(width);
    }
  }

  #convert(width: IndexWidth): void {
    if (width === this.#width) {
      return;
    }
    const from = this.#width;
    const old = this.#indices.chunks();
    this.#indices = new ByteSink();
    this.#width = width;
    for (const chunk of old) {
      assert(chunk.length % from === 0, "a chunk holds whole indices");
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      this.#indices.reserve((chunk.length / from) * width);
      for (let at = 0; at < chunk.length; at += from) {
        const key =
          from === 1 ? view.getUint8(at) : from === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
        this.#write(this.#indices, key);
      }
    }
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
  if (keys <= 0x100) {
    return 1;
  }
  return keys <= 0x10000 ? 2 : 4;
}
