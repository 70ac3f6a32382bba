/**
 * A payload's first spans as text, for a person who wants to know what is in it. The same walk and the same value texts
 * as the rows': what is shown is what would be stored. A body that breaks off is shown as far as it can be read.
 */

import { toHex } from "../hex.ts";
import { limits } from "../limits.ts";
import { type AttributeScan, entrySize } from "../otlp/attribute-scan.ts";
import { MalformedBody } from "../otlp/malformed.ts";
import type { SpanBounds, SpanRefusal } from "../otlp/span-check.ts";
import { TraceWalk } from "../otlp/trace-walk.ts";
import { spanKindTexts, statusCodeTexts } from "../rows/row-writer.ts";
import { ValueText } from "../rows/value-text.ts";
import type { PayloadSpans } from "./answers.ts";

type ReadableSpan = PayloadSpans["spans"][number];
type Attributes = ReadableSpan["attributes"];

const decoder = new TextDecoder();

/**
 * At most `limits.payloadSpansShown` spans of an inflated ExportTraceServiceRequest in protobuf, and how many there
 * are. `traceId`: of this trace alone; null: all of them. `failure` says why not all of it could be read; empty: all of it could. Texts are cut, visibly.
 */
export function readableSpans(
  body: Uint8Array,
  bounds: SpanBounds,
  traceId: string | null = null,
): Pick<PayloadSpans, "spans" | "spansCount" | "failure"> {
  let spans: ReadableSpan[] = [];
  let spansCount = 0;
  let failure = "";
  let resource: Attributes = [];
  const take = (walk: TraceWalk, refusal?: SpanRefusal): void => {
    if (traceId !== null && traceIdOf(walk) !== traceId) {
      return;
    }
    spansCount += 1;
    if (spans.length < limits.payloadSpansShown) {
      spans.push(readable(walk, resource, refusal === undefined ? "" : walk.explain(refusal)));
    }
  };
  try {
    new TraceWalk().run(body, bounds, {
      restart: () => {
        spans = [];
        spansCount = 0;
      },
      enterResource: (walk) => {
        resource = attributesOf(walk, walk.resource);
      },
      enterScope: () => {},
      span: (walk) => take(walk),
      rejected: take,
      leaveScope: () => {},
      leaveResource: () => {},
    });
  } catch (error) {
    if (!(error instanceof MalformedBody)) {
      throw error;
    }
    failure = error.message;
  }
  return { spans, spansCount, failure };
}

function traceIdOf({ bytes, span }: TraceWalk): string {
  return toHex(bytes.subarray(span.traceIdAt, span.traceIdAt + span.traceIdLength));
}

function readable(walk: TraceWalk, resource: Attributes, rejected: string): ReadableSpan {
  const { bytes, span } = walk;
  const text = (at: number, length: number): string => cut(decoder.decode(bytes.subarray(at, at + length)));
  const id = (at: number, length: number): string => toHex(bytes.subarray(at, at + length));
  const start = nanosOf(walk, span.startTimeAt);
  const end = nanosOf(walk, span.endTimeAt);
  return {
    service: resource.find(([key]) => key === "service.name")?.[1] ?? "",
    name: text(span.nameAt, span.nameLength),
    kind: spanKindTexts[span.kind] ?? "",
    start: timeText(start),
    durationMs: durationMs(start, end),
    status: statusCodeTexts[span.statusCode] ?? "",
    statusMessage: text(span.statusMessageAt, span.statusMessageLength),
    traceId: traceIdOf(walk),
    spanId: id(span.spanIdAt, span.spanIdLength),
    parentSpanId: id(span.parentSpanIdAt, span.parentSpanIdLength),
    scope: text(walk.scopeNameAt, walk.scopeNameLength),
    attributes: attributesOf(walk, span.attributes),
    resource,
    events: span.events.count,
    links: span.links.count,
    rejected,
  };
}

function attributesOf({ bytes, view }: TraceWalk, scan: AttributeScan): Attributes {
  const { entries, count } = scan;
  const pairs: [string, string][] = [];
  const value = new ValueText();
  for (let n = 0; n < Math.min(count, limits.spanAttributesShown); n++) {
    const [keyAt = 0, keyLength = 0, valueAt = 0, valueLength = 0] = entries.subarray(
      n * entrySize,
      (n + 1) * entrySize,
    );
    const key = decoder.decode(bytes.subarray(keyAt, keyAt + keyLength));
    if (valueLength >= 0) {
      pairs.push([cut(key), cut(decoder.decode(bytes.subarray(valueAt, valueAt + valueLength)))]);
    } else {
      value.write(bytes, view, valueAt, valueAt - valueLength);
      pairs.push([cut(key), cut(decoder.decode(value.bytes.subarray(0, value.length)))]);
    }
  }
  return pairs;
}

function cut(text: string): string {
  const { spanTextCharsShown } = limits;
  return text.length > spanTextCharsShown ? `${text.slice(0, spanTextCharsShown)}…` : text;
}

function nanosOf({ view }: TraceWalk, at: number): bigint {
  return at < 0 ? 0n : view.getBigUint64(at, true);
}

/** As the row's Duration: the end is read as ClickHouse reads it, signed. */
function durationMs(start: bigint, end: bigint): number {
  const nanos = BigInt.asIntN(64, end) - start;
  return nanos > 0n ? Number(nanos) / 1e6 : 0;
}

/** ISO 8601 to the millisecond; a time that no Date holds is given in nanoseconds. */
function timeText(nanos: bigint): string {
  const ms = Number(nanos / 1_000_000n);
  return ms <= 8.64e15 ? new Date(ms).toISOString() : `${nanos} ns`;
}
