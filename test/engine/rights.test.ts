/**
 * The grants of docs/operating.md, on a server whose users have exactly these: the schema is applied, the consumer's
 * statements run, and the console reads. Each of the consumer's grants is needed: without it something is refused.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import type { ServerUser } from "../../dev/clickhouse/more-users.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import {
  insertRows,
  isAccessDenied,
  queryRows,
  runStatement,
  StatementFailed,
} from "../../shared/clickhouse/ask.ts";
import {
  type Access,
  type ClickHouseConnection,
  connectClickHouse,
} from "../../shared/clickhouse/connection.ts";
import { deadLetterColumns, deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { rowsDeletion, traceTimesDeletion } from "../../shared/clickhouse/deletion.ts";
import { verdict } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings } from "../../shared/clickhouse/migrations.ts";
import { recentQuery, watermarkColumns, watermarkRow } from "../../shared/clickhouse/minutes.ts";
import { insertReceipts } from "../../shared/clickhouse/receipts.ts";
import { limitsClause, searchLimits } from "../../shared/clickhouse/search-limits.ts";
import {
  completeViewStatement,
  insertSpansParameters,
  killStatement,
} from "../../shared/clickhouse/statements.ts";
import { parseFilter } from "../../shared/console/trace-filter.ts";
import { neededRights } from "../../shared/doctor/judge-clickhouse.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { type GroupId, isGroupId, type Receipt } from "../../shared/receipt.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { countTraces } from "../../workers/console/count-traces.ts";
import { listDeadLetters } from "../../workers/console/dead-letters.ts";
import { listFindings } from "../../workers/console/findings.ts";
import { listTraces } from "../../workers/console/list-traces.ts";
import { readOutcomes } from "../../workers/console/read-outcomes.ts";
import { readTrace } from "../../workers/console/read-trace.ts";
import { nothingRemembered, startSearch } from "../../workers/console/trace-search.ts";
import { deleteRows } from "../../workers/consumer/delete-rows.ts";
import { hasAnyRow } from "../../workers/consumer/read-birth.ts";
import { readReceiptClaims } from "../../workers/consumer/read-receipts.ts";
import { countRows, readProcesses, readTable } from "../../workers/consumer/read-table.ts";
import { documentedGrants, documentedSettings, singleRights } from "../fixtures/documented-grants.ts";

function profileXmlOf(user: string): string {
  return documentedSettings(user)
    .map(([name, value]) => `<${name}>${value}</${name}>`)
    .join("");
}

const database = "otel";
const password = "s3cret: with a cölon";
const consumersRights = singleRights(documentedGrants("headrace", "one server"));
const lacking = consumersRights.map((right, index) => ({ name: `lacks_${index}`, right }));
const users: readonly ServerUser[] = [
  { name: "consumer", password, grants: consumersRights },
  { name: "consumer_of_before", password, grants: consumersRights },
  {
    name: "console",
    password,
    grants: documentedGrants("headrace_console", "one server"),
    profileXml: profileXmlOf("headrace_console"),
  },
  {
    name: "console_of_before",
    password,
    grants: documentedGrants("headrace_console", "one server"),
    profileXml: "<readonly>1</readonly>",
  },
  { name: "schema", password, grants: documentedGrants("headrace_schema", "one server") },
  ...lacking.map(({ name, right }) => ({
    name,
    password,
    grants: consumersRights.filter((one) => one !== right),
  })),
];
const directory = mkdtempSync(join(tmpdir(), "headrace-rights-"));
let server: ClickHouse;

beforeAll(async () => {
  server = await startClickHouse({ directory, moreUsers: users });
  const asAdministrator = statementRunner({ url: server.url });
  await asAdministrator(`CREATE DATABASE ${database}`);
  const login = { url: splitLogin(server.url).url, user: "schema", password };
  await migrateClickHouse(login, { ...defaultSchemaSettings, database, tracesTtlDays: 90 });
}, 60_000);

afterAll(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

function connectionOf(user: string, access: Access = "full"): ClickHouseConnection {
  const variables = {
    CLICKHOUSE_URL: splitLogin(server.url).url,
    CLICKHOUSE_USER: user,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
    CLICKHOUSE_TRACES_TABLE: "otel_traces",
  };
  return connectClickHouse(variables, undefined, fetch, access);
}

const now = Date.now();
const overdueMs = 90_000;

function newGroup(): GroupId {
  const group = crypto.randomUUID().replaceAll("-", "");
  if (!isGroupId(group)) {
    throw new Error("32 hexadecimal digits are a group's id");
  }
  return group;
}

/** What the consumer asks of ClickHouse in a payload's life, from its table check to its erasure. */
async function consumersWork(clickHouse: ClickHouseConnection): Promise<void> {
  const { settings } = clickHouse;
  const group = newGroup();
  const idBytes = crypto.getRandomValues(new Uint8Array(16));
  const id = formatPayloadId(idBytes);
  const { refusal, witness } = await readTable(clickHouse, now, null);
  expect(refusal).toBe("");
  await hasAnyRow(clickHouse);

  const [payload] = makeCorpus(1, 1, 50);
  const builder = new BlockBuilder();
  builder.add({
    id: idBytes,
    tenant: "acme",
    body: payload?.protobuf ?? new Uint8Array(),
    bounds: corpusBounds,
    spans: 50,
  });
  const table = witness?.table ?? null;
  const body = new Uint8Array(Buffer.concat([...builder.finish().chunks]));
  // A group's first INSERT, and a retry.
  for (const [attempt, byColumn] of [true, false].entries()) {
    const parameters = insertSpansParameters(
      settings,
      group,
      attempt + 1,
      60_000,
      now + 600_000,
      table,
      byColumn,
    );
    const answer = await clickHouse.send({ parameters, body, patienceMs: 30_000 });
    const judged = verdict({
      httpStatus: answer.status,
      exceptionCode: answer.headers.get("x-clickhouse-exception-code"),
      text: answer.text,
      clickHouseHeaders: answer.isClickHouses,
    });
    if (judged.class !== "stored") {
      throw new StatementFailed(judged.reason, judged.code ?? null);
    }
  }

  const receipt: Receipt = {
    key: formatPayloadKey(now, "acme", id),
    outcome: "stored",
    group,
    spans: 50,
    rowsByDay: [],
    rejectedSpans: 0,
    bytes: 1,
    reason: "",
  };
  await insertReceipts(clickHouse, [receipt], now);
  await insertRows(clickHouse, "headrace_dead_letters", deadLetterColumns, [
    deadLetterRow(receipt, null, now),
  ]);
  await insertRows(clickHouse, "headrace_watermarks", watermarkColumns, [
    watermarkRow({ watermark: Math.floor(now / 60_000) * 60_000, openMinutes: 0 }, now),
  ]);
  await queryRows(clickHouse, v.unknown(), recentQuery(settings, now));
  expect(await readReceiptClaims(clickHouse, [id])).toHaveLength(1);

  const counted = await countRows(clickHouse, [id], table);
  expect(counted.rows.get(id)?.reduce((sum, { rows }) => sum + rows, 0)).toBe(50);
  await readProcesses(clickHouse, group, overdueMs, table);
  await runStatement(clickHouse, killStatement(group, overdueMs));
  await runStatement(clickHouse, completeViewStatement(settings, [id]));
  const erased = { ids: [id], days: counted.rows.get(id)?.map(({ day }) => day) ?? [], mark: group };
  await deleteRows(clickHouse, traceTimesDeletion(settings, erased));
  await deleteRows(clickHouse, rowsDeletion(settings, erased));
  expect((await countRows(clickHouse, [id], table)).rows.get(id)).toBeUndefined();
}

describe("the consumer's login", () => {
  test("does all that the consumer asks for, and doctor misses nothing", async () => {
    const clickHouse = connectionOf("consumer");
    await consumersWork(clickHouse);
    for (const right of neededRights(clickHouse.settings)) {
      expect(await runStatement(clickHouse, `CHECK GRANT ${right}`), right).toBe("1\n");
    }
  });

  test.each(lacking)("needs $right", async ({ name }) => {
    await expect(consumersWork(connectionOf(name))).rejects.toSatisfy(
      (error) => isAccessDenied(error) || /There is no table|may not look/.test(String(error)),
    );
  });

  test.each([
    "DROP TABLE otel_traces",
    "TRUNCATE TABLE otel_traces",
    "ALTER TABLE otel_traces ADD COLUMN a UInt8",
    "CREATE TABLE another (a UInt8) ENGINE = MergeTree ORDER BY a",
    "DELETE FROM headrace_receipts WHERE key = ''",
    "CREATE USER another",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
  ])("may not %s", async (statement) => {
    await expect(runStatement(connectionOf("consumer"), statement)).rejects.toSatisfy(isAccessDenied);
  });

  test("ends its own INSERT without KILL QUERY, and no one else's", async () => {
    const sleeps = (user: string, group: GroupId) =>
      runStatement(
        connectionOf(user),
        "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null",
        `${group}.1`,
      ).then(
        () => null,
        (error: unknown) => error,
      );
    const [own, others] = [newGroup(), newGroup()];
    const running = [sleeps("consumer", own), sleeps("consumer_of_before", others)];
    const consumer = connectionOf("consumer");
    for (const group of [own, others]) {
      await expect
        .poll(async () => (await readProcesses(consumer, group, overdueMs, null)).running, {
          timeout: 20_000,
        })
        .toBe(true);
    }
    await runStatement(consumer, killStatement(own, overdueMs));
    expect(await running[0]).toMatchObject({ code: 394 });
    await expect(runStatement(consumer, killStatement(others, overdueMs))).rejects.toSatisfy(isAccessDenied);
    expect((await readProcesses(consumer, others, overdueMs, null)).running).toBe(true);
    await runStatement(connectionOf("consumer_of_before"), killStatement(others, overdueMs));
    expect(await running[1]).toMatchObject({ code: 394 });
  });
});

describe("the console's login", () => {
  test("reads everything that the console shows, although it may set nothing", async () => {
    const clickHouse = connectionOf("console", "read_only");
    await expect(listDeadLetters({} as R2Bucket, clickHouse, { whereAre: async () => [] })).resolves.toEqual(
      expect.any(Array),
    );
    await expect(listFindings(clickHouse, { openFindings: async () => [] })).resolves.toEqual(
      expect.any(Array),
    );
    await expect(readTrace(clickHouse, { traceId: "0".repeat(32), tenant: null })).resolves.toMatchObject({
      payloads: [],
    });
    const filter = parseFilter(new URLSearchParams("since=1h&where=a=b"), now);
    const search = await startSearch(clickHouse, nothingRemembered(), Date.now);
    if (typeof search === "string" || !filter.ok) {
      throw new Error("the login has the page's limits");
    }
    const options = { sort: "time" as const, limit: 50, after: null };
    await expect(listTraces(search, { filter: filter.value, options, askedMs: now })).resolves.toMatchObject({
      notes: [],
    });
    await expect(countTraces(search, filter.value)).resolves.toMatchObject({ notes: [] });
    await expect(
      readOutcomes(clickHouse, { sinceMs: now, tenant: "a\\b\tc'", byMinute: true }),
    ).resolves.toMatchObject({ outcomes: [] });
    await expect(
      queryRows(clickHouse, v.array(v.unknown()), "SELECT * FROM headrace_usage"),
    ).resolves.toEqual(expect.any(Array));
  });

  test("of which a setting is asked is refused: so the console sends none", async () => {
    await expect(queryRows(connectionOf("console"), v.unknown(), "SELECT 1")).rejects.toMatchObject({
      code: 164,
    });
  });

  test.each([
    "INSERT INTO headrace_receipts (key) VALUES ('a')",
    "DELETE FROM otel_traces WHERE 1",
    "DROP TABLE otel_traces",
    "SET max_threads = 1",
  ])("may not %s", async (statement) => {
    await expect(
      statementRunner({ url: splitLogin(server.url).url, user: "console", password })(
        statement.replace(/(otel_traces|headrace_receipts)/, `${database}.$1`),
      ),
    ).rejects.toThrow(/ACCESS_DENIED|READONLY/);
  });
});

describe("a search of the console's login", () => {
  const ask = (sql: string, user = "console") =>
    queryRows(connectionOf(user, "read_only"), v.array(v.unknown()), sql).catch((error: unknown) => error);

  test("has the limits that the page sets, which are those of the code", () => {
    const limits = Object.entries({ readonly: 1, ...searchLimits }).map(([name, value]) => [
      name,
      String(value),
    ]);
    expect(documentedSettings("headrace_console")).toEqual(limits);
    expect(limitsClause()).toBe(limits.map(([name, value]) => `${name} = ${value}`).join(", "));
  });

  test.each([
    "max_execution_time = 0",
    "max_memory_usage = 0",
    "max_rows_to_read = 0",
    "readonly = 0",
    "max_threads = 64",
  ])("cannot raise %s", async (setting) => {
    expect(await ask(`SELECT 1 SETTINGS ${setting}`)).toMatchObject({ code: 164 });
  });

  test.each([
    ["that reads 2 x 10^9 rows", "SELECT count() FROM numbers(2000000000) WHERE number % 7 = 8", [158]],
    [
      "that groups more than fits into its memory",
      "SELECT max(length(concat(toString(number), repeat('x', 1000000)))) FROM numbers(100000)",
      [241],
    ],
    [
      "that answers 100 MB",
      "SELECT concat(toString(number), repeat('x', 1000000)) AS x FROM numbers(100)",
      [396],
    ],
    [
      "of 10^4 terms over 10^8 rows",
      `SELECT count() FROM numbers(100000000) WHERE ${Array.from({ length: 10_000 }, (_, n) => `number % ${n + 2} = 1`).join(" OR ")}`,
      [159, 158, 62, 168, 167],
    ],
    [
      "of a regular expression that would go back and forth over 1 MB of text",
      "SELECT count() FROM numbers(20000) WHERE match(concat(toString(number), repeat('a', 1000000)), '(a+)+$|(a|aa)+b|(.*a){20}')",
      [159, 241, 427],
    ],
  ])(
    "ends %s",
    async (_, sql, codes) => {
      const began = Date.now();
      const answer = await ask(sql);
      expect(codes).toContain((answer as StatementFailed).code);
      expect(Date.now() - began).toBeLessThan(40_000);
    },
    60_000,
  );

  test("is refused, with the statement that fixes it, where the login has none", async () => {
    const search = await startSearch(
      connectionOf("console_of_before", "read_only"),
      nothingRemembered(),
      Date.now,
    );
    expect(search).toMatch(
      /^The console's login console_of_before has no limit .*: ALTER USER console_of_before SETTINGS readonly = 1, max_execution_time = 30,/,
    );
  });

  test("of a login that may set settings is sent them, and cannot pass them", async () => {
    const clickHouse = connectionOf("consumer", "read_only");
    const search = await startSearch(clickHouse, nothingRemembered(), Date.now);
    if (typeof search === "string") {
      throw new Error(search);
    }
    const rows = v.array(v.object({ rows: v.number(), readonly: v.number() }));
    const query =
      "SELECT toFloat64(getSetting('max_rows_to_read')) AS rows, toUInt8(getSetting('readonly')) AS readonly";
    expect(await search.ask({ query, parameters: {} }, rows)).toEqual([
      { rows: searchLimits.max_rows_to_read, readonly: 1 },
    ]);
  });
});

test("the schema's login applies it to tables that the exporter made, and deletes no rows", async () => {
  const login = { url: splitLogin(server.url).url, user: "schema", password };
  await expect(statementRunner(login)(`DELETE FROM ${database}.otel_traces WHERE 1`)).rejects.toThrow(
    /ACCESS_DENIED/,
  );
  expect(await migrateClickHouse(login, { ...defaultSchemaSettings, database, tracesTtlDays: 90 })).toEqual(
    [],
  );
});
