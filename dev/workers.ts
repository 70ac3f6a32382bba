/**
 * The three Workers in one workerd, from wrangler.toml: Miniflare's R2, KV, queues and Durable Objects, with their
 * state on disk. (Miniflare keeps queues in memory: a restart loses doorbells, which is what the reconciler is for.)
 */
import { resolve } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import * as v from "valibot";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { buildPage } from "./build-page.ts";
import { bundleWorker } from "./bundle.ts";

export interface WorkersOptions {
  /** Absolute path of the repository's root, where wrangler.toml lies. */
  readonly root: string;
  readonly statePath: string;
  readonly ports: { readonly ingress: number; readonly console: number };
  /** Variables and secrets that take the place of wrangler.toml's, for the Workers that reach ClickHouse. */
  readonly clickHouse: Readonly<Record<string, string>>;
  readonly ledgerTimesFaster: string | undefined;
  /** False: the ingress's doorbells go into a queue that nobody consumes. */
  readonly doorbells: boolean;
  readonly adminToken: string;
  readonly onLog: (level: string, message: string) => void;
}

export type Workers = Miniflare;

export const workerNames = {
  ingress: "headrace-ingress",
  consumer: "headrace-consumer",
  console: "headrace-console",
} as const;

/** The queue of the second ring, that R2 event notifications go to. */
export const lateQueue = "headrace-late";

/** Takes the place of the ring's queue where doorbells are switched off: nobody consumes it. */
const unheardQueue = "headrace-unheard";

/** Resolves when the Workers answer requests. */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const workers = new Miniflare(await miniflareOptions(options));
  await workers.ready;
  return workers;
}

/** What wrangler makes of one environment of wrangler.toml, as far as it is changed here. */
const workerOptionsSchema = v.looseObject({
  bindings: v.optional(v.record(v.string(), v.string()), {}),
  queueProducers: v.optional(v.record(v.string(), v.looseObject({ queueName: v.string() })), {}),
});

type Environment = keyof typeof workerNames;

async function workerOf(root: string, environment: Environment, variables: Readonly<Record<string, string>>) {
  const { workerOptions, main } = unstable_getMiniflareWorkerOptions(
    resolve(root, "wrangler.toml"),
    environment,
  );
  const { modulesRules: _rules, rootPath: _rootPath, ...given } = workerOptions; // Miniflare 5 refuses both
  const options = v.parse(workerOptionsSchema, given);
  const entry = resolve(root, main ?? `workers/${environment}/worker.ts`);
  return {
    ...options,
    name: workerNames[environment],
    modules: [{ type: "ESModule" as const, path: `${environment}.js`, contents: await bundleWorker(entry) }],
    bindings: { ...options.bindings, ...variables },
  };
}

async function miniflareOptions(options: WorkersOptions) {
  const { root, statePath, ports, clickHouse, ledgerTimesFaster, doorbells, adminToken, onLog } = options;
  // Without it Miniflare asks Cloudflare's network for a `request.cf` object, and prints a stack trace offline.
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  process.env["WRANGLER_SEND_METRICS"] = "false";
  await buildPage(root);
  const [ingress, consumer, console] = await Promise.all([
    workerOf(root, "ingress", {}),
    workerOf(root, "consumer", {
      ...clickHouse,
      ...(ledgerTimesFaster === undefined ? {} : { LEDGER_TIMES_FASTER: ledgerTimesFaster }),
    }),
    workerOf(root, "console", {
      ...clickHouse,
      ADMIN_TOKEN: adminToken,
      OTLP_ENDPOINT: `http://127.0.0.1:${ports.ingress}`,
    }),
  ]);
  return convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: ports.ingress,
    log: new Log(LogLevel.ERROR, { prefix: "headrace" }),
    resourcePersistencePath: statePath,
    handleStructuredLogs: ({ level, message }) => onLog(level, message),
    workers: [
      // The first one serves the port.
      doorbells
        ? ingress
        : { ...ingress, queueProducers: { ...ingress.queueProducers, RING: { queueName: unheardQueue } } },
      // EVENTS: what Cloudflare itself sends to the second ring's queue; the stand-in sends it through this binding.
      { ...consumer, queueProducers: { ...consumer.queueProducers, EVENTS: { queueName: lateQueue } } },
      { ...console, unsafeDirectSockets: [{ host: "127.0.0.1", port: ports.console }] },
    ],
  });
}
