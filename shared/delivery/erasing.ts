/**
 * Taking payloads' rows out of the table for good. It names the days that they lie on: those that a count behind the barrier
 * shows, and those that receipts claim, on which an earlier DELETE may have left rows that no count shows.
 */
import { newReading, wordsNeeded } from "../clickhouse/barrier.ts";
import { NotDone } from "../effect.ts";
import type { PayloadId } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import { ask, attempt, type DeliveryWork } from "./effects.ts";
import { readRows } from "./evidence.ts";

/** Days since 1970-01-01, ascending; or why they are not known. */
export type Days = { readonly days: readonly number[] } | { readonly unknown: string };

/** On which days these payloads may have rows. `table`: its identity, as far as it is known. */
export function* daysOf(ids: readonly PayloadId[], table: string | null): DeliveryWork<Days> {
  const receipts = yield* ask("readReceipts", ids);
  const read = yield* readRows(ids, newReading(table, wordsNeeded.recent));
  if (read.kind === "none") {
    return { unknown: `no evidence: ${read.reason}` };
  }
  const rows = [...read.counted.rows.flat(), ...receipts.flat().flatMap(({ rowsByDay }) => rowsByDay)];
  return { days: [...new Set(rows.map(({ day }) => day))].sort((a, b) => a - b) };
}

/** Empty: they are gone from every part. Else why it cannot be said yet. */
export function* eraseRows(
  ids: readonly PayloadId[],
  group: GroupId,
  table: string | null,
): DeliveryWork<string> {
  const found = yield* daysOf(ids, table);
  if ("unknown" in found) {
    return found.unknown;
  }
  if (found.days.length > 0) {
    const rows = { ids, days: found.days, group };
    for (const name of ["eraseTraceTimes", "eraseRows"] as const) {
      const done = yield* attempt(name, rows);
      if (done instanceof NotDone) {
        return done.reason;
      }
    }
  }
  return "";
}
