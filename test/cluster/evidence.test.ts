/** What a count is worth on replicas (decision 0014): a replica that lags, rejoins, has lost ZooKeeper, or is another's neighbour. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { newReading, wordsNeeded } from "../../shared/clickhouse/barrier.ts";
import { rowsDeletion } from "../../shared/clickhouse/deletion.ts";
import { tableStateQuery } from "../../shared/clickhouse/statements.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { deleteRows } from "../../workers/consumer/delete-rows.ts";
import { readProcesses, readTable } from "../../workers/consumer/read-table.ts";
import { ask, send } from "../engine/token-inserts.ts";
import {
  connect,
  countBehindBarrier,
  daysAt,
  eventually,
  identityOf,
  insertPayload,
  isStand,
  newPayload,
  newSchema,
  newToken,
  rowsAt,
  spans,
  useCluster,
} from "./cluster.ts";
import { type MovingAddress, moveBetween } from "./moving-address.ts";

const cluster = useCluster();
let database = "";
let moving: MovingAddress | undefined;

beforeAll(async () => {
  database = await newSchema(cluster());
});
afterEach(async () => {
  await moving?.close();
  moving = undefined;
  const { r2 } = cluster();
  for (const what of ["FETCHES", "REPLICATION QUEUES", "PULLING REPLICATION LOG"]) {
    await ask(`SYSTEM START ${what} ${database}.otel_traces`, {}, r2);
  }
});

describe("a healthy replica's count", () => {
  test("is evidence at the third statement, of two behind one address at the fifth", async () => {
    const { r1, r2 } = cluster();
    const payload = newPayload();
    expect(await insertPayload(r1, database, payload, newToken())).toMatchObject({ status: 200 });
    await eventually(() => rowsAt(r2, database, payload), spans);
    for (const url of [r1, r2]) {
      await eventually(
        async () => (await countBehindBarrier([url], database, payload)).sent,
        "look look count",
      );
      expect(await countBehindBarrier([url], database, payload)).toMatchObject({ rows: spans });
    }
    moving = await moveBetween([r1, r2]);
    expect(await countBehindBarrier([moving.url], database, payload)).toEqual({
      sent: "look look look count count",
      rows: spans,
      reason: "",
    });
    const recent = newReading(identityOf(database), wordsNeeded.recent);
    expect((await countBehindBarrier([r1], database, payload, recent)).sent).toBe("look look look count");
  });

  test("and the state that VERIFY reads say the same of which table it is", async () => {
    const { r1, r2, name } = cluster();
    const identity = identityOf(database);
    for (const url of [r1, r2]) {
      const facts = await readTable(connect(url, database), Date.now(), null);
      expect(facts).toMatchObject({
        refusal: "",
        measure: { identity },
        witness: { table: identity, replicas: 2 },
      });
      const group = newToken() as GroupId;
      const alone = await readProcesses(connect(url, database), group, 1e5, identity);
      expect(alone).toMatchObject({ running: false, servers: 1, witness: { table: identity, replicas: 2 } });
      const all = await readProcesses(connect(url, database, name), group, 1e5, identity);
      expect(all).toMatchObject({ running: false, servers: 2 });
    }
  });

  test("is none for a ledger that knows another path", async () => {
    const { r1 } = cluster();
    const other = newReading("replicated /somewhere/else", wordsNeeded.settled);
    expect(await countBehindBarrier([r1], database, newPayload(), other)).toMatchObject({
      rows: undefined,
      reason: expect.stringContaining("another table"),
    });
  });
});

describe("a replica that lags", () => {
  test.each([
    ["does not fetch", "FETCHES", "1 inserts in its queue"],
    ["does not work through its queue", "REPLICATION QUEUES", "1 inserts in its queue"],
    ["does not read the log", "PULLING REPLICATION LOG", "1 log entries not taken"],
  ])(
    "because it %s gives no evidence, and behind one address the other one does",
    async (_why, what, reason) => {
      const { r1, r2 } = cluster();
      const payload = newPayload();
      await ask(`SYSTEM SYNC REPLICA ${database}.otel_traces`, {}, r2);
      await ask(`SYSTEM STOP ${what} ${database}.otel_traces`, {}, r2);
      expect(await insertPayload(r1, database, payload, newToken())).toMatchObject({ status: 200 });
      // What a count without the barrier would take for absent; a retry there answers 200 and stores nothing.
      expect(await rowsAt(r2, database, payload)).toBe(0);
      await eventually(
        async () => (await countBehindBarrier([r2], database, payload)).reason.includes(reason),
        true,
      );
      expect(await countBehindBarrier([r2], database, payload)).toMatchObject({ rows: undefined });
      moving = await moveBetween([r1, r2]);
      expect(await countBehindBarrier([moving.url], database, payload)).toMatchObject({ rows: spans });
      await ask(`SYSTEM START ${what} ${database}.otel_traces`, {}, r2);
      await eventually(async () => (await countBehindBarrier([r2], database, payload)).rows, spans);
      expect(await rowsAt(r2, database, payload)).toBe(spans);
    },
  );

  test.runIf(isStand)(
    "because it comes back after thirty INSERTs is never evidence before it has all of them",
    async () => {
      const { r1, r2 } = cluster();
      const [, second] = cluster().stand().replicas;
      const payloads = Array.from({ length: 30 }, newPayload);
      // So slowly that it can be watched: a part is about 15 kB.
      const slow = "MODIFY SETTING max_replicated_fetches_network_bandwidth = 60000";
      await ask(`ALTER TABLE ${database}.otel_traces ${slow}`, {}, r2);
      await second.kill();
      for (const payload of payloads) {
        expect(await insertPayload(r1, database, payload, newToken())).toMatchObject({ status: 200 });
      }
      await second.start();
      const last = payloads.at(-1) ?? newPayload();
      let withheld = 0;
      for (;;) {
        const seen = await rowsAt(r2, database, last);
        const { rows } = await countBehindBarrier([r2], database, last);
        expect([undefined, spans]).toContain(rows);
        if (rows !== undefined) {
          break;
        }
        withheld += seen === 0 ? 1 : 0;
      }
      expect(withheld).toBeGreaterThan(0); // else nothing was tried
      await ask(
        `ALTER TABLE ${database}.otel_traces RESET SETTING max_replicated_fetches_network_bandwidth`,
        {},
        r2,
      );
      for (const payload of payloads) {
        expect(await rowsAt(r2, database, payload)).toBe(spans);
      }
    },
  );

  test.runIf(isStand)("because it was stopped is away, and is no evidence at its first words", async () => {
    const { r1, r2 } = cluster();
    const [, second] = cluster().stand().replicas;
    const payload = newPayload();
    second.pause();
    await new Promise((resolve) => setTimeout(resolve, 12_000)); // its session is 10 s
    expect(await insertPayload(r1, database, payload, newToken())).toMatchObject({ status: 200 });
    second.resume();
    for (;;) {
      const { rows } = await countBehindBarrier([r2], database, payload);
      expect([undefined, spans]).toContain(rows);
      if (rows !== undefined) {
        break;
      }
    }
  });
});

describe.runIf(isStand)("while ZooKeeper does not answer", () => {
  test("an INSERT within its time stores nothing and says so, a count is no evidence, and after it both are", async () => {
    const { r1 } = cluster();
    const { zooKeeper } = cluster().stand();
    const payload = newPayload();
    const token = newToken();
    zooKeeper.pause();
    try {
      const answer = await insertPayload(r1, database, payload, token, {
        settings: { max_execution_time: "4" },
      });
      expect([159, 242, 319, 999]).toContain(answer.code);
      const read = await countBehindBarrier([r1], database, payload).catch((error: unknown) => ({
        rows: undefined,
        reason: String(error),
      }));
      expect(read.rows).toBeUndefined();
    } finally {
      zooKeeper.resume();
    }
    await eventually(async () => (await countBehindBarrier([r1], database, payload)).rows, 0);
    await eventually(async () => (await insertPayload(r1, database, payload, token)).status, 200);
    expect(await insertPayload(r1, database, payload, token)).toMatchObject({ status: 200 });
    await eventually(async () => (await countBehindBarrier([r1], database, payload)).rows, spans);
  });
});

describe("an address that moves between replicas at each request", () => {
  test("stores each of twelve payloads once, its answers lost and its retries elsewhere", async () => {
    const { r1, r2 } = cluster();
    moving = await moveBetween([r1, r2]);
    const payloads = Array.from({ length: 12 }, newPayload);
    const identity = identityOf(database);
    for (const payload of payloads) {
      const token = newToken();
      for (let attempt = 0; attempt < 3; attempt++) {
        expect(await insertPayload(moving.url, database, payload, token, { identity })).toMatchObject({
          status: 200,
        });
      }
    }
    expect(Math.min(...moving.requests)).toBeGreaterThan(15);
    for (const payload of payloads) {
      await eventually(async () => (await countBehindBarrier([r1, r2], database, payload)).rows, spans);
    }
  });
});

describe("the window of the deduplication", () => {
  test("is each replica's own, and the least of all trims the log of both: the retry of a token is a second copy", async () => {
    const { r1, r2, name } = cluster();
    const own = await newSchema(cluster());
    const short = `ALTER TABLE ${own}.otel_traces MODIFY SETTING replicated_deduplication_window_seconds = 2, cleanup_delay_period = 1, cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1`;
    await ask(short, {}, r2);
    // Its cleanup would come half a minute later else.
    await ask(`DETACH TABLE ${own}.otel_traces`, {}, r2);
    await ask(`ATTACH TABLE ${own}.otel_traces`, {}, r2);
    const window = async (cluster: string): Promise<unknown> =>
      (await readTable(connect(r1, own, cluster), Date.now(), identityOf(own))).measure?.windowMs;
    expect(await window(name)).toBe(2000);
    expect(await window("")).toBe(604_800_000); // all that one replica knows
    const [first, later] = [newPayload(), newPayload()];
    const token = newToken();
    expect(await insertPayload(r1, own, first, token)).toMatchObject({ status: 200 });
    const rows = async (): Promise<number> => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await insertPayload(r1, own, later, newToken());
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await insertPayload(r1, own, first, token);
      return await rowsAt(r1, own, first);
    };
    await eventually(rows, 2 * spans, 40_000);
    const full = await ask(
      `SELECT engine_full FROM system.tables WHERE database = '${own}' AND name = 'otel_traces'`,
      {},
      r1,
    );
    expect(full).toContain("replicated_deduplication_window_seconds = 604800");
  });
});

describe("the table check", () => {
  test("measures what anybody inserts, into whichever days, by the log that the replicas share", async () => {
    const { r1, r2 } = cluster();
    const blocks = async (url: string): Promise<number> =>
      (await readTable(connect(url, database), Date.now(), identityOf(database))).measure?.blocks ?? -1;
    const before = await blocks(r1);
    for (const year of [2001, 2002, 2003, 2004]) {
      await ask(`INSERT INTO ${database}.otel_traces (Timestamp) VALUES ('${year}-01-01 00:00:00')`, {}, r1);
    }
    expect(await blocks(r1)).toBeGreaterThanOrEqual(before + 4);
    await eventually(async () => (await blocks(r2)) >= before + 4, true);
    // Where nobody says how long that log is (ClickHouse Cloud), the partitions' own numbers are added up.
    const summed = async (): Promise<number> =>
      JSON.parse(await ask(`${tableStateQuery(connect(r1, database).settings)} FORMAT JSONEachRow`, {}, r1))
        .blocks;
    const sum = await summed();
    for (const year of [2001, 2005]) {
      await ask(`INSERT INTO ${database}.otel_traces (Timestamp) VALUES ('${year}-01-01 00:00:01')`, {}, r1);
    }
    expect(await summed()).toBe(sum + 2);
  });

  test("refuses receipts of one server beside replicated traces", async () => {
    const { r1 } = cluster();
    const own = await newSchema(cluster());
    await ask(`DROP TABLE ${own}.headrace_receipts SYNC`, {}, r1);
    await ask(
      `CREATE TABLE ${own}.headrace_receipts (key String) ENGINE = ReplacingMergeTree ORDER BY key`,
      {},
      r1,
    );
    expect((await readTable(connect(r1, own), Date.now(), identityOf(own))).refusal).toContain(
      "headrace_receipts has the engine ReplacingMergeTree, whose rows another replica does not show. Fix it with: npx headrace deploy",
    );
  });
});

describe.runIf(isStand)("a dead replica", () => {
  test("keeps nobody from inserting, counting and erasing: what is erased goes there when it is back", async () => {
    const { r1, r2, name } = cluster();
    const [, second] = cluster().stand().replicas;
    const [kept, erased] = [newPayload(), newPayload()];
    await insertPayload(r1, database, kept, newToken());
    await insertPayload(r1, database, erased, newToken());
    await eventually(() => rowsAt(r2, database, erased), spans);
    const days = await daysAt(r1, database, erased);
    await second.kill();
    try {
      const meanwhile = newPayload();
      expect(await insertPayload(r1, database, meanwhile, newToken())).toMatchObject({ status: 200 });
      await eventually(async () => (await countBehindBarrier([r1], database, meanwhile)).rows, spans);
      // An INSERT that waits for all replicas is answered 341.
      const nothing = `ALTER TABLE ${database}.otel_traces DELETE WHERE SpanId = 'none'`;
      expect((await send(nothing, { mutations_sync: 2 }, undefined, r1)).code).toBe(341);
      const at1 = connect(r1, database, name);
      const deletion = rowsDeletion(at1.settings, { ids: [erased.id], days, mark: newToken() });
      await deleteRows(at1, deletion);
      expect(await inPartsAt(r1)).toBe("0");
      await deleteRows(at1, deletion);
      const begun = `SELECT count() FROM system.mutations WHERE database = '${database}' AND position(command, '${deletion.mark}') > 0`;
      expect(await ask(begun, {}, r1)).toBe("1");
      // A quorum would keep everybody waiting for the replica that is away.
      expect(
        await insertPayload(r1, database, newPayload(), newToken(), { settings: { insert_quorum: "2" } }),
      ).toMatchObject({ code: 285 });
    } finally {
      await second.start();
    }
    await eventually(() => inPartsAt(r2), "0");
    await eventually(() => rowsAt(r2, database, kept), spans);

    async function inPartsAt(url: string): Promise<string> {
      const hex = Buffer.from(erased.bytes).toString("hex");
      const sql = `SELECT count() FROM ${database}.otel_traces WHERE HeadracePayload = unhex('${hex}') SETTINGS apply_deleted_mask = 0`;
      return await ask(sql, {}, url);
    }
  });
});
