/**
 * Writes a payload into R2, create-only. From a resolved put on it is ours: the request is answered 200, whatever
 * happens later.
 *
 * Equal bytes in one minute have one key. A put that finds the key is the same payload again. A put that throws may
 * still have landed (the answer was lost), or R2 refused a second write to one key within a second (error 10058);
 * a `head` tells: what is there is ours.
 */
import { limits } from "../../shared/limits.ts";
import { formatPayloadMetadata, type PayloadMetadata } from "../../shared/messages.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { Deadline } from "./deadline.ts";

/** Creates, and never replaces. One for all puts: it is read only. */
const createOnly = new Headers({ "If-None-Match": "*" });

export type Acceptance = "created" | "duplicate" | "unreachable";

export async function acceptPayload(
  bucket: R2Bucket,
  key: PayloadKey,
  body: Uint8Array,
  metadata: PayloadMetadata,
  deadline: Deadline,
): Promise<Acceptance> {
  try {
    const put = bucket.put(key, body, {
      onlyIf: createOnly,
      customMetadata: formatPayloadMetadata(metadata),
    });
    const object = await deadline.within(put, limits.putTimeoutMs);
    return object === null ? "duplicate" : "created";
  } catch (error) {
    writeLog("error", { message: "R2 put failed", payload: key }, error);
    return await foundAfterAll(bucket, key, deadline);
  }
}

async function foundAfterAll(bucket: R2Bucket, key: PayloadKey, deadline: Deadline): Promise<Acceptance> {
  try {
    return (await deadline.within(bucket.head(key), limits.putTimeoutMs)) === null
      ? "unreachable"
      : "duplicate";
  } catch (error) {
    writeLog("error", { message: "R2 head failed", payload: key }, error);
    return "unreachable";
  }
}
