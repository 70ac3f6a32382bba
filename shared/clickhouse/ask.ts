/**
 * Statements and their answers: one way to read rows, one to write them, one for everything else. The settings that a
 * promise leans on are in here, and are sent with every statement. An answer counts only when ClickHouse itself gave it: what
 * is between us and it may answer 200 to anything.
 */
import * as v from "valibot";
import { limits } from "../limits.ts";
import { type ClickHouseAnswer, type ClickHouseConnection, NotReached } from "./connection.ts";
import { exceptionCodeIn, strangerText } from "./errors.ts";

/** ClickHouse's exception, or an answer that is not ClickHouse's (then without a code). */
export class StatementFailed extends Error {
  override readonly name = "StatementFailed";
  readonly code: number | null;

  constructor(message: string, code: number | null) {
    super(message);
    this.code = code;
  }
}

/** ACCESS_DENIED: the login lacks a right that the statement needs. */
export function isAccessDenied(error: unknown): boolean {
  return error instanceof StatementFailed && error.code === 497;
}

/** UNKNOWN_DATABASE. */
export function isUnknownDatabase(error: unknown): boolean {
  return error instanceof StatementFailed && error.code === 81;
}

/** How much of an answer a message repeats. */
const shownCharsMax = 500;

/**
 * What a query that proves something is sent with: rows that others acknowledged are seen on SharedMergeTree, and it ends
 * before we stop waiting for it.
 */
const readSettings = {
  select_sequential_consistency: "1",
  max_execution_time: String(limits.queryTimeoutSeconds),
} as const;

/**
 * What is written must be there when it is answered, and a misspelt column must not be dropped with a 200. Nothing of it is
 * deduplicated: a retry whose rows the table has, and its view has not, must reach the view.
 */
const writeSettings = {
  async_insert: "0",
  insert_deduplicate: "0",
  wait_end_of_query: "1",
  input_format_skip_unknown_fields: "0",
} as const;

/** Answered when it is done; but a mutation when it is begun (workers/consumer/delete-rows.ts). */
const statementSettings = { wait_end_of_query: "1" } as const;

export interface QueryOptions {
  /** Settings of a query that proves nothing (search-limits.ts). */
  readonly settings?: Readonly<Record<string, string>>;
  /** How long its answer is waited for, where that is less than for any other. */
  readonly patienceMs?: number;
}

/**
 * The rows of a query, by `schema`, which is of an array of them. `parameters` fill in `{name:Type}`. Rejects with
 * `StatementFailed`, or with `NotReached`.
 */
export async function queryRows<S extends v.GenericSchema>(
  clickHouse: ClickHouseConnection,
  schema: S,
  query: string,
  parameters: Readonly<Record<string, string | number>> = {},
  { settings = {}, patienceMs }: QueryOptions = {},
): Promise<v.InferOutput<S>> {
  const filled = Object.entries(parameters).map(([name, value]) => [`param_${name}`, escaped(String(value))]);
  const parts = {
    ...Object.fromEntries(filled),
    ...(clickHouse.access === "full" ? readSettings : {}),
    ...settings,
  };
  const text = await answerOf(clickHouse, `${query}\nFORMAT JSONEachRow`, parts, undefined, patienceMs);
  const lines = text.split("\n").filter((line) => line !== "");
  const rows = v.safeParse(schema, lines.map(parsedLine));
  if (!rows.success) {
    const [{ message }] = rows.issues;
    throw new StatementFailed(`the answer does not fit the query (${message}): ${shown(text)}`, null);
  }
  return rows.output;
}

/** Stores rows in a table of the connection's database: all of them, or it rejects, and then nobody knows. */
export async function insertRows(
  clickHouse: ClickHouseConnection,
  table: string,
  columns: readonly string[],
  rows: readonly object[],
): Promise<void> {
  if (rows.length > 0) {
    const lines = rows.map((row) => JSON.stringify(row)).join("\n");
    await insertAs(clickHouse, table, columns, "JSONEachRow", lines);
  }
}

/** The same of rows as RowBinary, in the order of the columns. */
export async function insertBinaryRows(
  clickHouse: ClickHouseConnection,
  table: string,
  columns: readonly string[],
  rows: Uint8Array,
): Promise<void> {
  await insertAs(clickHouse, table, columns, "RowBinary", rows);
}

async function insertAs(
  clickHouse: ClickHouseConnection,
  table: string,
  columns: readonly string[],
  format: "JSONEachRow" | "RowBinary",
  body: string | Uint8Array,
): Promise<void> {
  const list = columns.map((name) => `\`${name}\``).join(", ");
  const statement = `INSERT INTO \`${clickHouse.settings.database}\`.\`${table}\` (${list}) FORMAT ${format}`;
  await answerOf(clickHouse, body, { ...writeSettings }, statement);
}

/** Runs any other statement to its end; answers what it says. */
export async function runStatement(
  clickHouse: ClickHouseConnection,
  statement: string,
  queryId?: string,
): Promise<string> {
  return await answerOf(clickHouse, statement, {
    ...statementSettings,
    ...(queryId === undefined ? {} : { query_id: queryId }),
  });
}

/** `query`: where the body is data. */
async function answerOf(
  clickHouse: ClickHouseConnection,
  body: string | Uint8Array,
  settings: Readonly<Record<string, string>>,
  query?: string,
  patienceMs: number = clickHouse.patienceMs,
): Promise<string> {
  const { send, settings: at } = clickHouse;
  let answered: ClickHouseAnswer;
  try {
    answered = await send({
      parameters: { database: at.database, ...settings, ...(query === undefined ? {} : { query }) },
      body,
      patienceMs,
    });
  } catch (error) {
    throw new NotReached(at.url, error);
  }
  const { status, headers, text, isClickHouses } = answered;
  // A value of a row may quote an exception; the exception itself begins a line, and no row of ours begins like it.
  const code =
    headers.get("x-clickhouse-exception-code") ?? exceptionCodeIn(/^Code: .*/m.exec(text)?.[0] ?? "");
  if (code !== null) {
    throw new StatementFailed(shown(text) || `ClickHouse answered with code ${code}`, Number(code));
  }
  if (!isClickHouses) {
    throw new StatementFailed(strangerText(status, text), null);
  }
  if (status !== 200) {
    throw new StatementFailed(`ClickHouse answered ${status}: ${shown(text)}`, null);
  }
  return text;
}

function parsedLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new StatementFailed(`an answer breaks off, or is not JSON: ${shown(line)}`, null);
  }
}

function shown(text: string): string {
  return text.trim().slice(0, shownCharsMax);
}

/** As a parameter's value is read: TabSeparated with backslashes. */
function escaped(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (char) => escapes[char] ?? char);
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
