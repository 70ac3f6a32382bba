/** Performs what the cron's tick asks for (shared/reconcile/): all of its I/O, and none of its decisions. */
import * as v from "valibot";
import {
  type AlertState,
  type Channel,
  type TenantVolume,
  type Unreported,
  unreportedOf,
} from "../../shared/alerts.ts";
import { insertRows, queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import {
  minuteColumns,
  minuteRow,
  outcomesQuery,
  receiptsOfObjectsQuery,
  recentQuery,
  segmentReceiptsQuery,
  storedReceiptsQuery,
  tallyQuery,
  volumesQuery,
  watermarkColumns,
  watermarkRow,
} from "../../shared/clickhouse/minutes.ts";
import { bypassQuery, requestsQuery } from "../../shared/clickhouse/outcomes.ts";
import { receiptsQuery } from "../../shared/clickhouse/statements.ts";
import type { Performer } from "../../shared/effect.ts";
import type { TableMeasure } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import type { BareDoorbell, Doorbell } from "../../shared/messages.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import {
  deadCopyOf,
  deadLetterPrefix,
  isObjectKey,
  isSegmentKey,
  type ObjectKey,
  type PayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import type { ChangedMinute } from "../../shared/reconcile/changed-minutes.ts";
import type { Checkpoint } from "../../shared/reconcile/checkpoint.ts";
import type {
  CronEffects,
  CronPerformer,
  IndexedPayload,
  LearntFacts,
  ListedPage,
  RunEffects,
  TickEffects,
} from "../../shared/reconcile/effects.ts";
import { headPayload, readSegment } from "../../shared/segment/payload-objects.ts";
import { writeLog } from "../../shared/write-log.ts";
import { askZone } from "./ask-zone.ts";
import type { ConsumerBindings } from "./bindings.ts";
import { countsOfHead } from "./complete-doorbell.ts";
import { publishTableLimits } from "./publish-table-limits.ts";
import { payloadKeySchema, queryReceipts } from "./read-receipts.ts";
import { countRows, readTable, readWitness } from "./read-table.ts";
import { type ReportTargets, reportFindings } from "./report-findings.ts";

/** The ledger's part of a tick. */
export interface CronLedger {
  wake(): Promise<void>;
  tableChecked(refusal: string, measure: TableMeasure | null): Promise<void>;
  alertState(): Promise<{ readonly alertState: AlertState; readonly checkpoint: Checkpoint | null }>;
  judgeAlerts(learnt: LearntFacts): Promise<readonly Unreported[]>;
  alertsReported(unreported: readonly Unreported[], reached: readonly Channel[]): Promise<void>;
  /** Null: another run has the lease, and this one does not take it over. */
  beginReconcile(takesOver: boolean): Promise<{
    readonly run: string;
    readonly checkpoint: Checkpoint | null;
    readonly table: string | null;
    readonly changed: readonly ChangedMinute[];
  } | null>;
  /** Those notes are done with; a later one of the same minute is not. */
  sealedAnew(changed: readonly ChangedMinute[]): Promise<void>;
  /** False: this run has lost the lease. */
  saveCheckpoint(run: string, checkpoint: Checkpoint): Promise<boolean>;
  endReconcile(run: string): Promise<void>;
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
}

/** `now`: when the tick began, ms since the epoch. */
export function cronPerformerOf(
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: CronLedger,
  now: number,
): CronPerformer {
  return {
    ...tickPerformerOf(env, clickHouse, ledger, now),
    ...runPerformerOf(env, clickHouse, ledger, now),
  };
}

function tickPerformerOf(
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: CronLedger,
  now: number,
): Performer<TickEffects> {
  const { settings } = clickHouse;
  const bucket = env.PAYLOADS;
  return {
    wake: async () => {
      await ledger.wake();
      return null;
    },
    readTable: (table) => readTable(clickHouse, now, table),
    tableChecked: async ({ refusal, measure }) => {
      await ledger.tableChecked(refusal, measure);
      return null;
    },
    publishTableLimits: async (ttl) => {
      await publishTableLimits(bucket, ttl);
      return null;
    },
    alertState: async () => await ledger.alertState(),
    readRecent: async (since) => {
      const [recent] = await queryRows(clickHouse, recentSchema, recentQuery(settings, since));
      return recent;
    },
    readVolumes: async ({ hour, days }) => {
      const rows = await queryRows(clickHouse, volumesSchema, volumesQuery(settings, hour, days));
      return volumesOf(rows, days);
    },
    askZone: async (question) => await askZone(question, env.ZONE_ANALYTICS_TOKEN ?? "", fetch),
    countRequests: async ({ since, until }) => {
      const [{ requests }] = await queryRows(clickHouse, requestsSchema, requestsQuery(since, until));
      return requests;
    },
    readBypassed: async ({ since, until }) =>
      await queryRows(clickHouse, bypassSchema, bypassQuery(since, until)),
    judgeAlerts: async (learnt) => await ledger.judgeAlerts(learnt),
    reportAlerts: async (unreported) => await reportFindings(clickHouse, targetsOf(env), unreported, now),
    alertsReported: async ({ unreported, reached }) => {
      await ledger.alertsReported(unreported, reached);
      return null;
    },
    warn: async ({ message, reason }) => {
      writeLog("warn", { message, reason });
      return null;
    },
  };
}

function runPerformerOf(
  env: ConsumerBindings,
  clickHouse: ClickHouseConnection,
  ledger: CronLedger,
  now: number,
): Performer<RunEffects> {
  const { settings } = clickHouse;
  const bucket = env.PAYLOADS;
  return {
    beginRun: async ({ takesOver }) => await ledger.beginReconcile(takesOver),
    endRun: async (run) => {
      await ledger.endReconcile(run);
      return null;
    },
    sealedAnew: async (changed) => {
      await ledger.sealedAnew(changed);
      return null;
    },
    list: async (asked) => await listPayloads(bucket, asked),
    segmentReceipts: async (segments) => {
      const rows = await queryRows(
        clickHouse,
        segmentReceiptsSchema,
        segmentReceiptsQuery(settings, segments),
      );
      return rows.map((row) => ({ ...row, checksum: BigInt(row.checksum) }));
    },
    readIndex: async (segment) => await readPayloads(bucket, segment),
    outcomes: async (keys) => await queryRows(clickHouse, outcomesSchema, outcomesQuery(settings, keys)),
    receipts: async (objects) => await queryReceipts(clickHouse, receiptsOfObjectsQuery(settings, objects)),
    receiptsOfIds: async (ids) => await queryReceipts(clickHouse, receiptsQuery(settings, ids)),
    storedReceipts: async ({ after, before, atMost }) =>
      await queryReceipts(clickHouse, storedReceiptsQuery(settings, after, before, atMost)),
    readWitness: (table) => readWitness(clickHouse, table),
    holds: async (keys) => await ledger.holds(keys),
    rows: ({ ids, table, days }) => countRows(clickHouse, ids, table, days),
    tally: async (minutes) => {
      const tenants = await queryRows(clickHouse, tallySchema, tallyQuery(settings, minutes));
      return tenants.map(({ minuteStart, ...tally }) => ({
        ...tally,
        minute: minuteStart * 1000,
        checksum: BigInt(tally.checksum),
      }));
    },
    find: async (keys) => await findPayloads(bucket, keys),
    deadLetters: async (keys) => await findRecords(bucket, keys, recordOf, true), // else reported as unknown
    deadCopies: async (keys) => await findRecords(bucket, keys, deadCopyOf, false), // else deleted
    ring: async (doorbells) => {
      await ringAll(doorbells, env.RING);
      return null;
    },
    record: async ({ minutes, watermark }) => {
      const rows = minutes.map((row) => minuteRow(row, Date.now()));
      await insertRows(clickHouse, "headrace_minutes", minuteColumns, rows);
      const watermarks = [watermarkRow(watermark, Date.now())];
      await insertRows(clickHouse, "headrace_watermarks", watermarkColumns, watermarks);
      return null;
    },
    delete: async (keys) => {
      await bucket.delete([...keys]);
      return null;
    },
    reportFindings: async (findings) => {
      await reportFindings(
        clickHouse,
        targetsOf(env),
        unreportedOf(findings.map((finding) => ({ openedAt: now, ...finding }))),
        now,
      );
      return null;
    },
    save: async ({ run, checkpoint }) => await ledger.saveCheckpoint(run, checkpoint),
  };
}

function targetsOf(env: ConsumerBindings): ReportTargets {
  return { webhook: env.ALERT_WEBHOOK, consoleUrl: env.CONSOLE_URL };
}

const recentSchema = v.tuple([v.object({ dead: v.number(), ended: v.number() })]);

const bypassSchema = v.array(
  v.object({
    requests: v.number(),
    collector_full: v.number(),
    collector_failed: v.number(),
    collector_version: v.number(),
  }),
);
const requestsSchema = v.tuple([v.object({ requests: v.number() })]);

const volumesSchema = v.array(v.object({ tenant: v.string(), daysAgo: v.number(), spans: v.number() }));

function volumesOf(rows: v.InferOutput<typeof volumesSchema>, days: number): readonly TenantVolume[] {
  const tenants = [...new Set(rows.map(({ tenant }) => tenant))];
  return tenants.map((tenant) => {
    const spansOf = (day: number): number =>
      rows.find((row) => row.tenant === tenant && row.daysAgo === day)?.spans ?? 0;
    return {
      tenant,
      spans: spansOf(0),
      before: Array.from({ length: days }, (_, index) => spansOf(index + 1)),
    };
  });
}

/** A page of payloads, without their metadata: with it R2 lists 100 instead of 1000. Other objects under the prefix are skipped. */
async function listPayloads(
  bucket: R2Bucket,
  { after, cursor, atMost }: CronEffects["list"]["asks"],
): Promise<ListedPage> {
  const page = await bucket.list({
    prefix: payloadPrefix,
    ...(cursor === null ? { startAfter: after } : { cursor }),
    limit: atMost,
  });
  const objects = page.objects.flatMap(({ key }) => (isObjectKey(key) ? [{ key }] : []));
  return { objects, through: page.objects.at(-1)?.key ?? after, cursor: page.truncated ? page.cursor : null };
}

async function readPayloads(bucket: R2Bucket, segment: ObjectKey): Promise<readonly IndexedPayload[] | null> {
  const payloads = await readSegment(bucket, segment);
  return payloads?.map((head) => ({ ...head, counts: countsOfHead(head.key, head) })) ?? null;
}

const recordOf = (key: PayloadKey): string => `${deadLetterPrefix}${key}`;

/**
 * Which of these have an object under `dead/`: one listing from the first to the last, not a question per key. `unseen`: what is
 * said of those to which it did not come.
 */
async function findRecords(
  bucket: R2Bucket,
  keys: readonly PayloadKey[],
  nameOf: (key: PayloadKey) => string,
  unseen: boolean,
): Promise<readonly PayloadKey[]> {
  const [first] = keys;
  const last = keys.at(-1);
  if (first === undefined || last === undefined) {
    return [];
  }
  const asked = new Set<string>(keys.map(nameOf));
  const found = new Set<string>();
  let from: R2ListOptions = { startAfter: nameOf(first).slice(0, -1) };
  for (let call = 1; ; call++) {
    const page = await bucket.list({ prefix: deadLetterPrefix, ...from });
    for (const { key } of page.objects.filter((object) => asked.has(object.key))) {
      found.add(key);
    }
    const seen = page.objects.at(-1)?.key ?? "";
    if (!page.truncated || seen >= nameOf(last)) {
      return keys.filter((key) => found.has(nameOf(key)));
    }
    if (call === limits.recordListCallsMax) {
      return keys.filter((key) => found.has(nameOf(key)) || (unseen && nameOf(key) > seen));
    }
    from = { cursor: page.cursor };
  }
}

async function findPayloads(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<readonly PayloadKey[]> {
  const found: PayloadKey[] = [];
  for (const key of keys) {
    if ((await headPayload(bucket, key)) !== null) {
      found.push(key);
    }
  }
  return found;
}

const outcomesSchema = v.array(v.object({ key: payloadKeySchema, outcome: v.picklist(payloadOutcomes) }));

const checksumSchema = v.pipe(v.string(), v.regex(/^\d+$/));

const segmentReceiptsSchema = v.array(
  v.object({
    segment: v.custom<ObjectKey>(
      (key) => typeof key === "string" && isSegmentKey(key),
      "not a segment's key",
    ),
    payloads: v.number(),
    checksum: checksumSchema,
    duplicates: v.array(payloadKeySchema),
  }),
);

const tallySchema = v.array(
  v.object({
    minuteStart: v.number(),
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
    checksum: checksumSchema,
  }),
);

async function ringAll(
  doorbells: readonly (BareDoorbell | Doorbell)[],
  queue: Queue<BareDoorbell | Doorbell>,
): Promise<void> {
  for (let at = 0; at < doorbells.length; at += limits.queueMessagesMax) {
    await queue.sendBatch(doorbells.slice(at, at + limits.queueMessagesMax).map((body) => ({ body })));
  }
}
