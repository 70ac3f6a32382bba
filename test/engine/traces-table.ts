/**
 * A table of the Collector's ClickHouse exporter (traces_table.sql, Map form, its codecs and indexes left out) with
 * our two columns, in the tests' engine, and what tests ask of it.
 */

import { inject } from "vitest";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { columnListText } from "../../shared/rows/columns.ts";
import type { Block } from "../../shared/rows/transcode.ts";
import { tracesTableColumns } from "../fixtures/traces-ddl.ts";

/** An error text of the engine. */
export class EngineError extends Error {}

/** Runs a statement; `body` is what follows it. Throws `EngineError`. */
export async function ask(query: string, body?: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const url = new URL(inject("clickhouse"));
  url.search = new URLSearchParams({ query, input_format_skip_unknown_fields: "0" }).toString();
  const response = await fetchClickHouse(url, { method: "POST", ...(body === undefined ? {} : { body }) });
  const text = await response.text();
  if (!response.ok || response.headers.has("x-clickhouse-exception-code")) {
    throw new EngineError(text);
  }
  return text;
}

/** A new empty table; returns its name. */
export async function newTracesTable(): Promise<string> {
  const name = `traces_${crypto.randomUUID().replaceAll("-", "")}`;
  await ask(
    `CREATE TABLE ${name} (${tracesTableColumns}) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY tuple()`,
  );
  return name;
}

/** Inserts one block as the consumer does: named columns, FORMAT Native. */
export async function insertBlock(table: string, block: Block): Promise<void> {
  const body = new Uint8Array(block.bytes);
  let at = 0;
  for (const chunk of block.chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  await ask(`INSERT INTO ${table} (${columnListText}) FORMAT Native`, body);
}

/** The rows of a query as the engine prints them, in JSON; 64-bit numbers as text, so that none is rounded. */
export async function rowsOf(query: string): Promise<unknown[]> {
  const text = await ask(`${query} SETTINGS output_format_json_quote_64bit_integers = 1 FORMAT JSONEachRow`);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}
