/**
 * Deletes the rows of payloads that a person wants written anew, where R2 still has an object to write them from. What
 * follows is the ledger's: it waits for the fence, looks again, and inserts what is absent under a new token.
 */
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { eraseRowsStatement } from "../../shared/clickhouse/statements.ts";
import { mayBegin } from "../../shared/ledger/attempt.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { idOfKey, type PayloadKey } from "../../shared/payload-key.ts";
import { readReceipts } from "./verify-group.ts";

type ClearTask = Extract<GroupTask, { readonly step: "clear" }>;

/** Throws when R2 or ClickHouse cannot be asked: then nothing is known, and the attempt is repeated. */
export async function clearRows(
  bucket: R2Bucket,
  clickHouse: ClickHouseConnection,
  task: ClearTask,
  statementMs: number,
): Promise<AttemptReport> {
  const receipts = await readReceipts(
    clickHouse,
    task.payloads.map(({ key }) => key),
  );
  for (const { key, duplicateKeys } of task.payloads) {
    const others = receipts.get(idOfKey(key)) ?? [];
    if (!(await hasObject(bucket, [key, ...duplicateKeys, ...others.map((receipt) => receipt.key)]))) {
      return { kind: "kept" };
    }
  }
  if (!mayBegin(task, Date.now())) {
    return { kind: "retry", reason: "the attempt's lease ran out before its DELETE began" };
  }
  const ids = task.payloads.map(({ key }) => idOfKey(key));
  await clickHouse.client.command({
    query: eraseRowsStatement(clickHouse.settings, ids),
    query_id: `${task.group}.${task.attempt}`,
    clickhouse_settings: { max_execution_time: statementMs / 1000 },
  });
  return { kind: "cleared" };
}

async function hasObject(bucket: R2Bucket, keys: readonly PayloadKey[]): Promise<boolean> {
  for (const key of new Set(keys)) {
    if ((await bucket.head(key)) !== null) {
      return true;
    }
  }
  return false;
}
