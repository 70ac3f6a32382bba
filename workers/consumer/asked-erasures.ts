/**
 * What a person asked to be erased, kept in R2 until each key of it has its receipt. The ledger has it too, but one that is lost
 * between the rows and the receipts of an erasure forgets it: the receipts said `stored`, and the rows came back.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomesQuery } from "../../shared/clickhouse/minutes.ts";
import { toHex } from "../../shared/hex.ts";
import { DAY_MS, limits, MINUTE_MS } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { isPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import { payloadKeySchema } from "./read-receipts.ts";
import { askToErase } from "./replay.ts";

const prefix = "erasures/";
/** A look is a list and three subrequests for each of these: what the cron's tick has left (`widestInvocations`). */
const looksMax = 5;
/** Younger ones are on their way to the ledger. */
const leastAgeMs = 5 * MINUTE_MS;

const askedSchema = v.object({ v: v.literal(1), keys: v.array(payloadKeySchema), reason: v.string() });
type Asked = v.InferOutput<typeof askedSchema>;

interface ErasingLedger {
  erase(payload: Doorbell, reason: string): Promise<void>;
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
}

/** To be written before the ledger is asked. `now`: ms since the epoch. */
export async function rememberErasure(
  bucket: R2Bucket,
  keys: readonly string[],
  reason: string,
  now: number,
): Promise<void> {
  const name = `${prefix}${new Date(now).toISOString()}-${toHex(crypto.getRandomValues(new Uint8Array(8)))}`;
  await write(bucket, name, { v: 1, keys: keys.filter(isPayloadKey).sort(), reason });
}

async function write(bucket: R2Bucket, name: string, asked: Asked): Promise<void> {
  await bucket.put(name, JSON.stringify(asked), { httpMetadata: { contentType: "application/json" } });
}

/**
 * Looks at the oldest of what was asked: what has all its receipts is forgotten, and of the first that has not, and is in no group,
 * the ledger is asked again. True: it was, and this invocation has no subrequests for anything else.
 */
export async function resumeErasures(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  ledger: ErasingLedger,
  now: number,
): Promise<boolean> {
  const { objects } = await bucket.list({ prefix, limit: looksMax });
  for (const { key: name, uploaded } of objects) {
    if (uploaded.getTime() > now - leastAgeMs) {
      continue;
    }
    const text = await (await bucket.get(name))?.text();
    if (text === undefined) {
      continue;
    }
    const asked = v.parse(askedSchema, JSON.parse(text));
    // The ledger first: what it let go of by then has its receipt.
    const held = await ledger.holds(asked.keys);
    const erased = await erasedKeys(clickHouse, asked.keys);
    const left = asked.keys.filter((key) => !erased.has(key));
    const lost = asked.keys.filter((key, i) => held[i] !== true && !erased.has(key));
    if (lost.length === 0) {
      if (left.length === 0) {
        await bucket.delete(name);
      }
      continue;
    }
    if (now - Date.parse(name.slice(prefix.length, prefix.length + isoChars)) > givenUpAfterMs) {
      writeLog("error", {
        message: "an erasure did not end within days, and is not asked for again",
        keys: lost,
      });
      await bucket.delete(name);
      continue;
    }
    writeLog("warn", {
      message: "an erasure that the ledger does not know is asked for again",
      keys: lost.length,
    });
    const { missing } = await askToErase(bucket, clickHouse, ledger, lost, asked.reason);
    await write(bucket, name, { ...asked, keys: left.filter((key) => !missing.includes(key)) });
    return true;
  }
  return false;
}

const isoChars = "2026-11-24T07:41:00.000Z".length;
/** As long as a payload's object lives: afterwards nothing brings its rows back. */
const givenUpAfterMs = limits.payloadRetentionMs + DAY_MS;

const outcomesSchema = v.array(v.object({ key: payloadKeySchema, outcome: v.string() }));

async function erasedKeys(
  clickHouse: ClickHouseConnection,
  keys: readonly PayloadKey[],
): Promise<ReadonlySet<PayloadKey>> {
  if (keys.length === 0) {
    return new Set();
  }
  const rows = await queryRows(clickHouse, outcomesSchema, outcomesQuery(clickHouse.settings, keys));
  return new Set(rows.filter(({ outcome }) => outcome === "erased").map(({ key }) => key));
}
