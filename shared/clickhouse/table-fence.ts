/**
 * The fence that the traces table itself holds: an EPHEMERAL column, of which nothing is stored. Its default throws where an INSERT
 * that names the column comes after its deadline, or to another table than it is for. So the plain INSERT is fenced at a fifth of
 * what the same conditions cost as an INSERT … SELECT (decision 0073). Other writers do not name it, and are not checked.
 *
 * The column knows its table by a text that was written into it when it was made: a table that a person made by CREATE … AS
 * has the text of the other one. So only the first INSERT of a group goes by it; a retry asks the server (statements.ts).
 */
import { quoteIdentifier, quoteText } from "./identifier.ts";
import { kindOfTable, type TracesTableName } from "./table-identity.ts";

export const fenceColumn = "HeadraceFence";

/** The message that distinguishes an INSERT that came too late from any other error 395 (errors.ts). */
export const lateText = "headrace: the INSERT came after its deadline";
/** The same of an INSERT that came to another table than the one that the ledger knows. */
export const elsewhereText = "headrace: this is another table than the ledger knows";

/** A setting that changes nothing for a statement, and that every server and login has. */
const carried = "getSetting('log_comment')";
const deadlineDigits = 13;

/**
 * What an INSERT by the column carries in `log_comment`. Example: `plain 0-0 1-1 1795813819440`. `deadline`: ms since the
 * epoch by the server's clock.
 */
export function fenceComment(table: string, deadline: number): string {
  return `${table} ${String(Math.max(0, Math.floor(deadline))).padStart(deadlineDigits, "0")}`;
}

/** The column's default, for a table of this identity (table-identity.ts). An INSERT that carries nothing is late. */
export function fenceExpression(table: string): string {
  const [, server = ""] = table.split(" ");
  // A plain table is one server's, and is that server's at the moment of the INSERT.
  const own =
    kindOfTable(table) === "plain"
      ? `concat('plain ', toString(serverUUID()), ${quoteText(table.slice(`plain ${server}`.length))})`
      : quoteText(table);
  const late = `now64(3) >= fromUnixTimestamp64Milli(toInt64OrZero(right(${carried}, ${deadlineDigits})))`;
  const elsewhere = `substring(${carried}, 1, length(${carried}) - ${deadlineDigits + 1}) != ${own}`;
  return `throwIf(${late}, ${quoteText(lateText)}) + throwIf(${elsewhere}, ${quoteText(elsewhereText)})`;
}

/** Is this the default that the column of this very table must have, as ClickHouse prints it? */
export function isFenceOf(expression: string, table: string): boolean {
  return kindOfTable(table) !== null && bareExpression(expression) === bareExpression(fenceExpression(table));
}

/** Spaces and parentheses are as ClickHouse likes to print them. */
export function bareExpression(expression: string): string {
  return expression.replaceAll(/[\s()]/g, "");
}

/** The column's default, as a scalar subquery; null: the table has no such column. */
export function fenceQuery({ database, tracesTable }: TracesTableName): string {
  return `(SELECT any(default_expression) FROM system.columns WHERE database = ${quoteText(database)} AND table = ${quoteText(tracesTable)} AND name = '${fenceColumn}')`;
}

/** Gives a table its fence, or the right one. `found`: the column's default as it is; empty: there is no column. */
export function fenceStatement(
  { database, tracesTable }: TracesTableName,
  table: string,
  found: string,
): string {
  const name = `${quoteIdentifier(database)}.${quoteIdentifier(tracesTable)}`;
  const action = found === "" ? "ADD COLUMN IF NOT EXISTS" : "MODIFY COLUMN";
  return `ALTER TABLE ${name} ${action} ${fenceColumn} UInt8 EPHEMERAL ${fenceExpression(table)}`;
}
