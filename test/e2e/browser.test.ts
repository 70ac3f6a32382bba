/**
 * A real Chromium: pages of two origins send to the ingress, one with the OpenTelemetry SDK as docs/clients.md says. In 3.x
 * the web SDK is @opentelemetry/sdk-trace (sdk-trace-web has no 3.x and is deprecated).
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { join } from "node:path";
import { build } from "esbuild";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { apiKeyName, formatApiKey } from "../../shared/api-key.ts";
import { payloadPrefix } from "../../shared/payload-key.ts";
import type { Export } from "./browser-page.ts";
import { describeInChromium, startChromium } from "./chromium.ts";
import { devSettings, type LocalPipeline, startLocalPipeline, temporaryFolder } from "./local-pipeline.ts";

describeInChromium("a browser", () => {
  const folder = temporaryFolder();
  let local: LocalPipeline;
  let chromium: Browser;
  let browser: BrowserContext;
  let allowed: PageServer;
  let other: PageServer;
  let page: Page;
  let otherPage: Page;
  /** A key that pages of `allowed` may use. */
  const key = formatApiKey(randomBytes(52));

  beforeAll(async () => {
    const script = await pageScript();
    [local, chromium, allowed, other] = await Promise.all([
      startLocalPipeline(devSettings(folder.path), { crons: false, events: false }),
      startChromium(),
      servePage(script),
      servePage(script),
    ]);
    const keys = await local.pipeline.workers.getKVNamespace("KEYS", workerNames.ingress);
    const limits = { spansPerSecond: null, burstSpans: null, spansPerMonth: null, sample: 1 };
    const record = {
      tenant: "shop",
      name: "shop-web",
      status: "active",
      origins: [allowed.origin],
      ...limits,
    };
    await keys.put(await apiKeyName(key), JSON.stringify(record));
    browser = await chromium.newContext();
    [page, otherPage] = await Promise.all([openPage(allowed.origin), openPage(other.origin)]);
  }, 60_000);

  afterAll(async () => {
    await chromium.close();
    await Promise.all([allowed.stop(), other.stop(), local.stop()]);
    folder.remove();
  }, 30_000);

  async function openPage(origin: string): Promise<Page> {
    const opened = await browser.newPage();
    await opened.goto(origin);
    return opened;
  }

  const url = () => `${local.pipeline.otlp}/v1/traces`;

  async function sendSpans(from: Page, run: string, changes: Partial<Export> = {}): Promise<string[]> {
    const asked: Export = { url: url(), key, run, spans: 20, textChars: 10, ...changes };
    return (await from.evaluate(`sendSpans(${JSON.stringify(asked)})`)) as string[];
  }

  const rows = (run: string) =>
    `SELECT count(), uniqExact(SpanId), any(ServiceName), any(HeadraceTenant) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`;

  async function payloads(): Promise<number> {
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    return (await bucket.list({ prefix: payloadPrefix })).objects.length;
  }

  const request = (from: Page, init: object) =>
    from.evaluate(`request(${JSON.stringify(url())}, ${JSON.stringify(init)})`);
  const headers = { "content-type": "application/json", "x-api-key": key };

  test.concurrent("of an origin that the key names sends with the SDK, and its spans are rows once", async () => {
    const said = await sendSpans(page, "allowed");
    expect(said.filter((line) => /fail|error|retryable/i.test(line))).toEqual([]);
    await local.eventually(rows("allowed"), "20\t20\tshop-web\tshop", 20_000);
  });

  test.concurrent("that closes its page right after the span sends all the same: the SDK's requests are keepalive up to 60 KiB", async () => {
    const closing = await openPage(allowed.origin);
    const asked: Export = { url: url(), key, run: "closing", spans: 5, textChars: 10 };
    await closing.evaluate(`void sendSpans(${JSON.stringify(asked)})`);
    await closing.close();
    await local.eventually(rows("closing"), "5\t5\tshop-web\tshop", 20_000);
  });

  test.concurrent("sends more than 60 KiB in one request without keepalive, and more than 64 KiB with it is refused by itself", async () => {
    const said = await sendSpans(page, "large", { spans: 100, textChars: 2000 });
    expect(said.join("\n")).toMatch(/keepalive disabled: \d+\.\dKB payload/);
    await local.eventually(rows("large"), "100\t100\tshop-web\tshop", 20_000);
    const body = `{"x":"${"y".repeat(66_000)}"}`;
    expect(await request(page, { method: "POST", headers, body, keepalive: true })).toEqual({
      error: "TypeError: Failed to fetch",
    });
  });

  test("reads the answer of a request by hand, with the payload's id", async () => {
    expect(await request(page, { method: "POST", headers, body: "{}" })).toEqual({
      status: 200,
      body: "{}",
      payload: null,
    });
    const answer = await request(page, { method: "POST", headers, body: "{" });
    expect(answer).toMatchObject({ status: 400, body: expect.stringMatching(/The body is not OTLP JSON/) });
  });

  test("of another origin gets its preflight answered, and a 403 whose reason the page can read; nothing is stored", async () => {
    const before = await payloads();
    expect(await request(otherPage, { method: "POST", headers, body: "{}" })).toMatchObject({
      status: 403,
      body: expect.stringContaining(`may not be used by pages of ${other.origin}`),
    });
    const said = await sendSpans(otherPage, "forbidden");
    expect(said.join("\n")).toMatch(/non-retryable status 403|export response failure \(status: 403\)/);
    expect(await payloads()).toBe(before);
  });

  test("cannot use sendBeacon: it carries no key, and what a page may send by it without asking is not OTLP", async () => {
    const before = await payloads();
    const logged = (reason: string) => local.logs.filter((line) => line.includes(`"${reason}"`)).length;
    for (const type of ["application/json", "text/plain"]) {
      const blob = `new Blob(["{}"], { type: "${type}" })`;
      expect(await page.evaluate(`navigator.sendBeacon(${JSON.stringify(url())}, ${blob})`)).toBe(true);
    }
    await expect.poll(() => logged("wrong_content_type")).toBe(1);
    expect(logged("missing_key")).toBe(0); // with cookies allowed, JSON needs a preflight that allows credentials
    expect(await payloads()).toBe(before);
  });
});

async function pageScript(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "browser-page.ts")],
    bundle: true,
    write: false,
    format: "iife",
    platform: "browser",
    target: "es2022",
    logLevel: "silent",
  });
  return outputFiles.map(({ text }) => text).join("");
}

interface PageServer {
  readonly origin: string;
  stop(): Promise<void>;
}

/** A page with the script, on an origin of its own. */
async function servePage(script: string): Promise<PageServer> {
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
    response.end(isScript ? script : '<!doctype html><title>shop</title><script src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    origin: `http://127.0.0.1:${port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
