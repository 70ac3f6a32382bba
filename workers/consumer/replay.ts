/**
 * What a person asks for: payloads to be stored after all. They go through the ledger like every other ring, so that even a wrong
 * death ends as rows once.
 */
import type { AskedFor, Fixed } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { isPayloadKey } from "../../shared/payload-key.ts";
import { completeDoorbell } from "./complete-doorbell.ts";

/** Rings each payload with cause `replay`: VERIFY looks first, and inserts what is not there. */
export async function replay(
  bucket: R2Bucket,
  queue: Queue<Doorbell>,
  keys: readonly string[],
): Promise<Fixed<AskedFor>> {
  const doorbells: Doorbell[] = [];
  const missing: string[] = [];
  for (const key of keys) {
    const doorbell = isPayloadKey(key) ? await completeDoorbell(bucket, key, "replay") : null;
    if (doorbell === null) {
      missing.push(key);
    } else {
      doorbells.push(doorbell);
    }
  }
  for (let at = 0; at < doorbells.length; at += limits.queueMessagesMax) {
    await queue.sendBatch(doorbells.slice(at, at + limits.queueMessagesMax).map((body) => ({ body })));
  }
  return { taken: doorbells.map(({ key }) => key), missing };
}
