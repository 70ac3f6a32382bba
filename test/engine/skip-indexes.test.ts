/** Decision 0022: an INSERT of ours leaves the table's skip indexes to the first merge, and no answer depends on them. */
import { expect, inject, test } from "vitest";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { readSchemaFiles } from "../../dev/schema-files.ts";
import { defaultSchemaSettings, migrate } from "../../shared/clickhouse/migrations.ts";
import { ask, consumersSettings, newName } from "./token-inserts.ts";

test("skip indexes are built by the merge and not by the INSERT, and a trace is found before it and after", async () => {
  const database = newName();
  await migrate(
    readSchemaFiles(),
    { ...defaultSchemaSettings, database },
    statementRunner({ url: inject("clickhouse") }),
  );
  const table = `${database}.otel_traces`;
  for (const service of ["cart", "checkout"]) {
    await ask(
      `INSERT INTO ${table} (Timestamp, TraceId, SpanName, ServiceName, SpanAttributes)
        SELECT toDateTime64('2026-11-20 12:00:00', 9), concat('${service}-', toString(number)), 'GET', '${service}', map('k', toString(number))
        FROM numbers(20000)`,
      consumersSettings(),
    );
  }
  const indexed = () =>
    ask(
      `SELECT name FROM system.data_skipping_indices WHERE database = '${database}' AND table = 'otel_traces' AND data_compressed_bytes > 0 ORDER BY name`,
    );
  const found = () =>
    ask(
      `SELECT count() FROM ${table} WHERE TraceId = 'cart-77' AND has(mapValues(SpanAttributes), '77') AND Duration = 0`,
    );
  expect(await indexed()).toBe("");
  expect(await found()).toBe("1");
  await ask(`OPTIMIZE TABLE ${table} FINAL`);
  expect((await indexed()).split("\n")).toEqual([
    "idx_duration",
    "idx_lower_span_name",
    "idx_res_attr_key",
    "idx_res_attr_value",
    "idx_span_attr_key",
    "idx_span_attr_value",
    "idx_trace_id",
  ]);
  expect(await found()).toBe("1");
});
