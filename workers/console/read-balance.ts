/**
 * The balance of a range of minutes, read from its three witnesses: R2 lists what was accepted, the receipts in
 * ClickHouse say what ended, the ledger says what it holds.
 */
import * as v from "valibot";
import { balanceOf } from "../../shared/balance.ts";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { type PayloadOutcome, payloadOutcomes } from "../../shared/outcome.ts";
import {
  formatMinute,
  isPayloadKey,
  minuteToMs,
  type PayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";

/** Keys that are listed at most: the answer says when that was not all. R2 lists 1000 a call. */
const keysMax = 100_000;

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
  const { keys, truncated } = await listKeys(bucket, from);
  // Asked after the listing and before the receipts: a payload that ends in between is then seen by its receipt.
  const held = await heldOf(keys, consumer);
  const receipts = await readReceipts(clickHouse, from);
  const balance = balanceOf(keys, receipts, held);
  return {
    since: new Date(since).toISOString(),
    balanced: balance.missing.length === 0 && !truncated,
    truncated,
    ...balance,
  };
}

async function listKeys(bucket: R2Bucket, from: string): Promise<{ keys: PayloadKey[]; truncated: boolean }> {
  const keys: PayloadKey[] = [];
  let cursor: string | undefined;
  do {
    const page = await bucket.list({
      prefix: payloadPrefix,
      ...(cursor === undefined ? { startAfter: from } : { cursor }),
    });
    for (const object of page.objects) {
      if (isPayloadKey(object.key)) {
        keys.push(object.key);
      }
    }
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined && keys.length < keysMax);
  return { keys, truncated: cursor !== undefined };
}

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

async function readReceipts(
  clickHouse: ClickHouseConnection,
  from: string,
): Promise<Map<PayloadKey, PayloadOutcome>> {
  const query = "SELECT key, outcome FROM headrace_receipts FINAL WHERE key >= {from:String}";
  const rows = await queryRows(clickHouse, receiptsSchema, query, { from });
  return new Map(rows.map(({ key, outcome }) => [key, outcome]));
}
