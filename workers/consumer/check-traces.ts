/**
 * The table check, with each run of the cron: can the traces table keep the promise of one copy? While it cannot,
 * nothing is inserted, payloads wait in the ledger, and a finding and the console's /healthz say what mends it. It goes
 * on by itself once it is mended.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { findingColumns, findingRow } from "../../shared/clickhouse/findings.ts";
import type { TableMeasure } from "../../shared/ledger/group.ts";
import { readTable } from "./read-table.ts";

/** The ledger's part of the check. */
export interface CheckedLedger {
  status(): Promise<{ readonly head: { readonly table: { readonly refusal: string } } | null }>;
  tableChecked(refusal: string, measure: TableMeasure | null): Promise<void>;
}

/** A ClickHouse that cannot be asked changes nothing: its INSERTs fail by themselves. `now`: ms since the epoch. */
export async function checkTraces(
  clickHouse: ClickHouseConnection,
  ledger: CheckedLedger,
  now: number,
): Promise<void> {
  let facts: Awaited<ReturnType<typeof readTable>>;
  try {
    facts = await readTable(clickHouse, now);
  } catch (error) {
    console.warn(JSON.stringify({ message: "the traces table could not be checked", error: String(error) }));
    return;
  }
  const before = (await ledger.status()).head?.table.refusal ?? "";
  await ledger.tableChecked(facts.refusal, facts.measure);
  if (facts.refusal !== before) {
    await tell(clickHouse, facts.refusal, before, now);
  }
}

/** A change of the check's result is a finding: opened with what mends it, resolved when it was mended. */
async function tell(
  { client, settings }: ClickHouseConnection,
  refusal: string,
  before: string,
  now: number,
): Promise<void> {
  const state = refusal === "" ? "resolved" : "open";
  console.error(
    JSON.stringify({ finding: "table_check", state, message: refusal === "" ? before : refusal }),
  );
  const finding = {
    kind: "table_check",
    subject: settings.tracesTable,
    state,
    severity: "page",
    message: refusal === "" ? `mended: ${before}` : refusal,
  } as const;
  try {
    await client.insert({
      table: "headrace_findings",
      columns: [...findingColumns],
      values: [findingRow(finding, now)],
      format: "JSONEachRow",
      clickhouse_settings: { async_insert: 0, wait_end_of_query: 1 },
    });
  } catch (error) {
    console.error(JSON.stringify({ message: "a finding could not be written", error: String(error) }));
  }
}
