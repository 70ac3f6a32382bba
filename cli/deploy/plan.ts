/**
 * The plan of a deployment: what is missing or different, in an order that can be cut off anywhere and begun again.
 * Pure: what is wanted and what is there, in; steps and what is as planned, out.
 *
 * wrangler shows no queue's delay and retention, and no Worker's code. So each Worker is deployed with a tag that is the
 * hash of everything which its deployment stands for (its configuration, its sources, the queues' settings), and only
 * after everything before it was done: a deployed version with the right tag is the proof (decision 0071).
 */
import { isLateFile } from "../../shared/clickhouse/migrations.ts";
import type { Present, PresentRule } from "./present.ts";
import { lifecycleRule, rulePrefix, type Wanted, type WantedQueue, type WantedWorker } from "./wanted.ts";

export interface Step {
  readonly kind:
    | "bucket"
    | "lifecycle"
    | "queue"
    | "namespace"
    | "schema"
    | "secrets"
    | "worker"
    | "rule"
    | "schema_end";
  /** `create queue headrace-ring` */
  readonly what: string;
  /** What it does and why it is there, for the person who reads the plan. */
  readonly does: string;
  /** wrangler's arguments; empty where it is not wrangler that does it. */
  readonly argv: readonly string[];
  /** Names of secrets whose values are written to its standard input, as one JSON object. */
  readonly secrets: readonly string[];
  /** Whose they are: `consumer`, `console`. */
  readonly secretsOf?: string;
  /** The environment whose configuration and tag it takes when it runs. */
  readonly environment: string | undefined;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** What is there as planned, for the person who reads the plan. */
  readonly asPlanned: readonly string[];
  /** Why nothing may be done; empty: it may. */
  readonly conflicts: readonly string[];
}

export interface PlanOptions {
  /** The tag that a Worker of this configuration has. Undefined where its KV namespace is still to be made. */
  readonly tagOf: (worker: WantedWorker) => string | undefined;
  /** Secrets that were given: they are set where the Worker has none of that name, or everywhere with `setSecrets`. */
  readonly given: ReadonlySet<string>;
  readonly setSecrets: boolean;
}

export function planDeployment(wanted: Wanted, present: Present, options: PlanOptions): Plan {
  const steps: Step[] = [];
  const asPlanned: string[] = [];
  const conflicts: string[] = [];
  const add: Add = (kind, what, does, argv) => {
    steps.push({ kind, what, does, argv, secrets: [], environment: undefined });
  };

  planStores(wanted, present, add, asPlanned);
  planQueues(wanted, present, options, add, asPlanned);

  // --- ClickHouse, before the Workers that write to it
  const early = present.migrations.filter((name) => !isLateFile(name));
  if (present.migrations.length === 0) {
    asPlanned.push("ClickHouse's schema");
  }
  if (early.length > 0) {
    add(
      "schema",
      `apply ${early.join(", ")}`,
      "Tables, views and settings in ClickHouse; each file is applied once and may be repeated.",
      [],
    );
  }

  // --- Workers, in an order in which each finds what it is bound to; the rule before the ingress takes anything
  for (const worker of wanted.workers) {
    if (worker.worker.environment === "ingress") {
      planRule(wanted, present, add, asPlanned, conflicts);
    }
    const own = planWorker(worker, wanted, present, options);
    steps.push(...own);
    if (own.length === 0) {
      asPlanned.push(`Worker ${worker.worker.name}`);
    }
  }

  // --- What only Workers of an earlier version ask
  const late = present.migrations.filter(isLateFile);
  if (late.length > 0) {
    add(
      "schema_end",
      `apply ${late.join(", ")}`,
      "Takes away what the Workers asked of ClickHouse before this version.",
      [],
    );
  }
  return { steps, asPlanned, conflicts };
}

/** Adds a step to the plan. */
type Add = (kind: Step["kind"], what: string, does: string, argv: readonly string[]) => void;

/** What holds data: the bucket with its lifecycle rule, and the KV namespace. */
function planStores(wanted: Wanted, present: Present, add: Add, asPlanned: string[]): void {
  if (present.hasBucket) {
    asPlanned.push(`bucket ${wanted.bucket}`);
  } else {
    add(
      "bucket",
      `create bucket ${wanted.bucket}`,
      "Holds every accepted payload until seven days after it was stored: the log of the pipeline.",
      ["r2", "bucket", "create", wanted.bucket],
    );
  }
  if (present.hasBucket && present.hasLifecycleRule) {
    asPlanned.push(`lifecycle rule ${lifecycleRule}`);
  } else {
    add(
      "lifecycle",
      `add lifecycle rule ${lifecycleRule}`,
      `A backstop: payloads older than ${wanted.expireDays} days are deleted, should nothing else have done so.`,
      [
        "r2",
        "bucket",
        "lifecycle",
        "add",
        wanted.bucket,
        lifecycleRule,
        rulePrefix,
        "--expire-days",
        String(wanted.expireDays),
        "--force",
      ],
    );
  }
  if (present.namespaceId !== undefined) {
    asPlanned.push(`KV namespace ${wanted.namespace}`);
  } else {
    add("namespace", `create KV namespace ${wanted.namespace}`, "Holds API keys, as hashes.", [
      "kv",
      "namespace",
      "create",
      wanted.namespace,
    ]);
  }
}

/** The queues' settings are proven by the consumer's tag, or set again: setting them changes nothing else. */
function planQueues(
  wanted: Wanted,
  present: Present,
  options: PlanOptions,
  add: Add,
  asPlanned: string[],
): void {
  for (const queue of wanted.queues) {
    const consumer = wanted.workers.find(({ worker }) => worker.name === queue.consumer);
    const isProven = consumer !== undefined && hasTag(consumer, present, options);
    if (!present.queues.has(queue.name)) {
      add("queue", `create queue ${queue.name}`, queueText(queue, wanted), [
        "queues",
        "create",
        queue.name,
        ...queueSettings(queue),
      ]);
    } else if (isProven) {
      asPlanned.push(`queue ${queue.name}`);
    } else {
      add("queue", `set queue ${queue.name}`, queueText(queue, wanted), [
        "queues",
        "update",
        queue.name,
        ...queueSettings(queue),
      ]);
    }
  }
}

function hasTag(worker: WantedWorker, present: Present, { tagOf }: PlanOptions): boolean {
  const tag = tagOf(worker);
  return tag !== undefined && present.workers.get(worker.worker.name)?.tag === tag;
}

function planWorker(
  wanted: WantedWorker,
  { queues }: Wanted,
  present: Present,
  options: PlanOptions,
): readonly Step[] {
  const { name, environment } = wanted.worker;
  const there = present.workers.get(name);
  const has = new Set(there?.secrets ?? []);
  const secrets = [
    ...wanted.secrets.filter((secret) => !has.has(secret) || options.setSecrets),
    ...wanted.secretsIfGiven.filter(
      (secret) => options.given.has(secret) && (!has.has(secret) || options.setSecrets),
    ),
  ];
  const steps: Step[] = [];
  if (secrets.length > 0) {
    steps.push({
      kind: "secrets",
      what: `set ${secrets.join(" and ")} of ${name}`,
      does: "Passed on standard input: no value appears on a command line, in a file or in this plan.",
      argv: ["secret", "bulk", "--name", name],
      secrets,
      secretsOf: environment,
      environment: undefined,
    });
  }
  // A queue that was made anew has lost its consumer, and a secret makes a version without a tag.
  const isAttached = queues
    .filter(({ consumer }) => consumer === name)
    .every((queue) =>
      present.queues.get(queue.name)?.consumers.some((consumer) => consumer.endsWith(`:${name}`)),
    );
  if (secrets.length > 0 || !isAttached || !hasTag(wanted, present, options)) {
    steps.push({
      kind: "worker",
      what: `deploy Worker ${name}`,
      does: workerTexts[environment] ?? "",
      argv: ["deploy"],
      secrets: [],
      environment,
    });
  }
  return steps;
}

const workerTexts: Readonly<Record<string, string>> = {
  ingress: "Receives OTLP from the internet and puts it into the bucket.",
  consumer: "Inserts payloads into ClickHouse, with a cron each minute, queues and the ledger.",
  console: "The operator's page and API, behind the admin token.",
};

function queueSettings({ delaySeconds, retentionSeconds }: WantedQueue): readonly string[] {
  return [
    "--delivery-delay-secs",
    String(delaySeconds),
    "--message-retention-period-secs",
    String(retentionSeconds),
  ];
}

function queueText(queue: WantedQueue, { lateQueue }: Wanted): string {
  const days = queue.retentionSeconds / 86_400;
  const what =
    queue.name === lateQueue
      ? `R2's events about new payloads, ${queue.delaySeconds / 60} minutes late: the second ring.`
      : queue.deadLetters === undefined
        ? "Messages that failed a hundred times; it is consumed too, so nothing expires in it unseen."
        : `Messages for ${queue.consumer}.`;
  return `${what} Messages are kept for ${days} days.`;
}

const createEvents = ["PutObject", "CompleteMultipartUpload", "CopyObject"];

function planRule(
  { bucket, lateQueue }: Wanted,
  { rules }: Present,
  add: Add,
  asPlanned: string[],
  conflicts: string[],
): void {
  const isPlanned = (rule: PresentRule): boolean =>
    rule.queue === lateQueue &&
    rule.prefix === rulePrefix &&
    rule.suffix === "" &&
    createEvents.every((event) => rule.events.includes(event));
  // R2 takes no two rules of one event whose prefixes overlap.
  const overlaps = (rule: PresentRule): boolean =>
    (rule.prefix.startsWith(rulePrefix) || rulePrefix.startsWith(rule.prefix)) &&
    rule.events.some((event) => createEvents.includes(event));
  for (const rule of rules.filter((one) => one.queue !== lateQueue && overlaps(one))) {
    conflicts.push(
      `bucket ${bucket} has a notification rule for "${rule.prefix}" to queue ${rule.queue}, and R2 takes no second one for ${rulePrefix}: wrangler r2 bucket notification delete ${bucket} --queue ${rule.queue} --rule ${rule.id}`,
    );
  }
  for (const rule of rules.filter((one) => one.queue === lateQueue && !isPlanned(one) && overlaps(one))) {
    add(
      "rule",
      `delete notification rule ${rule.id}`,
      `It is for "${rule.prefix}" and not for ${rulePrefix}.`,
      ["r2", "bucket", "notification", "delete", bucket, "--queue", lateQueue, "--rule", rule.id],
    );
  }
  if (rules.some(isPlanned)) {
    asPlanned.push(`notification rule ${rulePrefix}`);
    return;
  }
  add(
    "rule",
    `create notification rule ${rulePrefix}`,
    `R2 notifies queue ${lateQueue} of each new payload, so that a lost doorbell loses nothing.`,
    [
      "r2",
      "bucket",
      "notification",
      "create",
      bucket,
      "--event-type",
      "object-create",
      "--queue",
      lateQueue,
      "--prefix",
      rulePrefix,
    ],
  );
}
