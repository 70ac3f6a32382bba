/**
 * Dead letters as R2 keeps them, for when ClickHouse, whose table lists them, does not answer: each has a record under `dead/`
 * before its row and its receipt are there. A record stays when its payload is replayed, so the ledger is asked which of
 * them ended otherwise since, as far back as it remembers.
 */
import * as v from "valibot";
import type { DeadLetter } from "../../shared/console/answers.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import {
  deadLetterPrefix,
  isPayloadKey,
  type PayloadKey,
  parsePayloadKey,
} from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";

const recordSchema = v.object({
  key: v.string(),
  tenant: v.string(),
  reason: v.string(),
  // A record of an older release may say neither.
  message: v.optional(v.string(), ""),
  refusals: v.optional(v.number(), 0),
  group_id: v.optional(v.string(), ""),
  spans: v.number(),
  record: v.string(),
  // As ClickHouse reads it, in UTC: `2026-11-24 07:41:29.123`.
  at: v.pipe(
    v.string(),
    v.transform((at) => `${at.replace(" ", "T")}Z`),
    v.isoTimestamp(),
  ),
});
export type DeadLetterRecord = v.InferOutput<typeof recordSchema>;

/** Those that are still dead as far as R2 and the ledger know, the latest arrivals, at most `limits.deadLetterRecordsRead`. */
export async function listDeadLetterRecords(
  bucket: R2Bucket,
  consumer: Pick<ConsumerOperations, "whereAre">,
): Promise<readonly DeadLetter[]> {
  const keys = (await listKeys(bucket)).slice(-limits.deadLetterRecordsRead);
  const records = await Promise.all(keys.map((key) => readRecord(bucket, key)));
  const found = records.filter((record) => record !== null);
  const places = await consumer
    .whereAre(found.map(({ key }) => parsePayloadKey(key)?.id ?? ""))
    .catch((error: unknown) => {
      writeLog("warn", { message: "dead letters without what the ledger knows of them" }, error);
      return [];
    });
  return found
    .filter((_, index) => !hasEndedSince(places[index]))
    .sort((a, b) => (a.at < b.at ? 1 : -1))
    .map(({ group_id: _, ...letter }) => ({ ...letter, from: "record" }));
}

function hasEndedSince(place: Whereabouts | undefined): boolean {
  return place?.at === "done" && place.outcome !== "dead";
}

/** The record of one payload; null: there is none, or it is not ours. */
export async function readRecord(bucket: R2Bucket, key: PayloadKey): Promise<DeadLetterRecord | null> {
  const object = await bucket.get(`${deadLetterPrefix}${key}`);
  if (object === null) {
    return null;
  }
  const parsed = v.safeParse(recordSchema, await object.json().catch(() => null));
  return parsed.success ? parsed.output : null;
}

/** R2 lists the earliest arrivals first: all of them are passed over to come to the latest. */
async function listKeys(bucket: R2Bucket): Promise<readonly PayloadKey[]> {
  const keys: PayloadKey[] = [];
  let cursor: string | undefined;
  for (let call = 0; call < limits.deadLetterListCallsMax; call++) {
    const page = await bucket.list({ prefix: deadLetterPrefix, ...(cursor === undefined ? {} : { cursor }) });
    keys.push(...page.objects.map(({ key }) => key.slice(deadLetterPrefix.length)).filter(isPayloadKey));
    if (!page.truncated) {
      break;
    }
    cursor = page.cursor;
  }
  return keys;
}
