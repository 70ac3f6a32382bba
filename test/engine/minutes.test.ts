/** What the reconciler and the alerts read and write, on a real engine; sums and orders are compared with our own. */

import * as v from "valibot";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { insertRows, queryRows } from "../../shared/clickhouse/ask.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import {
  minuteColumns,
  minuteRow,
  outcomesQuery,
  receiptsOfKeysQuery,
  receiptsOfObjectsQuery,
  recentQuery,
  segmentReceiptsQuery,
  storedReceiptsQuery,
  tallyQuery,
  volumesQuery,
  watermarkColumns,
  watermarkRow,
} from "../../shared/clickhouse/minutes.ts";
import { insertReceipts, receiptColumns, receiptRow } from "../../shared/clickhouse/receipts.ts";
import { keyChecksum } from "../../shared/key-checksum.ts";
import { type PayloadOutcome, payloadOutcomes } from "../../shared/outcome.ts";
import {
  formatPayloadId,
  formatPayloadKey,
  formatSlotKey,
  idOfKey,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import type { GroupId, Receipt } from "../../shared/receipt.ts";
import { beforeMinute } from "../../shared/reconcile/checkpoint.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { outcomeCounts } from "../fixtures/outcome-counts.ts";
import { seededRandom } from "../ledger/random-events.ts";

const minute = Math.floor(Date.now() / 60_000) * 60_000 - 3_600_000;
const random = seededRandom(11);
const database = `m_${crypto.randomUUID().replaceAll("-", "")}`;
const run = statementRunner({ url: inject("clickhouse") });
let clickHouse: ClickHouseConnection;

function randomKey(arrival: number, tenant: string): PayloadKey {
  const bytes = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256));
  return formatPayloadKey(arrival, tenant, formatPayloadId(bytes));
}

function receipt(key: PayloadKey, outcome: PayloadOutcome): Receipt {
  return {
    key,
    outcome,
    group: "00000000000000000000000000000000" as GroupId,
    spans: 7,
    rowsByDay: outcome === "stored" ? [{ day: 20_000, rows: 7 }] : [],
    rejectedSpans: 1,
    bytes: 100,
    reason: "",
  };
}

const outcomes: readonly PayloadOutcome[] = ["stored", "dead", "duplicate", "erased", "stored", "expired"];
const receipts = Array.from({ length: 200 }, (_, n) =>
  receipt(
    randomKey(minute + (n % 3 === 0 ? 60_000 : n * 100), n % 4 === 0 ? "a-b" : "a"),
    outcomes[n % 5] ?? "stored",
  ),
);
const inMinute = receipts.filter(({ key }) => key.startsWith(beforeMinute(minute)));
const sortedKeys = receipts.map(({ key }) => key).sort();

async function insert(table: string, columns: readonly string[], values: readonly object[]) {
  await insertRows(clickHouse, table, columns, values);
}

async function rows(query: string): Promise<unknown> {
  return await queryRows(clickHouse, v.unknown(), query);
}

beforeAll(async () => {
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
  clickHouse = connectClickHouse(
    {
      ...loginVariables(inject("clickhouse")),
      CLICKHOUSE_DATABASE: database,
      CLICKHOUSE_TRACES_TABLE: "otel_traces",
    },
    undefined,
    fetch,
  );
  await insert("headrace_receipts", receiptColumns, [
    // Each key has two rows: a death that was fixed counts as what outranks it.
    ...receipts.map(({ key }) => receiptRow(receipt(key, "dead"), minute)),
    ...receipts.map((one) => receiptRow(one, minute + 1)),
  ]);
}, 30_000);

afterAll(async () => {
  await run(`DROP DATABASE IF EXISTS ${database}`);
});

test("receipts of segments are counted per segment, and found by their objects", async () => {
  const arrival = minute + 7_200_000; // in no other test's minute
  const ids = Array.from({ length: 5 }, () => idOfKey(randomKey(arrival, "a")));
  const segmentOf = (n: number, some: readonly PayloadId[]) =>
    formatSegmentKey(arrival, new Uint8Array(10).fill(n), some);
  const segments = [segmentOf(1, ids.slice(0, 3)), segmentOf(2, ids.slice(3)), segmentOf(3, ids)];
  const keysOf = (n: number, some: readonly PayloadId[]) =>
    some.map((id, slot) =>
      formatSlotKey(segments[n] ?? expect.unreachable(), slot, slot === 0 ? "b" : "a", id),
    );
  const first = keysOf(0, ids.slice(0, 3));
  const second = keysOf(1, ids.slice(3)).slice(0, 1);
  const alone = randomKey(arrival, "a");
  const written = [...first, ...second, alone];
  await insert("headrace_receipts", receiptColumns, [
    ...written.map((key) => receiptRow(receipt(key, "dead"), minute)),
    ...written.map((key, n) => receiptRow(receipt(key, n === 1 ? "duplicate" : "stored"), minute + 1)),
  ]);
  const checksumOf = (keys: readonly PayloadKey[]) => keyChecksum(keys.map(idOfKey)).toString();
  expect(await rows(segmentReceiptsQuery(clickHouse.settings, segments))).toEqual([
    { segment: segments[0], payloads: 3, checksum: checksumOf(first), duplicates: [first[1]] },
    { segment: segments[1], payloads: 1, checksum: checksumOf(second), duplicates: [] },
  ]);
  const found = async (...objects: readonly ObjectKey[]) => {
    const query = receiptsOfObjectsQuery(clickHouse.settings, objects.toSorted());
    return v.parse(v.array(v.looseObject({ key: v.string() })), await rows(query)).map(({ key }) => key);
  };
  expect(await found(...segments.slice(0, 1), objectOf(alone))).toEqual([...first, alone].toSorted());
  expect(await found(...segments)).toEqual([...first, ...second]);
  expect(await found(...segments.slice(2))).toEqual([]);
  // The end of a page of the audit: behind its last key, and before every other.
  const page = storedReceiptsQuery(clickHouse.settings, beforeMinute(arrival), `${first[0]}~`, 10);
  expect(await rows(page)).toMatchObject([{ key: first[0] }]);
});

test("a minute is counted by tenant, with the checksum that the listing's keys have", async () => {
  const expected = ["a", "a-b"].map((tenant) => {
    const own = inMinute.filter(({ key }) => key.split("/")[4] === tenant);
    const counts = outcomeCounts(own);
    return {
      minuteStart: minute / 1000,
      tenant,
      ...counts,
      spans: 7 * counts.stored,
      rejectedSpans: counts.stored,
      bytes: 100 * own.length,
      checksum: keyChecksum(own.map(({ key }) => idOfKey(key))).toString(),
    };
  });
  expect(await rows(tallyQuery(clickHouse.settings, [minute]))).toEqual(expected);
  const three = await rows(tallyQuery(clickHouse.settings, [minute - 60_000, minute, minute + 60_000]));
  expect(three).toEqual(expect.arrayContaining(expected));
  expect(three).not.toEqual(expected);
});

test("keys are answered with how they ended, in the listing's order", async () => {
  const asked = sortedKeys.slice(20, 60);
  const missing = randomKey(minute, "a");
  const answered = await rows(outcomesQuery(clickHouse.settings, [...asked, missing].sort()));
  expect(answered).toEqual(
    asked.map((key) => ({ key, outcome: receipts.find((one) => one.key === key)?.outcome })),
  );
  expect(await rows(receiptsOfKeysQuery(clickHouse.settings, asked.slice(0, 1)))).toMatchObject([
    { key: asked[0], at: minute + 1 },
  ]);
});

test("stored receipts are paged in the listing's order", async () => {
  const stored = sortedKeys.filter((key) => receipts.find((one) => one.key === key)?.outcome === "stored");
  const before = beforeMinute(minute + 120_000);
  const first = await rows(storedReceiptsQuery(clickHouse.settings, beforeMinute(minute), before, 30));
  expect(first).toMatchObject(stored.slice(0, 30).map((key) => ({ key, days: [20_000], rows: [7] })));
  const rest = await rows(storedReceiptsQuery(clickHouse.settings, stored[29] ?? "", before, 1000));
  expect(rest).toMatchObject(stored.slice(30).map((key) => ({ key })));
});

test("the newest watermark is one query, and an hour's volume is compared with the same hour of other days", async () => {
  const hour = Math.floor(minute / 3_600_000) * 3_600_000;
  const row = (at: number, spans: number) => ({
    minute: at,
    tenant: "a",
    sealed: true,
    accepted: 1,
    stored: 1,
    dead: 0,
    duplicate: 0,
    erased: 0,
    expired: 0,
    spans,
    rejectedSpans: 0,
    bytes: 1,
    checksum: 2n ** 64n - 1n,
  });
  const dayMs = 86_400_000;
  await insert("headrace_minutes", minuteColumns, [
    minuteRow(row(hour, 1), 1), // replaced by the later one
    minuteRow(row(hour, 10), 2),
    minuteRow(row(hour + 59 * 60_000, 20), 2),
    minuteRow(row(hour + 60 * 60_000, 400), 2), // the next hour
    minuteRow(row(hour - dayMs, 5), 2),
    minuteRow(row(hour - dayMs + 59 * 60_000, 6), 2),
    minuteRow(row(hour - dayMs - 60_000, 800), 2), // the hour before
    minuteRow(row(hour - 7 * dayMs, 7), 2),
    minuteRow(row(hour - 8 * dayMs, 1600), 2), // too long ago
  ]);
  const volumes = await rows(`${volumesQuery(clickHouse.settings, hour, 7)} ORDER BY daysAgo`);
  expect(volumes).toEqual([
    { tenant: "a", daysAgo: 0, spans: 30 },
    { tenant: "a", daysAgo: 1, spans: 11 },
    { tenant: "a", daysAgo: 7, spans: 7 },
  ]);
  expect(await rows(recentQuery(clickHouse.settings, hour + 60 * 60_000))).toEqual([{ dead: 0, ended: 1 }]);

  for (const [at, watermark] of [
    [2000, minute],
    [3000, minute + 60_000],
    [1000, minute - 60_000],
  ] as const) {
    await insert("headrace_watermarks", watermarkColumns, [
      watermarkRow({ watermark, openMinutes: 0 }, minute + at),
    ]);
  }
  expect(
    await rows(
      "SELECT toUnixTimestamp(watermark) AS watermark FROM headrace_watermarks ORDER BY at DESC LIMIT 1",
    ),
  ).toEqual([{ watermark: minute / 1000 + 60 }]);
});

test("a receipt as RowBinary is the row that its JSON is", async () => {
  const arrival = minute + 10_800_000; // in no other test's minute
  const days = Array.from({ length: 62 }, (_, n) => ({ day: 20_000 + n, rows: 4_000_000_000 + n }));
  const segmentKey = (n: number): PayloadKey => {
    const id = idOfKey(randomKey(arrival, "acme"));
    return formatSlotKey(formatSegmentKey(arrival, new Uint8Array(10).fill(n), [id]), 0, "acme", id);
  };
  const written = payloadOutcomes.flatMap((outcome, n): readonly Receipt[] => [
    receipt(randomKey(arrival, "a"), outcome),
    {
      ...receipt(segmentKey(n), outcome),
      group: "0123456789abcdef0123456789abcdef" as GroupId,
      spans: 4_294_967_295,
      rejectedSpans: 255 + n,
      rowsByDay: n === 0 ? [] : days,
      bytes: n === 0 ? 0 : 5_000_000_000,
      reason: "\ud83e\uddea\n\0\t' ".repeat(n * 30),
    },
  ]);
  const at = arrival + 123;
  await run(`CREATE TABLE ${database}.receipts_json AS ${database}.headrace_receipts`);
  await insert(
    "receipts_json",
    receiptColumns,
    written.map((one) => receiptRow(one, at)),
  );
  await insertReceipts(clickHouse, written, at);
  const keys = written.map(({ key }) => `'${key}'`).join(", ");
  const rowsIn = async (table: string): Promise<unknown> =>
    await rows(`SELECT *, rank, lower(hex(payload)) AS id FROM ${table} WHERE key IN (${keys}) ORDER BY key`);
  expect(await rowsIn("headrace_receipts")).toHaveLength(written.length);
  expect(await rowsIn("headrace_receipts")).toEqual(await rowsIn("receipts_json"));
  // And the view that finds receipts by their ids took them.
  const places = await rows(
    `SELECT count() AS rows FROM headrace_receipt_ids WHERE path = '' AND minute = toDateTime(${arrival / 1000}, 'UTC')`,
  );
  expect(places).toMatchObject([{ rows: expect.toSatisfy((count) => Number(count) === written.length) }]);
});
