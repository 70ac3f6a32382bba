/**
 * What a ledger reads of the world when it begins: whether there was a ledger before it, and whether its own memory
 * is older than it was. R2 keeps two small objects outside the payloads' prefix: the epoch (created once, raised only
 * by our restore command before it restores) and a counter that the ledger writes each minute.
 */
import * as v from "valibot";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { BirthFacts, Head } from "../../shared/ledger/head.ts";
import { payloadPrefix } from "../../shared/payload-key.ts";

export const epochKey = "ledger/0/epoch";
export const counterKey = "ledger/0/counter";

const numberSchema = v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number));

async function readNumber(bucket: R2Bucket, key: string): Promise<number | null> {
  const object = await bucket.get(key);
  return object === null ? null : v.parse(numberSchema, await object.text());
}

/** Throws when R2 or ClickHouse cannot be asked: a ledger that does not know how it began takes nothing over. */
export async function readBirthFacts(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
): Promise<BirthFacts> {
  const epoch = await readNumber(bucket, epochKey);
  if (epoch !== null) {
    return { epoch, anyPayload: true, anyRow: true };
  }
  const { objects } = await bucket.list({ prefix: payloadPrefix, limit: 1 });
  const anyPayload = objects.length > 0;
  return { epoch, anyPayload, anyRow: anyPayload || (await hasAnyRow(clickHouse)) };
}

/** Has the table a row of ours? Its projection answers by payload and day, without reading the rows. */
async function hasAnyRow({ client, settings }: ClickHouseConnection): Promise<boolean> {
  const answer = await client.query({
    query: `SELECT HeadracePayload FROM \`${settings.database}\`.\`${settings.tracesTable}\`
      GROUP BY HeadracePayload, toDate(Timestamp) HAVING HeadracePayload != toFixedString('', 16) LIMIT 1`,
    format: "JSONEachRow",
  });
  return (await answer.json()).length > 0;
}

/** Writes the first epoch, unless one is there: then another ledger was born first, and this is no genesis. */
export async function writeFirstEpoch(bucket: R2Bucket, epoch: number): Promise<boolean> {
  const put = await bucket.put(epochKey, String(epoch), {
    onlyIf: new Headers({ "If-None-Match": "*" }),
  });
  return put !== null;
}

/**
 * The epoch that a restored ledger must go to, or null if this one's memory is as it was. Example: this head counts
 * minute 900, R2 says 1000: a hundred minutes are forgotten.
 */
export async function readRestoredEpoch(bucket: R2Bucket, head: Head): Promise<number | null> {
  const epoch = (await readNumber(bucket, epochKey)) ?? head.epoch;
  const counter = (await readNumber(bucket, counterKey)) ?? 0;
  if (epoch > head.epoch) {
    return epoch;
  }
  return counter > head.counter ? head.epoch + 1 : null;
}
