/**
 * Rows of payloads as evidence, for the audit and the deletion: counted behind the barrier, by a server that has everything
 * (clickhouse/barrier.ts), with the first day that the table's TTL keeps.
 */
import { hear, newReading, readBehindBarrier, wordsNeeded } from "../clickhouse/barrier.ts";
import type { TableWitness } from "../clickhouse/table-identity.ts";
import type { PayloadId } from "../payload-key.ts";
import type { DayRows } from "../receipt.ts";
import { ask, type CronEffects, type CronWork } from "./effects.ts";
import type { Run } from "./run-context.ts";

/** The rows could not be established. What needs them is left to a later run; everything else goes on. */
export class RowsUnknown extends Error {
  override readonly name = "RowsUnknown";
}

/** Throws `RowsUnknown`. `days`: only rows of these are counted, which reads that part of the table alone. Null: of all. */
export function* readRows(
  ids: readonly PayloadId[],
  { table: known }: Run,
  days: readonly number[] | null = null,
): CronWork<{ readonly rows: ReadonlyMap<PayloadId, readonly DayRows[]>; readonly oldestDay: number }> {
  const { oldestDay, witness } = yield* ask("readTable", known);
  if (oldestDay === null) {
    throw new RowsUnknown("the table's TTL is not understood (see the table check)");
  }
  const read = yield* readBehindBarrier(hear(newReading(known, wordsNeeded.settled), witness), {
    look: (table): CronWork<TableWitness | null> => ask("readWitness", table),
    count: (table): CronWork<CronEffects["rows"]["answers"]> => ask("rows", { ids, table, days }),
  });
  if (read.kind === "none") {
    throw new RowsUnknown(read.reason);
  }
  return { rows: read.counted.rows, oldestDay };
}
