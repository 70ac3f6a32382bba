/**
 * Which spans of an otherwise good payload are refused, and why. Ingress and consumer both decide by this function
 * and by the bounds in the payload's metadata, so that the rows written are the spans that were promised.
 *
 * Source: OTLP's field comments (a trace id is 16 bytes, a span id 8, neither all zero; a parent is empty or 8). The
 * Collector fails the whole request for a wrong length; we name the span and take the others. The time bounds keep
 * one wrong clock from scattering a block over a hundred partitions (DESIGN 4).
 */
import { LinkScan } from "./link-scan.ts";
import { everyTrace, thresholdParts } from "./sample-threshold.ts";
import type { SpanScan } from "./span-scan.ts";

/** Span start times accepted, ms since the epoch, both inclusive (a start within the last millisecond is accepted). */
export interface SpanBounds {
  readonly startMinMs: number;
  readonly startMaxMs: number;
  /** The first end time accepted: a span is old by its end. Absent for payloads of an older version. */
  readonly endMinMs?: number;
  /** Traces below it are left out (sample-threshold.ts); none are where it is absent. */
  readonly sampleThreshold?: string;
}

/** The refusal of a span that is good and left out by its trace's id. */
export const sampledOut = "sampled out";

const traceIdBytes = 16;
const spanIdBytes = 8;
const nanosPerMs = 1_000_000n;

export class SpanCheck {
  #bounds: SpanBounds = { startMinMs: 0, startMaxMs: 0 };
  /** The bounds in nanoseconds, as high and low 32 bits: the lowest accepted, and the first that is too late. */
  #minHigh = 0;
  #minLow = 0;
  #endMinHigh = 0;
  #endMinLow = 0;
  #limitHigh = 0;
  #limitLow = 0;
  #sampleHigh = 0;
  #sampleLow = 0;
  readonly #link = new LinkScan();

  /** Checks by these bounds from now on. */
  use(bounds: SpanBounds): void {
    this.#bounds = bounds;
    const min = BigInt(Math.max(0, Math.ceil(bounds.startMinMs))) * nanosPerMs;
    const endMin = BigInt(Math.max(0, Math.ceil(bounds.endMinMs ?? 0))) * nanosPerMs;
    const limit = BigInt(Math.max(0, Math.floor(bounds.startMaxMs) + 1)) * nanosPerMs;
    this.#minHigh = Number(min >> 32n);
    this.#minLow = Number(min & 0xffffffffn);
    this.#endMinHigh = Number(endMin >> 32n);
    this.#endMinLow = Number(endMin & 0xffffffffn);
    this.#limitHigh = Number(limit >> 32n);
    this.#limitLow = Number(limit & 0xffffffffn);
    const sample = thresholdParts(bounds.sampleThreshold ?? everyTrace);
    this.#sampleHigh = sample.high;
    this.#sampleLow = sample.low;
  }

  /** Why the scanned span is refused, or undefined. `view` shows the same bytes. */
  refusal(bytes: Uint8Array, view: DataView, span: SpanScan): string | undefined {
    if (span.traceIdLength !== traceIdBytes) {
      return wrongLength("trace_id", span.traceIdLength, "16");
    }
    if (isZero(view, span.traceIdAt, traceIdBytes)) {
      return "trace_id is all zero";
    }
    if (span.spanIdLength !== spanIdBytes) {
      return wrongLength("span_id", span.spanIdLength, "8");
    }
    if (isZero(view, span.spanIdAt, spanIdBytes)) {
      return "span_id is all zero";
    }
    if (span.parentSpanIdLength !== 0 && span.parentSpanIdLength !== spanIdBytes) {
      return wrongLength("parent_span_id", span.parentSpanIdLength, "0 or 8");
    }
    if (span.startTimeAt < 0) {
      return "start_time_unix_nano is missing";
    }
    const low = view.getUint32(span.startTimeAt, true);
    const high = view.getUint32(span.startTimeAt + 4, true);
    if (isBefore(high, low, this.#minHigh, this.#minLow)) {
      return `start_time_unix_nano is ${formatNanos(high, low)}, before ${formatMs(this.#bounds.startMinMs)}`;
    }
    if (high > this.#limitHigh || (high === this.#limitHigh && low >= this.#limitLow)) {
      return `start_time_unix_nano is ${formatNanos(high, low)}, after ${formatMs(this.#bounds.startMaxMs)}`;
    }
    if (isBefore(high, low, this.#endMinHigh, this.#endMinLow)) {
      // It began long ago. A missing end, or one before the start, counts as the start.
      const endLow = span.endTimeAt < 0 ? 0 : view.getUint32(span.endTimeAt, true);
      const endHigh = span.endTimeAt < 0 ? 0 : view.getUint32(span.endTimeAt + 4, true);
      if (isBefore(endHigh, endLow, this.#endMinHigh, this.#endMinLow)) {
        const ended = isBefore(endHigh, endLow, high, low)
          ? formatNanos(high, low)
          : formatNanos(endHigh, endLow);
        return `the span ended ${ended}, before ${formatMs(this.#bounds.endMinMs ?? 0)}`;
      }
    }
    const reason = span.links.count === 0 ? undefined : this.#linkRefusal(bytes, view, span);
    return reason ?? (this.#isSampledOut(view, span.traceIdAt) ? sampledOut : undefined);
  }

  /** Whether the trace id's last 7 bytes, big-endian, are below the threshold. */
  #isSampledOut(view: DataView, traceIdAt: number): boolean {
    const high = view.getUint32(traceIdAt + 8) & 0xffffff;
    return (
      high < this.#sampleHigh ||
      (high === this.#sampleHigh && view.getUint32(traceIdAt + 12) < this.#sampleLow)
    );
  }

  #linkRefusal(bytes: Uint8Array, view: DataView, span: SpanScan): string | undefined {
    const link = this.#link;
    for (let i = 0; i < span.links.count; i++) {
      link.scan(bytes, view, span.links.at[2 * i] ?? 0, span.links.at[2 * i + 1] ?? 0);
      if (link.traceIdLength !== 0 && link.traceIdLength !== traceIdBytes) {
        return wrongLength(`links[${i}].trace_id`, link.traceIdLength, "0 or 16");
      }
      if (link.spanIdLength !== 0 && link.spanIdLength !== spanIdBytes) {
        return wrongLength(`links[${i}].span_id`, link.spanIdLength, "0 or 8");
      }
    }
    return undefined;
  }
}

/** Compares two 64-bit numbers by their halves. */
function isBefore(high: number, low: number, otherHigh: number, otherLow: number): boolean {
  return high < otherHigh || (high === otherHigh && low < otherLow);
}

/** Whether the id of 8 or 16 bytes at `at` is all zero, which means absent. */
export function isZero(view: DataView, at: number, length: number): boolean {
  let any = 0;
  for (let i = 0; i < length; i += 4) {
    any |= view.getInt32(at + i, true);
  }
  return any === 0;
}

function wrongLength(field: string, length: number, expected: string): string {
  return `${field} is ${length} bytes, not ${expected} (in JSON: hex, two digits a byte)`;
}

function formatNanos(high: number, low: number): string {
  return formatMs(Number(((BigInt(high) << 32n) | BigInt(low)) / nanosPerMs));
}

/** Any 64-bit count of nanoseconds lies within the dates that JavaScript knows. */
function formatMs(ms: number): string {
  return new Date(ms).toISOString();
}
