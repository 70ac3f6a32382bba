/**
 * The answers of OTLP/HTTP: always in the request's encoding (OTLP/HTTP, "Response"), a google.rpc.Status for every
 * failure, an ExportTraceServiceResponse for every success, under gzip where the client takes it.
 */
import { gzipSync } from "node:zlib";
import { limits } from "../../shared/limits.ts";
import { partialSuccessBody, statusBody, successBody } from "../../shared/otlp/responses.ts";
import type { BodyType } from "../../shared/payload-key.ts";
import { takesGzip } from "./content.ts";
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

/** What came of a request that is answered 200. */
export interface Success {
  readonly outcome: "accepted" | "sampled" | "empty";
  /** For the count of outcomes. */
  readonly reason: string;
  readonly type: BodyType;
  readonly partial: PartialSuccess | undefined;
  /** Whether a payload was stored that was not there before. */
  readonly isNew: boolean;
  /** Bytes of the body without its content encoding. */
  readonly inflatedBytes: number;
  /** They name the payload, where there is one. */
  readonly headers: Readonly<Record<string, string>>;
}

/** 200, with `partial_success` where there is something to say, and headers that name the payload where there is one. */
export function accepted(
  type: BodyType,
  partial?: PartialSuccess,
  payload?: Readonly<Record<string, string>>,
): Response {
  const body =
    partial === undefined
      ? successBody(type)
      : partialSuccessBody(type, partial.rejectedSpans, partial.errorMessage);
  // An empty body as null: workerd makes no stream of it (20 µs).
  return new Response(body.length === 0 ? null : body, {
    status: 200,
    headers: { "content-type": mediaTypes[type], "content-length": String(body.length), ...payload },
  });
}

export function healthy(): Response {
  return new Response("ok\n", { headers: { "content-type": "text/plain" } });
}

/** The status of a refusal, and its words. */
export function refused(type: BodyType, refusal: Refusal, message: string): Response {
  const { status, retryable, badRequest } = answerOf(refusal.reason);
  const body = statusBody(type, message, badRequest ? "body" : undefined);
  const headers = new Headers({ "content-type": mediaTypes[type], "content-length": String(body.length) });
  if (retryable) {
    headers.set("retry-after", String(refusal.retryAfterSeconds ?? limits.retryAfterSeconds));
  }
  if (status === 401) {
    headers.set("www-authenticate", 'Bearer realm="headrace"'); // RFC 9110 section 11.6.1 asks for it
  }
  if (status === 405) {
    headers.set("allow", "POST, OPTIONS"); // RFC 9110 section 15.5.6 asks for it
  }
  return new Response(body, { status, headers });
}

/** An answer of no more bytes is sent as it is: the empty success is 0 bytes or `{}`, gzip's frame alone is 20. */
const plainBytesMax = 20;

/** The answer, under gzip where the request's Accept-Encoding takes it (OTLP/HTTP lets a server do so). */
export async function encoded(request: Request, response: Response): Promise<Response> {
  if (response.body === null || !(Number(response.headers.get("content-length") ?? 0) > plainBytesMax)) {
    return response;
  }
  if (!takesGzip(request)) {
    return response;
  }
  const body = gzipSync(new Uint8Array(await response.arrayBuffer()));
  const headers = new Headers(response.headers);
  headers.set("content-encoding", "gzip");
  headers.set("content-length", String(body.length));
  headers.append("vary", "accept-encoding");
  return new Response(body, { status: response.status, headers, encodeBody: "manual" });
}
