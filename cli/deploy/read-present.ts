/** Asks wrangler what an account has. An answer that is neither the thing nor "there is none" ends the deployment. */

import { readSchemaFiles } from "../../dev/schema-files.ts";
import { quoteText } from "../../shared/clickhouse/identifier.ts";
import type { AppliedMigration, RunStatement, SchemaSettings } from "../../shared/clickhouse/migrations.ts";
import {
  lacksOfReplicas,
  missingFence,
  planMigrations,
  tableNames,
} from "../../shared/clickhouse/migrations.ts";
import type { Replicas } from "../../shared/clickhouse/replicated-schema.ts";
import { UserError } from "../user-error.ts";
import {
  type Present,
  type PresentQueue,
  type PresentRule,
  type PresentWorker,
  parseDeployedVersions,
  parseNames,
  parseNamespaceId,
  parseQueueInfo,
  parseRules,
  parseSecrets,
  parseTag,
  parseVariable,
  parseVersions,
} from "./present.ts";
import { lifecycleRule, type Wanted } from "./wanted.ts";
import type { Wrangler } from "./wrangler.ts";

/** wrangler's and the API's ways to say that there is none. */
const isAbsent = /does not exist|not found|has no deployments|\[code: (10007|10006|10090|11015)\]/i;

/** Each is a process of its own, and the API has limits. */
const callsAtOnce = 4;

export async function readPresent(
  wrangler: Wrangler,
  wanted: Wanted,
  migrations: () => Promise<readonly string[]>,
  onProgress: (done: number, total: number) => void,
): Promise<Present> {
  const ask = async (...argv: string[]): Promise<string | undefined> => {
    const answer = await wrangler({ argv });
    if (answer.ok) {
      return answer.out;
    }
    if (isAbsent.test(answer.text)) {
      return undefined;
    }
    throw new UserError(`\`wrangler ${argv.join(" ")}\` failed:\n${lastLines(answer.text)}`, 3);
  };
  const queues = new Map<string, PresentQueue>();
  const workers = new Map<string, PresentWorker>();
  let buckets: readonly string[] = [];
  let namespaceId: string | undefined;
  let lifecycle: readonly string[] = [];
  let rules: readonly PresentRule[] = [];
  let pending: readonly string[] = [];
  let idTimes: Present["idTimes"] = { deployed: [], earlier: [] };
  const jobs: (() => Promise<void>)[] = [
    async () => {
      pending = await migrations();
    },
    async () => {
      namespaceId = parseNamespaceId((await ask("kv", "namespace", "list")) ?? "[]", wanted.namespace);
    },
    async () => {
      buckets = parseNames((await ask("r2", "bucket", "list")) ?? "");
      if (buckets.includes(wanted.bucket)) {
        lifecycle = parseNames((await ask("r2", "bucket", "lifecycle", "list", wanted.bucket)) ?? "");
        rules = parseRules((await ask("r2", "bucket", "notification", "list", wanted.bucket)) ?? "");
      }
    },
    ...wanted.queues.map(({ name }) => async () => {
      const info = await ask("queues", "info", name);
      if (info !== undefined) {
        queues.set(name, parseQueueInfo(info));
      }
    }),
    ...wanted.workers.map(({ worker: { name, environment } }) => async () => {
      const secrets = await ask("secret", "list", "--name", name);
      if (secrets !== undefined) {
        const deployment = await ask("deployments", "status", "--name", name, "--json");
        const versions = await ask("versions", "list", "--name", name, "--json");
        const tag =
          deployment === undefined || versions === undefined ? null : parseTag(deployment, versions);
        workers.set(name, { tag, secrets: parseSecrets(secrets) });
        if (environment === "ingress" && deployment !== undefined && versions !== undefined) {
          idTimes = await readIdTimes(ask, name, deployment, versions);
        }
      }
    }),
  ];
  let done = 0;
  const waiting = [...jobs];
  const work = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      await job();
      onProgress(++done, jobs.length);
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, work));
  return {
    hasBucket: buckets.includes(wanted.bucket),
    hasLifecycleRule: lifecycle.includes(lifecycleRule),
    rules,
    queues,
    namespaceId,
    workers,
    hasIngress: isDeployed("ingress", wanted, workers),
    idTimes,
    migrations: pending,
  };
}

function isDeployed(environment: string, wanted: Wanted, workers: Present["workers"]): boolean {
  const own = wanted.workers.find(({ worker }) => worker.environment === environment);
  return own !== undefined && typeof workers.get(own.worker.name)?.tag === "string";
}

/** Versions that are looked through where none that requests get tells an ID_TIME_FROM. */
const versionsLookedAt = 10;

async function readIdTimes(
  ask: (...argv: string[]) => Promise<string | undefined>,
  name: string,
  deployment: string,
  versions: string,
): Promise<Present["idTimes"]> {
  const timesOf = async (ids: readonly string[]): Promise<readonly string[]> => {
    const times = new Set<string>();
    for (const id of ids) {
      const version = await ask("versions", "view", id, "--name", name, "--json");
      times.add(version === undefined ? "" : parseVariable(version, "ID_TIME_FROM"));
    }
    times.delete("");
    return [...times];
  };
  const ids = parseDeployedVersions(deployment);
  const deployed = await timesOf(ids);
  if (deployed.length > 0) {
    return { deployed, earlier: [] };
  }
  const others = parseVersions(versions).filter((id) => !ids.includes(id));
  return { deployed, earlier: await timesOf(others.slice(-versionsLookedAt)) };
}

/**
 * Files of schema/ that this ClickHouse has not seen, or the fence that its table lacks; where it has all of them, what of them some replica lacks. Throws
 * `UserError` when it does not answer.
 */
export async function pendingMigrations(
  at: RunStatement | Replicas,
  settings: SchemaSettings,
): Promise<readonly string[]> {
  const run = typeof at === "function" ? at : at.servers[0];
  const { migrations } = tableNames(settings);
  const has = await run(
    `SELECT count() FROM system.tables WHERE database = ${quoteText(settings.database)} AND name = 'headrace_migrations' FORMAT TSVRaw`,
  );
  const applied: AppliedMigration[] = [];
  if (has.trim() !== "0") {
    const text = await run(
      `SELECT number, name, checksum FROM ${migrations} FINAL WHERE traces_table = ${quoteText(settings.tracesTable)} ORDER BY number FORMAT TSVRaw`,
    );
    for (const line of text.split("\n").filter((row) => row !== "")) {
      const [number = "", name = "", checksum = ""] = line.split("\t");
      applied.push({ number: Number(number), name, checksum });
    }
  }
  const files = readSchemaFiles();
  const planned = (await planMigrations(files, settings, applied)).map(({ name }) => name);
  // It comes with the files; an installation that has all of them may be from before there was one.
  const pending =
    planned.length === 0 && (await missingFence(settings, run)) !== null
      ? [`the fence of ${settings.tracesTable}`]
      : planned;
  if (typeof at === "function") {
    return pending;
  }
  const lacks = await lacksOfReplicas(files, settings, at);
  return pending.length > 0 ? pending : lacks;
}

export function lastLines(text: string): string {
  return text.trim().split("\n").slice(-20).join("\n");
}
