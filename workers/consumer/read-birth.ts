/**
 * What a ledger reads from R2 and ClickHouse when it begins: whether there was a ledger before it, and whether its own memory
 * is older than it was. R2 keeps two small objects outside the payloads' prefix: the epoch (created once, raised only
 * by our restore command before it restores) and a counter that the ledger writes each minute.
 */
import * as v from "valibot";
import { queryRows } from "../../shared/clickhouse/ask.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { payloadPrefix } from "../../shared/payload-key.ts";

export const epochKey = "ledger/0/epoch";
export const counterKey = "ledger/0/counter";

const numberSchema = v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number));

/** The number that an object holds; null: there is no such object. */
export async function readNumber(bucket: R2Bucket, key: string): Promise<number | null> {
  const object = await bucket.get(key);
  return object === null ? null : v.parse(numberSchema, await object.text());
}

export async function hasAnyPayload(bucket: R2Bucket): Promise<boolean> {
  const { objects } = await bucket.list({ prefix: payloadPrefix, limit: 1 });
  return objects.length > 0;
}

/** Has the table a row of ours? Its projection answers by payload and day, without reading the rows. */
export async function hasAnyRow(clickHouse: ClickHouseConnection): Promise<boolean> {
  const { settings } = clickHouse;
  const rows = await queryRows(
    clickHouse,
    v.array(v.unknown()),
    `SELECT HeadracePayload FROM \`${settings.database}\`.\`${settings.tracesTable}\`
      GROUP BY HeadracePayload, toDate(Timestamp) HAVING HeadracePayload != toFixedString('', 16) LIMIT 1`,
  );
  return rows.length > 0;
}

/** Writes the epoch, unless one is there. */
export async function createEpoch(bucket: R2Bucket, epoch: number): Promise<boolean> {
  const put = await bucket.put(epochKey, String(epoch), {
    onlyIf: new Headers({ "If-None-Match": "*" }),
  });
  return put !== null;
}
