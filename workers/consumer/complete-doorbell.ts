/** Doorbells from what R2 says of an object. */
import * as v from "valibot";
import { type Doorbell, payloadMetadataSchema } from "../../shared/messages.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";

/**
 * Completes a bare key to a doorbell by the object's metadata. Undefined when the object is gone or its metadata is
 * not ours: both mean that there is nothing here to bring in. Throws when R2 cannot be reached.
 */
export async function completeDoorbell(
  bucket: R2Bucket,
  key: PayloadKey,
  cause: Doorbell["cause"],
): Promise<Doorbell | undefined> {
  const object = await bucket.head(key);
  return object === null ? undefined : doorbellOf(object, key, cause);
}

/** The doorbell of a listed or headed object, from its custom metadata. */
export function doorbellOf(
  object: R2Object,
  key: PayloadKey,
  cause: Doorbell["cause"],
): Doorbell | undefined {
  const metadata = v.safeParse(payloadMetadataSchema, object.customMetadata);
  if (!metadata.success) {
    writeLog("error", {
      message: "a payload's metadata is damaged",
      payload: key,
      issues: v.flatten(metadata.issues),
    });
    return undefined;
  }
  const { spans, outputBytes, arrival } = metadata.output;
  return { v: 1, key, cause, spans, outputBytes, arrival };
}
