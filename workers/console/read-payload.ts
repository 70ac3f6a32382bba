/**
 * Everything that happened to one payload, from all who know of it: R2 (the object), the ledger, the receipts, the dead
 * letters, and the table itself, with the times that each of them kept.
 */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { countRowsQuery, receiptsQuery } from "../../shared/clickhouse/statements.ts";
import type { Fixed, PayloadAnswer } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { failureText } from "../../shared/failure.ts";
import { toHex } from "../../shared/hex.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { type PayloadMetadata, payloadMetadataSchema } from "../../shared/messages.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import {
  deadCopyOf,
  isInSegment,
  isPayloadId,
  isPayloadKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
  parsePayloadKey,
  payloadIdToBytes,
  slotOf,
} from "../../shared/payload-key.ts";
import { type Presence, presenceText } from "../../shared/reconcile/presence.ts";
import { headPayload, readSegment } from "../../shared/segment/payload-objects.ts";
import { indexBytes } from "../../shared/segment/segment.ts";
import { contentOf } from "../../shared/segment/segment-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import { readRecord } from "./dead-letter-records.ts";
import { clickHouseText } from "./failure-text.ts";

const receiptsSchema = v.array(
  v.object({
    key: v.string(),
    outcome: v.picklist(payloadOutcomes),
    group_id: v.string(),
    spans: v.number(),
    rejected_spans: v.number(),
    bytes: v.number(),
    reason: v.string(),
    at: v.number(),
  }),
);
const deadLettersSchema = v.array(
  v.object({
    key: v.string(),
    reason: v.string(),
    message: v.string(),
    group_id: v.string(),
    record: v.string(),
    at: v.number(),
  }),
);
const rowsSchema = v.array(v.object({ day: v.number(), rows: v.number() }));

/** `text`: a payload's key or id. */
export async function readPayload(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: ConsumerOperations,
  text: string,
): Promise<Fixed<PayloadAnswer>> {
  const id = isPayloadId(text) ? text : parsePayloadKey(text)?.id;
  assert(id !== undefined, "the question named a payload's key or id");
  // The ledger first: a payload that ends in between is then seen by its receipt.
  const ledger = await consumer.whereIs(id);
  const tables = await readTables(clickHouse, consumer, id);
  const { receipts, rows, presence } = tables;
  const keys = new Set<string>([
    ...(isPayloadKey(text) ? [text] : []),
    ...("key" in ledger && ledger.key !== null ? [ledger.key] : []),
    ...receipts.map(({ key }) => key),
  ]);
  const ours = [...keys].filter(isPayloadKey).sort();
  const objects = await headAll(bucket, ours);
  const deadLetters = tables.unread === "" ? tables.deadLetters : await recordsOf(bucket, ours);
  return {
    payload: id,
    tenant: parsePayloadKey([...keys][0] ?? "")?.tenant ?? null,
    keys: [...keys].sort(),
    objects: objects.map(({ key, bytes, metadata, payloads }) => ({ key, bytes, metadata, payloads })),
    ledger,
    receipts: receipts.map(({ group_id, rejected_spans, bytes: _bytes, at, ...receipt }) => ({
      ...receipt,
      group: group_id,
      rejectedSpans: rejected_spans,
      at: isoOf(at),
    })),
    deadLetters: deadLetters.map(({ key, reason, message }) => ({ key, reason, message })),
    rows: rows.map(({ day, rows: count }) => ({ day: isoOf(day * 86_400_000).slice(0, 10), rows: count })),
    presence,
    unread: tables.unread,
    advice: presence === "unread" ? "" : presenceText(presence, id),
    steps: stepsOf(objects, ledger, receipts, deadLetters, id),
  };
}

interface Tables {
  readonly receipts: v.InferOutput<typeof receiptsSchema>;
  readonly deadLetters: v.InferOutput<typeof deadLettersSchema>;
  readonly rows: v.InferOutput<typeof rowsSchema>;
  readonly presence: Presence | "unread";
  readonly unread: string;
}

/** What ClickHouse has of it; while that does not answer, nothing, and why. */
async function readTables(
  clickHouse: ClickHouseConnection,
  consumer: Pick<ConsumerOperations, "presence">,
  id: PayloadId,
): Promise<Tables> {
  const { settings } = clickHouse;
  try {
    const [receipts, deadLetters, rows, presence] = await Promise.all([
      queryRows(clickHouse, receiptsSchema, receiptsQuery(settings, [id])),
      queryRows(clickHouse, deadLettersSchema, deadLettersQuery(id)),
      queryRows(clickHouse, rowsSchema, countRowsQuery(settings, [id])),
      consumer.presence(id),
    ]);
    return { receipts, deadLetters, rows, presence, unread: "" };
  } catch (error) {
    writeLog("warn", { message: "a payload without its receipts and rows" }, error);
    const unread = clickHouseText(settings.url, error);
    return { receipts: [], deadLetters: [], rows: [], presence: "unread", unread };
  }
}

/** The dead letters that R2 keeps of these keys. */
async function recordsOf(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<Tables["deadLetters"]> {
  const records = await Promise.all(keys.map((key) => readRecord(bucket, key)));
  return records
    .filter((record) => record !== null)
    .map(({ key, reason, message, group_id, record, at }) => ({
      key,
      reason,
      message,
      group_id,
      record,
      at: Date.parse(at),
    }));
}

function deadLettersQuery(id: PayloadId): string {
  return `SELECT key, reason, message, group_id, record, toFloat64(toUnixTimestamp64Milli(headrace_dead_letters.at)) AS at
    FROM headrace_dead_letters FINAL
    WHERE payload = toFixedString(unhex('${toHex(payloadIdToBytes(id))}'), 16) ORDER BY key`;
}

interface Headed {
  readonly key: PayloadKey;
  /** Of the payload. Null: its entry in the segment's index is damaged. */
  readonly bytes: number | null;
  /** Of its object. */
  readonly uploaded: number;
  readonly payloads: number;
  readonly metadata: PayloadMetadata | null;
}

/** What R2 has of these payloads. */
async function headAll(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<readonly Headed[]> {
  const headed: Headed[] = [];
  for (const key of keys) {
    const object = await bucket.head(objectOf(key));
    const payload = object === null ? await headCopy(bucket, key) : await headOne(bucket, key, object);
    if (payload !== null) {
      headed.push(payload);
    }
  }
  return headed;
}

/** Of a dead payload whose segment is gone: its copy. */
async function headCopy(bucket: R2Bucket, key: PayloadKey): Promise<Headed | null> {
  const copy = isInSegment(key) ? await bucket.head(deadCopyOf(key)) : null;
  if (copy === null) {
    return null;
  }
  const metadata = (await headPayload(bucket, key))?.metadata ?? null;
  const bytes = metadata === null ? null : copy.size - indexBytes(1);
  return { key, bytes, metadata, payloads: 1, uploaded: copy.uploaded.getTime() };
}

/** Null: its object has nothing of it, or no more. */
async function headOne(bucket: R2Bucket, key: PayloadKey, object: R2Object): Promise<Headed | null> {
  const { payloads } = contentOf(objectOf(key));
  const common = { key, payloads, uploaded: object.uploaded.getTime() };
  if (!isInSegment(key)) {
    const metadata = v.safeParse(payloadMetadataSchema, object.customMetadata);
    return { ...common, bytes: object.size, metadata: metadata.success ? metadata.output : null };
  }
  const index = await readSegment(bucket, objectOf(key));
  const entry = index?.find(({ slot }) => slot === slotOf(key));
  if (entry !== undefined) {
    const { bytes, metadata } = entry;
    return entry.key === key && !entry.isErased ? { ...common, bytes, metadata } : null;
  }
  const isDamaged = index !== null && slotOf(key) < payloads;
  return isDamaged ? { ...common, bytes: null, metadata: null } : null;
}

function stepsOf(
  objects: readonly Headed[],
  ledger: Whereabouts,
  receipts: v.InferOutput<typeof receiptsSchema>,
  deadLetters: v.InferOutput<typeof deadLettersSchema>,
  id: PayloadId,
): Fixed<PayloadAnswer>["steps"] {
  const steps: { at: number; key: string; what: string }[] = [];
  for (const { key, bytes, uploaded, metadata, payloads } of objects) {
    if (metadata !== null) {
      const rejected = metadata.rejectedSpans === 0 ? "" : `, ${metadata.rejectedSpans} refused`;
      steps.push({
        at: metadata.arrival,
        key,
        what: `its body was complete at the ingress: ${metadata.spans} spans${rejected}, ${metadata.type}, ${metadata.encoding}`,
      });
    }
    const size = bytes === null ? "damaged" : `${bytes} bytes`;
    const among = payloads === 1 ? "" : `, beside ${payloads - 1} others in one object`;
    steps.push({ at: uploaded, key, what: `R2 kept it: ${size}${among}` });
  }
  if (ledger.at === "group") {
    steps.push({
      at: ledger.made,
      key: ledger.key ?? id,
      what: `the ledger put it into group ${ledger.group} with ${ledger.payloads - 1} others`,
    });
    if (ledger.failure !== null) {
      steps.push({ at: ledger.failure.at, key: ledger.key ?? id, what: failureText(ledger.failure) });
    }
  }
  for (const { key, reason, message, record, at } of deadLetters) {
    steps.push({ at, key, what: `it became a dead letter, ${reason}: ${message} (record ${record})` });
  }
  for (const { key, outcome, group_id, spans, reason, at } of receipts) {
    const by = group_id === "" || /^0+$/.test(group_id) ? "" : ` by group ${group_id}`;
    steps.push({
      at,
      key,
      what: `receipt: ${outcome}${by}, ${spans} spans${reason === "" ? "" : `, ${reason}`}`,
    });
  }
  if (ledger.at === "done") {
    steps.push({ at: ledger.since, key: id, what: `the ledger was done with it: ${ledger.outcome}` });
  }
  return steps.sort((a, b) => a.at - b.at).map((step) => ({ ...step, at: isoOf(step.at) }));
}

function isoOf(time: number): string {
  return new Date(time).toISOString();
}
