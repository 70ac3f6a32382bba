/**
 * wrangler.toml for one stage of one account: its environments are our Workers, so a stage is a flattened configuration
 * for each, with every name suffixed (`headrace-ring-staging`) and the account's own values in it. Pure.
 */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";

const named = v.looseObject({ name: v.string() });
const binding = v.looseObject({ binding: v.string() });

/** What of an environment names something in the account. Everything else goes through as it is. */
const environmentSchema = v.looseObject({
  name: v.string(),
  main: v.string(),
  vars: v.optional(v.record(v.string(), v.unknown()), {}),
  kv_namespaces: v.optional(v.array(v.looseObject({ ...binding.entries, id: v.string() })), []),
  r2_buckets: v.optional(v.array(v.looseObject({ ...binding.entries, bucket_name: v.string() })), []),
  services: v.optional(v.array(v.looseObject({ ...binding.entries, service: v.string() })), []),
  ratelimits: v.optional(v.array(v.looseObject({ ...named.entries, namespace_id: v.string() })), []),
  durable_objects: v.optional(
    v.object({ bindings: v.array(v.looseObject({ ...named.entries, script_name: v.optional(v.string()) })) }),
    { bindings: [] },
  ),
  queues: v.optional(
    v.object({
      producers: v.optional(v.array(v.looseObject({ ...binding.entries, queue: v.string() })), []),
      consumers: v.optional(
        v.array(v.looseObject({ queue: v.string(), dead_letter_queue: v.optional(v.string()) })),
        [],
      ),
    }),
    {},
  ),
  assets: v.optional(v.looseObject({ directory: v.optional(v.string()) })),
  build: v.optional(v.looseObject({ cwd: v.optional(v.string()) })),
});
export const rawConfigSchema = v.looseObject({ env: v.record(v.string(), environmentSchema) });
export type RawConfig = v.InferOutput<typeof rawConfigSchema>;
type Environment = v.InferOutput<typeof environmentSchema>;

export const production = "production";
export const stagePattern = /^[a-z][a-z0-9]{0,15}$/;

/** What differs from installation to installation. */
export interface InstallationSettings {
  readonly stage: string;
  readonly clickHouse: {
    readonly url: string;
    /** `private-network`: `http://` to it is let through; empty: it is not. */
    readonly network: string;
    readonly user: string;
    /** The console reads, and may have a login of its own. */
    readonly consoleUser: string;
    readonly database: string;
    readonly tracesTable: string;
    /** Empty: there is one server. */
    readonly cluster: string;
  };
  /** Cloudflare Access in front of the console; empty: it is not declared. */
  readonly access: { readonly team: string; readonly audience: string };
  /** Domains of the zone that the Workers are served on; without one a Worker has its workers.dev address. */
  readonly domains: {
    readonly [environment: string]: string | undefined;
    readonly ingress?: string | undefined;
  };
  /** The zone of the ingress's domain; empty: it is not watched. */
  readonly zoneId: string;
  /** The ingress's ID_TIME_FROM (id-time-from.ts). */
  readonly idTimeFrom: string;
  /** The ingress's COLLECT, COLLECT_MS and COLLECTOR_LOCATION, where they are not as in wrangler.toml. */
  readonly collect: Readonly<Record<string, string>>;
}

/** One Worker as it is deployed: the paths in it are still relative to the repository. */
export interface StageWorker {
  /** `ingress`, `consumer`, `console`: the environment in wrangler.toml. */
  readonly environment: string;
  readonly name: string;
  /** In place of its KV namespace's id it has the namespace's title; `withNamespace` replaces that by the id. */
  readonly config: Environment & Readonly<Record<string, unknown>>;
}

/** The Workers in an order in which each finds the others that it is bound to. */
export function stageWorkers(raw: RawConfig, settings: InstallationSettings): readonly StageWorker[] {
  const { env, ...top } = raw;
  const workers = Object.entries(env).map(([environment, given]) => {
    const config = suffixed(given, settings.stage);
    const domain = settings.domains[environment];
    return {
      environment,
      name: config.name,
      config: {
        ...top,
        ...config,
        vars: {
          ...withClickHouse(environment, config.vars, settings),
          ...withEndpoint(environment, settings),
          ...withZone(environment, settings),
          ...ofIngress(environment, settings),
        },
        ...(domain === undefined
          ? // A Worker that nobody fetches gets no address, and no version gets one of its own: two doors are enough.
            { workers_dev: hasDoor(environment) }
          : { workers_dev: false, routes: [{ pattern: domain, custom_domain: true }] }),
        preview_urls: false,
        send_metrics: false,
      },
    };
  });
  return inOrder(workers);
}

function hasDoor(environment: string): boolean {
  return environment !== "consumer";
}

/** A name of the account in a stage. */
function stageName(name: string, stage: string): string {
  return stage === production ? name : `${name}-${stage}`;
}

function suffixed(given: Environment, stage: string): Environment {
  const at = (name: string): string => stageName(name, stage);
  return {
    ...given,
    name: at(given.name),
    kv_namespaces: given.kv_namespaces.map((one) => ({ ...one, id: at(one.id) })),
    r2_buckets: given.r2_buckets.map((one) => ({ ...one, bucket_name: at(one.bucket_name) })),
    services: given.services.map((one) => ({ ...one, service: at(one.service) })),
    ratelimits: given.ratelimits.map((one) => ({
      ...one,
      namespace_id: stageNumber(one.namespace_id, stage),
    })),
    durable_objects: {
      bindings: given.durable_objects.bindings.map((one) =>
        one.script_name === undefined ? one : { ...one, script_name: at(one.script_name) },
      ),
    },
    queues: {
      producers: (given.queues.producers ?? []).map((one) => ({ ...one, queue: at(one.queue) })),
      consumers: (given.queues.consumers ?? []).map((one) => ({
        ...one,
        queue: at(one.queue),
        ...(one.dead_letter_queue === undefined ? {} : { dead_letter_queue: at(one.dead_letter_queue) }),
      })),
    },
  };
}

/** Rate limits of one account that have one number share their counters: a stage counts for itself. */
function stageNumber(number: string, stage: string): string {
  if (stage === production) {
    return number;
  }
  let sum = 0;
  for (const char of stage) {
    sum = (sum * 31 + char.charCodeAt(0)) % 1_000_000;
  }
  return String(Number(number) + 10_000 * (1 + sum));
}

function withClickHouse(
  environment: string,
  vars: Environment["vars"],
  { clickHouse, access }: InstallationSettings,
): Environment["vars"] {
  const values: Readonly<Record<string, string>> = {
    CLICKHOUSE_URL: clickHouse.url,
    CLICKHOUSE_NETWORK: clickHouse.network,
    CLICKHOUSE_USER: environment === "console" ? clickHouse.consoleUser : clickHouse.user,
    CLICKHOUSE_DATABASE: clickHouse.database,
    CLICKHOUSE_TRACES_TABLE: clickHouse.tracesTable,
    CLICKHOUSE_CLUSTER: clickHouse.cluster,
    ACCESS_TEAM_DOMAIN: access.team,
    ACCESS_AUD: access.audience,
  };
  return Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, values[name] ?? value]));
}

/**
 * The console's page tells where exporters send to, and the consumer's alerts link to the page: where these addresses are
 * known before anything is deployed.
 */
function withEndpoint(environment: string, { domains }: InstallationSettings): Environment["vars"] {
  const { ingress, console } = domains;
  return {
    ...(environment === "console" && ingress !== undefined ? { OTLP_ENDPOINT: `https://${ingress}` } : {}),
    ...(environment === "consumer" && console !== undefined ? { CONSOLE_URL: `https://${console}` } : {}),
  };
}

/** The consumer's cron asks the zone what it turned away. */
function withZone(environment: string, { domains, zoneId }: InstallationSettings): Environment["vars"] {
  return environment === "consumer" ? { INGRESS_HOST: domains.ingress ?? "", ZONE_ID: zoneId } : {};
}

function ofIngress(environment: string, { idTimeFrom, collect }: InstallationSettings): Environment["vars"] {
  return environment === "ingress" ? { ID_TIME_FROM: idTimeFrom, ...collect } : {};
}

function inOrder(workers: readonly StageWorker[]): readonly StageWorker[] {
  const placed: StageWorker[] = [];
  // The ingress as late as it can be: what it accepts is then stored at once.
  const isIngress = ({ environment }: StageWorker): number => Number(environment === "ingress");
  const waiting = workers.toSorted((a, b) => isIngress(a) - isIngress(b));
  while (waiting.length > 0) {
    const next = waiting.findIndex((worker) =>
      boundTo(worker).every((name) => name === worker.name || placed.some((one) => one.name === name)),
    );
    const [worker] = waiting.splice(Math.max(next, 0), 1);
    assert(worker !== undefined, "a Worker is left");
    assert(next >= 0, `the Workers are bound to each other in no circle: ${worker.name}`);
    placed.push(worker);
  }
  return placed;
}

function boundTo({ config }: StageWorker): readonly string[] {
  return [
    ...config.services.map(({ service }) => service),
    ...config.durable_objects.bindings.flatMap(({ script_name }) => script_name ?? []),
  ];
}

/** The configuration as wrangler takes it: ids of this account, paths that hold from every folder. */
export function configFile(
  { config }: StageWorker,
  namespaceId: string,
  absolute: (path: string) => string,
): object {
  const { assets, build } = config;
  return {
    ...config,
    main: absolute(config.main),
    kv_namespaces: config.kv_namespaces.map((one) => ({ ...one, id: namespaceId })),
    ...(assets?.directory === undefined
      ? {}
      : { assets: { ...assets, directory: absolute(assets.directory) } }),
    ...(build === undefined ? {} : { build: { ...build, cwd: absolute(build.cwd ?? ".") } }),
  };
}
