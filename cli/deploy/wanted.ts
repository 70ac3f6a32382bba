/** What an installation needs in the account, from the Workers' configurations and shared/limits.ts. Pure. */
import { assert } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import type { StageWorker } from "./stage-config.ts";

/** The notification rule's: every lane and signal of payloads, and nothing else in the bucket. */
export const rulePrefix = "p/0/";
export const lifecycleRule = "headrace-backstop";

export interface WantedQueue {
  readonly name: string;
  readonly delaySeconds: number;
  readonly retentionSeconds: number;
  /** The Worker that takes its messages. */
  readonly consumer: string;
  readonly deadLetters: string | undefined;
}

export interface WantedWorker {
  readonly worker: StageWorker;
  /** Secrets that it does not work without, and those that it takes where they are given. */
  readonly secrets: readonly string[];
  readonly secretsIfGiven: readonly string[];
}

export interface Wanted {
  readonly bucket: string;
  readonly expireDays: number;
  readonly namespace: string;
  /** Dead-letter queues first: the others name them. */
  readonly queues: readonly WantedQueue[];
  /** Of R2's events about payloads that came to be. */
  readonly lateQueue: string;
  readonly workers: readonly WantedWorker[];
}

/** The secrets of each environment; their values never stand in a configuration or on a command line. */
const secrets: Readonly<Record<string, Pick<WantedWorker, "secrets" | "secretsIfGiven">>> = {
  ingress: { secrets: [], secretsIfGiven: [] },
  consumer: { secrets: ["CLICKHOUSE_PASSWORD"], secretsIfGiven: ["ALERT_WEBHOOK", "ZONE_ANALYTICS_TOKEN"] },
  console: { secrets: ["CLICKHOUSE_PASSWORD", "ADMIN_TOKEN"], secretsIfGiven: ["METRICS_TOKEN"] },
};

export function wantedOf(workers: readonly StageWorker[]): Wanted {
  const consumed = workers.flatMap(({ name, config }) =>
    (config.queues.consumers ?? []).map((queue) => ({ ...queue, consumer: name })),
  );
  const produced = new Set(
    workers.flatMap(({ config }) => (config.queues.producers ?? []).map(({ queue }) => queue)),
  );
  const deadLetters = new Set(consumed.flatMap(({ dead_letter_queue }) => dead_letter_queue ?? []));
  const late = consumed.filter(({ queue }) => !produced.has(queue) && !deadLetters.has(queue));
  const [lateQueue] = late;
  assert(late.length === 1 && lateQueue !== undefined, "one queue is filled by R2's events");
  return {
    bucket: only(workers.flatMap(({ config }) => config.r2_buckets.map(({ bucket_name }) => bucket_name))),
    expireDays: limits.r2BackstopDays,
    namespace: only(workers.flatMap(({ config }) => config.kv_namespaces.map(({ id }) => id))),
    queues: consumed
      .map(({ queue, consumer, dead_letter_queue }) => ({
        name: queue,
        delaySeconds: queue === lateQueue.queue ? limits.lateDelaySeconds : 0,
        retentionSeconds: limits.queueRetentionSeconds,
        consumer,
        deadLetters: dead_letter_queue,
      }))
      .toSorted((a, b) => Number(a.deadLetters !== undefined) - Number(b.deadLetters !== undefined)),
    lateQueue: lateQueue.queue,
    workers: workers.map((worker) => {
      const own = secrets[worker.environment];
      assert(own !== undefined, `the secrets of ${worker.environment} are known`);
      return { worker, ...own };
    }),
  };
}

function only(names: readonly string[]): string {
  const [name, ...others] = new Set(names);
  assert(name !== undefined && others.length === 0, `the Workers share one: ${names.join(", ")}`);
  return name;
}
