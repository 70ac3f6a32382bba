/**
 * What a person asks for: payloads to be stored after all, or to be erased. Both go through the ledger like every other
 * ring, so that even a wrong death ends as rows once.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { receiptsOfKeysQuery } from "../../shared/clickhouse/minutes.ts";
import type { AskedFor, Fixed } from "../../shared/console/answers.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { isPayloadKey, minuteOfKey, minuteToMs, type PayloadKey } from "../../shared/payload-key.ts";
import { completeDoorbell } from "./complete-doorbell.ts";
import { queryReceipts } from "./read-receipts.ts";

/** Rings each payload with cause `replay`: VERIFY looks first, and inserts what is not there. */
export async function replay(
  bucket: R2Bucket,
  queue: Queue<Doorbell>,
  keys: readonly string[],
): Promise<Fixed<AskedFor>> {
  const doorbells: Doorbell[] = [];
  const asked = await withEach(bucket, keys, async (doorbell) => {
    doorbells.push(doorbell);
  });
  for (let at = 0; at < doorbells.length; at += limits.queueMessagesMax) {
    await queue.sendBatch(doorbells.slice(at, at + limits.queueMessagesMax).map((body) => ({ body })));
  }
  return asked;
}

/**
 * Asks the ledger to erase each payload under all of its keys; it does so when the payload is no longer live. A payload
 * whose object was deleted after its retention still has rows: what its receipt says of it is enough.
 */
export async function askToErase(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  ledger: { erase(payload: Doorbell, reason: string): Promise<void> },
  keys: readonly string[],
  reason: string,
): Promise<Fixed<AskedFor>> {
  const { taken, missing } = await withEach(bucket, keys, (doorbell) => ledger.erase(doorbell, reason));
  const gone = missing.filter(isPayloadKey).sort();
  if (gone.length === 0) {
    return { taken, missing };
  }
  const receipts = await queryReceipts(clickHouse, receiptsOfKeysQuery(clickHouse.settings, gone));
  for (const { key, spans } of receipts) {
    const arrival = minuteToMs(minuteOfKey(key));
    await ledger.erase({ v: 1, key, cause: "replay", spans, outputBytes: 0, arrival }, reason);
  }
  const receipted = new Set<string>(receipts.map(({ key }) => key));
  return {
    taken: [...taken, ...receipted],
    missing: missing.filter((key) => !receipted.has(key)),
  };
}

async function withEach(
  bucket: R2Bucket,
  keys: readonly string[],
  act: (doorbell: Doorbell) => Promise<unknown>,
): Promise<Fixed<AskedFor>> {
  const taken: PayloadKey[] = [];
  const missing: string[] = [];
  for (const key of keys) {
    const doorbell = isPayloadKey(key) ? await completeDoorbell(bucket, key, "replay") : null;
    if (doorbell === null) {
      missing.push(key);
    } else {
      await act(doorbell);
      taken.push(doorbell.key);
    }
  }
  return { taken, missing };
}
