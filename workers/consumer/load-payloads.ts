/**
 * Fetches a group's payloads from R2, in the group's order and a few ahead, so that the transcoder never waits for
 * all of them and never holds all of them. Payloads that the group promises and R2 does not have are an error of the
 * whole attempt: a group's member list never changes.
 */
import * as zlib from "node:zlib";
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import { inflate } from "../../shared/inflate.ts";
import { limits } from "../../shared/limits.ts";
import { type PayloadMetadata, payloadMetadataSchema } from "../../shared/messages.ts";
import { jsonToProtobuf } from "../../shared/otlp/json.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";

export interface LoadedPayload {
  readonly key: PayloadKey;
  readonly metadata: PayloadMetadata;
  /** Size of the object in R2. */
  readonly bytes: number;
  /** The OTLP protobuf body, inflated, converted where it was JSON. */
  readonly protobuf: Uint8Array;
}

/** R2 has no object under a payload's key. */
export class MissingObject extends Error {
  override readonly name = "MissingObject";
}

interface Fetched {
  readonly metadata: PayloadMetadata;
  readonly body: Uint8Array;
}

/** Yields the payloads in the order of `keys`, at most `limits.r2GetsAtOnceMax` gets at once. Throws `MissingObject`. */
export async function* loadPayloads(
  bucket: R2Bucket,
  keys: readonly PayloadKey[],
): AsyncGenerator<LoadedPayload> {
  const ahead: { readonly key: PayloadKey; readonly fetched: Promise<Fetched> }[] = [];
  let next = 0;
  while (next < keys.length || ahead.length > 0) {
    while (ahead.length < limits.r2GetsAtOnceMax && next < keys.length) {
      const key = keys[next++];
      assert(key !== undefined, "a group's keys are dense");
      const fetched = fetchPayload(bucket, key);
      fetched.catch(() => undefined); // it is awaited below; until then an early failure must not count as unhandled
      ahead.push({ key, fetched });
    }
    const first = ahead.shift();
    assert(first !== undefined, "at least one get is under way");
    const { metadata, body } = await first.fetched;
    const inflated = inflate(zlib, body, metadata.encoding, limits.inflatedBytesMax);
    assert(inflated.length === metadata.inflatedBytes, "a payload inflates to the size that the ingress saw");
    yield {
      key: first.key,
      metadata,
      bytes: body.length,
      protobuf: metadata.type === "json" ? jsonToProtobuf(inflated) : inflated,
    };
  }
}

async function fetchPayload(bucket: R2Bucket, key: PayloadKey): Promise<Fetched> {
  const object = await bucket.get(key);
  if (object === null) {
    throw new MissingObject(`R2 has no object ${key}`);
  }
  const metadata = v.parse(payloadMetadataSchema, object.customMetadata);
  return { metadata, body: new Uint8Array(await object.arrayBuffer()) };
}
