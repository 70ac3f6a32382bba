import { expect, test } from "vitest";
import {
  checkServer,
  checkTable,
  checkVersion,
  type ServerState,
  windowOf,
} from "../../shared/clickhouse/table-check.ts";

const settings = { url: "http://c", user: "u", password: "", database: "db", tracesTable: "otel_traces" };
const declared = (engine: string, more: string) => ({
  engine,
  engineFull: `${engine} PARTITION BY toDate(Timestamp) ORDER BY x ${more}`,
});

const utc = {
  timezone: "UTC",
  deduplicateInsert: "enable",
  deduplicateInsertSelect: "enable_when_possible",
  clockAheadMs: 0,
};
const check = (declaration: ReturnType<typeof declared> | undefined) => checkTable(settings, declaration);
const checkAlso = (server: ServerState) => checkServer(settings, server);

test("an older server than the oldest that is tried is refused, in words that name both", () => {
  for (const version of ["25.8.2.1", "25.8", "25.12.1.1", "26.3.9.1", "26.9.2.1", "27.1.1.1"]) {
    expect(checkVersion(version), version).toBe("");
  }
  for (const version of ["25.7.9.9", "25.5.2.1", "24.8.4.1", "18.16.1", "9.9.9", "", "unknown"]) {
    expect(checkVersion(version), version).toMatch(
      new RegExp(
        `^The server is ClickHouse ${version}; the oldest .* 25\\.8: .* upgrade of ClickHouse to 25\\.8`,
      ),
    );
  }
});

test("a table with a window is good", () => {
  const good = "SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 100000";
  expect(check(declared("MergeTree", good))).toBe("");
  expect(check(declared("ReplicatedMergeTree", ""))).toBe("");
  expect(check(declared("SharedMergeTree", ""))).toBe("");
});

test("a table without one is refused, with the command that fixes it", () => {
  const command =
    "ALTER TABLE `db`.`otel_traces` MODIFY SETTING non_replicated_deduplication_window = 100000";
  expect(check(declared("MergeTree", "SETTINGS index_granularity = 8192"))).toContain(command);
  expect(check(declared("MergeTree", "SETTINGS non_replicated_deduplication_window = 0"))).toContain(command);
  // A plain table that has the setting of a replicated one has no window all the same.
  expect(check(declared("MergeTree", "SETTINGS replicated_deduplication_window = 100000"))).toContain(
    command,
  );
});

test("another engine and no table are refused", () => {
  expect(check(declared("ReplacingMergeTree", ""))).toContain("ReplacingMergeTree");
  expect(check(declared("Log", ""))).toContain("Log");
  expect(check(undefined)).toContain("no table `db`.`otel_traces`");
});

test("a server whose days are not UTC's is refused, with what fixes it", () => {
  for (const timezone of ["UTC", "Etc/UTC", "GMT", "Etc/GMT0", "Zulu", "Etc/UCT"]) {
    expect(checkAlso({ ...utc, timezone }), timezone).toBe("");
  }
  // London is UTC in winter only.
  for (const timezone of ["Europe/Berlin", "Europe/London", "Asia/Tokyo", "Etc/GMT+1", ""]) {
    expect(checkAlso({ ...utc, timezone }), timezone).toContain("<timezone>UTC</timezone>");
  }
});

test("a login whose INSERTs are not deduplicated is refused, an old server that knows no such setting is not", () => {
  expect(checkAlso({ ...utc, deduplicateInsert: "disable" })).toContain("deduplicate_insert = 'enable'");
  expect(checkAlso({ ...utc, deduplicateInsert: "" })).toBe("");
  expect(checkAlso({ ...utc, deduplicateInsert: "backward_compatible_choice" })).toBe("");
});

test("a login whose INSERT … SELECTs are not deduplicated is refused: ours are", () => {
  const mend = "deduplicate_insert_select = 'enable_when_possible'";
  expect(checkAlso({ ...utc, deduplicateInsertSelect: "disable" })).toContain(mend);
  expect(checkAlso({ ...utc, deduplicateInsertSelect: "force_enable" })).toBe("");
  expect(checkAlso({ ...utc, deduplicateInsertSelect: "" })).toBe("");
});

test("a clock that differs by more than half of a lease is refused in words: it would refuse every INSERT", () => {
  expect(checkAlso({ ...utc, clockAheadMs: 45_001 })).toContain("45 s ahead of ours");
  expect(checkAlso({ ...utc, clockAheadMs: -60_000 })).toContain("60 s behind ours");
  expect(checkAlso({ ...utc, clockAheadMs: 45_000 })).toBe("");
});

test("windows are read as ClickHouse prints them", () => {
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
});

test("of replicas the least window rules, and the server's own default where a table declares none", () => {
  const wide = declared("ReplicatedMergeTree", "SETTINGS replicated_deduplication_window_seconds = 600");
  const atReplicas = [wide.engineFull, "ReplicatedMergeTree('/p', 'r2') SETTINGS index_granularity = 8192"];
  const defaults = new Map([
    ["replicated_deduplication_window", "1000"],
    ["replicated_deduplication_window_seconds", "300"],
  ]);
  expect(windowOf({ ...wide, atReplicas, defaults })).toEqual({ blocks: 1000, ms: 300_000 });
  expect(windowOf({ ...wide, defaults })).toEqual({ blocks: 1000, ms: 600_000 });
});

test("replicated traces whose receipts are one server's are refused, with what fixes it", () => {
  const traces = declared("ReplicatedMergeTree", "");
  const isRefused = (receiptsEngine: string) => checkTable(settings, { ...traces, receiptsEngine }) !== "";
  expect(isRefused("ReplacingMergeTree")).toBe(true);
  expect(isRefused("ReplicatedReplacingMergeTree")).toBe(false);
  expect(isRefused("SharedReplacingMergeTree")).toBe(false);
});

test("a TTL that is not understood is refused, in any engine, and one in any unit is good", () => {
  const windows = "SETTINGS non_replicated_deduplication_window = 100000";
  const unclear = "TTL Timestamp + toIntervalDay(5) WHERE S = 'x'";
  expect(check(declared("MergeTree", `${unclear} ${windows}`))).toContain("a TTL that we do not understand");
  expect(check(declared("ReplicatedMergeTree", unclear))).toContain("a TTL that we do not understand");
  expect(check(declared("MergeTree", `TTL Timestamp + toIntervalHour(72) ${windows}`))).toBe("");
});
