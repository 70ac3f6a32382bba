import { join } from "node:path";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { experimental_readRawConfig } from "wrangler";
import { type PlanOptions, planDeployment } from "../../cli/deploy/plan.ts";
import type { Present, PresentRule, PresentWorker } from "../../cli/deploy/present.ts";
import {
  configFile,
  type InstallationSettings,
  rawConfigSchema,
  stageWorkers,
} from "../../cli/deploy/stage-config.ts";
import { wantedOf } from "../../cli/deploy/wanted.ts";

const { rawConfig } = experimental_readRawConfig({
  config: join(import.meta.dirname, "..", "..", "wrangler.toml"),
});
const raw = v.parse(rawConfigSchema, rawConfig);
const settings = {
  stage: "production",
  clickHouse: {
    url: "https://ch.example:8443",
    network: "",
    user: "headrace",
    consoleUser: "headrace_console",
    database: "otel",
    tracesTable: "otel_traces",
    cluster: "",
  },
  access: { team: "", audience: "" },
  domains: {},
  zoneId: "",
  idTimeFrom: "2026-11-29T08:00Z",
  collect: { COLLECT: "on" },
};
const wanted = wantedOf(stageWorkers(raw, settings));
const namespaceId = "0123456789abcdef0123456789abcdef";

const options: PlanOptions = {
  tagOf: ({ worker }) => `hr-${worker.name}`,
  given: new Set(["CLICKHOUSE_PASSWORD"]),
  setSecrets: false,
};
const emptyOptions: PlanOptions = { ...options, tagOf: () => undefined };

const empty: Present = {
  hasBucket: false,
  hasLifecycleRule: false,
  rules: [],
  queues: new Map(),
  namespaceId: undefined,
  workers: new Map(),
  hasIngress: false,
  idTimes: { deployed: [], earlier: [] },
  migrations: ["0001_traces.sql"],
};
const ourRule: PresentRule = {
  id: "r1",
  queue: wanted.lateQueue,
  prefix: "p/0/",
  suffix: "",
  events: ["PutObject", "CompleteMultipartUpload", "CopyObject"],
};
const whole: Present = {
  hasBucket: true,
  hasLifecycleRule: true,
  rules: [ourRule],
  queues: new Map(
    wanted.queues.map(({ name, consumer }) => [name, { producers: [], consumers: [`worker:${consumer}`] }]),
  ),
  namespaceId,
  workers: new Map(
    wanted.workers.map(({ worker, secrets }) => [worker.name, { tag: `hr-${worker.name}`, secrets }]),
  ),
  hasIngress: true,
  idTimes: { deployed: [settings.idTimeFrom], earlier: [] },
  migrations: [],
};

const steps = (present: Present, changed: Partial<PlanOptions> = {}): string[] =>
  planDeployment(wanted, present, { ...options, ...changed }).steps.map(({ what }) => what);

function withWorker(name: string, change: (worker: PresentWorker) => PresentWorker | undefined): Present {
  const workers = new Map(whole.workers);
  const worker = workers.get(name);
  const changed = worker === undefined ? undefined : change(worker);
  workers.delete(name);
  if (changed !== undefined) {
    workers.set(name, changed);
  }
  return { ...whole, workers };
}

function withoutQueue(name: string): Present {
  return { ...whole, queues: new Map([...whole.queues].filter(([queue]) => queue !== name)) };
}

test("the console has its own login of ClickHouse, and the others the one that writes", () => {
  const users = stageWorkers(raw, settings).map(({ environment, config }) => [
    environment,
    config.vars["CLICKHOUSE_USER"],
    config.vars["CLICKHOUSE_NETWORK"],
  ]);
  expect(Object.fromEntries(users.map(([environment, ...rest]) => [environment, rest]))).toEqual({
    ingress: [undefined, undefined],
    consumer: ["headrace", ""],
    console: ["headrace_console", ""],
  });
});

test("only the consumer gets the ingress's domain and zone, and none where it has no domain", () => {
  const told = (changed: Partial<InstallationSettings>) =>
    stageWorkers(raw, { ...settings, ...changed }).flatMap(({ environment, config: { vars } }) =>
      "ZONE_ID" in vars || "INGRESS_HOST" in vars
        ? [[environment, vars["INGRESS_HOST"], vars["ZONE_ID"]]]
        : [],
    );
  const own = { domains: { ingress: "otlp.example.com" }, zoneId: namespaceId };
  expect(told(own)).toEqual([["consumer", "otlp.example.com", namespaceId]]);
  expect(told({})).toEqual([["consumer", "", ""]]);
});

test("only the ingress is given COLLECT, as it was said or as wrangler.toml has it", () => {
  const saidTo = (collect: InstallationSettings["collect"]) =>
    stageWorkers(raw, { ...settings, collect }).flatMap(({ environment, config: { vars } }) =>
      "COLLECT" in vars
        ? [[environment, vars["COLLECT"], vars["COLLECT_MS"], vars["COLLECTOR_LOCATION"]]]
        : [],
    );
  expect(saidTo({})).toEqual([["ingress", "on", "100", ""]]);
  const said = { COLLECT: "off", COLLECT_MS: "50", COLLECTOR_LOCATION: "weur" };
  expect(saidTo(said)).toEqual([["ingress", "off", "50", "weur"]]);
});

describe("the plan of a deployment", () => {
  test("of an account that is as planned has no step", () => {
    const plan = planDeployment(wanted, whole, options);
    expect(plan.steps).toEqual([]);
    expect(plan.asPlanned).toHaveLength(5 + wanted.queues.length + wanted.workers.length);
  });

  test("of an empty account makes everything, what is named before what names it", () => {
    const plan = planDeployment(wanted, empty, emptyOptions);
    expect(plan.asPlanned).toEqual([]);
    const order = plan.steps.map(({ what }) => what);
    expect(order.slice(0, 3)).toEqual([
      "create bucket headrace-payloads",
      "add lifecycle rule headrace-backstop",
      "create KV namespace headrace-keys",
    ]);
    const at = (what: string): number => {
      expect(order).toContain(what);
      return order.indexOf(what);
    };
    expect(at("create queue headrace-dead")).toBeLessThan(at("create queue headrace-ring"));
    expect(at("create queue headrace-late")).toBeLessThan(at("apply 0001_traces.sql"));
    expect(at("apply 0001_traces.sql")).toBeLessThan(at("deploy Worker headrace-consumer"));
    expect(at("set CLICKHOUSE_PASSWORD of headrace-consumer")).toBe(
      at("deploy Worker headrace-consumer") - 1,
    );
    expect(at("deploy Worker headrace-consumer")).toBeLessThan(at("deploy Worker headrace-ingress"));
    expect(at("deploy Worker headrace-ingress")).toBeLessThan(at("deploy Worker headrace-console"));
    expect(at("create notification rule p/0/")).toBe(at("deploy Worker headrace-ingress") - 1);
    expect(order.at(-1)).toBe("deploy Worker headrace-console"); // it is bound to both others
  });

  test("begun again after any step goes on from there, and ends as planned", () => {
    const { steps: all } = planDeployment(wanted, empty, emptyOptions);
    for (let done = 0; done <= all.length; done++) {
      let present = empty;
      for (const step of all.slice(0, done)) {
        present = after(present, step.what);
      }
      const rest = planDeployment(
        wanted,
        present,
        present.namespaceId === undefined ? emptyOptions : options,
      ).steps.map(({ what }) => what);
      // Queues that are there are set again until the consumer's tag proves them: harmless, and the only addition.
      expect(rest.filter((what) => !what.startsWith("set queue"))).toEqual(
        all.slice(done).map(({ what }) => what),
      );
    }
  });

  test.each<[string, Present, string[]]>([
    [
      "no bucket",
      { ...whole, hasBucket: false, rules: [], hasLifecycleRule: false },
      [
        "create bucket headrace-payloads",
        "add lifecycle rule headrace-backstop",
        "create notification rule p/0/",
      ],
    ],
    ["no lifecycle rule", { ...whole, hasLifecycleRule: false }, ["add lifecycle rule headrace-backstop"]],
    [
      "a queue that is gone: its consumer is attached by deploying",
      withoutQueue("headrace-ring"),
      ["create queue headrace-ring", "deploy Worker headrace-consumer"],
    ],
    [
      "new files of schema/",
      { ...whole, migrations: ["0009_x.sql", "0010_y.sql"] },
      ["apply 0009_x.sql, 0010_y.sql"],
    ],
    [
      "a file of schema/ that takes away what the Workers of before ask: after them",
      {
        ...withWorker("headrace-console", (one) => ({ ...one, tag: "hr-old" })),
        migrations: ["0009_x.sql", "0018_receipt_places_end.sql"],
      },
      ["apply 0009_x.sql", "deploy Worker headrace-console", "apply 0018_receipt_places_end.sql"],
    ],
    ["no rule", { ...whole, rules: [] }, ["create notification rule p/0/"]],
    [
      "a rule for another prefix",
      { ...whole, rules: [{ ...ourRule, prefix: "p/" }] },
      ["delete notification rule r1", "create notification rule p/0/"],
    ],
    [
      "a rule for deletions only",
      { ...whole, rules: [{ ...ourRule, events: ["DeleteObject"] }] },
      ["create notification rule p/0/"],
    ],
    [
      "another version of a Worker",
      withWorker("headrace-console", (one) => ({ ...one, tag: "hr-old" })),
      ["deploy Worker headrace-console"],
    ],
    [
      "a version that somebody deployed by hand",
      withWorker("headrace-ingress", (one) => ({ ...one, tag: "" })),
      ["deploy Worker headrace-ingress"],
    ],
    [
      "a draft that a secret made",
      withWorker("headrace-ingress", (one) => ({ ...one, tag: null })),
      ["deploy Worker headrace-ingress"],
    ],
    [
      "a secret that is missing",
      withWorker("headrace-console", (one) => ({ ...one, secrets: ["ADMIN_TOKEN"] })),
      ["set CLICKHOUSE_PASSWORD of headrace-console", "deploy Worker headrace-console"],
    ],
  ])("with %s does that and nothing else", (_name, present, expected) => {
    expect(steps(present)).toEqual(expected);
  });

  test("sets the queues' settings when the consumer does not prove them", () => {
    const planned = steps(withWorker("headrace-consumer", (one) => ({ ...one, tag: "hr-old" })));
    expect(planned).toEqual([
      ...wanted.queues.map(({ name }) => `set queue ${name}`),
      "deploy Worker headrace-consumer",
    ]);
  });

  test("with --set-secrets sets every secret, and deploys after it, for a secret makes a version of its own", () => {
    expect(steps(whole, { setSecrets: true, given: new Set(["ALERT_WEBHOOK"]) })).toEqual([
      "set CLICKHOUSE_PASSWORD and ALERT_WEBHOOK of headrace-consumer",
      "deploy Worker headrace-consumer",
      "set CLICKHOUSE_PASSWORD and ADMIN_TOKEN of headrace-console",
      "deploy Worker headrace-console",
    ]);
  });

  test("stops at a rule of somebody else that R2 would not have beside ours", () => {
    const theirs = { ...ourRule, id: "r9", queue: "thumbnails", prefix: "" };
    const { conflicts } = planDeployment(wanted, { ...whole, rules: [theirs] }, options);
    expect(conflicts).toEqual([expect.stringContaining("--queue thumbnails --rule r9")]);
    const apart = { ...theirs, prefix: "images/" };
    expect(planDeployment(wanted, { ...whole, rules: [ourRule, apart] }, options).conflicts).toEqual([]);
  });

  test("names no value of a secret", () => {
    const plan = planDeployment(wanted, empty, emptyOptions);
    expect(plan.steps.flatMap(({ secrets }) => secrets)).toEqual(
      expect.arrayContaining(["CLICKHOUSE_PASSWORD", "ADMIN_TOKEN"]),
    );
    for (const { argv, secrets } of plan.steps) {
      expect(secrets.length === 0 || argv.join(" ").startsWith("secret bulk --name ")).toBe(true);
    }
  });

  test("delays the second ring's queue alone, and keeps messages for 14 days in all", () => {
    for (const { what, argv } of planDeployment(wanted, empty, emptyOptions).steps) {
      if (what.startsWith("create queue")) {
        expect(argv.slice(3)).toEqual([
          "--delivery-delay-secs",
          what.endsWith("-late") ? "300" : "0",
          "--message-retention-period-secs",
          "1209600",
        ]);
      }
    }
  });
});

/** The account after a step, as far as the planner looks at it. */
function after(present: Present, what: string): Present {
  const name = what.split(" ").at(-1) ?? "";
  if (what.startsWith("create bucket")) {
    return { ...present, hasBucket: true };
  }
  if (what.startsWith("add lifecycle")) {
    return { ...present, hasLifecycleRule: true };
  }
  if (what.startsWith("create KV")) {
    return { ...present, namespaceId };
  }
  if (what.startsWith("create queue")) {
    return { ...present, queues: new Map([...present.queues, [name, { producers: [], consumers: [] }]]) };
  }
  if (what.startsWith("apply")) {
    return { ...present, migrations: [] };
  }
  if (what.startsWith("create notification rule")) {
    return { ...present, rules: [ourRule] };
  }
  const worker = present.workers.get(name) ?? { tag: null, secrets: [] };
  const secrets = wanted.workers.find((one) => one.worker.name === name)?.secrets ?? [];
  if (what.startsWith("set ")) {
    return { ...present, workers: new Map([...present.workers, [name, { ...worker, secrets }]]) };
  }
  return {
    ...present,
    workers: new Map([...present.workers, [name, { ...worker, tag: `hr-${name}` }]]),
    queues: new Map(
      [...present.queues].map(([queue, facts]) => {
        const isItsOwn = wanted.queues.some((one) => one.name === queue && one.consumer === name);
        return [queue, isItsOwn ? { ...facts, consumers: [`worker:${name}`] } : facts];
      }),
    ),
  };
}

describe("a stage", () => {
  const staging = stageWorkers(raw, { ...settings, stage: "staging" });

  test("shares no name with production", () => {
    const names = (workers: typeof staging): string[] => {
      const { bucket, namespace, queues } = wantedOf(workers);
      return [bucket, namespace, ...queues.map(({ name }) => name), ...workers.map(({ name }) => name)];
    };
    const ours = names(stageWorkers(raw, settings));
    expect(names(staging).filter((name) => ours.includes(name))).toEqual([]);
    expect(names(staging)).toEqual(ours.map((name) => `${name}-staging`));
  });

  test("is bound to its own Workers and queues, and counts its own rate limits", () => {
    const text = JSON.stringify(
      staging.map((worker) => configFile(worker, namespaceId, (path) => `/r/${path}`)),
    );
    const named = [...text.matchAll(/"(headrace-[a-z-]+)"/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !name?.endsWith("-staging"))).toEqual([]);
    expect(text).not.toContain('"1001"');
  });

  test("has this account's namespace, its ClickHouse, absolute paths, and no address for the consumer", () => {
    const files = new Map(
      staging.map((worker) => [
        worker.environment,
        JSON.stringify(configFile(worker, namespaceId, (path) => `/r/${path}`)),
      ]),
    );
    expect(files.get("ingress")).toContain(`"id":"${namespaceId}"`);
    expect(files.get("ingress")).toContain('"main":"/r/workers/ingress/worker.ts"');
    expect(files.get("ingress")).not.toContain("ch.example");
    expect(files.get("consumer")).toContain('"CLICKHOUSE_URL":"https://ch.example:8443"');
    expect(files.get("consumer")).toContain('"workers_dev":false');
    expect(files.get("console")).toContain('"workers_dev":true');
  });

  test("is served on the domain that was named", () => {
    const [ingress] = stageWorkers(raw, { ...settings, domains: { ingress: "otlp.example.com" } }).filter(
      ({ environment }) => environment === "ingress",
    );
    expect(ingress?.config).toMatchObject({
      workers_dev: false,
      routes: [{ pattern: "otlp.example.com", custom_domain: true }],
    });
  });
});
