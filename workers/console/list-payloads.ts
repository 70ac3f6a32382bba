/**
 * The keys of one tenant's payloads, a page at a time: first those that have a receipt and are not erased, then those
 * that R2 has and no receipt names, in segments as well. Keys begin with a minute, so the second part is listed from the
 * watermark on: what arrived before has its receipt.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomesQuery, segmentReceiptsQuery } from "../../shared/clickhouse/minutes.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { limits } from "../../shared/limits.ts";
import {
  formatMinute,
  isInSegment,
  isObjectKey,
  type ObjectKey,
  objectOf,
  onlyPayloadOf,
  type PayloadKey,
  payloadPrefix,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { isReceipted, type ObjectReceipts, readSegments } from "./read-segments.ts";

type PayloadsPage = BuiltAnswer<"GET /api/payloads">;

const receiptsSchema = v.array(v.object({ key: v.string(), spans: v.number() }));
const outcomesSchema = v.array(v.looseObject({ key: v.string() }));
const segmentReceiptsSchema = v.array(
  v.looseObject({
    segment: v.string(),
    payloads: v.number(),
    checksum: v.pipe(
      v.string(),
      v.transform((text) => BigInt(text)),
    ),
  }),
);

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
  const { named, unread } = await readNamed(bucket, clickHouse, listed.filter(isObjectKey));
  // The page ends before the first segment that was not read: the next one begins with it.
  const covered = unread === undefined ? listed : listed.filter((key) => key < unread);
  const last = covered.at(-1);
  const ours = named.filter(
    (key) => tenantOfKey(key) === tenant && (unread === undefined || objectOf(key) < unread),
  );
  const receipted = await receiptedOf(clickHouse, ours);
  return {
    keys: ours.filter((key) => !receipted.has(key)),
    spans: 0,
    next: covered.length < listed.length || page.truncated ? `${listingMark}${last ?? startAfter}` : null,
  };
}

/** The payloads of these objects, of any tenant and in order, without those of segments whose payloads all have their receipts. */
async function readNamed(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  objects: readonly ObjectKey[],
): Promise<{ readonly named: readonly PayloadKey[]; readonly unread: ObjectKey | undefined }> {
  const alone = objects.filter((object) => !isInSegment(object)).map(onlyPayloadOf);
  const segments = objects.filter(isInSegment);
  if (segments.length === 0) {
    return { named: alone, unread: undefined };
  }
  const query = segmentReceiptsQuery(clickHouse.settings, segments);
  const rows = await queryRows(clickHouse, segmentReceiptsSchema, query);
  const receipts = new Map<string, ObjectReceipts>(rows.map((row) => [row.segment, row]));
  const doubtful = segments.filter((segment) => !isReceipted(segment, receipts.get(segment)));
  const { keys, unread } = await readSegments(bucket, doubtful, limits.payloadsListed);
  return { named: [...alone, ...keys].sort(), unread: unread[0] };
}

async function receiptedOf(
  clickHouse: ClickHouseConnection,
  keys: readonly PayloadKey[],
): Promise<ReadonlySet<string>> {
  const receipted = new Set<string>();
  for (let at = 0; at < keys.length; at += limits.payloadsListed) {
    const query = outcomesQuery(clickHouse.settings, keys.slice(at, at + limits.payloadsListed));
    for (const { key } of await queryRows(clickHouse, outcomesSchema, query)) {
      receipted.add(key);
    }
  }
  return receipted;
}
