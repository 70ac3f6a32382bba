/**
 * The configuration of the local ClickHouse server: loopback only, one user who can do all that the product, its
 * tests and a person at the terminal do with tables, and nothing with the machine's files, network or programs.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ServerConfig {
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly timezone: string;
  readonly user: string;
  readonly password: string;
}

/** What works on tables and databases. Nothing of SOURCES (file, url, s3, remote, …) is here, and no dictionaries, which have sources too. */
const privileges = [
  "SHOW",
  "SELECT",
  "INSERT",
  "ALTER",
  "CREATE DATABASE",
  "CREATE TABLE",
  "CREATE VIEW",
  "CREATE TEMPORARY TABLE",
  "DROP",
  "UNDROP TABLE",
  "TRUNCATE",
  "OPTIMIZE",
  "KILL QUERY",
  "SYSTEM MERGES",
  "SYSTEM FLUSH LOGS",
  "SYSTEM DROP CACHE",
] as const;

/**
 * Engines whose tables hold or show rows of this server. `File` is not here: clickhouse-local's takes any path of the
 * machine without a grant of its own.
 */
const engines = [
  "MergeTree",
  "ReplacingMergeTree",
  "SummingMergeTree",
  "AggregatingMergeTree",
  "CollapsingMergeTree",
  "VersionedCollapsingMergeTree",
  "CoalescingMergeTree",
  "Memory",
  "Null",
  "Log",
  "TinyLog",
  "StripeLog",
  "Buffer",
  "Merge",
  "Set",
  "Join",
  "GenerateRandom",
  "View",
  "MaterializedView",
] as const;

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function serverXml(config: ServerConfig, usersFile: string): string {
  const { directory } = config;
  return `<clickhouse>
  <path>${xml(join(directory, "/"))}</path>
  <tmp_path>${xml(join(directory, "tmp/"))}</tmp_path>
  <user_files_path>${xml(join(directory, "user_files/"))}</user_files_path>
  <user_scripts_path>${xml(join(directory, "user_scripts/"))}</user_scripts_path>
  <users_config>${xml(usersFile)}</users_config>
  <default_profile>default</default_profile>
  <listen_host>${xml(config.host)}</listen_host>
  <http_port>${config.port}</http_port>
  <timezone>${xml(config.timezone)}</timezone>
  <logger><console>1</console><level>fatal</level></logger>
</clickhouse>
`;
}

/**
 * clickhouse-local runs the statement that opens the listener as `default`, from loopback and without a password; no
 * setting names another user. Its quota is those two statements, so that over HTTP the name opens nothing (201).
 */
function usersXml({ user, password }: ServerConfig): string {
  const sha256 = createHash("sha256").update(password).digest("hex");
  const grants = [
    `GRANT ${privileges.join(", ")} ON *.*`,
    ...engines.map((engine) => `GRANT TABLE ENGINE ON ${engine}`),
  ].map((grant) => `<query>${grant}</query>`);
  return `<clickhouse>
  <profiles>
    <default><constraints><add_http_cors_header><const/></add_http_cors_header></constraints></default>
    <starts/>
  </profiles>
  <quotas>
    <default/>
    <starts><interval><duration>2147483647</duration><queries>2</queries></interval></starts>
  </quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>starts</profile>
      <quota>starts</quota>
      <grants><query>GRANT SYSTEM LISTEN, CREATE TEMPORARY TABLE, READ ON *.*</query></grants>
    </default>
    <${user}>
      <password_sha256_hex>${sha256}</password_sha256_hex>
      <networks><ip>127.0.0.0/8</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>${grants.join("")}</grants>
    </${user}>
  </users>
</clickhouse>
`;
}

/** Writes the files for one start, into a folder of the owner's alone. `remove` when the server is up or has failed. */
export function writeServerConfig(config: ServerConfig): { readonly path: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "headrace-clickhouse-"));
  const path = join(folder, "server.xml");
  const usersFile = join(folder, "users.xml");
  writeFileSync(usersFile, usersXml(config), { mode: 0o600 });
  writeFileSync(path, serverXml(config, usersFile), { mode: 0o600 });
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
