/**
 * One real ClickHouse engine for all tests of this project, in a directory of its own on a free port. Tests read
 * `inject("clickhouse")`, and use a database of their own. Nothing is left behind.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The engine's URL, without a slash at the end. */
    clickhouse: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), "headrace-engine-"));
  const clickhouse = await startClickHouse({ directory });
  project.provide("clickhouse", clickhouse.url);
  return async () => {
    await clickhouse.stop();
    rmSync(directory, { recursive: true, force: true });
  };
}
