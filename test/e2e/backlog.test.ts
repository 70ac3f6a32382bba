/**
 * Usual payloads in number: while each INSERT takes seconds, and after ClickHouse was away. None waits for another
 * invocation, what they take of the isolate's bytes comes back, and everything is stored once.
 */
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { type BreakingProxy, startBreakingProxy } from "./breaking-proxy.ts";
import { freshSpans } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

const server = useClickHouse();
let proxy: BreakingProxy;

beforeAll(async () => {
  proxy = await startBreakingProxy(server.url);
});
afterAll(() => proxy.stop());

const local = useLocalPipeline({}, () => ({ clickHouseUrl: proxy.url }));

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

test("forty payloads are stored while each INSERT takes two seconds, of which no more are in flight than may be", async () => {
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
  await server.kill();
  await sendPayloads(60);
  await server.restart();
  await local.eventually(receipts, "100\t100", 60_000);
  expect(await local.query(stored)).toBe(`${100 * 512}\t${100 * 512}`);
  expect(crossed()).toEqual([]);
}, 240_000);
