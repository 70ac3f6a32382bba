import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { formatPayloadMetadata } from "../../shared/messages.ts";
import { formatPayloadId, formatPayloadKey, objectOf, type PayloadKey } from "../../shared/payload-key.ts";
import { readLedgerSettings } from "../../workers/consumer/read-ledger-settings.ts";
import { type BreakingProxy, type Fault, startBreakingProxy } from "./breaking-proxy.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useClickHouse, useLocalPipeline } from "./use-pipeline.ts";

const server = useClickHouse();
let proxy: BreakingProxy;

beforeAll(async () => {
  proxy = await startBreakingProxy(server.url);
});
afterAll(() => proxy.stop());

// 30 times faster: a lease of 3 s, a fence of 7 s. No cron: at a full minute it would find what was harmed before the reconciler that is asked to.
const local = useLocalPipeline({ crons: false, events: false }, () => ({
  clickHouseUrl: proxy.url,
  ledgerTimesFaster: "30",
}));

const rowsOf = (run: string) =>
  `SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`;
const traceTimesOf = (run: string) =>
  `SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts WHERE TraceId IN
    (SELECT TraceId FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}')`;
const receiptsOf = (payload: string) =>
  `SELECT outcome, spans FROM headrace_receipts FINAL WHERE lower(hex(payload)) = '${payload}'`;

/** Exports spans of one run, as one payload. */
async function send(run: string, spans = 40): Promise<void> {
  await exportSpans(local.pipeline, freshSpans(spans, 2, { "test.run": run }));
}

/** The id of a run's payload, as hexadecimal digits. */
async function payloadOf(run: string): Promise<string> {
  return await local.query(
    `SELECT DISTINCT lower(hex(HeadracePayload)) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`,
  );
}

async function ask(method: "GET" | "POST", path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${local.pipeline.console}/api/${path}`, {
    method,
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return await response.json();
}

const reconcile = () => ask("POST", "reconcile");

describe("an INSERT whose outcome is unknown", () => {
  test.each<[string, Fault[]]>([
    ["its answer is lost after the commit", ["cut_after"]],
    ["its answer is lost again and again", ["cut_after", "cut_after", "cut_before"]],
    ["the connection breaks before it", ["cut_before"]],
    ["something in between answers 200", ["html"]],
    ["something in between answers 500", ["error", "error"]],
  ])("is stored once, and receipted after its rows were counted: %s", async (name, faults) => {
    const run = name.replaceAll(" ", "-");
    const before = proxy.inserts();
    proxy.faults.push(...faults);
    await send(run);
    await local.eventually(rowsOf(run), "40\t40", 20_000);
    await local.eventually(receiptsOf(await payloadOf(run)), "stored\t40", 20_000);
    expect(await local.query(rowsOf(run))).toBe("40\t40");
    expect(proxy.inserts() - before).toBe(faults.length + 1);
    expect(local.logs.join("\n")).toContain('"outcome":"counted"');
  });
});

test("an INSERT may run as long as the ledger's fence counts on, and no longer", async () => {
  // A fence of 7 s and an INSERT of 60 s would let VERIFY look while the INSERT still runs.
  await send("bounded");
  await local.eventually(rowsOf("bounded"), "40\t40", 20_000);
  const settings = readLedgerSettings({ LEDGER_TIMES_FASTER: "30" });
  expect(proxy.lastInsert().get("max_execution_time")).toBe(String(settings.insertMs / 1000));
  expect(settings.insertMs).toBe(2000);
});

// Each waits for a fence: they wait beside each other. What they are about is sent before, and harmed.
describe("a payload that is done", { timeout: 120_000 }, () => {
  const ids = new Map<string, string>();
  const idOf = (run: string) => ids.get(run) ?? "";
  let insertsBefore = 0;

  beforeAll(async () => {
    for (const run of ["lost-receipt", "lost-rows", "erased", "old"]) {
      await send(run);
      await local.eventually(rowsOf(run), "40\t40", 20_000);
      ids.set(run, await payloadOf(run));
      await local.eventually(receiptsOf(idOf(run)), "stored\t40", 20_000);
    }
    await local.query(`DELETE FROM otel_traces WHERE lower(hex(HeadracePayload)) = '${idOf("lost-rows")}'`);
    await local.query(
      `ALTER TABLE headrace_receipts DELETE WHERE lower(hex(payload)) IN ('${idOf("lost-receipt")}', '${idOf("lost-rows")}') SETTINGS mutations_sync = 2`,
    );
    expect(await local.query(rowsOf("lost-rows"))).toBe("0\t0");
    insertsBefore = proxy.inserts();
    expect(await reconcile()).toMatchObject({ notified: 2 });
  }, 120_000);

  /** Of the two that are notified again, one has to be inserted. */
  async function bothAreBack(): Promise<void> {
    for (const run of ["lost-receipt", "lost-rows"]) {
      await local.eventually(receiptsOf(idOf(run)), "stored\t40", 60_000);
    }
    expect(proxy.inserts() - insertsBefore).toBe(1);
  }

  test.concurrent("and notified again gets its lost receipt back from its rows, without another INSERT", async () => {
    await bothAreBack();
    expect(await local.query(rowsOf("lost-receipt"))).toBe("40\t40");
  });

  test.concurrent("and notified again is inserted again, once, when the table lost its rows too", async () => {
    await local.eventually(rowsOf("lost-rows"), "40\t40", 60_000);
    await bothAreBack();
    expect(await local.query(traceTimesOf("lost-rows"))).not.toBe("0");
  });

  test.concurrent("an erased payload loses its rows and its object, keeps its receipt, and does not come back", async ({
    expect,
  }) => {
    const payload = idOf("erased");
    const key = await local.query(
      `SELECT key FROM headrace_receipts FINAL WHERE lower(hex(payload)) = '${payload}'`,
    );
    const traces = await local.query(
      `SELECT DISTINCT TraceId FROM otel_traces WHERE lower(hex(HeadracePayload)) = '${payload}'`,
    );
    const traceIds = traces.split("\n").map((id) => `'${id}'`);
    const times = `SELECT count() > 0 FROM otel_traces_trace_id_ts WHERE TraceId IN (${traceIds.join(", ")})`;
    expect(await local.query(times)).toBe("1");
    expect(await ask("POST", "erase", { keys: [key] })).toMatchObject({
      error: expect.stringContaining("reason"),
    });
    expect(await ask("POST", "erase", { keys: [key], reason: "a customer asked" })).toEqual({
      taken: [key],
      missing: [],
    });
    await local.eventually(rowsOf("erased"), "0\t0", 80_000);
    await local.eventually(
      `SELECT outcome, reason FROM headrace_receipts FINAL WHERE key = '${key}'`,
      "erased\ta customer asked",
      20_000,
    );
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    await expect.poll(() => bucket.head(key), { timeout: 10_000 }).toBeNull();
    expect(await local.query(times)).toBe("0");
    expect(await ask("POST", "replay", { keys: [key] })).toEqual({ taken: [], missing: [key] });
  });

  test.concurrent("a payload whose object was deleted after its retention can still be erased", async () => {
    const payload = idOf("old");
    const key = await local.query(
      `SELECT key FROM headrace_receipts FINAL WHERE lower(hex(payload)) = '${payload}'`,
    );
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    await bucket.delete(key);
    const nobody = key.replace(/\/[^/]+$/, "/00000000000000000000000000");
    expect(await ask("POST", "erase", { keys: [key, nobody], reason: "a customer asked" })).toEqual({
      taken: [key],
      missing: [nobody],
    });
    await local.eventually(rowsOf("old"), "0\t0", 80_000);
    await local.eventually(receiptsOf(payload), "erased\t40", 20_000);
  });

  test.concurrent("bytes that do not decode, and an object that is gone, end as dead letters; purged, they are erased", async ({
    expect,
  }) => {
    const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    const queue = await local.pipeline.workers.getQueueProducer("RING", workerNames.consumer);
    const arrival = Date.now();
    const damaged = formatPayloadKey(arrival, "dev", formatPayloadId(new Uint8Array(16).fill(1)));
    const gone = formatPayloadKey(arrival, "dev", formatPayloadId(new Uint8Array(16).fill(2)));
    await bucket.put(damaged, new Uint8Array([255, 255, 255]), {
      customMetadata: formatPayloadMetadata({
        version: "1",
        type: "pb",
        encoding: "identity",
        spans: 1,
        rejectedSpans: 0,
        inflatedBytes: 3,
        outputBytes: 1000,
        arrival,
        startMinMs: 0,
        startMaxMs: arrival,
      }),
    });
    for (const key of [damaged, gone]) {
      await queue.send({ v: 1, key, cause: "ingress", spans: 1, outputBytes: 1000, arrival });
    }
    const ends = `SELECT key, outcome, reason FROM headrace_receipts FINAL WHERE key IN ('${damaged}', '${gone}') ORDER BY key`;
    await local.eventually(ends, `${damaged}\tdead\tdecode\n${gone}\tdead\tmissing_object`, 80_000);
    const record = `dead/${damaged}`;
    expect(await (await bucket.get(record))?.json()).toMatchObject({ reason: "decode", key: damaged });
    expect(await ask("POST", "erase", { keys: [damaged, gone], reason: "damaged on purpose" })).toEqual({
      taken: [damaged, gone],
      missing: [],
    });
    await local.eventually(
      ends,
      `${damaged}\terased\tdamaged on purpose\n${gone}\terased\tdamaged on purpose`,
      80_000,
    );
    await expect.poll(() => bucket.head(damaged), { timeout: 10_000 }).toBeNull();
    expect(await bucket.head(record)).toBeNull();
  });

  test("and the balance adds up, whatever became of it", async () => {
    expect(await ask("GET", "balance")).toMatchObject({ balanced: true, erased: 4, missing: [] });
  });
});

test("a payload that the table refuses is taken out of its group and dead-lettered; the others are stored", async () => {
  await local.query(
    "ALTER TABLE otel_traces ADD CONSTRAINT not_poison CHECK ResourceAttributes['test.run'] != 'poison'",
  );
  await Promise.all([send("beside-1"), send("poison"), send("beside-2"), send("beside-3")]);
  for (const run of ["beside-1", "beside-2", "beside-3"]) {
    await local.eventually(rowsOf(run), "40\t40", 80_000);
  }
  // Three refusals, with other groups stored in between, make it a dead letter: not everything is refused.
  const dead =
    "SELECT outcome, reason FROM headrace_receipts FINAL WHERE outcome = 'dead' AND reason LIKE 'rejected%'";
  for (let i = 0; i < 40 && (await local.query(dead)) === ""; i++) {
    await send(`traffic-${i}`, 5);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await local.eventually(dead, "dead\trejected:469", 60_000);
  expect(await local.query(rowsOf("poison"))).toBe("0\t0");
  const [reason, record] = (
    await local.query("SELECT reason, record FROM headrace_dead_letters FINAL WHERE reason = 'rejected:469'")
  ).split("\t");
  expect(reason).toBe("rejected:469");
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  expect(await (await bucket.get(record ?? ""))?.json()).toMatchObject({ reason, spans: 40 });
  const key = (record ?? "").replace("dead/", "") as PayloadKey;
  expect(await bucket.head(objectOf(key)), "sent beside others, it may share their object").not.toBeNull();

  // A person fixes the table and replays it; the death is overruled by its receipt.
  expect(await ask("POST", "replay", { keys: [] })).toEqual({ error: "keys names no key" });
  expect(await ask("GET", "dead-letters")).toMatchObject([{ key, reason: "rejected:469" }]);
  await local.query("ALTER TABLE otel_traces DROP CONSTRAINT not_poison");
  expect(await ask("POST", "replay", { keys: [key, "p/0/t/none"] })).toEqual({
    taken: [key],
    missing: ["p/0/t/none"],
  });
  await local.eventually(rowsOf("poison"), "40\t40", 80_000);
  await local.eventually(
    `SELECT outcome FROM headrace_receipts FINAL WHERE key = '${key}'`,
    "stored",
    20_000,
  );
  expect(await ask("GET", "dead-letters")).toEqual([]);
}, 180_000);

test("a ledger that lost everything neither doubles nor loses what is notified again", async () => {
  await send("forgotten");
  await local.eventually(rowsOf("forgotten"), "40\t40", 30_000);
  const payload = await payloadOf("forgotten");
  await local.eventually(receiptsOf(payload), "stored\t40", 20_000);
  await local.query(
    `ALTER TABLE headrace_receipts DELETE WHERE lower(hex(payload)) = '${payload}' SETTINGS mutations_sync = 2`,
  );
  await local.stop();
  rmSync(join(local.folder, "workers", "do"), { recursive: true });
  await local.start();
  await local.eventually(receiptsOf(payload), "stored\t40", 80_000);
  expect(await local.query(rowsOf("forgotten"))).toBe("40\t40");
  // New payloads are verified too, until the new ledger's memory is long enough; they arrive all the same.
  await send("after-the-loss");
  await local.eventually(rowsOf("after-the-loss"), "40\t40", 80_000);
}, 180_000);
