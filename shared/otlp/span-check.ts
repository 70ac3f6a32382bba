/**
 * Which spans of an otherwise good payload are refused, and why. Ingress and consumer both decide by this function
 * and by the bounds in the payload's metadata, so that the rows written are the spans that were promised.
 *
 * Source: OTLP's field comments (a trace id is 16 bytes, a span id 8, neither all zero; a parent is empty or 8). The
 * Collector fails the whole request for a wrong length; we name the span and take the others. The time bounds keep
 * one wrong clock from scattering a block over a hundred partitions.
 *
 * A span is refused only where its own id or time cannot be used. A link, or a parent, whose id cannot be used is taken out
 * of the scanned span and counted: the span is good without it.
 */
import { DAY_MS, limits } from "../limits.ts";
import { wrongId } from "./id-text.ts";
import { LinkScan } from "./link-scan.ts";
import { everyTrace, thresholdParts } from "./sample-threshold.ts";
import type { SpanScan } from "./span-scan.ts";

/** Which spans are accepted, and how the ingress has read the body: from the payload's metadata. */
export interface SpanBounds {
  /** Span start times accepted, ms since the epoch, both inclusive (a start within the last millisecond is accepted). */
  readonly startMinMs: number;
  readonly startMaxMs: number;
  /** The first end time accepted: a span is old by its end. Absent for payloads of an older version. */
  readonly endMinMs?: number;
  /** Traces below it are left out (sample-threshold.ts); none are where it is absent. */
  readonly sampleThreshold?: string;
  /** The ingress had to repair texts (`TraceWalk.run`). */
  readonly textsRepaired?: boolean;
  /** Of a payload that was accepted when a link or a parent with a wrong id refused its span. */
  readonly wrongIdsRefuse?: boolean;
}

/** Why a span is refused. `sampled_out`: it is good, and left out by its trace's id. */
export type SpanRefusal =
  | "trace_id_length"
  | "trace_id_zero"
  | "span_id_length"
  | "span_id_zero"
  | "start_missing"
  | "start_before"
  | "start_after"
  | "ended_before"
  | "sampled_out"
  | "parent_or_link_id";

const traceIdBytes = 16;
const spanIdBytes = 8;
const nanosPerMs = 1_000_000n;
/** Other units that a time may have been sent in, and what their counts are to be multiplied with. */
const otherUnits = [
  ["milliseconds", nanosPerMs],
  ["microseconds", 1_000n],
  ["seconds", 1_000_000_000n],
] as const;

export class SpanCheck {
  /** Taken out of accepted spans since `use`. */
  droppedLinks = 0;
  droppedParents = 0;
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

  /** Lets go of lists that one body has made long. */
  trim(): void {
    this.#link.attributes.trim();
  }

  /** Checks by these bounds from now on. */
  use(bounds: SpanBounds): void {
    this.#bounds = bounds;
    this.droppedLinks = 0;
    this.droppedParents = 0;
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

  /**
   * Why the scanned span is refused, or undefined; then links and a parent that cannot be used are taken out of `span`.
   * `view` shows the same bytes.
   */
  refusal(bytes: Uint8Array, view: DataView, span: SpanScan): SpanRefusal | undefined {
    if (span.traceIdLength !== traceIdBytes) {
      return "trace_id_length";
    }
    if (isZero(view, span.traceIdAt, traceIdBytes)) {
      return "trace_id_zero";
    }
    if (span.spanIdLength !== spanIdBytes) {
      return "span_id_length";
    }
    if (isZero(view, span.spanIdAt, spanIdBytes)) {
      return "span_id_zero";
    }
    if (span.startTimeAt < 0) {
      return "start_missing";
    }
    const low = view.getUint32(span.startTimeAt, true);
    const high = view.getUint32(span.startTimeAt + 4, true);
    if (isBefore(high, low, this.#minHigh, this.#minLow)) {
      return "start_before";
    }
    if (high > this.#limitHigh || (high === this.#limitHigh && low >= this.#limitLow)) {
      return "start_after";
    }
    if (isBefore(high, low, this.#endMinHigh, this.#endMinLow) && this.#endedBefore(view, span, high, low)) {
      return "ended_before";
    }
    if (this.#isSampledOut(view, span.traceIdAt)) {
      return "sampled_out";
    }
    const dropped = this.droppedParents + this.droppedLinks;
    if (span.parentSpanIdLength !== 0 && span.parentSpanIdLength !== spanIdBytes) {
      span.parentSpanIdLength = 0;
      this.droppedParents++;
    }
    if (span.links.count > 0) {
      this.#dropLinks(bytes, view, span);
    }
    const any = this.droppedParents + this.droppedLinks > dropped;
    return any && this.#bounds.wrongIdsRefuse === true ? "parent_or_link_id" : undefined;
  }

  /** What a refusal of the scanned span means, for the developer of the exporter. */
  explain(refusal: SpanRefusal, bytes: Uint8Array, view: DataView, span: SpanScan): string {
    switch (refusal) {
      case "trace_id_length":
        return `trace_id ${wrongId(bytes, span.traceIdAt, span.traceIdLength, traceIdBytes)}`;
      case "trace_id_zero":
        return "trace_id is all zero";
      case "span_id_length":
        return `span_id ${wrongId(bytes, span.spanIdAt, span.spanIdLength, spanIdBytes)}`;
      case "span_id_zero":
        return "span_id is all zero";
      case "start_missing":
        return "start_time_unix_nano is missing";
      case "start_before":
      case "start_after":
        return this.#wrongStart(refusal, view.getBigUint64(span.startTimeAt, true));
      case "ended_before":
        return this.#endedLongAgo(endMsOf(view, span));
      case "sampled_out":
        return "sampled out";
      case "parent_or_link_id":
        return "parent_span_id, or a link's id, has a wrong length";
    }
  }

  #endedLongAgo(endMs: number): string {
    const { startMaxMs, endMinMs = 0 } = this.#bounds;
    return `the span ended ${formatMs(endMs)}, before ${formatMs(endMinMs)} (a span is taken up to ${daysBefore(startMaxMs, endMinMs)} after its end)`;
  }

  /** It began long ago. A missing end, or one before the start, counts as the start. */
  #endedBefore(view: DataView, { endTimeAt }: SpanScan, startHigh: number, startLow: number): boolean {
    const low = endTimeAt < 0 ? 0 : view.getUint32(endTimeAt, true);
    const high = endTimeAt < 0 ? 0 : view.getUint32(endTimeAt + 4, true);
    return (
      isBefore(high, low, this.#endMinHigh, this.#endMinLow) &&
      isBefore(startHigh, startLow, this.#endMinHigh, this.#endMinLow)
    );
  }

  #wrongStart(refusal: "start_before" | "start_after", nanos: bigint): string {
    const { startMinMs, startMaxMs } = this.#bounds;
    for (const [unit, factor] of otherUnits) {
      const ms = Number((nanos * factor) / nanosPerMs);
      if (ms >= startMinMs && ms <= startMaxMs) {
        return `start_time_unix_nano is ${nanos}: that would be in time in ${unit}, and the field counts nanoseconds`;
      }
    }
    const start = `start_time_unix_nano is ${formatMs(Number(nanos / nanosPerMs))}`;
    return refusal === "start_before"
      ? `${start}, before ${formatMs(startMinMs)} (a span is taken up to ${daysBefore(startMaxMs, startMinMs)} after its start)`
      : `${start}, after ${formatMs(startMaxMs)} (a span is taken from ${limits.spanFutureMaxMs / DAY_MS} day before its start on)`;
  }

  /** Whether the trace id's last 7 bytes, big-endian, are below the threshold. */
  #isSampledOut(view: DataView, traceIdAt: number): boolean {
    const high = view.getUint32(traceIdAt + 8) & 0xffffff;
    return (
      high < this.#sampleHigh ||
      (high === this.#sampleHigh && view.getUint32(traceIdAt + 12) < this.#sampleLow)
    );
  }

  /** Takes the links out whose ids are neither absent nor as long as ids are. */
  #dropLinks(bytes: Uint8Array, view: DataView, { links }: SpanScan): void {
    const link = this.#link;
    let kept = 0;
    for (let i = 0; i < links.count; i++) {
      const from = links.at[2 * i] ?? 0;
      const to = links.at[2 * i + 1] ?? 0;
      link.scan(bytes, view, from, to);
      const { traceIdLength, spanIdLength } = link;
      if (
        (traceIdLength === 0 || traceIdLength === traceIdBytes) &&
        (spanIdLength === 0 || spanIdLength === spanIdBytes)
      ) {
        links.at[2 * kept] = from;
        links.at[2 * kept + 1] = to;
        kept++;
      }
    }
    this.droppedLinks += links.count - kept;
    links.count = kept;
  }
}

/** How long before the payload's arrival a bound lies, in words. */
function daysBefore(startMaxMs: number, boundMs: number): string {
  const days = Math.round((startMaxMs - limits.spanFutureMaxMs - boundMs) / DAY_MS);
  return days === 1 ? "1 day" : `${days} days`;
}

/** When the span ended, ms since the epoch; a missing end, or one before the start, counts as the start. */
function endMsOf(view: DataView, { startTimeAt, endTimeAt }: SpanScan): number {
  const start = view.getBigUint64(startTimeAt, true);
  const end = endTimeAt < 0 ? 0n : view.getBigUint64(endTimeAt, true);
  return Number((end < start ? start : end) / nanosPerMs);
}

/** Compares two 64-bit numbers, each given as two 32-bit words. */
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

/** Any 64-bit count of nanoseconds lies within the dates that JavaScript knows. */
function formatMs(ms: number): string {
  return new Date(ms).toISOString();
}
