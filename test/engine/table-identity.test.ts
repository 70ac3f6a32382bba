/**
 * Which table answers, and what its server says of itself, by the consumer's own statements and readers on a real server with
 * the real schema; and that an INSERT for another table stores nothing. What they say on replicas:
 * test/cluster/evidence.test.ts.
 */
import { beforeAll, describe, expect, inject, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { pendingMigrations } from "../../cli/deploy/read-present.ts";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { verdict } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import { isElsewhereSql } from "../../shared/clickhouse/table-identity.ts";
import { formatPayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { countRows, readProcesses, readTable, readWitness } from "../../workers/consumer/read-table.ts";
import { type Answered, ask, newName, send } from "./token-inserts.ts";

const spans = 50;
const idBytes = new Uint8Array(16).fill(7);
const id = formatPayloadId(idBytes);
const token = () => crypto.randomUUID().replaceAll("-", "");

interface Traces {
  readonly database: string;
  readonly connection: ClickHouseConnection;
  /** One INSERT of the payload, for the table of this identity. `byColumn`: as a group's first one. */
  store(token: string, identity: string | null, byColumn?: boolean): Promise<Answered>;
}

async function newTraces(): Promise<Traces> {
  const database = newName();
  await migrate(
    readSchemaFiles(),
    { ...defaultSchemaSettings, database },
    statementRunner({ url: inject("clickhouse") }),
  );
  const { url, user, password } = splitLogin(inject("clickhouse"));
  const connection = connectClickHouse(
    {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: user,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
    },
    undefined,
    fetch,
  );
  let attempts = 0;
  return {
    database,
    connection,
    async store(own, identity, byColumn = false) {
      const deadline = Date.now() + 60_000;
      const { query = "", ...parameters } = insertSpansParameters(
        connection.settings,
        own,
        ++attempts,
        60_000,
        deadline,
        identity,
        byColumn,
      );
      return await send(query, parameters, block());
    },
  };
}

function block(): Uint8Array<ArrayBuffer> {
  const [payload] = makeCorpus(1, 1, spans);
  if (payload === undefined) {
    throw new Error("the corpus has a payload");
  }
  const builder = new BlockBuilder();
  builder.add({ id: idBytes, tenant: "acme", body: payload.protobuf, bounds: corpusBounds, spans });
  return new Uint8Array(Buffer.concat([...builder.finish().chunks]));
}

const judged = ({ status, code, text, headers }: Answered) =>
  verdict({
    httpStatus: status,
    exceptionCode: code === 0 ? null : String(code),
    text,
    clickHouseHeaders: headers.has("x-clickhouse-query-id"),
  });

async function rowsOf({ connection }: Traces, table: string | null): Promise<number> {
  const { rows } = await countRows(connection, [id], table);
  return (rows.get(id) ?? []).reduce((sum, day) => sum + day.rows, 0);
}

async function identityOf({ connection }: Traces): Promise<string> {
  const { witness } = await readTable(connection, Date.now(), null);
  if (witness?.table == null) {
    throw new Error("the server says which table it has");
  }
  return witness.table;
}

let traces: Traces;
beforeAll(async () => {
  traces = await newTraces();
});

describe("the identity of a plain table", () => {
  test("is the server's and the table's, and said alike by every statement", async () => {
    const { connection, database } = traces;
    const uuid = await ask(
      `SELECT uuid FROM system.tables WHERE database = '${database}' AND name = 'otel_traces'`,
    );
    const identity = `plain ${await ask("SELECT serverUUID()")} ${uuid}`;
    const witness = { table: identity, behind: "", replicas: 1 };
    expect(await readTable(connection, Date.now(), null)).toMatchObject({
      refusal: "",
      measure: { identity },
      witness,
    });
    expect(await readWitness(connection, identity)).toMatchObject(witness);
    expect((await countRows(connection, [id], identity)).witness).toMatchObject(witness);
    expect((await countRows(connection, [], identity)).witness).toMatchObject(witness);
    expect(await readProcesses(connection, token() as GroupId, 90_000, identity)).toMatchObject({
      running: false,
      servers: 1,
      witness,
    });
  });

  test("stays when the table is altered, optimized or truncated, and changes when it is created anew", async () => {
    const own = await newTraces();
    const { database } = own;
    const before = await identityOf(own);
    await ask(
      `ALTER TABLE ${database}.otel_traces MODIFY SETTING non_replicated_deduplication_window = 200000`,
    );
    await ask(`ALTER TABLE ${database}.otel_traces ADD COLUMN more String`);
    await ask(`OPTIMIZE TABLE ${database}.otel_traces FINAL`);
    await ask(`TRUNCATE TABLE ${database}.otel_traces`);
    expect(await identityOf(own)).toBe(before);
    await ask(`CREATE TABLE ${database}.fresh AS ${database}.otel_traces`);
    await ask(`EXCHANGE TABLES ${database}.fresh AND ${database}.otel_traces`);
    expect(await identityOf(own)).not.toBe(before);
  });
});

describe("an INSERT", () => {
  test("for another table stores nothing, says so by an error of ours, and leaves its token free", async () => {
    const identity = await identityOf(traces);
    const [, server = "", uuid = ""] = identity.split(" ");
    const others = [
      `plain ${server} ${crypto.randomUUID()}`,
      `plain ${crypto.randomUUID()} ${uuid}`,
      `shared ${crypto.randomUUID()}`,
      "replicated /clickhouse/tables/01/otel_traces",
    ];
    const own = token();
    for (const other of others) {
      for (const byColumn of [false, true]) {
        const answer = await traces.store(own, other, byColumn);
        expect(answer, other).toMatchObject({ status: 500, code: 395 });
        expect(judged(answer), other).toMatchObject({ class: "halted", elsewhere: true });
      }
    }
    expect(await rowsOf(traces, identity)).toBe(0);
    expect(judged(await traces.store(own, identity))).toEqual({ class: "stored", reason: "" });
    expect(await rowsOf(traces, identity)).toBe(spans);
  });

  test("for this table is one copy with its retries, with and without its identity", async () => {
    const own = await newTraces();
    const identity = await identityOf(own);
    const one = token();
    for (const table of [identity, identity, null, identity]) {
      expect(judged(await own.store(one, table))).toEqual({ class: "stored", reason: "" });
    }
    expect(await rowsOf(own, identity)).toBe(spans);
    expect(await ask(`SELECT count() FROM ${own.database}.otel_traces_trace_id_ts`)).not.toBe("0");
  });
});

describe("the fence that a table holds", () => {
  const isFenced = async ({ connection }: Traces) =>
    (await readTable(connection, Date.now(), null)).measure?.isFenced;

  test("is known to be this table's, and not to be a copy's until the schema is applied again", async () => {
    const own = await newTraces();
    const { database } = own;
    expect(await isFenced(own)).toBe(true);
    const old = await identityOf(own);
    await ask(`CREATE TABLE ${database}.fresh AS ${database}.otel_traces`);
    await ask(`EXCHANGE TABLES ${database}.fresh AND ${database}.otel_traces`);
    expect(await isFenced(own)).toBe(false);
    // The copy says that it is the old table: only the server itself tells a retry that it is not.
    const one = token();
    expect(judged(await own.store(one, old, false))).toMatchObject({ elsewhere: true });
    expect(judged(await own.store(one, old, true))).toEqual({ class: "stored", reason: "" });
    const settings = { ...defaultSchemaSettings, database };
    const run = statementRunner({ url: inject("clickhouse") });
    expect(await pendingMigrations(run, settings)).toEqual(["the fence of otel_traces"]);
    await migrate(readSchemaFiles(), settings, run);
    expect(await pendingMigrations(run, settings)).toEqual([]);
    expect(await isFenced(own)).toBe(true);
    expect(judged(await own.store(one, old, true))).toMatchObject({ elsewhere: true });
  });
});

test("in a database whose tables show no uuid the data path tells one table from the next", async () => {
  const { url, user, password } = splitLogin(inject("clickhouse"));
  const name = newName();
  const connection = connectClickHouse(
    {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: user,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: "default",
      CLICKHOUSE_TRACES_TABLE: name,
    },
    undefined,
    fetch,
  );
  const make = () => ask(`CREATE TABLE ${name} (a UInt8) ENGINE = MergeTree ORDER BY a`);
  await make();
  expect(await ask(`SELECT uuid FROM system.tables WHERE name = '${name}'`)).toMatch(/^[0-]+$/);
  const before = (await readWitness(connection, null))?.table ?? "";
  expect(before).toMatch(/^plain [0-9a-f-]{36} [0-9a-f]{3}\/[0-9a-f-]{36}\/$/);
  const isElsewhere = (table: string) => ask(`SELECT ${isElsewhereSql(connection.settings, table)}`);
  expect(await isElsewhere(before)).toBe("0");
  await ask(`DROP TABLE ${name} SYNC`);
  expect(await isElsewhere(before)).toBe("1");
  await make();
  expect(await isElsewhere(before)).toBe("1");
  expect((await readWitness(connection, null))?.table).not.toBe(before);
});

test("there is no such table: nobody says anything of it", async () => {
  const own = await newTraces();
  await ask(`DROP TABLE ${own.database}.otel_traces SYNC`);
  expect(await readTable(own.connection, Date.now(), null)).toMatchObject({ measure: null, witness: null });
  expect(await readWitness(own.connection, "plain 0 1")).toBeNull();
});
