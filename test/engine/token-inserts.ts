/**
 * INSERTs under tokens, as the consumer sends them, into small tables of the tests' own: what each answered, and what
 * the table shows after it. `p` is the partition of a row, `a` its content.
 */

import { inject } from "vitest";
import { fetchClickHouse } from "../../dev/clickhouse/login.ts";
import { insertSpansParameters } from "../../shared/clickhouse/statements.ts";

export interface Answered {
  readonly status: number;
  /** ClickHouse's error code; 0: none. */
  readonly code: number;
  readonly text: string;
  readonly headers: Headers;
}

export type Settings = Readonly<Record<string, string | number>>;

/** One row: its partition and its content. */
export type Row = readonly [p: number, a: number];

/** The settings that the consumer sends with every INSERT, its statement and ids left out. */
export function consumersSettings(): Settings {
  const {
    query: _query,
    query_id: _queryId,
    insert_deduplication_token: _token,
    ...settings
  } = insertSpansParameters(
    { url: "", user: "", password: "", database: "default", tracesTable: "otel_traces" },
    "0".repeat(32),
    1,
    60_000,
    Date.now() + 60_000,
    null,
  );
  return settings;
}

/** Sends a statement and says what came of it. `url`: the tests' common engine unless another is named. */
export async function send(
  query: string,
  settings: Settings = {},
  body?: string | Uint8Array<ArrayBuffer>,
  url = inject("clickhouse"),
): Promise<Answered> {
  const target = new URL(url);
  for (const [name, value] of Object.entries({ query, ...settings })) {
    target.searchParams.set(name, String(value));
  }
  const response = await fetchClickHouse(target, { method: "POST", ...(body === undefined ? {} : { body }) });
  const text = await response.text();
  const code = Number(response.headers.get("x-clickhouse-exception-code") ?? 0);
  return { status: response.status, code, text: text.trim(), headers: response.headers };
}

/** Sends a statement that must succeed; its answer. */
export async function ask(query: string, settings: Settings = {}, url?: string): Promise<string> {
  const { status, text } = await send(query, settings, undefined, url);
  if (status !== 200) {
    throw new Error(`${query}\n${text}`);
  }
  return text;
}

/** Sends an INSERT of rows with the consumer's settings, those of `settings` put over them. No token: `undefined`. */
export async function insert(
  table: string,
  rows: readonly Row[],
  token: string | undefined,
  settings: Settings = {},
  url?: string,
): Promise<Answered> {
  const body = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  return await send(
    `INSERT INTO ${table} FORMAT JSONCompactEachRow`,
    {
      ...consumersSettings(),
      ...(token === undefined ? {} : { insert_deduplication_token: token }),
      ...settings,
    },
    body,
    url,
  );
}

export function newName(): string {
  return `t_${crypto.randomUUID().replaceAll("-", "")}`;
}

/** A new table of rows with a deduplication window of so many blocks. `inside`: more columns, indexes, projections. */
export async function newTable(
  window: number,
  inside = "",
  { url, partitionBy = "p" }: { readonly url?: string; readonly partitionBy?: string } = {},
): Promise<string> {
  const name = newName();
  await ask(
    `CREATE TABLE ${name} (p UInt16, a UInt32${inside}) ENGINE = MergeTree PARTITION BY ${partitionBy} ORDER BY a
      SETTINGS non_replicated_deduplication_window = ${window}`,
    {},
    url,
  );
  return name;
}

/** What a table holds: every row as `p.a`, in order, those that are there twice twice. */
export async function contents(table: string, url?: string): Promise<string> {
  const query = `SELECT arrayStringConcat(arraySort(groupArray(concat(toString(p), '.', toString(a)))), ' ') FROM ${table}`;
  return await ask(`${query} FORMAT TSVRaw`, {}, url);
}
