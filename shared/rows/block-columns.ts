/**
 * The column buffers of one block, and their data in the block's order. `row-writer.ts` fills them; what a column
 * holds is said in `columns.ts`.
 */
import { AttributeMap } from "./attribute-map.ts";
import { ByteSink } from "./byte-sink.ts";
import { type ColumnName, columns } from "./columns.ts";
import { LowCardinality } from "./low-cardinality.ts";
import {
  attributeMapData,
  blockHead,
  columnHead,
  lowCardinalityArrayData,
  lowCardinalityData,
} from "./native-block.ts";

const columnHeads = columns.map((column) => ({ name: column.name, head: columnHead(column) }));

export class BlockColumns {
  readonly timestamp = new ByteSink();
  readonly traceId = new ByteSink();
  readonly spanId = new ByteSink();
  readonly parentSpanId = new ByteSink();
  readonly traceState = new ByteSink();
  readonly spanName = new LowCardinality();
  readonly spanKind = new LowCardinality();
  readonly serviceName = new LowCardinality();
  readonly resourceOffsets = new ByteSink();
  readonly resourceAttributes = new AttributeMap();
  readonly scopeName = new ByteSink();
  readonly scopeVersion = new ByteSink();
  readonly spanOffsets = new ByteSink();
  readonly spanAttributes = new AttributeMap();
  readonly duration = new ByteSink();
  readonly statusCode = new LowCardinality();
  readonly statusMessage = new ByteSink();
  readonly eventOffsets = new ByteSink();
  readonly eventTimestamp = new ByteSink();
  readonly eventName = new LowCardinality();
  readonly eventAttributeOffsets = new ByteSink();
  readonly eventAttributes = new AttributeMap();
  readonly linkOffsets = new ByteSink();
  readonly linkTraceId = new ByteSink();
  readonly linkSpanId = new ByteSink();
  readonly linkTraceState = new ByteSink();
  readonly linkAttributeOffsets = new ByteSink();
  readonly linkAttributes = new AttributeMap();
  readonly tenant = new LowCardinality();
  readonly payload = new ByteSink();

  /** All of them, in no particular order. */
  readonly #all: readonly (ByteSink | LowCardinality | AttributeMap)[] = [
    this.timestamp,
    this.traceId,
    this.spanId,
    this.parentSpanId,
    this.traceState,
    this.spanName,
    this.spanKind,
    this.serviceName,
    this.resourceOffsets,
    this.resourceAttributes,
    this.scopeName,
    this.scopeVersion,
    this.spanOffsets,
    this.spanAttributes,
    this.duration,
    this.statusCode,
    this.statusMessage,
    this.eventOffsets,
    this.eventTimestamp,
    this.eventName,
    this.eventAttributeOffsets,
    this.eventAttributes,
    this.linkOffsets,
    this.linkTraceId,
    this.linkSpanId,
    this.linkTraceState,
    this.linkAttributeOffsets,
    this.linkAttributes,
    this.tenant,
    this.payload,
  ];

  /** Bytes of memory held, written or not. */
  get heldBytes(): number {
    return this.#all.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }

  /** Bytes written. */
  get length(): number {
    return this.#all.reduce((sum, { length }) => sum + length, 0);
  }

  /** Remembers how far each column has got, for `rewind`. */
  mark(): void {
    for (const column of this.#all) {
      column.mark();
    }
  }

  /** Cuts each column back to where it was at `mark`. */
  rewind(): void {
    for (const column of this.#all) {
      column.rewind();
    }
  }

  /** Empties each column and keeps its memory. */
  clear(): void {
    for (const column of this.#all) {
      column.clear();
    }
  }

  /** The block of the columns' first and only `rows` rows. It shares their memory. */
  block(rows: number): readonly Uint8Array[] {
    const chunks: Uint8Array[] = [blockHead(columns.length, rows)];
    for (const { name, head } of columnHeads) {
      chunks.push(head, ...this.#data(name));
    }
    return chunks;
  }

  #data(name: ColumnName): readonly Uint8Array[] {
    switch (name) {
      case "Timestamp":
        return this.timestamp.chunks();
      case "TraceId":
        return this.traceId.chunks();
      case "SpanId":
        return this.spanId.chunks();
      case "ParentSpanId":
        return this.parentSpanId.chunks();
      case "TraceState":
        return this.traceState.chunks();
      case "SpanName":
        return lowCardinalityData(this.spanName);
      case "SpanKind":
        return lowCardinalityData(this.spanKind);
      case "ServiceName":
        return lowCardinalityData(this.serviceName);
      case "ResourceAttributes":
        return attributeMapData([this.resourceOffsets], this.resourceAttributes);
      case "ScopeName":
        return this.scopeName.chunks();
      case "ScopeVersion":
        return this.scopeVersion.chunks();
      case "SpanAttributes":
        return attributeMapData([this.spanOffsets], this.spanAttributes);
      case "Duration":
        return this.duration.chunks();
      case "StatusCode":
        return lowCardinalityData(this.statusCode);
      case "StatusMessage":
        return this.statusMessage.chunks();
      case "Events.Timestamp":
        return [...this.eventOffsets.chunks(), ...this.eventTimestamp.chunks()];
      case "Events.Name":
        return lowCardinalityArrayData(this.eventOffsets, this.eventName);
      case "Events.Attributes":
        return attributeMapData([this.eventOffsets, this.eventAttributeOffsets], this.eventAttributes);
      case "Links.TraceId":
        return [...this.linkOffsets.chunks(), ...this.linkTraceId.chunks()];
      case "Links.SpanId":
        return [...this.linkOffsets.chunks(), ...this.linkSpanId.chunks()];
      case "Links.TraceState":
        return [...this.linkOffsets.chunks(), ...this.linkTraceState.chunks()];
      case "Links.Attributes":
        return attributeMapData([this.linkOffsets, this.linkAttributeOffsets], this.linkAttributes);
      case "HeadraceTenant":
        return lowCardinalityData(this.tenant);
      case "HeadracePayload":
        return this.payload.chunks();
    }
  }
}
