/**
 * `npm run bench -- insert`: what an INSERT costs ClickHouse, in CPU time of the server's process (its HTTP side
 * included), µs per row, medians of interleaved rounds.
 *
 * 1. by format and rows per INSERT: into ENGINE = Null (parsing alone) and into the full table, our block against
 *    RowBinary and JSONEachRow of the same rows as the engine itself writes them, all zstd at level 1
 * 2. by how our block is compressed: the sender's CPU, the engine's, the bytes
 * 3. by what the table has: the full table with one thing different at a time
 * 4. by column: what it costs to write one column of the table, in-engine
 * 5. by fence: the product's own statement against the plain one (insert-fence.ts)
 *
 * `npm run bench -- insert byTable` runs one part: byFormat, byCompression, byTable, byColumn, byFence. One thread an INSERT, no merges (they are stopped, and measured at the end of 1 by OPTIMIZE FINAL).
 */
import { randomUUID } from "node:crypto";
import { constants, zstdCompressSync } from "node:zlib";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { migrateClickHouse } from "../dev/clickhouse/migrate-clickhouse.ts";
import { type InsertCompression, insertCompressions } from "../shared/clickhouse/connection.ts";
import { columnListText, columns } from "../shared/rows/columns.ts";
import { BlockBuilder } from "../shared/rows/transcode.ts";
import { tracesTableColumns } from "../test/fixtures/traces-ddl.ts";
import { compressParts } from "../workers/consumer/compress-block.ts";
import { corpusBounds, makeSpans } from "./corpus.ts";
import { type EngineSession, startEngineSession } from "./engine-session.ts";
import { byFence, type FencedBodies } from "./insert-fence.ts";
import { median } from "./median.ts";
import { Random } from "./random.ts";

const spansAPayload = 500;
const rowsInAll = 100_000;
const rounds = 3;
/** Differences by table are small beside a busy machine's noise, which only adds: the least of these counts. */
const tableRounds = 6;
/** INSERTs that a round makes of each kind, by their rows. Small ones are expensive. */
const insertsARound = { 500: 40, 10000: 10, 100000: 1 } as const;
const oneThread = {
  max_threads: "1",
  max_insert_threads: "1",
  input_format_parallel_parsing: "0",
  async_insert: "0",
  insert_deduplicate: "1",
  deduplicate_blocks_in_dependent_materialized_views: "1",
  input_format_skip_unknown_fields: "0",
  max_insert_block_size: "10000000",
  min_insert_block_size_rows: "10000000",
  min_insert_block_size_bytes: "0",
  materialize_skip_indexes_on_insert: "0",
};

type Format = "Native" | "RowBinary" | "JSONEachRow";
const formats = ["Native", "RowBinary", "JSONEachRow"] as const satisfies readonly Format[];

interface Body {
  readonly rows: number;
  readonly bytes: Uint8Array;
  readonly encoding: string | undefined;
}

const zstd = (bytes: Uint8Array): Uint8Array =>
  zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });

/** Protobuf payloads of 500 spans each, 100,000 in all. */
function makePayloads(): Uint8Array[] {
  const random = new Random(3);
  return Array.from({ length: rowsInAll / spansAPayload }, (_, index) => {
    const spans = makeSpans(random, `service-${index % 12}`, spansAPayload);
    return ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0);
  });
}

/** Our blocks of `rows` rows each, in chunks as they are sent. */
function ownBlocks(payloads: readonly Uint8Array[], rows: number): Uint8Array[][] {
  const blocks: Uint8Array[][] = [];
  const payloadsABlock = rows / spansAPayload;
  for (let at = 0; at < payloads.length; at += payloadsABlock) {
    const builder = new BlockBuilder();
    for (const [index, body] of payloads.slice(at, at + payloadsABlock).entries()) {
      const id = new Uint8Array(16);
      new DataView(id.buffer).setUint32(0, at + index);
      builder.add({ id, tenant: "bench", body, bounds: corpusBounds, spans: spansAPayload });
    }
    blocks.push([...builder.finish().chunks]);
  }
  return blocks;
}

/** The same rows in another format, as the engine writes them. */
async function bodiesOf(engine: EngineSession, blocks: readonly Uint8Array[][], rows: number) {
  const bodies: Record<Format, Body[]> = { Native: [], RowBinary: [], JSONEachRow: [] };
  for (const chunks of blocks) {
    const block = Buffer.concat(chunks);
    bodies.Native.push({ rows, bytes: zstd(block), encoding: "zstd" });
    await engine.ask("TRUNCATE TABLE written");
    await engine.ask(`INSERT INTO written (${columnListText}) FORMAT Native`, oneThread, {
      bytes: block,
      encoding: undefined,
    });
    for (const format of ["RowBinary", "JSONEachRow"] as const) {
      const bytes = await engine.ask(`SELECT ${columnListText} FROM written FORMAT ${format}`);
      bodies[format].push({ rows, bytes: zstd(bytes), encoding: "zstd" });
    }
  }
  return bodies;
}

/** CPU µs per row of the engine for these INSERTs. */
async function insertAll(
  engine: EngineSession,
  table: string,
  format: Format,
  bodies: readonly Body[],
  settings: Readonly<Record<string, string>> = {},
): Promise<number> {
  const before = engine.cpuSeconds();
  let rows = 0;
  for (const body of bodies) {
    await engine.ask(
      `INSERT INTO ${table} (${columnListText}) FORMAT ${format}`,
      { ...oneThread, ...settings, insert_deduplication_token: randomUUID() },
      body,
    );
    rows += body.rows;
  }
  return ((engine.cpuSeconds() - before) * 1e6) / rows;
}

async function stopMerges(engine: EngineSession): Promise<void> {
  await engine.ask("SYSTEM STOP MERGES");
}

async function byFormat(engine: EngineSession, payloads: readonly Uint8Array[]): Promise<unknown> {
  const results: Record<string, unknown> = {};
  console.log(
    "\n1. By format: µs per row (parsing alone / full table), bytes per row, merging what was inserted",
  );
  for (const rows of [500, 10_000, 100_000] as const) {
    const bodies = await bodiesOf(engine, ownBlocks(payloads, rows), rows);
    const parse: Record<Format, number[]> = { Native: [], RowBinary: [], JSONEachRow: [] };
    const full: Record<Format, number[]> = { Native: [], RowBinary: [], JSONEachRow: [] };
    const some = (list: readonly Body[]): readonly Body[] => list.slice(0, insertsARound[rows]);
    for (let round = 0; round <= rounds; round++) {
      for (const format of formats) {
        const parsed = await insertAll(engine, "parsed", format, some(bodies[format]));
        const inserted = await insertAll(engine, "otel_traces", format, some(bodies[format]));
        if (round > 0) {
          parse[format].push(parsed);
          full[format].push(inserted);
        }
      }
      if (round < rounds) {
        await engine.ask("TRUNCATE TABLE otel_traces");
        await engine.ask("TRUNCATE TABLE otel_traces_trace_id_ts");
      }
    }
    const merging = await mergeCost(engine);
    for (const format of formats) {
      const bytes = bodies[format].reduce((sum, body) => sum + body.bytes.length, 0) / rowsInAll;
      const row = { parse: median(parse[format]), full: median(full[format]), bytes, merging };
      console.log(
        `${String(rows).padStart(7)} rows | ${format.padEnd(11)} | parse ${row.parse.toFixed(1)} | full ${row.full.toFixed(1)} | ${row.bytes.toFixed(0)} bytes | merge ${merging.toFixed(1)}`,
      );
      results[`${format} ${rows}`] = row;
    }
    await engine.ask("TRUNCATE TABLE otel_traces");
    await engine.ask("TRUNCATE TABLE otel_traces_trace_id_ts");
  }
  return results;
}

/** CPU µs per row to merge the full table to one part. */
async function mergeCost(engine: EngineSession): Promise<number> {
  const rows = Number(await engine.text("SELECT count() FROM otel_traces"));
  await engine.ask("SYSTEM START MERGES");
  const before = engine.cpuSeconds();
  await engine.ask("OPTIMIZE TABLE otel_traces FINAL");
  const cost = ((engine.cpuSeconds() - before) * 1e6) / rows;
  await stopMerges(engine);
  return cost;
}

async function byCompression(engine: EngineSession, payloads: readonly Uint8Array[]): Promise<unknown> {
  console.log(
    "\n2. By compression of our block, 10,000 rows per INSERT: the least µs per row of sender, engine, both; bytes per row",
  );
  const blocks = ownBlocks(payloads, 10_000).slice(0, insertsARound[10_000]);
  const rows = 10_000;
  const sender: Record<InsertCompression, number[]> = { zstd: [], gzip: [], none: [] };
  const receiver: Record<InsertCompression, number[]> = { zstd: [], gzip: [], none: [] };
  const size: Record<InsertCompression, number> = { zstd: 0, gzip: 0, none: 0 };
  for (let round = 0; round <= tableRounds; round++) {
    for (const compression of insertCompressions) {
      const before = process.cpuUsage();
      const bodies = blocks.map((chunks) => Buffer.concat(compressParts(chunks, compression)));
      const { user, system } = process.cpuUsage(before);
      const encoding = compression === "none" ? undefined : compression;
      const cost = await insertAll(
        engine,
        "otel_traces",
        "Native",
        bodies.map((bytes) => ({ rows, bytes, encoding })),
      );
      if (round > 0) {
        sender[compression].push((user + system) / (blocks.length * rows));
        receiver[compression].push(cost);
      }
      size[compression] = bodies.reduce((sum, body) => sum + body.length, 0) / (blocks.length * rows);
      await engine.ask("TRUNCATE TABLE otel_traces");
    }
  }
  return Object.fromEntries(
    insertCompressions.map((compression) => {
      const row = {
        sender: Math.min(...sender[compression]),
        engine: Math.min(...receiver[compression]),
        bytes: size[compression],
      };
      console.log(
        `${compression.padEnd(5)} | sender ${row.sender.toFixed(2)} | engine ${row.engine.toFixed(1)} | both ${(row.sender + row.engine).toFixed(1)} | ${row.bytes.toFixed(0)} bytes`,
      );
      return [compression, row];
    }),
  );
}

interface Variant {
  /** Statements after `CREATE TABLE variant AS otel_traces`. */
  readonly alter?: (table: string) => readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

/** The table with one thing different at a time. */
const variants: Readonly<Record<string, Variant>> = {
  "full table": {},
  "skip indexes built by the INSERT": { settings: { materialize_skip_indexes_on_insert: "1" } },
  "without projection headrace_counts": {
    alter: (t) => [`ALTER TABLE ${t} DROP PROJECTION headrace_counts`],
  },
  "without projection headrace_traces": {
    alter: (t) => [`ALTER TABLE ${t} DROP PROJECTION headrace_traces`],
  },
  "without the trace_id_ts view": { alter: (t) => [`DROP VIEW ${t}_mv`] },
  "without deduplication": {
    alter: (t) => [`ALTER TABLE ${t} MODIFY SETTING non_replicated_deduplication_window = 0`],
  },
  "with LZ4 for every column": {
    alter: (t) =>
      columns.map(({ name, type }) => `ALTER TABLE ${t} MODIFY COLUMN \`${name}\` ${type} CODEC(LZ4)`),
  },
};

async function byTable(engine: EngineSession, payloads: readonly Uint8Array[]): Promise<unknown> {
  console.log(
    "\n3. By table, our block in zstd, 10,000 rows per INSERT: the least µs per row of 6 rounds, and what is spared",
  );
  const bodies = ownBlocks(payloads, 10_000)
    .slice(0, insertsARound[10_000])
    .map((chunks): Body => ({ rows: 10_000, bytes: zstd(Buffer.concat(chunks)), encoding: "zstd" }));
  const names = Object.keys(variants);
  const rowsInserted = bodies.reduce((sum, { rows }) => sum + rows, 0);
  const tables = new Map<string, string>();
  for (const [index, name] of names.entries()) {
    const table = `variant_${index}`;
    await engine.ask(`CREATE TABLE ${table} AS otel_traces`);
    await engine.ask(`CREATE TABLE ${table}_ts AS otel_traces_trace_id_ts`);
    await engine.ask(
      `CREATE MATERIALIZED VIEW ${table}_mv TO ${table}_ts AS SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM ${table} WHERE TraceId != '' GROUP BY TraceId`,
    );
    for (const statement of variants[name]?.alter?.(table) ?? []) {
      await engine.ask(statement, { alter_sync: "1" });
    }
    tables.set(name, table);
  }
  const costs = new Map<string, number[]>(names.map((name) => [name, []]));
  const sizes = new Map<string, number>();
  for (let round = 0; round <= tableRounds; round++) {
    for (const [name, table] of tables) {
      const cost = await insertAll(engine, table, "Native", bodies, variants[name]?.settings);
      if (round > 0) {
        costs.get(name)?.push(cost);
      }
      sizes.set(
        name,
        Number(
          await engine.text(
            `SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = '${table}'`,
          ),
        ) / rowsInserted,
      );
      await engine.ask(`TRUNCATE TABLE ${table}`);
      await engine.ask(`TRUNCATE TABLE ${table}_ts`);
    }
  }
  const whole = Math.min(...(costs.get("full table") ?? []));
  return Object.fromEntries(
    names.map((name) => {
      const cost = Math.min(...(costs.get(name) ?? []));
      const bytes = sizes.get(name) ?? 0;
      console.log(
        `${name.padEnd(36)} | ${cost.toFixed(1)} | spares ${(whole - cost).toFixed(1)} | ${bytes.toFixed(0)} bytes on disk`,
      );
      return [name, { cost, spared: whole - cost, bytes }];
    }),
  );
}

/** Names and types with codecs of the table's columns, as `SHOW CREATE` has them; nested ones one by one. */
async function byColumn(engine: EngineSession, payloads: readonly Uint8Array[]): Promise<unknown> {
  console.log(
    "\n4. By column, in-engine: the least µs per row to write it alone (100,000 rows per INSERT), bytes per row on disk",
  );
  await engine.ask("TRUNCATE TABLE written");
  for (const chunks of ownBlocks(payloads, rowsInAll)) {
    await engine.ask(`INSERT INTO written (${columnListText}) FORMAT Native`, oneThread, {
      bytes: Buffer.concat(chunks),
      encoding: undefined,
    });
  }
  const described = (
    await engine.text(
      "SELECT name, type, compression_codec FROM system.columns WHERE database = 'default' AND table = 'otel_traces' AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') FORMAT TSVRaw",
    )
  )
    .split("\n")
    .map((line) => line.split("\t"));
  const results: Record<string, unknown> = {};
  const repeats = 2;
  // What an INSERT of nothing much costs, to be taken off.
  const cost = async (
    expression: string,
    type: string,
    codec: string,
  ): Promise<{ micros: number; bytes: number }> => {
    await engine.ask("DROP TABLE IF EXISTS one_column");
    await engine.ask(`CREATE TABLE one_column (c ${type} ${codec}) ENGINE = MergeTree ORDER BY tuple()`);
    const micros: number[] = [];
    for (let round = 0; round < 3; round++) {
      const before = engine.cpuSeconds();
      for (let i = 0; i < repeats; i++) {
        await engine.ask(`INSERT INTO one_column SELECT ${expression} FROM written`, {
          ...oneThread,
          insert_deduplicate: "0",
        });
      }
      micros.push(((engine.cpuSeconds() - before) * 1e6) / (repeats * rowsInAll));
    }
    const bytes = Number(
      await engine.text(
        "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts WHERE active AND table = 'one_column'",
      ),
    );
    return { micros: Math.min(...micros), bytes };
  };
  for (const [name = "", type = "", codec = ""] of described) {
    const { micros, bytes } = await cost(`\`${name}\``, type, codec);
    console.log(`${name.padEnd(20)} | ${micros.toFixed(2)} | ${bytes.toFixed(1)}`);
    results[name] = { micros, bytes };
  }
  return results;
}

/** INSERTs of each kind in part 5, by their rows. */
const fencedInserts = { 500: 120, 10000: 60, 100000: 6 } as const;

async function fence(engine: EngineSession, payloads: readonly Uint8Array[]): Promise<unknown> {
  const sizes = ([500, 10_000, 100_000] as const).map(
    (rows): FencedBodies => ({
      rows,
      bodies: ownBlocks(payloads, rows)
        .slice(0, insertsARound[rows])
        .map((chunks) => zstd(Buffer.concat(chunks))),
      inserts: fencedInserts[rows],
    }),
  );
  return await byFence(engine, sizes);
}

/** Runs all five parts, or the one that is named, and prints the figures as JSON in the last line. */
export async function benchInsert(only?: string): Promise<void> {
  const engine = await startEngineSession();
  try {
    await migrateClickHouse({ url: engine.url });
    await stopMerges(engine);
    await engine.ask(`CREATE TABLE parsed (${tracesTableColumns}) ENGINE = Null`);
    await engine.ask(`CREATE TABLE written (${tracesTableColumns}) ENGINE = Memory`);
    console.log(
      `ClickHouse ${await engine.text("SELECT version()")} one thread an INSERT, medians of ${rounds} rounds`,
    );
    const payloads = makePayloads();
    const results: Record<string, unknown> = {};
    for (const [name, part] of Object.entries({
      byFormat,
      byCompression,
      byTable,
      byColumn,
      byFence: fence,
    })) {
      if (only === undefined || name === only) {
        results[name] = await part(engine, payloads);
      }
    }
    console.log(JSON.stringify({ unit: "CPU µs per row", ...results }));
  } finally {
    await engine.stop();
  }
}
