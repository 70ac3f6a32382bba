/** What `npm run dev` asks of ClickHouse to say which services have arrived, asked of a real one. */
import { createClient } from "@clickhouse/client-web";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { askClickHouse } from "../../dev/first-spans.ts";

const client = createClient({ url: `${inject("clickhouse")}/first_spans` });
const admin = createClient({ url: inject("clickhouse") });
/** The address as dev.json has it, with our parameters in it. */
const ask = askClickHouse(`${inject("clickhouse")}/?database=first_spans&cluster=one`);

const hostile = "it's \\ a\ttab\nand \u{1f9ea}";
const groupOf = (n: number): string => String(n).padStart(32, "0");

beforeAll(async () => {
  await admin.command({ query: "CREATE DATABASE first_spans" });
  // The columns that the question reads, with the types of schema/0001 to 0003.
  await client.command({
    query: `CREATE TABLE otel_traces (
      Timestamp DateTime64(9), TraceId String, ParentSpanId String, SpanName LowCardinality(String),
      ServiceName LowCardinality(String), Duration UInt64, HeadracePayload FixedString(16)
    ) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY ServiceName`,
  });
  await client.command({
    query:
      "CREATE TABLE headrace_receipts (group_id String, payload FixedString(16), spans_by_day Map(Date, UInt32)) ENGINE = MergeTree ORDER BY ()",
  });
  await client.insert({
    table: "headrace_receipts",
    format: "JSONEachRow",
    values: [1, 2].map((n) => ({
      group_id: groupOf(n),
      payload: `payload ${n}`.padEnd(16, "x"),
      spans_by_day: { "2026-11-27": 3 },
    })),
  });
  const row = (n: number, service: string, name: string, parent: string, at: number) => ({
    Timestamp: `2026-11-27 07:00:0${at}.000000000`,
    TraceId: String(n).repeat(32),
    ParentSpanId: parent,
    SpanName: name,
    ServiceName: service,
    Duration: "41234000",
    HeadracePayload: `payload ${n}`.padEnd(16, "x"),
  });
  await client.insert({
    table: "otel_traces",
    format: "JSONEachRow",
    values: [
      row(1, "checkout", "SELECT", "0123456789abcdef", 1),
      row(1, "checkout", "POST /orders", "", 2),
      row(1, hostile, "a", "", 3),
      row(2, "checkout", "GET /", "", 4),
      row(3, "of another group", "b", "", 5),
    ],
  });
});

afterAll(async () => {
  await admin.command({ query: "DROP DATABASE first_spans" });
  await Promise.all([client.close(), admin.close()]);
});

test("names the services of the groups that are stored, each with a root span", async () => {
  expect(await ask({ groups: [groupOf(1), groupOf(9)], named: [] })).toEqual({
    seen: [groupOf(1)],
    services: [
      { service: "checkout", spans: 2, span: "POST /orders", ms: 41.2, trace: "1".repeat(32) },
      { service: hostile, spans: 1, span: "a", ms: 41.2, trace: "1".repeat(32) },
    ],
  });
});

test("reads the days of the groups alone", async () => {
  const other =
    "INSERT INTO otel_traces SELECT '2026-11-26 07:00:00', '', '', '', 'old', 0, 'payload 1xxxxxxx'";
  await client.command({ query: other });
  const { services } = await ask({ groups: [groupOf(1)], named: ["checkout"] });
  expect(services.map(({ service }) => service)).toEqual([hostile]);
  // ClickHouse leaves the other partition alone by such a condition.
  const plan = await client.query({
    query: `EXPLAIN indexes = 1 SELECT ServiceName FROM otel_traces
      WHERE toDate(Timestamp) IN (SELECT arrayJoin(mapKeys(spans_by_day)) FROM headrace_receipts)`,
    format: "TabSeparatedRaw",
  });
  expect(await plan.text()).toContain("Parts: 1/2");
});

test("does not name again what was named, whatever it is called", async () => {
  expect(await ask({ groups: [groupOf(1), groupOf(2)], named: ["checkout", hostile] })).toEqual({
    seen: expect.arrayContaining([groupOf(1), groupOf(2)]),
    services: [],
  });
});
