/**
 * The schema of a cluster: which engine its tables have, where each statement is sent, and what must be true of the replicas
 * before one is. A table's path in ZooKeeper is its shard's, its database's and its name; what a replica is called, its
 * macro `{replica}` says.
 *
 * A statement is sent ON CLUSTER, or to each replica by its address, before the next one is: ZooKeeper keeps one definition
 * of a table, and a replica that begins it behind a later ALTER is refused (47, 342). So one that joins is given the
 * definition that the others have come to.
 */
import * as v from "valibot";
import { quoteIdentifier, quoteText } from "./identifier.ts";
import type { RunStatement } from "./migrations.ts";

/** Where the statements of a replicated schema go. */
export interface Replicas {
  /** The cluster of `system.clusters` for ON CLUSTER. Null: each server of `servers` is one replica, and gets each statement. */
  readonly onCluster: string | null;
  readonly servers: readonly [RunStatement, ...RunStatement[]];
}

/** The replicas are not as they must be; the message says in one sentence what is wrong, and what fixes it. */
export class ReplicasError extends Error {
  override readonly name = "ReplicasError";
}

const statementPattern =
  /^(CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS|ALTER TABLE|DROP TABLE IF EXISTS|INSERT INTO) (\{\{(\w+)\}\}(?:\.(\w+))?)/;

/**
 * A statement of `schema/`, its placeholders unfilled, for replicas. `tableOf`: the plain name behind a placeholder.
 * Example: `CREATE TABLE IF NOT EXISTS {{database}}.t (…) ENGINE = ReplacingMergeTree(at)` comes to
 * `CREATE TABLE IF NOT EXISTS {{database}}.t ON CLUSTER c (…) ENGINE = ReplicatedReplacingMergeTree('/…/t', '{replica}', at)`.
 */
export function replicatedStatement(
  statement: string,
  onCluster: string | null,
  database: string,
  tableOf: (placeholder: string) => string,
): string {
  const match = statementPattern.exec(statement);
  if (match === null) {
    throw new ReplicasError(
      `This statement of the schema is not one for replicas: ${statement.slice(0, 60)}`,
    );
  }
  const commands = alterCommands(statement);
  if (!commands.every(isOfTableSettings) && commands.some(isOfTableSettings)) {
    throw new ReplicasError(
      `This statement of the schema changes settings, which are each replica's own, and what the replicas share: ${statement.slice(0, 60)}`,
    );
  }
  const [head, , , placeholder = "", suffix] = match;
  if (head.startsWith("INSERT INTO")) {
    // Of rows that are there: a replica may lag, so those of all are taken. By address, each replica is sent it.
    return onCluster === null
      ? statement
      : statement.replace(
          /\bFROM (\{\{\w+\}\}\.\w+)/,
          (_from, table: string) => `FROM clusterAllReplicas(${quoteText(onCluster)}, ${table})`,
        );
  }
  const path = `/clickhouse/tables/{shard}/${database}/${suffix ?? tableOf(placeholder)}`;
  const rest = statement
    .slice(head.length)
    .replace(/ENGINE = (\w*)MergeTree(?:\(([^)]*)\))?/, (_engine, family: string, given?: string) => {
      const others = given === undefined ? "" : `, ${given}`;
      return `ENGINE = Replicated${family}MergeTree(${quoteText(path)}, '{replica}'${others})`;
    });
  return `${head}${onClusterClause(onCluster)}${rest}`;
}

export function onClusterClause(onCluster: string | null): string {
  return onCluster === null ? "" : ` ON CLUSTER ${quoteIdentifier(onCluster)}`;
}

/**
 * Sends a statement that defines something to all replicas. An ALTER that is replicated is sent to one, and waits for the
 * others; `MODIFY SETTING` is not replicated.
 */
export async function runEverywhere({ onCluster, servers }: Replicas, sql: string): Promise<void> {
  const isReplicated = sql.startsWith("ALTER TABLE") && !isSettingsAlter(sql);
  const [first] = servers;
  if (isReplicated) {
    await alterWhenItMay(first, `${sql} SETTINGS alter_sync = 2`);
    return;
  }
  if (onCluster !== null) {
    await first(sql);
    return;
  }
  for (const server of servers) {
    await server(sql);
  }
}

/** A replica refuses an ALTER while it has not applied an earlier one: another run's, or this one's at a busy replica. */
async function alterWhenItMay(server: RunStatement, sql: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await server(sql);
      return;
    } catch (error) {
      if (tries >= alterTriesMax || !/\bCode: 517\b/.test(String(error))) {
        throw error;
      }
      await server("SELECT sleep(1) FORMAT Null");
    }
  }
}

const alterTriesMax = 60;

/**
 * Does it change settings of the table? `MODIFY COLUMN c MODIFY SETTING …` changes the column's, which are part of the definition that
 * ZooKeeper keeps.
 */
export function isSettingsAlter(sql: string): boolean {
  return alterCommands(sql).some(isOfTableSettings);
}

function isOfTableSettings(command: string): boolean {
  return /^(?:MODIFY|RESET) SETTING\b/.test(command);
}

const namePattern = "(?:`(?:[^`\\\\]|\\\\.)*`|\\{\\{\\w+\\}\\}|\\w+)";
const alterPattern = new RegExp(
  `^ALTER TABLE ${namePattern}(?:\\.${namePattern})?(?:\\s+ON CLUSTER ${namePattern})?\\s+(.*)$`,
  "s",
);

/** What an ALTER consists of, each beginning with its verb; of any other statement none. */
function alterCommands(sql: string): readonly string[] {
  const commands = alterPattern.exec(sql)?.[1] ?? "";
  return commands.split(
    /,\s*(?=(?:ADD|ALTER|CLEAR|COMMENT|DROP|MATERIALIZE|MODIFY|REMOVE|RENAME|RESET)\s+[A-Z])/,
  );
}

const lineSchema = v.record(v.string(), v.unknown());

/**
 * Rows of a system table at every replica, each with `server`, its name for people. By a view: of the bare table a login would have to
 * be granted its columns too.
 */
async function askAll(
  { onCluster, servers }: Replicas,
  columns: string,
  table: string,
  where: string,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const own = `SELECT concat(hostName(), ':', toString(tcpPort())) AS server, ${columns} FROM ${table} WHERE ${where}`;
  const everywhere =
    onCluster === null ? own : `SELECT * FROM clusterAllReplicas(${quoteText(onCluster)}, view(${own}))`;
  const sql = `${everywhere} FORMAT JSONEachRow`;
  const texts =
    onCluster === null ? await Promise.all(servers.map((server) => server(sql))) : [await servers[0](sql)];
  return texts
    .join("\n")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => v.parse(lineSchema, JSON.parse(line)));
}

const macrosNeeded = ["shard", "replica"];

/** Throws `ReplicasError` unless the tables of `database` can be made, or are, on these replicas. Returns their names. */
export async function checkReplicas(replicas: Replicas, database: string): Promise<readonly string[]> {
  await checkCluster(replicas);
  const versions = await askAll(replicas, "version() AS version", "system.one", "1");
  const names = versions.map(({ server }) => String(server));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ReplicasError(
      `${twice} answers at two of the replicas' addresses: give each replica's own address in CLICKHOUSE_REPLICAS, not the balancer's`,
    );
  }
  const release = (version: unknown): string => String(version).split(".").slice(0, 2).join(".");
  const [newest = ""] = versions
    .map(({ version }) => release(version))
    .toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }));
  const older = versions.find(({ version }) => release(version) !== newest);
  if (older !== undefined) {
    throw new ReplicasError(
      `The replica ${String(older["server"])} runs ClickHouse ${String(older["version"])}, and others run ${newest}: upgrade it to ${newest} first`,
    );
  }
  const macros = await askAll(
    replicas,
    "macro, substitution",
    "system.macros",
    "macro IN ('shard', 'replica')",
  );
  for (const name of names) {
    const missing = macrosNeeded.filter(
      (macro) => !macros.some((one) => one["server"] === name && one["macro"] === macro),
    );
    if (missing.length > 0) {
      const xml = missing.map((macro) => `<${macro}>…</${macro}>`).join("");
      throw new ReplicasError(
        `The replica ${name} has no macro {${missing[0]}}: put <macros>${xml}</macros> into its configuration, then SYSTEM RELOAD CONFIG`,
      );
    }
  }
  const shards = new Set(macros.filter(({ macro }) => macro === "shard").map((one) => one["substitution"]));
  if (shards.size > 1) {
    throw new ReplicasError(
      `These servers are of the shards ${[...shards].toSorted().join(", ")}, and a table over several shards cannot keep one copy behind one address: name a cluster, or addresses, of one shard`,
    );
  }
  const readonly = await askAll(
    replicas,
    "table, zookeeper_exception AS why",
    "system.replicas",
    `database = ${quoteText(database)} AND (is_readonly OR is_session_expired)`,
  );
  if (readonly[0] !== undefined) {
    const { server, table, why } = readonly[0];
    const full = `${quoteIdentifier(database)}.${quoteIdentifier(String(table))}`;
    throw new ReplicasError(
      `${full} is read-only at the replica ${String(server)}${why === "" ? "" : ` (${String(why).slice(0, 200)})`}: let it reach ZooKeeper; where its data there is lost, run SYSTEM RESTORE REPLICA ${full} at it`,
    );
  }
  return names;
}

/** Makes the database where a replica lacks it: a login of least rights may not, and need not where it is there. */
export async function makeDatabase(
  replicas: Replicas,
  database: string,
  names: readonly string[],
): Promise<void> {
  const found = await askAll(replicas, "name", "system.databases", `name = ${quoteText(database)}`);
  if (found.length < names.length) {
    const onCluster = onClusterClause(replicas.onCluster);
    await runEverywhere(replicas, `CREATE DATABASE IF NOT EXISTS ${quoteIdentifier(database)}${onCluster}`);
  }
}

async function checkCluster({ onCluster, servers: [first] }: Replicas): Promise<void> {
  if (onCluster === null) {
    return;
  }
  const text =
    (await first("SELECT DISTINCT cluster FROM system.clusters ORDER BY cluster FORMAT TSVRaw")) ?? "";
  const known = text.split("\n").filter((line) => line !== "");
  if (!known.includes(onCluster)) {
    throw new ReplicasError(
      `ClickHouse knows no cluster ${onCluster}: set CLICKHOUSE_CLUSTER to one of system.clusters (${known.join(", ") || "it has none"})`,
    );
  }
}

/**
 * Gives each replica the tables that others have, as they are defined by now. Throws `ReplicasError` for one of `ours` that
 * is not replicated: its rows would be at one server only.
 */
export async function completeReplicas(
  replicas: Replicas,
  database: string,
  names: readonly string[],
  isOurs: (table: string) => boolean,
): Promise<void> {
  const found = await askAll(
    replicas,
    "name, engine, create_table_query AS definition",
    "system.tables",
    `database = ${quoteText(database)}`,
  );
  const ours = found.filter(({ name }) => isOurs(String(name)));
  const local = ours.find(
    ({ engine }) => /MergeTree/.test(String(engine)) && !/^(Replicated|Shared)/.test(String(engine)),
  );
  if (local !== undefined) {
    const full = `${quoteIdentifier(database)}.${quoteIdentifier(String(local["name"]))}`;
    throw new ReplicasError(
      `${full} at ${String(local["server"])} has the engine ${String(local["engine"])}, and its rows are at that server only: run there DETACH TABLE ${full}; ATTACH TABLE ${full} AS REPLICATED; SYSTEM RESTORE REPLICA ${full}, or leave CLICKHOUSE_CLUSTER empty`,
    );
  }
  // Views read tables: those first.
  const order = (engine: unknown): number => (/View$/.test(String(engine)) ? 1 : 0);
  for (const { name, engine, definition } of ours.toSorted(
    (a, b) => order(a["engine"]) - order(b["engine"]),
  )) {
    const having = new Set(ours.filter((one) => one["name"] === name).map(({ server }) => server));
    if (having.size < names.length) {
      await runEverywhere(replicas, asRepeatable(String(definition), replicas.onCluster));
      ours.push(...names.map((server) => ({ server, name, engine })));
    }
  }
}

/** `CREATE TABLE db.name (` of a server's own words, to be run where it may be there. */
function asRepeatable(definition: string, onCluster: string | null): string {
  return definition.replace(
    /^CREATE (TABLE|VIEW|MATERIALIZED VIEW) ((?:`(?:[^`\\]|\\.)*`|\w+)\.(?:`(?:[^`\\]|\\.)*`|\w+))/,
    (_head, kind: string, name: string) =>
      `CREATE ${kind} IF NOT EXISTS ${name}${onClusterClause(onCluster)}`,
  );
}

/**
 * What replicas lack of the schema, one sentence each: tables, and settings, which are each replica's own. `settings`: the
 * schema's own `ALTER TABLE … MODIFY SETTING` statements.
 */
export async function whatReplicasLack(
  replicas: Replicas,
  database: string,
  isOurs: (table: string) => boolean,
  settings: readonly string[],
): Promise<readonly string[]> {
  const names = await checkReplicas(replicas, database);
  const found = (
    await askAll(replicas, "name, engine_full", "system.tables", `database = ${quoteText(database)}`)
  ).filter(({ name }) => isOurs(String(name)));
  const tables = new Set(found.map(({ name }) => String(name)));
  const lacks: string[] = [];
  for (const server of names) {
    const own = new Map(
      found
        .filter((one) => one["server"] === server)
        .map(({ name, engine_full }) => [String(name), String(engine_full)]),
    );
    lacks.push(...[...tables].filter((name) => !own.has(name)).map((name) => `${name} at ${server}`));
    for (const statement of settings) {
      const name = [...own.keys()].find((one) =>
        statement.startsWith(`ALTER TABLE ${quoteIdentifier(database)}.${quoteIdentifier(one)} `),
      );
      const declared = name === undefined ? "" : (own.get(name) ?? "");
      for (const [pair] of statement.matchAll(/\w+ = ('[^']*'|\d+)/g)) {
        if (name !== undefined && !declared.includes(pair)) {
          lacks.push(`${pair} of ${name} at ${server}`);
        }
      }
    }
  }
  return lacks;
}
