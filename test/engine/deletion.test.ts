/** The consumer's DELETE on a real engine: nothing of the rows is left in any part, and it is begun once. */
import { beforeAll, expect, inject, test } from "vitest";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { rowsDeletion, traceTimesDeletion } from "../../shared/clickhouse/deletion.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { formatPayloadId } from "../../shared/payload-key.ts";
import { deleteRows } from "../../workers/consumer/delete-rows.ts";

const run = statementRunner({ url: inject("clickhouse") });
const database = `d_${crypto.randomUUID().replaceAll("-", "")}`;
const traces = `${database}.otel_traces`;
const id = (byte: number) => formatPayloadId(new Uint8Array(16).fill(byte));
const day = (date: string) => Date.parse(date) / 86_400_000;
const days = ["2026-11-20", "2026-11-21"].map(day);
let clickHouse: ClickHouseConnection;

beforeAll(async () => {
  await migrate(readSchemaFiles(), { ...defaultSchemaSettings, database }, run);
  const variables = { CLICKHOUSE_DATABASE: database, CLICKHOUSE_TRACES_TABLE: "otel_traces" };
  clickHouse = connectClickHouse({ ...loginVariables(inject("clickhouse")), ...variables }, undefined, fetch);
}, 60_000);

/** Four rows of a payload on each of two days, one trace each day. */
async function store(byte: number): Promise<void> {
  const hex = byte.toString(16).padStart(2, "0").repeat(16);
  await run(
    `INSERT INTO ${traces} (Timestamp, TraceId, SpanId, HeadracePayload) SELECT toDateTime64('2026-11-20 12:00:00', 9) + number % 2 * 86400, concat('${byte} of ', toString(number % 2)), toString(number), unhex('${hex}') FROM numbers(8)`,
  );
}

const inParts = async (byte: number, from = traces) =>
  (
    await run(
      from === traces
        ? `SELECT count() FROM ${traces} WHERE HeadracePayload = unhex('${byte.toString(16).padStart(2, "0").repeat(16)}') SETTINGS apply_deleted_mask = 0 FORMAT TSVRaw`
        : `SELECT count() FROM ${from} WHERE startsWith(TraceId, '${byte} of ') SETTINGS apply_deleted_mask = 0 FORMAT TSVRaw`,
    )
  ).trim();
const mutations = async (mark: string) =>
  (
    await run(
      `SELECT count() FROM system.mutations WHERE database = '${database}' AND position(command, '${mark}') > 0 FORMAT TSVRaw`,
    )
  ).trim();

test("rows and the times of their traces are gone from every part, those of others are not", async () => {
  await store(1);
  await store(2);
  const erased = { ids: [id(1)], days, mark: "a1" };
  await deleteRows(clickHouse, traceTimesDeletion(clickHouse.settings, erased));
  await deleteRows(clickHouse, rowsDeletion(clickHouse.settings, erased));
  expect([await inParts(1), await inParts(2)]).toEqual(["0", "8"]);
  const times = `${traces}_trace_id_ts`;
  expect([await inParts(1, times), await inParts(2, times)]).toEqual(["0", "2"]);
  const parts = `SELECT count() = sum(has(projections, 'headrace_counts')) FROM system.parts WHERE database = '${database}' AND table = 'otel_traces' AND active AND rows > 0`;
  expect((await run(`${parts} FORMAT TSVRaw`)).trim()).toBe("1");
  // Done again, it is looked for, and not begun again.
  await deleteRows(clickHouse, rowsDeletion(clickHouse.settings, erased));
  expect(await mutations("headrace rows a1")).toBe("1");
});

test("of a group that is erased in parts, each part's rows and times go", async () => {
  const times = `${traces}_trace_id_ts`;
  for (const byte of [6, 7]) {
    await store(byte);
    const part = { ids: [id(byte)], days, mark: "a6" };
    for (let tries = 0; tries < 2; tries++) {
      await deleteRows(clickHouse, traceTimesDeletion(clickHouse.settings, part));
    }
    await deleteRows(clickHouse, rowsDeletion(clickHouse.settings, part));
    expect([await inParts(byte), await inParts(byte, times)]).toEqual(["0", "0"]);
  }
  expect([await mutations("headrace times a6"), await mutations("headrace rows a6")]).toEqual(["2", "2"]);
});

test("only the days that are named are touched", async () => {
  await store(3);
  await deleteRows(
    clickHouse,
    rowsDeletion(clickHouse.settings, { ids: [id(3)], days: days.slice(1), mark: "a3" }),
  );
  expect(await inParts(3)).toBe("4");
});

test("rows that a lightweight DELETE has hidden are taken out of their parts", async () => {
  await store(4);
  await run(
    `DELETE FROM ${traces} WHERE HeadracePayload = unhex('${"04".repeat(16)}') SETTINGS lightweight_deletes_sync = 2`,
  );
  expect(await inParts(4)).toBe("8");
  await deleteRows(clickHouse, rowsDeletion(clickHouse.settings, { ids: [id(4)], days, mark: "a4" }));
  expect(await inParts(4)).toBe("0");
});

test("while a mutation is undone it says how far it is, and begins no second one", async () => {
  await store(5);
  const deletion = rowsDeletion(clickHouse.settings, { ids: [id(5)], days, mark: "a5" });
  await run(`SYSTEM STOP MERGES ${traces}`);
  try {
    for (let tries = 0; tries < 2; tries++) {
      await expect(deleteRows(clickHouse, deletion, [10, 10])).rejects.toThrow(
        /^the DELETE in otel_traces is running: [1-9]\d* parts left$/,
      );
    }
  } finally {
    await run(`SYSTEM START MERGES ${traces}`);
  }
  expect(await mutations("headrace rows a5")).toBe("1");
  await deleteRows(clickHouse, deletion);
  expect(await inParts(5)).toBe("0");
  expect(await mutations("headrace rows a5")).toBe("1");
});
