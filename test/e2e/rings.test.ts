import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { describe, expect, test } from "vitest";
import { workerNames } from "../../dev/worker-names.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadMetadata, type R2Event } from "../../shared/messages.ts";
import { inspectTraces } from "../../shared/otlp/inspect.ts";
import { formatPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";
import { idOfBody } from "../fixtures/id-of-body.ts";
import { freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

// Neither the stand-in for events nor the cron runs: each test rings by its own ring alone.
const local = useLocalPipeline({ crons: false, events: false });

/** What the ingress leaves in R2 when it is killed right after the put: a payload without a doorbell. */
async function putWithoutDoorbell(
  run: string,
  changes: Record<string, string> = {},
): Promise<{ key: PayloadKey; size: number }> {
  const arrival = Date.now();
  const body =
    ProtobufTraceSerializer.serializeRequest(freshSpans(30, 2, { "test.run": run })) ?? new Uint8Array();
  const bounds = { startMinMs: arrival - limits.spanAgeMaxMs, startMaxMs: arrival + limits.spanFutureMaxMs };
  const { spans, rejectedSpans, outputBytes } = inspectTraces(body, bounds);
  const key = formatPayloadKey(arrival, "dev", await idOfBody("dev", "pb", "identity", body));
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", workerNames.consumer);
  await bucket.put(key, body, {
    customMetadata: {
      ...formatPayloadMetadata({
        version: "1",
        type: "pb",
        encoding: "identity",
        spans,
        rejectedSpans,
        inflatedBytes: body.length,
        outputBytes,
        arrival,
        ...bounds,
      }),
      ...changes,
    },
  });
  return { key, size: body.length };
}

const countOf = (run: string) =>
  `SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ResourceAttributes['test.run'] = '${run}'`;

async function reconcile(): Promise<unknown> {
  const response = await fetch(`${local.pipeline.console}/api/reconcile`, {
    method: "POST",
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
  });
  return await response.json();
}

test("the reconciler alone brings a payload in, and rings nothing that is held or done", async () => {
  await putWithoutDoorbell("reconcile");
  expect(await reconcile()).toMatchObject({ notified: 1 });
  await local.eventually(countOf("reconcile"), "30\t30", 20_000);
  await local.eventually("SELECT count() FROM headrace_receipts WHERE outcome = 'stored'", "1", 20_000);
  expect(await reconcile()).toMatchObject({ notified: 0, held: 0 });
});

/** The event of a payload that all rings have notified. */
let arrived: object;

test("all rings at once store a payload once", async () => {
  const { key, size } = await putWithoutDoorbell("all");
  const queue = await local.pipeline.workers.getQueueProducer("EVENTS", workerNames.consumer);
  const event = { account: "a", action: "PutObject", bucket: "b", object: { key, size }, eventTime: "now" };
  await Promise.all([queue.send(event), queue.send(event), reconcile(), reconcile()]);
  await local.eventually(countOf("all"), "30\t30", 20_000);
  arrived = event;
});

// No run of the reconciler rings what is so young: each of these has its own ring alone, and they wait side by side.
describe.concurrent("a young payload", () => {
  test("an R2 event alone brings a payload in", async () => {
    const { key, size } = await putWithoutDoorbell("event");
    const event: R2Event = {
      account: "3f4b7e3dcab231cbfdaa90a6a28bd548",
      action: "PutObject",
      bucket: "headrace-payloads",
      object: { key, size, eTag: "c846ff7a18f28c2e262116d6e8719ef0" },
      eventTime: new Date().toISOString(),
    };
    const queue = await local.pipeline.workers.getQueueProducer("EVENTS", workerNames.consumer);
    await queue.send(event);
    await local.eventually(countOf("event"), "30\t30", 20_000);
  });

  test("an event that comes when its payload is stored stores nothing again", async () => {
    const queue = await local.pipeline.workers.getQueueProducer("EVENTS", workerNames.consumer);
    await queue.send(arrived);
    await new Promise((resolve) => setTimeout(resolve, 7000)); // batch time-out, age of a group, the way to the rows
    expect(await local.query(countOf("all"))).toBe("30\t30");
  });

  test("the cron's run leaves young payloads to the other rings", async () => {
    await putWithoutDoorbell("young");
    const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
    await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" });
    await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than a ring takes to become rows
    expect(await local.query(countOf("young"))).toBe("0\t0");
  });

  test("a message that nobody understands ends in R2 and as a finding, whichever queue brings it", async () => {
    const { workers } = local.pipeline;
    for (const binding of ["RING", "GROUP", "EVENTS"]) {
      const queue = await workers.getQueueProducer(binding, workerNames.consumer);
      await queue.send({ nobody: "knows", binding });
    }
    await local.eventually(
      "SELECT count() FROM headrace_findings FINAL WHERE kind = 'parked_message' AND state = 'open'",
      "3",
      20_000,
    );
    const bucket = await workers.getR2Bucket("PAYLOADS", workerNames.consumer);
    const { objects } = await bucket.list({ prefix: "parked/" });
    expect(objects.map(({ key }) => key.split("/")[1]).sort()).toEqual([
      "headrace-group",
      "headrace-late",
      "headrace-ring",
    ]);
  });

  test("a doorbell that counts other spans than its object keeps nobody of its group from being stored", async () => {
    const { key } = await putWithoutDoorbell("other count");
    const queue = await local.pipeline.workers.getQueueProducer("RING", workerNames.consumer);
    const counts = { spans: 17, outputBytes: 9999, arrival: Date.now() };
    const innocent = await putWithoutDoorbell("innocent");
    await Promise.all([
      queue.send({ v: 1, key, cause: "ingress", ...counts }),
      queue.send({ v: 1, key: innocent.key, cause: "ingress" }),
    ]);
    await local.eventually(countOf("innocent"), "30\t30", 20_000);
    await local.eventually(countOf("other count"), "30\t30", 20_000);
    await local.eventually(
      `SELECT outcome, spans FROM headrace_receipts FINAL WHERE key IN ('${key}', '${innocent.key}') ORDER BY key`,
      "stored\t30\nstored\t30",
      20_000,
    );
  });

  test("an object whose metadata is not ours becomes a dead letter; the others of its group are stored", async () => {
    const damaged = await putWithoutDoorbell("damaged", { spans: "many" });
    const innocent = await putWithoutDoorbell("beside it");
    const queue = await local.pipeline.workers.getQueueProducer("RING", workerNames.consumer);
    await queue.sendBatch([damaged, innocent].map(({ key }) => ({ body: { v: 1, key, cause: "ingress" } })));
    await local.eventually(countOf("beside it"), "30\t30", 20_000);
    await local.eventually(
      `SELECT outcome, reason FROM headrace_receipts FINAL WHERE key = '${damaged.key}'`,
      "dead\tunreadable",
      20_000,
    );
    expect(await local.query(countOf("damaged"))).toBe("0\t0");
  });
});
