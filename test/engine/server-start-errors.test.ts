/** A local server that cannot start says why in a sentence, and what to do. */
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";

const directory = mkdtempSync(join(tmpdir(), "headrace-start-errors-"));
const own = { platform: process.platform, arch: process.arch };

function pretend(machine: Partial<typeof own>): void {
  for (const [name, value] of Object.entries(machine)) {
    Object.defineProperty(process, name, { value });
  }
}

afterEach(() => {
  pretend(own);
  rmSync(directory, { recursive: true, force: true });
});

test("a platform for which there is no library", async () => {
  pretend({ platform: "freebsd" });
  await expect(startClickHouse({ directory })).rejects.toMatchObject({
    reason: "library_missing",
    message: `There is no ClickHouse library for freebsd-${own.arch}: only for linux-x64, linux-arm64, darwin-x64, darwin-arm64. Set CLICKHOUSE_URL to a server of yours.`,
  });
});

test("a library that is not installed", async () => {
  const arch = own.arch === "arm64" ? "x64" : "arm64"; // npm installs this machine's alone
  pretend({ platform: "linux", arch });
  await expect(startClickHouse({ directory })).rejects.toMatchObject({
    reason: "library_missing",
    message: `ClickHouse's library (npm package @chdb/lib-linux-${arch}-gnu) is not installed: run \`npm install\`, and on Linux use one with glibc. Or set CLICKHOUSE_URL to a server of yours.`,
  });
});

test.each([
  [
    "a setting",
    "SETTINGS index_granularity = 8192, from_the_future = 1",
    "Unknown setting 'from_the_future'",
  ],
  ["a clause", "FROM THE FUTURE SETTINGS index_granularity = 8192", "Syntax error"],
])("a data folder of a version that knows %s more", async (_what, declared, cause) => {
  const server = await startClickHouse({ directory });
  const run = statementRunner({ url: server.url });
  await run("CREATE DATABASE x");
  await run("CREATE TABLE x.t (a UInt64) ENGINE = MergeTree ORDER BY a");
  await server.stop();
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" });
  const [metadata = ""] = files.filter((file) => /(^|\/)t\.sql$/.test(file));
  const path = join(directory, metadata);
  writeFileSync(path, readFileSync(path, "utf8").replace("SETTINGS index_granularity = 8192", declared));
  await expect(startClickHouse({ directory })).rejects.toMatchObject({
    reason: "directory_unreadable",
    message: expect.stringMatching(
      new RegExp(
        `^ClickHouse's data directory ${directory} cannot be read: another version wrote it, or it is damaged \\(${cause}[^\\n]*\\)\\. Move it away, or set HEADRACE_STATE to another folder\\.$`,
      ),
    ),
  });
});

test("a port that another server takes between the look at it and its use, and that answers as ClickHouse does", async () => {
  const port = await freePort();
  const other = createServer((_, response) => response.end("Ok.\n"));
  const starts = startClickHouse({ directory, port });
  // Taken as soon as the look at it is over: the server's process needs a second until it asks for it.
  const take = () => void other.listen(port, "127.0.0.1");
  other.on("error", () => setTimeout(take, 1));
  setTimeout(take, 1);
  try {
    await expect(starts).rejects.toMatchObject({ reason: "port_taken" });
  } finally {
    other.close();
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
