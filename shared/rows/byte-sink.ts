/**
 * Where a column's bytes are gathered: a list of chunks, so that growing copies nothing and a block is never joined.
 *
 * The last chunk is open. A writer calls `reserve`, writes into `bytes` or `view` from `at` on, and moves `at`. Up to
 * `wildBytes` behind the reserved ones may be overwritten, so that short strings can be copied in whole words.
 *
 * A sink is used again for the next block (`clear`): new memory costs more than what is written into it.
 */
import { assert } from "../assert.ts";

interface Chunk {
  readonly bytes: Uint8Array;
  /** Shows the same bytes. */
  readonly view: DataView;
}

const chunkBytesFirst = 2048;
const chunkBytesMax = 256 * 1024;
/** Repetitions beyond this many bytes share their memory. */
const tileBytes = 64 * 1024;
/** A copy in words overshoots by less than this (`copy-bytes.ts`). */
export const wildBytes = 32;

const noChunk: Chunk = { bytes: new Uint8Array(0), view: new DataView(new ArrayBuffer(0)) };

export class ByteSink {
  /** The open chunk. */
  bytes: Uint8Array = noChunk.bytes;
  /** Shows the same bytes. */
  view: DataView = noChunk.view;
  /** Where the next byte goes. */
  at = 0;
  /** How far may be reserved in the open chunk. */
  #limit = -wildBytes;
  /** What of the open chunk's beginning is already in `#closed`. */
  #start = 0;
  #closed: Uint8Array[] = [];
  #closedBytes = 0;
  /** All chunks that this sink has made; those before `#next` are in use. */
  #chunks: Chunk[] = [];
  #next = 0;
  #markedBytes = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#closedBytes + this.at - this.#start;
  }

  /** Bytes of memory held, written or not. */
  get heldBytes(): number {
    return this.#chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Makes room for `count` bytes in one piece. `bytes`, `view` and `at` may change. */
  reserve(count: number): void {
    if (this.at + count > this.#limit) {
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
   * Appends `block` `times` times. Many repetitions are not copied: the block is tiled, and the tile is in the
   * list of chunks as often as it is needed.
   */
  appendRepeated(block: Uint8Array, times: number): void {
    const { length } = block;
    if (length === 0 || times === 0) {
      return;
    }
    const perTile = Math.min(times, Math.ceil(tileBytes / length));
    this.reserve(length * perTile);
    const start = this.at;
    const end = start + length * perTile;
    this.bytes.set(block, start);
    for (let filled = start + length; filled < end; filled += filled - start) {
      this.bytes.copyWithin(filled, start, start + Math.min(filled - start, end - filled));
    }
    this.at = end;
    let left = times - perTile;
    if (left === 0) {
      return;
    }
    this.#close();
    const tile = this.bytes.subarray(start, end);
    for (; left >= perTile; left -= perTile) {
      this.#push(tile);
    }
    if (left > 0) {
      this.#push(tile.subarray(0, left * length));
    }
  }

  /** Remembers how far it has got, for `rewind`. */
  mark(): void {
    this.#markedBytes = this.length;
  }

  /** Forgets what was written since `mark`. */
  rewind(): void {
    const length = this.#markedBytes;
    assert(length <= this.length, "a sink is cut where it has been");
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

  /** Forgets everything. What `chunks` gave is overwritten from now on. */
  clear(): void {
    if (this.#chunks.length > 1) {
      // The first chunks of a sink are small; the next block shall begin where this one ended.
      const largest = this.#chunks.reduce((most, { bytes }) => Math.max(most, bytes.length), 0);
      this.#chunks = this.#chunks.filter(({ bytes }) => bytes.length === largest);
    }
    this.#closed = [];
    this.#closedBytes = 0;
    this.#markedBytes = 0;
    this.#next = 0;
    this.#open(this.#chunks.length > 0 ? this.#chunks[this.#next++] : noChunk);
  }

  /** The chunks, in order, none of them empty. They stay valid until more is written or `clear` is called. */
  chunks(): readonly Uint8Array[] {
    this.#close();
    return this.#closed;
  }

  /** What was written, in one piece. It stays valid like `chunks`. */
  joined(): Uint8Array {
    const chunks = this.chunks();
    const [first] = chunks;
    if (chunks.length === 1 && first !== undefined) {
      return first;
    }
    const whole = new Uint8Array(this.length);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  #nextChunk(count: number): void {
    this.#close();
    const needed = count + wildBytes;
    let chunk = this.#chunks[this.#next];
    if (chunk === undefined || chunk.bytes.length < needed) {
      const bytes = new Uint8Array(
        Math.max(chunkBytesFirst, Math.min(this.bytes.length * 2, chunkBytesMax), needed),
      );
      chunk = { bytes, view: new DataView(bytes.buffer) };
      this.#chunks[this.#next] = chunk;
    }
    this.#next++;
    this.#open(chunk);
  }

  #open(chunk: Chunk = noChunk): void {
    this.bytes = chunk.bytes;
    this.view = chunk.view;
    this.#limit = chunk.bytes.length - wildBytes;
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
