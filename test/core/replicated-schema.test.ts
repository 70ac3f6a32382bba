/** Which statements of the schema are sent to every replica, and which to one of them. */
import { expect, test } from "vitest";
import {
  isSettingsAlter,
  type Replicas,
  ReplicasError,
  replicatedStatement,
  runEverywhere,
} from "../../shared/clickhouse/replicated-schema.ts";

const ofTable = [
  "ALTER TABLE {{traces}} MODIFY SETTING\n  non_replicated_deduplication_window = 100000",
  "ALTER TABLE {{database}}.t MODIFY SETTING a = 1, b = 'x, MODIFY'",
  "ALTER TABLE `a b`.`c \\` MODIFY` ON CLUSTER `d` MODIFY SETTING a = 1",
  "ALTER TABLE d.t RESET SETTING a",
];
const ofReplicas = [
  "ALTER TABLE d.t MODIFY COLUMN c MODIFY SETTING max_compress_block_size = 4096",
  "ALTER TABLE d.t MODIFY COLUMN c String CODEC(ZSTD(1)), MODIFY COLUMN e MODIFY SETTING a = 1",
  "ALTER TABLE d.t MODIFY COLUMN c RESET SETTING max_compress_block_size",
  "ALTER TABLE `MODIFY SETTING` ADD COLUMN c String COMMENT 'no MODIFY SETTING'",
  "ALTER TABLE d.t MODIFY COLUMN c Map(Date, UInt32) SETTINGS (min_compress_block_size = 4096, max_compress_block_size = 4096)",
  "CREATE TABLE IF NOT EXISTS d.t (c String) ENGINE = MergeTree ORDER BY c",
];

test("an ALTER of the table's settings is one, and one of a column's settings is none", () => {
  expect(ofTable.filter(isSettingsAlter)).toEqual(ofTable);
  expect(ofReplicas.filter(isSettingsAlter)).toEqual([]);
});

test("the table's settings are sent to each replica, a column's to one, which waits for the others", async () => {
  const sent: string[] = [];
  const server = (name: string) => async (sql: string) => {
    sent.push(`${name}: ${sql}`);
    return "";
  };
  const replicas: Replicas = { onCluster: null, servers: [server("a"), server("b")] };
  await runEverywhere(replicas, "ALTER TABLE d.t MODIFY SETTING a = 1");
  await runEverywhere(replicas, "ALTER TABLE d.t MODIFY COLUMN c MODIFY SETTING a = 1");
  expect(sent).toEqual([
    "a: ALTER TABLE d.t MODIFY SETTING a = 1",
    "b: ALTER TABLE d.t MODIFY SETTING a = 1",
    "a: ALTER TABLE d.t MODIFY COLUMN c MODIFY SETTING a = 1 SETTINGS alter_sync = 2",
  ]);
});

test("an ALTER of both is refused: neither way would bring all of it to every replica once", () => {
  for (const mixed of [
    "ALTER TABLE {{database}}.t ADD COLUMN c String, MODIFY SETTING a = 1",
    "ALTER TABLE {{database}}.t MODIFY SETTING a = 1, MODIFY COLUMN c String",
  ]) {
    expect(() => replicatedStatement(mixed, null, "d", (name) => name)).toThrow(ReplicasError);
  }
  const of = (sql: string) => replicatedStatement(sql, "c", "d", (name) => name);
  expect(of("ALTER TABLE {{database}}.t MODIFY SETTING a = 1, b = 2")).toBe(
    "ALTER TABLE {{database}}.t ON CLUSTER `c` MODIFY SETTING a = 1, b = 2",
  );
});
