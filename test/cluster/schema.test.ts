/** `schema/` on replicas: Replicated engines everywhere, one definition, settings at each, and what is wrong in one sentence. */
import { describe, expect, test } from "vitest";
import { pendingMigrations } from "../../cli/deploy/read-present.ts";
import { migrateReplicas } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import {
  defaultSchemaSettings,
  lacksOfReplicas,
  migrate,
  planMigrations,
} from "../../shared/clickhouse/migrations.ts";
import { checkReplicas } from "../../shared/clickhouse/replicated-schema.ts";
import { receiptClaimsQuery } from "../../shared/clickhouse/statements.ts";
import { formatPayloadId, formatPayloadKey, formatSlotKey } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { ask, send } from "../engine/token-inserts.ts";
import { eventually, isStand, newDatabase, newSchema, replicasOf, useCluster } from "./cluster.ts";

const cluster = useCluster();
const names = readSchemaFiles().map(({ name }) => name);

/** Table, engine and settings at a replica. */
async function tables(url: string, database: string): Promise<string> {
  return await ask(
    `SELECT name, engine, extract(engine_full, 'SETTINGS.*') FROM system.tables WHERE database = '${database}' ORDER BY name FORMAT TSV`,
    {},
    url,
  );
}

describe("the schema of a cluster", () => {
  test("is the same at both replicas, each table replicated, and is applied once, through whichever", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    expect(await migrateReplicas(replicasOf(r1, r2), settings)).toEqual(names);
    expect(await migrateReplicas(replicasOf(r1, r2), settings)).toEqual([]);
    expect(await migrateReplicas(replicasOf(r2, r1), settings)).toEqual([]);
    expect(await pendingMigrations(replicasOf(r2, r1), settings)).toEqual([]);
    const found = await tables(r1, settings.database);
    expect(await tables(r2, settings.database)).toBe(found);
    const engines = found.split("\n").map((line) => line.split("\t")[1] ?? "");
    expect(engines.filter((engine) => !/^Replicated|View$/.test(engine))).toEqual([]);
    expect(engines).toHaveLength(15);
  });

  test("comes to a replica that lost all of it, or joins later", async () => {
    const { r1, r2 } = cluster();
    const database = await newSchema(cluster());
    const settings = { ...defaultSchemaSettings, database };
    const before = await tables(r2, database);
    await ask(`DROP DATABASE ${database} SYNC`, {}, r2);
    expect(await pendingMigrations(replicasOf(r1, r2), settings)).toContainEqual(
      expect.stringMatching(/^headrace_receipts at /),
    );
    expect(await migrateReplicas(replicasOf(r1, r2), settings)).toEqual([]);
    expect(await tables(r2, database)).toBe(before);
  });

  test("has receipts found by their ids at each replica, and at one that lost all of them", async () => {
    const { r1, r2 } = cluster();
    const database = await newSchema(cluster());
    const minute = 1_795_000_020;
    const ids = [1, 2].map((byte) => formatPayloadId(new Uint8Array(16).fill(byte)));
    const segment = formatSegmentKey(minute * 1000, new Uint8Array(10), ids);
    const keys = [
      ...ids.map((id, slot) => formatSlotKey(segment, slot, "acme", id)),
      ...ids.map((id) => formatPayloadKey(minute * 1000, "acme", id)),
    ];
    for (const [i, key] of keys.entries()) {
      const row = `('${key}', '${`0${(i % 2) + 1}`.repeat(16)}', ${minute}, 'acme', 'stored')`;
      await ask(
        `INSERT INTO ${database}.headrace_receipts (key, payload_hex, minute, tenant, outcome) VALUES ${row}`,
        {},
        i < 2 ? r1 : r2,
      );
    }
    const settings = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
    const found = `SELECT arrayStringConcat(arraySort(groupArray(key)), ' ') FROM (${receiptClaimsQuery(settings, ids)})`;
    const all = keys.toSorted().join(" ");
    await eventually(() => ask(found, {}, r1), all);
    await eventually(() => ask(found, {}, r2), all);
    await ask(`DROP DATABASE ${database} SYNC`, {}, r2);
    await migrateReplicas(replicasOf(r1, r2), { ...defaultSchemaSettings, database });
    await eventually(() => ask(found, {}, r2), all);
  });

  test("fills the minutes of receipts from all replicas, of which each has some that the other lacks", async () => {
    const { r1, r2, name } = cluster();
    const database = await newSchema(cluster());
    const [receipts, minutes] = [`${database}.headrace_receipts`, `${database}.headrace_receipt_minutes`];
    for (const url of [r1, r2]) {
      await ask(`SYSTEM STOP FETCHES ${receipts}`, {}, url);
    }
    for (const [url, byte] of [
      [r1, "01"],
      [r2, "02"],
    ] as const) {
      await ask(
        `INSERT INTO ${receipts} (key, payload_hex, minute, tenant, outcome) VALUES ('${byte}', '${byte.repeat(16)}', 1795000020, 'acme', 'stored')`,
        {},
        url,
      );
    }
    const run = statementRunner({ url: r1 });
    const fillings = async (onCluster: string | null): Promise<string> => {
      const settings = { ...defaultSchemaSettings, database };
      const planned = await planMigrations(readSchemaFiles(), settings, [], { onCluster, servers: [run] });
      return planned.flatMap(({ statements }) => statements).find((sql) => sql.startsWith("INSERT")) ?? "";
    };
    const heads = `SELECT arrayStringConcat(arraySort(groupUniqArray(lower(hex(head)))), ' ') FROM ${minutes}`;
    const both = ["01", "02"].map((byte) => byte.repeat(12)).join(" ");
    for (const [statement, urls] of [
      [await fillings(null), [r1, r2]],
      [await fillings(name), [r1]],
    ] as const) {
      await ask(`TRUNCATE TABLE ${minutes}`, { alter_sync: 2 }, r1);
      for (const url of urls) {
        await ask(statement, {}, url);
      }
      await eventually(() => ask(heads, {}, r2), both);
    }
    for (const url of [r1, r2]) {
      await ask(`SYSTEM START FETCHES ${receipts}`, {}, url);
    }
  });

  test("comes to both at once, and goes on after a run that was cut off between the replicas", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    for (const last of [6, 14, 23]) {
      let statements = 0;
      const dying = (url: string) => async (sql: string) => {
        if (++statements > last) {
          throw new Error("fetch failed");
        }
        return await statementRunner({ url })(sql);
      };
      const servers = [dying(r1), dying(r2)] as const;
      await expect(migrate(readSchemaFiles(), settings, { onCluster: null, servers })).rejects.toThrow();
    }
    await Promise.all([
      migrateReplicas(replicasOf(r1, r2), settings),
      migrateReplicas(replicasOf(r2, r1), settings),
    ]);
    expect(await tables(r2, settings.database)).toBe(await tables(r1, settings.database));
  });

  test("has its settings at each replica again, where a person changed one of them", async () => {
    const { r1, r2 } = cluster();
    const database = await newSchema(cluster());
    const settings = { ...defaultSchemaSettings, database };
    await ask(
      `ALTER TABLE ${database}.otel_traces MODIFY SETTING replicated_deduplication_window_seconds = 2`,
      {},
      r2,
    );
    expect(await tables(r1, database)).not.toBe(await tables(r2, database)); // it is one replica's own
    expect(await pendingMigrations(replicasOf(r1, r2), settings)).toEqual([
      expect.stringMatching(/^replicated_deduplication_window_seconds = 604800 of otel_traces at /),
    ]);
    await migrateReplicas(replicasOf(r1, r2), settings);
    expect(await tables(r2, database)).toBe(await tables(r1, database));
  });

  test.runIf(isStand)("is spoken ON CLUSTER so that ClickHouse understands each statement", async () => {
    const { r1, name } = cluster();
    const database = await newSchema(cluster());
    const onCluster = { onCluster: name, servers: [statementRunner({ url: r1 })] as const };
    const planned = await planMigrations(
      readSchemaFiles(),
      { ...defaultSchemaSettings, database },
      [],
      onCluster,
    );
    const statements = planned.flatMap((one) => one.statements);
    expect(statements.length).toBeGreaterThan(15);
    for (const statement of statements) {
      if (statement.startsWith("INSERT")) {
        // Not distributed: it reads at all replicas, and goes to one, which has the table by then.
        expect(statement).toContain(`FROM clusterAllReplicas('${name}', `);
        expect((await send(statement, {}, undefined, r1)).code).toBe(0);
        continue;
      }
      expect(statement).toContain(` ON CLUSTER \`${name}\``);
      // Distributed DDL is off on the stand: it says so of what it has parsed and would distribute.
      const { code, text } = await send(statement, {}, undefined, r1);
      expect(code, `${statement}\n${text}`).toBe(392);
    }
  });
});

test("a cluster's replicas are looked at through one of them, by its name", async () => {
  const { r1, r2, name } = cluster();
  const database = await newSchema(cluster());
  const settings = { ...defaultSchemaSettings, database };
  const byName = { onCluster: name, servers: [statementRunner({ url: r1 })] as const };
  expect(await checkReplicas(byName, database)).toHaveLength(2);
  expect(await lacksOfReplicas(readSchemaFiles(), settings, byName)).toEqual([]);
  await ask(`DROP TABLE ${database}.headrace_findings SYNC`, {}, r2);
  expect(await lacksOfReplicas(readSchemaFiles(), settings, byName)).toEqual([
    expect.stringMatching(/^headrace_findings at /),
  ]);
});

describe("what is wrong with replicas is said in one sentence, before anything is applied", () => {
  test("a cluster that does not exist", async () => {
    const { r1, name } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    const servers = [statementRunner({ url: r1 })] as const;
    await expect(migrateReplicas({ onCluster: "no_such", servers }, settings)).rejects.toThrow(
      new RegExp(
        `^ClickHouse knows no cluster no_such: set CLICKHOUSE_CLUSTER to one of system.clusters .*${name}`,
      ),
    );
  });

  test("one replica twice instead of two", async () => {
    const { r1 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    await expect(migrateReplicas(replicasOf(r1, r1), settings)).rejects.toThrow(
      /answers at two of the replicas' addresses: give each replica's own address/,
    );
  });

  test("tables of one server, which nobody else sees", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    await migrate(readSchemaFiles(), settings, statementRunner({ url: r1 }));
    await expect(migrateReplicas(replicasOf(r1, r2), settings)).rejects.toThrow(
      /has the engine \w*MergeTree, and its rows are at that server only: run there DETACH TABLE .* AS REPLICATED/,
    );
    expect(
      await ask(`SELECT count() FROM system.tables WHERE database = '${settings.database}'`, {}, r2),
    ).toBe("0");
  });

  test.runIf(isStand)(
    "a replica whose tables lost their place in ZooKeeper, which the command brings back",
    async () => {
      const { r1, r2 } = cluster();
      const [, second] = cluster().stand().replicas;
      const database = await newSchema(cluster());
      const settings = { ...defaultSchemaSettings, database };
      await second.kill();
      await eventually(
        () => ask(`SELECT max(active_replicas) FROM system.replicas WHERE database = '${database}'`, {}, r1),
        "1",
      );
      await ask(`SYSTEM DROP REPLICA 'r2' FROM TABLE ${database}.headrace_receipts`, {}, r1);
      await second.start();
      const migrating = await migrateReplicas(replicasOf(r1, r2), settings).catch(String);
      expect(migrating).toMatch(
        /headrace_receipts` is read-only at the replica .*: let it reach ZooKeeper; where its data there is lost, run SYSTEM RESTORE REPLICA \S+ at it$/,
      );
      const [command = ""] = /SYSTEM RESTORE REPLICA \S+/.exec(String(migrating)) ?? [];
      await ask(command, {}, r2);
      expect(await migrateReplicas(replicasOf(r1, r2), settings)).toEqual([]);
    },
  );

  test("a macro that a replica has not", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    const withoutMacro = async (sql: string): Promise<string> =>
      await statementRunner({ url: r2 })(
        sql.replace("system.macros WHERE", "system.macros WHERE macro != 'replica' AND"),
      );
    const servers = [statementRunner({ url: r1 }), withoutMacro] as const;
    await expect(migrateReplicas({ onCluster: null, servers }, settings)).rejects.toThrow(
      /has no macro \{replica\}: put <macros><replica>…<\/replica><\/macros> into its configuration/,
    );
  });

  test("servers of two shards", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    const elsewhere = async (sql: string): Promise<string> =>
      await statementRunner({ url: r2 })(
        sql.replace("macro, substitution", "macro, concat(substitution, 'b') AS substitution"),
      );
    const servers = [statementRunner({ url: r1 }), elsewhere] as const;
    await expect(migrateReplicas({ onCluster: null, servers }, settings)).rejects.toThrow(
      /^These servers are of the shards \w+, \w+, and a table over several shards/,
    );
  });

  test("a replica of another version", async () => {
    const { r1, r2 } = cluster();
    const settings = { ...defaultSchemaSettings, database: newDatabase() };
    const old = async (sql: string): Promise<string> =>
      await statementRunner({ url: r2 })(sql.replace("version()", "'25.8.2.1'"));
    const servers = [statementRunner({ url: r1 }), old] as const;
    await expect(migrateReplicas({ onCluster: null, servers }, settings)).rejects.toThrow(
      /runs ClickHouse 25\.8\.2\.1, and others run .*: upgrade it to/,
    );
  });
});
