/**
 * `npm run dev` goes on answering whatever is sent to it, and whether or not anybody reads what it prints. Until it was
 * so, some hundred refused bodies at once stopped it for ever: it waited for workerd, which waited for its log to be read.
 */
import { once } from "node:events";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { test } from "vitest";
import type { DevFile } from "../../dev/state-folder.ts";
import { tracePagePath } from "../../shared/console/page-routes.ts";
import { limits } from "../../shared/limits.ts";
import { type Owner, readDevFile, runDev, running, stateFolder } from "./dev-process.ts";
import { exportSpans, freshSpans, queryClickHouse } from "./local-pipeline.ts";

/** `npm run test:all` takes a minute. Even so short a time is many pipes full: the refused are counted below. */
const unreadMs = process.env["HEADRACE_LONG"] === undefined ? 6000 : 60_000;
/** A pipe takes 64 KB, and each of these is logged with 200 bytes at least. */
const pipesFull = 3;
const refusedMin = (pipesFull * 65_536) / 200;
/** As many as a key may send at once, however fast: one in 64 is left for the bytes of the bodies themselves. */
const refusedAtOnce = (63 / 64) * (limits.fruitlessBurstBytes / limits.fruitlessRequestBytes);

interface Flood {
  readonly path: (index: number) => string;
  readonly connections: number;
  /** Whether to send request number `index` too. */
  readonly goesOn: (index: number) => boolean;
}

/** Sends bodies that are refused, one after the other over each connection. Resolves with how often each status came. */
async function flood({ otlp, key }: DevFile, { path, connections, goesOn }: Flood) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const statuses: Record<number, number> = {};
  let sent = 0;
  const send = async () => {
    while (goesOn(sent)) {
      const index = sent++;
      const sending = request(`${otlp}${path(index)}`, {
        method: "POST",
        agent,
        timeout: 20_000,
        headers: { "x-api-key": key, "content-type": "application/x-protobuf" },
      });
      sending.once("timeout", () => sending.destroy(new Error("no answer for 20 s")));
      sending.end(`no protobuf ${index}`);
      const [response] = await once(sending, "response");
      response.resume();
      await once(response, "end");
      statuses[response.statusCode] = (statuses[response.statusCode] ?? 0) + 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, send));
  } finally {
    agent.destroy();
  }
  return statuses;
}

/** A port of this machine that is in use. */
async function takenPort({ onTestFinished }: Owner): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  return String(typeof address === "object" && address !== null ? address.port : 0);
}

/** A good request is answered 200, and becomes rows. */
async function expectStored({ expect }: Owner, dev: DevFile): Promise<void> {
  const spans = freshSpans(20);
  await exportSpans(dev, spans);
  const ids = spans.map((span) => `'${span.spanContext().spanId}'`).join(",");
  await expect
    .poll(() => queryClickHouse(dev.clickhouse, `SELECT count() FROM otel_traces WHERE SpanId IN (${ids})`), {
      timeout: 30_000,
      interval: 100,
    })
    .toBe("20");
}

test.concurrent("4,032 refused bodies over 32 connections, and then a good one that is stored", async (context) => {
  const { expect } = context;
  const folder = stateFolder(context);
  const grpcPort = await takenPort(context);
  const process = runDev(context, { HEADRACE_STATE: folder, HEADRACE_GRPC_PORT: grpcPort });
  const dev = await running(context, process, folder);
  expect(process.output()).toContain(
    `"level":"warn","message":"Port ${grpcPort} is taken by another program: `,
  );
  const refused = await flood(dev, {
    path: () => "/v1/traces",
    connections: 32,
    goesOn: (index) => index < refusedAtOnce,
  });
  expect(refused).toEqual({ 400: refusedAtOnce });
  await expectStored(context, dev);
  // The same line again is counted, not written.
  const lines = () => process.output().split('"reason":"corrupt_body"').length - 1;
  await expect.poll(process.output, { timeout: 10_000 }).toMatch(/"repeated":\d{2}/);
  expect(lines()).toBeLessThan(50);
  // What arrived is said once a service, with a trace that is there: as JSON, where no terminal reads.
  const named = () =>
    process
      .output()
      .split("\n")
      .filter((line) => line.includes("first spans of a service"))
      .map((line) => JSON.parse(line));
  const services = await queryClickHouse(dev.clickhouse, "SELECT uniqExact(ServiceName) FROM otel_traces");
  await expect.poll(() => named().length, { timeout: 10_000 }).toBe(Number(services));
  for (const { level, service, spans, trace, link } of named()) {
    expect([level, link]).toEqual(["info", `${dev.console}/#${tracePagePath(trace)}`]);
    const ofTrace = `ServiceName = '${service}' AND TraceId = '${trace}'`;
    const counts = `SELECT countIf(${ofTrace}) > 0, countIf(ServiceName = '${service}') FROM otel_traces`;
    expect(await queryClickHouse(dev.clickhouse, counts)).toBe(`1\t${spans}`);
  }
}, 120_000);

test.concurrent(
  "while nobody reads what it prints, requests go on being answered and spans stored",
  async (context) => {
    const { expect } = context;
    const folder = stateFolder(context);
    const process = runDev(context, { HEADRACE_STATE: folder }, { isRead: false });
    await expect.poll(() => isReady(folder), { timeout: 40_000, interval: 100 }).toBe(true);
    const dev = readDevFile(folder);
    const end = Date.now() + unreadMs;
    const goesOn = (index: number) => index < refusedMin || Date.now() < end;
    // Every line differs: a pipe's 64 KB are full of them within seconds.
    const unknownPath = (index: number) => `/v1/traces/${index}/${"x".repeat(190)}`;
    const sendGood = async () => {
      while (Date.now() < end) {
        await expectStored(context, dev);
      }
    };
    const [refused] = await Promise.all([
      flood(dev, { path: unknownPath, connections: 16, goesOn }),
      sendGood(),
    ]);
    expect(Object.keys(refused)).toEqual(["404"]);
    await expectStored(context, dev);

    process.signalAll("SIGINT");
    expect(await process.ended).toBe(0);
  },
  unreadMs + 120_000,
);

/** The last thing that a start does is a run of the reconciler: then the console answers too. */
async function isReady(folder: string): Promise<boolean> {
  try {
    const { otlp, console } = readDevFile(folder);
    const answers = await Promise.all([fetch(`${otlp}/healthz`), fetch(`${console}/healthz`)]);
    return answers.every(({ ok }) => ok);
  } catch {
    return false; // not yet
  }
}
