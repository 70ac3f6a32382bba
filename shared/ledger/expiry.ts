/**
 * What becomes of rows that are older than the table's TTL: ClickHouse answers their INSERT with 200 and drops them. A
 * receipt never claims them.
 */
import { DAY_MS } from "../limits.ts";
import type { DayRows, Receipt } from "../receipt.ts";

/**
 * How a payload ends whose rows are all accounted for: those of the days from `oldestDay` on are in the table, the others
 * have expired. Example: 7 spans of day 100 and 5 of day 110, `oldestDay` 105: `stored`, 5 rows, and a reason that names
 * the 7. `oldestDay` null: the TTL is not known, and nothing is said to have expired.
 */
export function endOfRows(
  rowsByDay: readonly DayRows[],
  oldestDay: number | null,
): Pick<Receipt, "outcome" | "rowsByDay" | "reason"> {
  const kept = rowsByDay.filter(({ day }) => oldestDay === null || day >= oldestDay);
  const expired = rowsByDay.filter((one) => !kept.includes(one) && one.rows > 0);
  const spans = expired.reduce((sum, { rows }) => sum + rows, 0);
  if (oldestDay === null || spans === 0) {
    return { outcome: "stored", rowsByDay: kept, reason: "" };
  }
  const dates = expired.map(({ day }) => dateOf(day));
  const more = dates.length > datesNamed ? ` and ${dates.length - datesNamed} more days` : "";
  const days = `${dates.slice(0, datesNamed).join(", ")}${more}`;
  return {
    outcome: kept.some(({ rows }) => rows > 0) ? "stored" : "expired",
    rowsByDay: kept,
    reason: `expired: ${spans} spans of ${days} are older than the table's TTL, which keeps ${dateOf(oldestDay)} and later`,
  };
}

/** A receipt is part of a row of the ledger. */
const datesNamed = 4;

function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
