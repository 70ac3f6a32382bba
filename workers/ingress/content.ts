/**
 * What the request's headers say of its body: protobuf or JSON, and how it is encoded.
 * OTLP/HTTP: the Content-Type chooses between binary protobuf and JSON; gzip and none must be accepted.
 */
import { type ContentEncoding, contentEncodings } from "../../shared/messages.ts";
import type { BodyType } from "../../shared/payload-key.ts";
import { ok, type Result, refuse } from "../../shared/result.ts";
import type { Refusal } from "./refusal.ts";

export interface Content {
  readonly type: BodyType;
  readonly encoding: ContentEncoding;
}

/** Other names of encodings: RFC 9110 section 8.4.1.3 asks to treat `x-gzip` as `gzip`. */
const encodingAliases: Readonly<Record<string, ContentEncoding>> = { "": "identity", "x-gzip": "gzip" };

/** The media type without parameters, lower case: `application/json; charset=utf-8` is `application/json`. */
function mediaType(headers: Headers): string {
  return (headers.get("content-type") ?? "").split(";", 1).join("").trim().toLowerCase();
}

/** The encoding to answer in: the request's, and JSON where the request's is neither. */
export function answerType(headers: Headers): BodyType {
  return mediaType(headers) === "application/x-protobuf" ? "pb" : "json";
}

/**
 * Whether the client takes a gzip answer (RFC 9110 section 12.5.3): gzip, or `*`, with a weight above 0. An explicit
 * gzip beats `*`. Cloudflare's edge, and Miniflare like it, writes its own Accept-Encoding into the request and keeps the
 * client's in `cf.clientAcceptEncoding`: a plain curl would else get an answer that it cannot read.
 */
export function takesGzip(request: Request): boolean {
  const weights = new Map<string, number>();
  for (const part of clientAcceptEncoding(request).toLowerCase().split(",")) {
    const [coding = "", ...parameters] = part.split(";").map((text) => text.trim());
    const weight = parameters.find((text) => text.startsWith("q="))?.slice(2) ?? "1";
    weights.set(coding, Number(weight));
  }
  return (weights.get("gzip") ?? weights.get("x-gzip") ?? weights.get("*") ?? 0) > 0;
}

function clientAcceptEncoding({ cf, headers }: Request): string {
  const original = cf?.["clientAcceptEncoding"];
  return typeof original === "string" ? original : (headers.get("accept-encoding") ?? "");
}

export function readContent(headers: Headers): Result<Content, Refusal> {
  const media = mediaType(headers);
  if (media !== "application/x-protobuf" && media !== "application/json") {
    return refuse({ reason: "wrong_content_type", media });
  }
  const named = (headers.get("content-encoding") ?? "").trim().toLowerCase();
  const alias = encodingAliases[named] ?? named;
  const encoding = contentEncodings.find((known) => known === alias);
  if (encoding === undefined) {
    return refuse({ reason: "wrong_content_encoding", encoding: named });
  }
  return ok({ type: media === "application/json" ? "json" : "pb", encoding });
}
