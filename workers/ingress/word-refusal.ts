/**
 * What the developer of an exporter reads of a refusal: what is wrong, and what to do. The stations of a request say why as
 * data, and the Worker's edge words it here, once, for the answer and the log.
 */
import { unreachable } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import { contentEncodings } from "../../shared/messages.ts";
import { monthOf, nextMonthMs } from "../../shared/meter/account.ts";
import { rejectionMessage } from "../../shared/otlp/inspect.ts";
import { adviseSize } from "./advise-size.ts";
import type { Refusal, UnreadKey } from "./refusal.ts";

const howToSend =
  "send it as `Authorization: Bearer hr_…` or `x-api-key: hr_…` (OTEL_EXPORTER_OTLP_HEADERS=x-api-key=hr_…).";

export function wordRefusal(why: Refusal): string {
  switch (why.reason) {
    case "unknown_path":
      return nothingAt(why.path);
    case "wrong_method":
      return `${why.method} is not allowed here: POST an ExportTraceServiceRequest.`;
    case "wrong_content_type":
      return contentType(why.media);
    case "wrong_content_encoding":
      return `Content-Encoding "${why.encoding.slice(0, 100)}" is not supported: send one of ${contentEncodings.join(", ")}.`;
    case "missing_key":
      return `${missing(why.sent)}: ${howToSend}`;
    case "unknown_key":
      return unknownKey(why);
    case "unknown_keys_flood":
      return `Too many unknown API keys are being sent: ${why.key} was not looked up. Try again.`;
    case "revoked_key":
      return `The API key ${why.key} ("${why.name}") was revoked.`;
    case "disabled_key":
      return `The API key ${why.key} ("${why.name}") is disabled.`;
    case "expired_key":
      return `The API key ${why.key} ("${why.name}") was replaced by another and stopped at ${new Date(why.expiredAt).toISOString()}.`;
    case "forbidden_origin":
      return `The API key "${why.name}" may not be used by pages of ${why.origin.slice(0, 200)}.`;
    case "rate_exceeded":
    case "byte_rate_exceeded":
      return `The API key "${why.name}" may send ${amount(why.reason, why.perSecond)} per second. Try again in ${why.retryAfterSeconds} s.`;
    case "quota_exceeded":
    case "byte_quota_exceeded":
      return overQuota(why);
    case "fruitless_requests":
      return `The API key "${why.name}" has sent too many requests with nothing to store: bodies that were sent before, or without a usable span. Try again in ${why.retryAfterSeconds} s.`;
    case "too_large":
      return adviseSize(why.size);
    case "corrupt_body":
      return corruptBody(why);
    case "all_spans_rejected":
      return behind(why.mistake, rejectionMessage(why.inspection));
    case "slow_body":
      return slowBody(why);
    case "broken_body":
      return `The body ended before it was complete${ofClaimed(why)}. Try again.`;
    case "busy":
      return "Too many bodies are being received at this moment. Try again.";
    case "keys_unreachable":
      return "API keys cannot be looked up at this moment. Try again.";
    case "store_unreachable":
      return "The payload could not be stored at this moment. Try again.";
    case "internal":
      return "The request could not be handled at this moment. Try again.";
    default:
      return unreachable(why);
  }
}

type Of<Reason> = Extract<Refusal, { readonly reason: Reason }>;

function nothingAt(path: string): string {
  switch (path) {
    case "/v1/logs":
    case "/v1/metrics": {
      const signal = path.slice("/v1/".length);
      return `Headrace takes traces at /v1/traces; it does not take ${signal}. Set OTEL_${signal.toUpperCase()}_EXPORTER=none in the exporter.`;
    }
    default:
      return `There is no endpoint ${path.slice(0, 200)}: POST traces to /v1/traces. (OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT does not.)`;
  }
}

function contentType(media: string): string {
  if (media.startsWith("application/grpc")) {
    return "This endpoint takes OTLP over HTTP, not gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf in the exporter.";
  }
  const sent = media === "" ? "is missing" : `"${media.slice(0, 100)}" is not supported`;
  return `Content-Type ${sent}: send application/x-protobuf or application/json.`;
}

/** What a request without a readable key lacks. Of its `Authorization` nothing is repeated: it may be a secret. */
function missing(sent: UnreadKey): string {
  switch (sent) {
    case "nothing":
      return "No API key";
    case "escaped_space":
      return "`Authorization` has `Bearer%20` where `Bearer` and a space belong (this client does not decode its header values)";
    case "key_without_scheme":
      return "`Authorization` has a key without `Bearer` before it";
    case "key_behind_another_scheme":
      return "`Authorization` has a key behind another scheme than `Bearer`";
    case "no_key":
      return "No API key: `Authorization` has no `Bearer` key, and there is no `x-api-key`";
  }
}

function unknownKey({ key, header, fault }: Of<"unknown_key">): string {
  switch (fault) {
    case "not_ours":
      return `What is sent in ${header} is not a Headrace API key (those begin with hr_): ${howToSend}`;
    case "mistyped":
      return `The API key ${key} in ${header} is mistyped: its form or checksum is wrong.`;
    case "not_found":
      return `The API key ${key} in ${header} is unknown or was revoked.`;
  }
}

function amount(reason: string, count: number | null): string {
  return reason.startsWith("byte") ? `${count} bytes (uncompressed)` : `${count} spans`;
}

function overQuota({ reason, name, perMonth, at }: Of<"quota_exceeded" | "byte_quota_exceeded">): string {
  const reset = new Date(nextMonthMs(at)).toISOString().slice(0, 10);
  return `The API key "${name}" has used its ${amount(reason, perMonth)} of ${monthOf(at)}, or has fewer left than this request holds. The next month begins on ${reset} at 00:00 UTC.`;
}

function corruptBody({ type, fault, mistake }: Of<"corrupt_body">): string {
  switch (type) {
    case undefined:
      return `${fault.charAt(0).toUpperCase()}${fault.slice(1)}.`;
    case "json":
      return behind(mistake, `The body is not OTLP JSON: ${fault}`);
    case "pb":
      return behind(mistake, `The body is not OTLP protobuf: ${fault}`);
  }
}

/** A message, behind what the body seems to be. */
function behind(mistake: string | undefined, message: string): string {
  return mistake === undefined ? message : `${mistake}. (${message})`;
}

function slowBody(why: Of<"slow_body">): string {
  const came = ofClaimed(why);
  return why.isBelowRate
    ? `The body came too slowly${came}: after ${limits.bodyGraceMs / 1000} seconds it must come at ${limits.bodyBytesPerSecondMin} bytes per second. Try again.`
    : `The body was not complete after ${limits.bodyTimeoutMs / 1000} seconds${came}. Try again, or send fewer spans per request.`;
}

/** A Content-Length that is never filled is the sender's mistake, or a proxy's: both numbers show it. */
function ofClaimed({ received, claimed }: Of<"slow_body" | "broken_body">): string {
  if (claimed === undefined) {
    return received === undefined ? "" : ` (bytes that came: ${received}, without a Content-Length)`;
  }
  return received === undefined
    ? ` (fewer bytes came than its Content-Length of ${claimed})`
    : ` (bytes that came: ${received}, its Content-Length: ${claimed})`;
}
