/**
 * The table check, with each run of the cron: can the traces table keep the promise of one copy? While it cannot,
 * nothing is inserted, payloads wait in the ledger, and a finding and the console's /healthz say what mends it. It goes
 * on by itself once it is mended.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import type { TableMeasure } from "../../shared/ledger/group.ts";
import { writeLog } from "../../shared/write-log.ts";
import { publishTableLimits } from "./publish-table-limits.ts";
import { readTable } from "./read-table.ts";

/** The ledger's part of the check. */
export interface CheckedLedger {
  tableChecked(refusal: string, measure: TableMeasure | null): Promise<void>;
}

/** A ClickHouse that cannot be asked changes nothing: its INSERTs fail by themselves. `now`: ms since the epoch. */
export async function checkTraces(
  clickHouse: ClickHouseConnection,
  ledger: CheckedLedger,
  bucket: R2Bucket,
  now: number,
): Promise<void> {
  let facts: Awaited<ReturnType<typeof readTable>>;
  try {
    facts = await readTable(clickHouse, now);
  } catch (error) {
    writeLog("warn", { message: "the traces table could not be checked" }, error);
    return;
  }
  await ledger.tableChecked(facts.refusal, facts.measure);
  if (facts.measure?.ttl !== undefined) {
    try {
      await publishTableLimits(bucket, facts.measure.ttl);
    } catch (error) {
      writeLog("warn", { message: "the ingress could not be told what the table keeps" }, error);
    }
  }
}
