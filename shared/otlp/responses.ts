/**
 * The bodies of OTLP/HTTP answers in both encodings.
 *
 * Source: collector/trace/v1/trace_service.proto (ExportTraceServiceResponse.partial_success = 1, with
 * rejected_spans = 1 and error_message = 2), google/rpc/status.proto (code = 1, message = 2, details = 3;
 * OTLP/HTTP lets code out), google/rpc/error_details.proto, google/protobuf/any.proto. JSON writes an int64 as a string.
 */
import { limits } from "../limits.ts";
import type { BodyType } from "../payload-key.ts";
import { WireWriter } from "./wire-writer.ts";

const partialSuccessTag = 0x0a;
const rejectedSpansTag = 0x08;
/** Field 2, a string, in both messages; also Any.value and FieldViolation.description. */
const messageTag = 0x12;
/** Field 1: Any.type_url, BadRequest.field_violations, FieldViolation.field. */
const firstTag = 0x0a;
/** Status.details */
const detailsTag = 0x1a;
const badRequestType = "type.googleapis.com/google.rpc.BadRequest";

/** Everything was taken: nothing in protobuf, `{}` in JSON. */
export function successBody(type: BodyType): Uint8Array {
  return type === "json" ? encodeText("{}") : new Uint8Array(0);
}

/** Some spans were refused for good (`rejectedSpans` > 0), or there is something to say (0). */
export function partialSuccessBody(type: BodyType, rejectedSpans: number, message: string): Uint8Array {
  const text = shorten(message);
  if (type === "json") {
    // proto3 JSON leaves defaults out.
    const rejected = rejectedSpans > 0 ? { rejectedSpans: String(rejectedSpans) } : {};
    return encodeText(JSON.stringify({ partialSuccess: { ...rejected, errorMessage: text } }));
  }
  const writer = new WireWriter(text.length + 32);
  writer.varint(partialSuccessTag);
  const start = writer.open();
  if (rejectedSpans > 0) {
    writer.varint(rejectedSpansTag);
    writer.varint(rejectedSpans);
  }
  writeText(writer, text);
  writer.close(start);
  return writer.finish();
}

/**
 * A google.rpc.Status, the body of every failure. With `badField`, its details are a google.rpc.BadRequest that says
 * the message of that field: OTLP/HTTP asks for it where the data is wrong for good.
 */
export function statusBody(type: BodyType, message: string, badField?: string): Uint8Array {
  const text = shorten(message);
  if (type === "json") {
    const violation = { field: badField, description: text };
    const details = [{ "@type": badRequestType, fieldViolations: [violation] }];
    return encodeText(
      JSON.stringify(badField === undefined ? { message: text } : { message: text, details }),
    );
  }
  const writer = new WireWriter(2 * text.length + 64);
  writeText(writer, text);
  if (badField !== undefined) {
    writer.varint(detailsTag);
    const any = writer.open();
    writeText(writer, badRequestType, firstTag);
    writer.varint(messageTag); // Any.value
    const badRequest = writer.open();
    writer.varint(firstTag); // BadRequest.field_violations
    const violation = writer.open();
    writeText(writer, badField, firstTag);
    writeText(writer, text);
    writer.close(violation);
    writer.close(badRequest);
    writer.close(any);
  }
  return writer.finish();
}

/** At most `limits.statusMessageCharsMax` UTF-16 units, and no half of a surrogate pair. */
function shorten(message: string): string {
  const text = message.toWellFormed();
  if (text.length <= limits.statusMessageCharsMax) {
    return text;
  }
  const cut = text.slice(0, limits.statusMessageCharsMax - 1);
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`;
}

function writeText(writer: WireWriter, text: string, tag = messageTag): void {
  const bytes = encodeText(text);
  writer.varint(tag);
  writer.varint(bytes.length);
  writer.raw(bytes, 0, bytes.length);
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
