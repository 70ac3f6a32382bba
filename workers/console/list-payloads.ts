/**
 * The keys of one tenant's payloads, a page at a time: first those that have a receipt and are not erased, then those
 * that R2 has and no receipt names. Keys begin with a minute, so the second part is listed from the watermark on:
 * what arrived before has its receipt.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomesQuery } from "../../shared/clickhouse/minutes.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { limits } from "../../shared/limits.ts";
import {
  formatMinute,
  isPayloadKey,
  type PayloadKey,
  parsePayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";

type PayloadsPage = BuiltAnswer<"GET /api/payloads">;

const receiptsSchema = v.array(v.object({ key: v.string(), spans: v.number() }));
const outcomesSchema = v.array(v.looseObject({ key: v.string() }));

/** Set before a place in the second part. */
const listingMark = "r2:";

/** `after`: empty, or the `next` of the page before. */
export async function listPayloads(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: ConsumerOperations,
  tenant: string,
  after: string,
): Promise<PayloadsPage> {
  if (after.startsWith(listingMark)) {
    return await listUnreceipted(bucket, clickHouse, tenant, after.slice(listingMark.length));
  }
  const receipts = await queryRows(
    clickHouse,
    receiptsSchema,
    `SELECT key, spans FROM headrace_receipts FINAL
      WHERE tenant = {tenant:String} AND key > {after:String} AND outcome != 'erased'
      ORDER BY key LIMIT ${limits.payloadsListed}`,
    { tenant, after },
  );
  const last = receipts.at(-1);
  return {
    keys: receipts.map(({ key }) => key),
    spans: receipts.reduce((sum, { spans }) => sum + spans, 0),
    next:
      last !== undefined && receipts.length === limits.payloadsListed
        ? last.key
        : `${listingMark}${await listingBegin(consumer)}`,
  };
}

async function listingBegin(consumer: ConsumerOperations): Promise<string> {
  const checkpoint = await consumer.checkpoint();
  return `${payloadPrefix}${checkpoint === null ? "" : formatMinute(watermarkOf(checkpoint))}`;
}

async function listUnreceipted(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  tenant: string,
  startAfter: string,
): Promise<PayloadsPage> {
  const page = await bucket.list({ prefix: payloadPrefix, startAfter, limit: limits.payloadsListed });
  const listed = page.objects.map(({ key }) => key);
  const ours = listed.filter((key): key is PayloadKey => parsePayloadKey(key)?.tenant === tenant);
  const receipted = new Set<string>();
  if (ours.length > 0) {
    const query = outcomesQuery(clickHouse.settings, ours.filter(isPayloadKey));
    for (const { key } of await queryRows(clickHouse, outcomesSchema, query)) {
      receipted.add(key);
    }
  }
  const last = listed.at(-1);
  return {
    keys: ours.filter((key) => !receipted.has(key)),
    spans: 0,
    next: page.truncated && last !== undefined ? `${listingMark}${last}` : null,
  };
}
