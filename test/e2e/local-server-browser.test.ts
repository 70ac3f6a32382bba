/**
 * A real Chromium, a page of another site, and the local ClickHouse: an image, a form, a navigation and fetch neither
 * write nor read through it, whether the page knows a name or not.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { splitLogin } from "../../dev/clickhouse/login.ts";
import { type ClickHouse, startClickHouse } from "../../dev/clickhouse/start-clickhouse.ts";
import { type Chromium, findChromium, type Page, startChromium } from "./chromium.ts";
import { queryClickHouse } from "./local-pipeline.ts";

const command = findChromium();

describe.skipIf(command === undefined)(
  `a page of another site${command === undefined ? " (skipped: no chromium, chromium-browser or google-chrome on this machine)" : ""}`,
  () => {
    const folder = mkdtempSync(join(tmpdir(), "headrace-drive-by-"));
    const written = join(folder, "written");
    const site = createServer((_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><script>globalThis.ready = true</script>");
    });
    let server: ClickHouse;
    let chromium: Chromium;
    let origin = "";

    beforeAll(async () => {
      [server, chromium] = await Promise.all([
        startClickHouse({ directory: join(folder, "data") }),
        startChromium(command ?? "", ["--host-resolver-rules=MAP evil.example 127.0.0.1"]),
      ]);
      await queryClickHouse(server.url, "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a");
      await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
      const address = site.address();
      origin = `http://evil.example:${typeof address === "object" ? address?.port : 0}/`;
    }, 60_000);

    afterAll(async () => {
      await chromium.stop();
      await server.stop();
      site.closeAllConnections();
      site.close();
      rmSync(folder, { recursive: true, force: true });
    }, 30_000);

    const statements = [
      () => `INSERT INTO FUNCTION file('${written}', 'LineAsString', 's String') SELECT 'x'`,
      () => "INSERT INTO kept VALUES (1)",
      () => "DROP TABLE kept",
      () => "SYSTEM STOP LISTEN HTTP",
    ];

    async function onPage(script: (at: string, statement: string) => string): Promise<void> {
      const { url } = splitLogin(server.url);
      for (const login of ["", "&user=default", "&user=headrace"]) {
        for (const statement of statements) {
          const page: Page = await chromium.open(origin);
          const at = `${url}/?default_format=TSV${login}`;
          await page.evaluate(script(at, statement())).catch(() => undefined); // a navigation takes its page away
          await new Promise((resolve) => setTimeout(resolve, 150));
          await page.close();
        }
      }
      expect(existsSync(written)).toBe(false);
      expect(await queryClickHouse(server.url, "SELECT count() FROM kept")).toBe("0");
    }
    const query = (at: string, statement: string) =>
      JSON.stringify(`${at}&query=${encodeURIComponent(statement)}`);

    test("cannot write by an image", async () => {
      await onPage(
        (at, statement) => `new Promise((done) => {
          const image = new Image();
          image.onload = image.onerror = done;
          image.src = ${query(at, statement)};
        })`,
      );
    });

    test("cannot write by a form", async () => {
      await onPage(
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
      await onPage((at, statement) => `{ location.href = ${query(at, statement)}; }`);
    });

    test("cannot write by fetch, nor read what it asked", async () => {
      await onPage(
        (at, statement) =>
          `fetch(${JSON.stringify(at)}, { method: "POST", mode: "no-cors", body: ${JSON.stringify(statement)} })`,
      );
      const page = await chromium.open(origin);
      const { url, user, password } = splitLogin(server.url);
      for (const asked of [
        `fetch("${url}/?query=SELECT+1")`,
        `fetch("${url}/?query=SELECT+1&add_http_cors_header=1")`,
        // Even with the login.
        `fetch("${url}/?query=SELECT+1&user=${user}&password=${password}")`,
        `fetch("${url}/", { method: "POST", body: "SELECT 1", headers: { authorization: "Basic x" } })`,
      ]) {
        await expect(page.evaluate(`${asked}.then((answer) => answer.text())`)).rejects.toThrow(
          "Failed to fetch",
        );
      }
      await page.close();
    });
  },
);
