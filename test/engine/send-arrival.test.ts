/** The sender's question to ClickHouse, asked of a real one. */
import { createClient } from "@clickhouse/client-web";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Arrival, type AwaitArrivalOptions, awaitArrival } from "../../dev/send/await-arrival.ts";

const client = createClient({ url: `${inject("clickhouse")}/send_arrival` });
const admin = createClient({ url: inject("clickhouse") });
const sinceMs = Date.UTC(2026, 10, 24, 7, 41);

beforeAll(async () => {
  await admin.command({ query: "CREATE DATABASE send_arrival" });
  // The columns that the question reads, with the types of schema/0001.
  await client.command({
    query: `CREATE TABLE otel_traces (
      Timestamp DateTime64(9), TraceId String, SpanId String,
      ResourceAttributes Map(LowCardinality(String), String)
    ) ENGINE = MergeTree ORDER BY Timestamp`,
  });
});

afterAll(async () => {
  await admin.command({ query: "DROP DATABASE send_arrival" });
  await Promise.all([client.close(), admin.close()]);
});

/** Rows of a run: `count` spans, the first begins at `fromMs`. */
async function store(run: string, count: number, fromMs = sinceMs): Promise<void> {
  await client.command({
    query: `INSERT INTO otel_traces
      SELECT fromUnixTimestamp64Milli({from:Int64} + number), lower(hex(number)), lower(hex(number % 10)),
             map('headrace.demo.run', {run:String})
      FROM numbers({count:UInt32})`,
    query_params: { run, count, from: fromMs },
  });
}

function ask(run: string, spans: number, options: Partial<AwaitArrivalOptions> = {}): Promise<Arrival> {
  const stop = new AbortController().signal;
  const question = { client, table: "otel_traces", run, sinceMs, spans, deadlineMs: 500, stop };
  return awaitArrival({ ...question, onChange() {}, ...options }).then(({ arrival }) => arrival);
}

describe("whether the sender's spans arrived", () => {
  test("is counted exactly, also beyond what uniq() counts exactly, and by run", async () => {
    await store("large", 100_000);
    await store("another", 10);
    expect(await ask("large", 100_000)).toEqual({ spans: 100_000, doubled: 0, trouble: undefined });
  });

  test("shows a span that is there twice", async () => {
    await store("twice", 10);
    await store("twice", 3);
    expect(await ask("twice", 10)).toEqual({ spans: 10, doubled: 3, trouble: undefined });
  });

  test("reads nothing that began before the run", async () => {
    await store("old", 10, sinceMs - 5);
    expect(await ask("old", 10)).toMatchObject({ spans: 5 });
  });

  test("waits until they are there", async () => {
    const later = new Promise((resolve) => setTimeout(resolve, 700)).then(() => store("late", 5));
    const [arrival] = await Promise.all([ask("late", 5, { deadlineMs: 10_000 }), later]);
    expect(arrival).toMatchObject({ spans: 5 });
  });

  test("says why the table cannot be asked", async () => {
    const { spans, trouble } = await ask("none", 1, { table: "no_such_table" });
    expect(spans).toBe(0);
    expect(trouble).toContain("no_such_table");
  });
});
