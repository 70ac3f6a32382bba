/**
 * Which table answers under a name, and whether its server has all rows that were acknowledged: the parts of our
 * statements that ask, and what is made of their answers (decision 0014). Behind one address there may be several servers:
 * replicas of one table, of which one lags, or tables of which none knows the others' rows.
 */
import * as v from "valibot";
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { quoteText } from "./identifier.ts";

/** Where the traces table is. */
export interface TracesTableName {
  readonly database: string;
  readonly tracesTable: string;
}

/** Which server gave an answer: compared within one reading, and for people. */
export interface ServerWitness {
  readonly server: string;
  /** Seconds since it started. Fewer than before: it is another process, which may have come back with less. */
  readonly upSeconds: number;
}

/** What a statement's answer says of the server that gave it, and of the table. */
export interface TableWitness extends ServerWitness {
  /**
   * The table that it has. `plain` tables with other identities have other rows; replicas of one have the same one. Null: the
   * server could not say.
   */
  readonly table: string | null;
  /** Why rows that others acknowledged may be missing here; empty: none is. */
  readonly behind: string;
  /** Replicas that may store rows: those with a ZooKeeper session. 1 where the table is one server's. */
  readonly replicas: number;
}

/** What a server says of itself, as `countingServerSql` asks for it. */
export interface ServerAnswer {
  readonly host: string;
  /** `serverUUID()`: made at a server's first start and kept in its data folder. Zeros in clickhouse-local. */
  readonly serverUuid: string;
  readonly port: number;
  readonly upSeconds: number;
}

/** What a server says, as `witnessSql` asks for it. */
export interface TableAnswer extends ServerAnswer {
  /** Its uuid; in a database whose tables show none (Ordinary, clickhouse-local's own) the end of its data path. */
  readonly uuid: string;
  readonly engine: string;
  /** Null: the table is not replicated, or system.replicas was not asked, or does not show it. */
  readonly replica: ReplicaState | null;
}

/** Of a row of system.replicas. */
export interface ReplicaState {
  readonly path: string;
  readonly name: string;
  readonly isReadonly: boolean;
  readonly isSessionExpired: boolean;
  readonly zookeeperException: string;
  readonly activeReplicas: number;
  /** Entries of the table's log that it has not taken into its queue: `log_max_index + 1 - log_pointer`. */
  readonly logBehind: number;
  readonly insertsInQueue: number;
  /** The last entry of the log that all replicas share: each block of an INSERT is one, each merge is one. */
  readonly logEnd: number;
}

export type TableKind = "plain" | "replicated" | "shared";

/** Of an identity: how far one server's answer goes. Null where none is known. */
export function kindOfTable(table: string | null): TableKind | null {
  if (table === null) {
    return null;
  }
  const end = table.indexOf(" ");
  const kind = end < 0 ? table : table.slice(0, end);
  return kind === "plain" || kind === "replicated" || kind === "shared" ? kind : null;
}

/**
 * A plain table is one server's: its uuid is not enough, for ON CLUSTER and databases of the engine Replicated give one
 * uuid to the tables of all servers.
 */
export function witnessOf(answer: TableAnswer): TableWitness {
  const { host, serverUuid, uuid, engine, replica } = answer;
  const server = serverWitnessOf(answer);
  if (engine.startsWith("Shared")) {
    return { ...server, table: `shared ${uuid}`, behind: "", replicas: 1 };
  }
  if (!engine.startsWith("Replicated")) {
    return { ...server, table: `plain ${serverUuid} ${uuid}`, behind: "", replicas: 1 };
  }
  if (replica === null) {
    const behind = `${host} does not show the table in system.replicas`;
    return { ...server, table: null, behind, replicas: 1 };
  }
  if (replica.path.length > limits.zooKeeperPathCharactersMax) {
    const behind = `${host} has the table under a ZooKeeper path of more than ${limits.zooKeeperPathCharactersMax} characters`;
    return { ...server, table: null, behind, replicas: 1 };
  }
  const replicas = replica.activeReplicas;
  return { ...server, table: `replicated ${replica.path}`, behind: whyBehind(host, replica), replicas };
}

/** The port too: servers on one host may have one uuid, where they are not clickhouse-server. */
export function serverWitnessOf({ host, serverUuid, port, upSeconds }: ServerAnswer): ServerWitness {
  return { server: `${host}:${port} (${serverUuid})`, upSeconds };
}

function whyBehind(host: string, replica: ReplicaState): string {
  const name = `replica ${replica.name} at ${host}`;
  if (replica.isSessionExpired || replica.zookeeperException !== "") {
    const why = replica.zookeeperException.slice(0, 200);
    return `${name} has lost its ZooKeeper session${why === "" ? "" : `: ${why}`}`;
  }
  if (replica.isReadonly) {
    return `${name} is read-only`;
  }
  if (replica.activeReplicas < 1) {
    return `${name} knows of no active replica`;
  }
  if (replica.logBehind > 0 || replica.insertsInQueue > 0) {
    return `${name} lags: ${replica.logBehind} log entries not taken, ${replica.insertsInQueue} inserts in its queue`;
  }
  return "";
}

const serverColumns = ["hostName()", "toString(serverUUID())", "tcpPort()", "uptime()"];
// Those of the log's end, of its own place and of the active replicas are asked of ZooKeeper.
const replicaColumns = [
  "zookeeper_path",
  "replica_name",
  "is_readonly",
  "is_session_expired",
  "zookeeper_exception",
  "toUInt32(active_replicas)",
  "toInt32(toInt64(log_max_index) + 1 - toInt64(log_pointer))",
  "inserts_in_queue",
  "toFloat64(log_max_index)",
];

/** Of the columns that `readAnswer` reads, and where they are asked for. */
function witnessParts(settings: TracesTableName, table: string | null): { columns: string; from: string } {
  const { database, tracesTable } = settings;
  return kindOfTable(table) === "replicated"
    ? {
        columns: [...serverColumns, "''", "engine", ...replicaColumns].join(", "),
        from: `FROM system.replicas WHERE database = ${quoteText(database)} AND table = ${quoteText(tracesTable)}`,
      }
    : { columns: [...serverColumns, tableIdSql, "engine"].join(", "), from: fromTable(settings) };
}

/**
 * A query of one row and one column, `witness`: a JSON array for `readAnswer`. No row: there is no such table.
 * system.replicas is asked only where the table is known to be replicated: a login may have no right to it.
 */
export function witnessSql(settings: TracesTableName, table: string | null): string {
  const { columns, from } = witnessParts(settings, table);
  return `SELECT toJSONString((${columns})) AS witness ${from}`;
}

/** The same as columns, for a statement of its own: it takes a tenth less. */
export function witnessColumnsSql(settings: TracesTableName, table: string | null): string {
  const { columns, from } = witnessParts(settings, table);
  return `SELECT ${columns} ${from}`;
}

/** An expression: a JSON array for `readServer`. */
export const countingServerSql = `toJSONString((${serverColumns.join(", ")}))`;

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const noUuid = "00000000-0000-0000-0000-000000000000";
// The end of the path alone: a folder that is moved with all of its data is the same table.
const pathEnd = "arrayStringConcat(arraySlice(splitByChar('/', data_paths[1]), -3), '/')";
const tableIdSql = `if(toString(uuid) = '${noUuid}', ${pathEnd}, toString(uuid))`;

export function fromTable({ database, tracesTable }: TracesTableName): string {
  return `FROM system.tables WHERE database = ${quoteText(database)} AND name = ${quoteText(tracesTable)}`;
}

/** Is the table that answers another than `table`? Without rows of system.tables or system.replicas it is. */
export function isElsewhereSql(settings: TracesTableName, table: string): string {
  const [kind, first = ""] = table.split(" ");
  const { database, tracesTable } = settings;
  // The uuid alone is read sooner than what stands in for it.
  const isOther = (id: string) =>
    uuidPattern.test(id)
      ? `(SELECT any(uuid) ${fromTable(settings)}) != toUUID('${id}')`
      : `(SELECT any(${tableIdSql}) ${fromTable(settings)}) != ${quoteText(id)}`;
  switch (kind) {
    case "plain":
      return `toString(serverUUID()) != ${quoteText(first)} OR ${isOther(table.slice(`plain ${first} `.length))}`;
    case "shared":
      return isOther(first);
    default: {
      assert(kind === "replicated", "an identity is of a table that we know how to ask for");
      const path = table.slice("replicated ".length);
      return `(SELECT count() FROM system.replicas WHERE database = '${database}' AND table = '${tracesTable}' AND zookeeper_path = ${quoteText(path)}) = 0`;
    }
  }
}

const flag = v.union([v.boolean(), v.number()]);
const serverSchema = v.tuple([v.string(), v.string(), v.number(), v.number()]);
const tableSchema = v.tuple([...serverSchema.items, v.string(), v.string()]);
const replicaSchema = v.tuple([
  v.string(),
  v.string(),
  flag,
  flag,
  v.string(),
  v.number(),
  v.number(),
  v.number(),
  v.number(),
]);

/** What `witnessSql` or `witnessColumnsSql` came to. Throws for anything else. */
export function readAnswer(witness: unknown): TableAnswer {
  const [host, serverUuid, port, upSeconds, uuid, engine] = v.parse(tableSchema, witness);
  const isOfReplica = v.parse(v.array(v.unknown()), witness).length > tableSchema.items.length;
  return {
    host,
    serverUuid,
    port,
    upSeconds,
    uuid,
    engine,
    replica: isOfReplica ? readReplica(witness) : null,
  };
}

function readReplica(witness: unknown): ReplicaState {
  const [
    path,
    name,
    isReadonly,
    isSessionExpired,
    zookeeperException,
    activeReplicas,
    logBehind,
    insertsInQueue,
    logEnd,
  ] = v.parse(replicaSchema, v.parse(v.array(v.unknown()), witness).slice(tableSchema.items.length));
  return {
    path,
    name,
    isReadonly: Boolean(isReadonly),
    isSessionExpired: Boolean(isSessionExpired),
    zookeeperException,
    activeReplicas,
    logBehind,
    insertsInQueue,
    logEnd,
  };
}

/** What `countingServerSql` came to. Throws for anything else. */
export function readServer(witness: unknown): ServerAnswer {
  const [host, serverUuid, port, upSeconds] = v.parse(serverSchema, witness);
  return { host, serverUuid, port, upSeconds };
}
