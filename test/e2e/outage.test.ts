/**
 * ClickHouse is switched off: page, CLI, metrics, `/healthz`, findings and webhook say what the ledger and R2 know, and name
 * what does not answer. One quiet group alone, so the breaker stays closed. The ledger's durations are 30 times shorter, so
 * "2 min" is four seconds; what is said at each moment is the transcript of docs/operating.md, word by word.
 */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import type * as v from "valibot";
import { afterAll, beforeAll, expect, test } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { findingsSchema, statusSchema, watermarkSchema } from "../../shared/console/answers.ts";
import { judge, stateText } from "../../workers/console/page/state.ts";
import { headrace } from "../wrangler/cli-run.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

const timesFaster = 30;
const minuteMs = 60_000 / timesFaster;
let webhook: Server;
let hook = "";
/** What the webhook was sent since it was last looked at. */
let posted: string[] = [];

beforeAll(async () => {
  webhook = createServer((request, response) => {
    let body = "";
    request.on("data", (bytes: Buffer) => (body += bytes));
    request.on("end", () => {
      posted.push(JSON.parse(body).text);
      response.end("ok");
    });
  });
  await new Promise<void>((resolve) => webhook.listen(0, "127.0.0.1", resolve));
  const address = webhook.address();
  const port = typeof address === "object" ? address?.port : 0;
  hook = `http://127.0.0.1:${port}/hook`;
});
const server = useClickHouse();
const local = useLocalPipeline({ crons: false }, () => ({
  clickHouseUrl: server.url,
  ledgerTimesFaster: String(timesFaster),
  alertWebhook: hook,
}));
afterAll(() => webhook.close());

async function read(path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { console, adminToken } = local.pipeline;
  const response = await fetch(`${console}${path}`, { headers: { authorization: `Bearer ${adminToken}` } });
  return { status: response.status, text: await response.text() };
}

async function json<S extends v.GenericSchema>(path: string, _schema: S): Promise<v.InferOutput<S>> {
  return JSON.parse((await read(path)).text);
}

const trouble = async (): Promise<string> => (await json("/api/status", statusSchema)).trouble;

async function tickCron(): Promise<void> {
  const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
  await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
}

const cli = (...argv: readonly string[]) => headrace(argv, { HEADRACE_STATE: local.folder });

/** The page's header, and the line below it, by the page's own code. */
async function pageSays(): Promise<string> {
  const polled = ["in-flight", "minutes?hours=1", "dead-letters", "status", "watermark", "findings"];
  const answers = await Promise.all(polled.map((path) => read(`/api/${path}`)));
  const status = await json("/api/status", statusSchema);
  const findings = await json("/api/findings", findingsSchema);
  const state = judge(
    await json("/api/watermark", watermarkSchema),
    status,
    findings.filter((finding) => finding.state === "open"),
    { isUnread: answers.some((answer) => answer.status !== 200), isRefused: false },
  );
  return [stateText(state), status.trouble].filter((text) => text !== "").join(": ");
}

/** What is said at one moment, as the transcript has it. */
async function moment(name: string): Promise<string> {
  const [page, status, healthz] = [await pageSays(), await cli("status"), await read("/healthz")];
  const lines = [
    ["page", page],
    [`status, exit code ${status.code}`, status.out.trim()],
    ["/healthz", `${healthz.status} ${healthz.text.trim()}`],
    ["webhook", posted.length === 0 ? "nothing" : posted.join("\n")],
  ];
  posted = [];
  const indented = (text: string): string =>
    text
      .split("\n")
      .map((line) => `    ${line.trim()}`)
      .join("\n");
  return [`${name}`, ...lines.map(([who, text = ""]) => `  ${who}:\n${indented(text)}`)].join("\n");
}

/** What differs from run to run, as the transcript has it. */
function normal(text: string): string {
  return text
    .replaceAll(local.pipeline.console, "https://console.example.com")
    .replaceAll(new URL(server.url).host, "clickhouse.example.com:8443")
    .replace(/since \d\d:\d\d UTC/g, "since 07:34 UTC")
    .replace(
      /does not answer( since 07:34 UTC)? \([^()]*(\([^()]*\)[^()]*)*\)/g,
      "does not answer$1 (Network connection lost)",
    )
    .replace(/watermark: \S+, \d+ min behind/g, "watermark: 2026-11-27T07:28:00.000Z, 6 min behind");
}

test("an outage is reported by everything that answers without ClickHouse, and is over when it is back", async () => {
  const poll = { timeout: 30_000, interval: 250 };
  await tickCron();
  await exportSpans(local.pipeline, freshSpans(20));
  await local.eventually("SELECT count() FROM headrace_receipts", "1", 30_000);
  expect(await read("/healthz")).toEqual({ status: 200, text: "ok\n" });
  const transcript = [await moment("before")];

  await server.kill();
  const killedAt = Date.now();
  transcript.push(await moment("0 s"));

  await exportSpans(local.pipeline, freshSpans(20), "json", "none"); // clients still get their 200
  await expect.poll(trouble, poll).not.toBe("");
  const [, sentence = ""] =
    /(ClickHouse at [^;]*); 1 payload waits; nothing is lost\.$/.exec(await trouble()) ?? [];
  expect(sentence).toMatch(
    new RegExp(`^ClickHouse at ${new URL(server.url).host} does not answer since [0-9:]{5} UTC \\(.+\\)$`),
  );
  const early = await moment("30 s");
  if (Date.now() - killedAt < 2 * minuteMs) {
    transcript.push(early); // a busy machine took longer, and says what it says at two minutes
  }

  await expect.poll(async () => (await read("/healthz")).status, poll).toBe(503);
  await tickCron();
  transcript.push(await moment("2 min"));
  const inFlight = JSON.parse((await read("/api/in-flight")).text);
  expect(inFlight.groups).toMatchObject([
    { failure: { kind: "unknown", text: expect.stringMatching(/^no answer: /) } },
  ]);
  expect((await read("/metrics")).text).toMatch(
    /headrace_delivery_failing 1\n[\s\S]*headrace_clickhouse_up 0\n/,
  );
  expect(await read("/api/dead-letters")).toEqual({ status: 200, text: "[]" }); // R2 has no record of one
  const [key] = inFlight.groups[0].keys;
  const shown = await cli("payload", "show", key);
  expect(shown.out).toMatch(/^receipts and rows are not known: ClickHouse at \S+ does not answer \(/);
  expect(shown.out).toMatch(/receipt not known; [0-9]+ bytes in R2[\s\S]*failed [0-9a-z]+( times)?, last at/);

  await exportSpans(local.pipeline, freshSpans(20));
  await expect.poll(trouble, poll).toContain("2 payloads wait");
  await new Promise((resolve) => setTimeout(resolve, killedAt + 10 * minuteMs - Date.now()));
  await tickCron();
  transcript.push(await moment("10 min"));

  await server.restart();
  await local.eventually("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces", "60\t60", 60_000);
  await local.eventually("SELECT count() FROM headrace_receipts", "3", 30_000);
  await expect.poll(trouble, poll).toBe("");
  await tickCron();
  await expect.poll(async () => (await read("/healthz")).status, poll).toBe(200);
  transcript.push(await moment("after its return"));

  const docs = readFileSync(join(import.meta.dirname, "../../docs/operating.md"), "utf8");
  const [, written = ""] = /## What an outage looks like[\s\S]*?```text\n([\s\S]*?)```/.exec(docs) ?? [];
  const sections = new Map(written.split(/\n(?=\S)/).map((part) => [part.split("\n")[0], part.trim()]));
  for (const said of transcript.map(normal)) {
    expect(said).toBe(sections.get(said.split("\n")[0]));
  }
}, 180_000);

test("payloads that bypass the collector are reported by webhook, findings and CLI", async () => {
  // A ClickHouse that is idle is not asked for them, unless something else is open.
  await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 0");
  await tickCron();
  await local.query(`INSERT INTO headrace_outcomes (minute, tenant, key, outcome, reason, reporter, sequence, requests)
    SELECT toStartOfMinute(now('UTC')) - 60 * number, 'acme', 'k', 'accepted', 'collector_failed', 'r', number, 1000 FROM numbers(15)`);
  posted = [];
  await tickCron();
  const said =
    "10000 payloads of 10000 (100 %) went into R2 one by one although the collector was to have them";
  expect(posted.join("\n")).toContain(said);
  expect(await json("/api/findings", findingsSchema)).toContainEqual(
    expect.objectContaining({ kind: "collector_bypassed", state: "open", severity: "warning" }),
  );
  for (const command of ["findings", "status"]) {
    expect((await cli(command)).out, command).toContain(said);
  }
  await local.query("ALTER TABLE otel_traces MODIFY SETTING non_replicated_deduplication_window = 100000");
}, 60_000);
