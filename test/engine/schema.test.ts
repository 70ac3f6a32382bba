/** `schema/` on a real engine: the exporter's columns, ours beside them, applied any number of times. */
import { describe, expect, inject, test } from "vitest";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { defaultSchemaSettings, migrate, type SchemaSettings } from "../../shared/clickhouse/migrations.ts";
import { outcomeRank, payloadOutcomes } from "../../shared/outcome.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { columns } from "../../shared/rows/columns.ts";

const run = statementRunner({ url: inject("clickhouse") });
const files = readSchemaFiles();

function newSettings(settings: Partial<SchemaSettings> = {}): SchemaSettings {
  return { ...defaultSchemaSettings, database: `s_${crypto.randomUUID().replaceAll("-", "")}`, ...settings };
}

async function rows(sql: string): Promise<readonly (readonly string[])[]> {
  const text = await run(`${sql} FORMAT TSVRaw`);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split("\t"));
}

/**
 * What `system.columns` says of the exporter's table in its Map form, written down from a table that the exporter's
 * own statement made (v0.159).
 */
const exporterColumns = [
  ["Timestamp", "DateTime64(9)", "", "CODEC(Delta(8), ZSTD(1))"],
  ["TraceId", "String", "", "CODEC(ZSTD(1))"],
  ["SpanId", "String", "", "CODEC(ZSTD(1))"],
  ["ParentSpanId", "String", "", "CODEC(ZSTD(1))"],
  ["TraceState", "String", "", "CODEC(ZSTD(1))"],
  ["SpanName", "LowCardinality(String)", "", "CODEC(ZSTD(1))"],
  ["SpanKind", "LowCardinality(String)", "", "CODEC(ZSTD(1))"],
  ["ServiceName", "LowCardinality(String)", "", "CODEC(ZSTD(1))"],
  ["ResourceAttributes", "Map(LowCardinality(String), String)", "", "CODEC(ZSTD(1))"],
  ["ScopeName", "String", "", "CODEC(ZSTD(1))"],
  ["ScopeVersion", "String", "", "CODEC(ZSTD(1))"],
  ["SpanAttributes", "Map(LowCardinality(String), String)", "", "CODEC(ZSTD(1))"],
  ["Duration", "UInt64", "", "CODEC(T64, ZSTD(1))"],
  ["StatusCode", "LowCardinality(String)", "", "CODEC(ZSTD(1))"],
  ["StatusMessage", "String", "", "CODEC(ZSTD(1))"],
  ["Events.Timestamp", "Array(DateTime64(9))", "", "CODEC(ZSTD(1))"],
  ["Events.Name", "Array(LowCardinality(String))", "", "CODEC(ZSTD(1))"],
  ["Events.Attributes", "Array(Map(LowCardinality(String), String))", "", "CODEC(ZSTD(1))"],
  ["Links.TraceId", "Array(String)", "", "CODEC(ZSTD(1))"],
  ["Links.SpanId", "Array(String)", "", "CODEC(ZSTD(1))"],
  ["Links.TraceState", "Array(String)", "", "CODEC(ZSTD(1))"],
  ["Links.Attributes", "Array(Map(LowCardinality(String), String))", "", "CODEC(ZSTD(1))"],
  ["ResourceAttributeItems", "Array(String)", "ALIAS", ""],
  ["SpanAttributeItems", "Array(String)", "ALIAS", ""],
] as const;
const ourColumns = [
  ["HeadraceTenant", "LowCardinality(String)", "DEFAULT", "CODEC(ZSTD(1))"],
  ["HeadracePayload", "FixedString(16)", "DEFAULT", "CODEC(ZSTD(1))"],
] as const;

/** The 22 columns that the exporter's INSERT names (traces_insert.sql). */
const exporterInsertColumns = exporterColumns.filter(([, , kind]) => kind === "").map(([name]) => name);

/** A row as the exporter inserts it: by named columns, knowing nothing of ours. */
function exporterInsert(table: string, spanId: string, day: string): string {
  return (
    `INSERT INTO ${table} (${exporterInsertColumns.join(", ")}) VALUES ` +
    `('${day} 12:00:00.123456789', '0af7651916cd43dd8448eb211c80319c', '${spanId}', '', '', 'GET /', 'Server', 'web', ` +
    `{'service.name':'web'}, 'lib', '1', {'http.method':'GET'}, 5, 'Ok', '', ` +
    `['${day} 12:00:00.1'], ['exception'], [{'exception.type':'E'}], ['ab'], ['cd'], [''], [{'k':'v'}])`
  );
}

describe("the schema", () => {
  test("has the exporter's columns, and ours behind them", async () => {
    const settings = newSettings();
    await migrate(files, settings, run);
    const found = await rows(
      `SELECT name, type, default_kind, compression_codec FROM system.columns WHERE database = '${settings.database}' AND table = 'otel_traces' ORDER BY position`,
    );
    expect(found).toEqual([...exporterColumns, ...ourColumns]);
  });

  test("has every column that the block writer writes, with its type", async () => {
    const settings = newSettings();
    await migrate(files, settings, run);
    const found = await rows(
      `SELECT name, type FROM system.columns WHERE database = '${settings.database}' AND table = 'otel_traces' AND default_kind != 'ALIAS' ORDER BY position`,
    );
    expect(found).toEqual(columns.map(({ name, type }) => [name, type]));
  });

  test("is applied once, however often and by however many", async () => {
    const settings = newSettings();
    const applied = await Promise.all([1, 2, 3].map(() => migrate(files, settings, run)));
    const names = files.map(({ name }) => name);
    expect(new Set(applied.flat())).toEqual(new Set(names));
    expect(await migrate(files, settings, run)).toEqual([]);
    expect(
      await rows(`SELECT name FROM ${settings.database}.headrace_migrations FINAL ORDER BY number`),
    ).toEqual(names.map((name) => [name]));
  });

  test("takes another name for the traces and a TTL", async () => {
    const settings = newSettings({ tracesTable: "my`spans", tracesTtlDays: 45 });
    await migrate(files, settings, run);
    const tables = await rows(
      `SELECT name, extract(engine_full, 'TTL (.*) SETTINGS') FROM system.tables WHERE database = '${settings.database}' AND name LIKE 'my%' ORDER BY name`,
    );
    expect(tables).toEqual([
      ["my`spans", "toDateTime(Timestamp) + toIntervalDay(45)"],
      ["my`spans_trace_id_ts", "toDateTime(Start) + toIntervalDay(45)"],
      ["my`spans_trace_id_ts_mv", ""],
    ]);
    // A second traces table in the same database gets its own.
    await migrate(files, { ...settings, tracesTable: "other_spans" }, run);
    expect(await rows(`SELECT count() FROM ${settings.database}.other_spans`)).toEqual([["0"]]);
  });

  test("refuses a file that was changed after it was applied, but not for a comment", async () => {
    const settings = newSettings();
    await migrate(files, settings, run);
    const [first, ...others] = files;
    const commented = { name: first?.name ?? "", text: `-- another remark\n${first?.text}` };
    expect(await migrate([commented, ...others], settings, run)).toEqual([]);
    const changed = { ...commented, text: commented.text.replace("UInt64", "Int64") };
    await expect(migrate([changed, ...others], settings, run)).rejects.toThrow(
      /0001_traces\.sql .*put the change into a new one/,
    );
  });

  test("refuses a database of a newer version", async () => {
    const settings = newSettings();
    await migrate(files, settings, run);
    await expect(migrate(files.slice(0, -1), settings, run)).rejects.toThrow(
      `${files.at(-1)?.name}, which this version does not know: it is older than the schema. Use the newer version.`,
    );
  });

  test("goes on after a run that was cut off in the middle of a file", async () => {
    const settings = newSettings();
    let statements = 0;
    const dying = async (sql: string): Promise<string> => {
      if (++statements > 10) {
        throw new Error("fetch failed");
      }
      return await run(sql);
    };
    await expect(migrate(files, settings, dying)).rejects.toThrow("fetch failed");
    expect(await migrate(files, settings, run)).toEqual(files.slice(1).map(({ name }) => name));
  });
});

describe("a table that the exporter made", () => {
  const today = `
    CREATE TABLE {db}.otel_traces (
      Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)), TraceId String CODEC(ZSTD(1)), SpanId String CODEC(ZSTD(1)),
      ParentSpanId String CODEC(ZSTD(1)), TraceState String CODEC(ZSTD(1)), SpanName LowCardinality(String) CODEC(ZSTD(1)),
      SpanKind LowCardinality(String) CODEC(ZSTD(1)), ServiceName LowCardinality(String) CODEC(ZSTD(1)),
      ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)), ScopeName String CODEC(ZSTD(1)),
      ScopeVersion String CODEC(ZSTD(1)), SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
      Duration UInt64 CODEC(T64, ZSTD(1)), StatusCode LowCardinality(String) CODEC(ZSTD(1)), StatusMessage String CODEC(ZSTD(1)),
      Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
      Links Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
      ResourceAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(ResourceAttributes, 'Array(Tuple(String, String))')),
      SpanAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(SpanAttributes, 'Array(Tuple(String, String))')),
      INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
      INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
      INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
    ) ENGINE = MergeTree() PARTITION BY toDate(Timestamp)
    PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp)) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)
    SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1`;
  /** As it was before v0.151: no ALIAS columns, fewer indexes, a shorter key. */
  const before = today
    .replace(/ResourceAttributeItems.*\n.*SpanAttributeItems.*\n/, "")
    .replace(/,\s*INDEX idx_lower_span_name.*\n/, "\n")
    .replace(/PRIMARY KEY .*/, "ORDER BY (ServiceName, SpanName, toUnixTimestamp(Timestamp))");
  const lookup = [
    "CREATE TABLE {db}.otel_traces_trace_id_ts (TraceId String CODEC(ZSTD(1)), Start SimpleAggregateFunction(min, DateTime) CODEC(ZSTD(1)), End SimpleAggregateFunction(max, DateTime) CODEC(ZSTD(1))) " +
      "ENGINE = AggregatingMergeTree() PARTITION BY toStartOfWeek(Start) ORDER BY (TraceId) SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1",
    "CREATE MATERIALIZED VIEW {db}.otel_traces_trace_id_ts_mv TO {db}.otel_traces_trace_id_ts AS SELECT TraceId, min(Timestamp) as Start, max(Timestamp) as End FROM {db}.otel_traces WHERE TraceId != '' GROUP BY TraceId",
  ];

  test.each([
    ["today's form", today],
    ["the form before v0.151", before],
  ])("in %s is upgraded, and the exporter's INSERT goes on", async (_, table) => {
    const settings = newSettings();
    const { database } = settings;
    await run(`CREATE DATABASE ${database}`);
    for (const statement of [table, ...lookup]) {
      await run(statement.replaceAll("{db}", database));
    }
    await run(exporterInsert(`${database}.otel_traces`, "before", "2026-11-20"));
    await migrate(files, settings, run);
    await run(exporterInsert(`${database}.otel_traces`, "after", "2026-11-21"));
    expect(
      await rows(
        `SELECT SpanId, HeadraceTenant, hex(HeadracePayload) FROM ${database}.otel_traces ORDER BY Timestamp`,
      ),
    ).toEqual([
      ["before", "", "0".repeat(32)],
      ["after", "", "0".repeat(32)],
    ]);
    // Ours deduplicates, and so does the view's target.
    const token =
      "SETTINGS insert_deduplication_token = 'once', async_insert = 0, deduplicate_blocks_in_dependent_materialized_views = 1";
    for (let i = 0; i < 2; i++) {
      await run(
        `INSERT INTO ${database}.otel_traces (Timestamp, TraceId, SpanId, HeadraceTenant, HeadracePayload) ${token} VALUES ('2026-11-21 13:00:00', 'ours', 'ours', 'acme', unhex('${"01".repeat(16)}'))`,
      );
    }
    expect(await rows(`SELECT count() FROM ${database}.otel_traces`)).toEqual([["3"]]);
    expect(
      await rows(`SELECT count() FROM ${database}.otel_traces_trace_id_ts WHERE TraceId = 'ours'`),
    ).toEqual([["1"]]);
    // The rows from before are in the projection too.
    const deadline = performance.now() + 20_000;
    const left = `SELECT count() FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active AND NOT has(projections, 'headrace_counts')`;
    while ((await rows(left))[0]?.[0] !== "0") {
      expect(performance.now()).toBeLessThan(deadline);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
});

describe("the projection headrace_counts", () => {
  async function tableWithPayloads(): Promise<string> {
    const settings = newSettings();
    await migrate(files, settings, run);
    const table = `${settings.database}.otel_traces`;
    await run(
      `INSERT INTO ${table} (Timestamp, TraceId, SpanId, HeadracePayload) SELECT toDateTime64('2026-11-20 23:59:00', 9) + number % 2 * 120, 't', toString(number), unhex(leftPad(hex(number % 50), 32, '0')) FROM numbers(10000)`,
    );
    return table;
  }
  const counts = (table: string) =>
    `SELECT toDate(Timestamp) AS day, count() FROM ${table} WHERE HeadracePayload IN (unhex('${"0".repeat(30)}07')) GROUP BY HeadracePayload, day ORDER BY day`;

  test("answers how many rows of a payload each day has, by itself", async () => {
    const table = await tableWithPayloads();
    expect(await rows(`${counts(table)} SETTINGS force_optimize_projection = 1`)).toEqual([
      ["2026-11-21", "200"],
    ]);
    const plan = await run(`EXPLAIN indexes = 1 ${counts(table)}`);
    expect(plan).toContain("headrace_counts");
    expect(plan).toContain("binary search");
  });

  test("follows a lightweight DELETE, which the table allows", async () => {
    const table = await tableWithPayloads();
    await run(
      `DELETE FROM ${table} WHERE HeadracePayload = unhex('${"0".repeat(30)}07') SETTINGS lightweight_deletes_sync = 2`,
    );
    expect(await rows(`${counts(table)} SETTINGS force_optimize_projection = 1`)).toEqual([]);
    expect(await rows(`SELECT count() FROM ${table}`)).toEqual([["9800"]]);
  });
});

describe("receipts", () => {
  const id = (byte: number) => new Uint8Array(16).fill(byte);
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

  async function receiptsTable(): Promise<string> {
    const settings = newSettings();
    await migrate(files, settings, run);
    return `${settings.database}.headrace_receipts`;
  }

  async function insert(
    table: string,
    receipts: readonly Readonly<Record<string, unknown>>[],
  ): Promise<void> {
    const names = Object.keys(receipts[0] ?? {}).join(", ");
    await run(
      `INSERT INTO ${table} (${names}) FORMAT JSONEachRow\n${receipts.map((receipt) => JSON.stringify(receipt)).join("\n")}`,
    );
  }

  test("order by key as R2 lists: byte by byte", async () => {
    const table = await receiptsTable();
    const tenants = ["a", "a-b", "a0", "ab", "b", "-", "0", "z-", "zz"];
    const minutes = [0, 60_000, 3_600_000, 86_400_000].map((ms) => Date.UTC(2026, 10, 24, 23, 59) + ms);
    const keys = minutes.flatMap((minute) =>
      tenants.flatMap((tenant) =>
        [0, 1, 127, 128, 255].map((byte) => formatPayloadKey(minute, tenant, formatPayloadId(id(byte)))),
      ),
    );
    await insert(
      table,
      keys.toReversed().map((key) => ({ key, minute: key.slice(6, 16), outcome: "stored" })),
    );
    const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await rows(`SELECT key FROM ${table} ORDER BY key`)).toEqual(sorted.map((key) => [key]));
  });

  test("keep the higher rank of a key, whichever came first, and the later of equals", async () => {
    const table = await receiptsTable();
    const receipt = (key: string, outcome: string, at: number) => ({
      key,
      minute: 1_795_000_000,
      outcome,
      at,
      reason: `${outcome} ${at}`,
    });
    await insert(table, [
      receipt("stored wins", "stored", 1),
      receipt("later wins", "stored", 1),
      receipt("erased wins", "erased", 1),
    ]);
    await insert(table, [
      receipt("stored wins", "dead", 2),
      receipt("later wins", "stored", 2),
      receipt("erased wins", "stored", 2),
    ]);
    const expected = [
      ["erased wins", "erased 1"],
      ["later wins", "stored 2"],
      ["stored wins", "stored 1"],
    ];
    expect(await rows(`SELECT key, reason FROM ${table} FINAL ORDER BY key`)).toEqual(expected);
    await run(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await rows(`SELECT key, reason FROM ${table} ORDER BY key`)).toEqual(expected);
  });

  test("rank outcomes as shared/outcome.ts does", async () => {
    const table = await receiptsTable();
    await insert(
      table,
      payloadOutcomes.map((outcome) => ({ key: outcome, minute: 1_795_000_000, outcome })),
    );
    const found = await rows(`SELECT outcome, rank FROM ${table}`);
    expect(Object.fromEntries(found.map(([outcome, rank]) => [outcome, Number(rank)]))).toEqual(outcomeRank);
    await expect(insert(table, [{ key: "x", minute: 0, outcome: "lost" }])).rejects.toThrow(
      /UNKNOWN_ELEMENT_OF_ENUM|INCORRECT_DATA|BAD_ARGUMENTS/,
    );
  });

  test("are found by payload id over all keys, with their spans by day", async () => {
    const table = await receiptsTable();
    const payload_hex = hex(id(200));
    await insert(table, [
      {
        key: "k1",
        payload_hex,
        minute: 1_795_000_000,
        outcome: "stored",
        spans_by_day: { "2026-11-23": 2, "2026-11-24": 3 },
      },
      { key: "k2", payload_hex, minute: 1_795_086_400, outcome: "duplicate", spans_by_day: {} },
      { key: "k3", payload_hex: hex(id(1)), minute: 1_795_086_400, outcome: "stored", spans_by_day: {} },
    ]);
    const query = `SELECT key, spans_by_day FROM ${table} FINAL WHERE payload IN (unhex('${payload_hex}')) ORDER BY key`;
    expect(await rows(query)).toEqual([
      ["k1", "{'2026-11-23':2,'2026-11-24':3}"],
      ["k2", "{}"],
    ]);
    expect(await run(`EXPLAIN indexes = 1 ${query}`)).toContain("idx_payload");
  });
});
