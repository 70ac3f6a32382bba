/**
 * The console's doors, and its page in a real Chromium, on a pipeline of its own. With HEADRACE_SCREENSHOTS=<folder> its states are
 * written there as pictures, for people to look at.
 */
import { join } from "node:path";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { deadLetterColumns, deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import { toHex } from "../../shared/hex.ts";
import { DAY_MS } from "../../shared/limits.ts";
import { formatPayloadMetadata } from "../../shared/messages.ts";
import { formatPayloadKey, idOfKey, type PayloadKey, payloadIdToBytes } from "../../shared/payload-key.ts";
import type { GroupId, Receipt } from "../../shared/receipt.ts";
import { readExposition } from "../console/exposition.ts";
import { idOfBody } from "../fixtures/id-of-body.ts";
import { putSegment } from "../fixtures/put-segment.ts";
import { describeInChromium, startChromium } from "./chromium.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const pictures = process.env["HEADRACE_SCREENSHOTS"];
const wide = { width: 1280, height: 800, colorScheme: "light" } as const;

const wholeTrace = /\/api\/trace\?/;

/** Keeps requests of these addresses from being answered, until what it resolves with is called. */
async function hold(page: Page, addresses: RegExp): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  await page.route(addresses, async (route) => {
    await promise;
    await route.continue();
  });
  return resolve;
}

// 60 times faster: a fence of 3.5 s.
const local = useLocalPipeline({ crons: false, events: false }, () => ({ ledgerTimesFaster: "60" }));

describe("the console's doors", () => {
  const get = (path: string, token = "") =>
    fetch(`${local.pipeline.console}${path}`, {
      headers: token === "" ? {} : { authorization: `Bearer ${token}` },
    });

  test("data is served to the admin token only; a key for sending opens nothing", async () => {
    for (const path of [
      "/api/watermark",
      "/api/minutes",
      "/api/in-flight",
      "/api/payload-spans?key=x",
      "/metrics",
    ]) {
      for (const token of ["", "wrong", local.pipeline.key]) {
        const refused = await get(path, token);
        expect([refused.status, refused.headers.get("www-authenticate")], path).toEqual([
          401,
          expect.stringContaining("Bearer"),
        ]);
      }
    }
  });

  test("the page is served to everybody, holds no secret, and may run nothing but its own script", async () => {
    const page = await get("/");
    const html = await page.text();
    expect(page.status).toBe(200);
    expect(page.headers.get("content-security-policy")).toMatch(
      /default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    expect(page.headers.get("cache-control")).toBe("no-cache");
    const files = [...html.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path = ""]) => path);
    expect(files).toHaveLength(2);
    for (const path of files) {
      const file = await get(path);
      expect([file.status, file.headers.get("cache-control")]).toEqual([
        200,
        "public, max-age=31536000, immutable",
      ]);
      const text = await file.text();
      for (const secret of [local.pipeline.adminToken, local.pipeline.key]) {
        expect(html + text).not.toContain(secret);
      }
    }
    const absent = await get("/assets/absent.js");
    expect([absent.status, absent.headers.get("cache-control")]).toEqual([404, "no-cache"]);
  });

  test("a question that is none is answered with what is wrong with it", async () => {
    const { adminToken } = local.pipeline;
    const ask = async (path: string) => {
      const response = await get(path, adminToken);
      return [response.status, await response.text()];
    };
    expect(await ask("/api/minutes?hours=0")).toEqual([
      400,
      expect.stringContaining("hours must be a number above 0"),
    ]);
    expect(await ask("/api/payload-spans")).toEqual([400, expect.stringContaining("key")]);
    expect(await ask("/api/payload-spans?key=x")).toEqual([
      404,
      expect.stringContaining("not a payload's key"),
    ]);
  });

  test("/metrics is Prometheus' text format", async () => {
    const response = await get("/metrics", local.pipeline.adminToken);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const names = readExposition(await response.text()).map(({ name }) => name);
    expect(names).toContain("headrace_watermark_age_seconds");
    expect(names).toContain("headrace_dead_letters");
  });
});

/** An hour of sealed minutes of three tenants, as a busy pipeline has them. */
const lastHour = `INSERT INTO headrace_minutes (minute, tenant, sealed, accepted, stored, duplicate, spans, bytes)
  SELECT toStartOfMinute(now()) - toIntervalMinute(number % 60 + 2), ['checkout', 'search', 'web'][number % 3 + 1], true,
    stored + duplicate, toUInt64(40 + 25 * sin(number / 9) + 12 * sin(number * 1.7)) AS stored, number % 7 = 0 ? 2 : 0 AS duplicate,
    stored * 180, stored * 41000 FROM numbers(180)`;

describeInChromium("the console's page", () => {
  let chromium: Browser;
  let page: Page;

  beforeAll(async () => {
    // Scrollbars take their room, except in pictures.
    chromium = await startChromium(
      pictures === undefined ? { ignoreDefaultArgs: ["--hide-scrollbars"] } : {},
    );
    // Turned away, and reported some seconds later.
    await fetch(`${local.pipeline.otlp}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
  }, 60_000);

  afterAll(() => chromium.close(), 30_000);

  const text = async (selector = "#page"): Promise<string> =>
    (await page.locator(selector).allInnerTexts())[0] ?? "";
  const matching = (expected: string | RegExp) =>
    typeof expected === "string" ? expect.stringContaining(expected) : expect.stringMatching(expected);
  /** Waits until the page shows it by itself. */
  const comesToShow = (expected: string | RegExp, selector?: string) =>
    expect.poll(() => text(selector), { timeout: 15_000, interval: 50 }).toEqual(matching(expected));
  /** The same, and makes the page ask at once, as it does when its tab is looked at again. */
  const shows = (expected: string | RegExp, selector?: string) =>
    expect
      .poll(
        async () => {
          await page.evaluate(`document.dispatchEvent(new Event("visibilitychange"))`);
          return await text(selector);
        },
        { timeout: 15_000, interval: 250 },
      )
      .toEqual(matching(expected));
  const click = (label: string) =>
    page
      .locator("button")
      .filter({ hasText: new RegExp(`^\\s*${label}\\s*(,|$)`) })
      .first()
      .click();

  async function show({
    width,
    height,
    colorScheme,
  }: {
    width: number;
    height: number;
    colorScheme: "light" | "dark";
  }) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
  }

  /** Looks at the page in every view: nothing may be wider than the window. */
  async function fits(state: string): Promise<void> {
    for (const [name, view] of [
      ["light", wide],
      ["dark", { ...wide, colorScheme: "dark" }],
      ["narrow", { width: 360, height: 780, colorScheme: "light" }],
      ["narrow-dark", { width: 360, height: 780, colorScheme: "dark" }],
    ] as const) {
      await show(view);
      const beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      expect(await page.evaluate(beyond), `${state}, ${name}`).toBe(0);
      if (pictures !== undefined && name !== "narrow-dark") {
        await page.waitForTimeout(400); // bars grow
        await page.screenshot({ path: join(pictures, `console-${state}-${name}.png`), fullPage: true });
      }
    }
    await show(wide);
  }

  async function tickCron(): Promise<void> {
    const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
    await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
  }

  /** A payload in R2 that died: what the consumer would have written of it. `isInSegment`: else it has an object of its own. */
  async function bury(
    reason: string,
    { spans = 20, all = freshSpans(spans), isInSegment = false } = {},
  ): Promise<PayloadKey> {
    const body = new Uint8Array(ProtobufTraceSerializer.serializeRequest(all) ?? []);
    const arrival = Date.now();
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    const key = isInSegment
      ? (await putSegment(bucket, arrival, [{ tenant: "dev", body }])).keys[0]
      : formatPayloadKey(arrival, "dev", await idOfBody("dev", "pb", "identity", body));
    if (key === undefined) {
      throw new Error("a segment has the payload that was put into it");
    }
    if (!isInSegment) {
      await bucket.put(key, body, {
        customMetadata: formatPayloadMetadata({
          version: "1",
          type: "pb",
          encoding: "identity",
          spans,
          rejectedSpans: 0,
          inflatedBytes: body.length,
          outputBytes: 10 * body.length,
          arrival,
          startMinMs: arrival - 30 * DAY_MS,
          startMaxMs: arrival + DAY_MS,
        }),
      });
    }
    const receipt: Receipt = {
      key,
      outcome: "dead",
      group: "0123456789abcdef0123456789abcdef" as GroupId,
      spans,
      rowsByDay: [],
      rejectedSpans: 0,
      bytes: body.length,
      reason,
    };
    const insert = (table: string, columns: readonly string[], row: object) =>
      local.query(`INSERT INTO ${table} (${columns.join(", ")}) FORMAT JSONEachRow ${JSON.stringify(row)}`);
    await insert("headrace_dead_letters", deadLetterColumns, deadLetterRow(receipt, null, arrival));
    await insert("headrace_receipts", receiptColumns, receiptRow(receipt, arrival));
    return key;
  }

  test("asks for the token, says when it is refused, and keeps it out of the address", async () => {
    page = await chromium.newPage();
    await page.goto(local.pipeline.console);
    await page.locator("#token").waitFor();
    await fits("sign-in");
    const type = async (token: string) => {
      await page.fill("#token", token);
      await page.press("#token", "Enter");
    };
    await type("not-the-token");
    await shows("That token was refused");
    await type(local.pipeline.adminToken);
    await shows("Watermark");
    expect(page.url()).toBe(`${local.pipeline.console}/`);
    await click("Sign out");
    await shows("Admin token");
    expect(await page.evaluate("sessionStorage.length")).toBe(0);
    await page.close();
  });

  test("opens by the link that npm run dev prints, and says what to do where nothing has arrived", async () => {
    const { console: url, adminToken, key, otlp } = local.pipeline;
    page = await chromium.newPage();
    const release = await hold(page, /\/api\/about/);
    await page.goto(`${url}/#token=${adminToken}&key=${key}`);
    await shows("0 payloads accepted", "#minutes");
    await shows("Nothing is in flight", "#in-flight");
    await shows("No dead letters", "#dead-letters");
    expect(await text(".first-steps"), "lines to copy, without the endpoint").toBe("");
    release();
    await shows("Nothing arrived in the last hour");
    expect(await text(".paste")).toContain(`OTEL_EXPORTER_OTLP_ENDPOINT=${otlp}`);
    expect(await text(".paste")).toContain(`x-api-key=${key}`);
    expect(page.url()).toBe(`${url}/`);
    await shows(/\d\d:\d\d\s*UTC/, ".watermark");
    await shows("All accounted for");
    await fits("empty");
  });

  test("shows spans that have just been sent, without a reload", async () => {
    await exportSpans(local.pipeline, freshSpans(400));
    await local.eventually("SELECT count() FROM otel_traces", "400", 20_000);
    await comesToShow("400", "#tenants table");
    await comesToShow("1 payload accepted", "#minutes");
    expect(await text(".first-steps")).toBe("");
    await click("dev");
    await shows("no rate limit", "dialog");
    await page.keyboard.press("Escape");
    const tallBars = `[...document.querySelectorAll(".bar .stored")].map((bar) => Math.round(bar.offsetHeight)).filter((height) => height > 50).length`;
    await expect.poll(() => page.evaluate(tallBars)).toBe(1);
  });

  const receiptOf = (key: PayloadKey) =>
    `SELECT outcome, reason FROM headrace_receipts FINAL WHERE key = '${key}'`;
  const buttonOf = (key: PayloadKey, label: string) =>
    page
      .locator("#dead-letters li", { has: page.locator(`[title="${key}"]`) })
      .locator("button", { hasText: label })
      .click();

  /** Agrees in the dialog that asks. */
  const confirm = (verb: string) => page.locator("dialog .actions.end button", { hasText: verb }).click();

  test("a dead letter can be read and replayed, and is stored; one that is purged names itself and needs a reason", async () => {
    const replayed = await bury("rejected:349", { isInSegment: true });
    const purged = await bury("decode: broken");
    await shows("ClickHouse refused it with code 349", "#dead-letters");
    await buttonOf(replayed, "Show spans");
    await shows("20 spans in", "dialog");
    expect(await page.locator("dialog .spans > li").count()).toBe(20);
    await page.locator("dialog summary").first().click();
    await shows("service.name", "dialog");
    await shows(replayed, "dialog");
    await fits("payload");
    await page.keyboard.press("Escape");
    await expect.poll(() => text("dialog")).toBe("");
    await buttonOf(replayed, "Replay");
    await confirm("Replay");
    await shows("1 payload notified again", ".notices");

    await buttonOf(purged, "Purge");
    await shows(purged, "dialog");
    const submit = page.locator("dialog button[type=submit]");
    expect(await submit.isDisabled()).toBe(true);
    await expect.poll(() => page.evaluate("document.activeElement.id")).toBe("reason");
    await page.keyboard.type("no use");
    expect(await submit.isDisabled()).toBe(false);
    await page.keyboard.press("Enter");
    await shows("1 payload will be erased", ".notices");

    await local.eventually(receiptOf(replayed), "stored", 20_000);
    await local.eventually(receiptOf(purged), "erased\tno use", 20_000);
    await local.eventually("SELECT count(), uniqExact(SpanId) FROM otel_traces", "420\t420", 20_000);
    await shows("No dead letters", "#dead-letters");
  }, 60_000);

  test("a payload of which the table has a part is held, and accepted from the page", async () => {
    const key = await bury("rejected:349");
    const payload = toHex(payloadIdToBytes(idOfKey(key)));
    await local.query(
      `INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, HeadraceTenant, HeadracePayload)
        SELECT now64(9), lower(hex(randomString(16))), lower(hex(randomString(8))), 'a part', 'dev', unhex('${payload}')`,
    );
    await shows(key.slice(-8), "#dead-letters");
    await buttonOf(key, "Replay");
    await confirm("Replay");
    await shows("Held for a person");
    await shows("Needs a person");
    await fits("held");
    await click("Accept what is there");
    await confirm("Accept what is there");
    await shows("Accepted: what the table has", ".notices");
    await local.eventually(
      `SELECT outcome, startsWith(reason, 'accepted: ') FROM headrace_receipts FINAL WHERE key = '${key}'`,
      "stored\t1",
      20_000,
    );
    await expect.poll(() => text("#held")).toBe("");
  }, 60_000);

  test("in an incident it says what is wrong, what waits for it, and what fixes it", async () => {
    await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0");
    await tickCron();
    await exportSpans(local.pipeline, freshSpans(50));
    await bury("rejected:349");
    await bury("missing_object");
    await local.query(lastHour);
    await shows("Needs a person");
    await shows("non_replicated_deduplication_window", "#findings");
    await shows("the traces table, which the table check refused", "#in-flight");
    await shows("1 in flight", "#minutes");
    await shows("no key was sent: OTEL_EXPORTER_OTLP_HEADERS=x-api-key=", "#turned-away");
    await fits("incident");
    await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 100000");
    await tickCron();
    await shows("Nothing is in flight", "#in-flight");
    await shows("resolved one", "#findings");
    await fits("fixed");
  }, 40_000);

  test("everything that can be pressed is reached by Tab, and bars by arrow keys", async () => {
    const wanted = await page.evaluate(
      `[...document.querySelectorAll("button:not(:disabled), input:not(:disabled), select, summary, a[href]")].filter((one) => one.tabIndex >= 0 && one.checkVisibility() && one.type !== "radio").length`,
    );
    await page.evaluate(`document.activeElement?.blur(); window.reached = new Set()`);
    const note = `{
      const one = document.activeElement;
      if (one !== document.body && one.type !== "radio") window.reached.add(one);
      const style = getComputedStyle(one);
      one === document.body || style.outlineStyle !== "none"
    }`;
    for (let tabs = 0; tabs < Number(wanted) + 3; tabs++) {
      await page.keyboard.press("Tab");
      expect(await page.evaluate(note), "the focus can be seen").toBe(true);
    }
    expect(await page.evaluate("window.reached.size")).toBe(wanted);

    await page.locator('.bar[tabindex="0"]').focus();
    await page.keyboard.press("ArrowLeft");
    const before = await page.evaluate("document.activeElement.ariaLabel");
    await page.keyboard.press("ArrowLeft");
    expect(await page.evaluate("document.activeElement.ariaLabel")).not.toBe(before);
    expect(await page.evaluate("document.activeElement.ariaLabel")).toMatch(/^\d\d:\d\d: \d+ payloads?/);
  });

  test("a minute's bar leads to its payloads", async () => {
    await page.locator("#minutes .bar").evaluateAll((bars: unknown[]) => {
      const full = bars.filter((bar) => /stored/.test((bar as { ariaLabel: string }).ariaLabel));
      (full.at(-1) as { click(): void }).click();
    });
    await shows("Payloads of 20", "dialog");
    await shows(/stored\s*\d+/, "dialog");
    await page.keyboard.press("Escape");
  });

  test("a key is made, limited, disabled and revoked on the page, each of them confirmed", async () => {
    const keys = async () => {
      const response = await fetch(`${local.pipeline.console}/api/keys?tenant=shop`, {
        headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
      });
      const { keys } = (await response.json()) as {
        keys: { status: string; spansPerSecond: number | null }[];
      };
      return keys.map(({ status, spansPerSecond }) => [status, spansPerSecond]);
    };
    await page.locator("nav a", { hasText: "Keys" }).click();
    await click("New key");
    await page.fill("input[name=tenant]", "Shop");
    await page.fill("input[name=name]", "web");
    await page.fill("input[name=spansPerSecond]", "100");
    await click("Make the key");
    await shows("tenant must be 1 to 64 of a-z, 0-9 and -", "dialog");
    await page.fill("input[name=tenant]", "shop");
    await click("Make the key");
    await shows(/x-api-key=hr_\w{32}/, "dialog");
    await fits("new-key");
    await page.keyboard.press("Escape");
    await shows("100 spans per second", ".keys .rows");
    expect(await keys()).toEqual([["active", 100]]);

    const row = page.locator(".keys .rows li", { hasText: "shop / web" });
    await row.locator("button", { hasText: "Change" }).click();
    await page.fill("input[name=spansPerSecond]", "");
    await click("Change the key");
    await shows(/shop \/ web.*no rate limit/s, ".keys .rows");
    await row.locator("button", { hasText: "Disable" }).click();
    await shows("answered with 401", "dialog");
    await confirm("Disable");
    await expect.poll(keys).toEqual([["disabled", null]]);
    await row.locator("button", { hasText: "Revoke" }).click();
    await confirm("Revoke");
    await expect.poll(keys).toEqual([["revoked", null]]);
    await fits("keys");
  });

  /** A trace of many spans, made by ClickHouse: a tree of three children each, one of whose names would like to be code. */
  const bigTrace = "b16b00b5".repeat(4);
  const hostileName = "<img src=x onerror=alert(1)> \u202Egnirts";
  async function insertBigTrace(spans: number): Promise<void> {
    await local.query(`INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, Duration, StatusCode, SpanAttributes)
      SELECT now64(9) - toIntervalSecond(60) + toIntervalMillisecond(number % 1000), '${bigTrace}', leftPad(lower(hex(toUInt64(number + 1))), 16, '0'),
        number = 0 ? '' : leftPad(lower(hex(toUInt64(intDiv(number - 1, 3) + 1))), 16, '0'), number = 1 ? '${hostileName}' : concat('work ', toString(number)), 'Server',
        concat('service-', toString(number % 7)), toUInt64(1e9 / (1 + number)), number = 5000 ? 'Error' : 'Unset',
        map('http.route', '/cart', 'db.query.text', 'select a from b where c = 1', 'n', toString(number)) FROM numbers(${spans})`);
  }

  /** Until its head is there, the rows may be those of the trace before. */
  async function openTrace(trace: string): Promise<void> {
    await page.goto(`${local.pipeline.console}/#/traces/${trace}`);
    await shows(trace, ".head");
  }

  test("traces are listed newest first, filtered by a link, and an unknown one says so", async () => {
    await page.locator("nav a", { hasText: "Traces" }).click();
    await shows(/\d+ traces?/, ".histogram");
    await expect.poll(() => page.locator("tbody tr").count()).toBeGreaterThan(0);
    await fits("traces");
    await page.focus("input[name=service]");
    const completed = (name: string) =>
      page
        .locator(`#values-${name} option`)
        .evaluateAll((options: unknown[]) => options.map((option) => (option as { value: string }).value));
    await expect.poll(() => completed("service"), { timeout: 15_000 }).toContain("storefront");
    await page.fill("input[name=where]", "resource.service.na");
    await expect.poll(() => completed("where"), { timeout: 15_000 }).toContain("resource.service.name=");
    await page.fill("input[name=where]", "resource.service.name=store");
    await expect
      .poll(() => completed("where"), { timeout: 15_000 })
      .toContain("resource.service.name=storefront");
    await page.fill("input[name=where]", "no such condition = = !");
    await page.fill("input[name=where]", "service.name=nobody");
    await page.press("input[name=where]", "Enter");
    await shows("No trace matches this filter");
    expect(page.url()).toContain("where=service.name%3Dnobody");
    await page.goBack();
    await expect.poll(() => page.locator("tbody tr").count(), { timeout: 15_000 }).toBeGreaterThan(0);
    const [name = ""] = (
      await local.query(
        "SELECT SpanName FROM otel_traces GROUP BY SpanName HAVING countIf(ParentSpanId = '') = 0 ORDER BY count() DESC LIMIT 1",
      )
    ).split("\n");
    await page.fill("input[name=name]", name);
    await page.press("input[name=name]", "Enter");
    await shows(`matches: ${name} of`, "tbody");
    await page.locator("tbody a").first().click();
    await expect.poll(() => page.url()).toMatch(/#\/traces\/[0-9a-f]{32}\?span=[0-9a-f]{16}$/);
    await shows(name, ".detail");
    const found = page.url();
    await page.goto(`${local.pipeline.console}/#/traces`);
    await page.fill("input[name=trace]", "not an id");
    await page.press("input[name=trace]", "Enter");
    await shows("A trace id is 32 hex digits", ".filter");
    await page.fill("input[name=trace]", ` ${found.slice(-54, -22).toUpperCase()} `);
    await page.press("input[name=trace]", "Enter");
    await shows(/\d+ spans of/, ".head");
    expect(page.url()).toBe(found.slice(0, -22));
    await page.goto(`${local.pipeline.console}/#/traces`);
    await expect.poll(() => page.locator("tbody tr").count(), { timeout: 15_000 }).toBeGreaterThan(0);
    const plot = await page.locator(".histogram .plot").boundingBox();
    const at = (share: number): readonly [number, number] => [
      (plot?.x ?? 0) + share * (plot?.width ?? 0),
      (plot?.y ?? 0) + 5,
    ];
    await page.mouse.move(...at(0.25));
    await page.mouse.down();
    await page.mouse.move(...at(0.5));
    await page.mouse.up();
    await expect.poll(() => page.url()).toMatch(/from=.*&to=/);
    await page.goBack();
    await page.mouse.move(0, 0);
    await shows("1 min per bar", ".histogram");
    await page.locator('.histogram .bar[tabindex="0"]').focus();
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Enter");
    const range = () => new URLSearchParams(new URL(page.url()).hash.split("?")[1]);
    const minutes = () =>
      (Date.parse(range().get("to") ?? "") - Date.parse(range().get("from") ?? "")) / 60_000;
    await expect.poll(minutes, { timeout: 15_000 }).toBe(3);
    await shows("2 s per bar", ".histogram");
    expect(await page.evaluate("document.activeElement.className")).toContain("bar");
    let asked = 0;
    const count = () => {
      asked += 1;
    };
    page.on("request", count);
    await page.goto(`${local.pipeline.console}/#/traces?minDuration=5`);
    await shows("minDuration and maxDuration are a number and a unit", ".filter");
    expect(asked, "a filter that is none is asked of nobody").toBe(0);
    page.off("request", count);
    await page.goto(`${local.pipeline.console}/#/traces/${"0".repeat(31)}1`);
    await shows("The page looks again every few seconds");
    await page.goto(`${local.pipeline.console}/#/traces/zz`);
    await shows("must be a trace id: 32 hex digits");
  });

  test("a trace of 10,000 spans has few elements, is walked by keys, and each span says what brought it", async () => {
    await insertBigTrace(10_000);
    await page.goto(`${local.pipeline.console}/#/traces/${bigTrace}`);
    await shows("10,000 spans of 7 services, 1 error", ".head");
    const elements = () => page.evaluate("document.querySelectorAll('*').length");
    expect(await elements()).toBeLessThanOrEqual(300);
    await page.mouse.move(400, 600);
    await page.mouse.wheel(0, 90_000);
    const tree = page.locator(".waterfall");
    await expect.poll(() => page.locator("#node-1").count()).toBe(0);
    expect(await elements()).toBeLessThanOrEqual(300);
    expect(await page.locator(`#${await tree.getAttribute("aria-activedescendant")}`).count()).toBe(1);

    const active = async () => await page.locator(".row.active .name bdi").textContent();
    await tree.focus();
    await page.keyboard.press("Home");
    expect(await active()).toBe("work 0");
    await expect.poll(() => tree.evaluate((element) => (element as { scrollTop: number }).scrollTop)).toBe(0);
    await page.keyboard.press("ArrowDown");
    expect(await active()).toBe(hostileName);
    await page.keyboard.press("ArrowLeft"); // folds it
    await page.keyboard.press("ArrowDown");
    expect(await active()).toBe("work 2");
    expect(await tree.getAttribute("aria-activedescendant")).toBe(
      await page.locator(".row.active").getAttribute("id"),
    );
    await page.keyboard.press("/");
    await page.keyboard.type("work 77");
    await shows("found; Enter goes to the next", ".head");
    await page.keyboard.press("Enter");
    await expect.poll(active).toMatch(/^work 77/);
    await click("Next error");
    await expect.poll(active).toBe("work 5000");
    await tree.focus();
    await page.keyboard.press("Enter");
    await shows("Not through Headrace", ".detail");
    await shows(/select a\s+from b\s+where c = 1/, ".detail");
    expect(page.url()).toContain("?span=");
    await fits("trace");
    await page.keyboard.press("Tab"); // to Close, which goes away with the details
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator(".detail").count()).toBe(0);
    expect(await page.evaluate("document.activeElement.className")).toBe("waterfall");
    await page.goto(`${local.pipeline.console}/#/traces/${bigTrace}?span=${"f".repeat(16)}`);
    await shows(`The span that the link names, ${"f".repeat(16)}, is not among these`, ".head");
  }, 60_000);

  test("a waterfall is drawn before what its spans say is there, and without it", async () => {
    const release = await hold(page, wholeTrace);
    await page.goto(`${local.pipeline.console}/#/`);
    await shows("Watermark"); // what was known of the trace is gone with its page
    await page.goto(`${local.pipeline.console}/#/traces/${bigTrace}`);
    await shows("10,000 spans of 7 services, 1 error", ".head");
    await page.fill(".head input[type=search]", "db.query.text=select");
    await shows("nothing found (attributes and events are still being read)", ".head");
    await page.locator(".waterfall .row .name").first().click();
    await shows(/select a\s+from b\s+where c = 1/, ".detail"); // of so large a trace the span is asked for alone
    await fits("trace-before-details");
    release();
    await shows("10,000 spans found; Enter goes to the next", ".head");
    await page.unroute(wholeTrace);

    await page.route(wholeTrace, (route) => route.fulfill({ status: 503, body: '{"error":"no answer"}' }));
    await page.route(/\/api\/trace-span\?/, (route) =>
      route.fulfill({ status: 503, body: '{"error":"out too"}' }),
    );
    await page.reload();
    // It is not made to ask again meanwhile: that is for the button, which is not there while the page asks.
    await comesToShow(/What its spans say could not be read.*no answer.*Ask again/s, ".head");
    await comesToShow("10,000 spans of 7 services, 1 error", ".head");
    await comesToShow("Its attributes could not be read. out too", ".detail");
    await page.fill(".head input[type=search]", "db.query.text=select");
    await comesToShow("nothing found (attributes and events could not be read)", ".head");
    await fits("trace-without-details");
    await page.unrouteAll();
    await page.locator(".head button", { hasText: "Ask again" }).click();
    await shows("10,000 spans found; Enter goes to the next", ".head");
    await shows(/select a\s+from b\s+where c = 1/, ".detail");
  }, 60_000);

  test("what is folded and chosen stays so when spans arrive before it", async () => {
    const trace = "c0ffee00".repeat(4);
    const began = Date.now();
    const insert = (span: number, parent: number, afterMs: number, name: string) =>
      local.query(`INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, ServiceName, Duration)
        SELECT fromUnixTimestamp64Milli(${began + afterMs}), '${trace}', '${String(span).padStart(16, "0")}',
          '${parent === 0 ? "" : String(parent).padStart(16, "0")}', '${name}', 'shop', 1000000`);
    await insert(2, 1, 20, "folded");
    await insert(3, 2, 21, "hidden");
    await insert(4, 1, 30, "chosen");
    const release = await hold(page, wholeTrace);
    await page.goto(`${local.pipeline.console}/#/traces/${trace}`);
    await shows("3 spans of 1 service", ".head");
    const row = (name: string) => page.locator(".waterfall .row", { hasText: name });
    await row("folded").locator("button.fold").click();
    await row("chosen").locator(".name").click();
    const names = () => page.locator(".waterfall .row .name bdi").allTextContents();
    expect(await names()).toEqual(["parent 0000000000000001 is not here", "folded", "chosen"]);
    await insert(1, 0, 0, "root");
    await insert(5, 1, 10, "first");
    // A trace that has just ended may get further spans: the page looks again, every five seconds or when its tab is looked at.
    const there = ["root", "first", "folded", "chosen"];
    await shows("5 spans of 1 service", ".head");
    await expect.poll(names).toEqual(there);
    release();
    await shows("Not through Headrace", ".detail"); // what its spans say has come
    expect(await names()).toEqual(there);
    expect(await row("folded").getAttribute("aria-expanded")).toBe("false");
    expect(await page.locator(".row.chosen.active .name bdi").textContent()).toBe("chosen");
    await page.unroute(wholeTrace);
    await insert(6, 3, 22, "below");
    await shows("6 spans of 1 service", ".head");
    await shows("Not through Headrace", ".detail");
    expect(await names()).toEqual(there);
  });

  test("what a span says is there whole, however long it is", async () => {
    const trace = "decade00".repeat(4);
    await local.query(`INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName, Duration, StatusCode, StatusMessage, SpanAttributes,
        Events.Timestamp, Events.Name, Events.Attributes)
      SELECT now64(9), '${trace}', '${"1".repeat(16)}', 'long', 'shop', 1000000, 'Error', concat(repeat('because ', 10000), 'of this'),
        CAST(arrayMap(n -> (concat('key.', toString(n)), toString(n)), range(2000)), 'Map(LowCardinality(String), String)'),
        [now64(9)], ['exception'], [map('exception.type', 'Boom', 'exception.stacktrace', concat(repeat('at a.b(c.js:1)\n', 1000), 'at the bottom'))]`);
    await openTrace(trace);
    await page.locator(".waterfall .row .name").first().click();
    await shows("of this", ".detail");
    await shows("at the bottom", ".detail");
    await shows("Attributes (2,000)", ".detail");
    expect(await page.locator(".detail dl.pairs dt").count()).toBeLessThan(100);
    await click("Show 300 more of 1,970");
    await shows("key.329", ".detail");
  });

  test("a span that came through Headrace names its payload, and how that ended", async () => {
    const spans = freshSpans(30);
    const trace = spans[0]?.spanContext().traceId ?? "";
    await exportSpans(local.pipeline, spans);
    // The page asks once what became of it: its receipt is behind its rows.
    await local.eventually(
      `SELECT count() FROM headrace_receipts WHERE outcome = 'stored' AND payload IN (SELECT HeadracePayload FROM otel_traces WHERE TraceId = '${trace}')`,
      "1",
      20_000,
    );
    await openTrace(trace);
    await page.locator(".waterfall .row .name").first().click();
    await shows(/In payload \w{26}.*stored in group/s, ".detail");
    await click("What happened to it");
    await shows("R2 kept it", ".detail");
    await click("Look into the payload");
    await shows(/\d+ spans? in/, "dialog");
    await page.keyboard.press("Escape");
    await page.goto(`${local.pipeline.console}/#/`);
    await shows("Watermark");
  });

  test("a tab that nobody sees asks nothing", async () => {
    const hide = (hidden: boolean) =>
      page.evaluate(`{
        Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }`);
    let asked = 0;
    await hide(true);
    await page.waitForTimeout(250); // what is under way
    page.on("request", () => {
      asked += 1;
    });
    await page.waitForTimeout(2500);
    expect(asked).toBe(0);
    await hide(false);
    await expect.poll(() => asked).toBeGreaterThan(3);
  });

  test("markup in a name, a reason or a span is text: it makes no element, runs nothing and loads nothing", async () => {
    const { console: url, adminToken } = local.pipeline;
    const elsewhere = "http://elsewhere.invalid/";
    const markup = `<img src="${elsewhere}" onerror="window.struck=1"><script>window.struck=1</script><a href="javascript:window.struck=1">x</a><style>*{background:url(${elsewhere})}</style>`;
    const key = await bury(markup, {
      spans: 3,
      all: freshSpans(3, 1, { "service.name": markup, [markup]: markup }),
    });
    page = await chromium.newPage();
    const foreign: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(url)) {
        foreign.push(request.url());
      }
    });
    await page.goto(`${url}/#token=${adminToken}`);
    await shows("onerror=", "#dead-letters");
    await buttonOf(key, "Show spans");
    await shows("3 spans in", "dialog");
    for (const summary of await page.locator("dialog summary").all()) {
      await summary.click();
    }
    await shows("onerror=", "dialog");
    const struck = `[window.struck ?? "no", document.querySelectorAll("img, body script, body style, a[href^=javascript]").length]`;
    expect(await page.evaluate(struck)).toEqual(["no", 0]);
    expect(foreign).toEqual([]);
    await page.close();
  }, 60_000);
});
