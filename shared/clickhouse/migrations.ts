/**
 * Brings a ClickHouse database to the schema in `schema/`: which files are still to be applied, their statements with
 * the names filled in, and the table that remembers it. Every statement may be run again (IF NOT EXISTS), so a run
 * that was cut off is repeated as a whole, and two runs at once end in the same schema. On replicas, see replicated-schema.ts.
 *
 * It asks the database only through the `query` that it is given, and reads no files: `dev/`, the tests and the CLI
 * share it.
 */
import * as v from "valibot";
import { assert } from "../assert.ts";
import { toHex } from "../hex.ts";
import { limits } from "../limits.ts";
import { quoteIdentifier, quoteText } from "./identifier.ts";
import {
  checkReplicas,
  completeReplicas,
  isSettingsAlter,
  makeDatabase,
  type Replicas,
  replicatedStatement,
  runEverywhere,
  whatReplicasLack,
} from "./replicated-schema.ts";
import { checkVersion } from "./table-check.ts";
import { fenceQuery, fenceStatement, isFenceOf } from "./table-fence.ts";
import { readAnswer, type TableAnswer, witnessOf, witnessSql } from "./table-identity.ts";

/** One file of `schema/`. */
export interface MigrationFile {
  /** `0001_traces.sql` */
  readonly name: string;
  readonly text: string;
}

/** What an installation may choose. */
export interface SchemaSettings {
  readonly database: string;
  readonly tracesTable: string;
  /** Days after which ClickHouse drops spans; undefined: never, as the exporter's default is. */
  readonly tracesTtlDays: number | undefined;
  readonly receiptsDays: number;
  /** For sealed minutes, findings and outcomes. */
  readonly minutesDays: number;
  /** Of a traces table that is made now: fewer rows are read per span that is looked for (decision 88). */
  readonly smallGranules: boolean;
  /** Files that are remembered as applied and are not: what they say of themselves. */
  readonly leaveOut: readonly OptionalFile[];
}

/** What an installation may do without, by the file's name without its number. */
const optionalFiles = ["trace_projection"] as const;
type OptionalFile = (typeof optionalFiles)[number];

/** Files that take away what Workers of an earlier version ask: they are applied when those of this version are deployed. */
const lateFiles: readonly string[] = ["0018_receipt_places_end.sql"];

export function isLateFile(name: string): boolean {
  return lateFiles.includes(name);
}

export const defaultSchemaSettings: SchemaSettings = {
  database: "default",
  tracesTable: "otel_traces",
  tracesTtlDays: undefined,
  receiptsDays: limits.receiptsRetentionDays,
  minutesDays: limits.minutesRetentionDays,
  smallGranules: false, // an INSERT costs 3 to 9 % more with them
  leaveOut: ["trace_projection"], // expensive for INSERTs and merges (decision 83), so it is opt-in
};

/** A file with its statements ready to be run in order. */
export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
  readonly statements: readonly string[];
}

const appliedSchema = v.object({ number: v.number(), name: v.string(), checksum: v.string() });
/** A file that the database remembers. */
export type AppliedMigration = v.InferOutput<typeof appliedSchema>;

/** The schema cannot be brought up to date; the message says what to do. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

/** Runs one statement and resolves with the answer's text; rejects with ClickHouse's exception. */
export type RunStatement = (sql: string) => Promise<string>;

/** How often a file is tried: two runs at once may disturb each other, and the next try finds the other's work done. */
const triesMax = 5;

const traceIdTsOf = (tracesTable: string): string => `${tracesTable}_trace_id_ts`;
const traceIdTsMvOf = (tracesTable: string): string => `${tracesTable}_trace_id_ts_mv`;

/** The full names of the tables that an installation has, in backticks. */
export function tableNames(settings: Pick<SchemaSettings, "database" | "tracesTable">) {
  const qualified = (table: string): string =>
    `${quoteIdentifier(settings.database)}.${quoteIdentifier(table)}`;
  return {
    traces: qualified(settings.tracesTable),
    traceIdTs: qualified(traceIdTsOf(settings.tracesTable)),
    traceIdTsMv: qualified(traceIdTsMvOf(settings.tracesTable)),
    receipts: qualified("headrace_receipts"),
    deadLetters: qualified("headrace_dead_letters"),
    minutes: qualified("headrace_minutes"),
    findings: qualified("headrace_findings"),
    outcomes: qualified("headrace_outcomes"),
    migrations: qualified("headrace_migrations"),
  } as const;
}

/**
 * The migrations that `applied` lacks, in order. Throws `MigrationError` when a file that was applied reads otherwise
 * now, or when the database knows a newer schema than these files.
 */
export async function planMigrations(
  files: readonly MigrationFile[],
  settings: SchemaSettings,
  applied: readonly AppliedMigration[],
  replicas?: Replicas,
): Promise<readonly Migration[]> {
  const known = new Map(applied.map((migration) => [migration.number, migration]));
  const planned: Migration[] = [];
  const sorted = files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const [index, file] of sorted.entries()) {
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(file.name)?.[1]);
    assert(number === index + 1, `schema files are numbered without gaps: ${file.name}`);
    const plain = splitStatements(file.text);
    const checksum = await sha256(plain.join(";\n"));
    const before = known.get(number);
    known.delete(number);
    if (before === undefined) {
      planned.push({
        number,
        name: file.name,
        checksum,
        statements: isLeftOut(file, settings)
          ? []
          : plain.map((statement) => fillIn(statement, settings, replicas)),
      });
    } else if (before.checksum !== checksum) {
      throw new MigrationError(
        `${file.name} was applied to ${settings.database}.${settings.tracesTable} in another form (as ${before.name}). ` +
          "A file that was applied is never changed: put the change into a new one.",
      );
    }
  }
  const [unknown] = known.values();
  if (unknown !== undefined) {
    throw new MigrationError(
      `The database has migration ${unknown.name}, which this version does not know: it is older than the schema. Use the newer version.`,
    );
  }
  return planned;
}

function isLeftOut({ name }: MigrationFile, { leaveOut }: SchemaSettings): boolean {
  return leaveOut.some((optional) => name.slice("0000_".length) === `${optional}.sql`);
}

/** A table or view of this schema, by its plain name. */
function isOursIn({ tracesTable }: SchemaSettings): (table: string) => boolean {
  const own = new Set([tracesTable, traceIdTsOf(tracesTable), traceIdTsMvOf(tracesTable)]);
  return (table) => own.has(table) || table.startsWith("headrace_");
}

/** What replicas lack of what the others, or the files, have; see `whatReplicasLack`. */
export async function lacksOfReplicas(
  files: readonly MigrationFile[],
  settings: SchemaSettings,
  replicas: Replicas,
): Promise<readonly string[]> {
  const planned = await planMigrations(files, settings, [], { ...replicas, onCluster: null });
  const statements = planned.flatMap((one) => one.statements).filter(isSettingsAlter);
  return await whatReplicasLack(replicas, settings.database, isOursIn(settings), statements);
}

/**
 * Applies what is missing: at one server, or at all replicas; with `early`, what may be applied under Workers of an earlier version.
 * Resolves with the names of the files that it applied; the second time there are none.
 */
export async function migrate(
  files: readonly MigrationFile[],
  settings: SchemaSettings,
  at: RunStatement | Replicas,
  which: "early" | "all" = "all",
): Promise<readonly string[]> {
  const replicas = typeof at === "function" ? undefined : at;
  const servers = typeof at === "function" ? ([at] as const) : at.servers;
  const [run] = servers;
  const names = tableNames(settings);
  const tooOld = checkVersion((await run("SELECT version() FORMAT TSVRaw")).trim());
  if (tooOld !== "") {
    throw new MigrationError(tooOld);
  }
  await makeBeginnings(settings, run, replicas);
  // Of replicas each is asked: by one that lags a file would be applied again, and one of them drops a table first.
  const remembered = (from: string): string =>
    `SELECT DISTINCT number, name, checksum FROM ${from} WHERE traces_table = ${quoteText(settings.tracesTable)} ORDER BY number FORMAT JSONEachRow`;
  const readApplied = async (): Promise<readonly AppliedMigration[]> => {
    const onCluster = replicas?.onCluster ?? null;
    const texts =
      onCluster === null
        ? await Promise.all(servers.map((server) => server(remembered(names.migrations))))
        : [await run(remembered(`clusterAllReplicas(${quoteText(onCluster)}, ${names.migrations})`))];
    const lines = texts.flatMap((text) => text.split("\n")).filter((line) => line !== "");
    return lines.map((line) => v.parse(appliedSchema, JSON.parse(line)));
  };
  const done: string[] = [];
  const planned = await planMigrations(files, settings, await readApplied(), replicas);
  for (const migration of planned.filter(({ name }) => which === "all" || !isLateFile(name))) {
    if (await apply(migration)) {
      done.push(migration.name);
    }
  }
  if (replicas !== undefined) {
    // They are each replica's own: one that joined, or that a person made, has others.
    for (const { statements } of await planMigrations(files, settings, [], replicas)) {
      for (const statement of statements.filter(isSettingsAlter)) {
        await runEverywhere(replicas, statement);
      }
    }
  }
  await fenceTable(settings, run, replicas);
  return done;

  /** Whether it was this run that applied it. */
  async function apply(migration: Migration): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        for (const statement of migration.statements) {
          await (replicas === undefined ? run(statement) : runEverywhere(replicas, statement));
        }
        await run(
          `INSERT INTO ${names.migrations} (traces_table, number, name, checksum) SETTINGS async_insert = 0 VALUES ` +
            `(${quoteText(settings.tracesTable)}, ${migration.number}, ${quoteText(migration.name)}, ${quoteText(migration.checksum)})`,
        );
        return true;
      } catch (error) {
        const applied = await readApplied();
        if (
          applied.some(
            ({ number, checksum }) => number === migration.number && checksum === migration.checksum,
          )
        ) {
          return false; // another run was quicker
        }
        if (tries >= triesMax) {
          throw new MigrationError(`${migration.name} could not be applied: ${String(error)}`, {
            cause: error,
          });
        }
      }
    }
  }
}

/**
 * The fence that the traces table holds names the table itself, so it is not a statement of a file: it is made, or made anew, where it
 * is not that of the table that is there. Null: it is, or the server cannot say which table there is. `found`: the column's
 * default; empty where there is no column.
 */
export async function missingFence(
  settings: SchemaSettings,
  run: RunStatement,
): Promise<{ readonly table: string; readonly found: string } | null> {
  const ask = async (known: string | null): Promise<TableAnswer | null> => {
    const text = (await run(`${witnessSql(settings, known)} FORMAT TSVRaw`)).trim();
    return text === "" ? null : readAnswer(JSON.parse(text));
  };
  const said = await ask(null);
  const answer = said?.engine.startsWith("Replicated") === true ? await ask("replicated") : said;
  const table = answer === null ? null : witnessOf(answer).table;
  if (table === null) {
    return null;
  }
  const text = await run(`SELECT ${fenceQuery(settings)} FORMAT TSVRaw`);
  const found = text.replace(/^\\N\n?$/, "").trim();
  return isFenceOf(found, table) ? null : { table, found };
}

async function fenceTable(
  settings: SchemaSettings,
  run: RunStatement,
  replicas: Replicas | undefined,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    const missing = await missingFence(settings, run);
    if (missing === null) {
      return;
    }
    try {
      const statement = fenceStatement(settings, missing.table, missing.found);
      await (replicas === undefined ? run(statement) : runEverywhere(replicas, statement));
      return; // where it reads otherwise than it was written, INSERTs do without it
    } catch (error) {
      if (tries >= triesMax) {
        throw new MigrationError(`The table's fence could not be made: ${String(error)}`, { cause: error });
      }
    }
  }
}

/** The database, what of the schema a replica lacks, and the table that remembers the files. */
async function makeBeginnings(
  settings: SchemaSettings,
  run: RunStatement,
  replicas: Replicas | undefined,
): Promise<void> {
  const { database } = settings;
  // One row per file and traces table: an installation may move to another table.
  const remembers =
    "CREATE TABLE IF NOT EXISTS {{database}}.headrace_migrations (traces_table String, number UInt32, name String, checksum String, at DateTime('UTC') DEFAULT now()) " +
    "ENGINE = ReplacingMergeTree(at) ORDER BY (traces_table, number)";
  if (replicas !== undefined) {
    const servers = await checkReplicas(replicas, database);
    await makeDatabase(replicas, database, servers);
    await completeReplicas(replicas, database, servers, isOursIn(settings));
    await runEverywhere(replicas, fillIn(remembers, settings, replicas));
    return;
  }
  const exists = await run(
    `SELECT count() FROM system.databases WHERE name = ${quoteText(database)} FORMAT TSVRaw`,
  );
  if (exists.trim() === "0") {
    await run(`CREATE DATABASE IF NOT EXISTS ${quoteIdentifier(database)}`);
  }
  await run(fillIn(remembers, settings, undefined));
}

/**
 * The statements of a file, without comments and blank lines. A statement ends with a semicolon at a line's end; the
 * files hold no `--` inside strings.
 */
function splitStatements(text: string): readonly string[] {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.replace(/\s*--.*$/, "").trimEnd())
    .filter((line) => line !== "");
  return lines
    .join("\n")
    .split(/;(?:\n|$)/)
    .filter((statement) => statement.trim() !== "");
}

function fillIn(plain: string, settings: SchemaSettings, replicas: Replicas | undefined): string {
  const names = tableNames(settings);
  const { tracesTable } = settings;
  const plainNames: Readonly<Record<string, string>> = {
    traces: tracesTable,
    trace_id_ts: traceIdTsOf(tracesTable),
    trace_id_ts_mv: traceIdTsMvOf(tracesTable),
  };
  const chosen = settings.smallGranules ? withSmallGranules(plain) : plain;
  const statement =
    replicas === undefined
      ? chosen
      : replicatedStatement(
          chosen,
          replicas.onCluster,
          settings.database,
          (name) => plainNames[name] ?? name,
        );
  const values: Readonly<Record<string, string>> = {
    database: quoteIdentifier(settings.database),
    traces: names.traces,
    trace_id_ts: names.traceIdTs,
    trace_id_ts_mv: names.traceIdTsMv,
    traces_ttl: ttl("Timestamp", settings.tracesTtlDays),
    trace_id_ts_ttl: ttl("Start", settings.tracesTtlDays),
    deduplication_window: String(limits.deduplicationWindow),
    deduplication_window_seconds: String(limits.deduplicationWindowSeconds),
    receipts_days: days(settings.receiptsDays),
    minutes_days: days(settings.minutesDays),
  };
  return statement.replaceAll(/\{\{(\w+)\}\}/g, (placeholder, name: string) => {
    const value = values[name];
    assert(value !== undefined, `the schema knows no placeholder ${placeholder}`);
    return value;
  });
}

const usualGranules = "index_granularity = 8192";
const smallGranules = "index_granularity = 2048, min_compress_block_size = 16384";

/**
 * The traces table is made so or not at all: ClickHouse does not change the rows of a granule afterwards. It is not in the file, for
 * a file that was applied is never changed.
 */
function withSmallGranules(plain: string): string {
  return plain.startsWith("CREATE TABLE IF NOT EXISTS {{traces}} ")
    ? plain.replace(usualGranules, smallGranules)
    : plain;
}

/** The exporter's form of the clause. toDateTime: a TTL on DateTime64 is not taken by older servers. */
function ttl(column: string, ttlDays: number | undefined): string {
  return ttlDays === undefined ? "" : `TTL toDateTime(${column}) + toIntervalDay(${days(ttlDays)})`;
}

/** ClickHouse's DateTime ends in 2106; a TTL past it wraps, and rows vanish at the INSERT (seen with 36,500 days). */
const ttlDaysMax = 10_000;

function days(count: number): string {
  if (!Number.isInteger(count) || count < 1 || count > ttlDaysMax) {
    throw new MigrationError(`A TTL is 1 to ${ttlDaysMax} whole days, not ${count}`);
  }
  return String(count);
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return toHex(new Uint8Array(digest));
}
