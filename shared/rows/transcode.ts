/**
 * Payloads to one Native block of `otel_traces`: straight from protobuf bytes into column buffers, without an object
 * a span. What a row holds is what the Collector's ClickHouse exporter writes (FACTS D), with two differences: a span
 * that ends before it starts has Duration 0 (theirs wraps to 584 years), and a span that it fails a whole request for
 * is refused alone (`otlp/span-check.ts`).
 *
 * The bytes depend on the payloads and their order alone, never on what this isolate did before: a group that is
 * tried again sends the same block.
 */
import { assert } from "../assert.ts";
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { EventScan } from "../otlp/event-scan.ts";
import { LinkScan } from "../otlp/link-scan.ts";
import { isZero, type SpanBounds } from "../otlp/span-check.ts";
import { type TraceVisitor, TraceWalk } from "../otlp/trace-walk.ts";
import { AttributeMap } from "./attribute-map.ts";
import { ByteSink } from "./byte-sink.ts";
import { type ColumnName, columns } from "./columns.ts";
import { appendString } from "./copy-bytes.ts";
import { DayCount } from "./day-count.ts";
import { appendHex } from "./hex-text.ts";
import { LowCardinality } from "./low-cardinality.ts";
import {
  appendOffset,
  attributeMapData,
  blockHead,
  columnHead,
  lowCardinalityArrayData,
  lowCardinalityData,
} from "./native-block.ts";
import { ValueText } from "./value-text.ts";

/**
 * Raised when a payload's block would come out with other bytes. A group that was tried under another version is
 * verified instead of being sent again.
 */
export const codecVersion = 1;

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
const traceIdBytes = 16;
const spanIdBytes = 8;

/** pdata/ptrace/span_kind.go; other numbers give the empty text. */
const spanKindTexts = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
/** pdata/ptrace/status_code.go */
const statusCodeTexts = ["Unset", "Ok", "Error"];

const encoder = new TextEncoder();
const serviceNameKey = encoder.encode("service.name");

/** How far each column had got: what a failing payload is cut back to. */
type Mark = readonly number[];

export class BlockBuilder {
  #rows = 0;
  #finished = false;

  readonly #timestamp = new ByteSink();
  readonly #traceId = new ByteSink();
  readonly #spanId = new ByteSink();
  readonly #parentSpanId = new ByteSink();
  readonly #traceState = new ByteSink();
  readonly #spanName = new LowCardinality();
  readonly #spanKind = new LowCardinality();
  readonly #serviceName = new LowCardinality();
  readonly #resourceOffsets = new ByteSink();
  readonly #resourceAttributes = new AttributeMap();
  readonly #scopeName = new ByteSink();
  readonly #scopeVersion = new ByteSink();
  readonly #spanOffsets = new ByteSink();
  readonly #spanAttributes = new AttributeMap();
  readonly #duration = new ByteSink();
  readonly #statusCode = new LowCardinality();
  readonly #statusMessage = new ByteSink();
  readonly #eventOffsets = new ByteSink();
  readonly #eventTimestamp = new ByteSink();
  readonly #eventName = new LowCardinality();
  readonly #eventAttributeOffsets = new ByteSink();
  readonly #eventAttributes = new AttributeMap();
  readonly #linkOffsets = new ByteSink();
  readonly #linkTraceId = new ByteSink();
  readonly #linkSpanId = new ByteSink();
  readonly #linkTraceState = new ByteSink();
  readonly #linkAttributeOffsets = new ByteSink();
  readonly #linkAttributes = new AttributeMap();
  readonly #tenant = new LowCardinality();
  readonly #payload = new ByteSink();

  /** The columns that grow by bytes, in no particular order. */
  readonly #sinks = [
    this.#timestamp,
    this.#traceId,
    this.#spanId,
    this.#parentSpanId,
    this.#traceState,
    this.#resourceOffsets,
    this.#scopeName,
    this.#scopeVersion,
    this.#spanOffsets,
    this.#duration,
    this.#statusMessage,
    this.#eventOffsets,
    this.#eventTimestamp,
    this.#eventAttributeOffsets,
    this.#linkOffsets,
    this.#linkTraceId,
    this.#linkSpanId,
    this.#linkTraceState,
    this.#linkAttributeOffsets,
    this.#payload,
  ];
  readonly #lowCardinalities = [
    this.#spanName,
    this.#spanKind,
    this.#serviceName,
    this.#statusCode,
    this.#eventName,
    this.#tenant,
  ];
  readonly #maps = [
    this.#resourceAttributes,
    this.#spanAttributes,
    this.#eventAttributes,
    this.#linkAttributes,
  ];

  /**
   * Adds one payload's rows. Either all of them are added or, when it throws, none. Throws `MalformedBody` for what is
   * not OTLP, `BrokenInvariant` when the rows are not as many as the ingress accepted.
   */
  add(payload: TranscodePayload): AddedPayload {
    assert(!this.#finished, "a finished block takes no more payloads");
    assert(payload.id.length === payloadIdBytes, "a payload id is 16 bytes");
    const mark = this.#mark();
    const rowsBefore = this.#rows;
    try {
      let days = new DayCount();
      TraceWalk.run(payload.body, payload.bounds, () => {
        this.#rewind(mark, rowsBefore);
        days = new DayCount();
        return this.#visitor(days);
      });
      const rows = this.#rows - rowsBefore;
      assert(rows === payload.spans, `the ingress accepted ${payload.spans} spans, ${rows} rows came out`);
      this.#payload.appendRepeated(payload.id.slice(), rows);
      const tenant = internText(this.#tenant, payload.tenant);
      this.#tenant.appendRepeated(Int32Array.of(tenant), 1, rows);
      return { rows, rowsByDay: days.byDay };
    } catch (error) {
      this.#rewind(mark, rowsBefore);
      throw error;
    }
  }

  /** Ends the block. A block of no rows must not be sent: the engine takes it for the end of the input. */
  finish(): Block {
    this.#finished = true;
    const chunks: Uint8Array[] = [blockHead(columns.length, this.#rows)];
    for (const column of columns) {
      chunks.push(columnHead(column), ...this.#data(column.name));
    }
    return { rows: this.#rows, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0), chunks };
  }

  #data(name: ColumnName): readonly Uint8Array[] {
    switch (name) {
      case "Timestamp":
        return this.#timestamp.chunks();
      case "TraceId":
        return this.#traceId.chunks();
      case "SpanId":
        return this.#spanId.chunks();
      case "ParentSpanId":
        return this.#parentSpanId.chunks();
      case "TraceState":
        return this.#traceState.chunks();
      case "SpanName":
        return lowCardinalityData(this.#spanName);
      case "SpanKind":
        return lowCardinalityData(this.#spanKind);
      case "ServiceName":
        return lowCardinalityData(this.#serviceName);
      case "ResourceAttributes":
        return attributeMapData([this.#resourceOffsets], this.#resourceAttributes);
      case "ScopeName":
        return this.#scopeName.chunks();
      case "ScopeVersion":
        return this.#scopeVersion.chunks();
      case "SpanAttributes":
        return attributeMapData([this.#spanOffsets], this.#spanAttributes);
      case "Duration":
        return this.#duration.chunks();
      case "StatusCode":
        return lowCardinalityData(this.#statusCode);
      case "StatusMessage":
        return this.#statusMessage.chunks();
      case "Events.Timestamp":
        return [...this.#eventOffsets.chunks(), ...this.#eventTimestamp.chunks()];
      case "Events.Name":
        return lowCardinalityArrayData(this.#eventOffsets, this.#eventName);
      case "Events.Attributes":
        return attributeMapData([this.#eventOffsets, this.#eventAttributeOffsets], this.#eventAttributes);
      case "Links.TraceId":
        return [...this.#linkOffsets.chunks(), ...this.#linkTraceId.chunks()];
      case "Links.SpanId":
        return [...this.#linkOffsets.chunks(), ...this.#linkSpanId.chunks()];
      case "Links.TraceState":
        return [...this.#linkOffsets.chunks(), ...this.#linkTraceState.chunks()];
      case "Links.Attributes":
        return attributeMapData([this.#linkOffsets, this.#linkAttributeOffsets], this.#linkAttributes);
      case "HeadraceTenant":
        return lowCardinalityData(this.#tenant);
      case "HeadracePayload":
        return this.#payload.chunks();
    }
  }

  #visitor(days: DayCount): TraceVisitor {
    const event = new EventScan();
    const link = new LinkScan();
    const kinds = spanKindTexts.map(() => -1);
    const codes = statusCodeTexts.map(() => -1);
    /** Rows before this resource, and before this scope. */
    let resourceStart = 0;
    let scopeStart = 0;

    return {
      enterResource: () => {
        resourceStart = this.#rows;
      },
      enterScope: () => {
        scopeStart = this.#rows;
      },
      span: (walk) => {
        this.#rows++;
        this.#appendSpan(walk, days, kinds, codes, event, link);
      },
      rejected: () => {},
      leaveScope: (walk) => {
        const rows = this.#rows - scopeStart;
        const { bytes } = walk;
        this.#scopeName.appendRepeated(stringOf(bytes, walk.scopeNameAt, walk.scopeNameLength), rows);
        this.#scopeVersion.appendRepeated(
          stringOf(bytes, walk.scopeVersionAt, walk.scopeVersionLength),
          rows,
        );
      },
      leaveResource: (walk) => {
        this.#appendResource(walk, this.#rows - resourceStart);
      },
    };
  }

  /** The columns that all spans of a resource share. */
  #appendResource(walk: TraceWalk, rows: number): void {
    if (rows === 0) {
      return;
    }
    const { bytes, view, resource } = walk;
    const service = this.#serviceName.keys;
    const name = serviceName(bytes, view, resource);
    const key = service.intern(name, viewOf(name), 0, name.length);
    this.#serviceName.appendRepeated(Int32Array.of(key), 1, rows);

    let total = this.#resourceAttributes.keys.rows;
    for (let i = 0; i < rows; i++) {
      total += resource.count;
      appendOffset(this.#resourceOffsets, total);
    }
    this.#resourceAttributes.appendRepeated(bytes, view, resource, rows);
  }

  #appendSpan(
    walk: TraceWalk,
    days: DayCount,
    kinds: number[],
    codes: number[],
    event: EventScan,
    link: LinkScan,
  ): void {
    const { bytes, view, span } = walk;
    appendTime(this.#timestamp, view, span.startTimeAt);
    days.add(view, span.startTimeAt);
    appendHex(this.#traceId, bytes, span.traceIdAt, traceIdBytes);
    appendHex(this.#spanId, bytes, span.spanIdAt, spanIdBytes);
    appendId(this.#parentSpanId, bytes, view, span.parentSpanIdAt, span.parentSpanIdLength);
    appendString(this.#traceState, bytes, view, span.traceStateAt, span.traceStateLength);
    this.#spanName.append(this.#spanName.keys.intern(bytes, view, span.nameAt, span.nameLength));
    appendEnum(this.#spanKind, spanKindTexts, kinds, span.kind);
    this.#spanAttributes.append(bytes, view, span.attributes);
    appendOffset(this.#spanOffsets, this.#spanAttributes.keys.rows);
    appendDuration(this.#duration, view, span.startTimeAt, span.endTimeAt);
    appendEnum(this.#statusCode, statusCodeTexts, codes, span.statusCode);
    appendString(this.#statusMessage, bytes, view, span.statusMessageAt, span.statusMessageLength);

    const { events, links } = span;
    for (let i = 0; i < events.count; i++) {
      event.scan(bytes, events.at[2 * i] ?? 0, events.at[2 * i + 1] ?? 0);
      appendTime(this.#eventTimestamp, view, event.timeAt);
      this.#eventName.append(this.#eventName.keys.intern(bytes, view, event.nameAt, event.nameLength));
      this.#eventAttributes.append(bytes, view, event.attributes);
      appendOffset(this.#eventAttributeOffsets, this.#eventAttributes.keys.rows);
    }
    appendOffset(this.#eventOffsets, this.#eventName.rows);
    for (let i = 0; i < links.count; i++) {
      link.scan(bytes, links.at[2 * i] ?? 0, links.at[2 * i + 1] ?? 0);
      appendId(this.#linkTraceId, bytes, view, link.traceIdAt, link.traceIdLength);
      appendId(this.#linkSpanId, bytes, view, link.spanIdAt, link.spanIdLength);
      appendString(this.#linkTraceState, bytes, view, link.traceStateAt, link.traceStateLength);
      this.#linkAttributes.append(bytes, view, link.attributes);
      appendOffset(this.#linkAttributeOffsets, this.#linkAttributes.keys.rows);
    }
    appendOffset(this.#linkOffsets, this.#linkAttributeOffsets.length / 8);
  }

  #mark(): Mark {
    return [
      ...this.#sinks.map((sink) => sink.length),
      ...this.#lowCardinalities.flatMap((column) => [column.rows, column.keys.count]),
      ...this.#maps.flatMap((map) => [map.keys.rows, map.keys.keys.count, map.valueBytes]),
    ];
  }

  #rewind(mark: Mark, rows: number): void {
    if (this.#rows === rows && this.#mark().every((length, i) => length === mark[i])) {
      return;
    }
    let i = 0;
    const next = (): number => mark[i++] ?? 0;
    for (const sink of this.#sinks) {
      sink.truncate(next());
    }
    for (const column of this.#lowCardinalities) {
      column.truncate(next(), next());
    }
    for (const map of this.#maps) {
      map.truncate(next(), next(), next());
    }
    this.#rows = rows;
  }
}

/** The first `service.name` among the attributes, as text; empty without one. */
function serviceName(bytes: Uint8Array, view: DataView, scan: AttributeScan): Uint8Array {
  const { entries, count } = scan;
  for (let slot = 0; slot < count * entrySize; slot += entrySize) {
    const keyAt = entries[slot] ?? 0;
    const keyLength = entries[slot + 1] ?? 0;
    if (keyLength === serviceNameKey.length && serviceNameKey.every((byte, i) => byte === bytes[keyAt + i])) {
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (valueLength >= 0) {
        return bytes.subarray(valueAt, valueAt + valueLength);
      }
      const text = new ValueText();
      text.write(bytes, view, valueAt, valueAt - valueLength);
      return text.bytes.subarray(0, text.length);
    }
  }
  return new Uint8Array(0);
}

/** An id as hex, or the empty text when it is absent or all zero. */
function appendId(sink: ByteSink, bytes: Uint8Array, view: DataView, at: number, length: number): void {
  if (length === 0 || isZero(view, at, length)) {
    sink.byte(0);
  } else {
    appendHex(sink, bytes, at, length);
  }
}

/** A time: OTLP's fixed64 nanoseconds are DateTime64(9)'s eight bytes. An absent time is 0. */
function appendTime(sink: ByteSink, view: DataView, at: number): void {
  sink.reserve(8);
  sink.view.setInt32(sink.at, at < 0 ? 0 : view.getInt32(at, true), true);
  sink.view.setInt32(sink.at + 4, at < 0 ? 0 : view.getInt32(at + 4, true), true);
  sink.at += 8;
}

/** End minus start in nanoseconds, 64 bits with borrow; 0 when the end lies before the start or is absent. */
function appendDuration(sink: ByteSink, view: DataView, startAt: number, endAt: number): void {
  const startLow = view.getUint32(startAt, true);
  const startHigh = view.getUint32(startAt + 4, true);
  const endLow = endAt < 0 ? 0 : view.getUint32(endAt, true);
  const endHigh = endAt < 0 ? 0 : view.getUint32(endAt + 4, true);
  const inOrder = endHigh > startHigh || (endHigh === startHigh && endLow >= startLow);
  const borrow = endLow < startLow ? 1 : 0;
  sink.reserve(8);
  sink.view.setUint32(sink.at, inOrder ? endLow - startLow : 0, true);
  sink.view.setUint32(sink.at + 4, inOrder ? endHigh - startHigh - borrow : 0, true);
  sink.at += 8;
}

/** `keys` remembers the dictionary's number of each text in this payload, -1 where it is not known yet. */
function appendEnum(column: LowCardinality, texts: readonly string[], keys: number[], value: number): void {
  const text = texts[value];
  if (text === undefined) {
    column.append(internText(column, ""));
    return;
  }
  let key = keys[value] ?? -1;
  if (key < 0) {
    key = internText(column, text);
    keys[value] = key;
  }
  column.append(key);
}

function internText(column: LowCardinality, text: string): number {
  const bytes = encoder.encode(text);
  return column.keys.intern(bytes, viewOf(bytes), 0, bytes.length);
}

/** `bytes[from, from + length)` as a ClickHouse String. */
function stringOf(bytes: Uint8Array, from: number, length: number): Uint8Array {
  const sink = new ByteSink();
  appendString(sink, bytes, viewOf(bytes), from, length);
  return sink.bytes.subarray(0, sink.at);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
