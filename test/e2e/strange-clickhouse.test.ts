/**
 * What answers at ClickHouse's address is not ClickHouse, is another one than it was, or sleeps: clients get their 200, nothing is
 * receipted meanwhile, a sentence says what it is, and afterwards every span is there once.
 */
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { withLoginOf } from "../../dev/clickhouse/login.ts";
import { exportSpans, freshSpans, queryClickHouse } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

/** `stripped`: ClickHouse does what was asked, and its own headers are taken away from the answer. */
type Mode = "forward" | "page" | "stripped" | "redirect";

let mode: Mode = "forward";
const server = useClickHouse();

const between = createServer((incoming, outgoing) => {
  if (mode === "page") {
    incoming.resume();
    outgoing.writeHead(200, { "content-type": "text/html" });
    outgoing.end("<html>Please log in to the network</html>");
    return;
  }
  if (mode === "redirect") {
    incoming.resume();
    outgoing.writeHead(302, { location: "https://login.example.com/?next=clickhouse" });
    outgoing.end();
    return;
  }
  const { hostname, port } = new URL(server.url);
  const { host: _host, ...headers } = incoming.headers;
  const forwarded = request(
    { hostname, port, path: incoming.url, method: incoming.method, headers },
    (answer) => {
      const own = Object.entries(answer.headers).filter(
        ([name]) => mode === "forward" || !name.startsWith("x-clickhouse"),
      );
      outgoing.writeHead(answer.statusCode ?? 502, Object.fromEntries(own));
      answer.pipe(outgoing);
    },
  );
  forwarded.on("error", () => incoming.socket.destroy());
  incoming.pipe(forwarded);
});

beforeAll(async () => {
  await new Promise<void>((listening) => between.listen(0, "127.0.0.1", listening));
});
afterAll(() => {
  between.closeAllConnections();
  between.close();
});

const local = useLocalPipeline({}, () => {
  const address = `http://127.0.0.1:${(between.address() as AddressInfo).port}`;
  return { clickHouseUrl: withLoginOf(address, server.url), ledgerTimesFaster: "30" };
});

afterEach(() => {
  mode = "forward";
});

/** Past whatever is between. */
const ask = (sql: string) => queryClickHouse(server.url, sql);

async function doctorSays(): Promise<string> {
  const response = await fetch(`${local.pipeline.console}/api/doctor`, {
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
  });
  return await response.text();
}

describe.each([
  ["page", "status 200 without ClickHouse's headers (something in between answered"],
  ["stripped", "status 200 without ClickHouse's headers (something in between answered"],
  ["redirect", "status 302: the address redirects, which is not followed"],
] as const)("a %s instead of ClickHouse's answer", (strange, sentence) => {
  test("receipts nothing, is said in one sentence, and every span is there once afterwards", async () => {
    const run = `strange-${strange}`;
    const ours = `ResourceAttributes['test.run'] = '${run}'`;
    const receipts = await ask("SELECT count() FROM headrace_receipts");
    const since = local.logs.length;
    mode = strange;
    await exportSpans(local.pipeline, freshSpans(50, 1, { "test.run": run }));
    const attempts = () => local.logs.slice(since).filter((line) => line.includes(sentence)).length;
    await expect.poll(attempts, { timeout: 20_000 }).toBeGreaterThanOrEqual(3);
    expect(await doctorSays()).toContain(sentence);
    expect(await ask("SELECT count() FROM headrace_receipts")).toBe(receipts);
    mode = "forward";
    await expect
      .poll(() => ask(`SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ${ours}`), {
        timeout: 60_000,
      })
      .toBe("50\t50");
    await expect
      .poll(() => ask(`SELECT count() - ${receipts} FROM headrace_receipts`), { timeout: 60_000 })
      .toBe("1");
  }, 150_000);
});

/** A minute, as an idle service of ClickHouse Cloud takes: `npm run test:all`. `npm test` has a fifth of it, two leases of this ledger. */
const asleepMs = process.env["HEADRACE_LONG"] === undefined ? 8000 : 60_000;

test(`a server that sleeps for ${asleepMs / 1000} s keeps nobody waiting, and every span is there once when it wakes`, async () => {
  const run = "asleep";
  const ours = `ResourceAttributes['test.run'] = '${run}'`;
  const since = local.logs.length;
  process.kill(server.pid, "SIGSTOP");
  try {
    const begun = performance.now();
    await exportSpans(local.pipeline, freshSpans(50, 1, { "test.run": run }));
    expect(performance.now() - begun).toBeLessThan(20_000);
    await new Promise((resolve) => setTimeout(resolve, asleepMs));
    const outcomes = (): string => local.logs.slice(since).join("\n");
    await expect.poll(outcomes, { timeout: 60_000 }).toContain('"outcome":"unknown"');
  } finally {
    process.kill(server.pid, "SIGCONT");
  }
  await expect
    .poll(() => ask(`SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ${ours}`), { timeout: 120_000 })
    .toBe("50\t50");
}, 240_000);
