/**
 * The three Workers and the stand-ins for Cloudflare in one workerd: Miniflare's R2, KV, queues and Durable Objects, with
 * their state on disk. (Miniflare keeps queues in memory: a restart loses doorbells, which is what the reconciler is for.)
 */
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { assert } from "../shared/assert.ts";
import type { PreparedWorker, PreparedWorkers } from "./prepare-workers.ts";
import type { DevSettings } from "./settings.ts";
import { type Environment, lateQueue, ringQueue, standInsName, workerNames } from "./worker-names.ts";

export interface WorkersOptions {
  readonly prepared: PreparedWorkers;
  readonly statePath: string;
  readonly ports: { readonly ingress: number; readonly console: number };
  /** Variables and secrets that take the place of wrangler.toml's, for the Workers that reach ClickHouse. */
  readonly clickHouse: Readonly<Record<string, string>>;
  readonly settings: Pick<DevSettings, "alertWebhook" | "collect" | "ledgerTimesFaster">;
  /** The ingress's ID_TIME_FROM. */
  readonly idTimeFrom: string;
  /** How late R2's events are. */
  readonly eventDelaySeconds: number;
  /** False: the ingress's doorbells go into a queue that nobody consumes. */
  readonly doorbells: boolean;
  readonly adminToken: string;
  readonly onLog: (level: string, message: string) => void;
}

/**
 * Its access to buckets, queues and Workers (`getR2Bucket`, …) blocks the thread until workerd answers, which workerd may not
 * do while its log is full: for tests, never for the pipeline itself.
 */
export type Workers = Miniflare;

/** Takes the place of the ring's queue where doorbells are switched off: nobody consumes it. */
const unheardQueue = "headrace-unheard";

/** Resolves when the Workers answer requests, with the stand-ins' address. */
export async function startWorkers(options: WorkersOptions) {
  const workers = new Miniflare(miniflareOptions(options));
  await workers.ready;
  const { origin } = await workers.unsafeGetDirectURL(standInsName);
  return { workers, standIns: { url: origin, token: options.adminToken } };
}

/** Miniflare's own messages, to the log and never to the terminal. */
class MiniflareLog extends Log {
  readonly #onLog: WorkersOptions["onLog"];

  constructor(onLog: WorkersOptions["onLog"]) {
    super(LogLevel.ERROR);
    this.#onLog = onLog;
  }

  protected override log(message: string): void {
    this.#onLog("error", message);
  }
}

function workerOf(
  environment: Environment,
  { options, code }: PreparedWorker,
  variables: Readonly<Record<string, string>>,
) {
  return {
    ...options,
    cacheAPI: false, // nobody uses it, and it is an isolate per Worker
    name: workerNames[environment],
    modules: [{ type: "ESModule" as const, path: `${environment}.js`, contents: code }],
    bindings: { ...options.bindings, ...variables },
  };
}

/** Its bindings go where the ingress's and the consumer's of the same name go. */
function standInsOf({ prepared, adminToken, eventDelaySeconds }: WorkersOptions) {
  const { KEYS: keys } = prepared.ingress.options.kvNamespaces;
  const { PAYLOADS: payloads } = prepared.consumer.options.r2Buckets;
  assert(keys !== undefined && payloads !== undefined, "wrangler.toml has the bindings KEYS and PAYLOADS");
  return {
    name: standInsName,
    cacheAPI: false,
    compatibilityDate: "2026-11-02",
    compatibilityFlags: ["service_binding_extra_handlers"], // `scheduled` of a service
    modules: [{ type: "ESModule" as const, path: "stand-ins.js", contents: prepared.standIns.code }],
    bindings: {
      ADMIN_TOKEN: adminToken,
      BUCKET_NAME: payloads.id,
      EVENT_DELAY_SECONDS: String(eventDelaySeconds),
    },
    kvNamespaces: { KEYS: keys },
    r2Buckets: { PAYLOADS: payloads },
    queueProducers: { RING: { queueName: ringQueue }, EVENTS: { queueName: lateQueue } },
    serviceBindings: { CONSUMER: { name: workerNames.consumer } },
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  };
}

function miniflareOptions(options: WorkersOptions) {
  const { prepared, statePath, ports, clickHouse, settings, doorbells, adminToken, onLog } = options;
  const { alertWebhook, collect, ledgerTimesFaster } = settings;
  // Without it Miniflare asks Cloudflare's network for a `request.cf` object, and prints a stack trace offline.
  process.env["CLOUDFLARE_CF_FETCH_ENABLED"] = "false";
  const ingress = workerOf("ingress", prepared.ingress, {
    ID_TIME_FROM: options.idTimeFrom,
    ...collect,
  });
  const durations = ledgerTimesFaster === undefined ? {} : { LEDGER_TIMES_FASTER: ledgerTimesFaster };
  const consumer = workerOf("consumer", prepared.consumer, {
    ...clickHouse,
    ...durations,
    CONSOLE_URL: `http://127.0.0.1:${ports.console}`,
    ...(alertWebhook === undefined ? {} : { ALERT_WEBHOOK: alertWebhook }),
  });
  const console = workerOf("console", prepared.console, {
    ...clickHouse,
    ...durations,
    ADMIN_TOKEN: adminToken,
    OTLP_ENDPOINT: `http://127.0.0.1:${ports.ingress}`,
  });
  return convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: 0, // nobody asks Miniflare's own entry, which takes twice what an empty request of the ingress does
    log: new MiniflareLog(onLog),
    logRequests: false,
    resourcePersistencePath: statePath,
    handleStructuredLogs: ({ level, message }) => onLog(level, message),
    workers: [
      {
        ...ingress,
        ...(doorbells
          ? {}
          : { queueProducers: { ...ingress.queueProducers, RING: { queueName: unheardQueue } } }),
        unsafeDirectSockets: [{ host: "127.0.0.1", port: ports.ingress }],
      },
      // EVENTS: tests send R2's events of their own through it.
      { ...consumer, queueProducers: { ...consumer.queueProducers, EVENTS: { queueName: lateQueue } } },
      { ...console, unsafeDirectSockets: [{ host: "127.0.0.1", port: ports.console }] },
      standInsOf(options),
    ],
  });
}
