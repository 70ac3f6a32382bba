/**
 * Every query of dashboards/*.json on a real engine, with the macros that Grafana's ClickHouse data source fills in
 * (its documentation, "Macros") and variables as a dashboard sets them. Each must answer, with rows.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";

const folder = join(import.meta.dirname, "..", "..", "dashboards");
const database = `d_${crypto.randomUUID().replaceAll("-", "")}`;
const run = statementRunner({ url: inject("clickhouse") });
const traceId = "5b8efff798038103d269b633813fc60c";

const panelSchema = v.looseObject({
  id: v.number(),
  title: v.string(),
  type: v.string(),
  targets: v.optional(v.array(v.looseObject({ rawSql: v.string(), format: v.number() })), []),
});
const dashboardSchema = v.looseObject({
  uid: v.string(),
  panels: v.array(panelSchema),
  templating: v.object({
    list: v.array(v.looseObject({ name: v.string(), type: v.string(), query: v.string() })),
  }),
});

const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
const dashboards = files.map((name) => ({
  name,
  dashboard: v.parse(dashboardSchema, JSON.parse(readFileSync(join(folder, name), "utf8"))),
}));
const queries = dashboards.flatMap(({ name, dashboard }) => [
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ rawSql }) => [`${name}: ${title}`, rawSql] as const),
  ),
  ...dashboard.templating.list
    .filter(({ type }) => type === "query")
    .map((variable) => [`${name}: $${variable.name}`, variable.query] as const),
]);

const now = Math.floor(Date.now() / 1000);
const [from, to] = [now - 6 * 3600, now + 60];
const day = (seconds: number) => `toDate('${new Date(seconds * 1000).toISOString().slice(0, 10)}')`;

/** `chosen` null: the variables stand at All. */
function filled(sql: string, chosen: Readonly<Record<string, string>> | null): string {
  const text = sql
    .replace(/\$__conditionalAll\((.*?), \$(\w+)\)/g, (_, condition: string) =>
      chosen === null ? "1=1" : condition,
    )
    .replace(/\$__timeFilter\((\w+)\)/g, `$1 >= toDateTime(${from}) AND $1 <= toDateTime(${to})`)
    .replace(/\$__dateFilter\((\w+)\)/g, `$1 >= ${day(from)} AND $1 <= ${day(to)}`)
    .replace(/\$__timeInterval\((\w+)\)/g, "toStartOfInterval(toDateTime($1), INTERVAL 60 second)")
    .replaceAll("$__interval_s", "60")
    .replace(/\$\{(\w+):singlequote\}/g, (_, name: string) => `'${chosen?.[name] ?? ""}'`)
    .replace(/\$\{trace_id\}/g, traceId);
  expect(text, "no macro or variable is left").not.toContain("$");
  return text;
}

async function rowsOf(sql: string): Promise<number> {
  const url = new URL(inject("clickhouse"));
  url.search = new URLSearchParams({ database, default_format: "JSONCompact" }).toString();
  const response = await fetchClickHouse(url, { method: "POST", body: sql });
  const text = await response.text();
  if (!response.ok) {
    throw new Error(text);
  }
  return v.parse(v.object({ rows: v.number() }), JSON.parse(text)).rows;
}

beforeAll(async () => {
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
  const minute = `toStartOfMinute(toDateTime(${now - 600}))`;
  const key = `p/0/t/${new Date((now - 600) * 1000).toISOString().slice(0, 16).replace(/:/g, "")}/acme/00000000000000000000000000`;
  for (const statement of [
    `INSERT INTO ${database}.otel_traces (Timestamp, TraceId, SpanId, SpanName, SpanKind, ServiceName, ResourceAttributes,
       SpanAttributes, Duration, StatusCode, HeadraceTenant) VALUES
     (toDateTime64(${now - 600}, 9), '${traceId}', 'eee19b7ec3c1b174', 'GET /', 'Server', 'shop', {'service.name': 'shop'},
       {'http.method': 'GET'}, 5000000, 'Error', 'acme')`,
    `INSERT INTO ${database}.headrace_minutes (minute, tenant, sealed, accepted, stored, spans) SELECT ${minute}, 'acme', true, 3, 3, 30`,
    `INSERT INTO ${database}.headrace_watermarks (at, watermark, open_minutes) SELECT toDateTime(${now - 300}), ${minute}, 1`,
    `INSERT INTO ${database}.headrace_receipts (key, payload_hex, minute, tenant, outcome, at) SELECT '${key}', '${"0".repeat(32)}', ${minute}, 'acme', 'dead', toDateTime(${now - 500})`,
    `INSERT INTO ${database}.headrace_receipts (key, payload_hex, minute, tenant, outcome, at) SELECT '${key.slice(0, -1)}4', '${"0".repeat(31)}1', ${minute}, 'acme', 'stored', toDateTime(${now - 500})`,
    `INSERT INTO ${database}.headrace_dead_letters (key, payload_hex, minute, tenant, reason, at) SELECT '${key}', '${"0".repeat(32)}', ${minute}, 'acme', 'decode', toDateTime(${now - 500})`,
    `INSERT INTO ${database}.headrace_findings (kind, subject, opened_at, state, severity, tenant, message, detail, at) SELECT 'rescued', 'event', toDateTime(${now - 500}), 'open', 'warning', '', 'm', '{}', toDateTime(${now - 500})`,
    `INSERT INTO ${database}.headrace_outcomes (minute, tenant, outcome, reason, reporter, sequence, requests) SELECT ${minute}, 'acme', 'malformed', 'm', 'r', 1, 4`,
  ]) {
    await run(statement);
  }
});

afterAll(async () => {
  await run(`DROP DATABASE ${database} SYNC`);
});

describe("a dashboard's query is answered by the engine", () => {
  test.each(queries)("%s", async (_name, sql) => {
    expect(await rowsOf(filled(sql, null)), "at All").toBeGreaterThan(0);
    expect(
      await rowsOf(filled(sql, { service: "shop", tenant: "acme" })),
      "with variables chosen",
    ).toBeGreaterThan(0);
  });
});

test("panels have ids of their own, lie beside each other, and a trace panel has the columns that it needs", () => {
  for (const { name, dashboard } of dashboards) {
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size, name).toBe(ids.length);
  }
  const [trace] = dashboards.flatMap(({ dashboard }) =>
    dashboard.panels.filter(({ type }) => type === "traces"),
  );
  for (const column of [
    "traceID",
    "spanID",
    "parentSpanID",
    "serviceName",
    "operationName",
    "startTime",
    "duration",
    "tags",
    "serviceTags",
  ]) {
    expect(trace?.targets[0]?.rawSql).toMatch(new RegExp(` AS ${column}\\b`));
  }
});
