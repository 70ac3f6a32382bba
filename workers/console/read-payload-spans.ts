/** `GET /api/payload-spans`: what is in a payload, read with the consumer's own codec. */
import * as zlib from "node:zlib";
import * as v from "valibot";
import type { Fixed, PayloadSpans } from "../../shared/console/answers.ts";
import { readableSpans } from "../../shared/console/readable-spans.ts";
import { decodeBody } from "../../shared/decode-body.ts";
import { acceptedBounds, type PayloadMetadata, payloadMetadataSchema } from "../../shared/messages.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { isPayloadKey } from "../../shared/payload-key.ts";
import { Refusal } from "./answer-request.ts";

/** Refuses what is not a key, or has no object. */
export async function readPayloadSpans(
  bucket: R2Bucket,
  key: string,
): Promise<Fixed<PayloadSpans> | Refusal> {
  if (!isPayloadKey(key)) {
    return new Refusal(404, "That is not a payload's key.");
  }
  const object = await bucket.get(key);
  if (object === null) {
    return new Refusal(404, "R2 has no payload under this key: it was deleted, or never arrived.");
  }
  const metadata = v.parse(payloadMetadataSchema, object.customMetadata);
  const body = new Uint8Array(await object.arrayBuffer());
  return {
    key,
    arrival: new Date(metadata.arrival).toISOString(),
    type: metadata.type,
    encoding: metadata.encoding,
    bytes: body.length,
    ...decoded(body, metadata),
  };
}

function decoded(
  bytes: Uint8Array,
  metadata: PayloadMetadata,
): Pick<PayloadSpans, "spans" | "spansCount" | "failure"> {
  const body = decodeBody(zlib, bytes, metadata);
  if (!body.ok) {
    return unreadable(body.refusal.message);
  }
  try {
    return readableSpans(body.value.protobuf, acceptedBounds(metadata));
  } catch (error) {
    if (error instanceof MalformedBody) {
      return unreadable(error.message);
    }
    throw error;
  }
}

function unreadable(failure: string): ReturnType<typeof decoded> {
  return { spans: [], spansCount: 0, failure };
}
