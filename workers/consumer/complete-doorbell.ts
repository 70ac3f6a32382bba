/** Doorbells from what R2 says of an object. */
import { type Counts, countsOf, type Doorbell } from "../../shared/messages.ts";
import {
  isPayloadKey,
  minuteOfKey,
  minuteToMs,
  type ObjectKey,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import { headPayload, readSegment } from "../../shared/segment/payload-objects.ts";
import type { PayloadHead } from "../../shared/segment/segment-payloads.ts";

/**
 * Completes the key of a payload to a doorbell. Null when its bytes are gone: there is nothing here to store. Throws when R2
 * cannot be reached.
 */
export async function completeDoorbell(
  bucket: R2Bucket,
  key: PayloadKey,
  cause: Doorbell["cause"],
): Promise<Doorbell | null> {
  const head = await headPayload(bucket, key);
  return head === null ? null : { v: 1, key, cause, ...countsOfHead(key, head) };
}

/** The doorbell of a payload, or those of all payloads that a segment has. */
export async function completeDoorbells(
  bucket: R2Bucket,
  key: PayloadKey | ObjectKey,
  cause: Doorbell["cause"],
): Promise<readonly Doorbell[]> {
  if (isPayloadKey(key)) {
    const doorbell = await completeDoorbell(bucket, key, cause);
    return doorbell === null ? [] : [doorbell];
  }
  const payloads = (await readSegment(bucket, key)) ?? [];
  return payloads
    .filter(({ isErased }) => !isErased)
    .map((head) => ({ v: 1, key: head.key, cause, ...countsOfHead(head.key, head) }));
}

/**
 * One whose metadata is not ours counts nothing: its payload becomes a dead letter, which can be replayed once the metadata is
 * fixed.
 */
export function countsOfHead(key: PayloadKey, { metadata }: PayloadHead): Counts {
  return metadata === null
    ? { spans: 0, outputBytes: 0, arrival: minuteToMs(minuteOfKey(key)) }
    : countsOf(metadata);
}
