/**
 * `npm run bench -- ingress`: CPU of one request to the ingress inside workerd, at 1, 100 and 512 spans a payload.
 *
 * - the code alone: the Worker called in a loop, with bindings that answer at once, and its stages one by one. What a
 *   stage does not name (routing, put, doorbell, answer) is the rest of the whole request.
 * - the whole local process: requests over HTTP, with Miniflare's R2, KV and queues in the same workerd.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { apiKeyName, formatApiKey } from "../shared/api-key.ts";
import { corpusStartMs, makeCorpus } from "./corpus.ts";
import { median } from "./median.ts";
import { cpuSecondsOf } from "./process-cost.ts";
import { newWorkerdPid } from "./runtimes.ts";

const rounds = 7;
/** CPU seconds a stage and round, about. */
const roundSeconds = 0.15;
const stageNames = [
  "make the request",
  "read body",
  "inflate",
  "authenticate",
  "check",
  "hash",
  "whole request",
] as const;
/** Spans a payload, and payloads a round of the whole process. */
const sizes = [
  [1, 200],
  [100, 100],
  [512, 40],
] as const;

const root = join(import.meta.dirname, "..");

/** Microseconds of CPU a request, by stage and size. */
async function measureCode(): Promise<Record<string, Record<string, number>>> {
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: [
        {
          type: "ESModule",
          path: "bench.js",
          contents: await bundleWorker(join(import.meta.dirname, "ingress-worker.ts")),
        },
        {
          type: "ESModule",
          path: "ingress.js",
          contents: await bundleWorker(join(root, "workers/ingress/worker.ts")),
        },
      ],
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      log: new Log(LogLevel.ERROR),
    }),
  );
  try {
    const url = await miniflare.ready;
    const pid = pidOf();
    const ask = async (path: string, body?: Uint8Array<ArrayBuffer>): Promise<void> => {
      const response = await fetch(new URL(path, url), body === undefined ? {} : { method: "POST", body });
      const text = await response.text();
      if (!response.ok) {
        throw new Error(`workerd answered ${response.status}: ${text}`);
      }
    };
    const run = async (stage: string, times: number): Promise<number> => {
      const before = cpuSecondsOf(pid);
      await ask(`/run?${new URLSearchParams({ stage, times: String(times) })}`);
      return cpuSecondsOf(pid) - before;
    };
    const results: Record<string, Record<string, number>> = {};
    for (const [spans] of sizes) {
      const [payload] = makeCorpus(1, 1, spans);
      await ask(`/body?now=${corpusStartMs + 3_600_000}`, gzipSync(payload?.protobuf ?? ""));
      const times = new Map<string, number>();
      for (const stage of stageNames) {
        let count = 64;
        let seconds = 0;
        for (; seconds < roundSeconds; count *= 2) {
          seconds = await run(stage, count);
        }
        times.set(stage, Math.max(1, Math.round(((count / 2) * roundSeconds) / seconds)));
      }
      const micros = new Map<string, number[]>(stageNames.map((stage) => [stage, []]));
      for (let round = 0; round < rounds; round++) {
        for (const stage of stageNames) {
          const count = times.get(stage) ?? 1;
          micros.get(stage)?.push(((await run(stage, count)) * 1e6) / count);
        }
      }
      results[spans] = Object.fromEntries(
        stageNames.map((stage) => [stage, median(micros.get(stage) ?? [])]),
      );
    }
    return results;
  } finally {
    await miniflare.dispose();
  }
}

/** Microseconds of CPU a request of the whole local process, by size. */
async function measureProcess(): Promise<Record<string, number>> {
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: [
        {
          type: "ESModule",
          path: "ingress.js",
          contents: await bundleWorker(join(root, "workers/ingress/worker.ts")),
        },
      ],
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      kvNamespaces: ["KEYS"],
      r2Buckets: ["PAYLOADS"],
      queueProducers: { OUTCOMES: "bench-outcomes", RING: "bench-ring" },
      durableObjects: { METER: { className: "Meter", useSQLite: true } },
      ratelimits: { UNKNOWN_KEYS: { namespace_id: "1", simple: { limit: 100, period: 60 } } },
      log: new Log(LogLevel.ERROR),
    }),
  );
  try {
    const url = new URL("/v1/traces", await miniflare.ready);
    const pid = pidOf();
    const keys = await miniflare.getKVNamespace("KEYS");
    const results: Record<string, number> = {};
    for (const [spans, payloads] of sizes) {
      const bodies = makeCorpus(Date.now() % 2 ** 31, payloads, spans).map(({ protobuf }) =>
        gzipSync(protobuf),
      );
      const micros: number[] = [];
      // A tenant a round: bytes that a tenant has sent before are not stored again. The first round warms up.
      for (let round = 0; round <= rounds; round++) {
        const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
        const record = {
          tenant: `bench-${spans}-${round}`,
          name: "bench",
          status: "active",
          spansPerSecond: null,
          burstSpans: null,
          spansPerMonth: null,
          origins: [],
          sample: 1,
        };
        await keys.put(await apiKeyName(key), JSON.stringify(record));
        const before = cpuSecondsOf(pid);
        for (const body of bodies) {
          const response = await fetch(url, {
            method: "POST",
            headers: {
              "content-type": "application/x-protobuf",
              "content-encoding": "gzip",
              "x-api-key": key,
            },
            body,
          });
          const text = await response.text();
          if (response.status !== 200) {
            throw new Error(`the ingress answered ${response.status}: ${text}`);
          }
        }
        if (round > 0) {
          micros.push(((cpuSecondsOf(pid) - before) * 1e6) / payloads);
        }
      }
      results[spans] = median(micros);
      console.log(
        `${spans} spans a payload: ${results[spans].toFixed(0)} µs a request of the whole local process`,
      );
    }
    return results;
  } finally {
    await miniflare.dispose();
  }
}

/** Runs the benchmark and prints a table and, as the last line, the figures as JSON. */
export async function benchIngress(): Promise<void> {
  if (process.platform !== "linux") {
    console.log("Not measured: workerd's CPU time is read from Linux's /proc.");
    return;
  }
  const whole = await measureProcess();
  const code = await measureCode();
  console.log(`µs of CPU a request inside workerd, medians of ${rounds} interleaved rounds`);
  const header = ["spans a payload", ...stageNames, "whole process", "whole request by span"];
  const printRow = (cells: readonly string[]): void =>
    console.log(cells.map((cell, i) => cell.padStart(header[i]?.length ?? 0)).join(" | "));
  printRow(header);
  for (const [spans] of sizes) {
    const stages = code[spans] ?? {};
    const cells = stageNames.map((stage) => (stages[stage] ?? 0).toFixed(1));
    const request = stages["whole request"] ?? 0;
    printRow([String(spans), ...cells, (whole[spans] ?? 0).toFixed(0), (request / spans).toFixed(2)]);
  }
  console.log(JSON.stringify({ unit: "µs of CPU a request", codeAlone: code, wholeLocalProcess: whole }));
}
