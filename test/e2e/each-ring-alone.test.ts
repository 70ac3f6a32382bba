/**
 * Three rings bring a payload in: the doorbell, R2's event, the reconciler. Here each works with the other two
 * switched off, behind the real ingress: requests are answered 200 and everything becomes rows, once.
 */
import { describe, expect, type TestContext, test } from "vitest";
import type { PipelineOptions } from "../../dev/pipeline.ts";
import {
  devSettings,
  exportSpans,
  freshSpans,
  type LocalPipeline,
  startLocalPipeline,
  temporaryFolder,
} from "./local-pipeline.ts";

const stopMs = 30_000;
const payloads = 10;
const spansEach = 15;
/** Longer than a ring takes to become rows. */
const ringToRowsMs = 2500;
/** Of the queue of events, with a ledger that is 60 times faster. */
const eventDelayMs = 5000;

async function start(
  { onTestFinished }: TestContext,
  rings: Pick<PipelineOptions, "doorbells" | "events">,
): Promise<LocalPipeline> {
  const folder = temporaryFolder();
  onTestFinished(folder.remove);
  const settings = devSettings(folder.path, { ledgerTimesFaster: "60" });
  const local = await startLocalPipeline(settings, { ...rings, crons: false });
  onTestFinished(() => local.stop(), stopMs);
  return local;
}

async function sendAll(local: LocalPipeline): Promise<void> {
  for (let i = 0; i < payloads; i++) {
    await exportSpans(local.pipeline, freshSpans(spansEach), i % 2 === 0 ? "protobuf" : "json");
  }
}

async function ask(local: LocalPipeline, method: "GET" | "POST", path: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${local.pipeline.adminToken}` };
  const response = await fetch(`${local.pipeline.console}/api/${path}`, { method, headers });
  return await response.json();
}

const rows = "SELECT count(), uniqExact(HeadracePayload, SpanId) FROM otel_traces";
const all = `${payloads * spansEach}\t${payloads * spansEach}`;
const receipts = "SELECT count() FROM headrace_receipts FINAL WHERE outcome = 'stored'";

/** Everything is there once, receipted, and nothing is missing. */
async function expectAll(local: LocalPipeline, deadlineMs: number): Promise<void> {
  await local.eventually(rows, all, deadlineMs);
  await local.eventually(receipts, String(payloads), 20_000);
  expect(await ask(local, "GET", "balance")).toMatchObject({
    balanced: true,
    accepted: payloads,
    stored: payloads,
    inFlight: 0,
    missing: [],
  });
}

describe.concurrent("with the other two rings switched off", { timeout: 120_000 }, () => {
  test("the doorbell brings every payload in", async (context) => {
    const local = await start(context, { doorbells: true, events: false });
    await sendAll(local);
    await expectAll(local, 20_000);
  });

  test("the R2 event brings every payload in", async (context) => {
    const local = await start(context, { doorbells: false, events: true });
    const began = Date.now();
    await sendAll(local);
    await new Promise((resolve) => setTimeout(resolve, ringToRowsMs));
    const early = await local.query(rows);
    if (Date.now() - began < eventDelayMs) {
      expect(early).toBe("0\t0"); // a busy machine took longer: the first event may have come
    }
    await expectAll(local, 40_000);
  });

  test("the reconciler brings every payload in, and nothing does before it runs", async (context) => {
    const local = await start(context, { doorbells: false, events: false });
    await sendAll(local);
    await new Promise((resolve) => setTimeout(resolve, ringToRowsMs));
    expect(await local.query(rows)).toBe("0\t0");
    expect(await ask(local, "GET", "balance")).toMatchObject({ balanced: false, accepted: payloads });
    expect(await ask(local, "POST", "reconcile")).toMatchObject({ notified: payloads });
    await expectAll(local, 20_000);
  });
});
