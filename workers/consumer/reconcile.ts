/**
 * The third ring: lists R2 page by page, joins it with the receipts, asks the ledger about what has none, and rings
 * what nobody holds. It starts where everything before is known to have ended, and remembers that place in R2.
 *
 * It only ever rings: a wrong ring costs a claim that finds the id known, and nothing else.
 */
import * as v from "valibot";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { planReconcile } from "../../shared/ledger/reconcile.ts";
import { limits } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import {
  formatMinute,
  isPayloadKey,
  minuteToMs,
  type PayloadKey,
  parsePayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import { doorbellOf } from "./take-batch.ts";

/** Where the last run got to: outside the payloads' prefix, and so outside the notification rule. */
const cursorKey = "reconcile/cursor";

export interface ReconcileReport {
  /** Payloads that were listed. */
  readonly listed: number;
  /** Of these, without receipt and in the ledger's hands. */
  readonly held: number;
  /** Of these, without receipt and held by nobody: rung. */
  readonly rung: number;
  /** The minute up to which every payload has a receipt. */
  readonly settledTo: string;
}

export interface ReconcileRun {
  /** ms since the epoch */
  readonly now: number;
  /** Minutes that ended less than this before `now` are left to the other rings. */
  readonly ageMs: number;
}

/** The ledger's part of a run. */
export interface HoldsKeys {
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
}

export async function reconcile(
  bucket: R2Bucket,
  queue: Queue<Doorbell>,
  clickHouse: ClickHouseConnection,
  ledger: HoldsKeys,
  { now, ageMs }: ReconcileRun,
): Promise<ReconcileReport> {
  const from = await readCursor(bucket, now);
  const lastMinute = formatMinute(now - ageMs);
  let [listed, held, rung] = [0, 0, 0];
  let settledTo = lastMinute;
  let cursor: string | undefined;
  for (let calls = 0; calls < limits.reconcileListCallsMax; calls++) {
    const page = await bucket.list({
      prefix: payloadPrefix,
      include: ["customMetadata"],
      ...(cursor === undefined ? { startAfter: `${payloadPrefix}${from}` } : { cursor }),
    });
    const due = page.objects.filter(({ key }) => {
      const parts = parsePayloadKey(key);
      return parts !== undefined && (ageMs === 0 || parts.minute < lastMinute);
    });
    const { missing, inFlight } = await findMissing(due, clickHouse, ledger);
    await ringAll(missing, queue);
    listed += due.length;
    held += inFlight.length;
    rung += missing.length;
    // Both kinds have no receipt yet: the next run begins no later than at the first of them.
    for (const key of [...missing.map((object) => object.key), ...inFlight]) {
      settledTo = least(settledTo, parsePayloadKey(key)?.minute ?? settledTo);
    }
    cursor = page.truncated ? page.cursor : undefined;
    if (cursor === undefined || due.length < page.objects.length) {
      break;
    }
    const last = page.objects.at(-1);
    if (calls + 1 === limits.reconcileListCallsMax && last !== undefined) {
      settledTo = least(settledTo, parsePayloadKey(last.key)?.minute ?? settledTo);
    }
  }
  // A put may land up to its time-out after its minute: a run without age limit must not move the cursor so far.
  const safe = formatMinute(now - Math.max(ageMs, limits.reconcileAgeMs));
  settledTo = least(settledTo, safe);
  if (settledTo > from) {
    await bucket.put(cursorKey, JSON.stringify({ settledTo }));
  }
  if (rung > 0) {
    console.warn(
      JSON.stringify({
        message: "the reconciler rang payloads that nobody held",
        listed,
        held,
        rung,
        settledTo,
      }),
    );
  }
  return { listed, held, rung, settledTo };
}

function least(a: string, b: string): string {
  return a < b ? a : b;
}

const cursorSchema = v.object({ settledTo: v.pipe(v.string(), v.regex(/^\d{4}-\d{2}-\d{2}T\d{4}$/)) });

/** The minute to begin at: the stored one, but never before the retention. */
async function readCursor(bucket: R2Bucket, now: number): Promise<string> {
  const oldest = formatMinute(now - limits.payloadRetentionMs);
  const object = await bucket.get(cursorKey);
  const stored = object === null ? undefined : v.safeParse(cursorSchema, await object.json());
  if (stored?.success !== true) {
    return oldest;
  }
  const { settledTo } = stored.output;
  return minuteToMs(settledTo) < minuteToMs(oldest) ? oldest : settledTo;
}

/** Of one page: what nobody holds and has no receipt, and what is in flight. Throws when ClickHouse cannot be asked. */
async function findMissing(
  objects: readonly R2Object[],
  clickHouse: ClickHouseConnection,
  ledger: HoldsKeys,
): Promise<{ missing: readonly R2Object[]; inFlight: readonly PayloadKey[] }> {
  const keys = objects.map(({ key }) => key).filter(isPayloadKey);
  const none = new Set<PayloadKey>();
  const unreceipted = planReconcile(keys, await readReceiptKeys(clickHouse, keys), none);
  if (unreceipted.length === 0) {
    return { missing: [], inFlight: [] };
  }
  const answers = await ledger.holds(unreceipted);
  const held = new Set(unreceipted.filter((_, index) => answers[index] === true));
  // A group may have finished between the two questions: the receipts are read once more before anything is rung.
  const rest = unreceipted.filter((key) => !held.has(key));
  const missing = new Set<string>(planReconcile(rest, await readReceiptKeys(clickHouse, rest), none));
  return { missing: objects.filter(({ key }) => missing.has(key)), inFlight: [...held] };
}

const keyRowsSchema = v.array(
  v.object({ key: v.custom<PayloadKey>((key) => typeof key === "string" && isPayloadKey(key)) }),
);

/** Keys with a receipt in the range of `keys` (ascending), in order. */
async function readReceiptKeys(
  { client }: ClickHouseConnection,
  keys: readonly PayloadKey[],
): Promise<readonly PayloadKey[]> {
  const [first, last] = [keys[0], keys.at(-1)];
  if (first === undefined || last === undefined) {
    return [];
  }
  const answer = await client.query({
    query:
      "SELECT DISTINCT key FROM headrace_receipts WHERE key BETWEEN {first:String} AND {last:String} ORDER BY key",
    query_params: { first, last },
    format: "JSONEachRow",
  });
  return v.parse(keyRowsSchema, await answer.json()).map(({ key }) => key);
}

/** Queues take 100 messages a call. */
const messagesMax = 100;

async function ringAll(objects: readonly R2Object[], queue: Queue<Doorbell>): Promise<void> {
  const doorbells = objects.flatMap((object) => {
    const doorbell = isPayloadKey(object.key) ? doorbellOf(object, object.key, "reconcile") : undefined;
    return doorbell === undefined ? [] : [doorbell];
  });
  for (let at = 0; at < doorbells.length; at += messagesMax) {
    await queue.sendBatch(doorbells.slice(at, at + messagesMax).map((body) => ({ body })));
  }
}
