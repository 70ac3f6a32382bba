/**
 * The shell of the reconciler: takes the lease, performs what a run (shared/reconcile/run.ts) asks for, one effect
 * after the other, and gives the lease back. It decides nothing.
 */
import * as v from "valibot";
import { unreachable } from "../../shared/assert.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { deadLetterPrefix } from "../../shared/clickhouse/dead-letters.ts";
import {
  minuteColumns,
  minuteRow,
  outcomesQuery,
  receiptsOfKeysQuery,
  storedReceiptsQuery,
  tallyQuery,
  watermarkColumns,
  watermarkRow,
} from "../../shared/clickhouse/minutes.ts";
import { receiptsQuery } from "../../shared/clickhouse/statements.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import { isPayloadKey, type PayloadKey, payloadPrefix } from "../../shared/payload-key.ts";
import type { Answer, Effect, Listed, ReconcileFinding } from "../../shared/reconcile/effects.ts";
import type { MinuteBook } from "../../shared/reconcile/minute-book.ts";
import { type ReconcileReport, reconcileRun } from "../../shared/reconcile/run.ts";
import type { ReconcileSettings } from "../../shared/reconcile/settings.ts";
import { completeDoorbell, doorbellOf } from "./complete-doorbell.ts";
import { parseReceipts, payloadKeySchema } from "./read-receipts.ts";
import { countRows, readTable } from "./read-table.ts";

/** The ledger's part of a run. */
export interface ReconcileLedger {
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
  /** Null: another run has the lease, and this one does not take it over. */
  beginReconcile(
    takesOver: boolean,
  ): Promise<{ readonly run: string; readonly book: MinuteBook | null } | null>;
  /** False: this run has lost the lease. */
  keepBook(run: string, book: MinuteBook): Promise<boolean>;
  endReconcile(run: string): Promise<void>;
}

export interface ReconcileWorld {
  readonly bucket: R2Bucket;
  readonly queue: Queue<Doorbell>;
  readonly clickHouse: ClickHouseConnection;
  readonly ledger: ReconcileLedger;
  readonly tell: (findings: readonly ReconcileFinding[]) => Promise<void>;
}

/**
 * One run. Null: another one is under way; a run that was asked for takes over. Throws when R2, the ledger or ClickHouse cannot be asked; what was done
 * until then stands, the rest is done by the next run.
 */
export async function reconcile(
  world: ReconcileWorld,
  settings: ReconcileSettings,
  asked: { readonly now: number; readonly everything: boolean },
): Promise<ReconcileReport | null> {
  const begun = await world.ledger.beginReconcile(asked.everything);
  if (begun === null) {
    return null;
  }
  try {
    const run = reconcileRun({ ...asked, book: begun.book }, settings);
    let next = run.next();
    while (next.done !== true) {
      next = run.next(await perform(next.value, begun.run, asked.now, world));
    }
    return next.value;
  } finally {
    await world.ledger.endReconcile(begun.run);
  }
}

/** Does one effect and answers it. Throws when it cannot be done. */
async function perform(effect: Effect, run: string, now: number, world: ReconcileWorld): Promise<Answer> {
  const { bucket, clickHouse, ledger } = world;
  const { client, settings } = clickHouse;
  const to = effect.do;
  switch (effect.do) {
    case "list":
      return { to: "list", ...(await listPayloads(bucket, effect)) };
    case "outcomes": {
      const rows = await read(clickHouse, outcomesQuery(settings, effect.keys));
      return { to: "outcomes", outcomes: v.parse(outcomesSchema, rows) };
    }
    case "receipts":
      return {
        to: "receipts",
        receipts: parseReceipts(await read(clickHouse, receiptsOfKeysQuery(settings, effect.keys))),
      };
    case "receiptsOfIds":
      return {
        to: "receiptsOfIds",
        receipts: parseReceipts(await read(clickHouse, receiptsQuery(settings, effect.ids))),
      };
    case "storedReceipts": {
      const query = storedReceiptsQuery(settings, effect.after, effect.before, effect.atMost);
      return { to: "storedReceipts", receipts: parseReceipts(await read(clickHouse, query)) };
    }
    case "holds":
      return { to: "holds", held: await ledger.holds(effect.keys) };
    case "rows": {
      const { oldestDay } = await readTable(clickHouse, now);
      if (oldestDay === null) {
        throw new Error("the table's TTL is not understood: rows are no evidence (see the table check)");
      }
      return { to: "rows", rows: await countRows(clickHouse, effect.ids), oldestDay };
    }
    case "tally": {
      const rows = await read(clickHouse, tallyQuery(settings, effect.minute));
      const tenants = v.parse(tallySchema, rows);
      return {
        to: "tally",
        tenants: tenants.map((tally) => ({ ...tally, checksum: BigInt(tally.checksum) })),
      };
    }
    case "find":
      return { to: "find", objects: await findPayloads(bucket, effect.keys) };
    case "deadLetters":
      return { to: "deadLetters", keys: await findRecords(bucket, effect.keys) };
    case "ring":
      await ringAll(effect.doorbells, world.queue);
      return { to: "ring" };
    case "record":
      await write(client, "headrace_minutes", minuteColumns, [
        ...effect.minutes.map((row) => minuteRow(row, Date.now())),
      ]);
      await write(client, "headrace_watermarks", watermarkColumns, [
        watermarkRow(effect.watermark, Date.now()),
      ]);
      return { to: "record" };
    case "delete":
      await bucket.delete([...effect.keys]);
      return { to: "delete" };
    case "tell":
      await world.tell(effect.findings);
      return { to: "tell" };
    case "save":
      return { to: "save", kept: await ledger.keepBook(run, effect.book) };
    default:
      return unreachable(effect ?? to);
  }
}

/** A page of payloads with their metadata; what is no payload of ours under the prefix is passed over. */
async function listPayloads(
  bucket: R2Bucket,
  { after, cursor, atMost }: Extract<Effect, { readonly do: "list" }>,
): Promise<Omit<Extract<Answer, { readonly to: "list" }>, "to">> {
  const page = await bucket.list({
    prefix: payloadPrefix,
    ...(cursor === null ? { startAfter: after } : { cursor }),
    limit: atMost,
    include: ["customMetadata"],
  });
  const objects = page.objects.flatMap((object) =>
    isPayloadKey(object.key)
      ? [{ key: object.key, doorbell: doorbellOf(object, object.key, "reconcile") }]
      : [],
  );
  return { objects, through: page.objects.at(-1)?.key ?? after, cursor: page.truncated ? page.cursor : null };
}

/** One listing of the records from the first key to the last, not a question a key. */
async function findRecords(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<readonly PayloadKey[]> {
  const [first] = keys;
  const last = keys.at(-1);
  if (first === undefined || last === undefined) {
    return [];
  }
  const asked = new Set<string>(keys.map((key) => `${deadLetterPrefix}${key}`));
  const found = new Set<string>();
  let from: R2ListOptions = { startAfter: `${deadLetterPrefix}${first.slice(0, -1)}` };
  for (;;) {
    const page = await bucket.list({ prefix: deadLetterPrefix, ...from });
    for (const { key } of page.objects.filter((object) => asked.has(object.key))) {
      found.add(key);
    }
    const seen = page.objects.at(-1)?.key ?? "";
    if (!page.truncated || seen >= `${deadLetterPrefix}${last}`) {
      return keys.filter((key) => found.has(`${deadLetterPrefix}${key}`));
    }
    from = { cursor: page.cursor };
  }
}

async function findPayloads(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<readonly Listed[]> {
  const found: Listed[] = [];
  for (const key of keys) {
    const doorbell = await completeDoorbell(bucket, key, "reconcile");
    if (doorbell !== null) {
      found.push({ key, doorbell });
    }
  }
  return found;
}

const outcomesSchema = v.array(v.object({ key: payloadKeySchema, outcome: v.picklist(payloadOutcomes) }));

const tallySchema = v.array(
  v.object({
    tenant: v.string(),
    accepted: v.number(),
    stored: v.number(),
    dead: v.number(),
    duplicate: v.number(),
    erased: v.number(),
    expired: v.number(),
    spans: v.number(),
    rejectedSpans: v.number(),
    bytes: v.number(),
    checksum: v.pipe(v.string(), v.regex(/^\d+$/)),
  }),
);

async function read({ client }: ClickHouseConnection, query: string): Promise<unknown> {
  const answer = await client.query({
    query,
    format: "JSONEachRow",
    clickhouse_settings: { select_sequential_consistency: "1" },
  });
  return await answer.json();
}

async function write(
  client: ClickHouseConnection["client"],
  table: string,
  columns: readonly [string, ...string[]],
  values: readonly object[],
): Promise<void> {
  await client.insert({
    table,
    columns: [...columns],
    values: [...values],
    format: "JSONEachRow",
    clickhouse_settings: { async_insert: 0, wait_end_of_query: 1, input_format_skip_unknown_fields: 0 },
  });
}

async function ringAll(doorbells: readonly Doorbell[], queue: Queue<Doorbell>): Promise<void> {
  for (let at = 0; at < doorbells.length; at += limits.queueMessagesMax) {
    await queue.sendBatch(doorbells.slice(at, at + limits.queueMessagesMax).map((body) => ({ body })));
  }
}
