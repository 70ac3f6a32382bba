import { expect, test } from "vitest";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { quotaFinding } from "../../shared/delivery/quota-finding.ts";
import { limits } from "../../shared/limits.ts";
import type { OutcomesMessage, QuotaMessage } from "../../shared/messages.ts";
import { writeOutcomes } from "../../workers/consumer/write-outcomes.ts";

const outcomes: OutcomesMessage = {
  v: 1,
  kind: "outcomes",
  reporter: "0123456789abcdef0123456789abcdef",
  sequence: 7,
  counts: [
    {
      minute: Date.UTC(2026, 10, 24, 7, 41),
      tenant: "",
      key: "",
      outcome: "unauthenticated",
      reason: "missing_key",
      requests: 3,
      spans: 0,
      rejectedSpans: 0,
      bytes: 0,
      keyLookUps: 0,
      meterCalls: 0,
    },
  ],
};

/** A message that remembers what was asked of it. */
function report() {
  const retries: unknown[] = [];
  return { retries, outcomes, message: { retry: (options?: object) => void retries.push(options) } };
}

/** A server that is given the rows of an INSERT, and answers as ClickHouse does. */
function clickHouse(take: (rows: object[]) => Promise<void>): ClickHouseConnection {
  const variables = {
    CLICKHOUSE_URL: "http://127.0.0.1:1",
    CLICKHOUSE_USER: "u",
    CLICKHOUSE_DATABASE: "d",
    CLICKHOUSE_TRACES_TABLE: "t",
  };
  return connectClickHouse(variables, undefined, async (_input, init) => {
    const lines = String(init?.body).split("\n");
    await take(lines.map((line) => JSON.parse(line)));
    return new Response("", { headers: { "x-clickhouse-summary": "{}" } });
  });
}

test("reports of one batch are one INSERT", async () => {
  const inserts: object[][] = [];
  const reports = [report(), report()];
  await writeOutcomes(
    clickHouse(async (rows) => void inserts.push(rows)),
    reports,
    0,
  );
  expect(inserts).toHaveLength(1);
  expect(inserts[0]).toHaveLength(2);
  expect(inserts[0]?.[0]).toMatchObject({
    minute: "2026-11-24 07:41:00",
    sequence: 7,
    requests: 3,
    at: expect.any(String),
  });
  expect(reports.flatMap(({ retries }) => retries)).toEqual([]);
});

test("reports that could not be written are retried, and nothing is thrown", async () => {
  const reports = [report(), report()];
  await writeOutcomes(
    clickHouse(() => Promise.reject(new Error("ClickHouse is down"))),
    reports,
    0,
  );
  for (const { retries } of reports) {
    expect(retries).toEqual([{ delaySeconds: limits.outcomeRetrySeconds }]);
  }
});

test("a batch without reports asks ClickHouse for nothing", async () => {
  await writeOutcomes(
    clickHouse(() => Promise.reject(new Error("it was asked"))),
    [],
    0,
  );
});

test("a quota's finding is one per line of keys, month, unit and share, however often it is reported", () => {
  const quota: QuotaMessage = {
    v: 1,
    kind: "quota",
    tenant: "acme",
    account: "ab".repeat(32),
    month: "2026-11",
    percent: 80,
    state: "open",
    unit: "spans",
    used: 800,
    perMonth: 1000,
  };
  const identity = ({ kind, subject, openedAt }: ReturnType<typeof quotaFinding>) => ({
    kind,
    subject,
    openedAt,
  });
  const first = quotaFinding(quota);
  expect(first).toMatchObject({
    severity: "note",
    tenant: "acme",
    message: expect.stringContaining("has used 800 of its 1000 spans of 2026-11"),
  });
  expect(identity(quotaFinding({ ...quota, used: 900 }))).toEqual(identity(first));
  expect(identity(quotaFinding({ ...quota, state: "resolved" }))).toEqual(identity(first));
  for (const other of [
    { percent: 100 },
    { unit: "bytes" },
    { month: "2026-12" },
    { account: "cd".repeat(32) },
  ] as const) {
    expect(identity(quotaFinding({ ...quota, ...other }))).not.toEqual(identity(first));
  }
  expect(quotaFinding({ ...quota, percent: 100 }).severity).toBe("warning");
});
