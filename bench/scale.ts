/**
 * `npm run bench -- scale [ids]`: what a payload costs the ledger while the ids that it remembers grow from 10^4 to
 * 10^7 (or `ids`), in workerd with its SQLite on disk; how large an id is; and from both the capacity of a lane.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { limits } from "../shared/limits.ts";
import { cpuSecondsOf } from "./process-cost.ts";
import { newWorkerdPid } from "./runtimes.ts";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const cyclePayloads = 100;
const cycleSpans = 10_000;
/** Calls of one cycle each, whose times make the percentiles; not more than as many ids again. */
const samplesMax = 1000;

interface Line {
  readonly ids: number;
  readonly bytesAnId: number;
  /** µs of workerd's CPU (Worker, SQLite and its writes) a span, at 100 spans per payload. */
  readonly cpuUsASpan: number;
  readonly cpuUsAPayload: number;
  /** ms of one claim + report + receipted of a hundred payloads, a call's own time taken off. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function benchScale(ids = "10000000"): Promise<void> {
  const idsMax = Number(ids);
  const folder = mkdtempSync(join(tmpdir(), "headrace-scale-"));
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  const contents = await bundleWorker(join(root, "bench/scale/worker.ts"));
  const options = convertV4MiniflareOptions({
    resourcePersistencePath: folder,
    workers: [
      {
        name: "scale",
        modules: [{ type: "ESModule", path: "scale.js", contents }],
        compatibilityDate: "2026-11-02",
        compatibilityFlags: ["nodejs_compat"],
        durableObjects: { LEDGER: { className: "BenchLedger", useSQLite: true } },
      },
    ],
  });
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(options);
  try {
    const url = await miniflare.ready;
    const pid = pidOf();
    const call = async (path: string): Promise<number> => {
      const start = performance.now();
      const response = await fetch(new URL(path, url));
      const text = await response.text();
      if (!response.ok) {
        throw new Error(text);
      }
      return performance.now() - start;
    };
    const counts = async (): Promise<{ remembered: number; databaseBytes: number }> =>
      (await fetch(new URL("/counts", url))).json() as Promise<{
        remembered: number;
        databaseBytes: number;
      }>;
    await call("/cycle?cycles=100");
    const lines: Line[] = [];
    for (let ids = 10_000; ids <= idsMax; ids *= 10) {
      for (let have = (await counts()).remembered; have < ids; have += 100 * cyclePayloads) {
        await call(`/cycle?cycles=${Math.min(100, Math.ceil((ids - have) / cyclePayloads))}`);
      }
      lines.push(await measure(pid, call, counts));
      console.log(JSON.stringify(lines.at(-1)));
    }
    report(lines);
  } finally {
    await miniflare.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  pid: number,
  call: (path: string) => Promise<number>,
  counts: () => Promise<{ remembered: number; databaseBytes: number }>,
): Promise<Line> {
  const { remembered, databaseBytes } = await counts();
  // A long call, so that the calls themselves hardly count; and first, since what follows adds ids.
  const cycles = 100;
  const before = cpuSecondsOf(pid);
  await call(`/cycle?cycles=${cycles}`);
  const cpuUs = ((cpuSecondsOf(pid) - before) * 1e6) / cycles;
  const empty: number[] = [];
  const times: number[] = [];
  for (let i = 0; i < Math.min(samplesMax, remembered / cyclePayloads); i++) {
    empty.push(await call("/nothing"));
    times.push(await call("/cycle?cycles=1"));
  }
  const callMs = percentile(empty, 0.5);
  return {
    ids: remembered,
    bytesAnId: round(databaseBytes / remembered, 1),
    cpuUsASpan: round(cpuUs / cycleSpans, 4),
    cpuUsAPayload: round(cpuUs / cyclePayloads, 1),
    p50Ms: round(percentile(times, 0.5) - callMs, 2),
    p99Ms: round(percentile(times, 0.99) - callMs, 2),
  };
}

function report(lines: readonly Line[]): void {
  console.table(lines);
  const last = lines.at(-1);
  const first = lines[0];
  if (last === undefined || first === undefined) {
    return;
  }
  const idsMax = limits.ledgerDatabaseBytesMax / last.bytesAnId;
  const capacity = {
    // Full memory: more ids than this, and the oldest are forgotten before their time (safe, slower).
    payloadsASecondByMemory: Math.floor(idsMax / (limits.ledgerMemoryMs / 1000)),
    // One Durable Object computes on one thread.
    payloadsASecondByCpu: Math.floor(1e6 / last.cpuUsAPayload),
    cpuGrowth: round(last.cpuUsAPayload / first.cpuUsAPayload, 2),
  };
  console.log(JSON.stringify({ benchmark: "scale", lines, capacity }));
}

function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
