/**
 * Where a column's bytes are gathered: a list of chunks, so that growing copies nothing and a block is never joined.
 *
 * The last chunk is open. A writer calls `reserve`, writes into `bytes` or `view` from `at` on, and moves `at`. Eight
 * bytes behind the reserved ones may be overwritten, so that short strings can be copied in whole words.
 */
import { assert } from "../assert.ts";

const chunkBytesFirst = 2048;
const chunkBytesMax = 256 * 1024;
/** A copy in words of eight bytes overshoots by at most seven. */
export const wildBytes = 8;

export class ByteSink {
  /** The open chunk. */
  bytes: Uint8Array = new Uint8Array(chunkBytesFirst);
  /** Shows the same bytes. */
  view: DataView = new DataView(this.bytes.buffer);
  /** Where the next byte goes. */
  at = 0;
  /** What of the open chunk's beginning is already in `#closed`. */
  #start = 0;
  readonly #closed: Uint8Array[] = [];
  #closedBytes = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#closedBytes + this.at - this.#start;
  }

  /** Makes room for `count` bytes in one piece. `bytes`, `view` and `at` may change. */
  reserve(count: number): void {
    if (this.at + count + wildBytes > this.bytes.length) {
      this.#nextChunk(count);
    }
  }

  /** Appends one byte. */
  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.at++] = value;
  }

  /** Appends `bytes`, which stay the caller's. */
  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /**
   * Appends `block` `times` times. Many repetitions are not copied: the block is tiled to a chunk, and that chunk
   * stands in the list as often as it is needed.
   */
  appendRepeated(block: Uint8Array, times: number): void {
    if (block.length * times <= chunkBytesFirst) {
      this.reserve(block.length * times);
      for (let i = 0; i < times; i++) {
        this.bytes.set(block, this.at);
        this.at += block.length;
      }
      return;
    }
    const perTile = Math.min(times, Math.ceil(chunkBytesMax / 4 / block.length));
    const tile = new Uint8Array(block.length * perTile);
    tile.set(block);
    for (let filled = block.length; filled < tile.length; filled *= 2) {
      tile.copyWithin(filled, 0, Math.min(filled, tile.length - filled));
    }
    this.#close();
    let left = times;
    for (; left >= perTile; left -= perTile) {
      this.#push(tile);
    }
    if (left > 0) {
      this.#push(tile.subarray(0, left * block.length));
    }
  }

  /** Forgets everything behind the first `length` bytes. */
  truncate(length: number): void {
    assert(length >= 0 && length <= this.length, "a sink is cut where it has been");
    if (length >= this.#closedBytes) {
      this.at = this.#start + length - this.#closedBytes;
      return;
    }
    this.at = this.#start;
    while (this.#closedBytes > length) {
      const last = this.#closed.pop();
      assert(last !== undefined, "closed chunks hold the closed bytes");
      this.#closedBytes -= last.length;
      if (this.#closedBytes < length) {
        this.#push(last.subarray(0, length - this.#closedBytes));
      }
    }
  }

  /** The chunks, in order, none of them empty. They stay valid as long as nothing more is written. */
  chunks(): readonly Uint8Array[] {
    this.#close();
    return this.#closed;
  }

  #nextChunk(count: number): void {
    this.#close();
    const size = Math.max(Math.min(this.bytes.length * 2, chunkBytesMax), count + wildBytes);
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.at = 0;
    this.#start = 0;
  }

  #close(): void {
    if (this.at > this.#start) {
      this.#push(this.bytes.subarray(this.#start, this.at));
      this.#start = this.at;
    }
  }

  #push(chunk: Uint8Array): void {
    this.#closed.push(chunk);
    this.#closedBytes += chunk.length;
  }
}
