import * as v from "valibot";
import { beforeAll, describe, expect, test } from "vitest";
import { exportSpans, freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline({ crons: false, events: false });
/** Requests that are reported later than they are answered: sent first, looked at last. */
let limited: { readonly id: string; readonly answers: readonly number[] };

beforeAll(async () => {
  const { key, id } = await makeKey({ spansPerMonth: 100 });
  const answers = [await status(key, 79), await status(key, 1), await status(key, 21)];
  limited = { id, answers: [...answers, await status("hr_nonsense", 1)] };
});

async function ask(path: string, sent?: object): Promise<unknown> {
  const response = await fetch(`${local.pipeline.console}${path}`, {
    headers: { authorization: `Bearer ${local.pipeline.adminToken}` },
    ...(sent === undefined ? {} : { method: "POST", body: JSON.stringify(sent) }),
  });
  expect(response.ok, path).toBe(true);
  return await response.json();
}

const madeSchema = v.looseObject({ key: v.string(), id: v.string() });

async function makeKey(changes: object): Promise<v.InferOutput<typeof madeSchema>> {
  return v.parse(madeSchema, await ask("/api/keys", { tenant: "acme", name: "test", ...changes }));
}

/** The SDK's exporter retries 429 for long: these requests are sent once. */
async function status(key: string, spans: number): Promise<number> {
  const start = BigInt(Date.now()) * 1_000_000n;
  const random = (bytes: number) =>
    Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");
  const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json" },
    body: JSON.stringify({
      resourceSpans: [
        {
          scopeSpans: [
            {
              spans: Array.from({ length: spans }, () => ({
                traceId: random(16),
                spanId: random(8),
                name: "op",
                startTimeUnixNano: String(start),
                endTimeUnixNano: String(start + 1000n),
              })),
            },
          ],
        },
      ],
    }),
  });
  await response.arrayBuffer();
  return response.status;
}

describe("keys made at the console", () => {
  test("keep half of the traces when they say so: the rows are the traces that the rule keeps", async () => {
    const { key } = await makeKey({ tenant: "half", sample: 0.5 });
    const spans = freshSpans(400, 2);
    await exportSpans({ otlp: local.pipeline.otlp, key }, spans);
    const kept = spans
      .map((span) => span.spanContext())
      .filter(({ traceId }) => BigInt(`0x${traceId.slice(-14)}`) >= 1n << 55n)
      .map(({ spanId }) => spanId)
      .sort();
    expect(kept.length).toBeGreaterThan(50);
    expect(kept.length).toBeLessThan(350);
    const rows = "FROM otel_traces WHERE HeadraceTenant = 'half'";
    await local.eventually(`SELECT count() ${rows}`, String(kept.length), 20_000);
    expect(await local.query(`SELECT SpanId ${rows} ORDER BY SpanId`)).toBe(kept.join("\n"));
  }, 30_000);

  test("are held to their quota; it is reported at 80 % and 100 %, and usage and outcomes say who and why", async () => {
    const { id, answers } = limited;
    expect(answers).toEqual([200, 200, 429, 401]);
    await local.eventually(
      `SELECT replaceOne(subject, '${id}', 'id'), state, severity, tenant FROM headrace_findings FINAL WHERE kind = 'quota' ORDER BY subject`,
      [
        `acme/${new Date().toISOString().slice(0, 7)}/100/id\topen\twarning\tacme`,
        `acme/${new Date().toISOString().slice(0, 7)}/80/id\tresolved\tnote\tacme`,
      ].join("\n"),
      20_000,
    );
    await local.eventually(
      "SELECT if(tenant = '', 'nobody', tenant), key != '', outcome, reason, sum(requests), sum(spans), sum(key_lookups) FROM headrace_outcomes FINAL WHERE tenant != 'half' GROUP BY ALL ORDER BY ALL",
      [
        "acme\t1\taccepted\tcreated\t2\t80\t1",
        "acme\t1\tover_quota\tquota_exceeded\t1\t21\t0",
        "nobody\t0\tunauthenticated\tunknown_key\t1\t0\t0",
      ].join("\n"),
      20_000,
    );
    expect(await ask("/api/outcomes?tenant=acme")).toMatchObject({
      bestEffort: true,
      truncated: false,
      outcomes: [
        { tenant: "acme", key: id, outcome: "accepted", reason: "created", requests: 2, spans: 80 },
        { tenant: "acme", key: id, outcome: "over_quota", reason: "quota_exceeded", requests: 1, spans: 21 },
      ],
    });
    expect(await ask("/api/outcomes?tenant=half")).toMatchObject({
      outcomes: expect.arrayContaining([
        expect.objectContaining({ outcome: "sampled", reason: "some_spans", requests: 0 }),
      ]),
    });
    expect(await ask("/api/outcomes?by=minute")).toMatchObject({
      outcomes: expect.arrayContaining([
        expect.objectContaining({ minute: expect.stringMatching(/T\d\d:\d\d:00Z$/) }),
      ]),
    });

    await local.eventually("SELECT spans FROM headrace_usage WHERE tenant = 'acme'", "80", 20_000);
    const day = new Date().toISOString().slice(0, 10);
    expect(await ask("/api/usage?tenant=acme&days=1")).toMatchObject({
      since: day,
      days: [
        {
          tenant: "acme",
          day,
          payloads: 2,
          spans: 80,
          rejectedSpans: 0,
          bestEffort: { sampledSpans: 0, limitedRequests: 1, limitedSpans: 21 },
        },
      ],
      accounts: [{ account: id, month: day.slice(0, 7), usedSpans: 80 }],
    });
  }, 60_000);
});
