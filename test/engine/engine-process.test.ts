import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";

const directory = mkdtempSync(join(tmpdir(), "headrace-process-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("a directory that another engine uses is named, and so is a port that is taken", async () => {
  const first = await startClickHouse({ directory });
  try {
    await expect(startClickHouse({ directory })).rejects.toMatchObject({
      reason: "directory_locked",
      message: expect.stringContaining(directory),
    });
    const other = mkdtempSync(join(tmpdir(), "headrace-process-"));
    await expect(startClickHouse({ directory: other, port: first.port })).rejects.toMatchObject({
      reason: "port_taken",
      message: expect.stringContaining("HEADRACE_CLICKHOUSE_PORT"),
    });
    rmSync(other, { recursive: true, force: true });
  } finally {
    await first.stop();
  }
});

test("acknowledged rows survive a SIGKILL, and so does the memory of their tokens", async () => {
  const ask = async (url: string, sql: string): Promise<string> => {
    const response = await fetchClickHouse(url, { method: "POST", body: sql });
    return (await response.text()).trim();
  };
  const first = await startClickHouse({ directory });
  await ask(
    first.url,
    "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
  );
  const insert = "INSERT INTO t SETTINGS insert_deduplication_token = 'x', async_insert = 0 VALUES (1)";
  expect(await ask(first.url, insert)).toBe("");
  first.kill();
  await first.exited;
  const second = await startClickHouse({ directory });
  expect(await ask(second.url, "SELECT count() FROM t")).toBe("1");
  expect(await ask(second.url, insert)).toBe("");
  expect(await ask(second.url, "SELECT count() FROM t")).toBe("1");
  await second.stop();
});

test.skipIf(process.platform !== "linux")(
  "some seconds after its start the server gives back what only the start needed of the library (skipped but on Linux)",
  async () => {
    const server = await startClickHouse({ directory });
    const residentMiB = () => {
      const [, kib] = /RssFile:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8")) ?? [];
      return Number(kib) / 1024;
    };
    try {
      // About 90; without it 215 or more.
      await expect.poll(residentMiB, { timeout: 30_000, interval: 250 }).toBeLessThan(150);
      expect(await (await fetchClickHouse(server.url, { method: "POST", body: "SELECT 1" })).text()).toBe(
        "1\n",
      );
    } finally {
      await server.stop();
    }
  },
);
