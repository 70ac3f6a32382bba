import { expect, test } from "vitest";
import { DAY_MS } from "../../shared/limits.ts";
import { spanAges } from "../../shared/table-limits.ts";

const hourMs = 3_600_000;

test.each([
  [null, 60, 60 * DAY_MS],
  [40 * DAY_MS, 60, 39 * DAY_MS],
  [null, 2, 2 * DAY_MS],
])("of a table that keeps %s ms, a key of %s days takes spans that ended %s ms ago", (keptMs, days, end) => {
  expect(spanAges({ v: 1, keptMs }, days).end).toBe(end);
});

test.each([
  [null, 60 * DAY_MS, 30 * DAY_MS],
  [90 * DAY_MS, 60 * DAY_MS, 30 * DAY_MS],
  [40 * DAY_MS, 39 * DAY_MS, 30 * DAY_MS],
  [7 * DAY_MS, 6 * DAY_MS, 6 * DAY_MS],
  [2 * DAY_MS, DAY_MS, DAY_MS],
  [12 * hourMs, 6 * hourMs, 6 * hourMs],
])("a table that keeps %s ms takes spans that began %s ms and ended %s ms ago", (keptMs, start, end) => {
  expect(spanAges({ v: 1, keptMs }, 30)).toEqual({ start, end });
});
