/**
 * What the projection headrace_traces costs: the same rows into a table with it and into one without, in turns, so that a busy
 * machine is busy for both. CPU is the server's, of one thread per INSERT.
 */
import { migrateClickHouse } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { defaultSchemaSettings } from "../../shared/clickhouse/migrations.ts";
import type { EngineSession } from "../engine-session.ts";
import { median } from "../median.ts";
import { madeColumns, madeSpans } from "./made-spans.ts";

/** A group of the consumer's. */
const rowsPerInsert = 10_000;
const insertsPerRound = 5;
const rounds = 6;
const payloadsDeleted = 500;
const kinds = ["with", "without"] as const;
type Kind = (typeof kinds)[number];
const tableOf = (kind: Kind): string => `priced_${kind}`;

export interface Price {
  readonly of: string;
  readonly with: number;
  readonly without: number;
  readonly more: string;
}

export async function projectionPrice(engine: EngineSession): Promise<readonly Price[]> {
  for (const table of [...kinds.map(tableOf), "waiting"]) {
    await engine.ask(`DROP TABLE IF EXISTS ${table} SYNC`);
  }
  for (const kind of kinds) {
    const database = `of_${kind}`;
    await engine.ask(`CREATE DATABASE IF NOT EXISTS ${database}`);
    const leaveOut = kind === "with" ? [] : defaultSchemaSettings.leaveOut;
    await migrateClickHouse({ url: engine.url }, { ...defaultSchemaSettings, database, leaveOut });
    await engine.ask(`CREATE TABLE ${tableOf(kind)} AS ${database}.otel_traces`);
  }
  await engine.ask("CREATE TABLE waiting ENGINE = Memory AS SELECT * FROM otel_traces WHERE 0");
  await engine.ask(`INSERT INTO waiting (${madeColumns}) ${madeSpans(0, 12_000, 1_850_000)}`);
  await engine.ask("SYSTEM STOP MERGES");
  const inserts = await pricedInserts(engine);
  await engine.ask("SYSTEM START MERGES");
  const merges = await inTurns(engine, async (kind) => {
    await engine.ask(`OPTIMIZE TABLE ${tableOf(kind)} FINAL`);
  });
  const bytes = Object.fromEntries(
    await Promise.all(kinds.map(async (kind) => [kind, await bytesOf(engine, kind)])),
  );
  const deletes = await inTurns(engine, async (kind) => {
    await engine.ask(
      `DELETE FROM ${tableOf(kind)} WHERE HeadracePayload IN (SELECT DISTINCT HeadracePayload FROM waiting ORDER BY HeadracePayload LIMIT ${payloadsDeleted})`,
      { lightweight_deletes_sync: "2" },
    );
  });
  return [
    line("INSERT of 10,000 rows, µs of CPU a row", inserts),
    line("merge to one part, s of CPU", merges),
    line("disk, bytes per row", { with: bytes["with"] ?? 0, without: bytes["without"] ?? 0 }),
    line(`DELETE of ${payloadsDeleted} payloads, s of CPU`, deletes),
  ];
}

function line(of: string, price: Readonly<Record<Kind, number>>): Price {
  const more = `${((price.with / price.without - 1) * 100).toFixed(1)} %`;
  return { of, with: Number(price.with.toFixed(3)), without: Number(price.without.toFixed(3)), more };
}

/** The median of the rounds. Each row is inserted once into each table: repeated rows would compress to nothing. */
async function pricedInserts(engine: EngineSession): Promise<Record<Kind, number>> {
  const micros: Record<Kind, number[]> = { with: [], without: [] };
  for (let round = 0; round < rounds; round++) {
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
      const before = engine.cpuSeconds();
      for (let n = 0; n < insertsPerRound; n++) {
        const offset = (round * insertsPerRound + n) * rowsPerInsert;
        await engine.ask(
          `INSERT INTO ${tableOf(kind)} SELECT * FROM waiting LIMIT ${rowsPerInsert} OFFSET ${offset}`,
          {
            max_threads: "1",
            max_insert_threads: "1",
            insert_deduplicate: "0",
            materialize_skip_indexes_on_insert: "0",
          },
        );
      }
      micros[kind].push(((engine.cpuSeconds() - before) * 1e6) / (insertsPerRound * rowsPerInsert));
    }
  }
  return { with: median(micros.with), without: median(micros.without) };
}

/** Seconds of the server's CPU. */
async function inTurns(
  engine: EngineSession,
  act: (kind: Kind) => Promise<void>,
): Promise<Record<Kind, number>> {
  const seconds: Record<Kind, number> = { with: 0, without: 0 };
  for (const kind of kinds) {
    const before = engine.cpuSeconds();
    await act(kind);
    seconds[kind] = engine.cpuSeconds() - before;
  }
  return seconds;
}

async function bytesOf(engine: EngineSession, kind: Kind): Promise<number> {
  return Number(
    await engine.text(
      `SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND table = '${tableOf(kind)}'`,
    ),
  );
}
