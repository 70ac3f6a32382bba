/**
 * What the table itself shows of a payload, and how far its deduplication log is used (docs/facts.md: table, evidence): the evidence that
 * VERIFY and the auditor read, on the real engine with the real schema.
 */
import { describe, expect, inject, test } from "vitest";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { writtenRows } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { countedRowsQuery, countRowsQuery, tableStateQuery } from "../../shared/clickhouse/statements.ts";
import { readTtl } from "../../shared/clickhouse/ttl.ts";
import { formatPayloadId } from "../../shared/payload-key.ts";
import { ask, contents, insert, newName, newTable, send } from "./token-inserts.ts";

const id = (byte: number) => formatPayloadId(new Uint8Array(16).fill(byte));
const hex = (byte: number) => byte.toString(16).padStart(2, "0").repeat(16);

interface Traces {
  readonly table: string;
  /** Inserts so many rows of a payload on each day, under a token. */
  store(token: string, payload: number, days: readonly string[], rows?: number): Promise<void>;
  /** The consumer's own counting query. */
  count(...payloads: readonly number[]): Promise<string>;
  /** `blocks` of the consumer's own query. */
  blocks(): Promise<number>;
}

async function newTraces(): Promise<Traces> {
  const database = newName();
  const settings = { ...defaultSchemaSettings, database };
  await migrate(readSchemaFiles(), settings, statementRunner({ url: inject("clickhouse") }));
  const table = `${database}.otel_traces`;
  const clickHouse = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
  return {
    table,
    async store(token, payload, days, rows = 2) {
      const answer = await send(
        `INSERT INTO ${table} (Timestamp, TraceId, SpanId, HeadracePayload)
          SELECT toDateTime64(arrayJoin([${days.map((day) => `'${day} 12:00:00'`).join(", ")}]), 9), 't', toString(number), unhex('${hex(payload)}')
          FROM numbers(${rows})`,
        { insert_deduplication_token: token, async_insert: 0 },
      );
      expect(answer).toMatchObject({ status: 200 });
    },
    count: (...payloads) => ask(`${countRowsQuery(clickHouse, payloads.map(id))} FORMAT TSV`),
    async blocks() {
      const text = await ask(`${tableStateQuery(clickHouse)} FORMAT JSONEachRow`);
      return JSON.parse(text).blocks;
    },
  };
}

const day = (date: string) => Date.parse(date) / 86_400_000;

describe("the projection headrace_counts", () => {
  test("counts rows by payload and day, not what a token dropped, before and after a merge", async () => {
    const traces = await newTraces();
    for (let i = 0; i < 2; i++) {
      await traces.store("x", 1, ["2026-11-20", "2026-11-21"]);
    }
    await traces.store("y", 2, ["2026-11-20"], 5);
    const counted = [
      `${hex(1)}\t${day("2026-11-20")}\t2`,
      `${hex(1)}\t${day("2026-11-21")}\t2`,
      `${hex(2)}\t${day("2026-11-20")}\t5`,
    ].join("\n");
    expect(await traces.count(1, 2, 3)).toBe(counted);
    await ask(`OPTIMIZE TABLE ${traces.table} FINAL`);
    expect(await traces.count(1, 2, 3)).toBe(counted);
  });

  test("is what the consumer's counting query is answered from", async () => {
    const traces = await newTraces();
    await traces.store("x", 1, ["2026-11-20"]);
    const [database = ""] = traces.table.split(".");
    const settings = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
    const query = countRowsQuery(settings, [id(1)]);
    expect(await ask(`${query} SETTINGS force_optimize_projection = 1`)).toContain(hex(1));
    expect(await ask(`EXPLAIN ${query}`)).toContain("headrace_counts");
    // With what the server says of itself, too.
    const counted = countedRowsQuery(settings, [id(1)], null);
    expect(await ask(`EXPLAIN ${counted}`)).toContain("headrace_counts");
  });

  test("is read in the partitions of the days alone that a count names", async () => {
    const traces = await newTraces();
    await traces.store("x", 1, ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"]);
    const [database = ""] = traces.table.split(".");
    const settings = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
    const days = ["2026-11-20", "2026-11-22"].map(day);
    const query = countedRowsQuery(settings, [id(1)], null, days);
    expect(await ask(`SELECT day, rows FROM (${query}) WHERE payload != '' ORDER BY day FORMAT TSV`)).toBe(
      days.map((one) => `${one}\t2`).join("\n"),
    );
    const plan = (named: readonly number[] | null) =>
      ask(`EXPLAIN indexes = 1 ${countedRowsQuery(settings, [id(1)], null, named)}`);
    expect(await plan(null)).toMatch(/headrace_counts[\s\S]*Parts: 4/);
    expect(await plan(days)).toMatch(/headrace_counts[\s\S]*Parts: 2/);
  });

  test("refuses a lightweight DELETE with code 344 unless the table is set to rebuild it", async () => {
    const table = await newTable(100, ", PROJECTION counts (SELECT p, count() GROUP BY p)");
    await insert(table, [[1, 1]], "x");
    expect((await send(`DELETE FROM ${table} WHERE a = 1`)).code).toBe(344);
    await ask(`ALTER TABLE ${table} MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'`);
    expect((await send(`DELETE FROM ${table} WHERE a = 1`)).code).toBe(0);
    expect(await contents(table)).toBe("");
  });

  test("follows a lightweight DELETE; the deleted rows' token stays used up, and another one stores them", async () => {
    const traces = await newTraces();
    await traces.store("x", 1, ["2026-11-20"]);
    await ask(`DELETE FROM ${traces.table} WHERE HeadracePayload = unhex('${hex(1)}')`);
    expect(await traces.count(1)).toBe("");
    await traces.store("x", 1, ["2026-11-20"]);
    expect(await traces.count(1)).toBe("");
    await traces.store("y", 1, ["2026-11-20"]);
    expect(await traces.count(1)).toBe(`${hex(1)}\t${day("2026-11-20")}\t2`);
  });

  test("added to a table with rows, it keeps their parts from merging with new ones until it is materialized", async () => {
    const table = await newTable(100);
    await insert(table, [[1, 1]], "x");
    await ask(`ALTER TABLE ${table} ADD PROJECTION counts (SELECT p, count() GROUP BY p)`);
    await insert(table, [[1, 2]], "y");
    const parts = () => ask(`SELECT count() FROM system.parts WHERE table = '${table}' AND active`);
    await send(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await parts()).toBe("2");
    await ask(`ALTER TABLE ${table} MATERIALIZE PROJECTION counts SETTINGS mutations_sync = 2`);
    await ask(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await parts()).toBe("1");
  });
});

describe("max_block_number", () => {
  test("grows by one for each partition of each INSERT, of whomever, and for those that the token dropped", async () => {
    const traces = await newTraces();
    await traces.store("x", 1, ["2026-11-20"]);
    const first = await traces.blocks();
    await traces.store("x", 1, ["2026-11-20"]);
    await traces.store("y", 1, ["2026-11-20", "2026-11-21", "2026-11-22"]);
    await ask(
      `INSERT INTO ${traces.table} (Timestamp, TraceId, SpanId) VALUES ('2026-11-20 12:00:00', 't', 's')`,
    );
    expect((await traces.blocks()) - first).toBe(5);
  });

  test("does not shrink when parts are merged", async () => {
    const traces = await newTraces();
    for (const token of ["a", "b", "c"]) {
      await traces.store(token, 1, ["2026-11-20"]);
    }
    const before = await traces.blocks();
    await ask(`OPTIMIZE TABLE ${traces.table} FINAL`);
    expect(await traces.blocks()).toBe(before);
  });
});

describe("a row older than the table's TTL", () => {
  test.each([
    ["Timestamp + INTERVAL 90 SECOND", 0, 90_000],
    ["toDateTime(Timestamp) + INTERVAL 36 HOUR", 0, 36 * 3_600_000],
    ["toDateTime(Timestamp) + toIntervalDay(7) DELETE", 0, 7 * 86_400_000],
    ["toDate(Timestamp) + INTERVAL '2' WEEK", 0, 14 * 86_400_000],
    ["toDate(Timestamp) + INTERVAL 1 QUARTER", 3, 0],
    ["Timestamp + INTERVAL 1 YEAR + INTERVAL 1 DAY", 12, 86_400_000],
    ["addMonths(Timestamp, 5)", 5, 0],
  ])("TTL %s is read from what ClickHouse prints of it", async (ttl, months, ms) => {
    const table = newName();
    await ask(
      `CREATE TABLE ${table} (Timestamp DateTime64(9), S String) ENGINE = MergeTree ORDER BY S TTL ${ttl}`,
    );
    const engineFull = await ask(
      `SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '${table}' FORMAT TSVRaw`,
    );
    expect(readTtl(engineFull)).toEqual({ kind: "keeps", months, ms });
  });

  test("counts as written", async () => {
    const table = newName();
    await ask(
      `CREATE TABLE ${table} (p UInt16, a UInt32, d DateTime DEFAULT toDateTime(a)) ENGINE = MergeTree ORDER BY a TTL d + toIntervalDay(3)`,
    );
    const { headers } = await insert(`${table} (p, a)`, [[1, 1000]], "x");
    expect(writtenRows(headers.get("x-clickhouse-summary"))).toBe(1);
  });

  test("is answered 200 and gone; its token is used up, and what the view made of it stays", async () => {
    const [table, seen] = [newName(), await newTable(100)];
    await ask(
      `CREATE TABLE ${table} (p UInt16, a UInt32, d DateTime DEFAULT toDateTime(a)) ENGINE = MergeTree PARTITION BY p ORDER BY a
        TTL d + toIntervalDay(3) SETTINGS non_replicated_deduplication_window = 100, ttl_only_drop_parts = 1, merge_with_ttl_timeout = 0`,
    );
    await ask(`CREATE MATERIALIZED VIEW ${newName()} TO ${seen} AS SELECT p, a FROM ${table}`);
    const store = (token: string) => insert(`${table} (p, a)`, [[1, 1000]], token);
    expect(await store("x")).toMatchObject({ status: 200 });
    await expect.poll(() => contents(table), { timeout: 20_000, interval: 50 }).toBe("");
    expect(await contents(seen)).toBe("1.1000");
    await ask(`ALTER TABLE ${table} REMOVE TTL`);
    expect(await store("x")).toMatchObject({ status: 200 });
    expect(await contents(table)).toBe("");
    await store("y");
    expect(await contents(table)).toBe("1.1000");
  });
});
