/**
 * The balance of a range of minutes, read from its three witnesses: R2 lists what was accepted, the receipts in
 * ClickHouse say what ended, the ledger says what it holds. A segment counts as many payloads as it has.
 */
import * as v from "valibot";
import { balanceOf } from "../../shared/balance.ts";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { limits } from "../../shared/limits.ts";
import { type PayloadOutcome, payloadOutcomes } from "../../shared/outcome.ts";
import {
  formatMinute,
  isInSegment,
  isObjectKey,
  isPayloadKey,
  minuteToMs,
  type ObjectKey,
  type PayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import { payloadsOf } from "../../shared/segment/segment-key.ts";
import { readUnreceipted } from "./read-segments.ts";

const receiptsSchema = v.array(
  v.object({
    key: v.custom<PayloadKey>((input) => typeof input === "string" && isPayloadKey(input)),
    outcome: v.picklist(payloadOutcomes),
  }),
);

export async function readBalance(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: ConsumerOperations,
  sinceMs: number,
): Promise<BuiltAnswer<"GET /api/balance">> {
  const minute = formatMinute(sinceMs);
  const since = minuteToMs(minute);
  const from = `${payloadPrefix}${minute}`;
  const { objects, truncated } = await listObjects(bucket, from);
  const last = objects.at(-1);
  const before = truncated && last !== undefined ? behindOf(last) : behindAll;
  const receipts = await readReceipts(clickHouse, from, before);
  const { keys, erased, unnamed } = await readUnreceipted(bucket, objects, new Set(receipts.keys()));
  for (const key of erased) {
    receipts.set(key, "erased");
  }
  const held = await heldOf(keys, consumer);
  const [lost] = keys.filter((key) => !held.has(key));
  // Read once more behind the ledger's answer: a payload that ended in between is then seen by its receipt.
  if (lost !== undefined) {
    const open = new Set(keys);
    for (const [key, outcome] of await readReceipts(clickHouse, lost, before)) {
      if (open.has(key)) {
        receipts.set(key, outcome);
      }
    }
  }
  const balance = balanceOf(keys, receipts, held);
  return {
    since: new Date(since).toISOString(),
    balanced: balance.missing.length === 0 && unnamed === 0 && !truncated,
    truncated,
    ...balance,
    accepted: balance.accepted + unnamed,
    unnamed,
  };
}

async function listObjects(
  bucket: R2Bucket,
  from: string,
): Promise<{ objects: ObjectKey[]; truncated: boolean }> {
  const objects: ObjectKey[] = [];
  let payloads = 0;
  let cursor: string | undefined;
  do {
    const page = await bucket.list({
      prefix: payloadPrefix,
      ...(cursor === undefined ? { startAfter: from } : { cursor }),
    });
    for (const object of page.objects.map(({ key }) => key).filter(isObjectKey)) {
      if (payloads >= limits.balancePayloadsMax) {
        return { objects, truncated: true };
      }
      objects.push(object);
      payloads += isInSegment(object) ? payloadsOf(object) : 1;
    }
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
  return { objects, truncated: false };
}

/** Behind all payloads of an object, and before the next object: "0" follows "/". */
function behindOf(object: ObjectKey): string {
  return `${object}0`;
}
const behindAll = `${payloadPrefix.slice(0, -1)}0`;

async function heldOf(keys: readonly PayloadKey[], consumer: ConsumerOperations): Promise<Set<PayloadKey>> {
  const held = new Set<PayloadKey>();
  const pageKeys = 1000;
  for (let at = 0; at < keys.length; at += pageKeys) {
    const page = keys.slice(at, at + pageKeys);
    const answers = await consumer.holds(page);
    page.forEach((key, index) => {
      if (answers[index] === true) {
        held.add(key);
      }
    });
  }
  return held;
}

/** Of keys from one text to before the other. */
async function readReceipts(
  clickHouse: ClickHouseConnection,
  from: string,
  before: string,
): Promise<Map<PayloadKey, PayloadOutcome>> {
  const query =
    "SELECT key, outcome FROM headrace_receipts FINAL WHERE key >= {from:String} AND key < {before:String}";
  const rows = await queryRows(clickHouse, receiptsSchema, query, { from, before });
  return new Map(rows.map(({ key, outcome }) => [key, outcome]));
}
