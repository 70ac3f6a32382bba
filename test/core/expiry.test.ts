/** What becomes of rows that are older than the table's TTL (shared/ledger/expiry.ts). */
import { expect, test } from "vitest";
import { endOfRows } from "../../shared/ledger/expiry.ts";

/** So many rows on each of these days. */
const on = (...days: readonly (readonly [day: number, rows: number])[]) =>
  days.map(([day, rows]) => ({ day, rows }));

test("rows of days that the table keeps are stored, the oldest of these days included", () => {
  for (const oldestDay of [null, 100, 110]) {
    expect(endOfRows(on([110, 5]), oldestDay)).toEqual({
      outcome: "stored",
      rowsByDay: on([110, 5]),
      reason: "",
    });
  }
  expect(endOfRows([], 100)).toEqual({ outcome: "stored", rowsByDay: [], reason: "" });
});

test("of old and new ones the new are claimed, and the reason counts the old and names their days", () => {
  expect(endOfRows(on([0, 7], [1, 2], [10, 5]), 5)).toEqual({
    outcome: "stored",
    rowsByDay: on([10, 5]),
    reason:
      "expired: 9 spans of 1970-01-01, 1970-01-02 are older than the table's TTL, which keeps 1970-01-06 and later",
  });
});

test("where no row is left the payload is expired, also where a day that is kept has none of it", () => {
  expect(endOfRows(on([0, 7]), 5)).toMatchObject({ outcome: "expired", rowsByDay: [] });
  expect(endOfRows(on([0, 7], [10, 0]), 5)).toMatchObject({ outcome: "expired" });
  expect(endOfRows(on([0, 7], [10, 1]), 5)).toMatchObject({ outcome: "stored", rowsByDay: on([10, 1]) });
  expect(endOfRows(on([0, 0], [1, 5]), 5)).toEqual({
    outcome: "expired",
    rowsByDay: [],
    reason: "expired: 5 spans of 1970-01-02 are older than the table's TTL, which keeps 1970-01-06 and later",
  });
  // A day without a row has not lost one.
  expect(endOfRows(on([0, 0], [10, 5]), 5)).toEqual({
    outcome: "stored",
    rowsByDay: on([10, 5]),
    reason: "",
  });
});

test("of many days four are named, and the others counted", () => {
  const old = (days: number) =>
    endOfRows(
      Array.from({ length: days }, (_, day) => ({ day, rows: 1 })),
      100,
    ).reason;
  const named = "1970-01-01, 1970-01-02, 1970-01-03, 1970-01-04";
  expect(old(4)).toContain(`4 spans of ${named} are older`);
  expect(old(6)).toContain(`6 spans of ${named} and 2 more days are older`);
});
