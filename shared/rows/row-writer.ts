/**
 * Writes a row a span into the column buffers, station by station of the walk. What all spans of a resource or scope
 * share is written when it ends, once, and then repeated.
 */
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { DayCount } from "../otlp/day-count.ts";
import { EventScan } from "../otlp/event-scan.ts";
import { LinkScan } from "../otlp/link-scan.ts";
import { isZero } from "../otlp/span-check.ts";
import type { SpanScan } from "../otlp/span-scan.ts";
import type { TraceVisitor, TraceWalk } from "../otlp/trace-walk.ts";
import type { BlockColumns } from "./block-columns.ts";
import { ByteSink } from "./byte-sink.ts";
import { appendString } from "./copy-bytes.ts";
import { appendHex, hexUnchecked } from "./hex-text.ts";
import type { LowCardinality } from "./low-cardinality.ts";
import { appendOffset, offsetBytes, offsetUnchecked } from "./native-block.ts";
import { ValueText } from "./value-text.ts";

const traceIdBytes = 16;
const spanIdBytes = 8;
const timeBytes = 8;
const signBit = 0x80000000 | 0;
/** Kept for the next block. A resource can have 20 MiB. */
const scratchBytesKept = 256 * 1024;
/** An id's length and its digits. */
const traceIdTextBytes = 1 + 2 * traceIdBytes;
const spanIdTextBytes = 1 + 2 * spanIdBytes;

/** pdata/ptrace/span_kind.go; other numbers give the empty text. */
export const spanKindTexts = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
/** pdata/ptrace/status_code.go */
export const statusCodeTexts = ["Unset", "Ok", "Error"];

const encoder = new TextEncoder();
const serviceNameKey = encoder.encode("service.name");

export class RowWriter implements TraceVisitor {
  /** Rows in the block. */
  rows = 0;
  /** Links in the block. */
  #links = 0;
  days = new DayCount();
  readonly #columns: BlockColumns;
  /** Dictionary numbers of the texts above, in this payload; -1 where they are not known yet. */
  readonly #spanKinds = new Int32Array(spanKindTexts.length);
  readonly #statusCodes = new Int32Array(statusCodeTexts.length);
  readonly #event = new EventScan();
  readonly #link = new LinkScan();
  readonly #text = new ValueText();
  #scratch = new ByteSink();
  /** Rows before this payload, this resource and this scope. */
  #payloadStart = 0;
  #linksStart = 0;
  #resourceStart = 0;
  #scopeStart = 0;

  constructor(columns: BlockColumns) {
    this.#columns = columns;
  }

  /** Bytes of memory held beside the columns. */
  get heldBytes(): number {
    return this.#text.bytes.length + this.#scratch.heldBytes;
  }

  /** Before each payload; `rewind` comes back to here. */
  begin(): void {
    this.#columns.mark();
    this.#payloadStart = this.rows;
    this.#linksStart = this.#links;
    this.#forget();
  }

  /** Takes back what was written since `begin`. */
  rewind(): void {
    this.#columns.rewind();
    this.rows = this.#payloadStart;
    this.#links = this.#linksStart;
    this.#forget();
  }

  restart(): void {
    this.rewind();
  }

  /** Begins another block in the same columns, which somebody has cleared. */
  clear(): void {
    this.rows = 0;
    this.#links = 0;
    this.#text.trim();
    if (this.#scratch.heldBytes > scratchBytesKept) {
      this.#scratch = new ByteSink();
    }
  }

  /**
   * Ends a block within a payload: what its rows share of the resource and scope that the walk is in is written. The rows
   * that follow go into the same columns when somebody has cleared them, and `resume` was called.
   */
  pause(walk: TraceWalk): void {
    this.leaveScope(walk);
    this.leaveResource(walk);
  }

  /** The next row is the first of another block of the same payload, resource and scope. */
  resume(walk: TraceWalk): void {
    this.clear();
    this.#resourceStart = 0;
    this.#scopeStart = 0;
    this.#forgetNumbers();
    this.#reserveRows(walk.spansInScope - walk.spanIndex - 1);
  }

  #forget(): void {
    this.days = new DayCount();
    this.#forgetNumbers();
  }

  #forgetNumbers(): void {
    this.#spanKinds.fill(-1);
    this.#statusCodes.fill(-1);
  }

  enterResource(): void {
    this.#resourceStart = this.rows;
  }

  enterScope(walk: TraceWalk): void {
    this.#scopeStart = this.rows;
    if (walk.spansInScope > 0) {
      this.#reserveRows(walk.spansInScope);
    }
  }

  span(walk: TraceWalk): void {
    this.rows++;
    this.#appendSpan(walk.bytes, walk.view, walk.span);
  }

  rejected(): void {}

  leaveScope(walk: TraceWalk): void {
    const rows = this.rows - this.#scopeStart;
    if (rows === 0) {
      return;
    }
    const { scopeName, scopeVersion } = this.#columns;
    this.#appendRepeated(scopeName, walk, walk.scopeNameAt, walk.scopeNameLength, rows);
    this.#appendRepeated(scopeVersion, walk, walk.scopeVersionAt, walk.scopeVersionLength, rows);
  }

  /** The columns that all spans of a resource share. */
  leaveResource(walk: TraceWalk): void {
    const rows = this.rows - this.#resourceStart;
    if (rows === 0) {
      return;
    }
    const { bytes, view, resource } = walk;
    const { serviceName, resourceOffsets, resourceAttributes } = this.#columns;
    serviceName.appendFilled(this.#serviceName(bytes, view, resource), rows);

    let total = resourceAttributes.keys.rows;
    resourceOffsets.reserve(rows * offsetBytes);
    for (let i = 0; i < rows; i++) {
      total += resource.count;
      offsetUnchecked(resourceOffsets, total);
    }
    resourceAttributes.appendRepeated(bytes, view, resource, rows, this.#scratch);
  }

  /** Makes room in the columns where each row takes the same bytes. */
  #reserveRows(rows: number): void {
    const columns = this.#columns;
    columns.timestamp.reserve(rows * timeBytes);
    columns.traceId.reserve(rows * traceIdTextBytes);
    columns.spanId.reserve(rows * spanIdTextBytes);
    columns.parentSpanId.reserve(rows * spanIdTextBytes);
    columns.duration.reserve(rows * timeBytes);
    columns.spanOffsets.reserve(rows * offsetBytes);
    columns.eventOffsets.reserve(rows * offsetBytes);
    columns.linkOffsets.reserve(rows * offsetBytes);
    columns.spanName.reserve(rows);
    columns.spanKind.reserve(rows);
    columns.statusCode.reserve(rows);
  }

  #appendSpan(bytes: Uint8Array, view: DataView, span: SpanScan): void {
    const columns = this.#columns;
    timeUnchecked(columns.timestamp, view, span.startTimeAt);
    this.days.add(view, span.startTimeAt);
    hexUnchecked(columns.traceId, view, span.traceIdAt, traceIdBytes);
    hexUnchecked(columns.spanId, view, span.spanIdAt, spanIdBytes);
    if (span.parentSpanIdLength === 0 || isZero(view, span.parentSpanIdAt, spanIdBytes)) {
      columns.parentSpanId.bytes[columns.parentSpanId.at++] = 0;
    } else {
      hexUnchecked(columns.parentSpanId, view, span.parentSpanIdAt, spanIdBytes);
    }
    appendString(columns.traceState, bytes, view, span.traceStateAt, span.traceStateLength);
    const { spanName } = columns;
    spanName.appendUnchecked(spanName.keys.intern(bytes, view, span.nameAt, span.nameLength));
    enumUnchecked(columns.spanKind, spanKindTexts, this.#spanKinds, span.kind);
    columns.spanAttributes.append(bytes, view, span.attributes);
    offsetUnchecked(columns.spanOffsets, columns.spanAttributes.keys.rows);
    durationUnchecked(columns.duration, view, span.startTimeAt, span.endTimeAt);
    enumUnchecked(columns.statusCode, statusCodeTexts, this.#statusCodes, span.statusCode);
    appendString(columns.statusMessage, bytes, view, span.statusMessageAt, span.statusMessageLength);
    if (span.events.count > 0) {
      this.#appendEvents(bytes, view, span);
    }
    offsetUnchecked(columns.eventOffsets, columns.eventName.rows);
    if (span.links.count > 0) {
      this.#appendLinks(bytes, view, span);
    }
    offsetUnchecked(columns.linkOffsets, this.#links);
  }

  #appendEvents(bytes: Uint8Array, view: DataView, { events }: SpanScan): void {
    const { eventTimestamp, eventName, eventAttributes, eventAttributeOffsets } = this.#columns;
    const event = this.#event;
    for (let i = 0; i < events.count; i++) {
      event.scan(bytes, view, events.at[2 * i] ?? 0, events.at[2 * i + 1] ?? 0);
      eventTimestamp.reserve(timeBytes);
      timeUnchecked(eventTimestamp, view, event.timeAt);
      eventName.append(eventName.keys.intern(bytes, view, event.nameAt, event.nameLength));
      eventAttributes.append(bytes, view, event.attributes);
      appendOffset(eventAttributeOffsets, eventAttributes.keys.rows);
    }
  }

  #appendLinks(bytes: Uint8Array, view: DataView, { links }: SpanScan): void {
    const { linkTraceId, linkSpanId, linkTraceState, linkAttributes, linkAttributeOffsets } = this.#columns;
    const link = this.#link;
    this.#links += links.count;
    for (let i = 0; i < links.count; i++) {
      link.scan(bytes, view, links.at[2 * i] ?? 0, links.at[2 * i + 1] ?? 0);
      appendId(linkTraceId, view, link.traceIdAt, link.traceIdLength);
      appendId(linkSpanId, view, link.spanIdAt, link.spanIdLength);
      appendString(linkTraceState, bytes, view, link.traceStateAt, link.traceStateLength);
      linkAttributes.append(bytes, view, link.attributes);
      appendOffset(linkAttributeOffsets, linkAttributes.keys.rows);
    }
  }

  #appendRepeated(sink: ByteSink, walk: TraceWalk, from: number, length: number, times: number): void {
    const scratch = this.#scratch;
    scratch.clear();
    appendString(scratch, walk.bytes, walk.view, from, length);
    sink.appendRepeated(scratch.joined(), times);
  }

  /** The number of the first `service.name` among the attributes, as text; of the empty text without one. */
  #serviceName(bytes: Uint8Array, view: DataView, { entries, count }: AttributeScan): number {
    const { keys } = this.#columns.serviceName;
    for (let slot = 0; slot < count * entrySize; slot += entrySize) {
      if (!isServiceName(bytes, entries[slot] ?? 0, entries[slot + 1] ?? 0)) {
        continue;
      }
      const valueAt = entries[slot + 2] ?? 0;
      const valueLength = entries[slot + 3] ?? 0;
      if (valueLength >= 0) {
        return keys.intern(bytes, view, valueAt, valueLength);
      }
      const text = this.#text;
      text.write(bytes, view, valueAt, valueAt - valueLength);
      return keys.intern(text.bytes, text.view, 0, text.length);
    }
    return keys.intern(bytes, view, 0, 0);
  }
}

function isServiceName(bytes: Uint8Array, at: number, length: number): boolean {
  if (length !== serviceNameKey.length) {
    return false;
  }
  for (let i = 0; i < length; i++) {
    if (bytes[at + i] !== serviceNameKey[i]) {
      return false;
    }
  }
  return true;
}

/** An id as hex, or the empty text when it is absent or all zero. */
function appendId(sink: ByteSink, view: DataView, at: number, length: number): void {
  if (length === 0 || isZero(view, at, length)) {
    sink.byte(0);
  } else {
    appendHex(sink, view, at, length);
  }
}

/** A time: OTLP's fixed64 nanoseconds are DateTime64(9)'s eight bytes. An absent time is 0. */
function timeUnchecked(sink: ByteSink, view: DataView, from: number): void {
  const low = from < 0 ? 0 : view.getInt32(from, true);
  const high = from < 0 ? 0 : view.getInt32(from + 4, true);
  wordsUnchecked(sink, low, high);
}

/**
 * End minus start in nanoseconds, 64 bits with borrow; 0 when the end lies before the start or is absent. "Before" is what
 * ClickHouse sees in the same 64 bits: signed. An end of 2^63 or more (Go's zero time is 11651379494838206464) lies
 * before 1970, and a Duration beyond 2^63 would break `addNanoseconds(Timestamp, Duration)` for every query over its row.
 */
function durationUnchecked(sink: ByteSink, view: DataView, startAt: number, endAt: number): void {
  // Signed 32-bit words, which V8 keeps as integers; flipping the sign bit compares the low ones as if unsigned.
  const startLow = view.getInt32(startAt, true);
  const startHigh = view.getInt32(startAt + 4, true);
  const endLow = endAt < 0 ? 0 : view.getInt32(endAt, true);
  const endHigh = endAt < 0 ? 0 : view.getInt32(endAt + 4, true);
  const borrow = (endLow ^ signBit) < (startLow ^ signBit) ? 1 : 0;
  const before = endHigh === startHigh ? borrow === 1 : endHigh < startHigh;
  const low = before ? 0 : (endLow - startLow) | 0;
  const high = before ? 0 : (endHigh - startHigh - borrow) | 0;
  wordsUnchecked(sink, low, high);
}

/**
 * Appends 64 bits from two 32-bit words. A choice among the arguments of a `setInt32` makes V8 forget that it writes into a
 * DataView, and call it: they are chosen before.
 */
function wordsUnchecked(sink: ByteSink, low: number, high: number): void {
  const { at, view } = sink;
  view.setInt32(at, low, true);
  view.setInt32(at + 4, high, true);
  sink.at = at + timeBytes;
}

/** `numbers` remembers the dictionary's number of each text. */
function enumUnchecked(
  column: LowCardinality,
  texts: readonly string[],
  numbers: Int32Array,
  value: number,
): void {
  let number = value >= 0 && value < numbers.length ? (numbers[value] ?? -1) : -1;
  if (number < 0) {
    const text = encoder.encode(texts[value] ?? "");
    const view = new DataView(text.buffer, text.byteOffset, text.length);
    number = column.keys.intern(text, view, 0, text.length);
    if (value >= 0 && value < numbers.length) {
      numbers[value] = number;
    }
  }
  column.appendUnchecked(number);
}
