/** Doorbells from what R2 says of an object. */
import * as v from "valibot";
import { countsOf, type Doorbell, payloadMetadataSchema } from "../../shared/messages.ts";
import { minuteOfKey, minuteToMs, type PayloadKey } from "../../shared/payload-key.ts";

/**
 * Completes a bare key to a doorbell by the object's metadata. Null when the object is gone: there is nothing here
 * to store. Throws when R2 cannot be reached.
 */
export async function completeDoorbell(
  bucket: R2Bucket,
  key: PayloadKey,
  cause: Doorbell["cause"],
): Promise<Doorbell | null> {
  const object = await bucket.head(key);
  return object === null ? null : doorbellOf(object, key, cause);
}

/**
 * The doorbell of a listed or headed object, from its custom metadata. One whose metadata is not ours (a copied bucket
 * may have its names in lower case) counts nothing: its payload becomes a dead letter, which can be replayed once the
 * metadata is fixed.
 */
function doorbellOf(object: R2Object, key: PayloadKey, cause: Doorbell["cause"]): Doorbell {
  const metadata = v.safeParse(payloadMetadataSchema, object.customMetadata);
  const counts = metadata.success
    ? countsOf(metadata.output)
    : { spans: 0, outputBytes: 0, arrival: minuteToMs(minuteOfKey(key)) };
  return { v: 1, key, cause, ...counts };
}
