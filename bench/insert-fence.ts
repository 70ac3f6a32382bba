/**
 * Part 5 of `npm run bench -- insert`: what the fence and the table's identity cost an INSERT (decisions 0062 and 0014). The
 * product's statement and the plain one, which it was before them, with the same settings and bodies, in turn in one run:
 * a busy machine is then busy for both. Of a single INSERT, by the clock and by the server's CPU time.
 */
import { randomUUID } from "node:crypto";
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

const kinds = ["plain", "fenced", "fenced, its table named"] as const;
type Kind = (typeof kinds)[number];

interface Times {
  readonly wallMs: number[];
  readonly cpuMs: number[];
}

const settings = { url: "", user: "", password: "", database: "default", tracesTable: "otel_traces" };
const oneThread = { max_threads: "1", max_insert_threads: "1", input_format_parallel_parsing: "0" };
/** Those before are warm-up. */
const warmUps = 3;
const insertMs = 60_000;

export async function byFence(engine: EngineSession, sizes: readonly FencedBodies[]): Promise<unknown> {
  console.log(
    "\n5. By fence: ms an INSERT, by the clock (least, median) and of the server's CPU (mean), the kinds in turn",
  );
  const witness = await engine.text(`${witnessSql(settings, null)} FORMAT TSVRaw`);
  const { table } = witnessOf(readAnswer(JSON.parse(witness)));
  const parametersOf = (kind: Kind): Record<string, string> => {
    const identity = kind === "fenced, its table named" ? table : null;
    const fenced = insertSpansParameters(
      settings,
      randomUUID(),
      1,
      insertMs,
      Date.now() + insertMs,
      identity,
    );
    return kind === "plain"
      ? { ...fenced, query: `INSERT INTO \`default\`.\`otel_traces\` (${columnListText}) FORMAT Native` }
      : fenced;
  };
  const results: Record<string, unknown> = {};
  for (const { rows, bodies, inserts } of sizes) {
    const times = new Map<Kind, Times>(kinds.map((kind) => [kind, { wallMs: [], cpuMs: [] }]));
    for (let n = -warmUps; n < inserts; n++) {
      // Each kind comes first, second and third as often.
      const order = kinds.map((_, at) => kinds[(at + n + warmUps) % kinds.length] ?? "plain");
      const bytes = bodies[(n + warmUps) % bodies.length] ?? new Uint8Array(0);
      for (const kind of order) {
        const { query = "", ...parameters } = parametersOf(kind);
        const cpuBefore = engine.cpuSeconds();
        const before = performance.now();
        await engine.ask(query, { ...parameters, ...oneThread }, { bytes, encoding: "zstd" });
        if (n >= 0) {
          times.get(kind)?.wallMs.push(performance.now() - before);
          times.get(kind)?.cpuMs.push((engine.cpuSeconds() - cpuBefore) * 1000);
        }
      }
      await engine.ask("TRUNCATE TABLE otel_traces");
      await engine.ask("TRUNCATE TABLE otel_traces_trace_id_ts");
    }
    const plain = figuresOf(times.get("plain"));
    for (const kind of kinds) {
      const figures = figuresOf(times.get(kind));
      const ratio = { least: figures.least / plain.least, median: figures.median / plain.median };
      console.log(
        `${String(rows).padStart(7)} rows | ${kind.padEnd(23)} | least ${figures.least.toFixed(1)} (x ${ratio.least.toFixed(3)}) | median ${figures.median.toFixed(1)} (x ${ratio.median.toFixed(3)}) | CPU ${figures.cpu.toFixed(1)}`,
      );
      results[`${kind} ${rows}`] = { ...figures, ratio };
    }
  }
  return results;
}

function figuresOf(times: Times | undefined) {
  const { wallMs, cpuMs } = times ?? { wallMs: [], cpuMs: [] };
  return {
    least: Math.min(...wallMs),
    median: median(wallMs),
    cpu: cpuMs.reduce((sum, ms) => sum + ms, 0) / cpuMs.length,
  };
}
