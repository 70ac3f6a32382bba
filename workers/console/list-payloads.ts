/**
 * The keys of one tenant's payloads, a page at a time: first those that have a receipt and are not erased, then those
 * that R2 has and no receipt names, in segments as well. Keys begin with a minute, so the second part is listed from the
 * watermark on: what arrived before has its receipt. Then dead letters that are older than receipts are kept, and have bytes in R2. At
 * last those of which the traces' table alone knows, day by day: receipts are kept for weeks, rows for as long as the table's TTL says.
 * Their keys are made for them, of the minute in which they are asked for.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomesQuery, segmentReceiptsQuery } from "../../shared/clickhouse/minutes.ts";
import { receiptsQuery, tableName } from "../../shared/clickhouse/statements.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { fromHex } from "../../shared/hex.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import {
  deadLetterPrefix,
  formatMinute,
  formatPayloadId,
  formatPayloadKey,
  idOfKey,
  isInSegment,
  isObjectKey,
  isPayloadKey,
  minuteOfKey,
  minuteToMs,
  type ObjectKey,
  objectOf,
  onlyPayloadOf,
  type PayloadId,
  type PayloadKey,
  payloadPrefix,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { headPayload } from "../../shared/segment/payload-objects.ts";
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

const rowsSchema = v.array(
  v.object({ payload: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)), spans: v.number() }),
);
const daySchema = v.tuple([v.object({ rows: v.number(), day: v.number() })]);

/** Set before a place in the second part; in the third; in the last: a day since 1970 and the id behind which to go on, in hex. */
const listingMark = "r2:";
const deadMark = "dead:";
const rowsMark = "rows:";

/** `after`: empty, or the `next` of the page before. `now`: ms since the epoch. */
export async function listPayloads(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: ConsumerOperations,
  tenant: string,
  after: string,
  now: number,
): Promise<PayloadsPage> {
  if (after.startsWith(listingMark)) {
    return await listUnreceipted(bucket, clickHouse, tenant, after.slice(listingMark.length));
  }
  if (after.startsWith(deadMark)) {
    return await listOldDeadLetters(bucket, tenant, after.slice(deadMark.length), now);
  }
  if (after.startsWith(rowsMark)) {
    return await listOldRows(clickHouse, tenant, after.slice(rowsMark.length), now);
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

/** What arrived later has its receipt, whatever its spans' times: a span may lie a day ahead of its arrival. */
const receiptedMs = limits.receiptsRetentionDays * DAY_MS - limits.spanFutureMaxMs;

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
    next: covered.length < listed.length || page.truncated ? `${listingMark}${last ?? startAfter}` : deadMark,
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

/** Their records are in order of minutes, so a walk ends with the first that may have its receipt. */
async function listOldDeadLetters(
  bucket: R2Bucket,
  tenant: string,
  startAfter: string,
  now: number,
): Promise<PayloadsPage> {
  const receiptsFrom = now - limits.receiptsRetentionDays * DAY_MS;
  const page = await bucket.list({
    prefix: deadLetterPrefix,
    ...(startAfter === "" ? {} : { startAfter }),
    limit: limits.deadLetterRecordsRead,
  });
  const old = page.objects
    .map(({ key }) => key.slice(deadLetterPrefix.length))
    .filter(isPayloadKey) // not their copies
    .filter((key) => minuteToMs(minuteOfKey(key)) < receiptsFrom);
  const keys: PayloadKey[] = [];
  for (const key of old.filter((one) => tenantOfKey(one) === tenant)) {
    if ((await headPayload(bucket, key)) !== null) {
      keys.push(key);
    }
  }
  const last = page.objects.at(-1)?.key ?? "";
  const isOver =
    !page.truncated || last >= `${deadLetterPrefix}${payloadPrefix}${formatMinute(receiptsFrom)}`;
  return { keys, spans: 0, next: isOver ? `${rowsMark}0` : `${deadMark}${last}` };
}

/** `place`: a day, and the id behind which to go on. */
async function listOldRows(
  clickHouse: ClickHouseConnection,
  tenant: string,
  place: string,
  now: number,
): Promise<PayloadsPage> {
  const [from = "", after = ""] = place.split(":");
  const traces = tableName(clickHouse.settings, clickHouse.settings.tracesTable);
  // With the day in which they begin to have them: what has one is not listed.
  const behind = Math.floor((now - receiptedMs) / DAY_MS) + 1;
  // What a part's own minimum says: no row is read for it.
  const [{ rows, day }] = await queryRows(
    clickHouse,
    daySchema,
    `SELECT toUInt32(count() > 0) AS rows, toUInt32(toDate(min(Timestamp))) AS day FROM ${traces}
      WHERE toDate(Timestamp) >= toDate({from:UInt16}) AND toDate(Timestamp) < toDate({behind:UInt16})`,
    { from, behind: String(behind) },
  );
  if (rows === 0) {
    return { keys: [], spans: 0, next: null };
  }
  const found = await queryRows(
    clickHouse,
    rowsSchema,
    `SELECT lower(hex(HeadracePayload)) AS payload, toUInt32(count()) AS spans FROM ${traces}
      WHERE toDate(Timestamp) = toDate({day:UInt16}) AND HeadraceTenant = {tenant:String}
        AND HeadracePayload > toFixedString(unhex({after:String}), 16)
      GROUP BY HeadracePayload ORDER BY HeadracePayload LIMIT ${limits.idsAQuery}`,
    { day: String(day), tenant, after: String(day) === from ? after : "" },
  );
  const last = found.at(-1);
  const isFull = found.length === limits.idsAQuery && last !== undefined;
  const ids = new Map(found.map(({ payload, spans }) => [formatPayloadId(fromHex(payload)), spans]));
  for (const key of await receiptedKeys(clickHouse, [...ids.keys()])) {
    ids.delete(idOfKey(key));
  }
  return {
    keys: [...ids.keys()].map((id) => formatPayloadKey(now, tenant, id)),
    spans: [...ids.values()].reduce((sum, spans) => sum + spans, 0),
    next: `${rowsMark}${isFull ? `${day}:${last.payload}` : day + 1}`,
  };
}

async function receiptedKeys(
  clickHouse: ClickHouseConnection,
  ids: readonly PayloadId[],
): Promise<readonly PayloadKey[]> {
  if (ids.length === 0) {
    return [];
  }
  const receipts = await queryRows(clickHouse, outcomesSchema, receiptsQuery(clickHouse.settings, ids));
  return receipts.map(({ key }) => key).filter(isPayloadKey);
}
