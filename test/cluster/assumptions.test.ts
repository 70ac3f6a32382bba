/**
 * What the delivery protocol takes for granted of ClickHouse, on ReplicatedMergeTree: the experiments of test/engine/deduplication,
 * deduplicated-views, unproven-answers and table-evidence that replication could change, each also with its retry at the other
 * replica. What differs from one server is said so in the test's name. The table of all is in docs/clickhouse.md.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { eraseRowsStatement } from "../../shared/clickhouse/statements.ts";
import { readTable } from "../../workers/consumer/read-table.ts";
import { ask, insert, type Row, send } from "../engine/token-inserts.ts";
import {
  type Cluster,
  connect,
  countBehindBarrier,
  eventually,
  identityOf,
  insertPayload,
  newDatabase,
  newPayload,
  newSchema,
  newToken,
  rowsAt,
  spans,
  useCluster,
} from "./cluster.ts";

const cluster = useCluster();
let database = "";
let tables = 0;

beforeAll(async () => {
  database = await newSchema(cluster());
});

/** A small replicated table at both replicas. */
async function newTable({ r1, r2 }: Cluster, settings = ""): Promise<string> {
  const name = `${database}.t${++tables}`;
  for (const url of [r1, r2]) {
    await ask(
      `CREATE TABLE ${name} (p UInt32, a UInt32) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/${name}', '{replica}')
        PARTITION BY p ORDER BY a ${settings === "" ? "" : `SETTINGS ${settings}`}`,
      {},
      url,
    );
  }
  return name;
}

/** Everything in the table as both replicas come to show it: "p.a p.a". */
async function contents(table: string): Promise<string> {
  const { r1, r2 } = cluster();
  const all = `SELECT arrayStringConcat(arraySort(groupArray(concat(toString(p), '.', toString(a)))), ' ') FROM ${table}`;
  for (const url of [r1, r2]) {
    await ask(`SYSTEM SYNC REPLICA ${table}`, {}, url);
  }
  const found = await ask(all, {}, r1);
  expect(await ask(all, {}, r2)).toBe(found);
  return found;
}

async function stored(table: string, url: string, rows: readonly Row[], token: string): Promise<void> {
  expect(await insert(table, rows, token, {}, url)).toMatchObject({ status: 200, code: 0 });
}

describe("a token", () => {
  test("stores once, however often and at whichever replica, and keeps the first content", async () => {
    const { r1, r2 } = cluster();
    const table = await newTable(cluster());
    await stored(table, r1, [[1, 1]], "x");
    await stored(table, r1, [[1, 1]], "x");
    await stored(table, r2, [[1, 1]], "x");
    await stored(table, r2, [[1, 2]], "x");
    expect(await contents(table)).toBe("1.1");
    await stored(table, r2, [[1, 1]], "y");
    expect(await contents(table)).toBe("1.1 1.1");
  });

  test("is known per partition", async () => {
    const { r1, r2 } = cluster();
    const table = await newTable(cluster());
    await stored(table, r1, [[1, 1]], "x");
    await stored(
      table,
      r2,
      [
        [1, 1],
        [2, 1],
      ],
      "x",
    );
    expect(await contents(table)).toBe("1.1 2.1");
  });

  test("stays used up after a merge and a DELETE, and is free where its partition was dropped", async () => {
    const { r1, r2 } = cluster();
    const table = await newTable(cluster());
    await stored(table, r1, [[1, 1]], "x");
    await stored(table, r1, [[1, 2]], "y");
    await ask(`OPTIMIZE TABLE ${table} FINAL`, {}, r1);
    await ask(`DELETE FROM ${table} WHERE a = 2`, {}, r1);
    await stored(table, r2, [[1, 1]], "x");
    await stored(table, r2, [[1, 2]], "y");
    expect(await contents(table)).toBe("1.1");
    await ask(`ALTER TABLE ${table} DROP PARTITION 1`, {}, r1);
    await stored(table, r2, [[1, 1]], "x");
    expect(await contents(table)).toBe("1.1");
  });

  test("sent at once to both replicas is one copy, twenty times", async () => {
    const { r1, r2 } = cluster();
    const table = await newTable(cluster());
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(
        [r1, r2, r1, r2].map((url) => insert(table, [[1, round]], `t${round}`, {}, url)),
      );
      expect(answers.some(({ status }) => status === 200)).toBe(true);
      await stored(table, r1, [[1, round]], `t${round}`);
    }
    expect(await contents(table)).toBe(
      Array.from({ length: 20 }, (_, a) => `1.${a}`)
        .toSorted()
        .join(" "),
    );
  });

  test("is remembered at least as long as the window says, unlike one server's, which remembers exactly that", async () => {
    const { r1 } = cluster();
    const table = await newTable(cluster(), "replicated_deduplication_window = 5");
    for (let a = 0; a < 5; a++) {
      await stored(table, r1, [[1, a]], `t${a}`);
    }
    await stored(table, r1, [[1, 0]], "t0");
    expect(await contents(table)).toBe("1.0 1.1 1.2 1.3 1.4");
  });
});

describe("the traces", () => {
  test("and their view have one copy of a payload, retried at the other replica", async () => {
    const { r1, r2 } = cluster();
    const payload = newPayload();
    const token = newToken();
    for (const url of [r1, r2, r1]) {
      expect(await insertPayload(url, database, payload, token)).toMatchObject({ status: 200 });
    }
    for (const url of [r1, r2]) {
      await eventually(() => rowsAt(url, database, payload), spans);
      await ask(`SYSTEM SYNC REPLICA ${database}.otel_traces_trace_id_ts`, {}, url);
    }
    const count = `SELECT count() FROM ${database}.otel_traces_trace_id_ts`;
    expect(await ask(count, {}, r2)).toBe(await ask(count, {}, r1));
  });

  test("have the projection of the counts in parts that were fetched, merged, and after a DELETE", async () => {
    const { r1, r2 } = cluster();
    const own = await newSchema(cluster());
    const [kept, erased] = [newPayload(), newPayload()];
    await insertPayload(r1, own, kept, newToken());
    await insertPayload(r2, own, erased, newToken());
    const parts = `SELECT count() = sum(has(projections, 'headrace_counts')) FROM system.parts WHERE database = '${own}' AND table = 'otel_traces' AND active`;
    await ask(`SYSTEM SYNC REPLICA ${own}.otel_traces`, {}, r2);
    expect(await ask(parts, {}, r2)).toBe("1");
    await ask(`OPTIMIZE TABLE ${own}.otel_traces FINAL`, {}, r2);
    await ask(eraseRowsStatement(connect(r1, own).settings, [erased.id]), {}, r1);
    for (const url of [r1, r2]) {
      await eventually(() => rowsAt(url, own, erased), 0);
      expect(await rowsAt(url, own, kept)).toBe(spans);
      expect(await ask(parts, {}, url)).toBe("1");
    }
  });

  test("are not in the table after an INSERT whose view fails, or they are whole: both must be looked at", async () => {
    const { r1 } = cluster();
    const own = await newSchema(cluster());
    await ask(`DROP VIEW ${own}.otel_traces_trace_id_ts_mv`, {}, r1);
    await ask(
      `CREATE MATERIALIZED VIEW ${own}.otel_traces_trace_id_ts_mv TO ${own}.otel_traces_trace_id_ts AS
        SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM ${own}.otel_traces WHERE throwIf(1) = 0 GROUP BY TraceId`,
      {},
      r1,
    );
    const payload = newPayload();
    expect(await insertPayload(r1, own, payload, newToken())).toMatchObject({ code: 395 });
    expect([0, spans]).toContain(await rowsAt(r1, own, payload));
  });

  test("take an INSERT for their own path only", async () => {
    const { r2 } = cluster();
    const payload = newPayload();
    const identity = `replicated /clickhouse/tables/01/${newDatabase()}/otel_traces`;
    for (const byColumn of [false, true]) {
      const answer = await insertPayload(r2, database, payload, newToken(), { identity, byColumn });
      expect(answer).toMatchObject({ code: 395 });
    }
    expect(await rowsAt(r2, database, payload)).toBe(0);
  });

  test("have one fence, their path's, and take a retry at the other replica for the same block", async () => {
    const { r1, r2 } = cluster();
    const payload = newPayload();
    const identity = identityOf(database);
    for (const url of [r1, r2]) {
      const { measure } = await readTable(connect(url, database), Date.now(), identity);
      expect(measure).toMatchObject({ identity, isFenced: true });
    }
    const token = newToken();
    expect(await insertPayload(r1, database, payload, token, { identity, byColumn: true })).toMatchObject({
      status: 200,
    });
    expect(await insertPayload(r2, database, payload, token, { identity })).toMatchObject({ status: 200 });
    await eventually(async () => (await countBehindBarrier([r1, r2], database, payload)).rows, spans);
  });

  test("number their blocks within a partition, unlike one server's table: other days do not move the highest", async () => {
    const { r1 } = cluster();
    const table = await newTable(cluster());
    for (let p = 0; p < 8; p++) {
      await stored(table, r1, [[p, 1]], `t${p}`);
    }
    const [db, name] = table.split(".");
    const highest = `SELECT max(max_block_number) FROM system.parts WHERE database = '${db}' AND table = '${name}' AND active`;
    expect(await ask(highest, {}, r1)).toBe("0");
  });

  test("are asked of one server by system.processes, unless the cluster is named", async () => {
    const { r1, r2, name } = cluster();
    const queryId = `${newToken()}.1`;
    const running = send(
      "SELECT sleepEachRow(0.3) FROM numbers(10) FORMAT Null",
      { query_id: queryId, max_block_size: 1 },
      undefined,
      r2,
    );
    const seen = (from: string) => ask(`SELECT count() FROM ${from} WHERE query_id = '${queryId}'`, {}, r1);
    await eventually(() => seen(`clusterAllReplicas('${name}', system.processes)`), "1");
    expect(await seen("system.processes")).toBe("0");
    await running;
  });
});
