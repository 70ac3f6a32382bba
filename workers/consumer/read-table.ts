/**
 * What the table itself shows: how far its deduplication log has been used, which days its TTL keeps, and how many
 * rows of a payload each day has. Receipts are claims; this is the evidence.
 */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import {
  isAccessDenied,
  isUnknownDatabase,
  queryRows,
  StatementFailed,
} from "../../shared/clickhouse/ask.ts";
import type { Processes } from "../../shared/clickhouse/barrier.ts";
import type { ClickHouseConnection } from "../../shared/clickhouse/connection.ts";
import {
  countedRowsQuery,
  runningQuery,
  tableStateQuery,
  witnessQuery,
} from "../../shared/clickhouse/statements.ts";
import {
  checkServer,
  checkTable,
  checkVersion,
  noDatabaseRefusal,
  replicasRefusal,
  rightsRefusal,
  windowOf,
} from "../../shared/clickhouse/table-check.ts";
import { isFenceOf } from "../../shared/clickhouse/table-fence.ts";
import {
  kindOfTable,
  readAnswer,
  readServer,
  type ServerWitness,
  serverWitnessOf,
  type TableAnswer,
  type TableWitness,
  witnessOf,
} from "../../shared/clickhouse/table-identity.ts";
import { oldestDayOf, readTtl } from "../../shared/clickhouse/ttl.ts";
import type { TableFacts } from "../../shared/ledger/known-table.ts";
import { formatPayloadId, type PayloadId } from "../../shared/payload-key.ts";
import type { DayRows, GroupId } from "../../shared/receipt.ts";

const tableStateSchema = v.array(
  v.object({
    engine: v.string(),
    engine_full: v.string(),
    version: v.string(),
    timezone: v.string(),
    now: v.number(),
    deduplicate_insert_select: v.nullable(v.string()),
    deduplicate_insert: v.nullable(v.string()),
    blocks: v.nullable(v.number()),
    receipts_engine: v.nullable(v.string()),
    fence: v.nullable(v.string()),
    window_defaults: v.array(v.tuple([v.string(), v.string()])),
    declarations: v.array(v.string()),
    witness: v.nullable(v.string()),
  }),
);

/**
 * Throws when ClickHouse cannot be asked. `now` in ms since the epoch. `table`: its identity, as far as it is known: without
 * it a replicated table costs a second statement.
 */
export async function readTable(
  clickHouse: ClickHouseConnection,
  now: number,
  table: string | null,
): Promise<TableFacts> {
  const { settings } = clickHouse;
  const askedAt = Date.now();
  const rows = await queryRows(clickHouse, tableStateSchema, tableStateQuery(settings, table)).catch(
    (error: unknown) => {
      if (isUnknownDatabase(error)) {
        return noDatabaseRefusal(settings);
      }
      if (error instanceof StatementFailed && isAccessDenied(error)) {
        return error.message.includes("system.replicas")
          ? replicasRefusal(settings)
          : rightsRefusal(settings, error.message);
      }
      throw error;
    },
  );
  const [row] = typeof rows === "string" ? [] : rows;
  const answeredAt = Date.now();
  if (row === undefined) {
    const refusal = typeof rows === "string" ? rows : checkTable(settings, undefined);
    return { refusal, measure: null, oldestDay: 0, witness: null };
  }
  const declaration = {
    engine: row.engine,
    engineFull: row.engine_full,
    atReplicas: row.declarations,
    defaults: new Map(row.window_defaults),
    receiptsEngine: row.receipts_engine ?? undefined,
  };
  const window = windowOf(declaration);
  const ttl = readTtl(row.engine_full);
  const clockAheadMs = clockAhead(row.now, askedAt, answeredAt);
  // None: it was known as replicated, and is not any more.
  const said =
    row.witness === null ? await askWitness(clickHouse, null) : readAnswer(JSON.parse(row.witness));
  const { witness, lacksRight, logEnd } = await witnessBehind(clickHouse, said);
  return {
    refusal:
      checkVersion(row.version) || // first: what an old server lacks may look like another fault
      checkTable(settings, declaration) ||
      (lacksRight ? replicasRefusal(settings) : "") ||
      checkServer(settings, {
        timezone: row.timezone,
        deduplicateInsert: row.deduplicate_insert ?? "",
        deduplicateInsertSelect: row.deduplicate_insert_select ?? "",
        clockAheadMs,
      }),
    measure: {
      blocks: logEnd ?? row.blocks ?? 0,
      windowBlocks: window.blocks,
      windowMs: window.ms,
      ttl,
      clockAheadMs,
      identity: witness?.table ?? null,
      isFenced: witness?.table != null && isFenceOf(row.fence ?? "", witness.table),
    },
    oldestDay: oldestDayOf(ttl, now),
    witness,
  };
}

/** Columns in the order of the statement. */
const witnessSchema = v.array(v.record(v.string(), v.unknown()));

/** What the server that answers says of itself and of the table. Null: there is no such table. */
export async function readWitness(
  clickHouse: ClickHouseConnection,
  table: string | null,
): Promise<TableWitness | null> {
  return (await witnessBehind(clickHouse, await askWitness(clickHouse, table))).witness;
}

const processesSchema = v.array(v.object({ running: v.number(), servers: v.number(), witness: v.string() }));

/** INSERTs that VERIFY must not look past. `overdueMs`: any of ours that runs for longer. */
export async function readProcesses(
  clickHouse: ClickHouseConnection,
  group: GroupId,
  overdueMs: number,
  table: string | null,
): Promise<Processes> {
  const query = runningQuery(clickHouse.settings, group, overdueMs, table);
  const [row] = await queryRows(clickHouse, processesSchema, query);
  if (row === undefined) {
    return { running: false, servers: 0, witness: null };
  }
  const { witness } = await witnessBehind(clickHouse, readAnswer(JSON.parse(row.witness)));
  return { running: row.running > 0, servers: row.servers, witness };
}

async function askWitness(
  clickHouse: ClickHouseConnection,
  table: string | null,
): Promise<TableAnswer | null> {
  const query = witnessQuery(clickHouse.settings, table);
  const [row] = await queryRows(clickHouse, witnessSchema, query);
  return row === undefined ? null : readAnswer(Object.values(row));
}

/** A replicated table that was not known to be one is asked for its replica too, by whichever server answers then. */
async function witnessBehind(
  clickHouse: ClickHouseConnection,
  answer: TableAnswer | null,
): Promise<{
  readonly witness: TableWitness | null;
  readonly lacksRight: boolean;
  /** Of a replicated table: how many entries its log has had. */
  readonly logEnd: number | null;
}> {
  if (answer === null || !answer.engine.startsWith("Replicated") || answer.replica !== null) {
    const logEnd = answer?.replica?.logEnd ?? null;
    return { witness: answer && witnessOf(answer), lacksRight: false, logEnd };
  }
  try {
    const again = await askWitness(clickHouse, "replicated");
    const logEnd = again?.replica?.logEnd ?? null;
    return { witness: again === null ? null : witnessOf(again), lacksRight: false, logEnd };
  } catch (error) {
    if (isAccessDenied(error)) {
      return { witness: witnessOf(answer), lacksRight: true, logEnd: null };
    }
    throw error;
  }
}

/**
 * By how much `serverNow` is certainly ahead of us (or behind): it was read at some moment between our two. Example: asked
 * at 100, answered at 300: 250 is not a difference, 350 is 50 ahead.
 */
function clockAhead(serverNow: number, askedAt: number, answeredAt: number): number {
  return Math.round(serverNow - Math.min(Math.max(serverNow, askedAt), answeredAt));
}

const countsSchema = v.array(
  v.object({
    payload: v.pipe(v.string(), v.regex(/^([0-9a-f]{32})?$/)),
    day: v.number(),
    rows: v.number(),
    witness: v.string(),
  }),
);

/**
 * Rows by day of each payload id, zeros left out, ascending by day; and what the server that counted says of itself. `days`:
 * of these alone.
 */
export async function countRows(
  clickHouse: ClickHouseConnection,
  ids: readonly PayloadId[],
  table: string | null,
  days: readonly number[] | null = null,
): Promise<{
  readonly rows: ReadonlyMap<PayloadId, readonly DayRows[]>;
  readonly witness: ServerWitness | TableWitness | null;
}> {
  if (ids.length === 0) {
    return { rows: new Map(), witness: await readWitness(clickHouse, table) };
  }
  const query = countedRowsQuery(clickHouse.settings, ids, table, days);
  const counts = new Map<PayloadId, DayRows[]>();
  let witness: ServerWitness | TableWitness | null = null;
  for (const row of await queryRows(clickHouse, countsSchema, query)) {
    if (row.payload === "") {
      const said: unknown = JSON.parse(row.witness);
      witness =
        kindOfTable(table) === "replicated" ? serverWitnessOf(readServer(said)) : witnessOf(readAnswer(said));
      continue;
    }
    const bytes = Uint8Array.from(row.payload.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    const id = formatPayloadId(bytes);
    counts.set(id, [...(counts.get(id) ?? []), { day: row.day, rows: row.rows }]);
  }
  for (const days of counts.values()) {
    days.sort((a, b) => a.day - b.day);
    assert(
      days.every(({ day }, i) => i === 0 || day > (days[i - 1]?.day ?? day)),
      "a payload's day is counted once",
    );
  }
  return { rows: counts, witness };
}
