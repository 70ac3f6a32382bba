/**
 * Whether the traces table can keep the promise of one copy, judged from how its engine was declared. A table without
 * a deduplication window stores every retry again, and says 200; so nothing is inserted into one.
 */
import { limits } from "../limits.ts";
import type { ClickHouseSettings } from "./connection.ts";
import { tableName } from "./statements.ts";
import { readTtl } from "./ttl.ts";

/** One row of `tableStateQuery`, or undefined where there is no such table. */
export interface TableDeclaration {
  readonly engine: string;
  readonly engineFull: string;
  /** The same of the table at each replica, where they can be asked. */
  readonly atReplicas?: readonly string[];
  /** `system.replicated_merge_tree_settings`: what a replicated table has that declares none. */
  readonly defaults?: ReadonlyMap<string, string>;
  /** Of `headrace_receipts`. */
  readonly receiptsEngine?: string | undefined;
}

/** What of the server's settings can break the promise. */
export interface ServerState {
  /** `serverTimezone()`: stored times are turned into days by it, whatever a session says. */
  readonly timezone: string;
  /** The setting `deduplicate_insert` as our login has it; empty where the server does not know it. */
  readonly deduplicateInsert: string;
  /** The same of `deduplicate_insert_select`. */
  readonly deduplicateInsertSelect: string;
  /** ms that its clock is ahead of ours. */
  readonly clockAheadMs: number;
}

/** The oldest release line that every statement was run on: an LTS (`npm run test:versions`). */
export const versionMin = [25, 8] as const;

/** Why nothing may be inserted on a server of this version (`25.5.2.1`); empty: it may. */
export function checkVersion(version: string): string {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  const isOld =
    major === undefined ||
    minor === undefined ||
    Number(major) < versionMin[0] ||
    (Number(major) === versionMin[0] && Number(minor) < versionMin[1]);
  return isOld
    ? `The server is ClickHouse ${version}; the oldest supported version is ${versionMin.join(".")}: in older ones the DELETE of a payload's rows fails, or settings that we need do not exist. Fix it with an upgrade of ClickHouse to ${versionMin.join(".")} or later`
    : "";
}

/** Names of UTC, and of zones that never differ from it. */
const utcNames = /^(Etc\/)?(UTC|UCT|Universal|Zulu|Greenwich|GMT([+-]?0)?)$/i;

/** The deduplication window as declared: blocks, and ms where the engine forgets by time too. */
export interface DeduplicationWindow {
  readonly blocks: number;
  readonly ms: number | null;
}

/**
 * Plain MergeTree: default 0, which means no deduplication. Replicated and Shared: the server's, 10,000 and one hour where it does
 * not say. The least of all replicas rules: each trims the log that they share by its own.
 */
export function windowOf({
  engine,
  engineFull,
  atReplicas,
  defaults,
}: TableDeclaration): DeduplicationWindow {
  const least = (name: string, otherwise: number): number =>
    Math.min(
      ...[engineFull, ...(atReplicas ?? [])].map((declared) =>
        Number(
          new RegExp(`(?<!\\w)${name} = (\\d+)`).exec(declared)?.[1] ?? defaults?.get(name) ?? otherwise,
        ),
      ),
    );
  return isReplicated(engine)
    ? {
        blocks: least("replicated_deduplication_window", 10_000),
        ms: least("replicated_deduplication_window_seconds", 3600) * 1000,
      }
    : { blocks: least("non_replicated_deduplication_window", 0), ms: null };
}

function isReplicated(engine: string): boolean {
  return /^(Replicated|Shared)/.test(engine);
}

/** Why nothing may be inserted, with the command that fixes it; empty where everything is as it must be. */
export function checkTable(settings: ClickHouseSettings, declaration: TableDeclaration | undefined): string {
  const name = tableName(settings, settings.tracesTable);
  if (declaration === undefined) {
    return `There is no table ${name}, or the user ${settings.user} may not see it: apply the schema, and check CLICKHOUSE_DATABASE, CLICKHOUSE_TRACES_TABLE and the user's grants.`;
  }
  const { engine } = declaration;
  if (!/^(Replicated|Shared)?(MergeTree)$/.test(engine)) {
    return `${name} has the engine ${engine}, which does not keep one copy of each row: use MergeTree, ReplicatedMergeTree or SharedMergeTree.`;
  }
  const { receiptsEngine } = declaration;
  if (isReplicated(engine) && receiptsEngine !== undefined && !isReplicated(receiptsEngine)) {
    return `${name} is replicated, and headrace_receipts has the engine ${receiptsEngine}, whose rows another replica does not show. Fix it with: npx headrace deploy, with CLICKHOUSE_CLUSTER or CLICKHOUSE_REPLICAS set`;
  }
  const { blocks } = windowOf(declaration);
  if (blocks < limits.deduplicationWindowMin) {
    const setting = isReplicated(engine)
      ? "replicated_deduplication_window"
      : "non_replicated_deduplication_window";
    return `${name} remembers the last ${blocks} blocks, and a retry would be stored twice. Fix it with: ALTER TABLE ${name} MODIFY SETTING ${setting} = ${limits.deduplicationWindow}${isReplicated(engine) ? ", at each replica" : ""}`;
  }
  const ttl = readTtl(declaration.engineFull);
  if (ttl.kind === "unclear") {
    return `${name} has a TTL that we do not understand (${ttl.clause}): rows that it dropped could not be distinguished from rows that were lost. Fix it with: ALTER TABLE ${name} MODIFY TTL toDateTime(Timestamp) + toIntervalDay(90), or another number of days (hours, weeks, months, years)`;
  }
  return "";
}

/** There is no such database: CLICKHOUSE_DATABASE names another one, or the address is another server's. */
export function noDatabaseRefusal({ database, user }: ClickHouseSettings): string {
  return `There is no database ${database} on this server, or the user ${user} may not see it: check CLICKHOUSE_URL and CLICKHOUSE_DATABASE, and apply the schema.`;
}

/** The look itself was refused (497). `said`: ClickHouse's words, which name the right. */
export function rightsRefusal({ user }: ClickHouseSettings, said: string): string {
  const [, right] = /necessary to have the grant (.*?)\.(?: \(|$)/s.exec(said) ?? [];
  const grant = right?.replace(/ for at least one column on /, " ON ");
  return grant === undefined
    ? `The user ${user} may not look at the traces table: ${said}`
    : `The user ${user} may not look at the traces table and its server. Fix it with: GRANT ${grant} TO ${user}`;
}

/** What of a replicated table is evidence, system.replicas says. */
export function replicasRefusal({ user }: ClickHouseSettings): string {
  return `The user ${user} may not read system.replicas: a replica that lags could not be distinguished from one that has all rows. Fix it with: GRANT SELECT ON system.replicas TO ${user}`;
}

function isUtc(timezone: string): boolean {
  return utcNames.test(timezone);
}

/** Why nothing may be inserted on this server with this login, with what fixes it; empty where all is as it must be. */
export function checkServer({ user }: ClickHouseSettings, server: ServerState): string {
  const { timezone, deduplicateInsert, deduplicateInsertSelect, clockAheadMs } = server;
  if (!isUtc(timezone)) {
    // Rows are counted and partitions are formed by toDate(Timestamp), and receipts say days in UTC.
    return `The server's time zone is ${timezone}: its days differ from those by which rows are counted. Fix it with <timezone>UTC</timezone> in the server's configuration (stored times do not change, only how they are shown), and a restart.`;
  }
  if (deduplicateInsert === "disable") {
    return `deduplicate_insert is 'disable' for the user ${user}, which beats insert_deduplicate=1, and a retry would be stored twice. Fix it with: ALTER USER ${user} SETTINGS deduplicate_insert = 'enable' (or in the profile that sets it)`;
  }
  if (deduplicateInsertSelect === "disable") {
    return `deduplicate_insert_select is 'disable' for the user ${user}: our INSERTs are INSERT … SELECT, and a retry would be stored twice. Fix it with: ALTER USER ${user} SETTINGS deduplicate_insert_select = 'enable_when_possible' (or in the profile that sets it)`;
  }
  if (Math.abs(clockAheadMs) > limits.clockAheadMaxMs) {
    // The server refuses an INSERT after its deadline, by its own clock: too far ahead and it refuses all of them.
    const seconds = Math.round(Math.abs(clockAheadMs) / 1000);
    return `The server's clock is ${seconds} s ${clockAheadMs > 0 ? "ahead of" : "behind"} ours: it cannot tell an INSERT that comes too late. Let ntpd or chronyd set the clock of ClickHouse's host`;
  }
  return "";
}
