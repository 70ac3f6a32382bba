/**
 * The answers of OTLP/HTTP: always in the request's encoding (OTLP/HTTP, "Response"), a google.rpc.Status for every
 * failure, an ExportTraceServiceResponse for every success.
 */
import { limits } from "../../shared/limits.ts";
import { partialSuccessBody, statusBody, successBody } from "../../shared/otlp/responses.ts";
import type { BodyType } from "../../shared/payload-key.ts";
import { answerOf, type Refusal } from "./refusal.ts";

const mediaTypes: Readonly<Record<BodyType, string>> = {
  pb: "application/x-protobuf",
  json: "application/json",
};

/** What `partial_success` says: spans refused for good, or (0) a warning. */
export interface PartialSuccess {
  readonly rejectedSpans: number;
  readonly errorMessage: string;
}

/** 200, with `partial_success` where there is something to say. */
export function accepted(type: BodyType, partial?: PartialSuccess): Response {
  const body =
    partial === undefined
      ? successBody(type)
      : partialSuccessBody(type, partial.rejectedSpans, partial.errorMessage);
  return new Response(body, {
    status: 200,
    headers: { "content-type": mediaTypes[type] },
  });
}

export function refused(type: BodyType, refusal: Refusal): Response {
  const { status, retryable } = answerOf(refusal.reason);
  const headers = new Headers({ "content-type": mediaTypes[type] });
  if (retryable) {
    headers.set("retry-after", String(limits.retryAfterSeconds));
  }
  if (status === 401) {
    headers.set("www-authenticate", 'Bearer realm="headrace"'); // RFC 9110 section 11.6.1 asks for it
  }
  if (status === 405) {
    headers.set("allow", "POST, OPTIONS"); // RFC 9110 section 15.5.6 asks for it
  }
  return new Response(statusBody(type, refusal.message), { status, headers });
}
