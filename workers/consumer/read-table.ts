/**
 * What the table itself shows: how far its deduplication log has been used, which days its TTL keeps, and how many
 * rows of a payload each day has. Receipts are claims; this is the evidence.
 */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import { countRowsQuery, tableStateQuery } from "../../shared/clickhouse/statements.ts";
import { checkServer, checkTable, windowOf } from "../../shared/clickhouse/table-check.ts";
import { oldestDayOf, readTtl } from "../../shared/clickhouse/ttl.ts";
import type { TableFacts } from "../../shared/delivery/effects.ts";
import type { DayRows } from "../../shared/ledger/group.ts";
import { formatPayloadId, type PayloadId } from "../../shared/payload-key.ts";

const tableStateSchema = v.array(
  v.object({
    engine: v.string(),
    engine_full: v.string(),
    timezone: v.string(),
    now: v.number(),
    deduplicate_insert_select: v.nullable(v.string()),
    deduplicate_insert: v.nullable(v.string()),
    blocks: v.nullable(v.number()),
  }),
);

/** Throws when ClickHouse cannot be asked. `now` in ms since the epoch. */
export async function readTable(
  { client, settings }: ClickHouseConnection,
  now: number,
): Promise<TableFacts> {
  const askedAt = Date.now();
  const answer = await client.query({ query: tableStateQuery(settings), format: "JSONEachRow" });
  const [row] = v.parse(tableStateSchema, await answer.json());
  const answeredAt = Date.now();
  if (row === undefined) {
    return { refusal: checkTable(settings, undefined), measure: null, oldestDay: 0 };
  }
  const declaration = { engine: row.engine, engineFull: row.engine_full };
  const window = windowOf(declaration);
  const ttl = readTtl(row.engine_full);
  const clockAheadMs = clockAhead(row.now, askedAt, answeredAt);
  return {
    refusal:
      checkTable(settings, declaration) ||
      checkServer(settings, {
        timezone: row.timezone,
        deduplicateInsert: row.deduplicate_insert ?? "",
        deduplicateInsertSelect: row.deduplicate_insert_select ?? "",
        clockAheadMs,
      }),
    measure: { blocks: row.blocks ?? 0, windowBlocks: window.blocks, windowMs: window.ms, ttl, clockAheadMs },
    oldestDay: oldestDayOf(ttl, now),
  };
}

/**
 * By how much `serverNow` is certainly ahead of us (or behind): it was read at some moment between our two. Example: asked
 * at 100, answered at 300: 250 is no difference, 350 is 50 ahead.
 */
function clockAhead(serverNow: number, askedAt: number, answeredAt: number): number {
  return Math.round(serverNow - Math.min(Math.max(serverNow, askedAt), answeredAt));
}

const countsSchema = v.array(
  v.object({ payload: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)), day: v.number(), rows: v.number() }),
);

/** Rows by day of each payload id, zeros left out, ascending by day. */
export async function countRows(
  { client, settings }: ClickHouseConnection,
  ids: readonly PayloadId[],
): Promise<ReadonlyMap<PayloadId, readonly DayRows[]>> {
  const counts = new Map<PayloadId, DayRows[]>();
  if (ids.length === 0) {
    return counts;
  }
  const answer = await client.query({
    query: countRowsQuery(settings, ids),
    format: "JSONEachRow",
    clickhouse_settings: { select_sequential_consistency: "1" },
  });
  for (const { payload, day, rows } of v.parse(countsSchema, await answer.json())) {
    const bytes = Uint8Array.from(payload.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const id = formatPayloadId(bytes);
    const days = counts.get(id) ?? [];
    assert((days.at(-1)?.day ?? -1) < day, "days ascend");
    counts.set(id, [...days, { day, rows }]);
  }
  return counts;
}
