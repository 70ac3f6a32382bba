/** Payloads of which the table alone knows, for receipts are kept for weeks: how the console lists those of a tenant, on a real engine. */
import { beforeAll, expect, inject, test } from "vitest";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { insertRows } from "../../shared/clickhouse/ask.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import type { ConsumerOperations } from "../../shared/console/operations.ts";
import { fromHex } from "../../shared/hex.ts";
import { DAY_MS, HOUR_MS, limits } from "../../shared/limits.ts";
import {
  formatPayloadId,
  formatPayloadKey,
  idOfKey,
  type PayloadId,
  tenantOfKey,
} from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { listPayloads } from "../../workers/console/list-payloads.ts";
import { insertSpans, type SpanRow } from "./traces-table-rows.ts";

const now = Date.UTC(2026, 10, 15, 12, 30, 20);
const database = `c_${crypto.randomUUID().replaceAll("-", "")}`;
let clickHouse: ClickHouseConnection;
let drawn = 0;
const hexOf = (n: number): string => n.toString(16).padStart(32, "0");
const idOf = (payload: string): PayloadId => formatPayloadId(fromHex(payload));

/** A span at `at` (ms since the epoch) of a payload. */
const span = (at: number, payload: string, tenant = "acme"): SpanRow => ({
  trace: hexOf(++drawn),
  span: drawn.toString(16).padStart(16, "0"),
  at: BigInt(at) * 1_000_000n,
  payload,
  tenant,
});

const manyDay = now - 100 * DAY_MS;
const many = Array.from({ length: 1100 }, (_, n) => hexOf(1000 + n));
/** Of two days. */
const wide = hexOf(1);
const receipted = hexOf(2);
/** It came 37 days and two hours ago, and its receipt has gone: its span lies a day ahead of its arrival. */
const ahead = hexOf(3);
const young = hexOf(4);

beforeAll(async () => {
  const run = statementRunner({ url: inject("clickhouse") });
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
  clickHouse = connectClickHouse(
    {
      CLICKHOUSE_DATABASE: database,
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
      ...loginVariables(inject("clickhouse")),
    },
    undefined,
    fetch,
    "read_only",
  );
  const expired = now - limits.receiptsRetentionDays * DAY_MS - 2 * HOUR_MS;
  await insertSpans(clickHouse, [
    ...many.map((payload) => span(manyDay, payload)),
    ...many.slice(0, 3).map((payload) => span(manyDay, payload)),
    span(now - 80 * DAY_MS, wide),
    span(now - 79 * DAY_MS, wide),
    span(now - 50 * DAY_MS, receipted),
    span(expired + limits.spanFutureMaxMs, ahead),
    span(now - DAY_MS, young),
    span(now - 60 * DAY_MS, hexOf(5), "another"),
    span(now - 60 * DAY_MS, hexOf(0), ""), // the Collector's exporter
    span(now - 60 * DAY_MS, hexOf(0)),
  ]);
  const counts = { spans: 1, rowsByDay: [], rejectedSpans: 0, bytes: 1, reason: "" };
  await insertRows(clickHouse, "headrace_receipts", receiptColumns, [
    receiptRow(
      {
        key: formatPayloadKey(now - 10 * DAY_MS, "acme", idOf(receipted)),
        outcome: "stored",
        group: hexOf(9) as GroupId,
        ...counts,
      },
      now,
    ),
  ]);
}, 60_000);

test("each is listed, of all of its days, and nothing else; page by page, to an end", async () => {
  const unasked = {} as R2Bucket & ConsumerOperations;
  const keys: string[] = [];
  let spans = 0;
  let pages = 0;
  for (let after: string | null = "rows:0"; after !== null; pages++) {
    expect(pages, "it ends").toBeLessThan(50);
    const page = await listPayloads(unasked, clickHouse, unasked, "acme", after, now);
    keys.push(...page.keys);
    spans += page.spans;
    after = page.next;
  }
  const ids = keys.map((key) => idOfKey(key as Parameters<typeof idOfKey>[0]));
  expect(ids.toSorted()).toEqual([...many, wide, wide, ahead].map(idOf).toSorted());
  expect(spans).toBe(many.length + 3 + 2 + 1);
  expect(keys.every((key) => tenantOfKey(key as Parameters<typeof tenantOfKey>[0]) === "acme")).toBe(true);
  expect(await listPayloads(unasked, clickHouse, unasked, "nobody", "rows:0", now)).toMatchObject({
    keys: [],
  });
});
