/**
 * What ClickHouse acknowledged is there after a SIGKILL, however often. Here a few kills; `npm run test:kills` does a
 * hundred.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { ask, insert, newTable } from "./token-inserts.ts";

const kills = Number(process.env["HEADRACE_KILLS"] ?? 5);
const writers = 4;
const directory = mkdtempSync(join(tmpdir(), "headrace-kills-"));
// Each INSERT has left a directory.
afterAll(() => rmSync(directory, { recursive: true, force: true }), 60_000);

/** INSERTs until the connection breaks; adds the tokens that were acknowledged. */
async function write(server: ClickHouse, table: string, next: () => number, acknowledged: number[]) {
  try {
    while (true) {
      const token = next();
      const { status } = await insert(table, [[1, token]], String(token), {}, server.url);
      expect(status).toBe(200);
      acknowledged.push(token);
    }
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
  }
}

test(
  `no acknowledged row is lost, and none is there twice, over ${kills} SIGKILLs in the middle of INSERTs`,
  async () => {
    const acknowledged: number[] = [];
    let token = 0;
    let server = await startClickHouse({ directory });
    const table = await newTable(100_000, "", { url: server.url });
    for (let kill = 1; kill <= kills; kill++) {
      const running = Array.from({ length: writers }, () =>
        write(server, table, () => ++token, acknowledged),
      );
      await new Promise((resolve) => setTimeout(resolve, 50 + ((kill * 37) % 250)));
      server.kill();
      await Promise.all([...running, server.exited]);
      server = await startClickHouse({ directory });
    }
    const rows = (await ask(`SELECT a FROM ${table}`, {}, server.url)).split("\n").map(Number);
    await server.stop();
    const found = new Set(rows);
    expect(acknowledged.length).toBeGreaterThan(kills);
    expect(acknowledged.filter((one) => !found.has(one))).toEqual([]);
    expect(rows).toHaveLength(found.size);
  },
  20_000 + kills * 15_000,
);
