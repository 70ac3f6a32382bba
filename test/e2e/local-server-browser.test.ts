/**
 * A real Chromium, a page of another site, and the local ClickHouse: an image, a form, a navigation and fetch neither
 * write nor read through it, whether the page knows a name or not, in a browser in which the developer has opened the
 * address that `npm run dev` prints. Every attempt must reach the server, and be refused there.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { describeInChromium, startChromium } from "./chromium.ts";
import { queryClickHouse } from "./local-pipeline.ts";

describeInChromium("a page of another site", () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-drive-by-"));
  const written = join(folder, "written");
  const site = createServer((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>another site</title>");
  });
  let server: ClickHouse;
  let chromium: Browser;
  let browser: BrowserContext;
  let origin = "";

  beforeAll(async () => {
    [server, chromium] = await Promise.all([
      startClickHouse({ directory: join(folder, "data") }),
      // Another site, but of this machine: so nothing is left to Chromium's rule that a page of the internet asks
      // before it reaches the machine.
      startChromium({ args: ["--host-resolver-rules=MAP evil.example 127.0.0.1"] }),
    ]);
    await queryClickHouse(server.url, "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a");
    await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
    const address = site.address();
    origin = `http://evil.example:${typeof address === "object" ? address?.port : 0}/`;
    browser = await chromium.newContext();
    await (await browser.newPage()).goto(server.url);
  }, 60_000);

  afterAll(async () => {
    await chromium.close();
    await server.stop();
    site.closeAllConnections();
    site.close();
    rmSync(folder, { recursive: true, force: true });
  }, 30_000);

  const statements = [
    `INSERT INTO FUNCTION file('${written}', 'LineAsString', 's String') SELECT 'x'`,
    "INSERT INTO kept VALUES (1)",
    "DROP TABLE kept",
    "SYSTEM STOP LISTEN HTTP",
    "SELECT 1", // not even that: see dev/clickhouse/server-config.ts
  ];
  const logins = ["", "&user=default", "&user=headrace"];

  async function openPage(): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(origin);
    return page;
  }

  /** Runs the script for every statement and login, and waits for the server's answer, which is a refusal. */
  async function attempt(script: (at: string, statement: string) => string): Promise<void> {
    const attempts = logins.map(async (login) => {
      for (const statement of statements) {
        const page = await openPage();
        const at = `${splitLogin(server.url).url}/?default_format=TSV${login}`;
        const answered = page.waitForResponse((response) => response.url().startsWith(at));
        await page.evaluate(script(at, statement)).catch(() => undefined); // a navigation takes its page away
        expect((await answered).status(), `${login} ${statement}`).toBe(403);
        await page.close();
      }
    });
    await Promise.all(attempts);
    expect(existsSync(written)).toBe(false);
    expect(await queryClickHouse(server.url, "SELECT count() FROM kept")).toBe("0");
  }
  const query = (at: string, statement: string) =>
    JSON.stringify(`${at}&query=${encodeURIComponent(statement)}`);

  test("cannot write by an image", async () => {
    await attempt((at, statement) => `{ new Image().src = ${query(at, statement)}; }`);
  });

  test("cannot write by a form", async () => {
    await attempt(
      (at, statement) => `{
        const form = document.createElement("form");
        form.method = "POST";
        form.enctype = "text/plain";
        form.action = ${query(at, statement)};
        document.body.append(form);
        form.submit();
      }`,
    );
  });

  test("cannot write by a navigation", async () => {
    await attempt((at, statement) => `{ location.href = ${query(at, statement)}; }`);
  });

  test("cannot write by fetch, with cookies and logins or without", async () => {
    for (const credentials of ["omit", "include"]) {
      await attempt(
        (at, statement) =>
          `void fetch(${JSON.stringify(at)}, { method: "POST", mode: "no-cors", credentials: "${credentials}", body: ${JSON.stringify(statement)} })`,
      );
    }
  });

  test("cannot read what it asks, not even with the login", async () => {
    const { url, user, password } = splitLogin(server.url);
    const page = await openPage();
    for (const fetched of [
      `fetch("${url}/ping")`,
      `fetch("${url}/?query=SELECT+1")`,
      `fetch("${url}/?query=SELECT+1", { credentials: "include" })`,
      `fetch("${url}/?query=SELECT+1&add_http_cors_header=1")`,
      `fetch("${url}/?query=SELECT+1&user=${user}&password=${password}")`,
      `fetch("${url}/", { method: "POST", body: "SELECT 1", headers: { authorization: "Basic ${btoa(`${user}:${password}`)}" } })`,
    ]) {
      await expect(page.evaluate(`${fetched}.then((answer) => answer.text())`), fetched).rejects.toThrow(
        "Failed to fetch",
      );
    }
    const opened = `new Promise((done) => {
      const socket = new WebSocket("${url.replace("http", "ws")}/webterminal");
      socket.onopen = () => done("open");
      socket.onerror = () => done("refused");
    })`;
    expect(await page.evaluate(opened)).toBe("refused");
    await page.close();
  });
});
