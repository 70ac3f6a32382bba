/**
 * Deleting rows of payloads: an `ALTER … DELETE`, which leaves nothing behind in any part, where a lightweight DELETE only
 * hides rows until some merge. What a person has hidden so is passed over by it, and taken out by `APPLY DELETED MASK`. The
 * days are named, so that other days' parts are neither read nor written; a mark in the statement says in system.mutations
 * whose it is. Performed by workers/consumer/delete-rows.ts.
 */
import { keyChecksum } from "../key-checksum.ts";
import type { PayloadId } from "../payload-key.ts";
import type { ClickHouseSettings } from "./connection.ts";
import { quoteText } from "./identifier.ts";
import { daySet, idSet, tableName, whoeverAnswers } from "./statements.ts";

export interface Deletion {
  /** Its plain name. */
  readonly table: string;
  readonly mark: string;
  readonly statement: string;
  /** Takes hidden rows out of their parts. */
  readonly unhide: string;
  /** What it is to delete. Null: nothing names it afterwards. */
  readonly where: string | null;
}

/**
 * Which rows: those of `ids` on `days` (since 1970-01-01, UTC; at least one). `mark`: names together with the ids the deletion, `[0-9a-z]+`:
 * a group of many payloads is erased in parts, and what was done of one part says nothing of the next.
 */
export interface DeletedRows {
  readonly ids: readonly PayloadId[];
  readonly days: readonly number[];
  readonly mark: string;
}

function ofPayloads({ ids, days }: DeletedRows): string {
  return `toDate(Timestamp) IN ${daySet(days)} AND HeadracePayload IN ${idSet(ids)}`;
}

/** Rows of payloads. */
export function rowsDeletion(settings: ClickHouseSettings, rows: DeletedRows): Deletion {
  return deletion(settings, settings.tracesTable, `rows ${markOf(rows)}`, ofPayloads(rows), true);
}

/**
 * The times of traces of which nothing but these payloads' rows is left. To be done before those rows go: they name the
 * traces.
 */
export function traceTimesDeletion(settings: ClickHouseSettings, rows: DeletedRows): Deletion {
  const traces = tableName(settings, settings.tracesTable);
  const erased = `SELECT TraceId FROM ${traces} WHERE ${ofPayloads(rows)}`;
  const where = `TraceId IN (${erased})
    AND TraceId NOT IN (SELECT TraceId FROM ${traces} WHERE TraceId IN (${erased}) AND HeadracePayload NOT IN ${idSet(rows.ids)})`;
  return deletion(settings, `${settings.tracesTable}_trace_id_ts`, `times ${markOf(rows)}`, where, false);
}

function markOf({ mark, ids }: DeletedRows): string {
  return `${mark}.${keyChecksum(ids).toString(16).padStart(16, "0")}`;
}

function deletion(
  settings: ClickHouseSettings,
  table: string,
  whose: string,
  where: string,
  isCounted: boolean,
): Deletion {
  const mark = `headrace ${whose}`;
  return {
    table,
    mark,
    statement: `ALTER TABLE ${tableName(settings, table)} DELETE WHERE ${quoteText(mark)} != '' AND ${where} SETTINGS mutations_sync = 0`,
    unhide: `ALTER TABLE ${tableName(settings, table)} ${maskCommand} SETTINGS mutations_sync = 0`,
    where: isCounted ? where : null,
  };
}

const maskCommand = "APPLY DELETED MASK";

/**
 * How many mutations of this mark there are and how many are undone, at all replicas that answer; of those how many parts are
 * to do, and why they fail. A mutation that
 * takes out hidden rows has no mark: it is waited for, regardless of who began it.
 */
export function mutationsQuery(settings: ClickHouseSettings, { table, mark }: Deletion): string {
  const { cluster, database } = settings;
  const from =
    cluster === undefined
      ? "system.mutations"
      : `clusterAllReplicas(${quoteText(cluster)}, system.mutations)`;
  const isMarked = `position(command, ${quoteText(mark)}) > 0`;
  return `SELECT toUInt32(countIf(${isMarked})) AS known, toUInt32(countIf(NOT is_done)) AS undone,
      toFloat64(sumIf(parts_to_do, NOT is_done)) AS parts, anyIf(latest_fail_reason, NOT is_done AND latest_fail_reason != '') AS failure
    FROM ${from} WHERE database = '${database}' AND table = '${table}' AND (${isMarked} OR position(command, '${maskCommand}') > 0)
    SETTINGS ${whoeverAnswers}`;
}

/** How many of the rows are in a part, and how many of these a query shows. */
export function leftQuery(settings: ClickHouseSettings, { table, where }: Deletion): string | null {
  return where === null
    ? null
    : `SELECT toFloat64(count()) AS left, toFloat64(countIf(_row_exists)) AS visible FROM ${tableName(settings, table)} WHERE ${where} SETTINGS apply_deleted_mask = 0`;
}
