/** What the ingress reported, in a real engine: said twice, late or overtaken, it is counted once. */
import { beforeAll, expect, inject, test } from "vitest";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { bypassQuery, outcomeColumns, outcomeRows, requestsQuery } from "../../shared/clickhouse/outcomes.ts";
import type { OutcomeCount, OutcomesMessage } from "../../shared/messages.ts";

const run = statementRunner({ url: inject("clickhouse") });
const database = `o_${crypto.randomUUID().replaceAll("-", "")}`;
const minute = Date.UTC(2026, 10, 24, 7, 41);

beforeAll(async () => {
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
});

function message(
  reporter: string,
  sequence: number,
  ...counts: readonly Partial<OutcomeCount>[]
): OutcomesMessage {
  const zero = {
    minute,
    tenant: "acme",
    key: "a".repeat(64),
    outcome: "accepted",
    reason: "created",
    requests: 0,
    spans: 0,
    rejectedSpans: 0,
    bytes: 0,
    keyLookUps: 0,
    meterCalls: 0,
  } as const;
  return {
    v: 1,
    kind: "outcomes",
    reporter: reporter.repeat(32),
    sequence,
    counts: counts.map((count) => ({ ...zero, ...count })),
  };
}

async function write(...messages: readonly OutcomesMessage[]): Promise<void> {
  const lines = messages.flatMap((one) => outcomeRows(one, minute + 5000)).map((row) => JSON.stringify(row));
  await run(
    `INSERT INTO ${database}.headrace_outcomes (${outcomeColumns.join(", ")}) SETTINGS async_insert = 0 FORMAT JSONEachRow\n${lines.join("\n")}`,
  );
}

test("of a reporter's minute the latest total holds, whatever comes twice or late; reporters add up", async () => {
  const first = message(
    "1",
    1,
    { requests: 1, spans: 10 },
    { outcome: "sampled", reason: "some_spans", spans: 5 },
  );
  const second = message("1", 2, { requests: 3, spans: 30 });
  const sampled = message("1", 3, { outcome: "sampled", reason: "some_spans", spans: 7 });
  const other = message("2", 1, { requests: 4, spans: 40, bytes: 5_000_000_000 });
  await write(second, sampled);
  await write(first, other);
  await write(second, first);
  const expected = "accepted\t7\t70\t5000000000\nsampled\t0\t7\t0\n";
  const query = `SELECT outcome, sum(requests), sum(spans), sum(bytes) FROM ${database}.headrace_outcomes FINAL
    WHERE minute = '2026-11-24 07:41:00' GROUP BY outcome ORDER BY outcome FORMAT TSVRaw`;
  expect(await run(query)).toBe(expected);
  await run(`OPTIMIZE TABLE ${database}.headrace_outcomes FINAL`);
  expect(await run(query.replace("FINAL", ""))).toBe(expected);
});

test("usage is by tenant and day of arrival, from receipts: what was sent twice counts once", async () => {
  const row = (key: string, tenant: string, time: string, outcome: string, spans: number) =>
    `('${key}', '00', '2026-11-${time}', '${tenant}', '${outcome}', '', ${spans}, 1, {}, 100, '', now64(3))`;
  await run(
    `INSERT INTO ${database}.headrace_receipts (key, payload_hex, minute, tenant, outcome, group_id, spans, rejected_spans, spans_by_day, bytes, reason, at) SETTINGS async_insert = 0 VALUES
      ${row("k1", "acme", "23 23:59:00", "stored", 5)}, ${row("k2", "acme", "24 00:00:00", "stored", 7)},
      ${row("k3", "acme", "24 00:01:00", "duplicate", 7)}, ${row("k4", "acme", "24 00:02:00", "dead", 2)},
      ${row("k5", "other", "24 00:03:00", "stored", 1)}`,
  );
  const days = await run(`SELECT * FROM ${database}.headrace_usage ORDER BY tenant, day FORMAT TSVRaw`);
  expect(days).toBe(
    "acme\t2026-11-23\t1\t5\t1\t100\nacme\t2026-11-24\t2\t9\t2\t200\nother\t2026-11-24\t1\t1\t1\t100\n",
  );
});

test("what the ingress counted of a time is every request but those of another method, in its minutes alone", async () => {
  const later = minute + 3_600_000;
  const at = (time: number, requests: number, reason = "created") => ({ minute: time, requests, reason });
  await write(
    message(
      "3",
      1,
      at(later - 60_000, 100),
      at(later, 3),
      at(later, 5, "wrong_method"),
      at(later + 60_000, 4, ""),
    ),
    message("3", 2, at(later, 7)),
    message("4", 1, at(later + 120_000, 1000)),
  );
  const query = requestsQuery(later, later + 120_000).replace("headrace_", `${database}.headrace_`);
  expect(await run(`${query} FORMAT TSVRaw`)).toBe("11\n");
});

test("what bypassed the collector is counted by minute and reason, among the accepted", async () => {
  const later = minute + 7_200_000;
  const at = (time: number, requests: number, reason: string) => ({ minute: time, requests, reason });
  await write(
    message(
      "5",
      1,
      at(later, 10, "created"),
      at(later, 3, "collector_full"),
      at(later, 2, "collector_failed"),
      at(later, 4, "unmetered_collector_failed"),
      at(later, 1, "unmetered"),
      at(later + 60_000, 7, "collector_version"),
      at(later + 120_000, 1000, "collector_full"),
      { ...at(later, 100, "collector_full"), outcome: "unavailable" },
    ),
  );
  const query = bypassQuery(later, later + 120_000).replace("headrace_", `${database}.headrace_`);
  expect(await run(`${query} FORMAT TSVRaw`)).toBe("20\t3\t6\t0\n7\t0\t0\t7\n");
});
