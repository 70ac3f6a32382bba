/**
 * Part 5 of `npm run bench -- insert`: what the fence and the table's identity cost an INSERT (decisions 0062, 0014, 0073). The
 * product's statements and the plain one, which it was before them, with the same settings and bodies, in turn in one run: a
 * busy machine is then busy for all. Of a single INSERT, by the clock and by the server's CPU time, the median and the least tenth:
 * where other programs share the cores the CPU's least tenth is what to compare.
 */
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { migrateClickHouse } from "../dev/clickhouse/migrate-clickhouse.ts";
import { defaultSchemaSettings } from "../shared/clickhouse/migrations.ts";
import { insertSpansParameters } from "../shared/clickhouse/statements.ts";
import { readAnswer, witnessOf, witnessSql } from "../shared/clickhouse/table-identity.ts";
import { columnListText } from "../shared/rows/columns.ts";
import type { EngineSession } from "./engine-session.ts";
import { median } from "./median.ts";

export interface FencedBodies {
  readonly rows: number;
  /** Compressed with zstd. */
  readonly bodies: readonly Uint8Array[];
  /** INSERTs of each kind. */
  readonly inserts: number;
}

/** A group's first INSERT goes by the table's column, a retry by the statement; where no table is known, by its deadline alone. */
const kinds = ["plain", "by the column", "by the statement", "its deadline alone"] as const;
type Kind = (typeof kinds)[number];

interface Times {
  readonly wallMs: number[];
  readonly cpuMs: number[];
}

/** A database of its own: in clickhouse-local's `default` tables have no UUID, and are asked for dearer. */
const database = "fenced";
const settings = { url: "", user: "", password: "", database, tracesTable: "otel_traces" };
const oneThread = { max_threads: "1", max_insert_threads: "1", input_format_parallel_parsing: "0" };
/** Those before are warm-up. */
const warmUps = 3;
const insertMs = 60_000;

export async function byFence(engine: EngineSession, sizes: readonly FencedBodies[]): Promise<unknown> {
  console.log(
    "\n5. By fence: ms per INSERT, by the clock and of the server's CPU (least tenth, median), the kinds in turn",
  );
  await migrateClickHouse({ url: engine.url }, { ...defaultSchemaSettings, database });
  const witness = await engine.text(`${witnessSql(settings, null)} FORMAT TSVRaw`);
  const { table } = witnessOf(readAnswer(JSON.parse(witness)));
  const parametersOf = (kind: Kind): Record<string, string> => {
    const identity = kind === "its deadline alone" ? null : table;
    const fenced = insertSpansParameters(
      settings,
      randomUUID(),
      1,
      insertMs,
      Date.now() + insertMs,
      identity,
      kind === "by the column",
    );
    return kind === "plain"
      ? { ...fenced, query: `INSERT INTO ${database}.otel_traces (${columnListText}) FORMAT Native` }
      : fenced;
  };
  const results: Record<string, unknown> = {};
  for (const { rows, bodies, inserts } of sizes) {
    const times = new Map<Kind, Times>(kinds.map((kind) => [kind, { wallMs: [], cpuMs: [] }]));
    for (let n = -warmUps; n < inserts; n++) {
      // Each kind comes at each place as often.
      const order = kinds.map((_, at) => kinds[(at + n + warmUps) % kinds.length] ?? "plain");
      const bytes = bodies[(n + warmUps) % bodies.length] ?? new Uint8Array(0);
      for (const kind of order) {
        const { query = "", ...parameters } = parametersOf(kind);
        const cpuBefore = cpuMsOf(engine.pid);
        const before = performance.now();
        await engine.ask(query, { ...parameters, ...oneThread }, { bytes, encoding: "zstd" });
        if (n >= 0) {
          times.get(kind)?.wallMs.push(performance.now() - before);
          times.get(kind)?.cpuMs.push(cpuMsOf(engine.pid) - cpuBefore);
        }
      }
      await engine.ask(`TRUNCATE TABLE ${database}.otel_traces`);
      await engine.ask(`TRUNCATE TABLE ${database}.otel_traces_trace_id_ts`);
    }
    const plain = figuresOf(times.get("plain"));
    for (const kind of kinds) {
      const figures = figuresOf(times.get(kind));
      const more = {
        wall: figures.wall.map((ms, at) => ms - (plain.wall[at] ?? 0)),
        cpu: figures.cpu.map((ms, at) => ms - (plain.cpu[at] ?? 0)),
      };
      const shown = (list: readonly number[]): string => list.map((ms) => ms.toFixed(1)).join(", ");
      console.log(
        `${String(rows).padStart(7)} rows | ${kind.padEnd(18)} | clock ${shown(figures.wall)} (+ ${shown(more.wall)}) | CPU ${shown(figures.cpu)} (+ ${shown(more.cpu)})`,
      );
      results[`${kind} ${rows}`] = { ...figures, more };
    }
  }
  return results;
}

/** The least tenth and the median of each. */
function figuresOf(times: Times | undefined) {
  const { wallMs, cpuMs } = times ?? { wallMs: [], cpuMs: [] };
  const of = (list: readonly number[]): readonly number[] => [
    list.toSorted((a, b) => a - b)[Math.floor(list.length / 10)] ?? 0,
    median(list),
  ];
  return { wall: of(wallMs), cpu: of(cpuMs) };
}

/** CPU ms of a process's threads, to the microsecond: /proc/PID/stat counts in steps of 10 ms. */
function cpuMsOf(pid: number): number {
  const folder = `/proc/${pid}/task`;
  let nanoseconds = 0;
  for (const thread of readdirSync(folder)) {
    try {
      const [run] = readFileSync(`${folder}/${thread}/schedstat`, "utf8").split(" ");
      nanoseconds += Number(run);
    } catch {
      // it has ended since the folder was read
    }
  }
  return nanoseconds / 1e6;
}
