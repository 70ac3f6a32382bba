/**
 * ClickHouse is switched off: page's API, CLI, metrics, `/healthz` and findings answer from what the ledger knows, and name
 * what does not answer. One payload alone, so the breaker stays closed.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { workerNames } from "../../dev/worker-names.ts";
import { headrace } from "../wrangler/cli-run.ts";
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
  local = await startLocalPipeline(settings, { crons: false });
}, 60_000);

afterAll(async () => {
  await local.stop();
  await server.stop();
  folder.remove();
}, 30_000);

async function read(path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { console, adminToken } = local.pipeline;
  const response = await fetch(`${console}${path}`, { headers: { authorization: `Bearer ${adminToken}` } });
  return { status: response.status, text: await response.text() };
}

async function tickCron(): Promise<void> {
  const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
  await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
}

test("an outage is told by everything that answers without ClickHouse, and is over when it is back", async () => {
  await tickCron();
  expect(await read("/healthz")).toEqual({ status: 200, text: "ok\n" });
  expect((await headrace(["status"], { HEADRACE_STATE: folder.path })).out).toMatch(/^balanced/);

  server.kill();
  await server.exited;
  await exportSpans(local.pipeline, freshSpans(20));
  const sentence = new RegExp(
    `ClickHouse at ${new URL(server.url).host} does not answer since [0-9:]{5} UTC \\(.+\\); 1 payload waits; nothing is lost\\.`,
  );
  const poll = { timeout: 30_000, interval: 500 };
  await expect.poll(async () => JSON.parse((await read("/api/status")).text).trouble, poll).toMatch(sentence);
  await expect
    .poll(() => read("/healthz"), poll)
    .toEqual({ status: 503, text: expect.stringMatching(sentence) });

  const inFlight = JSON.parse((await read("/api/in-flight")).text);
  expect(inFlight.groups).toMatchObject([
    { failure: { kind: "unknown", text: expect.stringMatching(/^no answer: /) } },
  ]);
  expect((await read("/metrics")).text).toMatch(
    /headrace_delivery_failing 1\n[\s\S]*headrace_clickhouse_up 0\n/,
  );
  await tickCron();
  const findings = JSON.parse((await read("/api/findings")).text);
  expect(findings).toContainEqual(
    expect.objectContaining({
      kind: "breaker_open",
      state: "open",
      message: expect.stringMatching(sentence),
    }),
  );
  expect(await read("/api/dead-letters")).toEqual({ status: 200, text: "[]" }); // R2 has no record of one
  const [key] = inFlight.groups[0].keys;
  const shown = await headrace(["payload", "show", key], { HEADRACE_STATE: folder.path });
  expect(shown.out).toMatch(
    new RegExp(
      `^receipts and rows are not known: ClickHouse at ${new URL(server.url).host} does not answer \\(`,
    ),
  );
  expect(shown.out).toMatch(/receipt not known; [0-9]+ bytes in R2[\s\S]*failed [0-9a-z]+( times)?, last at/);
  const status = await headrace(["status"], { HEADRACE_STATE: folder.path });
  expect(status.code).toBe(1);
  expect(status.out).toMatch(sentence);
  expect(status.out).toMatch(/the balance is not known: .*ClickHouse at /);
  expect(status.out).toMatch(/breaker_open \(ledger\)/);

  server = await startClickHouse({ directory, port: server.port, password: server.password });
  await local.eventually("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces", "20\t20", 60_000);
  await expect.poll(async () => JSON.parse((await read("/api/status")).text).trouble, poll).toBe("");
  await tickCron();
  await expect.poll(() => read("/healthz"), poll).toEqual({ status: 200, text: "ok\n" });
  expect(JSON.parse((await read("/api/findings")).text)).not.toContainEqual(
    expect.objectContaining({ kind: "breaker_open", state: "open" }),
  );
}, 180_000);
