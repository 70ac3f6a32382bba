/**
 * One payload's rows in several blocks: each is passed on when it is full, and its memory is used for the next. How many
 * there are is said beforehand, for it is part of ClickHouse's token; where they are cut is not, and follows the bytes.
 */
import { assert } from "../assert.ts";
import { entrySize } from "../otlp/attribute-scan.ts";
import type { TraceVisitor, TraceWalk } from "../otlp/trace-walk.ts";
import type { BlockColumns } from "./block-columns.ts";
import type { RowWriter } from "./row-writer.ts";

/** The offsets of events stand in a block three times, those of links four times. */
const offsetsAgainBytes = (2 + 3) * 8;
/** A row's payload id, and its tenant's number. */
const nameBytes = 16 + 1;
/** Of a row: its map's offset, its scope's two lengths; of an attribute: its key's number, its value's length. */
const rowBytes = 8 + 2;
const attributeBytes = 4;

/** The body is not canonical, and blocks were begun before that was seen: it is walked again, rewritten at once. */
export class StartOver extends Error {}

/** What the blocks of one payload have in common, over all of its parts. */
export class Slices {
  /** Blocks that are still to be passed on, and rows that are still to be written. */
  blocksLeft: number;
  rowsLeft: number;
  readonly #bytesEach: number;
  readonly #take: (chunks: readonly Uint8Array[], rows: number) => void;

  /** `bytes`: what all rows can take. `take` is given each block; its chunks are good until it returns. */
  constructor(
    blocks: number,
    rows: number,
    bytes: number,
    take: (chunks: readonly Uint8Array[], rows: number) => void,
  ) {
    assert(blocks >= 1 && blocks <= rows, "each block has a row");
    this.blocksLeft = blocks;
    this.rowsLeft = rows;
    this.#bytesEach = bytes / blocks;
    this.#take = take;
  }

  /** A row was written. */
  wrote(): void {
    this.rowsLeft--;
    assert(this.rowsLeft >= 0, "no more rows come out than the ingress accepted");
  }

  /** Does the block end here? Every later one must get a row. */
  isFull(bytes: () => number): boolean {
    const after = this.blocksLeft - 1;
    return after > 0 && (this.rowsLeft === after || bytes() >= this.#bytesEach);
  }

  take(chunks: readonly Uint8Array[], rows: number): void {
    this.blocksLeft--;
    this.#take(chunks, rows);
  }
}

/** Writes a part of a payload's rows, block by block. */
export class SliceVisitor implements TraceVisitor {
  /** Rows of this part. */
  rows = 0;
  /** Rows of this block that have no tenant and payload id yet. */
  #unnamed = 0;
  /** What a row takes of the resource and scope that the walk is in, and how many rows have not got it. */
  #resourceBytes = 0;
  #resourceRows = 0;
  readonly #columns: BlockColumns;
  readonly #writer: RowWriter;
  readonly #slices: Slices;
  readonly #name: (rows: number) => void;

  /** `name` writes the payload's own columns for so many rows. */
  constructor(columns: BlockColumns, writer: RowWriter, slices: Slices, name: (rows: number) => void) {
    this.#columns = columns;
    this.#writer = writer;
    this.#slices = slices;
    this.#name = name;
  }

  restart(): void {
    if (this.rows > 0) {
      throw new StartOver("the body is not canonical");
    }
    this.#writer.restart();
  }

  enterResource(walk: TraceWalk): void {
    this.#writer.enterResource();
    this.#resourceRows = 0;
    this.#resourceBytes = 0;
    const { entries, count } = walk.resource;
    for (let slot = 0; slot < count * entrySize; slot += entrySize) {
      this.#resourceBytes += attributeBytes + Math.abs(entries[slot + 3] ?? 0);
    }
  }

  enterScope(walk: TraceWalk): void {
    this.#writer.enterScope(walk);
  }

  span(walk: TraceWalk): void {
    this.#writer.span(walk);
    this.rows++;
    this.#unnamed++;
    this.#resourceRows++;
    this.#slices.wrote();
    if (this.#slices.isFull(() => this.#bytes(walk))) {
      this.#writer.pause(walk);
      this.#handOut();
      this.#writer.resume(walk);
      this.#resourceRows = 0;
    }
  }

  rejected(): void {}

  leaveScope(walk: TraceWalk): void {
    this.#writer.leaveScope(walk);
  }

  leaveResource(walk: TraceWalk): void {
    this.#writer.leaveResource(walk);
    this.#resourceRows = 0;
  }

  /** The part is written. After the last one the last block is passed on. */
  finish(): void {
    if (this.#slices.rowsLeft === 0) {
      this.#handOut();
    } else {
      this.#nameRows();
    }
  }

  #bytes({ scopeNameLength, scopeVersionLength }: TraceWalk): number {
    const repeated = rowBytes + this.#resourceBytes + scopeNameLength + scopeVersionLength;
    return (
      this.#columns.length +
      this.#writer.rows * offsetsAgainBytes +
      this.#unnamed * nameBytes +
      this.#resourceRows * repeated
    );
  }

  #handOut(): void {
    this.#nameRows();
    const { rows } = this.#writer;
    this.#slices.take(this.#columns.block(rows), rows);
    this.#columns.clear();
  }

  #nameRows(): void {
    if (this.#unnamed > 0) {
      this.#name(this.#unnamed);
      this.#unnamed = 0;
    }
  }
}
