/**
 * The statements that the Workers send, with their settings. Every setting that a promise leans on is sent with the
 * statement, never left to the server's default.
 */
import { limits } from "../limits.ts";
import { columnListText } from "../rows/columns.ts";
import type { ClickHouseSettings } from "./connection.ts";

/** `db`.`table`, both checked identifiers (see connection.ts). */
export function tableName(settings: ClickHouseSettings, table: string): string {
  return `\`${settings.database}\`.\`${table}\``;
}

/**
 * URL parameters of the INSERT of one group as one Native block. `token` is the group's id, `attempt` counts from 1:
 * together they are the query id, by which a running INSERT can be found and killed.
 */
export function insertSpansParameters(
  settings: ClickHouseSettings,
  token: string,
  attempt: number,
): Record<string, string> {
  return {
    query: `INSERT INTO ${tableName(settings, settings.tracesTable)} (${columnListText}) FORMAT Native`,
    query_id: `${token}.${attempt}`,
    // Deduplication: the same block under the same token is one copy, in the table and in its view's target.
    insert_deduplicate: "1",
    insert_deduplication_token: token,
    deduplicate_blocks_in_dependent_materialized_views: "1",
    // async_insert answers before the rows are written, and is on by default since ClickHouse 26.3.
    async_insert: "0",
    wait_end_of_query: "1",
    max_execution_time: String(limits.insertTimeoutSeconds),
    // A misspelt column in the block would otherwise be dropped with a 200.
    input_format_skip_unknown_fields: "0",
    // One block in, one block stored: nothing is split by size below a group's caps.
    max_insert_block_size: "10000000",
    min_insert_block_size_rows: "10000000",
    min_insert_block_size_bytes: "0",
  };
}
