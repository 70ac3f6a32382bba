/**
 * Usual payloads in number: while each INSERT takes seconds, and after ClickHouse was away. None waits for another
 * invocation, what they take of the isolate's bytes comes back, and everything is stored once.
 */
import { join } from "node:path";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { limits } from "../../shared/limits.ts";
import { type BreakingProxy, startBreakingProxy } from "./breaking-proxy.ts";
import {
  devSettings,
  freshSpans,
  type LocalPipeline,
  startLocalPipeline,
  temporaryFolder,
} from "./local-pipeline.ts";

const folder = temporaryFolder();
const directory = join(folder.path, "server");
let server: ClickHouse;
let proxy: BreakingProxy;
let local: LocalPipeline;

beforeAll(async () => {
  server = await startClickHouse({ directory });
  proxy = await startBreakingProxy(server.url);
  local = await startLocalPipeline(devSettings(folder.path, { clickHouseUrl: proxy.url }));
}, 90_000);

afterAll(async () => {
  await local.stop();
  await proxy.stop();
  await server.stop();
  folder.remove();
}, 30_000);

/** Sends payloads of 512 spans, four clients at once; each is answered 200. */
async function sendPayloads(count: number): Promise<void> {
  let next = 0;
  const client = async (): Promise<void> => {
    while (next++ < count) {
      const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
        method: "POST",
        headers: { "x-api-key": local.pipeline.key, "content-type": "application/x-protobuf" },
        body: new Uint8Array(ProtobufTraceSerializer.serializeRequest(freshSpans(512)) ?? []),
      });
      await response.arrayBuffer();
      expect(response.status).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
}

const stored = "SELECT count(), uniqExact(HeadracePayload, SpanId) FROM otel_traces";
const receipts = "SELECT countIf(outcome = 'stored'), count() FROM headrace_receipts FINAL";
const crossed = () => local.logs.filter((line) => line.includes("different request context"));

test("forty payloads are stored while each INSERT takes two seconds, of which no more are out than may be", async () => {
  proxy.slowMs = 2000;
  await sendPayloads(40);
  await local.eventually(receipts, "40\t40", 90_000);
  expect(await local.query(stored)).toBe(`${40 * 512}\t${40 * 512}`);
  expect(proxy.mostAtOnce()).toBeGreaterThan(0);
  expect(proxy.mostAtOnce()).toBeLessThanOrEqual(limits.insertsAtOnceMax);
  expect(crossed()).toEqual([]);
}, 180_000);

test("sixty that came while ClickHouse was away are stored when it is back", async () => {
  proxy.slowMs = 0;
  server.kill();
  await server.exited;
  await sendPayloads(60);
  server = await startClickHouse({ directory, port: server.port, password: server.password });
  await local.eventually(receipts, "100\t100", 60_000);
  expect(await local.query(stored)).toBe(`${100 * 512}\t${100 * 512}`);
  expect(crossed()).toEqual([]);
}, 240_000);
