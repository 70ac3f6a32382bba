/**
 * Whole local systems as they are: Headrace with the simulators of R2, queues, KV and Durable Objects, which production
 * neither runs in our isolate nor bills; the peers with their queues. Throughput and CPU, the time from 200 to queryable
 * at half load, and what a SIGKILL under load loses or doubles.
 */
import type { EngineSession } from "../engine-session.ts";
import { treeCpuSeconds, treePeakBytes } from "../process-cost.ts";
import { type Answer, type LoadBody, makeLoad, sendLoad, type Target } from "./load.ts";
import { copiesOf, waitForRows } from "./rows-stored.ts";
import type { RunningSystem, System } from "./systems.ts";

const spansEach = 100;
const connections = 8;
/** What compiles at run time is compiled by then. */
const warmRequests = 300;
/** So many that the wait for the last batch, a second and more in each system, is little of it. */
const requests = 1000;
const latencyRequests = 200;
const killRequests = 300;
/** Requests per second under which a system is killed, and when it is. */
const killRate = 60;
const killAfterMs = 2_500;
/** A Headrace that was cut off waits for its lease of 90 s; the others need seconds. */
const settleMsMax = 200_000;
/** Nothing new for so long: what is missing is lost. Longer than any lease and retry here. */
const quietMs = 110_000;
const pollMs = 100;

export interface WholeRow {
  readonly system: string;
  readonly spansPerSecond: number;
  /** CPU seconds per million spans. */
  readonly receiver: number;
  readonly engine: number;
  readonly memoryBytes: number;
  readonly toQueryableMs: { readonly p50: number; readonly p99: number };
  readonly killed: { readonly acknowledged: number; readonly lost: number; readonly doubled: number };
}

async function clear(engine: EngineSession): Promise<void> {
  await engine.ask("TRUNCATE TABLE otel_traces");
  await engine.ask("TRUNCATE TABLE otel_traces_trace_id_ts");
}

export async function measureWhole(engine: EngineSession, system: System): Promise<WholeRow> {
  await clear(engine);
  const running = await system.start(engine.url);
  let restarted: RunningSystem | undefined;
  try {
    await sendAll(running.target, makeLoad(1, warmRequests, spansEach, Date.now()));
    await waitForRows(engine, warmRequests * spansEach);
    const load = await throughput(engine, running);
    const toQueryableMs = await timeToQueryable(engine, running.target, load.spansPerSecond / 2 / spansEach);
    const memoryBytes = treePeakBytes(running.process.pid);
    await clear(engine);
    const { killed, restart } = await killUnderLoad(engine, system, running);
    restarted = restart;
    const row = { system: system.name, ...load, memoryBytes, toQueryableMs, killed };
    console.log(
      `${system.name.padEnd(30)} | ${(row.spansPerSecond / 1000).toFixed(1)} k spans/s | receiver ${row.receiver.toFixed(1)} | engine ${row.engine.toFixed(1)} CPU s per M | ${(memoryBytes / 1e6).toFixed(0)} MB | 200 to queryable p50 ${(toQueryableMs.p50 / 1000).toFixed(1)} s, p99 ${(toQueryableMs.p99 / 1000).toFixed(1)} s | SIGKILL: of ${killed.acknowledged} spans acknowledged ${killed.lost} lost, ${killed.doubled} doubled`,
    );
    return row;
  } finally {
    await (restarted ?? running).process.stop();
  }
}

async function sendAll(target: Target, bodies: readonly LoadBody[]): Promise<void> {
  const answers = await sendLoad(target, bodies, connections);
  const failed = answers.filter(({ status }) => status !== 200);
  if (failed.length > 0) {
    throw new Error(
      `${failed.length} requests failed with ${[...new Set(failed.map(({ status }) => status))]}`,
    );
  }
}

async function throughput(engine: EngineSession, { target, process }: RunningSystem) {
  await clear(engine);
  const bodies = makeLoad(2, requests, spansEach, Date.now());
  const spans = requests * spansEach;
  const receiverBefore = treeCpuSeconds(process.pid);
  const engineBefore = engine.cpuSeconds();
  const began = performance.now();
  await sendAll(target, bodies);
  await waitForRows(engine, spans);
  const seconds = (performance.now() - began) / 1000;
  return {
    spansPerSecond: spans / seconds,
    receiver: ((treeCpuSeconds(process.pid) - receiverBefore) / spans) * 1e6,
    engine: ((engine.cpuSeconds() - engineBefore) / spans) * 1e6,
  };
}

/** From the answer to the first poll that finds the request's first span, in steps of 100 ms. */
async function timeToQueryable(engine: EngineSession, target: Target, perSecond: number) {
  const bodies = makeLoad(3, latencyRequests, spansEach, Date.now());
  const waiting = new Map<string, number>();
  const times: number[] = [];
  let sending = true;
  const sent = sendLoad(
    target,
    bodies,
    connections,
    ({ body, status, at }) => {
      const [first] = body.spanIds;
      if (status === 200 && first !== undefined) {
        waiting.set(first, at);
      }
    },
    perSecond,
  ).then(() => {
    sending = false;
  });
  const deadline = performance.now() + settleMsMax;
  while ((sending || waiting.size > 0) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    const ids = [...waiting.keys()].map((id) => `'${id}'`).join(", ");
    if (ids !== "") {
      const found = await engine.text(`SELECT SpanId FROM otel_traces WHERE SpanId IN (${ids}) FORMAT TSV`);
      const now = performance.now();
      for (const id of found.split("\n").filter((line) => line !== "")) {
        times.push(now - (waiting.get(id) ?? now));
        waiting.delete(id);
      }
    }
  }
  await sent;
  if (waiting.size > 0) {
    throw new Error(`${waiting.size} requests of ${latencyRequests} never became queryable`);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Kills the system while it takes requests, starts it again, sends what was not acknowledged, as an SDK would. */
async function killUnderLoad(engine: EngineSession, system: System, running: RunningSystem) {
  const bodies = makeLoad(4, killRequests, spansEach, Date.now());
  const timer = setTimeout(() => void running.process.kill(), killAfterMs);
  const first = await sendLoad(running.target, bodies, connections, undefined, killRate);
  clearTimeout(timer);
  await running.process.kill();
  const restart = await system.start(engine.url);
  const again = first.filter(({ status }) => status !== 200).map(({ body }) => body);
  const second = await sendLoad(restart.target, again, connections, undefined, killRate);
  const acknowledged = [...first, ...second].filter(({ status }) => status === 200);
  const killed = await settle(engine, acknowledged);
  return { killed, restart };
}

/** Waits until every acknowledged span is there, or nothing more comes. */
async function settle(engine: EngineSession, acknowledged: readonly Answer[]) {
  const ids = acknowledged.flatMap(({ body }) => body.spanIds);
  const began = performance.now();
  let rows = -1;
  let changedAt = began;
  for (;;) {
    const copies = await copiesOf(engine);
    const lost = ids.filter((id) => !copies.has(id)).length;
    const total = [...copies.values()].reduce((sum, count) => sum + count, 0);
    const now = performance.now();
    if (total !== rows) {
      rows = total;
      changedAt = now;
    }
    // A doubled batch may come after the last missing one: some seconds more.
    const isQuiet = lost === 0 ? now - changedAt > 5_000 : now - changedAt > quietMs;
    if (isQuiet || now - began > settleMsMax) {
      const doubled = ids.filter((id) => (copies.get(id) ?? 0) > 1).length;
      return { acknowledged: ids.length, lost, doubled };
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
