/**
 * Which bound a request exceeds, and what its sender can change in this request. Fewer spans per request help nobody whose one
 * span is too large, and shorter values nobody whose resource is repeated by each span.
 */
import { limits } from "../../shared/limits.ts";
import type { Inspection } from "../../shared/otlp/inspect.ts";
import type { TooLarge } from "./refusal.ts";

const shorterTexts = "shorten its texts (OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=10000)";
const fewerAttributes = "give it fewer attributes (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=128)";

/** The bound that a body exceeds which can be read, or undefined. */
export function tooLarge(inspection: Inspection): TooLarge | undefined {
  const { spans, outputBytes, largestRowBytes, attributes } = inspection;
  if (spans > limits.spansMax) {
    return { what: "spans", inspection };
  }
  if (largestRowBytes > limits.rowOutputBytesMax) {
    return { what: "row", inspection };
  }
  if (outputBytes > limits.outputBytesMax) {
    return { what: "rows", inspection };
  }
  return attributes > limits.attributesMax ? { what: "attributes", inspection } : undefined;
}

export function adviseSize(size: TooLarge): string {
  switch (size.what) {
    case "received":
      return bodyTooLarge(size.isCompressed);
    case "inflated":
      return `${size.message.charAt(0).toUpperCase()}${size.message.slice(1)}. ${ofUnknownSpans}`;
    case "list":
      return tooManyMembers(size.message);
    case "spans":
      return `The body holds ${size.inspection.spans} spans, more than ${limits.spansMax}. ${fewerSpans(limits.spansMax)}.`;
    case "row":
      return `One row could take ${size.inspection.largestRowBytes} bytes, more than ${limits.rowOutputBytesMax}. ${adviceOnRow(size.inspection)}.`;
    case "rows":
      return `The body's rows could take ${size.inspection.outputBytes} bytes, more than ${limits.outputBytesMax}. ${adviceOnRows(size.inspection)}.`;
    case "attributes":
      return `The body holds ${size.inspection.attributes} attributes, more than ${limits.attributesMax}. ${adviceOnAttributes(size.inspection)}.`;
    case "names":
      return `The body has more than ${limits.namesMax} different attribute keys and event names. What differs from span to span belongs into a value, under a key that stays the same.`;
    case "hardly_compresses":
      return `The body's rows would take more than ${limits.compressedBytesMax} bytes compressed: a resource of ${Math.ceil(size.resourceBytes / 1000)} KB that hardly compresses, repeated by ${size.spans} spans. Send a smaller resource, or fewer spans per request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or max_size in a Collector's batch).`;
  }
}

/** A body that nobody has read to its end: how many spans it holds is not known. */
function bodyTooLarge(isCompressed: boolean): string {
  const compress = isCompressed ? "" : "Compress it (OTEL_EXPORTER_OTLP_COMPRESSION=gzip). ";
  return `The body is larger than ${limits.bodyBytesMax} bytes as received. ${compress}${ofUnknownSpans}`;
}

const ofUnknownSpans = `If it holds many spans, send fewer per request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512); if one of its spans is nearly all of it, ${shorterTexts}.`;

/** A list of which only its beginning was read: the SDKs' own limits are far below. */
function tooManyMembers(message: string): string {
  return `The body has ${message} (spans of a scope; attributes, events or links of a span). SDKs keep 128 per span (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT, OTEL_SPAN_LINK_COUNT_LIMIT) and 512 spans per request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE).`;
}

/** Fewer spans make no row smaller. */
function adviceOnRow({ largestRowBytes, largestSpan }: Inspection): string {
  const own = largestSpan?.outputBytes ?? 0;
  return own > limits.rowOutputBytesMax / 2
    ? `Span ${largestSpan?.path} alone could take ${own}: ${shorterTexts}`
    : `Send ${smallerResource(largestRowBytes)}`;
}

function adviceOnRows({ spans, outputBytes, repeatedBytes }: Inspection): string {
  const fewer = fewerSpans(fitting(spans, outputBytes));
  return repeatedBytes > limits.outputBytesMax / 2
    ? `${fewer}, or ${smallerResource(repeatedBytes / spans)}`
    : fewer;
}

function smallerResource(bytes: number): string {
  return `a smaller resource: its attributes and the scope's take ${Math.ceil(bytes / 1000)} KB, and each span's row repeats them`;
}

function adviceOnAttributes({ spans, attributes, largestSpan }: Inspection): string {
  if ((largestSpan?.attributes ?? 0) > limits.attributesMax / 2) {
    return `Span ${largestSpan?.path} alone has ${largestSpan?.attributes}: ${fewerAttributes}`;
  }
  const most = Math.floor((spans * limits.attributesMax) / attributes);
  return spans < 2 ? "Send a resource and a scope with fewer attributes" : fewerSpans(most);
}

/** How many spans like these would fit. */
function fitting(spans: number, outputBytes: number): number {
  return Math.floor((spans * limits.outputBytesMax) / outputBytes);
}

function fewerSpans(most: number): string {
  return `Send at most ${Math.max(1, most)} spans like these per request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or max_size in a Collector's batch)`;
}
