/**
 * Gathers the evidence for VERIFY, after the fence: whether anything of the group still runs (and ends it), what the
 * receipts claim, what the table shows, what R2 holds. It concludes nothing: that is shared/ledger/verify.ts.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { killStatement, receiptsQuery, runningQuery } from "../../shared/clickhouse/statements.ts";
import { needsCount } from "../../shared/ledger/attempt.ts";
import type { AttemptReport, Evidence, GroupPayload, GroupTask, Receipt } from "../../shared/ledger/group.ts";
import { idOfKey, type PayloadId, type PayloadKey } from "../../shared/payload-key.ts";
import { countPayload } from "./insert-group.ts";
import { loadPayloads } from "./load-payloads.ts";
import { parseReceipts } from "./read-receipts.ts";
import { countRows, readTable } from "./read-table.ts";

type VerifyTask = Extract<GroupTask, { readonly step: "verify" }>;

/**
 * `overdueMs`: an INSERT of ours that runs for longer is ended, whoever's it is. Throws when ClickHouse or R2 cannot be asked: then nothing is known, and the attempt is repeated.
 */
export async function verifyGroup(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  task: VerifyTask,
  now: number,
  overdueMs: number,
): Promise<AttemptReport> {
  const running = await endRunning(clickHouse, task.group, overdueMs);
  const keys = task.payloads.map(({ key }) => key);
  const receipts = await readReceipts(clickHouse, keys);
  const { oldestDay } = await readTable(clickHouse, now);
  const rows = await countRows(clickHouse, keys.map(idOfKey));
  const payloads: Evidence[] = [];
  for (const payload of task.payloads) {
    const id = idOfKey(payload.key);
    const own = receipts.get(id) ?? [];
    payloads.push({
      key: payload.key,
      receipts: own,
      rowsByDay: (rows.get(id) ?? []).filter(({ day }) => day >= oldestDay),
      object: await findObject(bucket, payload, own, needsCount(task.rows, own)),
    });
  }
  return { kind: "verified", running, oldestDay, payloads };
}

async function endRunning(
  { client }: ClickHouseConnection,
  group: string,
  overdueMs: number,
): Promise<boolean> {
  const answer = await client.query({ query: runningQuery(group, overdueMs), format: "JSONEachRow" });
  const running = (await answer.json()).length > 0;
  if (running) {
    await client.command({ query: killStatement(group, overdueMs) });
  }
  return running;
}

/** Receipts of payloads by their ids, under all of their keys. */
export async function readReceipts(
  { client, settings }: ClickHouseConnection,
  keys: readonly PayloadKey[],
): Promise<ReadonlyMap<PayloadId, readonly Receipt[]>> {
  const query = receiptsQuery(settings, keys.map(idOfKey));
  const answer = await client.query({
    query,
    format: "JSONEachRow",
    clickhouse_settings: { select_sequential_consistency: "1" },
  });
  const found = new Map<PayloadId, Receipt[]>();
  for (const receipt of parseReceipts(await answer.json())) {
    const id = idOfKey(receipt.key);
    found.set(id, [...(found.get(id) ?? []), receipt]);
  }
  return found;
}

/** An object of the id, under the payload's own key first; its rows by day only where they are asked for. */
async function findObject(
  bucket: R2Bucket,
  payload: GroupPayload,
  receipts: readonly Receipt[],
  count: boolean,
): Promise<Evidence["object"]> {
  const keys = new Set([payload.key, ...payload.duplicateKeys, ...receipts.map(({ key }) => key)]);
  for (const key of keys) {
    for await (const loaded of loadPayloads(bucket, [{ ...payload, key, only: null }])) {
      if (loaded.kind === "readable") {
        const { bytes, metadata } = loaded;
        return {
          key,
          rejectedSpans: metadata.rejectedSpans,
          bytes,
          rowsByDay: count ? countPayload(loaded) : null,
        };
      }
      if (loaded.reason !== "missing_object") {
        return { key, rejectedSpans: 0, bytes: 0, rowsByDay: "undecodable" };
      }
    }
  }
  return null;
}
