/**
 * What arrived in one minute, from all who know: the receipts, R2 (what has none yet), and the ledger (what of that is in
 * flight). A payload that none of them accounts for is named as such.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { tableName } from "../../shared/clickhouse/statements.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import type { BuiltAnswer } from "../../shared/console/routes.ts";
import { counted } from "../../shared/counted.ts";
import { limits } from "../../shared/limits.ts";
import { isObjectKey, isPayloadKey, payloadPrefix, tenantOfKey } from "../../shared/payload-key.ts";
import { readUnreceipted, type Unreceipted } from "./read-segments.ts";

type MinutePayloads = BuiltAnswer<"GET /api/minute-payloads">;
type ListedPayload = MinutePayloads["payloads"][number];

const receiptsSchema = v.array(
  v.object({
    key: v.string(),
    tenant: v.string(),
    outcome: v.string(),
    spans: v.number(),
    reason: v.string(),
  }),
);

/** `minute`: `YYYY-MM-DDTHH:mm`, UTC. The most urgent come first: the unaccounted, then those in flight. */
export async function listMinutePayloads(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  consumer: ConsumerOperations,
  minute: string,
): Promise<MinutePayloads> {
  const prefix = `${payloadPrefix}${minute.replace(":", "")}/`;
  // R2 first: what gets its receipt meanwhile is found by the second question.
  const page = await bucket.list({ prefix, limit: limits.payloadsListed });
  const receipts = await queryRows(
    clickHouse,
    receiptsSchema,
    `SELECT key, tenant, toString(outcome) AS outcome, spans, reason
      FROM ${tableName(clickHouse.settings, "headrace_receipts")} FINAL
      WHERE key >= {first:String} AND key < {behind:String} ORDER BY key LIMIT ${limits.payloadsListed}`,
    { first: prefix, behind: `${prefix.slice(0, -1)}0` }, // "0" follows "/"
  );
  const last = receipts.length === limits.payloadsListed ? receipts.at(-1)?.key : undefined;
  // Behind the last receipt that was read, nothing shows which payloads have a receipt.
  const judged = page.objects
    .map(({ key }) => key)
    .filter(isObjectKey)
    .filter((object) => last === undefined || (object < last && !last.startsWith(object)));
  const receipted = new Set(receipts.map(({ key }) => key).filter(isPayloadKey));
  const open = await readUnreceipted(bucket, judged, receipted, limits.payloadsListed);
  const others = open.keys.slice(0, limits.payloadsListed);
  const held = others.length === 0 ? [] : await consumer.holds(others);
  const unreceipted = others.map(
    (key, index): ListedPayload => ({
      key,
      tenant: tenantOfKey(key),
      outcome: held[index] === true ? "in flight" : "unaccounted",
      spans: null,
      reason: "",
    }),
  );
  return {
    minute,
    payloads: [
      ...unreceipted.filter(({ outcome }) => outcome === "unaccounted"),
      ...unreceipted.filter(({ outcome }) => outcome === "in flight"),
      ...receipts,
    ],
    notes: notesOf(open, last === undefined && !page.truncated),
  };
}

function notesOf({ keys, unread, unnamed }: Unreceipted, isWhole: boolean): string[] {
  const notes: string[] = [];
  if (!isWhole || unread.length > 0 || keys.length > limits.payloadsListed) {
    notes.push(`The first ${limits.payloadsListed} by key. SQL has them all: headrace_receipts, by minute.`);
  }
  if (unnamed > 0) {
    const why = unread.length > 0 ? "are in segments that were not read" : "are in damaged segments";
    notes.push(`${counted(unnamed, "payload")} without receipt ${why}, and not listed.`);
  }
  return notes;
}
