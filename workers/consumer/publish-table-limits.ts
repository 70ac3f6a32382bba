/** Tells the ingress how long the traces table keeps rows: it has no ClickHouse secret, and reads this object. */
import { leastKeptMs, type TableTtl } from "../../shared/clickhouse/ttl.ts";
import { type TableLimits, tableLimitsKey } from "../../shared/table-limits.ts";

/** Writes the object where it says something else. What is not understood changes nothing: no INSERT goes meanwhile. */
export async function publishTableLimits(bucket: R2Bucket, ttl: TableTtl): Promise<void> {
  if (ttl.kind === "unclear") {
    return;
  }
  const keptMs = ttl.kind === "none" ? null : Math.floor(leastKeptMs(ttl));
  const text = JSON.stringify({ v: 1, keptMs } satisfies TableLimits);
  const before = await bucket.get(tableLimitsKey);
  if (before === null || (await before.text()) !== text) {
    await bucket.put(tableLimitsKey, text, { httpMetadata: { contentType: "application/json" } });
  }
}
