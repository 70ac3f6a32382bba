/**
 * `npm run bench -- ingress`: CPU of one request to the ingress inside workerd, at 1, 20, 100 and 512 spans per payload.
 *
 * - the code alone (`-- ingress code`: nothing else): the Worker called in a loop, with bindings that answer at once, and
 *   its stations one after another, each the difference of going up to it and up to the one before it. What is left of
 *   the whole request is what no station names.
 * - the whole local process: requests over HTTP, with Miniflare's R2, KV and queues in the same workerd.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { apiKeyName, formatApiKey } from "../shared/api-key.ts";
import { everyTime } from "../shared/id-time.ts";
import { benchKeyRecord } from "./bench-key.ts";
import { corpusStartMs, makeCorpus } from "./corpus.ts";
import { stageNames } from "./ingress-stages.ts";
import { median } from "./median.ts";
import { cpuSecondsOf, threadSecondsOf } from "./process-cost.ts";
import { newWorkerdPid } from "./runtimes.ts";

/** Of the whole process, whose CPU time is counted in hundredths of a second. */
const rounds = 7;
/** Of the code alone, and CPU seconds that a stage takes in each, about. */
const codeRounds = 15;
const roundSeconds = 0.06;
/** CPU seconds of a stage before it is measured: V8 compiles what is called often. */
const warmUpSeconds = 0.5;
const wholeRequest = "whole request";
const measured = [...stageNames, wholeRequest] as const;
/** Spans per payload, and payloads a round of the whole process. */
const sizes = [
  [1, 200],
  [20, 150],
  [100, 100],
  [512, 40],
] as const;

const root = join(import.meta.dirname, "..");

/** Microseconds of CPU a request up to each stage, by stage and size. */
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
      const before = threadSecondsOf(pid);
      await ask(`/run?${new URLSearchParams({ stage, times: String(times) })}`);
      return threadSecondsOf(pid) - before;
    };
    const results: Record<string, Record<string, number>> = {};
    for (const [spans] of sizes) {
      const [payload] = makeCorpus(1, 1, spans);
      await ask(`/body?now=${corpusStartMs + 3_600_000}`, gzipSync(payload?.protobuf ?? ""));
      const times = new Map<string, number>();
      for (const stage of measured) {
        let count = 64;
        let seconds = 0;
        for (; seconds < warmUpSeconds; count *= 2) {
          seconds = await run(stage, count);
        }
        times.set(stage, Math.max(1, Math.round(((count / 2) * roundSeconds) / seconds)));
      }
      const micros = new Map<string, number[]>(measured.map((stage) => [stage, []]));
      for (let round = 0; round < codeRounds; round++) {
        for (const stage of measured) {
          const count = times.get(stage) ?? 1;
          micros.get(stage)?.push(((await run(stage, count)) * 1e6) / count);
        }
      }
      results[spans] = Object.fromEntries(measured.map((stage) => [stage, median(micros.get(stage) ?? [])]));
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
      bindings: { ID_TIME_FROM: everyTime, COLLECT: "off" },
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
        const record = benchKeyRecord(`bench-${spans}-${round}`);
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
        `${spans} spans per payload: ${results[spans].toFixed(0)} µs per request of the whole local process`,
      );
    }
    return results;
  } finally {
    await miniflare.dispose();
  }
}

/** Runs the benchmark, or its part `code`, and prints a table and, as the last line, the figures as JSON. */
export async function benchIngress(part?: string): Promise<void> {
  if (process.platform !== "linux") {
    console.log("Not measured: workerd's CPU time is read from Linux's /proc.");
    return;
  }
  const whole = part === "code" ? undefined : await measureProcess();
  const upTo = await measureCode();
  console.log(`µs of CPU a request inside workerd, medians of ${codeRounds} interleaved rounds`);
  const columns = sizes.map(([spans]) => {
    const at = upTo[spans] ?? {};
    const costs = stageNames.map((stage, i) => (at[stage] ?? 0) - (at[stageNames[i - 1] ?? ""] ?? 0));
    const request = at[wholeRequest] ?? 0;
    const unnamed = request - costs.reduce((sum, cost) => sum + cost, 0);
    return [
      ...costs,
      unnamed,
      request,
      request - (costs[0] ?? 0),
      ...(whole === undefined ? [] : [whole[spans] ?? 0]),
    ];
  });
  const rows = [
    ...stageNames,
    "not named",
    wholeRequest,
    "that without its making",
    ...(whole === undefined ? [] : ["whole process"]),
  ];
  const printRow = (name: string, cells: readonly string[]): void =>
    console.log([name.padEnd(24), ...cells.map((cell) => cell.padStart(10))].join(" | "));
  printRow(
    "",
    sizes.map(([spans]) => `${spans} spans`),
  );
  for (const [i, name] of rows.entries()) {
    printRow(
      name,
      columns.map((costs) => (costs[i] ?? 0).toFixed(1)),
    );
  }
  console.log(
    JSON.stringify({ unit: "µs of CPU a request", codeAloneUpTo: upTo, wholeLocalProcess: whole ?? null }),
  );
}
