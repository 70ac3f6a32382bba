import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import {
  devSettings,
  exportSpans,
  freshSpans,
  type LocalPipeline,
  startLocalPipeline,
  temporaryFolder,
} from "./local-pipeline.ts";

const folder = temporaryFolder();
const directory = join(folder.path, "server");
let server: ClickHouse;
let local: LocalPipeline;

beforeAll(async () => {
  server = await startClickHouse({ directory });
  const settings = devSettings(folder.path, { clickHouseUrl: server.url, ledgerTimesFaster: "30" });
  local = await startLocalPipeline(settings);
}, 60_000);

afterAll(async () => {
  await local.stop();
  await server.stop();
  folder.remove();
}, 30_000);

test("CLICKHOUSE_URL makes the pipeline use another server", async () => {
  await exportSpans(local.pipeline, freshSpans(20));
  await local.eventually("SELECT count() FROM otel_traces", "20", 5000);
});

test("with ClickHouse down clients still get 200, and their spans arrive when it is back", async () => {
  server.kill();
  await server.exited;
  await exportSpans(local.pipeline, freshSpans(100));
  await exportSpans(local.pipeline, freshSpans(100), "json", "none");
  await expect.poll(() => local.logs.join("\n"), { timeout: 15_000 }).toContain('"outcome":"unknown"');
  await exportSpans(local.pipeline, freshSpans(100));
  server = await startClickHouse({ directory, port: server.port, password: server.password });
  await local.eventually("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces", "320\t320", 40_000);
});
