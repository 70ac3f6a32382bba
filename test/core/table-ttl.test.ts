import { expect, test } from "vitest";
import { oldestDayOf, readTtl } from "../../shared/clickhouse/ttl.ts";

// As ClickHouse 26.7 prints what was declared (test/engine/table-evidence.test.ts).
const declared = (ttl: string) =>
  `MergeTree PARTITION BY toDate(Timestamp) ORDER BY (S, ' TTL ') TTL ${ttl} SETTINGS index_granularity = 8192`;
const day = 86_400_000;
const hour = 3_600_000;
const keeps = (months: number, ms: number) => ({ kind: "keeps", months, ms });
const at = (text: string) => Date.parse(`${text}Z`);
const dayOf = (text: string) => at(`${text}T00:00:00`) / day;

test.each([
  ["toDateTime(Timestamp) + toIntervalDay(30)", keeps(0, 30 * day)],
  ["Timestamp + toIntervalSecond(90)", keeps(0, 90_000)],
  ["Timestamp + toIntervalMinute(3)", keeps(0, 180_000)],
  ["Timestamp + toIntervalHour(72)", keeps(0, 3 * day)],
  ["toDate(Timestamp) + toIntervalWeek(1)", keeps(0, 7 * day)],
  ["toDate(Timestamp) + toIntervalMonth(2)", keeps(2, 0)],
  ["Timestamp + toIntervalQuarter(1)", keeps(3, 0)],
  ["Timestamp + toIntervalYear(\\'1\\')".replaceAll("\\", ""), keeps(12, 0)],
  ["(toDateTime(Timestamp) + toIntervalDay(1)) + toIntervalHour(2)", keeps(0, day + 2 * hour)],
  ["addDays(Timestamp, 3)", keeps(0, 3 * day)],
  ["toDateTime(Timestamp) + 86400", keeps(0, day)],
  ["toDate(Timestamp) + 30", keeps(0, 30 * day)],
  ["Timestamp + toIntervalDay(1) RECOMPRESS CODEC(ZSTD(9)), Timestamp + toIntervalDay(5)", keeps(0, 5 * day)],
  ["Timestamp + toIntervalDay(1) TO VOLUME 'cold, and slow'", { kind: "none" }],
] as const)("TTL %s is understood", (ttl, expected) => {
  expect(readTtl(declared(ttl))).toEqual(expected);
});

test.each([
  "Timestamp + toIntervalDay(5) WHERE S = 'a,b TTL '",
  "toDateTime(Timestamp) + toIntervalDay(if(S = 'x', 1, 2))",
  "Timestamp + toIntervalDay(1) GROUP BY S SET a = max(a)",
  "Duration + toIntervalDay(1)",
  "Timestamp + 5",
  "Timestamp - toIntervalDay(1)",
  "Timestamp + toIntervalDay(1), Timestamp + toIntervalDay(2)",
])("TTL %s is not understood, which is not `none`", (ttl) => {
  expect(readTtl(declared(ttl))).toMatchObject({ kind: "unclear" });
  expect(oldestDayOf(readTtl(declared(ttl)), Date.now())).toBeNull();
});

test("no TTL keeps every day", () => {
  expect(readTtl("MergeTree ORDER BY x SETTINGS y = ' TTL z'")).toEqual({ kind: "none" });
  expect(oldestDayOf({ kind: "none" }, Date.now())).toBe(0);
});

test.each([
  ["Timestamp + toIntervalDay(7)", "2026-11-27T12:00:00", "2026-11-21"],
  ["Timestamp + toIntervalDay(7)", "2026-11-27T00:00:00", "2026-11-21"],
  ["Timestamp + toIntervalHour(36)", "2026-11-27T11:59:59", "2026-11-26"],
  ["Timestamp + toIntervalHour(36)", "2026-11-27T12:00:00", "2026-11-27"],
  // A month behind January 29th to 31st is February's last day.
  ["Timestamp + toIntervalMonth(1)", "2027-02-27T23:59:59", "2027-01-28"],
  ["Timestamp + toIntervalMonth(1)", "2027-02-28T00:00:00", "2027-02-01"],
  ["Timestamp + toIntervalYear(1)", "2026-11-27T12:00:00", "2025-11-28"],
])("TTL %s at %s: the oldest day without an expired row is %s", (ttl, now, oldest) => {
  expect(oldestDayOf(readTtl(declared(ttl)), at(now))).toBe(dayOf(oldest));
});
