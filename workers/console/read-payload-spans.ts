/** `GET /api/payload-spans`: what is in a payload, read with the consumer's own codec. */
import * as zlib from "node:zlib";
import type { Fixed, PayloadSpans } from "../../shared/console/answers.ts";
import { readableSpans } from "../../shared/console/readable-spans.ts";
import { decodeBody } from "../../shared/decode-body.ts";
import { acceptedBounds, type PayloadMetadata } from "../../shared/messages.ts";
import { MalformedBody } from "../../shared/otlp/malformed.ts";
import { isPayloadKey, objectOf } from "../../shared/payload-key.ts";
import { fetchObject } from "../../shared/segment/payload-objects.ts";
import { Refusal } from "./answer-request.ts";

/** Refuses what is not a key, or has no object. `trace`: its spans alone; null: all. */
export async function readPayloadSpans(
  bucket: R2Bucket,
  key: string,
  trace: string | null,
): Promise<Fixed<PayloadSpans> | Refusal> {
  if (!isPayloadKey(key)) {
    return new Refusal(404, "That is not a payload's key.");
  }
  const object = await fetchObject(objectOf(key), async (name) => {
    const found = await bucket.get(name);
    return found === null ? null : { object: found, bytes: new Uint8Array(await found.arrayBuffer()) };
  });
  const payload = await object.payload(key);
  if (payload === null) {
    return new Refusal(404, "R2 has no payload under this key: it was deleted or erased, or never arrived.");
  }
  const { metadata, body } = payload;
  if (metadata === null) {
    return new Refusal(409, "What R2 has under this key is damaged, or was not put by the ingress.");
  }
  return {
    key,
    arrival: new Date(metadata.arrival).toISOString(),
    type: metadata.type,
    encoding: metadata.encoding,
    bytes: body.length,
    ...decoded(body, metadata, trace),
  };
}

function decoded(
  bytes: Uint8Array,
  metadata: PayloadMetadata,
  trace: string | null,
): Pick<PayloadSpans, "spans" | "spansCount" | "failure"> {
  const body = decodeBody(zlib, bytes, metadata);
  if (!body.ok) {
    return unreadable(body.refusal.message);
  }
  try {
    return readableSpans(body.value.protobuf, acceptedBounds(metadata), trace);
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
