/**
 * A table that keeps its rows for a week, and spans that are older, accepted by an ingress that does not know it yet:
 * ClickHouse answers their INSERT with 200 and keeps none of them. No receipt may claim them.
 */
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace";
import { beforeAll, expect, test } from "vitest";
import { generateSpans } from "../../dev/send/generate-spans.ts";
import { workerNames } from "../../dev/worker-names.ts";
import { DAY_MS } from "../../shared/limits.ts";
import { freshSpans } from "./local-pipeline.ts";
import { useLocalPipeline } from "./use-pipeline.ts";

const local = useLocalPipeline({ crons: false });

beforeAll(async () => {
  // The ingress now takes it for a minute that the table keeps everything.
  expect(await post(freshSpans(3))).toBe("200 0");
  await local.query("ALTER TABLE otel_traces MODIFY TTL toDateTime(Timestamp) + toIntervalWeek(1)");
  const consumer = await local.pipeline.workers.getWorker(workerNames.consumer);
  await consumer.scheduled({ scheduledTime: new Date(), cron: "* * * * *" }); // looks at the table
}, 60_000);

const oldSpans = (count: number) =>
  [
    ...generateSpans({
      spans: count,
      services: 1,
      seed: 3,
      batchSpans: count,
      startMs: Date.now() - 10 * DAY_MS,
      windowMs: 1000,
      resource: {},
      ids: new RandomIdGenerator(),
    }),
  ].flat();

async function post(spans: Parameters<typeof ProtobufTraceSerializer.serializeRequest>[0]): Promise<string> {
  const response = await fetch(`${local.pipeline.otlp}/v1/traces`, {
    method: "POST",
    headers: { "x-api-key": local.pipeline.key, "content-type": "application/x-protobuf" },
    body: new Uint8Array(ProtobufTraceSerializer.serializeRequest(spans) ?? []),
  });
  return `${response.status} ${(await response.arrayBuffer()).byteLength}`;
}

test("a payload that is too old as a whole ends as expired, one that is so in part says which days; neither claims what is not there", async () => {
  expect(await post(oldSpans(12))).toBe("200 0");
  expect(await post([...oldSpans(7), ...freshSpans(5)])).toBe("200 0");
  await local.eventually("SELECT count() FROM headrace_receipts FINAL", "3", 30_000);
  const day = new Date(Date.now() - 10 * DAY_MS).toISOString().slice(0, 10);
  const receipts = await local.query(
    "SELECT outcome, arraySum(mapValues(spans_by_day)), startsWith(reason, 'expired: '), position(reason, ' spans of ') > 0, splitByString(' spans of ', reason)[1], substring(splitByString(' spans of ', reason)[2], 1, 10) FROM headrace_receipts FINAL WHERE reason != '' ORDER BY outcome",
  );
  expect(receipts.split("\n").sort()).toEqual(
    [`expired\t0\t1\t1\texpired: 12\t${day}`, `stored\t5\t1\t1\texpired: 7\t${day}`].sort(),
  );
  // What the TTL has passed goes with the INSERT or with the part's first merge, whenever the server comes to that.
  await local.eventually("SELECT count() FROM otel_traces", "8", 30_000);
}, 60_000);
