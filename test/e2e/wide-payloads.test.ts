/** What each span repeats of a long resource: taken, and stored once, by the real Workers and the real ClickHouse. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { randomText, wideBody } from "../fixtures/wide-bodies.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline();

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
