/**
 * The configuration of the local ClickHouse server: loopback only, one user who can do all that the product, its
 * tests and a person at the terminal do with tables, and nothing with the machine's files, network or programs.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openToUsers, type ServerUser, withMoreUsers } from "./more-users.ts";

export interface ServerConfig {
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly timezone: string;
  readonly user: string;
  readonly password: string;
  readonly moreUsers: readonly ServerUser[];
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

const queries =
  "<handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>";

/**
 * A request that names the user may query; every other one gets a sentence. Without this, a request that names nobody is
 * `default`'s (see below), and no quota counts a SELECT without FROM: `SELECT file('/home/…')` gave any file to anybody.
 *
 * A name in the address is not a login here, so that what names two users is refused by ClickHouse itself. Its own pages (/play)
 * log in that way, and ask for CORS: they are not served.
 */
function handlers(user: string): string {
  const named = Buffer.from(`${user}:`);
  const start = named.toString("base64").slice(0, Math.floor((8 * named.length) / 6)); // its last bits are the password's
  const refusal =
    "This server answers to one user, with a password: npm run dev prints the address with both.\n";
  return `
    <rule><url>/ping</url><handler><type>ping</type></handler></rule>
    <rule><headers><Authorization>regex:Basic ${start.replaceAll("+", "[+]")}.*</Authorization></headers>${queries}</rule>
    <rule><headers><X-ClickHouse-User>${xml(user)}</X-ClickHouse-User></headers>${queries}</rule>
    <rule><handler><type>static</type><status>403</status><response_content>${xml(refusal)}</response_content></handler></rule>
  `;
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
  <http_handlers>${handlers(config.user)}</http_handlers>
  <logger><console>1</console><level>fatal</level></logger>
</clickhouse>
`;
}

/**
 * clickhouse-local runs the statements of its start as `default`, from loopback and without a password; no setting names
 * another user. Over HTTP the name opens nothing: see `handlers`.
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
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
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
  const { moreUsers } = config;
  writeFileSync(usersFile, withMoreUsers(usersXml(config), moreUsers), { mode: 0o600 });
  writeFileSync(path, openToUsers(serverXml(config, usersFile), moreUsers), { mode: 0o600 });
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
