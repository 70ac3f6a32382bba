/**
 * The statements that the Workers send, with their settings. Every setting that a promise leans on is sent with the
 * statement, never left to the server's default.
 */
import { toHex } from "../hex.ts";
import { DAY_MS } from "../limits.ts";
import { type PayloadId, payloadIdCharacters, payloadIdToBytes, payloadPrefix } from "../payload-key.ts";
import { columnListText, columns } from "../rows/columns.ts";
import type { ClickHouseSettings } from "./connection.ts";
import { quoteText } from "./identifier.ts";
import { elsewhereText, fenceColumn, fenceComment, fenceQuery, lateText } from "./table-fence.ts";
import {
  countingServerSql,
  fromTable,
  isElsewhereSql,
  kindOfTable,
  witnessColumnsSql,
  witnessSql,
} from "./table-identity.ts";

/** `db`.`table`, both checked identifiers (see connection.ts). */
export function tableName(settings: ClickHouseSettings, table: string): string {
  return `\`${settings.database}\`.\`${table}\``;
}

const structureText = quoteText(columns.map(({ name, type }) => `\`${name}\` ${type}`).join(", "));

/**
 * The INSERT of a block as Native that the server itself refuses when it begins after `deadline` (ms since the epoch, by
 * the server's clock), whatever delivered it: then no row is stored, and the answer is an error. A bare WHERE would answer
 * an empty 200. In time, it is the plain INSERT: one part, the same token, views and projections as ever (decision 0062).
 * With an `identity`, the same holds for any other table that answers under this name (decision 0014).
 */
function fencedInsert(settings: ClickHouseSettings, deadline: number, identity: string | null): string {
  const isLate = `now64(3) >= fromUnixTimestamp64Milli(toInt64(${Math.floor(deadline)}))`;
  const conditions = [
    `throwIf(${isLate}, ${quoteText(lateText)}) = 0`,
    ...(identity === null
      ? []
      : [`throwIf(${isElsewhereSql(settings, identity)}, ${quoteText(elsewhereText)}) = 0`]),
  ];
  return `INSERT INTO ${tableName(settings, settings.tracesTable)} (${columnListText}) SELECT ${columnListText} FROM input(${structureText}) WHERE ${conditions.join(" AND ")} FORMAT Native`;
}

/** The same by the fence that the table itself holds, at a fifth of the price: the block lacks the column, so its default is asked. */
function columnFencedInsert(settings: ClickHouseSettings): string {
  return `INSERT INTO ${tableName(settings, settings.tracesTable)} (${columnListText}, ${fenceColumn}) FORMAT Native`;
}

/** What an attempt's INSERT is known by: the query that runs, and the token that its blocks are deduplicated by. */
export function insertIds(
  token: string,
  attempt: number,
): { readonly query_id: string; readonly insert_deduplication_token: string } {
  return {
    query_id: `${token}.${attempt}`,
    insert_deduplication_token: token,
  };
}

/**
 * URL parameters of the INSERT of one group as one Native block. `token` is the group's id, `attempt` counts from 1:
 * together they are the query id, by which a running INSERT can be found and killed. `insertMs` is how long it may run:
 * the fence counts on it (shared/ledger/settings.ts).
 * `serverDeadline`: ms since the epoch by the server's clock; it stores nothing that begins later.
 * `identity`: of the table that it is for (table-identity.ts); null: nobody knows it yet.
 * `byColumn`: the table has the fence of this identity (table-fence.ts), and nothing was sent under the token before.
 */
export function insertSpansParameters(
  settings: ClickHouseSettings,
  token: string,
  attempt: number,
  insertMs: number,
  serverDeadline: number,
  identity: string | null,
  byColumn = false,
): Record<string, string> {
  return {
    ...(byColumn && identity !== null
      ? {
          query: columnFencedInsert(settings),
          log_comment: fenceComment(identity, serverDeadline),
          // Without it the column that the block lacks would be filled with zeros, and nothing asked.
          input_format_defaults_for_omitted_fields: "1",
        }
      : { query: fencedInsert(settings, serverDeadline, identity) }),
    ...insertIds(token, attempt),
    // Deduplication: the same block under the same token is one copy, in the table and in its view's target.
    insert_deduplicate: "1",
    deduplicate_blocks_in_dependent_materialized_views: "1",
    // async_insert answers before the rows are written, and is on by default since ClickHouse 26.3.
    async_insert: "0",
    wait_end_of_query: "1",
    // Seconds, and ClickHouse takes fractions of one (test/engine/unproven-answers.test.ts).
    max_execution_time: String(insertMs / 1000),
    // A misspelt column in the block would otherwise be dropped with a 200.
    input_format_skip_unknown_fields: "0",
    // One block in, one block stored: nothing is split by size below a group's caps.
    max_insert_block_size: "10000000",
    min_insert_block_size_rows: "10000000",
    min_insert_block_size_bytes: "0",
    // A group has days of its own within this (limits.groupPartitionsMax); a login's profile may say less, and would make
    // a payload of many days a dead letter.
    max_partitions_per_insert_block: "100",
    // Skip indexes are left to the first merge: building them here was two fifths of an INSERT, to be thrown away at
    // that merge, and a part of a group's few granules is read as fast without them (decision 0022).
    materialize_skip_indexes_on_insert: "0",
  };
}

/**
 * A set of payload ids as SQL: literals, so that the projection and the index on `payload` are searched for them. Their bytes
 * are written out: with `toFixedString(unhex('…'), 16)` a count of 100 ids took twice as long, for 100 small functions.
 */
export function idSet(ids: readonly PayloadId[]): string {
  return `(${ids.map((id) => bytesLiteral(payloadIdToBytes(id))).join(", ")})`;
}

/** All of them as one literal. */
function bytesLiteral(...all: readonly Uint8Array[]): string {
  return `'${all.map((bytes) => toHex(bytes).replaceAll(/../g, "\\x$&")).join("")}'`;
}

/** Rows of payloads by day (days since 1970-01-01, UTC): answered by the projection headrace_counts. */
export function countRowsQuery(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  return `${countRowsText(settings, ids)} ORDER BY payload, day`;
}

/** Whose the rows of payloads are that lie on these days (at least one of each). */
export function tenantsOfRowsQuery(
  settings: ClickHouseSettings,
  ids: readonly PayloadId[],
  days: readonly number[],
): string {
  return `SELECT DISTINCT lower(hex(HeadracePayload)) AS payload, HeadraceTenant AS tenant
    FROM ${tableName(settings, settings.tracesTable)}
    WHERE HeadracePayload IN ${idSet(ids)} AND toDate(Timestamp) IN ${daySet(days)}`;
}

function countRowsText(
  settings: ClickHouseSettings,
  ids: readonly PayloadId[],
  days: readonly number[] | null = null,
): string {
  const ofDays = days === null ? "" : ` AND toDate(Timestamp) IN ${daySet(days)}`;
  return `SELECT lower(hex(HeadracePayload)) AS payload, toUInt32(toDate(Timestamp)) AS day, toUInt32(count()) AS rows
    FROM ${tableName(settings, settings.tracesTable)} WHERE HeadracePayload IN ${idSet(ids)}${ofDays}
    GROUP BY HeadracePayload, toDate(Timestamp)`;
}

/** Days (since 1970-01-01, UTC; at least one) as a set of SQL: only their partitions are read. */
export function daySet(days: readonly number[]): string {
  return `(${days.map((day) => `'${new Date(day * DAY_MS).toISOString().slice(0, 10)}'`).join(", ")})`;
}

/**
 * The same in no order, and one row more, of which `payload` is empty: of a replica which server counted
 * (`countingServerSql`), else what the server says of its table (`witnessSql`). In an order it took half again as long.
 * `days`: only rows of these; null: of all.
 */
export function countedRowsQuery(
  settings: ClickHouseSettings,
  ids: readonly PayloadId[],
  table: string | null,
  days: readonly number[] | null = null,
): string {
  const witness =
    kindOfTable(table) === "replicated"
      ? `${countingServerSql} AS witness`
      : `witness FROM (${witnessSql(settings, table)})`;
  return `SELECT '' AS payload, toUInt32(0) AS day, toUInt32(0) AS rows, ${witness}
    UNION ALL SELECT payload, day, rows, '' AS witness FROM (${countRowsText(settings, ids, days)})`;
}

/** What a server says of itself and of the table, and nothing else. No row: there is no such table. */
export function witnessQuery(settings: ClickHouseSettings, table: string | null): string {
  return witnessColumnsSql(settings, table);
}

/** What VERIFY and an erasure judge by (`ReceiptClaim`); read by workers/consumer/read-receipts.ts. */
const claimFields = `key, toString(outcome) AS outcome, reason,
      arrayMap(day -> toUInt32(day), mapKeys(spans_by_day)) AS days, mapValues(spans_by_day) AS rows`;

/** All that a receipt says; read by workers/consumer/read-receipts.ts. */
export const receiptFields = `${claimFields}, group_id, spans, rejected_spans,
      toFloat64(bytes) AS bytes, toFloat64(toUnixTimestamp64Milli(headrace_receipts.at)) AS at`;

/**
 * Receipts of payloads under all of their keys. Where these are is looked up by id first: the receipts themselves lie by key, and are
 * read in the granules of these keys alone (decisions 0075, 0090, 0099).
 */
export function receiptsQuery(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  return `${receiptsOfIds(settings, ids, receiptFields)} ORDER BY key`;
}

/**
 * The same, and of each receipt only what is judged by. The keys of some hundred ids lie in single granules of all days' parts, and
 * each column is as many reads more: all of them took half again as long. In no order: in that of their key each part is read apart, a
 * tenth of the time.
 */
export function receiptClaimsQuery(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  return receiptsOfIds(settings, ids, claimFields);
}

/**
 * The keys choose the granules, and no more (`indexHint`): their rows are known by `payload`, which is asked before anything else is read
 * (PREWHERE; FINAL is not disturbed by it, for receipts of one key are of one payload). So a key too many, of another segment with the
 * same 16 bits or of an id with the same first bytes, is a granule that was read in vain.
 */
function receiptsOfIds(settings: ClickHouseSettings, ids: readonly PayloadId[], fields: string): string {
  return `WITH (${placesOfIds(settings, ids)}) AS found
    SELECT ${fields}
    FROM ${tableName(settings, "headrace_receipts")} FINAL PREWHERE payload IN ${idSet(ids)}
    WHERE indexHint(headrace_receipts.key IN (${keysOfPlaces(settings, ids)}))`;
}

/** So many of an id's bytes have headrace_receipt_ids, and the tables of before it. */
const headBytes = 8;
const earlierHeadBytes = 12;

/** One array, so that it is asked once and used twice: of each receipt where it is, or what leads to it. */
function placesOfIds(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  const heads = (length: number): string =>
    ids.map((id) => bytesLiteral(payloadIdToBytes(id).subarray(0, length))).join(", ");
  const earlier = (table: string, place: string): string =>
    `SELECT toFixedString(substring(head, 1, ${headBytes}), ${headBytes}), minute, toString(tenant), toUInt16(0), toUInt8(255), ${place}
      FROM ${tableName(settings, table)} WHERE head IN (${heads(earlierHeadBytes)})`;
  return `SELECT groupArray((head, minute, tenant, segment, slot, path)) FROM (
      SELECT head, minute, toString(tenant) AS tenant, segment, slot, '' AS path
      FROM ${tableName(settings, "headrace_receipt_ids")} WHERE head IN (${heads(headBytes)}) AND headrace_receipt_ids.tenant != ''
      UNION ALL ${earlier("headrace_receipt_places", "place")}
      UNION ALL ${earlier("headrace_receipt_minutes", "''")})`;
}

/** What a segment's row is found by (schema/0017). As a String it would lose the zero bytes at its end, and one of 256 would not be found. */
function segmentHeadSql(minute: string, segment: string): string {
  return `CAST(concat(unhex('FFFF'), reinterpretAsFixedString(byteSwap(toUInt32(${minute}))), reinterpretAsFixedString(byteSwap(${segment}))), 'FixedString(${headBytes})')`;
}

/**
 * The keys of what `placesOfIds` has found. The segments' names are looked up here. The ids come as two texts: 500 tuples of literals
 * take a fifth longer to be read.
 */
function keysOfPlaces(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  const heads = ids.map((id) => payloadIdToBytes(id).subarray(0, headBytes));
  const asked = `SELECT toFixedString(substring(${bytesLiteral(...heads)}, number * ${headBytes} + 1, ${headBytes}), ${headBytes}) AS head,
        substring('${ids.join("")}', number * ${payloadIdCharacters} + 1, ${payloadIdCharacters}) AS id FROM numbers(${ids.length})`;
  return `
      SELECT concat('${payloadPrefix}', formatDateTime(minute, '%Y-%m-%dT%H%i', 'UTC'), '/', if(segment = 0, places.path, segments.path),
        if(slot = 255, '', concat(leftPad(toString(slot), 3, '0'), '/')), tenant, '/', id)
      FROM (SELECT one.1 AS head, one.2 AS minute, one.3 AS tenant, one.4 AS segment, one.5 AS slot, one.6 AS path,
        ${segmentHeadSql("minute", "segment")} AS segment_head FROM (SELECT arrayJoin(found) AS one)) AS places
      INNER JOIN (${asked}) AS asked USING head
      LEFT JOIN (SELECT head AS segment_head, path FROM ${tableName(settings, "headrace_receipt_ids")}
        WHERE path != '' AND head IN (SELECT ${segmentHeadSql("one.2", "one.4")} FROM (SELECT arrayJoin(found) AS one) WHERE one.4 != 0)) AS segments
        USING segment_head
    `;
}

/** Servers that cannot be reached are left out: without these settings one that is paused keeps a query for longer than we wait. */
export const whoeverAnswers =
  "skip_unavailable_shards = 1, connections_with_failover_max_tries = 1, connect_timeout_with_failover_ms = 2000, handshake_timeout_ms = 2000, receive_timeout = 10";

/**
 * How far the table's deduplication log has been used (its blocks are numbered in all of the table, or, where it is replicated
 * or shared, within a partition each: then in all of them together), how its engine was declared (window, TTL), and what of the
 * server's settings and of its clock can break the promise. `table`: its identity, as far as it is known.
 */
export function tableStateQuery(settings: ClickHouseSettings, table: string | null = null): string {
  const where = `database = '${settings.database}' AND`;
  // Each replica has settings of its own, and each trims the log that they share.
  const isOfReplicas = kindOfTable(table) === "replicated" && settings.cluster !== undefined;
  const defaults =
    kindOfTable(table) === "replicated"
      ? "(SELECT groupArray((name, value)) FROM system.replicated_merge_tree_settings WHERE startsWith(name, 'replicated_deduplication_window'))"
      : "CAST([], 'Array(Tuple(String, String))')";
  const declarations = isOfReplicas
    ? `(SELECT groupArray(engine_full) FROM clusterAllReplicas(${quoteText(settings.cluster ?? "")}, view(SELECT engine_full FROM system.tables WHERE ${where} name = '${settings.tracesTable}')))`
    : "CAST([], 'Array(String)')";
  return `SELECT engine, engine_full, version() AS version, serverTimezone() AS timezone, toFloat64(toUnixTimestamp64Milli(now64(3))) AS now,
      (SELECT any(value) FROM system.settings WHERE name = 'deduplicate_insert') AS deduplicate_insert,
      (SELECT any(value) FROM system.settings WHERE name = 'deduplicate_insert_select') AS deduplicate_insert_select,
      (SELECT (toFloat64(max(highest)), toFloat64(sum(highest + 1))) FROM (SELECT partition_id, max(max_block_number) AS highest
        FROM system.parts WHERE ${where} table = '${settings.tracesTable}' AND active GROUP BY partition_id)) AS used,
      if(engine = 'MergeTree', used.1, used.2) AS blocks,
      (SELECT any(engine) FROM system.tables WHERE ${where} name = 'headrace_receipts') AS receipts_engine,
      ${fenceQuery(settings)} AS fence,
      ${defaults} AS window_defaults,
      ${declarations} AS declarations,
      (${witnessSql(settings, table)}) AS witness
    ${fromTable(settings)}${isOfReplicas ? ` SETTINGS ${whoeverAnswers}` : ""}`;
}

/**
 * Queries that VERIFY must not ignore: those of the group itself (their ids are the group's, followed by the attempt), and
 * any INSERT of ours that runs for longer than `overdueMs`. An overdue INSERT may belong to a group that the ledger lost:
 * nobody knows its id, and the server should have stopped it.
 */
function isInTheWay(group: string, overdueMs: number): string {
  return `startsWith(query_id, '${group}.') OR (match(query_id, '^[0-9a-f]{32}[.][0-9]+$') AND elapsed > ${overdueMs / 1000})`;
}

/**
 * How many of these run on how many servers, and what the one that answers says of itself. A server that cannot be reached is
 * left out of both: without these settings one that is paused keeps the query for longer than we wait. On each, this very
 * query runs: it is counted among the servers by that. The processes come first, for a scalar subquery is run before its
 * query: where nothing ran, what the server says of itself is about all that ever ran (barrier.ts).
 */
export function runningQuery(
  settings: ClickHouseSettings,
  group: string,
  overdueMs: number,
  table: string | null,
): string {
  // Each names itself within the view: what the server that asks says of itself, further down, would else stand for all of them.
  const own = `(SELECT query_id, elapsed, concat(hostName(), toString(serverUUID()), toString(tcpPort())) AS server FROM system.processes)`;
  const processes =
    settings.cluster === undefined ? own : `clusterAllReplicas(${quoteText(settings.cluster)}, view${own})`;
  return `WITH (SELECT (toUInt32(countIf(${isInTheWay(group, overdueMs)})), toUInt32(uniqExact(server))) FROM ${processes}) AS run
    SELECT run.1 AS running, run.2 AS servers, witness FROM (${witnessSql(settings, table)})
    SETTINGS ${whoeverAnswers}`;
}

/** Ends these queries, and waits until they have ended. */
export function killStatement(group: string, overdueMs: number): string {
  return `KILL QUERY WHERE ${isInTheWay(group, overdueMs)} SYNC`;
}

/** Fills in where the payloads' traces begin and end, should the view have missed them; doubled rows are harmless there. */
export function completeViewStatement(settings: ClickHouseSettings, ids: readonly PayloadId[]): string {
  return `INSERT INTO ${tableName(settings, `${settings.tracesTable}_trace_id_ts`)} (TraceId, Start, End)
    SELECT TraceId, min(Timestamp), max(Timestamp) FROM ${tableName(settings, settings.tracesTable)}
    WHERE HeadracePayload IN ${idSet(ids)} AND TraceId != '' GROUP BY TraceId`;
}
