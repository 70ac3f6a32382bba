/**
 * Our rows against those that the real Collector's ClickHouse exporter wrote for the same requests, kept by
 * `npm run compare:collector -- --write`. Both are read back by the engine and compared by SQL.
 */
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { readCapturedDifferences, readCapturedRequests, readCapturedRows } from "../collector/captured.ts";
import { differenceOf, meantDifferences } from "../collector/meant-differences.ts";
import { ourBlock, ourBlockOrNone } from "../collector/our-block.ts";
import { collectorColumns, describedRows, rowsExcept } from "../collector/row-comparison.ts";
import { ask, insertBlock, newTracesTable, rowsOf } from "./traces-table.ts";

const rowSchema = v.array(v.object({ row: v.string() }));

test("every row of the corpus is the Collector's, in all 22 columns", async () => {
  const theirs = await newTracesTable();
  const list = collectorColumns.map(({ name }) => `\`${name}\``).join(", ");
  await ask(`INSERT INTO ${theirs} (${list}) FORMAT Native`, readCapturedRows());
  const ours = await newTracesTable();
  await insertBlock(ours, ourBlock(readCapturedRequests()));
  expect(await rowsOf(rowsExcept(theirs, ours, "clamped"))).toEqual([]);
  expect(await rowsOf(rowsExcept(ours, theirs, "clamped"))).toEqual([]);
  expect(Number(await ask(`SELECT count() FROM ${theirs}`))).toBeGreaterThan(1400);
});

describe("meant differences", () => {
  test.each(meantDifferences)("$name", async ({ name, body, ...expected }) => {
    const captured = readCapturedDifferences()[name];
    const table = await newTracesTable();
    const block = ourBlockOrNone(body);
    if (block.rows > 0) {
      await insertBlock(table, block);
    }
    const ours = await rowsOf(describedRows(table));
    const our = v.parse(rowSchema, ours).map(({ row }) => row);
    expect({ status: captured?.status, ...differenceOf(captured?.rows ?? [], our) }).toEqual(expected);
  });
});
