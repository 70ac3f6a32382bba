/**
 * Finds the fields of one span: a pass over its bytes that stores where things are and copies nothing. Fields may
 * stand in any order, and the last of a repeated scalar wins.
 */
import { AttributeScan } from "./attribute-scan.ts";
import { Ranges, skipUnknown, VarintCursor } from "./canonical-reader.ts";
import { tags } from "./fields.ts";
import { notCanonical } from "./malformed.ts";

const spanFieldMax = 16;
const statusFieldMax = 3;

export class SpanScan {
  traceIdAt = 0;
  traceIdLength = 0;
  spanIdAt = 0;
  spanIdLength = 0;
  parentSpanIdAt = 0;
  parentSpanIdLength = 0;
  traceStateAt = 0;
  traceStateLength = 0;
  nameAt = 0;
  nameLength = 0;
  kind = 0;
  /** Where the eight bytes of the time stand, or -1: absent, which means 0. */
  startTimeAt = -1;
  endTimeAt = -1;
  statusCode = 0;
  statusMessageAt = 0;
  statusMessageLength = 0;
  readonly attributes = new AttributeScan();
  readonly events = new Ranges();
  readonly links = new Ranges();
  readonly #cursor = new VarintCursor();

  /**
   * Takes the Span in `bytes[from, to)`. `view` shows the same bytes. Throws `notCanonical`, or `MalformedBody` from within
   * an unknown field.
   */
  scan(bytes: Uint8Array, view: DataView, from: number, to: number): void {
    this.#clear();
    // Loaded once a span: V8 takes an imported object's fields for variables, and would load them at each comparison.
    const { attributes, traceId, spanId, traceState, parentSpanId, name, kind, startTime, endTime } =
      tags.span;
    let statusSeen = false;
    let at = from;
    while (at < to) {
      const tag = bytes[at] ?? 0;
      if (tag === attributes) {
        const runEnd = this.attributes.addRun(view, at, to, tag);
        if (runEnd !== at) {
          at = runEnd;
          continue;
        }
      }
      at++;
      if ((tag & 7) === 2 && tag < 0x80) {
        let length = bytes[at++] ?? 0;
        if (length >= 0x80) {
          length = this.#cursor.length(bytes, at - 1);
          at = this.#cursor.at;
        }
        const end = at + length;
        if (end > to) {
          throw notCanonical;
        }
        switch (tag) {
          case attributes:
            this.attributes.add(bytes, at, end);
            break;
          case traceId:
            this.traceIdAt = at;
            this.traceIdLength = length;
            break;
          case spanId:
            this.spanIdAt = at;
            this.spanIdLength = length;
            break;
          case traceState:
            this.traceStateAt = at;
            this.traceStateLength = length;
            break;
          case parentSpanId:
            this.parentSpanIdAt = at;
            this.parentSpanIdLength = length;
            break;
          case name:
            this.nameAt = at;
            this.nameLength = length;
            break;
          case tags.span.events:
            this.events.add(at, end);
            break;
          case tags.span.links:
            this.links.add(at, end);
            break;
          case tags.span.status:
            // Two statuses merge, field by field; that is for the slow reader.
            if (statusSeen) {
              throw notCanonical;
            }
            statusSeen = true;
            this.#scanStatus(bytes, at, end);
            break;
          default:
            throw notCanonical;
        }
        at = end;
      } else {
        switch (tag) {
          case startTime:
            this.startTimeAt = at;
            at += 8;
            break;
          case endTime:
            this.endTimeAt = at;
            at += 8;
            break;
          case kind:
            this.kind = this.#cursor.low32(bytes, at);
            at = this.#cursor.at;
            break;
          case tags.span.droppedAttributesCount:
          case tags.span.droppedEventsCount:
          case tags.span.droppedLinksCount:
            this.#cursor.low32(bytes, at);
            at = this.#cursor.at;
            break;
          case tags.span.flagsFirstByte:
            if (bytes[at] === tags.span.flagsSecondByte) {
              at += 5;
            } else {
              at = skipUnknown(bytes, at - 1, to, spanFieldMax);
            }
            break;
          default:
            at = skipUnknown(bytes, at - 1, to, spanFieldMax);
        }
      }
    }
    // A last value that ran past the span's end was read from its neighbour.
    if (at !== to) {
      throw notCanonical;
    }
  }

  /** Lets go of lists that one body has made long. */
  trim(): void {
    this.attributes.trim();
    this.events.trim();
    this.links.trim();
  }

  #scanStatus(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) {
      const tag = bytes[at++] ?? 0;
      if (tag === tags.status.code) {
        this.statusCode = this.#cursor.low32(bytes, at);
        at = this.#cursor.at;
      } else if (tag === tags.status.message) {
        const length = this.#cursor.length(bytes, at);
        at = this.#cursor.at;
        this.statusMessageAt = at;
        this.statusMessageLength = length;
        at += length;
      } else {
        at = skipUnknown(bytes, at - 1, to, statusFieldMax);
      }
    }
    if (at !== to) {
      throw notCanonical;
    }
  }

  #clear(): void {
    this.traceIdLength = 0;
    this.spanIdLength = 0;
    this.parentSpanIdLength = 0;
    this.traceStateLength = 0;
    this.nameLength = 0;
    this.kind = 0;
    this.startTimeAt = -1;
    this.endTimeAt = -1;
    this.statusCode = 0;
    this.statusMessageLength = 0;
    this.attributes.clear();
    this.events.clear();
    this.links.clear();
  }
}
