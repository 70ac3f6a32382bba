/** What an account has now, read from what wrangler prints. Pure: cli/deploy/read-present.ts runs it. */
import * as v from "valibot";

export interface PresentQueue {
  /** `worker:headrace-consumer`, `r2_bucket:headrace-payloads` */
  readonly producers: readonly string[];
  readonly consumers: readonly string[];
}

export interface PresentRule {
  readonly id: string;
  readonly queue: string;
  readonly prefix: string;
  readonly suffix: string;
  /** `PutObject`, `CompleteMultipartUpload`, `CopyObject`, … */
  readonly events: readonly string[];
}

export interface PresentWorker {
  /** The tag of the version that all requests get; empty where it has none. Null: nothing is deployed. */
  readonly tag: string | null;
  readonly secrets: readonly string[];
}

export interface Present {
  readonly hasBucket: boolean;
  readonly hasLifecycleRule: boolean;
  readonly rules: readonly PresentRule[];
  /** By name; those that are not there are left out. */
  readonly queues: ReadonlyMap<string, PresentQueue>;
  readonly namespaceId: string | undefined;
  /** By name; those that are not there are left out. */
  readonly workers: ReadonlyMap<string, PresentWorker>;
  /** Whether some version of the ingress is deployed. */
  readonly hasIngress: boolean;
  /** Every ID_TIME_FROM of the ingress: of the versions that requests get, and of those that wrangler lists besides. */
  readonly idTimes: { readonly deployed: readonly string[]; readonly earlier: readonly string[] };
  /** Files of schema/ that ClickHouse has not seen. */
  readonly migrations: readonly string[];
}

/** `name:          headrace-payloads` in blocks, as wrangler prints records. */
function parseRecords(text: string): readonly ReadonlyMap<string, string>[] {
  const records: Map<string, string>[] = [];
  let record = new Map<string, string>();
  for (const line of [...text.split(/\r?\n/), ""]) {
    const [, label, value] = /^([a-z_]+):\s*(.*)$/.exec(line.trimEnd()) ?? [];
    if (label !== undefined && value !== undefined) {
      if (record.has(label)) {
        records.push(record);
        record = new Map();
      }
      record.set(label, value);
    } else if (record.size > 0) {
      records.push(record);
      record = new Map();
    }
  }
  return records;
}

/** Of `wrangler r2 bucket list`, or `… lifecycle list`. */
export function parseNames(text: string): readonly string[] {
  return parseRecords(text).flatMap((record) => record.get("name") ?? []);
}

/** Of `wrangler r2 bucket notification list`. */
export function parseRules(text: string): readonly PresentRule[] {
  return parseRecords(text)
    .filter((record) => record.has("rule_id"))
    .map((record) => ({
      id: record.get("rule_id") ?? "",
      queue: record.get("queue_name") ?? "",
      prefix: withoutAll(record.get("prefix")),
      suffix: withoutAll(record.get("suffix")),
      events: (record.get("event_type") ?? "").split(",").map((event) => event.trim()),
    }));
}

function withoutAll(text: string | undefined): string {
  return text === undefined || /^\(all \w+\)$/.test(text) ? "" : text;
}

/** Of `wrangler queues info`. */
export function parseQueueInfo(text: string): PresentQueue {
  const list = (label: string): readonly string[] => {
    const [, names = ""] = new RegExp(`^${label}:\\s*(.*)$`, "m").exec(text) ?? [];
    return names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "");
  };
  return { producers: list("Producers"), consumers: list("Consumers") };
}

const namespacesSchema = v.array(v.looseObject({ id: v.string(), title: v.string() }));
const secretsSchema = v.array(v.looseObject({ name: v.string() }));
const deploymentSchema = v.looseObject({
  versions: v.array(v.looseObject({ version_id: v.string(), percentage: v.number() })),
});
const versionsSchema = v.array(
  v.looseObject({
    id: v.string(),
    annotations: v.optional(v.looseObject({ "workers/tag": v.optional(v.string()) })),
  }),
);
const versionSchema = v.looseObject({
  resources: v.looseObject({
    bindings: v.array(
      v.looseObject({ type: v.string(), name: v.optional(v.string()), text: v.optional(v.string()) }),
    ),
  }),
});

/** Of `wrangler kv namespace list`. */
export function parseNamespaceId(text: string, title: string): string | undefined {
  return v.parse(namespacesSchema, jsonIn(text)).find((one) => one.title === title)?.id;
}

/** Of `wrangler secret list`. */
export function parseSecrets(text: string): readonly string[] {
  return v.parse(secretsSchema, jsonIn(text)).map(({ name }) => name);
}

/** Of `wrangler deployments status --json` and `wrangler versions list --json`. */
export function parseTag(deployment: string, versions: string): string {
  const { versions: deployed } = v.parse(deploymentSchema, jsonIn(deployment));
  const whole = deployed.find(({ percentage }) => percentage === 100);
  const version = v.parse(versionsSchema, jsonIn(versions)).find(({ id }) => id === whole?.version_id);
  return version?.annotations?.["workers/tag"] ?? "";
}

/** Ids of the versions that requests get. Of `wrangler deployments status --json`. */
export function parseDeployedVersions(deployment: string): readonly string[] {
  return v.parse(deploymentSchema, jsonIn(deployment)).versions.map(({ version_id }) => version_id);
}

/** Ids of the versions that there are. Of `wrangler versions list --json`. */
export function parseVersions(versions: string): readonly string[] {
  return v.parse(versionsSchema, jsonIn(versions)).map(({ id }) => id);
}

/** The value of a variable in a version; empty: it has none. Of `wrangler versions view --json`. */
export function parseVariable(version: string, name: string): string {
  const { bindings } = v.parse(versionSchema, jsonIn(version)).resources;
  return bindings.find((one) => one.name === name && one.type === "plain_text")?.text ?? "";
}

/** The JSON in an output that may begin with a banner or a warning. Throws SyntaxError where there is none. */
function jsonIn(text: string): unknown {
  const begin = text.search(/^[[{]/m);
  return JSON.parse(begin < 0 ? text : text.slice(begin));
}
