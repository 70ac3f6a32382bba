/**
 * A person deletes rows in ClickHouse. The same bytes are a duplicate still; everybody who is asked says what became of
 * them, and `forget` brings the rows back, once.
 */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { duplicateTimes, watchDuplicates } from "../../dev/duplicates.ts";
import { workerNames } from "../../dev/worker-names.ts";
import { formatMinute, formatPayloadKey, isPayloadKey, parsePayloadKey } from "../../shared/payload-key.ts";
import { headrace } from "../wrangler/cli-run.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

let watch: ReturnType<typeof watchDuplicates> | undefined;
const printed: string[] = [];

// 60 times faster: a fence of 3.5 s. No cron: what comes back is brought back by nobody else. Each payload has an object of its own,
// which a test puts again: whatever is sent at once.
const local = useLocalPipeline(
  { crons: false, events: false, onLog: (_level, message) => watch?.readLine(message) },
  () => ({ ledgerTimesFaster: "60", collect: { COLLECT: "off" } }),
);

beforeAll(() => {
  const ask = async (id: string) => (await console_("GET", `payload?id=${id}`)) as { presence: string };
  watch = watchDuplicates(ask, (text) => printed.push(text), { ...duplicateTimes, gatherMs: 500 });
});

afterAll(() => {
  watch?.stop();
});

const cli = (...argv: string[]) => headrace(argv, { HEADRACE_STATE: local.folder });

async function console_(method: "GET" | "POST", path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${local.pipeline.console}/api/${path}`, {
    method,
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return await response.json();
}

/** A file of ten spans, as somebody keeps it and sends it again. */
function fileOf(run: string): string {
  const traceId = randomBytes(16).toString("hex");
  const start = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: 10 }, (_, i) => ({
    traceId,
    spanId: randomBytes(8).toString("hex"),
    name: `step ${i}`,
    kind: 1,
    startTimeUnixNano: String(start + BigInt(i)),
    endTimeUnixNano: String(start + BigInt(i) + 1000n),
  }));
  const resource = { attributes: [{ key: "test.run", value: { stringValue: run } }] };
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
}

async function send(body: string): Promise<{ readonly id: string; readonly duplicate: string | null }> {
  const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": local.pipeline.key },
    body,
  });
  expect(response.status).toBe(200);
  const { headers } = response;
  return { id: headers.get("x-headrace-payload") ?? "", duplicate: headers.get("x-headrace-duplicate") };
}

const rowsOf = (run: string) =>
  `SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`;
const outcomesOf = (id: string) =>
  `SELECT arrayStringConcat(arraySort(groupArray(toString(outcome))), ' ') FROM headrace_receipts FINAL WHERE key LIKE '%/${id}'`;

async function stored(run: string): Promise<{ readonly body: string; readonly id: string }> {
  const body = fileOf(run);
  const { id, duplicate } = await send(body);
  expect(duplicate).toBeNull();
  await local.eventually(rowsOf(run), "10\t10", 20_000);
  await local.eventually(outcomesOf(id), "stored", 20_000);
  await ended(id);
  return { body, id };
}

/** Waits until what is read is as it should be: `expect.poll` knows one test at a time. */
async function until<T>(read: () => Promise<T>, isRight: (value: T) => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  for (;;) {
    const value = await read();
    if (isRight(value)) {
      return;
    }
    if (Date.now() > end) {
      throw new Error(`after 30 s it is still ${JSON.stringify(value)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Waits until the ledger is done with it. */
async function ended(id: string): Promise<void> {
  const at = async () =>
    ((await console_("GET", `payload?id=${id}`)) as { ledger: { at: string } }).ledger.at;
  await until(at, (where) => where === "done");
}

async function presenceOf(id: string): Promise<string> {
  return ((await console_("GET", `payload?id=${id}`)) as { presence: string }).presence;
}

/** What was sent last may be on its way. */
async function isBalanced(): Promise<void> {
  const read = async () => (await console_("GET", "balance")) as { balanced: boolean; dead: number };
  await until(read, ({ balanced, dead }) => balanced && dead === 0);
}

describe("a file that is sent again after TRUNCATE", () => {
  const run = "truncated";
  let file: { readonly body: string; readonly id: string };

  test("is refused to be forgotten while its rows are all there", async () => {
    file = await stored(run);
    expect(await presenceOf(file.id)).toBe("present");
    const { code, out } = await cli("forget", file.id);
    expect(code).toBe(1);
    expect(out).toContain("all of its rows are in the table");
    expect(out).toContain("headrace erase");
  });

  test("is answered as a duplicate, stays away, and everybody says so", async () => {
    await local.query("TRUNCATE TABLE otel_traces");
    expect(await send(file.body)).toEqual({ id: file.id, duplicate: "1" });
    await until(
      async () => printed.join("\n"),
      (text) => text.includes(`headrace forget ${file.id}`),
    );
    expect(await local.query(rowsOf(run))).toBe("0\t0");
    const shown = await cli("payload", "show", file.id);
    expect(shown.code).toBe(1);
    expect(shown.out).toContain("it was stored, and none of its rows is in the table now");
    expect(shown.out).toContain(`headrace forget ${file.id}`);
  });

  test("is reported once, however often it comes", async () => {
    for (let i = 0; i < 5; i++) {
      await send(file.body);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(printed.filter((text) => text.includes(file.id))).toHaveLength(1);
  });

  test("arrives when it is forgotten, once, whatever is sent and asked meanwhile", async () => {
    const nobody = "00000000000000000000000000";
    const { code, out } = await cli("forget", file.id, nobody, "--json");
    expect(JSON.parse(out)).toEqual({ taken: [file.id], heldNext: [], refused: [], missing: [nobody] });
    expect(code).toBe(1);
    await send(file.body);
    await until(
      async () => await presenceOf(file.id),
      (presence) => presence === "in_flight",
    );
    // Or it has arrived since.
    expect((await cli("forget", file.id)).out).toMatch(/it is in flight|all of its rows are in the table/);
    await local.eventually(rowsOf(run), "10\t10", 30_000);
    await ended(file.id);
    await send(file.body);
    await console_("POST", "reconcile");
    expect(await local.query(rowsOf(run))).toBe("10\t10");
    expect(await presenceOf(file.id)).toBe("present");
    await isBalanced();
    // What was sent again may still be on its way to a receipt of its own.
    await until(
      async () => (await cli("forget", file.id)).out,
      (out) => out.includes("all of its rows are in the table"),
    );
    const times = `SELECT count() > 0 FROM otel_traces_trace_id_ts WHERE TraceId IN
      (SELECT TraceId FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}')`;
    expect(await local.query(times)).toBe("1");
  });
});

test.concurrent("a payload whose duplicate came in another minute keeps one stored receipt, whichever key is named", async () => {
  const run = "two-minutes";
  const { id } = await stored(run);
  // Two minutes later, at another isolate: the same object under another key, and its doorbell.
  const first = await local.query(`SELECT key FROM headrace_receipts FINAL WHERE key LIKE '%/${id}'`);
  const parts = parsePayloadKey(first);
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  const object = await bucket.get(first);
  if (parts === undefined || object === null) {
    throw new Error("the payload is in R2");
  }
  const arrival = Date.now() - 2 * 60_000;
  const later = formatPayloadKey(arrival, parts.tenant, parts.id);
  expect(isPayloadKey(later) && later.includes(formatMinute(arrival))).toBe(true);
  const { customMetadata } = object;
  await bucket.put(later, await object.arrayBuffer(), { customMetadata: { ...customMetadata } });
  const queue = await local.pipeline.workers.getQueueProducer("RING", workerNames.consumer);
  const counts = { spans: 10, outputBytes: Number(customMetadata?.["outputBytes"]), arrival };
  await queue.send({ v: 1, key: later, cause: "ingress", ...counts });
  await local.eventually(outcomesOf(id), "duplicate stored", 20_000);
  await ended(id);
  await local.query(
    `DELETE FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}' SETTINGS mutations_sync = 2`,
  );
  expect(await presenceOf(id)).toBe("gone");
  expect((await cli("forget", later)).code).toBe(0);
  await local.eventually(rowsOf(run), "10\t10", 30_000);
  await ended(id);
  expect(await local.query(outcomesOf(id))).toBe("duplicate stored");
  expect(await local.query(`SELECT outcome FROM headrace_receipts FINAL WHERE key = '${first}'`)).toBe(
    "stored",
  );
  await isBalanced();
});

test.concurrent("a payload of which some rows were deleted is held, and written anew when a person says so", async () => {
  const run = "some-rows";
  const { id } = await stored(run);
  await local.query(
    `DELETE FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}' AND SpanName < 'step 4' SETTINGS mutations_sync = 2`,
  );
  expect(await presenceOf(id)).toBe("inexact");
  const { code, out } = await cli("forget", id);
  expect(code).toBe(0);
  expect(out).toContain("the ledger will hold it");
  await until(
    async () => await presenceOf(id),
    (presence) => presence === "held",
  );
  const key = await local.query(`SELECT key FROM headrace_receipts FINAL WHERE key LIKE '%/${id}'`);
  expect((await cli("forget", id)).out).toContain("holds it for a decision");
  expect((await cli("resolve", key, "rewrite")).code).toBe(0);
  await local.eventually(rowsOf(run), "10\t10", 40_000);
  await ended(id);
  expect(await presenceOf(id)).toBe("present");
});

test.concurrent("what was erased stays erased", async ({ expect }) => {
  const { id, body } = await stored("erased");
  const key = await local.query(`SELECT key FROM headrace_receipts FINAL WHERE key LIKE '%/${id}'`);
  expect((await cli("erase", "--key", key, "--reason", "test", "--yes")).code).toBe(0);
  await local.eventually(outcomesOf(id), "erased", 30_000);
  await ended(id);
  await send(body);
  await expect
    .poll(async () => (await cli("forget", id)).out, { timeout: 30_000 })
    .toContain("erased for good");
});
