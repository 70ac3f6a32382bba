import { describe, expect, test } from "vitest";
import { type ClickHouseFacts, judgeClickHouse, neededRights } from "../../shared/doctor/judge-clickhouse.ts";

const settings = {
  url: "https://ch.example",
  user: "headrace",
  password: "",
  database: "otel",
  tracesTable: "otel_traces",
  insertCompression: "zstd",
} as const;

const table = (window: number, more = "") => ({
  engine: "MergeTree",
  engineFull: `MergeTree ORDER BY x ${more}SETTINGS non_replicated_deduplication_window = ${window}`,
});
const healthy: ClickHouseFacts = {
  version: "26.7.2.1",
  timezone: "UTC",
  deduplicateInsert: "enable",
  now: 1_795_500_000_050,
  askedAt: 1_795_500_000_000,
  answeredAt: 1_795_500_000_100,
  asyncInsert: "1",
  traces: table(100_000),
  traceTimes: table(100_000),
  hasProjection: true,
  hasOurColumns: true,
  missingTables: [],
  localTables: [],
  missingRights: [],
};

const wrong = (changed: Partial<ClickHouseFacts>) =>
  judgeClickHouse({ ...healthy, ...changed }, settings).filter(({ verdict }) => verdict !== "good");

describe("doctor's judgement of ClickHouse", () => {
  test("of a healthy one finds nothing, and names every part", () => {
    expect(wrong({})).toEqual([]);
    expect(judgeClickHouse(healthy, settings).map(({ check }) => check)).toEqual([
      "clickhouse version",
      "clickhouse clock",
      "clickhouse timezone",
      "clickhouse deduplication",
      "clickhouse async_insert",
      "clickhouse schema",
      "clickhouse window",
      "clickhouse view window",
      "clickhouse columns",
      "clickhouse projection",
      "clickhouse TTL",
      "clickhouse rights",
    ]);
  });

  test("of replicated traces asks for the cluster of the replicas, and for what it takes to read it", () => {
    const engineFull = "ReplicatedMergeTree('/t', 'r1') SETTINGS replicated_deduplication_window = 100000";
    const traces = { engine: "ReplicatedMergeTree", engineFull };
    expect(wrong({ traces })).toMatchObject([{ check: "clickhouse cluster", verdict: "warning" }]);
    expect(wrong({ traces, localTables: ["headrace_receipts"] })).toMatchObject([
      {
        check: "clickhouse cluster",
        verdict: "bad",
        found: expect.stringContaining("headrace_receipts only at one server"),
      },
    ]);
    const named = { ...settings, cluster: "all" };
    expect(judgeClickHouse({ ...healthy, traces }, named).every(({ verdict }) => verdict === "good")).toBe(
      true,
    );
    expect(neededRights(named, traces.engine)).toEqual(
      expect.arrayContaining(["SELECT ON system.replicas", "REMOTE, CREATE TEMPORARY TABLE ON *.*"]),
    );
  });

  test.each<[string, Partial<ClickHouseFacts>, "bad" | "warning", string, string]>([
    [
      "an old server",
      { version: "25.5.2.1" },
      "bad",
      "ClickHouse 25.5.2.1; the oldest",
      "an upgrade of ClickHouse to 25.8",
    ],
    ["a clock that is ahead", { now: healthy.now + 20_000 }, "bad", "20000 ms", "ntpd or chronyd"],
    ["a clock that is behind", { now: healthy.now - 20_000 }, "bad", "-20000 ms", "ntpd or chronyd"],
    ["another time zone", { timezone: "Europe/Berlin" }, "bad", "Europe/Berlin", "<timezone>UTC</timezone>"],
    [
      "a login that does not deduplicate",
      { deduplicateInsert: "disable" },
      "bad",
      "disable",
      "ALTER USER headrace",
    ],
    ["a missing table", { missingTables: ["headrace_usage"] }, "bad", "headrace_usage", "headrace deploy"],
    [
      "no window",
      { traces: table(0) },
      "bad",
      "the last 0 blocks",
      "non_replicated_deduplication_window = 100000",
    ],
    [
      "another engine",
      { traces: { engine: "Log", engineFull: "Log" } },
      "bad",
      "engine Log",
      "headrace deploy",
    ],
    ["a view without a window", { traceTimes: table(0) }, "bad", "otel_traces_trace_id_ts", "ALTER TABLE"],
    [
      "a table of the exporter's alone",
      { hasOurColumns: false },
      "bad",
      "HeadracePayload",
      "headrace deploy",
    ],
    ["no projection", { hasProjection: false }, "bad", "headrace_counts", "MATERIALIZE PROJECTION"],
    [
      "a short TTL",
      { traces: table(1e5, "TTL Timestamp + toIntervalDay(7) ") },
      "warning",
      "7 days",
      "MODIFY TTL",
    ],
    [
      "rights that are missing",
      { missingRights: ["SELECT ON system.parts"] },
      "bad",
      "system.parts",
      "GRANT SELECT ON system.parts TO headrace",
    ],
    ["a server that does not say", { missingRights: undefined }, "warning", "does not say", "SHOW GRANTS"],
  ])("of %s names it and what fixes it", (_name, changed, verdict, found, mend) => {
    const [check, ...others] = wrong(changed);
    expect(others).toEqual([]);
    expect(check?.verdict).toBe(verdict);
    expect(check?.found).toContain(found);
    expect(check?.mend).toContain(mend);
  });

  test("does not take a slow answer for a wrong clock", () => {
    expect(wrong({ answeredAt: healthy.askedAt + 60_000, now: healthy.askedAt + 1_000 })).toEqual([]);
  });

  test("of no table at all stops there", () => {
    expect(wrong({ traces: undefined, traceTimes: undefined }).map(({ check }) => check)).toEqual([
      "clickhouse window",
    ]);
  });
});
