/** Performs what erasures that a person asked for ask for (shared/delivery/asked-erasures.ts). */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { outcomesQuery, receiptsOfKeysQuery } from "../../shared/clickhouse/minutes.ts";
import { tenantsOfRowsQuery } from "../../shared/clickhouse/statements.ts";
import type { AskedFor, Fixed } from "../../shared/console/answers.ts";
import {
  type AskedErasurePerformer,
  eraseAsked,
  erasuresPrefix,
  nameOfErasure,
  resumeErasures as resume,
} from "../../shared/delivery/asked-erasures.ts";
import { perform } from "../../shared/effect.ts";
import { toHex } from "../../shared/hex.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { payloadOutcomes } from "../../shared/outcome.ts";
import { idOfKey, type PayloadKey, payloadIdToBytes, tenantOfKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import { completeDoorbell } from "./complete-doorbell.ts";
import { payloadKeySchema, queryReceipts } from "./read-receipts.ts";
import { countRows } from "./read-table.ts";

interface ErasingLedger {
  eraseAll(payloads: readonly Doorbell[], reason: string): Promise<void>;
  holds(keys: readonly PayloadKey[]): Promise<readonly boolean[]>;
}

/** Where what is asked is remembered, and what is asked about it. */
export interface ErasureTargets {
  readonly bucket: R2Bucket;
  readonly clickHouse: ClickHouseConnection;
  readonly ledger: ErasingLedger;
}

/** `now`, here and below: ms since the epoch. */
export async function erase(
  targets: ErasureTargets,
  keys: readonly string[],
  reason: string,
  now: number,
): Promise<Fixed<AskedFor>> {
  const name = nameOfErasure(now, crypto.getRandomValues(new Uint8Array(8)));
  return await perform(eraseAsked(name, keys, reason), performerOf(targets));
}

/** True: the ledger was asked again, and this invocation has no subrequests for anything else. */
export async function resumeErasures(targets: ErasureTargets, now: number): Promise<boolean> {
  return await perform(resume(now), performerOf(targets));
}

function performerOf({ bucket, clickHouse, ledger }: ErasureTargets): AskedErasurePerformer {
  const { settings } = clickHouse;
  return {
    listRecords: async ({ atMost }) => {
      const { objects } = await bucket.list({ prefix: erasuresPrefix, limit: atMost });
      return objects.map(({ key: name, uploaded }) => ({ name, writtenAt: uploaded.getTime() }));
    },
    readRecord: async (name) => {
      const text = await (await bucket.get(name))?.text();
      return text === undefined ? null : v.parse(recordSchema, JSON.parse(text));
    },
    writeRecord: async ({ name, erasure }) => {
      const record: v.InferInput<typeof recordSchema> = {
        v: 1,
        keys: [...erasure.keys],
        reason: erasure.reason,
      };
      await bucket.put(name, JSON.stringify(record), { httpMetadata: { contentType: "application/json" } });
      return null;
    },
    deleteRecord: async (name) => {
      await bucket.delete(name);
      return null;
    },
    completeDoorbell: async (key) => await completeDoorbell(bucket, key, "replay"),
    readSpans: async (keys) => await queryReceipts(clickHouse, receiptsOfKeysQuery(settings, keys)),
    findRows: async (keys) => await findOwnRows(clickHouse, keys),
    outcomes: async (keys) => await queryRows(clickHouse, outcomesSchema, outcomesQuery(settings, keys)),
    holds: async (keys) => await ledger.holds(keys),
    erase: async ({ payloads, reason }) => {
      await ledger.eraseAll(payloads, reason);
      return null;
    },
    report: async ({ severity, message, keys }) => {
      writeLog(severity, { message, keys: severity === "error" ? keys : keys.length });
      return null;
    },
  };
}

/** A key may be a person's, and name another tenant than the rows of its id do: then it has none. */
async function findOwnRows(
  clickHouse: ClickHouseConnection,
  keys: readonly PayloadKey[],
): Promise<readonly PayloadKey[]> {
  const { rows } = await countRows(clickHouse, [...new Set(keys.map(idOfKey))], null);
  const days = [...new Set([...rows.values()].flat().map(({ day }) => day))];
  if (days.length === 0) {
    return [];
  }
  const query = tenantsOfRowsQuery(clickHouse.settings, [...rows.keys()], days);
  const tenants = await queryRows(clickHouse, tenantsSchema, query);
  const own = new Set(tenants.map(({ payload, tenant }) => `${tenant}/${payload}`));
  return keys.filter((key) => own.has(`${tenantOfKey(key)}/${toHex(payloadIdToBytes(idOfKey(key)))}`));
}

const tenantsSchema = v.array(v.object({ payload: v.string(), tenant: v.string() }));
const recordSchema = v.object({ v: v.literal(1), keys: v.array(payloadKeySchema), reason: v.string() });
const outcomesSchema = v.array(v.object({ key: payloadKeySchema, outcome: v.picklist(payloadOutcomes) }));
