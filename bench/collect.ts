/**
 * `npm run bench -- collect`: workerd's CPU per request with COLLECT off and on, in one run: requests of 100 spans over 32 connections,
 * with Miniflare's R2, KV, queues and Durable Objects in the same process. Two processes, one for each setting, take turns.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { apiKeyName, formatApiKey } from "../shared/api-key.ts";
import { everyTime } from "../shared/id-time.ts";
import { payloadPrefix } from "../shared/payload-key.ts";
import { benchKeyRecord } from "./bench-key.ts";
import { makeCorpus } from "./corpus.ts";
import { median } from "./median.ts";
import { cpuSecondsOf } from "./process-cost.ts";
import { newWorkerdPid } from "./runtimes.ts";

const connections = 32;
const spans = 100;
const requestsPerRound = 1600;
const rounds = 5;
const settings = ["off", "on"] as const;
type Setting = (typeof settings)[number];

interface Ingress {
  readonly setting: Setting;
  /** One round by a tenant of its own: bytes that a tenant has sent before are not stored again. */
  round(number: number): Promise<Round>;
  stop(): Promise<void>;
}

interface Round {
  readonly cpuMicros: number;
  readonly perSecond: number;
  readonly perObject: number;
  readonly medianMs: number;
}

async function startIngress(setting: Setting, code: string): Promise<Ingress> {
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: [{ type: "ESModule", path: "ingress.js", contents: code }],
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      bindings: { ID_TIME_FROM: everyTime, COLLECT: setting },
      kvNamespaces: ["KEYS"],
      r2Buckets: ["PAYLOADS"],
      queueProducers: { OUTCOMES: "bench-outcomes", RING: "bench-ring" },
      durableObjects: {
        METER: { className: "Meter", useSQLite: true },
        COLLECTOR: { className: "Collector", useSQLite: true },
      },
      ratelimits: { UNKNOWN_KEYS: { namespace_id: "1", simple: { limit: 100, period: 60 } } },
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      log: new Log(LogLevel.ERROR),
    }),
  );
  await miniflare.ready;
  const url = new URL("/v1/traces", await miniflare.unsafeGetDirectURL());
  const pid = pidOf();
  const keys = await miniflare.getKVNamespace("KEYS");
  const bucket = await miniflare.getR2Bucket("PAYLOADS");
  return {
    setting,
    async round(number) {
      const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
      await keys.put(await apiKeyName(key), JSON.stringify(benchKeyRecord(`bench-${number}`)));
      const bodies = makeCorpus((Date.now() + number) % 2 ** 31, requestsPerRound, spans).map(
        ({ protobuf }) => gzipSync(protobuf),
      );
      const before = await objectsIn(bucket);
      const [cpu, began] = [cpuSecondsOf(pid), performance.now()];
      const times: number[] = [];
      let next = 0;
      const connection = async (): Promise<void> => {
        for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
          const sentAt = performance.now();
          await send(url, key, body);
          times.push(performance.now() - sentAt);
        }
      };
      await Promise.all(Array.from({ length: connections }, connection));
      const cpuMicros = ((cpuSecondsOf(pid) - cpu) * 1e6) / requestsPerRound;
      const perSecond = requestsPerRound / ((performance.now() - began) / 1000);
      const objects = (await objectsIn(bucket)) - before;
      return { cpuMicros, perSecond, perObject: requestsPerRound / objects, medianMs: median(times) };
    },
    stop: () => miniflare.dispose(),
  };
}

async function send(url: URL, key: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const headers = {
    "content-type": "application/x-protobuf",
    "content-encoding": "gzip",
    "x-api-key": key,
  };
  const response = await fetch(url, { method: "POST", headers, body });
  const text = await response.text();
  if (response.status !== 200) {
    throw new Error(`the ingress answered ${response.status}: ${text}`);
  }
}

type Bucket = Awaited<ReturnType<Miniflare["getR2Bucket"]>>;

async function objectsIn(bucket: Bucket): Promise<number> {
  let count = 0;
  let cursor: string | undefined;
  do {
    const page = await bucket.list({ prefix: payloadPrefix, ...(cursor === undefined ? {} : { cursor }) });
    count += page.objects.length;
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
  return count;
}

/** Prints a line per setting, the ratio, and as the last line the figures as JSON. */
export async function benchCollect(): Promise<void> {
  if (process.platform !== "linux") {
    console.log("Not measured: workerd's CPU time is read from Linux's /proc.");
    return;
  }
  const code = await bundleWorker(join(import.meta.dirname, "..", "workers/ingress/worker.ts"));
  const ingresses: Ingress[] = [];
  try {
    for (const setting of settings) {
      ingresses.push(await startIngress(setting, code));
    }
    const measured: Record<Setting, Round[]> = { off: [], on: [] };
    for (let number = 0; number <= rounds; number++) {
      for (const ingress of ingresses) {
        const round = await ingress.round(number);
        if (number > 0) {
          measured[ingress.setting].push(round); // the first round warms up
        }
      }
    }
    const figures = Object.fromEntries(
      settings.map((setting) => {
        const of = (pick: (round: Round) => number) => median(measured[setting].map(pick));
        return [
          setting,
          {
            cpuMicros: of((round) => round.cpuMicros),
            perSecond: of((round) => round.perSecond),
            perObject: of((round) => round.perObject),
            medianMs: of((round) => round.medianMs),
          },
        ];
      }),
    ) as Record<Setting, Round>;
    for (const [setting, { cpuMicros, perSecond, perObject, medianMs }] of Object.entries(figures)) {
      console.log(
        `COLLECT=${setting.padEnd(3)} ${cpuMicros.toFixed(0)} µs of workerd's CPU per request, ${perObject.toFixed(1)} requests per object, ${perSecond.toFixed(0)} requests per second, ${medianMs.toFixed(1)} ms to the answer (median)`,
      );
    }
    const ratio = figures.off.cpuMicros / figures.on.cpuMicros;
    console.log(
      `COLLECT=on takes ${(1 / ratio).toFixed(2)} of the CPU of COLLECT=off: ${ratio.toFixed(2)} times less (${connections} connections, ${spans} spans per request, medians of ${rounds} rounds that take turns)`,
    );
    console.log(JSON.stringify({ connections, spans, ...figures, ratio }));
  } finally {
    await Promise.all(ingresses.map((ingress) => ingress.stop()));
  }
}
