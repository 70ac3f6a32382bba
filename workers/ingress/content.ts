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

/** The media type without parameters, lower case: `application/json; charset=utf-8` is `application/json`. */
function mediaType(headers: Headers): string {
  return (headers.get("content-type") ?? "").split(";", 1).join("").trim().toLowerCase();
}

/** The encoding to answer in: the request's, and JSON where the request's is neither. */
export function answerType(headers: Headers): BodyType {
  return mediaType(headers) === "application/x-protobuf" ? "pb" : "json";
}

export function readContent(headers: Headers): Result<Content, Refusal> {
  const media = mediaType(headers);
  if (media.startsWith("application/grpc")) {
    return refuse({
      reason: "wrong_content_type",
      message:
        "This endpoint takes OTLP over HTTP, not gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf in the exporter.",
    });
  }
  if (media !== "application/x-protobuf" && media !== "application/json") {
    return refuse({
      reason: "wrong_content_type",
      message: `Content-Type ${media === "" ? "is missing" : `"${media.slice(0, 100)}" is not taken`}: send application/x-protobuf or application/json.`,
    });
  }
  const named = (headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  const encoding = contentEncodings.find((known) => known === (named === "" ? "identity" : named));
  if (encoding === undefined) {
    return refuse({
      reason: "wrong_content_encoding",
      message: `Content-Encoding "${named.slice(0, 100)}" is not taken: send one of ${contentEncodings.join(", ")}.`,
    });
  }
  return ok({ type: media === "application/json" ? "json" : "pb", encoding });
}
