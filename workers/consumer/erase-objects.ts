/** Removing payloads' bytes from R2 (shared/segment/erase-payloads.ts decides which), and copying those of dead ones. */
import { perform } from "../../shared/effect.ts";
import type { PayloadMetadata } from "../../shared/messages.ts";
import {
  deadCopyOf,
  deadLetterPrefix,
  idOfKey,
  isInSegment,
  objectOf,
  type PayloadKey,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import { type ErasurePerformer, erasePayloads, type NotErased } from "../../shared/segment/erase-payloads.ts";
import { fetchObject } from "../../shared/segment/payload-objects.ts";
import { isBodyOf, writeSegment } from "../../shared/segment/segment.ts";

/**
 * Deletes the objects of these payloads and everything that their dead letters kept. In a segment the bodies are overwritten, and
 * its other payloads are as they were; where nothing is left in it, it is deleted. May be repeated. Answers with what is in a segment
 * that could not be rewritten. Throws where R2 does not delete.
 */
export async function eraseObjects(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<NotErased> {
  const alone = keys.filter((key) => !isInSegment(key));
  const together = keys.filter(isInSegment);
  const notErased = await perform(erasePayloads(together), performerOf(bucket));
  const records = keys.map((key) => `${deadLetterPrefix}${key}`);
  await bucket.delete([...alone, ...records, ...together.map(deadCopyOf)]);
  return notErased;
}

function performerOf(bucket: R2Bucket): ErasurePerformer {
  return {
    get: async (segment) => {
      const object = await bucket.get(segment);
      return object === null
        ? null
        : { bytes: new Uint8Array(await object.arrayBuffer()), etag: object.etag };
    },
    isBody: async ({ entry, body }) => await isBodyOf(entry, body),
    replace: async ({ segment, bytes, etag }) =>
      (await bucket.put(segment, bytes, { onlyIf: { etagMatches: etag } })) !== null,
    delete: async (segment) => {
      await bucket.delete(segment);
      return null;
    },
    wait: async ({ ms }) => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return null;
    },
  };
}

/**
 * Copies the bytes of a dead payload out of its segment, before its dead letter says that they can be replayed. What has no bytes, or
 * those of another payload, has no copy.
 */
export async function copyDead(bucket: R2Bucket, key: PayloadKey): Promise<void> {
  const found = await bucket.get(objectOf(key));
  if (found === null) {
    return; // what was copied before has its copy
  }
  const bytes = new Uint8Array(await found.arrayBuffer());
  const object = await fetchObject(objectOf(key), async () => ({ object: found, bytes }));
  const payload = await object.payload(key);
  if (payload?.metadata) {
    await bucket.put(deadCopyOf(key), copyOf(key, payload.metadata, payload.body));
  }
}

function copyOf(key: PayloadKey, metadata: PayloadMetadata, body: Uint8Array): Uint8Array {
  return writeSegment(metadata.arrival, [{ id: idOfKey(key), tenant: tenantOfKey(key), metadata, body }]);
}
