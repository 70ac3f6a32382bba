/**
 * Payloads to one Native block of `otel_traces`: straight from protobuf bytes into column buffers, without an object
 * a span. What a row holds is what the Collector's ClickHouse exporter writes (docs/facts.md: collector), with these differences: a span
 * that ends before it starts has Duration 0 (theirs wraps to 584 years), and an item that is broken costs that item
 * (decisions 0020 and 0024).
 *
 * The bytes depend on the payloads and their order alone, never on what this isolate did before: a group that is
 * retried sends the same block.
 */
import { assert } from "../assert.ts";
import type { SpanBounds } from "../otlp/span-check.ts";
import { TraceWalk } from "../otlp/trace-walk.ts";
import { BlockColumns } from "./block-columns.ts";
import { RowWriter } from "./row-writer.ts";
import { type Slices, SliceVisitor } from "./slices.ts";

/**
 * Raised when a payload's block would come out with other bytes. A group that was tried under another version is
 * verified instead of being sent again.
 */
export const codecVersion = 2;

export interface TranscodePayload {
  /** 16 bytes, into HeadracePayload. */
  readonly id: Uint8Array;
  readonly tenant: string;
  /** An inflated ExportTraceServiceRequest in protobuf. It is not kept. */
  readonly body: Uint8Array;
  /** The bounds that the ingress applied. */
  readonly bounds: SpanBounds;
  /** Spans that the ingress accepted: the rows that must come out. */
  readonly spans: number;
}

export interface AddedPayload {
  readonly rows: number;
  /** Rows by UTC day of their start: days since the epoch, ClickHouse's toDate. */
  readonly rowsByDay: ReadonlyMap<number, number>;
}

export interface Block {
  readonly rows: number;
  readonly bytes: number;
  /** The block, to be sent in this order. They share memory with each other; do not write into them. */
  readonly chunks: Iterable<Uint8Array>;
}

const payloadIdBytes = 16;
const encoder = new TextEncoder();

export class BlockBuilder {
  #finished = false;
  readonly #columns = new BlockColumns();
  readonly #writer = new RowWriter(this.#columns);
  readonly #walk = new TraceWalk();

  /** Bytes of memory held, written or not. */
  get heldBytes(): number {
    return this.#columns.heldBytes + this.#writer.heldBytes;
  }

  /**
   * Adds one payload's rows. Either all of them are added or, when it throws, none. Throws `MalformedBody` for what is
   * not OTLP, `BrokenInvariant` when the rows are not as many as the ingress accepted.
   */
  add(payload: TranscodePayload): AddedPayload {
    assert(!this.#finished, "a finished block takes no more payloads");
    assert(payload.id.length === payloadIdBytes, "a payload id is 16 bytes");
    const writer = this.#writer;
    const rowsBefore = writer.rows;
    writer.begin();
    try {
      this.#walk.run(payload.body, payload.bounds, writer);
      const rows = writer.rows - rowsBefore;
      assert(rows === payload.spans, `the ingress accepted ${payload.spans} spans, ${rows} rows came out`);
      this.#appendPayload(payload, rows);
      return { rows, rowsByDay: writer.days.byDay() };
    } catch (error) {
      writer.rewind();
      throw error;
    }
  }

  /**
   * Adds one payload's rows in blocks, each passed on as it is full: the builder never holds more than one. Called once for
   * each part (day) of the payload; the last block is passed on with the last row. When it throws, what was passed on is
   * void, and the builder must be cleared: `StartOver` where the body must be rewritten at once.
   */
  addSliced(payload: TranscodePayload, slices: Slices): AddedPayload {
    assert(payload.id.length === payloadIdBytes, "a payload id is 16 bytes");
    const writer = this.#writer;
    writer.begin();
    const visitor = new SliceVisitor(this.#columns, writer, slices, (rows) =>
      this.#appendPayload(payload, rows),
    );
    this.#walk.run(payload.body, payload.bounds, visitor);
    const { rows } = visitor;
    assert(rows === payload.spans, `the ingress accepted ${payload.spans} spans, ${rows} rows came out`);
    visitor.finish();
    return { rows, rowsByDay: writer.days.byDay() };
  }

  /**
   * Ends the block. A block of no rows must not be sent: the engine takes it for the end of the input. Its chunks are
   * the builder's memory, and good until `clear`.
   */
  finish(): Block {
    this.#finished = true;
    const { rows } = this.#writer;
    const chunks = this.#columns.block(rows);
    return { rows, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0), chunks };
  }

  /** Makes the builder as good as new, for another block in the same memory. */
  clear(): void {
    this.#columns.clear();
    this.#writer.clear();
    this.#finished = false;
  }

  #appendPayload({ id, tenant }: TranscodePayload, rows: number): void {
    const column = this.#columns.tenant;
    const text = encoder.encode(tenant);
    const key = column.keys.intern(
      text,
      new DataView(text.buffer, text.byteOffset, text.length),
      0,
      text.length,
    );
    column.appendFilled(key, rows);
    this.#columns.payload.appendRepeated(id, rows);
  }
}
