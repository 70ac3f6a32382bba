/**
 * A pipeline that collects: concurrent requests share objects, and what is too wide for that goes alone. What each span
 * repeats of a long resource is taken, and stored once, by the real Workers and the real ClickHouse.
 */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { isSegmentKey, type ObjectKey, payloadPrefix } from "../../shared/payload-key.ts";
import { payloadsOf } from "../../shared/segment/segment-key.ts";
import { randomText, wideBody } from "../fixtures/wide-bodies.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

// No cron: at a full minute the reconciler would be under way, and the one that is asked for does nothing then.
const local = useLocalPipeline({ crons: false });

async function post(body: Uint8Array): Promise<readonly [number, string]> {
  const { otlp, key } = local.pipeline;
  const response = await fetch(`${otlp}/v1/traces`, {
    method: "POST",
    headers: {
      "content-type": "application/x-protobuf",
      "content-encoding": "gzip",
      "x-api-key": key,
    },
    body: new Uint8Array(gzipSync(body)),
  });
  return [response.status, await response.text()];
}

/** The rows of the service's spans, and the parts that they came in, once it is so many. */
async function stored(rows: number, resourceBytes: number): Promise<void> {
  const where = `WHERE length(ResourceAttributes['process.command_args']) = ${resourceBytes}`;
  await local.eventually(
    `SELECT count(), uniqExact(SpanId) FROM otel_traces ${where}`,
    `${rows}\t${rows}`,
    60_000,
  );
}

const startMs = () => Date.now();

test("a Java service's command line of 70 KB and 512 spans are rows, each once", async () => {
  const resourceBytes = 70 * 1024;
  expect((await post(wideBody({ spans: 512, resourceBytes, startMs })))[0]).toBe(200);
  await stored(512, resourceBytes);
}, 90_000);

test("8192 spans with 30 KB of resource are rows, each once", async () => {
  expect((await post(wideBody({ spans: 8192, resourceBytes: 30_000, startMs })))[0]).toBe(200);
  await stored(8192, 30_000);
}, 120_000);

test("a span with a prompt of 17 MB is taken with the spans beside it", async () => {
  const ordinary = wideBody({ spans: 2, resourceBytes: 11, startMs });
  const prompt = wideBody({ spans: 1, resourceBytes: 12, ownBytes: 17_000_000, startMs });
  expect((await post(Buffer.concat([ordinary, prompt])))[0]).toBe(200);
  await stored(2, 11);
  await stored(1, 12);
}, 90_000);

test("a resource that hardly compresses is refused with what it is", async () => {
  const [status, text] = await post(
    wideBody({ spans: 1000, resourceBytes: 70_000, text: randomText, startMs }),
  );
  expect(status).toBe(413);
  expect(text).toContain("a resource of 71 KB that hardly compresses, repeated by 1000 spans");
});

/** Keys of the objects in R2. */
async function objects(): Promise<readonly ObjectKey[]> {
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
  return (await bucket.list({ prefix: payloadPrefix })).objects.map(({ key }) => key as ObjectKey);
}

async function ask(method: string, path: string): Promise<unknown> {
  const { console: address, adminToken } = local.pipeline;
  const response = await fetch(`${address}/api/${path}`, {
    method,
    headers: { authorization: `Bearer ${adminToken}` },
  });
  return await response.json();
}

test("eight exporters at once share objects: their spans are rows, each once, and the balance adds up", async () => {
  const [senders, requests, spans] = [8, 10, 20];
  const before = await objects();
  expect(before.filter(isSegmentKey), "the wide ones went alone").toEqual([]);
  const send = async (): Promise<void> => {
    for (let i = 0; i < requests; i++) {
      await exportSpans(local.pipeline, freshSpans(spans, 2, { "test.run": "collected" }));
    }
  };
  await Promise.all(Array.from({ length: senders }, send));
  const payloads = senders * requests;
  await local.eventually(
    "SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ResourceAttributes['test.run'] = 'collected'",
    `${payloads * spans}\t${payloads * spans}`,
    20_000,
  );
  const collected = (await objects()).filter((key) => !before.includes(key));
  const shared = collected.filter((key) => isSegmentKey(key));
  // The first ones go alone, and so does what comes when nobody else does.
  expect(collected.length).toBeLessThan(payloads * 0.75);
  expect(shared.filter((key) => payloadsOf(key) === 1)).toEqual([]);
  expect(collected.reduce((sum, key) => sum + payloadsOf(key), 0)).toBe(payloads);
  await local.eventually(
    "SELECT count(), uniqExact(payload) FROM headrace_receipts FINAL WHERE outcome = 'stored' AND spans = 20",
    `${payloads}\t${payloads}`,
    20_000,
  );
  // By sets of keys: each payload of each object has its receipt, and nobody is missed.
  const every = { listed: before.length + payloads, held: 0, notified: 0 };
  expect(await ask("POST", "reconcile")).toMatchObject(every);
}, 60_000);
