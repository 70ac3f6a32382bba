/** What the reconciler reads of receipts and writes of minutes: statements, and rows of headrace_minutes. */
import {
  contentMinuteBytes,
  formatMinute,
  type ObjectKey,
  type PayloadKey,
  payloadPrefix,
  segmentMark,
  segmentNameLength,
} from "../payload-key.ts";
import type { ClickHouseSettings } from "./connection.ts";
import { formatDateTime64 } from "./date-time.ts";
import { receiptFields, tableName } from "./statements.ts";

/** What the receipts say of one minute and tenant. The checksum is that of `keyChecksum` over all keys. */
export interface MinuteTally {
  /** ms since the epoch */
  readonly minute: number;
  readonly tenant: string;
  readonly accepted: number;
  readonly stored: number;
  readonly dead: number;
  readonly duplicate: number;
  readonly erased: number;
  readonly expired: number;
  readonly spans: number;
  readonly rejectedSpans: number;
  readonly bytes: number;
  readonly checksum: bigint;
}

/** A row of `headrace_minutes`. */
export interface MinuteRow extends MinuteTally {
  readonly sealed: boolean;
}

/** A row of `headrace_watermarks`: everything that arrived before `watermark` is balanced, nothing of it in flight. */
export interface WatermarkRow {
  /** ms since the epoch */
  readonly watermark: number;
  readonly openMinutes: number;
}

/** What a receipt adds to `keyChecksum`. */
const checksumInSql = `reinterpretAsUInt64(substring(payload, ${contentMinuteBytes + 1}, 8))`;

/** Keys as SQL literals: their characters need no escape. */
function keySet(keys: readonly (PayloadKey | ObjectKey)[]): string {
  return `(${keys.map((key) => `'${key}'`).join(", ")})`;
}

/** By range first: that is what the table's primary key is searched for. */
function whereKeys(keys: readonly PayloadKey[]): string {
  return `key BETWEEN '${keys[0] ?? ""}' AND '${keys.at(-1) ?? ""}' AND key IN ${keySet(keys)}`;
}

/** Characters of a segment's key, and where its mark begins (payload-key.ts). */
const segmentKeyLength = `${payloadPrefix}2026-11-24T0741/${segmentMark}/`.length + segmentNameLength;
const markAt = `${payloadPrefix}2026-11-24T0741`.length + 1;

/** The object of a receipt's key, in SQL. */
const objectInSql = `if(substring(key, ${markAt}, ${segmentMark.length + 2}) = '/${segmentMark}/', substring(key, 1, ${segmentKeyLength}), key)`;

/** The receipts of all payloads of objects (ascending, at least one). "0" follows "/". */
function whereObjects(objects: readonly ObjectKey[]): string {
  return `key >= '${objects[0] ?? ""}' AND key < '${objects.at(-1) ?? ""}0' AND ${objectInSql} IN ${keySet(objects)}`;
}

/** What the receipts say of the payloads of segments (ascending, at least one): of each one that has any. */
export function segmentReceiptsQuery(settings: ClickHouseSettings, segments: readonly ObjectKey[]): string {
  return `SELECT ${objectInSql} AS segment, toUInt32(count()) AS payloads, toString(sum(${checksumInSql})) AS checksum,
      groupArrayIf(key, outcome = 'duplicate') AS duplicates
    FROM ${tableName(settings, "headrace_receipts")} FINAL WHERE ${whereObjects(segments)} GROUP BY segment ORDER BY segment`;
}

/** How keys (ascending, at least one) ended. */
export function outcomesQuery(settings: ClickHouseSettings, keys: readonly PayloadKey[]): string {
  return `SELECT key, toString(outcome) AS outcome
    FROM ${tableName(settings, "headrace_receipts")} FINAL WHERE ${whereKeys(keys)} ORDER BY key`;
}

/** The receipts of all payloads of objects (ascending, at least one). */
export function receiptsOfObjectsQuery(settings: ClickHouseSettings, objects: readonly ObjectKey[]): string {
  return `SELECT ${receiptFields}
    FROM ${tableName(settings, "headrace_receipts")} FINAL WHERE ${whereObjects(objects)} ORDER BY key`;
}

/** The receipts of keys (ascending, at least one). */
export function receiptsOfKeysQuery(settings: ClickHouseSettings, keys: readonly PayloadKey[]): string {
  return `SELECT ${receiptFields}
    FROM ${tableName(settings, "headrace_receipts")} FINAL WHERE ${whereKeys(keys)} ORDER BY key`;
}

/** A page of stored receipts, between two texts that keys are compared with. */
export function storedReceiptsQuery(
  settings: ClickHouseSettings,
  after: string,
  before: string,
  atMost: number,
): string {
  return `SELECT ${receiptFields}
    FROM ${tableName(settings, "headrace_receipts")} FINAL
    WHERE key > '${checkedBound(after)}' AND key < '${checkedBound(before)}' AND outcome = 'stored'
    ORDER BY key LIMIT ${atMost}`;
}

function checkedBound(text: string): string {
  if (!text.startsWith(payloadPrefix) || !/^[a-zA-Z0-9/_-]*~?$/.test(text)) {
    throw new Error("a bound is the beginning of a payload key, or such a text and `~`, which follows it");
  }
  return text;
}

/** What a minute's receipts add up to, by tenant. `minute`: ms since the epoch. */
export function tallyQuery(settings: ClickHouseSettings, minutes: readonly number[]): string {
  // A range of keys for each: those of a page span a few minutes, or a thousand.
  const ranges = minutes.map((minute) => {
    const start = `${payloadPrefix}${formatMinute(minute)}`;
    return `(key > '${start}/' AND key < '${start}0')`;
  });
  return `SELECT toUnixTimestamp(minute) AS minuteStart, tenant, toUInt32(count()) AS accepted, toUInt32(countIf(outcome = 'stored')) AS stored,
      toUInt32(countIf(outcome = 'dead')) AS dead, toUInt32(countIf(outcome = 'duplicate')) AS duplicate,
      toUInt32(countIf(outcome = 'erased')) AS erased, toUInt32(countIf(outcome = 'expired')) AS expired,
      toFloat64(sumIf(spans, outcome = 'stored')) AS spans,
      toFloat64(sumIf(rejected_spans, outcome = 'stored')) AS rejectedSpans,
      toFloat64(sum(bytes)) AS bytes,
      toString(sum(${checksumInSql})) AS checksum
    FROM ${tableName(settings, "headrace_receipts")} FINAL
    WHERE ${ranges.join(" OR ")} GROUP BY minute, tenant ORDER BY minute, tenant`;
}

export const minuteColumns = [
  "minute",
  "tenant",
  "sealed",
  "accepted",
  "stored",
  "dead",
  "duplicate",
  "erased",
  "expired",
  "spans",
  "rejected_spans",
  "bytes",
  "key_checksum",
  "at",
] as const satisfies readonly [string, ...string[]];

/** `at`: when it is written, ms since the epoch. */
export function minuteRow(row: MinuteRow, at: number) {
  return {
    minute: row.minute / 1000,
    tenant: row.tenant,
    sealed: row.sealed,
    accepted: row.accepted,
    stored: row.stored,
    dead: row.dead,
    duplicate: row.duplicate,
    erased: row.erased,
    expired: row.expired,
    spans: row.spans,
    rejected_spans: row.rejectedSpans,
    bytes: row.bytes,
    key_checksum: row.checksum.toString(),
    at: formatDateTime64(at),
  };
}

export const watermarkColumns = ["at", "watermark", "open_minutes"] as const;

export function watermarkRow({ watermark, openMinutes }: WatermarkRow, at: number) {
  return { at: formatDateTime64(at), watermark: watermark / 1000, open_minutes: openMinutes };
}

/** Dead letters since a time, and payloads that ended in the minutes sealed since. `since`: ms since the epoch. */
export function recentQuery(settings: ClickHouseSettings, since: number): string {
  const seconds = Math.floor(since / 1000);
  return `SELECT
      (SELECT toUInt32(count()) FROM ${tableName(settings, "headrace_dead_letters")} FINAL
        WHERE at >= toDateTime(${seconds})) AS dead,
      dead + (SELECT toUInt32(sum(stored)) FROM ${tableName(settings, "headrace_minutes")} FINAL
        WHERE minute >= toDateTime(${seconds})) AS ended`;
}

/** Spans by tenant of the hour that begins at `hour` (ms since the epoch), and of the same hour of days before. */
export function volumesQuery(settings: ClickHouseSettings, hour: number, days: number): string {
  const start = hour / 1000;
  const daySeconds = 86_400;
  return `SELECT tenant, toUInt32(intDiv(${start + daySeconds - 1} - toUnixTimestamp(minute), ${daySeconds})) AS daysAgo,
      toFloat64(sum(spans)) AS spans
    FROM ${tableName(settings, "headrace_minutes")} FINAL
    WHERE minute >= toDateTime(${start - days * daySeconds}) AND minute < toDateTime(${start + 3600})
      AND (toUnixTimestamp(minute) - ${start - days * daySeconds}) % ${daySeconds} < 3600
    GROUP BY tenant, daysAgo`;
}

/** A range of minutes to be added up, in steps. Times in ms since the epoch. */
export interface AddedUp {
  readonly since: number;
  readonly stepMs: number;
  /** The first minute that is not sealed. */
  readonly unsealedSince: number;
  /** Sealed minutes whose rows may be older than their receipts. */
  readonly changed: readonly number[];
  /** In flight: those that have a receipt are answered as `receipted`. */
  readonly keys: readonly PayloadKey[];
}

/**
 * What ended, by step and tenant: from the rows of sealed minutes, and from receipts where a minute is not sealed or has
 * changed. The keys in flight that have a receipt are named by one row of step 0: in the same statement, so that
 * a payload which ends at this moment is counted once.
 */
export function minuteStepsQuery(
  settings: ClickHouseSettings,
  { since, stepMs, unsealedSince, changed, keys }: AddedUp,
): string {
  const minutes = tableName(settings, "headrace_minutes");
  const receipts = tableName(settings, "headrace_receipts");
  const start = `minute >= toDateTime(${Math.floor(since / 1000)})`;
  const anew = changed.filter((minute) => minute >= since);
  const isAnew =
    anew.length === 0 ? "" : `AND minute NOT IN (${anew.map((minute) => minute / 1000).join(", ")})`;
  const first = anew.reduce((least, minute) => Math.min(least, minute), unsealedSince);
  const from = `${payloadPrefix}${formatMinute(Math.max(since, first))}/`;
  const names = ["stored", "dead", "duplicate", "erased", "expired", "spans", "rejectedSpans", "bytes"];
  const sums = names.map((name) => `toFloat64(sum(${name}_)) AS ${name}`).join(", ");
  const named =
    keys.length === 0
      ? ""
      : `UNION ALL SELECT toDateTime(0, 'UTC'), '', 0, 0, 0, 0, 0, 0, 0, 0, key FROM ${receipts} FINAL WHERE ${whereKeys([...keys].sort())}`;
  return `SELECT toUInt32(intDiv(toUnixTimestamp(minute), ${stepMs / 1000}) * ${stepMs / 1000}) AS step, tenant, ${sums},
      groupArrayIf(key_, key_ != '') AS receipted
    FROM (
      SELECT minute, tenant, stored AS stored_, dead AS dead_, duplicate AS duplicate_, erased AS erased_, expired AS expired_,
        spans AS spans_, rejected_spans AS rejectedSpans_, bytes AS bytes_, '' AS key_
      FROM ${minutes} FINAL WHERE ${start} AND sealed ${isAnew}
      UNION ALL
      SELECT minute, tenant, countIf(outcome = 'stored'), countIf(outcome = 'dead'), countIf(outcome = 'duplicate'),
        countIf(outcome = 'erased'), countIf(outcome = 'expired'), sumIf(spans, outcome = 'stored'), sumIf(rejected_spans, outcome = 'stored'), sum(bytes), ''
      FROM ${receipts} FINAL
      WHERE key >= '${checkedBound(from)}' AND minute NOT IN (SELECT minute FROM ${minutes} FINAL WHERE ${start} AND sealed ${isAnew})
      GROUP BY minute, tenant
      ${named}
    )
    GROUP BY step, tenant ORDER BY step, tenant`;
}
