/** `schema/` on a real engine: the exporter's columns, ours beside them, applied any number of times. */
import { readFileSync } from "node:fs";
import { describe, expect, inject, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { runStatement } from "../../shared/clickhouse/ask.ts";
import { connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { formatDateTime64 } from "../../shared/clickhouse/date-time.ts";
import { rowsDeletion, traceTimesDeletion } from "../../shared/clickhouse/deletion.ts";
import { defaultSchemaSettings, migrate, type SchemaSettings } from "../../shared/clickhouse/migrations.ts";
import {
  completeViewStatement,
  insertSpansParameters,
  receiptClaimsQuery,
  receiptsQuery,
} from "../../shared/clickhouse/statements.ts";
import { outcomeRank, payloadOutcomes } from "../../shared/outcome.ts";
import { formatPayloadId, formatPayloadKey, formatSlotKey } from "../../shared/payload-key.ts";
import { columns } from "../../shared/rows/columns.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { deleteRows } from "../../workers/consumer/delete-rows.ts";
import { countRows, readTable } from "../../workers/consumer/read-table.ts";
import { type ExporterGeneration, exporterGenerations } from "../fixtures/exporter-tables.ts";

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
 * What `system.columns` says of a new table. Names, types and order are the exporter's (below, and `npm run compare:collector`
 * against its own); the two ALIAS columns, and codecs that differ, are of contrib's pull request 50878.
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
  ["HeadraceFence", "UInt8", "EPHEMERAL", ""],
] as const;

/** A row as the exporter inserts it: by named columns, knowing nothing of ours. */
function exporterInsert(table: string, names: readonly string[], spanId: string, day: string): string {
  const values: Readonly<Record<string, string>> = {
    Timestamp: `'${day} 12:00:00.123456789'`,
    TraceId: "'0af7651916cd43dd8448eb211c80319c'",
    SpanId: `'${spanId}'`,
    ResourceAttributes: "{'service.name':'web'}",
    ScopeName: "'lib'",
    SpanAttributes: "{'http.method':'GET'}",
    Duration: "5",
    "Events.Timestamp": `['${day} 12:00:00.1']`,
    "Events.Name": "['exception']",
    "Events.Attributes": "[{'exception.type':'E'}]",
    "Links.TraceId": "['ab']",
    "Links.SpanId": "['cd']",
    "Links.TraceState": "['']",
    "Links.Attributes": "[{'k':'v'}]",
  };
  const list = names.map((name) => values[name] ?? "''");
  return `INSERT INTO ${table} (${names.join(", ")}) VALUES (${list.join(", ")})`;
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
      `SELECT name, type FROM system.columns WHERE database = '${settings.database}' AND table = 'otel_traces' AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY position`,
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

/** Names and types of stored columns, in order. */
async function storedColumns(database: string): Promise<readonly (readonly string[])[]> {
  return await rows(
    `SELECT name, type FROM system.columns WHERE database = '${database}' AND table = 'otel_traces' AND default_kind != 'ALIAS' AND name NOT LIKE 'Headrace%' ORDER BY position`,
  );
}

async function createdBy({ statements }: Pick<ExporterGeneration, "statements">): Promise<string> {
  const { database } = newSettings();
  await run(`CREATE DATABASE ${database}`);
  for (const statement of statements) {
    await run(statement.replaceAll("{db}", database));
  }
  return database;
}

test("a new table's columns are today's exporter's, with its types, in its order", async () => {
  const [today] = exporterGenerations;
  const theirs = await storedColumns(await createdBy(today ?? { statements: [] }));
  const settings = newSettings();
  await migrate(files, settings, run);
  expect(theirs).toHaveLength(22);
  expect(await storedColumns(settings.database)).toEqual(theirs);
});

describe("tables that the exporter made", () => {
  test.each(exporterGenerations)(
    "in $name are upgraded, and take the exporter's rows and ours",
    async (generation) => {
      const database = await createdBy(generation);
      const table = `${database}.otel_traces`;
      await run(exporterInsert(table, generation.insertColumns, "before", "2026-11-20"));
      await migrate(files, newSettings({ database }), run);
      await run(exporterInsert(table, generation.insertColumns, "after", "2026-11-21"));

      // Ours is one copy, in the view's target too, however often it comes.
      const clickHouse = connectClickHouse(
        {
          ...loginVariables(inject("clickhouse")),
          CLICKHOUSE_DATABASE: database,
          CLICKHOUSE_TRACES_TABLE: "otel_traces",
        },
        undefined,
        fetch,
      );
      const { refusal, witness } = await readTable(clickHouse, Date.now(), null);
      expect(refusal).toBe("");
      const idBytes = new Uint8Array(16).fill(9);
      const builder = new BlockBuilder();
      const [payload] = makeCorpus(1, 1, 50);
      builder.add({
        id: idBytes,
        tenant: "acme",
        body: payload?.protobuf ?? new Uint8Array(),
        bounds: corpusBounds,
        spans: 50,
      });
      const body = new Uint8Array(Buffer.concat([...builder.finish().chunks]));
      const token = crypto.randomUUID().replaceAll("-", "");
      const times = `SELECT count(), uniqExact(TraceId) FROM ${database}.otel_traces_trace_id_ts`;
      const timesAfter: (readonly string[])[] = [];
      for (const attempt of [1, 2]) {
        const parameters = insertSpansParameters(
          clickHouse.settings,
          token,
          attempt,
          60_000,
          Date.now() + 60_000,
          witness?.table ?? null,
        );
        const answer = await clickHouse.send({ parameters, body, patienceMs: 30_000 });
        expect(answer).toMatchObject({ status: 200, isClickHouses: true });
        timesAfter.push(...(await rows(times)));
      }
      expect(timesAfter[1]).toEqual(timesAfter[0]);
      expect(
        await rows(
          `SELECT HeadraceTenant, hex(HeadracePayload), toString(count()), countIf(ScopeName != '') > 0, min(Duration) >= 0 FROM ${table} GROUP BY ALL ORDER BY ALL`,
        ),
      ).toEqual([
        ["", "0".repeat(32), "2", String(Number(generation.insertColumns.includes("ScopeName"))), "1"],
        ["acme", "09".repeat(16), "50", "1", "1"],
      ]);
      const id = formatPayloadId(idBytes);
      const counted = await countRows(clickHouse, [id], witness?.table ?? null);
      expect(counted.rows.get(id)?.reduce((sum, day) => sum + day.rows, 0)).toBe(50);

      // The rows from before are in the projection too.
      const left = `SELECT count() FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active AND NOT has(projections, 'headrace_counts')`;
      await expect.poll(async () => await rows(left), { timeout: 20_000 }).toEqual([["0"]]);

      // An erasure takes our rows and their traces' times, and leaves the exporter's.
      await runStatement(clickHouse, completeViewStatement(clickHouse.settings, [id]));
      const days = counted.rows.get(id)?.map(({ day }) => day) ?? [];
      const erased = { ids: [id], days, mark: token };
      await deleteRows(clickHouse, traceTimesDeletion(clickHouse.settings, erased));
      await deleteRows(clickHouse, rowsDeletion(clickHouse.settings, erased));
      expect(await rows(`SELECT SpanId FROM ${table} ORDER BY Timestamp`)).toEqual([["before"], ["after"]]);
      expect(await rows(`SELECT uniqExact(TraceId) FROM ${database}.otel_traces_trace_id_ts`)).toEqual([
        ["1"],
      ]);
    },
  );
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

test("a traces table that is made with small granules has them, and keeps them", async () => {
  const settings = newSettings({ smallGranules: true });
  await migrate(files, settings, run);
  const small = /index_granularity = 2048, (.*, )?min_compress_block_size = 16384/;
  expect(await run(`SHOW CREATE TABLE ${settings.database}.otel_traces`)).toMatch(small);
  expect(await migrate(files, { ...settings, smallGranules: false }, run)).toEqual([]);
  expect(await run(`SHOW CREATE TABLE ${settings.database}.otel_traces`)).toMatch(small);
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
    const key = (minute: number, byte: number) =>
      formatPayloadKey(minute * 1000, "acme", formatPayloadId(id(byte)));
    const receipt = (minute: number, byte: number, outcome: string, spans_by_day: object) => ({
      key: key(minute, byte),
      payload_hex: hex(id(byte)),
      minute: minute - (minute % 60),
      tenant: "acme",
      outcome,
      spans_by_day,
    });
    const [first, second] = [1_795_000_000, 1_795_086_400];
    await insert(table, [
      receipt(first, 200, "stored", { "2026-11-23": 2, "2026-11-24": 3 }),
      receipt(second, 200, "duplicate", {}),
      receipt(second, 1, "stored", {}),
    ]);
    expect(await found(table, [200, 3])).toEqual([
      [key(first, 200), "stored", "[20780,20781]", "[2,3]"],
      [key(second, 200), "duplicate", "[]", "[]"],
    ]);
    const plan = await run(
      `EXPLAIN indexes = 1 ${receiptClaimsQuery(settingsOf(table), [formatPayloadId(id(200))])}`,
    );
    expect(plan).toMatch(/headrace_receipts[\s\S]*PrimaryKey[\s\S]*key in 2-element set/);
    // What is judged by is the same as in the receipts that a person is shown, and these have the rest too.
    const all = receiptsQuery(
      settingsOf(table),
      [200, 3].map((byte) => formatPayloadId(id(byte))),
    );
    expect(await rows(`SELECT key, outcome, toString(days), toString(rows) FROM (${all})`)).toEqual(
      await found(table, [200, 3]),
    );
  });

  test("of two ids whose first bytes are the same are found, each by its own", async () => {
    const table = await receiptsTable();
    const minute = 1_795_000_020;
    const twins = [1, 2].map((last) => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? last : 7)));
    const keys = twins.map((bytes) => formatPayloadKey(minute * 1000, "acme", formatPayloadId(bytes)));
    await insert(
      table,
      twins.map((bytes, i) => receiptOf(keys[i] ?? "", bytes, minute)),
    );
    const both = receiptsQuery(settingsOf(table), twins.map(formatPayloadId));
    expect(await rows(`SELECT key FROM (${both})`)).toEqual(keys.map((key) => [key]));
    const one = receiptsQuery(settingsOf(table), twins.slice(1).map(formatPayloadId));
    expect(await rows(`SELECT key FROM (${one})`)).toEqual([[keys[1]]]);
  });

  test("of a payload with an object of its own and in segments are found by its id, each once, beside a retried INSERT's", async () => {
    const table = await receiptsTable();
    const minute = 1_795_000_020;
    const ids = [1, 2].map((byte) => formatPayloadId(id(byte)));
    const segmentOf = (byte: number) => formatSegmentKey(minute * 1000, new Uint8Array(10).fill(byte), ids);
    const key = (segment: number, slot: number, byte: number) =>
      formatSlotKey(segmentOf(segment), slot, "acme", formatPayloadId(id(byte)));
    const own = formatPayloadKey(minute * 1000, "acme", formatPayloadId(id(1)));
    // A form of key that this schema knows nothing of: found all the same.
    const other = `p/0/t/2026-11-18T1107/_3/later/127/x/acme/${formatPayloadId(id(2))}`;
    const all = [
      receiptOf(own, id(1), minute),
      receiptOf(key(7, 0, 1), id(1), minute, "duplicate"),
      receiptOf(key(7, 127, 1), id(1), minute, "duplicate"),
      receiptOf(key(8, 0, 1), id(1), minute, "duplicate"),
      receiptOf(key(7, 1, 2), id(2), minute),
      receiptOf(other, id(2), minute),
    ];
    // Parts of one receipt: read for its very key, and for no other text around it.
    await run(`SYSTEM STOP MERGES ${table}`);
    for (const one of all) {
      await insert(table, [one]);
    }
    for (const isRetried of [false, true]) {
      if (isRetried) {
        await insert(table, all);
      }
      expect((await found(table, [1])).map(([of]) => of)).toEqual(
        [own, key(7, 0, 1), key(7, 127, 1), key(8, 0, 1)].sort(),
      );
      expect((await found(table, [2])).map(([of]) => of)).toEqual([key(7, 1, 2), other]);
    }
    // A segment's name is there once, whatever its payloads.
    const names = await rows(
      `SELECT path FROM ${idsOf(table)} FINAL WHERE path != '' AND minute = ${minute} ORDER BY path`,
    );
    expect(names.map(([path]) => path)).toEqual([
      ...[7, 8].map((segment) => `${segmentOf(segment).slice(22)}/`),
      "_3/later/127/x/",
    ]);
    // The views of before are gone: nothing is written twice.
    for (const before of ["minutes", "places"]) {
      expect(await rows(`SELECT count() FROM ${table.split(".")[0]}.headrace_receipt_${before}`)).toEqual([
        ["0"],
      ]);
    }
  });

  test("of two segments of one minute that have the same 16 bits are found, each by its own", async () => {
    const table = await receiptsTable();
    const minute = 1_795_000_020;
    const ids = [1, 2].map((byte) => formatPayloadId(id(byte)));
    const segments = Array.from({ length: 2000 }, (_, n) =>
      formatSegmentKey(
        minute * 1000,
        Uint8Array.from({ length: 10 }, (_, i) => (i === 9 ? n : n >> 8)),
        ids,
      ),
    );
    const paths = segments.map((segment) => `'${segment.slice(22)}/'`).join(", ");
    const alike = await rows(
      `SELECT arraySort(groupArray(path))[1], arraySort(groupArray(path))[2] FROM (SELECT arrayJoin([${paths}]) AS path)
        GROUP BY sipHash64(path) % 65535 HAVING count() > 1 ORDER BY ALL LIMIT 1`,
    );
    const keys = (alike[0] ?? []).map((path, i) => `p/0/t/2026-11-18T1107/${path}00${i}/acme/${ids[i]}`);
    // Each in a part of its own: neither lies between other keys.
    for (const [i, key] of keys.entries()) {
      await insert(table, [receiptOf(key, id(i + 1), minute)]);
    }
    expect(await rows(`SELECT uniqExact(segment) FROM ${idsOf(table)}`)).toEqual([["1"]]);
    expect((await found(table, [1])).map(([of]) => of)).toEqual([keys[0]]);
    expect((await found(table, [2])).map(([of]) => of)).toEqual([keys[1]]);
    expect((await found(table, [1, 2])).map(([of]) => of)).toEqual(keys);
  });

  test("of a segment whose 16 bits end with zeros are found", async () => {
    const table = await receiptsTable();
    const minute = 1_795_000_020;
    const ids = [1].map((byte) => formatPayloadId(id(byte)));
    const paths = Array.from({ length: 2000 }, (_, n) =>
      formatSegmentKey(
        minute * 1000,
        Uint8Array.from({ length: 10 }, (_, i) => (i === 9 ? n : n >> 8)),
        ids,
      ).slice(22),
    );
    const [[path = ""] = []] = await rows(
      `SELECT min(path) FROM (SELECT concat(arrayJoin([${paths.map((one) => `'${one}'`).join(", ")}]), '/') AS path)
        WHERE (1 + sipHash64(path) % 65535) % 256 = 0`,
    );
    const key = `p/0/t/2026-11-18T1107/${path}000/acme/${ids[0]}`;
    await insert(table, [receiptOf(key, id(1), minute)]);
    expect(await rows(`SELECT uniqExact(segment % 256), min(segment % 256) FROM ${idsOf(table)}`)).toEqual([
      ["1", "0"],
    ]);
    expect((await found(table, [1])).map(([of]) => of)).toEqual([key]);
  });

  test("of an id with very many are found", async () => {
    const table = await receiptsTable();
    const text = formatPayloadId(id(5));
    await run(
      `INSERT INTO ${table} (key, payload_hex, minute, tenant, outcome) SELECT concat('p/0/t/', formatDateTime(at, '%Y-%m-%dT%H%i', 'UTC'), '/acme/${text}'),
        '${hex(id(5))}', at, 'acme', 'duplicate' FROM (SELECT toDateTime(1795000020 - number * 60, 'UTC') AS at FROM numbers(20000))`,
    );
    expect(
      await rows(`SELECT count(), uniqExact(key) FROM (${receiptClaimsQuery(settingsOf(table), [text])})`),
    ).toEqual([["20000", "20000"]]);
  });

  test("of before their days were in smaller blocks stay as they are, and are found", async () => {
    const settings = newSettings();
    const table = `${settings.database}.headrace_receipts`;
    const minute = 1_795_000_020;
    const key = (byte: number) => formatPayloadKey(minute * 1000, "acme", formatPayloadId(id(byte)));
    await migrate(
      files.filter(({ name }) => name < "0019"),
      settings,
      run,
    );
    await insert(table, [receiptOf(key(1), id(1), minute)]);
    const parts = `SELECT name, modification_time FROM system.parts WHERE active AND concat(database, '.', table) = '${table}'`;
    const before = await rows(parts);
    expect(await migrate(files, settings, run)).toEqual(["0019_receipt_days_blocks.sql"]);
    const made = await run(`SHOW CREATE TABLE ${table} FORMAT TSVRaw`);
    expect(made).toMatch(
      /`spans_by_day` .*SETTINGS \(min_compress_block_size = 4096, max_compress_block_size = 4096\)/,
    );
    expect(await rows(parts), "no part is written anew").toEqual(before);
    await insert(table, [receiptOf(key(2), id(2), minute)]);
    expect((await found(table, [1, 2])).map(([of]) => of)).toEqual([key(1), key(2)]);
  });

  test("of before their ids had a table are found by payload id too, and by Workers of before until they are replaced", async () => {
    const settings = newSettings();
    const until = (number: string) => files.filter(({ name }) => name < number);
    const table = `${settings.database}.headrace_receipts`;
    // A day each, so a part each: what is looked for at a wrong place is not found.
    const receipt = (byte: number, isInSegment = false) => {
      const minute = 1_795_000_020 - (byte % 16) * 86_400;
      const payload = formatPayloadId(id(byte));
      const segment = formatSegmentKey(minute * 1000, new Uint8Array(10), [payload]);
      return receiptOf(
        isInSegment
          ? formatSlotKey(segment, byte % 100, "acme", payload)
          : formatPayloadKey(minute * 1000, "acme", payload),
        id(byte),
        minute,
      );
    };
    await migrate(until("0013"), settings, run);
    await insert(table, [receipt(1), receipt(255)]);
    await migrate(until("0015"), settings, run);
    await insert(table, [receipt(3)]);
    await migrate(until("0017"), settings, run);
    await insert(table, [receipt(4), receipt(5, true)]);
    // As `headrace deploy` does: what the Workers of before ask is filled until those of this version are there.
    await migrate(files, settings, run, "early");
    await insert(table, [receipt(6), receipt(7, true)]);
    const places = `SELECT count() FROM ${settings.database}.headrace_receipt_places WHERE head = unhex('${"07".repeat(12)}')`;
    expect(await rows(places)).toEqual([["1"]]);
    const before = [1, 3, 4, 255].map((byte) => receipt(byte).key).concat(receipt(5, true).key);
    const bytes = [1, 2, 3, 4, 5, 6, 7, 8, 255];
    expect((await found(table, bytes)).map(([key]) => key)).toEqual(
      [...before, receipt(6).key, receipt(7, true).key].sort(),
    );
    expect(await migrate(files, settings, run)).toEqual(["0018_receipt_places_end.sql"]);
    await insert(table, [receipt(8, true)]);
    expect((await found(table, bytes)).map(([key]) => key)).toEqual(
      [...before, receipt(6).key, receipt(7, true).key, receipt(8, true).key].sort(),
    );
    const placesOf8 = places.replace("07".repeat(12), "08".repeat(12));
    expect(await rows(placesOf8)).toEqual([["0"]]);
    // Rolled back: what docs/operating.md says fills what the Workers of before ask.
    const [, rollingBack = ""] = readFileSync("docs/operating.md", "utf8").split("## Rolling back\n");
    const [, sql = ""] = /```sql\n([\s\S]*?)```/.exec(rollingBack) ?? [];
    for (const statement of sql.split(/;\n/).filter((one) => one.trim() !== "")) {
      await run(statement.replaceAll("otel.", `${settings.database}.`));
    }
    expect(await rows(placesOf8)).toEqual([["1"]]);
    expect(await run(`SHOW CREATE TABLE ${table}`)).not.toContain("idx_payload");
  });

  test("of an old day, and their ids of an old week, become one part", async () => {
    const table = await receiptsTable();
    const ids = idsOf(table);
    for (const one of [table, ids]) {
      expect(await run(`SHOW CREATE TABLE ${one}`)).toContain(
        "min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1",
      );
      await run(`ALTER TABLE ${one} MODIFY SETTING min_age_to_force_merge_seconds = 1`);
    }
    for (const byte of [1, 2, 3]) {
      const key = formatPayloadKey(1_795_000_020_000, "acme", formatPayloadId(id(byte)));
      await insert(table, [
        { key, payload_hex: hex(id(byte)), minute: 1_795_000_020, tenant: "acme", outcome: "stored" },
      ]);
    }
    const parts = (one: string) =>
      rows(
        `SELECT count(), sum(rows) FROM system.parts WHERE active AND concat(database, '.', table) = '${one}'`,
      );
    for (const one of [table, ids]) {
      await expect.poll(() => parts(one), { timeout: 60_000 }).toEqual([["1", "3"]]);
    }
  }, 90_000);

  const idsOf = (table: string) => `${table.split(".")[0]}.headrace_receipt_ids`;

  const receiptOf = (key: string, bytes: Uint8Array, minute: number, outcome = "stored") => ({
    key,
    payload_hex: hex(bytes),
    minute,
    tenant: "acme",
    outcome,
    spans_by_day: {},
    at: formatDateTime64(Date.now()),
  });

  const settingsOf = (table: string) => ({
    url: "",
    user: "",
    password: "",
    database: table.split(".")[0] ?? "",
    tracesTable: "otel_traces",
  });

  async function found(table: string, bytes: readonly number[]): Promise<readonly (readonly string[])[]> {
    const query = receiptClaimsQuery(
      settingsOf(table),
      bytes.map((byte) => formatPayloadId(id(byte))),
    );
    return await rows(`SELECT key, outcome, toString(days), toString(rows) FROM (${query}) ORDER BY key`);
  }
});
