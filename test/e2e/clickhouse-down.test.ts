import { expect, test } from "vitest";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

const server = useClickHouse();
const local = useLocalPipeline({}, () => ({ clickHouseUrl: server.url, ledgerTimesFaster: "30" }));

test("CLICKHOUSE_URL makes the pipeline use another server", async () => {
  await exportSpans(local.pipeline, freshSpans(20));
  await local.eventually("SELECT count() FROM otel_traces", "20", 5000);
});

test("with ClickHouse down clients still get 200, and their spans arrive when it is back", async () => {
  await server.kill();
  await exportSpans(local.pipeline, freshSpans(100));
  await exportSpans(local.pipeline, freshSpans(100), "json", "none");
  await expect.poll(() => local.logs.join("\n"), { timeout: 15_000 }).toContain('"outcome":"unknown"');
  await exportSpans(local.pipeline, freshSpans(100));
  await server.restart();
  await local.eventually("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces", "320\t320", 40_000);
});
