/**
 * Code against code: requests in, rows queryable, without a platform on our side. Every system runs all the time before
 * the same engine and table, and they take turns; what is counted is CPU time of their processes, which other work on
 * the machine disturbs less than the clock. Spans per second of wall time are given for whole systems only: here a batch may
 * wait five seconds for its last row.
 */
import type { EngineSession } from "../engine-session.ts";
import { cpuSecondsOf, peakBytesOf } from "../process-cost.ts";
import { startCountingProxy } from "./counting-proxy.ts";
import { type LoadBody, makeLoad, sendLoad } from "./load.ts";
import { waitForRows } from "./rows-stored.ts";
import type { RunningSystem, System } from "./systems.ts";

/** Compilers at run time need a while; after these the least of the others counts, since a host is disturbed for minutes. */
const roundsWarm = 3;
const rounds = 9;
/** Single-span requests come last: what compiles at run time is warm by then. */
const loads = [
  { spans: 100, requests: 512, connections: 8 },
  { spans: 512, requests: 100, connections: 8 },
  { spans: 100, requests: 512, connections: 1 },
  { spans: 100, requests: 512, connections: 64 },
  { spans: 1, requests: 12_800, connections: 8 },
] as const;

interface CodeRow {
  readonly load: string;
  readonly system: string;
  /** CPU seconds per million spans. */
  readonly receiver: number;
  readonly engine: number;
  readonly parts: number;
}

export interface CodeTable {
  readonly rows: readonly CodeRow[];
  readonly memory: Readonly<Record<string, number>>;
  readonly bytesASpan: Readonly<Record<string, number>>;
}

export async function measureCode(engine: EngineSession, systems: readonly System[]): Promise<CodeTable> {
  await engine.ask("SYSTEM STOP MERGES");
  const running: { system: System; run: RunningSystem }[] = [];
  const rows: CodeRow[] = [];
  const made = new Map<number, LoadBody[]>();
  try {
    for (const system of systems) {
      running.push({ system, run: await system.start(engine.url) });
    }
    for (const { spans, requests, connections } of loads) {
      // The same bodies each time: nobody remembers them here, and the table is emptied in between.
      const bodies = made.get(spans) ?? makeLoad(spans, requests, spans, Date.now());
      made.set(spans, bodies);
      const load = `${spans} spans per request, ${connections} connections`;
      const samples = new Map(systems.map(({ name }) => [name, [] as Sample[]]));
      for (let round = -roundsWarm; round < rounds; round++) {
        for (const { system, run } of running) {
          const sample = await measure(engine, run, bodies, {
            spans: spans * requests,
            rowsExpected: system.stores ? spans * requests : 0,
            connections,
          });
          if (round >= 0) {
            samples.get(system.name)?.push(sample);
          }
        }
      }
      for (const { system } of running) {
        const all = samples.get(system.name) ?? [];
        // What other work on the machine adds is never negative: the least counts.
        const least = (pick: (sample: Sample) => number): number => Math.min(...all.map(pick));
        const row: CodeRow = {
          load,
          system: system.name,
          receiver: least((sample) => sample.receiver),
          engine: least((sample) => sample.engine),
          parts: least((sample) => sample.parts),
        };
        rows.push(row);
        console.log(
          `${load.padEnd(36)} | ${system.name.padEnd(24)} | receiver ${row.receiver.toFixed(1).padStart(6)} | engine ${row.engine.toFixed(1).padStart(6)} | both ${(row.receiver + row.engine).toFixed(1).padStart(6)} CPU s per M | ${row.parts} parts`,
        );
      }
    }
    const memory = Object.fromEntries(
      running.map(({ system, run }) => [system.name, peakBytesOf(run.process.pid)]),
    );
    return { rows, memory, bytesASpan: {} };
  } finally {
    for (const { run } of running) {
      await run.process.stop();
    }
    await engine.ask("SYSTEM START MERGES");
  }
}

interface Sample {
  readonly receiver: number;
  readonly engine: number;
  readonly parts: number;
}

async function measure(
  engine: EngineSession,
  { target, process }: RunningSystem,
  bodies: readonly LoadBody[],
  {
    spans,
    rowsExpected,
    connections,
  }: { readonly spans: number; readonly rowsExpected: number; readonly connections: number },
): Promise<Sample> {
  await engine.ask("TRUNCATE TABLE otel_traces");
  await engine.ask("TRUNCATE TABLE otel_traces_trace_id_ts");
  const receiverBefore = cpuSecondsOf(process.pid);
  const engineBefore = engine.cpuSeconds();
  const answers = await sendLoad(target, bodies, connections);
  const failed = answers.filter(({ status }) => status !== 200).length;
  if (failed > 0) {
    throw new Error(`${failed} requests failed:\n${process.log().slice(-2000)}`);
  }
  await waitForRows(engine, rowsExpected);
  return {
    receiver: ((cpuSecondsOf(process.pid) - receiverBefore) / spans) * 1e6,
    engine: ((engine.cpuSeconds() - engineBefore) / spans) * 1e6,
    parts: Number(
      await engine.text("SELECT count() FROM system.parts WHERE active AND table = 'otel_traces'"),
    ),
  };
}

/** Bytes that each system sends to ClickHouse, by the span, its questions and HTTP's heads included. */
export async function measureBytes(
  engine: EngineSession,
  systems: readonly System[],
): Promise<Record<string, number>> {
  const bytes: Record<string, number> = {};
  const requests = 80;
  const spans = 512;
  for (const system of systems.filter(({ stores }) => stores)) {
    await engine.ask("TRUNCATE TABLE otel_traces");
    const proxy = await startCountingProxy(engine.url);
    const { target, process } = await system.start(proxy.url);
    try {
      await sendLoad(target, makeLoad(77, requests, spans, Date.now()), 8);
      await waitForRows(engine, requests * spans);
      bytes[system.name] = proxy.bytes() / (requests * spans);
    } finally {
      await process.stop();
      proxy.stop();
    }
  }
  return bytes;
}
