/**
 * What a person asks for: payloads to be brought in again, or to be erased. Both go through the ledger like every other
 * ring, so that even a wrong death ends as rows once.
 */
import type { Doorbell } from "../../shared/messages.ts";
import { isPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";
import { completeDoorbell } from "./take-batch.ts";

export interface AskedFor {
  /** Keys that were handed to the queue or to the ledger. */
  readonly taken: readonly string[];
  /** Keys that are none of ours, or have no object in R2 any more: nothing was done about them. */
  readonly missing: readonly string[];
}

/** Rings each payload with cause `replay`: VERIFY looks first, and inserts what is not there. */
export async function replay(
  bucket: R2Bucket,
  queue: Queue<Doorbell>,
  keys: readonly string[],
): Promise<AskedFor> {
  return await withEach(bucket, keys, (doorbell) => queue.send(doorbell));
}

/** Asks the ledger to erase each payload under all of its keys; it does so when the payload is no longer live. */
export async function erase(
  bucket: R2Bucket,
  ledger: { erase(payload: Doorbell, reason: string): Promise<void> },
  keys: readonly string[],
  reason: string,
): Promise<AskedFor> {
  return await withEach(bucket, keys, (doorbell) => ledger.erase(doorbell, reason));
}

async function withEach(
  bucket: R2Bucket,
  keys: readonly string[],
  act: (doorbell: Doorbell) => Promise<unknown>,
): Promise<AskedFor> {
  const taken: PayloadKey[] = [];
  const missing: string[] = [];
  for (const key of keys) {
    const doorbell = isPayloadKey(key) ? await completeDoorbell(bucket, key, "replay") : undefined;
    if (doorbell === undefined) {
      missing.push(key);
    } else {
      await act(doorbell);
      taken.push(doorbell.key);
    }
  }
  return { taken, missing };
}
