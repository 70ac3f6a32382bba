/** Removing payloads' bytes from R2, and copying those of dead ones. */
import type { PayloadMetadata } from "../../shared/messages.ts";
import {
  deadCopyOf,
  deadLetterPrefix,
  formatSlotKey,
  idOfKey,
  isInSegment,
  type ObjectKey,
  objectOf,
  type PayloadKey,
  slotOf,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import { fetchObject } from "../../shared/segment/payload-objects.ts";
import { blankPayloads, type IndexEntry, readIndex, writeSegment } from "../../shared/segment/segment.ts";
import { payloadsOf } from "../../shared/segment/segment-key.ts";

/** Another erasure of the same segment may write it between the read and the write: then it is read anew, so often. */
const triesMax = 2;

/**
 * Deletes the objects of these payloads and everything that their dead letters kept. In a segment the bodies are overwritten, and
 * its other payloads are as they were; where nothing is left in it, it is deleted. May be repeated. Throws where R2 does not do it.
 */
export async function eraseObjects(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<void> {
  const alone = keys.filter((key) => !isInSegment(key));
  const together = Map.groupBy(keys.filter(isInSegment), objectOf);
  for (const [segment, own] of together) {
    await eraseIn(bucket, segment, own, 1);
  }
  const records = keys.map((key) => `${deadLetterPrefix}${key}`);
  const copies = keys.filter(isInSegment).map(deadCopyOf);
  await bucket.delete([...alone, ...records, ...copies]);
}

async function eraseIn(
  bucket: R2Bucket,
  segment: ObjectKey,
  keys: readonly PayloadKey[],
  tries: number,
): Promise<void> {
  const object = await bucket.get(segment);
  if (object === null) {
    return;
  }
  const payloads = payloadsOf(segment);
  const bytes = new Uint8Array(await object.arrayBuffer());
  const index = readIndex(bytes, payloads, bytes.length);
  if (index.kind === "unreadable") {
    throw new Error(`no payload of ${segment} can be erased: ${index.reason}`);
  }
  const slots = keys.map(slotOf);
  const isNone = ({ slot, tenant, id }: IndexEntry) =>
    !keys.includes(formatSlotKey(segment, slot, tenant, id));
  const left = index.entries.filter((entry) => entry === null || (!entry.isErased && isNone(entry)));
  if (left.length === 0) {
    await bucket.delete(segment);
    return;
  }
  // A key that names another payload than the one in its slot has no bytes here.
  const erased = slots.filter((slot) => !left.some((entry) => entry?.slot === slot));
  const blanked = blankPayloads(bytes, payloads, erased);
  if (blanked === null) {
    throw new Error(`a payload of ${segment} cannot be erased: its entry is damaged`);
  }
  const put = await bucket.put(segment, blanked, { onlyIf: { etagMatches: object.etag } });
  if (put === null) {
    if (tries >= triesMax) {
      throw new Error(`${segment} was written ${tries} times while it was to be rewritten`);
    }
    await eraseIn(bucket, segment, keys, tries + 1);
  }
}

/**
 * Copies the bytes of a dead payload out of its segment, before its dead letter says that they can be replayed. What has no bytes, or
 * those of another payload, has no copy.
 */
export async function copyDead(bucket: R2Bucket, key: PayloadKey): Promise<void> {
  const object = await fetchObject(objectOf(key), async (name) => {
    const found = await bucket.get(name);
    return found === null ? null : { object: found, bytes: new Uint8Array(await found.arrayBuffer()) };
  });
  const payload = await object.payload(key);
  if (payload?.metadata) {
    await bucket.put(deadCopyOf(key), copyOf(key, payload.metadata, payload.body));
  }
}

function copyOf(key: PayloadKey, metadata: PayloadMetadata, body: Uint8Array): Uint8Array {
  return writeSegment(metadata.arrival, [{ id: idOfKey(key), tenant: tenantOfKey(key), metadata, body }]);
}
