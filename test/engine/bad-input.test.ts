/**
 * A ClickHouse that is not as it should be, on a real server: what the table check says of it, and what is made of its
 * answer to an INSERT. Each is one sentence with what fixes it, and nothing of it counts as stored.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { corpusBounds, makeCorpus } from "../../bench/corpus.ts";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { type Verdict, verdict } from "../../shared/clickhouse/errors.ts";
import { defaultSchemaSettings, type RunStatement } from "../../shared/clickhouse/migrations.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";
import { BlockBuilder } from "../../shared/rows/transcode.ts";
import { readTable } from "../../workers/consumer/read-table.ts";

/** A file system of its own, which can be full or read-only. Null: this user may mount none. */
function mountSmallDisk(): string | null {
  const folder = mkdtempSync(join(tmpdir(), "headrace-disk-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=96m", "tmpfs", folder]);
  if (mounted.status === 0) {
    return folder;
  }
  rmSync(folder, { recursive: true });
  return null;
}

const database = "otel";
const password = "x";
const grants = ["SELECT, INSERT ON *.*"];
const disk = mountSmallDisk();
const folder = disk ?? mkdtempSync(join(tmpdir(), "headrace-bad-input-"));
const directory = join(folder, "server");
let server: ClickHouse;
let run: RunStatement;

beforeAll(async () => {
  server = await startClickHouse({
    directory,
    moreUsers: [
      {
        name: "limited",
        password,
        grants,
        profileXml: "<constraints><max_execution_time><max>10</max></max_execution_time></constraints>",
      },
      {
        name: "used_up",
        password,
        grants,
        quotaXml: "<interval><duration>3600</duration><written_bytes>1</written_bytes></interval>",
      },
      {
        name: "without_parts",
        password,
        grants: [`SELECT, INSERT ON ${database}.*`, "SELECT ON system.processes"],
      },
      {
        name: "without_replicas",
        password,
        grants: [
          `SELECT, INSERT ON ${database}.*`,
          "SELECT ON system.processes",
          "SELECT ON system.parts",
          "SELECT ON system.replicated_merge_tree_settings",
        ],
      },
    ],
  });
  run = statementRunner({ url: server.url });
  await migrateClickHouse({ url: server.url }, { ...defaultSchemaSettings, database });
}, 60_000);

afterEach(() => {
  vi.useRealTimers();
});

afterAll(async () => {
  await server.stop();
  if (disk !== null) {
    spawnSync("umount", [disk]);
  }
  rmSync(folder, { recursive: true, force: true });
});

interface Place {
  readonly database: string;
  readonly table: string;
  readonly user: string;
}

function connect({ user, ...place }: Partial<Place> = {}): ClickHouseConnection {
  const own = splitLogin(server.url);
  const variables = {
    CLICKHOUSE_URL: own.url,
    CLICKHOUSE_USER: user ?? own.user,
    CLICKHOUSE_PASSWORD: user === undefined ? own.password : password,
    CLICKHOUSE_DATABASE: place.database ?? database,
    CLICKHOUSE_TRACES_TABLE: place.table ?? "otel_traces",
  };
  return connectClickHouse(variables, undefined, fetch);
}

const refusalOf = async (clickHouse: ClickHouseConnection, table: string | null = null) =>
  (await readTable(clickHouse, Date.now(), table)).refusal;

function block(): Uint8Array {
  const [payload] = makeCorpus(1, 1, 50);
  const builder = new BlockBuilder();
  const body = payload?.protobuf ?? new Uint8Array();
  builder.add({ id: new Uint8Array(16).fill(3), tenant: "acme", body, bounds: corpusBounds, spans: 50 });
  return new Uint8Array(Buffer.concat([...builder.finish().chunks]));
}

/** The consumer's INSERT of a group, and what is made of the answer. */
async function insert(
  clickHouse: ClickHouseConnection,
  { token = newToken(), deadline = Date.now() + 600_000, more = {} } = {},
): Promise<Verdict> {
  const parameters = insertSpansParameters(clickHouse.settings, token, 1, 60_000, deadline, null);
  const answer = await clickHouse.send({
    parameters: { ...parameters, ...more },
    body: block(),
    patienceMs: 60_000,
  });
  return verdict({
    httpStatus: answer.status,
    exceptionCode: answer.headers.get("x-clickhouse-exception-code"),
    text: answer.text,
    clickHouseHeaders: answer.isClickHouses,
  });
}

const newToken = () => crypto.randomUUID().replaceAll("-", "");
const rowCount = async () => Number(await run(`SELECT count() FROM ${database}.otel_traces`));

describe("the table check refuses, in one sentence", () => {
  test("a database that is not there, and a table", async () => {
    expect(await refusalOf(connect({ database: "elsewhere" }))).toMatch(
      /^There is no database elsewhere on this server, .*: check CLICKHOUSE_URL and CLICKHOUSE_DATABASE, and apply the schema\.$/,
    );
    expect(await insert(connect({ database: "elsewhere" }))).toMatchObject({ class: "halted", code: 81 });
    expect(await refusalOf(connect({ table: "spans" }))).toMatch(
      /^There is no table `otel`\.`spans`, .*apply the schema/,
    );
    expect(await insert(connect({ table: "spans" }))).toMatchObject({ class: "halted", code: 60 });
  });

  test("a view instead of the table", async () => {
    await run(`CREATE VIEW ${database}.a_view AS SELECT * FROM ${database}.otel_traces`);
    expect(await refusalOf(connect({ table: "a_view" }))).toBe(
      "`otel`.`a_view` has the engine View, which does not keep one copy of each row: use MergeTree, ReplicatedMergeTree or SharedMergeTree.",
    );
    expect(await insert(connect({ table: "a_view" }))).toMatchObject({ class: "halted", code: 48 });
  });

  test("a login without a right that the look needs, with the GRANT that fixes it", async () => {
    expect(await refusalOf(connect({ user: "without_parts" }))).toMatch(
      /^The user without_parts may not look .*\. Fix it with: GRANT SELECT.* ON system\.parts TO without_parts$/,
    );
    expect(await refusalOf(connect({ user: "without_replicas" }))).toBe("");
    // Known as replicated, its state is in system.replicas.
    expect(await refusalOf(connect({ user: "without_replicas" }), "replicated /t")).toMatch(
      /^The user without_replicas may not read system\.replicas: .* GRANT SELECT ON system\.replicas TO without_replicas$/,
    );
  });

  test.each([
    ["behind", 12],
    ["ahead of", -12],
  ])("a server whose clock is half a day %s ours", async (word, hours) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + hours * 3_600_000 });
    expect(await refusalOf(connect())).toMatch(
      new RegExp(
        `^The server's clock is 43200 s ${word} ours: .* Let ntpd or chronyd set the clock of ClickHouse's host$`,
      ),
    );
  });

  test("and the server itself an INSERT whose deadline is over by its clock", async () => {
    const before = await rowCount();
    expect(await insert(connect(), { deadline: Date.now() - 1000 })).toMatchObject({
      class: "retry",
      late: true,
    });
    expect(await rowCount()).toBe(before);
  });
});

describe("an INSERT that is refused stores nothing", () => {
  test("452: the login's profile forbids a setting, whose name is said", async () => {
    const before = await rowCount();
    const judged = await insert(connect({ user: "limited" }));
    expect(judged).toMatchObject({ class: "halted", code: 452 });
    expect(judged.reason).toContain("max_execution_time");
    expect(await rowCount()).toBe(before);
  });

  test("201: the login's quota is used up, which passes", async () => {
    const before = await rowCount();
    const used = connect({ user: "used_up" });
    const judged = [await insert(used), await insert(used)];
    expect(judged.at(-1)).toMatchObject({ class: "retry", code: 201 });
    expect(await rowCount()).toBeLessThanOrEqual(before + 50);
  });

  test("216: the same attempt still runs, so this answer proves nothing", async () => {
    const token = newToken();
    const clickHouse = connect();
    const running = clickHouse.send({
      parameters: { query_id: `${token}.1` },
      body: "SELECT sleepEachRow(1) FROM numbers(4) SETTINGS max_block_size = 1 FORMAT Null",
      patienceMs: 60_000,
    });
    await expect
      .poll(() => run(`SELECT count() FROM system.processes WHERE query_id = '${token}.1'`), {
        timeout: 20_000,
      })
      .toContain("1");
    expect(await insert(clickHouse, { token })).toMatchObject({ class: "unknown", code: 216 });
    await running;
  });
});

describe.skipIf(disk === null)("a disk (skipped where this user may not mount one)", () => {
  test("that is full refuses with 243, stores nothing, and takes the same token when there is room", async () => {
    const before = await rowCount();
    const token = newToken();
    const { bavail, bsize } = statfsSync(folder);
    const ballast = join(folder, "ballast");
    writeFileSync(ballast, new Uint8Array(Math.max(0, bavail * bsize - 300_000)));
    const judged = await insert(connect(), { token });
    expect(judged).toMatchObject({ class: "retry", code: 243 });
    expect(judged.reason).toContain("not enough space");
    rmSync(ballast);
    expect(await rowCount()).toBe(before);
    expect(await insert(connect(), { token })).toMatchObject({ class: "stored" });
    expect(await rowCount()).toBe(before + 50);
  });

  test("that is read-only is said to be, proves nothing, and takes the same token when it is not", async () => {
    const before = await rowCount();
    const token = newToken();
    const store = join(directory, "store");
    mkdirSync(store, { recursive: true });
    expect(spawnSync("mount", ["--bind", store, store]).status).toBe(0);
    try {
      expect(spawnSync("mount", ["-o", "remount,ro,bind", store]).status).toBe(0);
      const judged = await insert(connect(), { token });
      expect(judged).toMatchObject({ class: "unknown", code: 1001 });
      expect(judged.reason).toContain("Read-only file system");
      expect(await rowCount()).toBe(before);
    } finally {
      spawnSync("umount", [store]);
    }
    expect(await insert(connect(), { token })).toMatchObject({ class: "stored" });
    expect(await rowCount()).toBe(before + 50);
  });
});
