import { expect, test } from "vitest";
import { checkTable, ttlDaysOf, windowOf } from "../../shared/clickhouse/table-check.ts";

const settings = { url: "http://c", user: "u", password: "", database: "db", tracesTable: "otel_traces" };
const declared = (engine: string, more: string) => ({
  engine,
  engineFull: `${engine} PARTITION BY toDate(Timestamp) ORDER BY x ${more}`,
});

test("a table with a window is good", () => {
  const good = "SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 100000";
  expect(checkTable(settings, declared("MergeTree", good))).toBe("");
  expect(checkTable(settings, declared("ReplicatedMergeTree", ""))).toBe("");
  expect(checkTable(settings, declared("SharedMergeTree", ""))).toBe("");
});

test("a table without one is refused, with the command that mends it", () => {
  const command =
    "ALTER TABLE `db`.`otel_traces` MODIFY SETTING non_replicated_deduplication_window = 100000";
  expect(checkTable(settings, declared("MergeTree", "SETTINGS index_granularity = 8192"))).toContain(command);
  expect(
    checkTable(settings, declared("MergeTree", "SETTINGS non_replicated_deduplication_window = 0")),
  ).toContain(command);
  // A plain table that has the setting of a replicated one has no window all the same.
  expect(
    checkTable(settings, declared("MergeTree", "SETTINGS replicated_deduplication_window = 100000")),
  ).toContain(command);
});

test("another engine and no table are refused", () => {
  expect(checkTable(settings, declared("ReplacingMergeTree", ""))).toContain("ReplacingMergeTree");
  expect(checkTable(settings, declared("Log", ""))).toContain("Log");
  expect(checkTable(settings, undefined)).toContain("no table `db`.`otel_traces`");
});

test("windows and TTLs are read as ClickHouse prints them", () => {
  expect(windowOf(declared("MergeTree", "SETTINGS non_replicated_deduplication_window = 7"))).toEqual({
    blocks: 7,
    ms: null,
  });
  expect(
    windowOf(declared("ReplicatedMergeTree", "SETTINGS replicated_deduplication_window_seconds = 60")),
  ).toEqual({
    blocks: 10_000,
    ms: 60_000,
  });
  expect(
    ttlDaysOf(declared("MergeTree", "TTL toDateTime(Timestamp) + toIntervalDay(30) SETTINGS x = 1")),
  ).toBe(30);
  expect(ttlDaysOf(declared("MergeTree", ""))).toBeUndefined();
});
