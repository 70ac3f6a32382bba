import { request } from "node:http";
import { gunzipSync } from "node:zlib";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { type ObjectKey, payloadPrefix } from "../../shared/payload-key.ts";
import { payloadsOf } from "../../shared/segment/segment-key.ts";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline();

/** A run of its own in `otel_traces`, recognised by a resource attribute. */
function runOf(name: string) {
  const resource = { "test.run": name };
  return { resource, where: `WHERE ResourceAttributes['test.run'] = '${name}'` };
}

/** A second or two on a machine that does nothing else; here other tests compute beside it. */
const soonMs = 20_000;

describe("spans of the SDK's exporter", () => {
  test.each([
    ["protobuf", "gzip"],
    ["protobuf", "none"],
    ["json", "gzip"],
    ["json", "none"],
  ] as const)(
    "as %s with compression %s are rows soon after the 200, each once",
    async (encoding, compression) => {
      const { resource, where } = runOf(`${encoding}-${compression}`);
      await exportSpans(local.pipeline, freshSpans(500, 3, resource), encoding, compression);
      await local.eventually(
        `SELECT count(), uniqExact(SpanId) FROM otel_traces ${where}`,
        "500\t500",
        soonMs,
      );
    },
  );

  test.concurrent("keep their values in every column", async () => {
    const { resource, where } = runOf("columns");
    const spans = freshSpans(200, 3, resource);
    await exportSpans(local.pipeline, spans);
    await local.eventually(`SELECT count() FROM otel_traces ${where}`, "200", soonMs);
    const rows = (await local.query(`SELECT * FROM otel_traces ${where} FORMAT JSONEachRow`))
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const byId = new Map(rows.map((row) => [row["SpanId"], row]));
    for (const span of spans) {
      const row = byId.get(span.spanContext().spanId);
      expect(row).toMatchObject({
        TraceId: span.spanContext().traceId,
        ParentSpanId: span.parentSpanContext?.spanId ?? "",
        TraceState: span.spanContext().traceState?.serialize() ?? "",
        SpanName: span.name,
        SpanKind: ["Internal", "Server", "Client", "Producer", "Consumer"][span.kind],
        ServiceName: span.resource.attributes["service.name"],
        ScopeName: span.instrumentationScope.name,
        ScopeVersion: span.instrumentationScope.version ?? "",
        StatusCode: ["Unset", "Ok", "Error"][span.status.code],
        StatusMessage: span.status.message ?? "",
        HeadraceTenant: "dev",
      });
      const [start, end] = [span.startTime, span.endTime].map(
        ([s, ns]) => BigInt(s) * 1_000_000_000n + BigInt(ns),
      );
      expect(String(row?.["Duration"])).toBe(String((end ?? 0n) - (start ?? 0n)));
      expect(row?.["Events.Name"]).toEqual(span.events.map(({ name }) => name));
      expect(row?.["Links.TraceId"]).toEqual(span.links.map(({ context }) => context.traceId));
      expect(row?.["Links.SpanId"]).toEqual(span.links.map(({ context }) => context.spanId));
      const attributes = row?.["SpanAttributes"] as Record<string, string>;
      expect(Object.keys(attributes).sort()).toEqual(Object.keys(span.attributes).sort());
      for (const [name, value] of Object.entries(span.attributes)) {
        if (typeof value === "string" || typeof value === "boolean") {
          expect(attributes[name], name).toBe(String(value));
        }
      }
    }
  });

  test.concurrent("that come twice with equal bytes are stored once, and receipted as one stored and one duplicate or the same key", async () => {
    const { resource, where } = runOf("twice");
    const spans = freshSpans(50, 2, resource);
    await exportSpans(local.pipeline, spans, "protobuf", "none");
    await exportSpans(local.pipeline, spans, "protobuf", "none");
    await local.eventually(`SELECT count(), uniqExact(SpanId) FROM otel_traces ${where}`, "50\t50", soonMs);
    await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than the way to the rows takes
    expect(await local.query(`SELECT count() FROM otel_traces ${where}`)).toBe("50");
  });

  test.concurrent("in many small requests are stored in few groups", async () => {
    const { resource, where } = runOf("small");
    const spans = freshSpans(200, 2, resource);
    const began = performance.now();
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => exportSpans(local.pipeline, spans.slice(i * 10, i * 10 + 10))),
    );
    const seconds = Math.floor((performance.now() - began) / 1000);
    await local.eventually(`SELECT count(), uniqExact(SpanId) FROM otel_traces ${where}`, "200\t200", soonMs);
    const receipts = "FROM headrace_receipts WHERE spans = 10 AND outcome = 'stored'";
    await local.eventually(`SELECT count() ${receipts}`, "20", soonMs); // each is behind its rows
    const groups = await local.query(`SELECT uniqExact(group_id) ${receipts}`);
    // A group waits for others for a second: where the machine took longer to send them, they are in more of them.
    expect(Number(groups)).toBeLessThanOrEqual(6 + 2 * seconds);
  });
});

test("curl's way in: a JSON body by hand", async () => {
  const now = Date.now();
  const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${local.pipeline.key}` },
    body: JSON.stringify({
      resourceSpans: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "by-hand" } }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: "5b8efff798038103d269b633813fc60c",
                  spanId: "eee19b7ec3c1b174",
                  name: "hello",
                  kind: 2,
                  startTimeUnixNano: `${now}000000`,
                  endTimeUnixNano: `${now + 5}000000`,
                },
              ],
            },
          ],
        },
      ],
    }),
  });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({});
  await local.eventually(
    "SELECT TraceId, SpanName, SpanKind, Duration FROM otel_traces WHERE ServiceName = 'by-hand'",
    "5b8efff798038103d269b633813fc60c\thello\tServer\t5000000",
    soonMs,
  );
});

test("an answer is readable for a client that says nothing of encodings, and gzip for one that asks", async () => {
  const url = `${local.pipeline.otlp}/v1/traces`;
  const answer = (headers: Record<string, string>) =>
    new Promise<{ encoding: string | undefined; body: Buffer }>((resolve, reject) => {
      const asked = request(url, { method: "POST", headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({ encoding: response.headers["content-encoding"], body: Buffer.concat(chunks) }),
        );
      });
      asked.on("error", reject);
      asked.end("{}");
    });
  const plain = await answer({ "content-type": "application/json" });
  expect(plain.encoding).toBeUndefined();
  expect(plain.body.toString()).toContain("No API key");
  const zipped = await answer({ "content-type": "application/json", "accept-encoding": "gzip" });
  expect(zipped.encoding).toBe("gzip");
  expect(gunzipSync(zipped.body).toString()).toBe(plain.body.toString());
});

describe("the exporter gets the answer", () => {
  test("that its key is wrong, and does not retry", async () => {
    const refused = exportSpans({ ...local.pipeline, key: "hr_wrong" }, freshSpans(1));
    await expect(refused).rejects.toMatchObject({ code: 401 });
  });

  test("which spans were refused, while the good ones are stored", async () => {
    const { resource, where } = runOf("partial");
    const spans = freshSpans(3, 1, resource);
    const [first] = spans;
    const late = {
      ...first,
      startTime: [1, 0],
      spanContext: () => first?.spanContext(),
    } as unknown as (typeof spans)[0];
    await exportSpans(local.pipeline, [...spans.slice(1), late]);
    await local.eventually(`SELECT count() FROM otel_traces ${where}`, "2", soonMs);
  });
});

test("everything that was accepted is in the balance", async () => {
  const ask = async () => {
    const response = await fetch(`${local.pipeline.console}/api/balance`, {
      headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
    });
    const schema = v.looseObject({
      balanced: v.boolean(),
      accepted: v.number(),
      stored: v.number(),
      inFlight: v.number(),
    });
    return v.parse(schema, await response.json());
  };
  await expect.poll(ask, { timeout: 10_000 }).toMatchObject({ balanced: true, inFlight: 0, missing: [] });
  const { accepted } = await ask();
  const bucket = await local.pipeline.workers.getR2Bucket("PAYLOADS", "headrace-consumer");
  const { objects } = await bucket.list({ prefix: payloadPrefix });
  expect(accepted).toBe(objects.reduce((sum, { key }) => sum + payloadsOf(key as ObjectKey), 0));
});

test("the console says nothing without the admin token, and a sending key does not open it", async () => {
  for (const headers of [{}, { authorization: `Bearer ${local.pipeline.key}` }]) {
    const response = await fetch(`${local.pipeline.console}/api/balance`, { headers });
    expect(response.status).toBe(401);
  }
});
