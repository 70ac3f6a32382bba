/**
 * What an operator sees while one of the parts is away: the console and the consumer's operations as they are, on a real
 * ledger, R2, KV and Meter. Only the part that is away is switched, at its binding.
 */
import {
  createExecutionContext,
  createMessageBatch,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env as given } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { deadLetterRow } from "../../../shared/clickhouse/dead-letters.ts";
import type { Failure } from "../../../shared/failure.ts";
import { limits } from "../../../shared/limits.ts";
import type { PayloadKey } from "../../../shared/payload-key.ts";
import { isGroupId } from "../../../shared/receipt.ts";
import type { ConsoleBindings } from "../../../workers/console/bindings.ts";
import consoleWorker from "../../../workers/console/worker.ts";
import type { ConsumerBindings } from "../../../workers/consumer/bindings.ts";
import consumerWorker, { Operations } from "../../../workers/consumer/worker.ts";
import { readExposition } from "../../console/exposition.ts";
import { codecVersion, doorbell, knownTable } from "../../ledger/world.ts";

const real = given as unknown as ConsumerBindings & Pick<ConsoleBindings, "KEYS" | "METER">;
const adminToken = "token-of-the-operator-0123456789";

type ClickHouse = NonNullable<ConsoleBindings["CLICKHOUSE"]>["fetch"];
/** Answers as a ClickHouse without a row of ours. */
const empty: ClickHouse = async (_, init) => {
  const isCount = String(init?.body).includes("AS dead FROM");
  return new Response(isCount ? '{"dead":0}\n' : "", { headers: { "x-clickhouse-summary": "{}" } });
};
const refused: ClickHouse = async () => {
  throw new Error("connection refused");
};

/** A binding whose calls fail, or are never answered. */
function off<T extends object>(how: "throws" | "hangs" = "throws"): T {
  const call = async (): Promise<never> => {
    if (how === "hangs") {
      return await new Promise<never>(() => {});
    }
    throw new Error("internal error; reference = 4711");
  };
  return new Proxy({} as T, { get: () => call });
}

const meters = (binding: object): ConsoleBindings["METER"] =>
  ({ idFromName: (name: string) => name, get: () => binding }) as unknown as ConsoleBindings["METER"];

function bindingsWith(changed: Partial<ConsoleBindings>, ofConsumer: Partial<ConsumerBindings> = {}) {
  const CLICKHOUSE = changed.CLICKHOUSE ?? ({ fetch: empty } as unknown as Fetcher);
  const consumer = new Operations(createExecutionContext(), { ...real, CLICKHOUSE, ...ofConsumer });
  return {
    ...real,
    CONSUMER: consumer,
    CLICKHOUSE,
    ADMIN_TOKEN: adminToken,
    ...changed,
  } as unknown as ConsoleBindings;
}

const withClickHouse = (answer: ClickHouse) =>
  bindingsWith({ CLICKHOUSE: { fetch: answer } as unknown as Fetcher });

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly seconds: number;
}

/** Nobody is waited for behind somebody who was waited for. What a busy machine adds to the one wait is less than a second wait. */
const oneWaitSeconds = (2 * limits.glanceMs) / 1000;

/** A new instance of the Worker would know nothing: so is each of these tests, ten seconds after the one before. */
let now = Date.now();

async function ask(env: ConsoleBindings, path: string): Promise<Answer> {
  const began = performance.now();
  const request = new Request(`https://console.example${path}`, {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  const response = await consoleWorker.fetch(request as Parameters<typeof consoleWorker.fetch>[0], env);
  const text = await response.text();
  return { status: response.status, text, seconds: (performance.now() - began) / 1000 };
}

const metric = (text: string, name: string, label = ""): number | undefined =>
  readExposition(text).find(
    (one) => one.name === `headrace_${name}` && (label === "" || Object.values(one.labels).includes(label)),
  )?.value;

const glance = [
  "/metrics",
  "/healthz",
  "/api/status",
  "/api/findings",
  "/api/dead-letters",
  "/api/watermark",
];

let logged: string[] = [];

beforeEach(async () => {
  await reset();
  vi.restoreAllMocks();
  vi.useRealTimers();
  logged = [];
  for (const level of ["warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => logged.push(line));
  }
  vi.spyOn(globalThis, "fetch").mockImplementation(empty); // the ledger's object asks ClickHouse once: how it began
  now += 3_600_000;
  vi.spyOn(Date, "now").mockImplementation(() => now);
});

const failure: Failure = {
  failed: 7,
  refused: 7,
  since: now,
  at: now,
  kind: "refused",
  code: 469,
  name: "VIOLATED_CONSTRAINT",
  text: "Constraint `no_poison` is violated",
};

/** A dead letter as the consumer leaves it in R2. */
async function buryInR2(n: number): Promise<PayloadKey> {
  const { key } = doorbell({ n });
  const group = "0".repeat(31) + String(n);
  if (!isGroupId(group)) {
    throw new Error("that is a group's id");
  }
  const receipt = {
    key,
    outcome: "dead",
    group,
    spans: 3,
    rowsByDay: [],
    rejectedSpans: 0,
    bytes: 10,
    reason: "rejected:469",
  } as const;
  const row = deadLetterRow(receipt, failure, now);
  await real.PAYLOADS.put(row.record, JSON.stringify({ ...row, failure }));
  return key;
}

describe("all is there", () => {
  test("then each of them answers, and names nobody", async () => {
    const env = bindingsWith({});
    for (const path of glance) {
      const { text } = await ask(env, path);
      expect(text, path).not.toContain("does not answer");
    }
    const { text } = await ask(env, "/metrics");
    expect(metric(text, "ledger_up")).toBe(1);
    expect(["r2", "kv", "meter"].map((name) => metric(text, "dependency_up", name))).toEqual([1, 1, 1]);
    expect(logged).toEqual([]);
  });
});

describe.each([
  ["r2", "R2 (bucket binding PAYLOADS)", { PAYLOADS: off<R2Bucket>() }, 503],
  ["kv", "KV (namespace binding KEYS)", { KEYS: off<KVNamespace>() }, 503],
  ["meter", "the Meter (Durable Object binding METER)", { METER: meters(off()) }, null],
] as const)("%s is away", (label, name, changed, health) => {
  const said = `${name} does not answer (internal error; reference = 4711)`;

  test("page, CLI, metrics, health and log name it, its binding and its error", async () => {
    const env = bindingsWith(changed);
    const status = await ask(env, "/api/status"); // the page's banner, and the first line of `headrace status`
    expect(status.status).toBe(200);
    expect(JSON.parse(status.text).trouble).toContain(said);
    const healthz = await ask(env, "/healthz");
    expect(healthz.text).toContain(said);
    if (health !== null) {
      expect(healthz.status).toBe(health);
    }
    const { text } = await ask(env, "/metrics");
    expect(metric(text, "dependency_up", label)).toBe(0);
    expect(metric(text, "ledger_up")).toBe(1);
    expect(logged.join("\n")).toContain(said);
  });

  test("it is over as soon as it answers", async () => {
    await ask(bindingsWith(changed), "/healthz");
    now += limits.healthFreshMs;
    const env = bindingsWith({});
    expect(JSON.parse((await ask(env, "/api/status")).text).trouble).toBe("");
    expect(metric((await ask(env, "/metrics")).text, "dependency_up", label)).toBe(1);
  });
});

test("what needs R2, KV or the Meter and nothing else says whose failure it is", async () => {
  const key = doorbell({ n: 1 }).key;
  for (const [path, changed, name] of [
    [`/api/payload-spans?key=${key}`, { PAYLOADS: off<R2Bucket>() }, "R2 (bucket binding PAYLOADS)"],
    ["/api/keys", { KEYS: off<KVNamespace>() }, "KV (namespace binding KEYS)"],
    ["/api/usage?tenant=acme", { METER: meters(off()) }, "the Meter (Durable Object binding METER)"],
  ] as const) {
    const { status, text } = await ask(bindingsWith(changed), path);
    expect([status, text]).toEqual([503, expect.stringContaining(`${name} does not answer (internal error`)]);
  }
});

describe("the ledger is away", () => {
  const LEDGER = { idFromName: () => "0", get: () => off() } as unknown as ConsumerBindings["LEDGER"];
  const said =
    "the ledger (Durable Object binding LEDGER) does not answer (internal error; reference = 4711)";

  test("health, page and CLI say so; metrics and findings say what the others know", async () => {
    const env = bindingsWith({}, { LEDGER });
    expect(await ask(env, "/healthz")).toMatchObject({ status: 503, text: expect.stringContaining(said) });
    for (const path of ["/api/status", "/api/watermark", "/api/in-flight"]) {
      expect(await ask(env, path)).toMatchObject({ status: 503, text: expect.stringContaining(said) });
    }
    expect((await ask(env, "/api/findings")).status).toBe(200);
    const { status, text } = await ask(env, "/metrics");
    expect([status, metric(text, "ledger_up")]).toEqual([200, 0]);
  });
});

describe("ClickHouse is away", () => {
  test.each([
    ["off", refused, "ClickHouse at clickhouse.invalid does not answer (connection refused)"],
    [
      "slow",
      async () => await new Promise<Response>(() => {}),
      "ClickHouse at clickhouse.invalid does not answer (no answer within 4 s)",
    ],
    [
      "html",
      async () =>
        new Response("<html>Checking your browser…</html>", { headers: { "content-type": "text/html" } }),
      "ClickHouse at clickhouse.invalid could not answer: status 200 without ClickHouse's headers",
    ],
    [
      "half a JSON",
      async () => new Response('{"kind":"brea', { headers: { "x-clickhouse-summary": "{}" } }),
      "ClickHouse at clickhouse.invalid could not answer: an answer breaks off, or is not JSON",
    ],
    [
      "another JSON",
      async () => new Response('{"ok":true}\n', { headers: { "x-clickhouse-summary": "{}" } }),
      "ClickHouse at clickhouse.invalid could not answer: the answer does not fit the query",
    ],
  ] as const)("%s: all of it is answered within 5 s with what is known", async (_, answer, said) => {
    const env = withClickHouse(answer as unknown as ClickHouse);
    const key = await buryInR2(1);
    const paths = [...glance, `/api/payload?id=${key}`, "/api/balance", "/api/minutes"];
    const answers = await Promise.all(paths.map(async (path) => [path, await ask(env, path)] as const));
    expect(limits.glanceMs, "and a second for the rest").toBeLessThanOrEqual(4000);
    for (const [path, { seconds }] of answers) {
      expect(seconds, path).toBeLessThan(oneWaitSeconds);
    }
    const of = Object.fromEntries(answers);
    expect(of["/metrics"]?.status).toBe(200);
    expect(metric(of["/metrics"]?.text ?? "", "clickhouse_up")).toBe(0);
    expect(metric(of["/metrics"]?.text ?? "", "ledger_up")).toBe(1);
    for (const path of ["/api/status", "/api/findings", "/api/watermark"]) {
      expect(of[path]?.status, path).toBe(200);
    }
    expect(JSON.parse(of["/api/dead-letters"]?.text ?? "")).toEqual([
      expect.objectContaining({
        key,
        from: "record",
        refusals: 7,
        message: "VIOLATED_CONSTRAINT (469): Constraint `no_poison` is violated",
      }),
    ]);
    const payload = JSON.parse(of[`/api/payload?id=${key}`]?.text ?? "");
    expect(payload).toMatchObject({ presence: "unread", unread: expect.stringContaining(said) });
    expect(payload.deadLetters).toEqual([expect.objectContaining({ key, reason: "rejected:469" })]);
    expect(payload.steps.at(-1).what).toContain("Constraint `no_poison` is violated");
    for (const path of ["/api/balance", "/api/minutes"]) {
      expect(of[path], path).toMatchObject({ status: 503, text: expect.stringContaining(said) });
    }
    expect(logged.join("\n")).toContain("clickhouse.invalid");
  });
});

describe("what the consumer needs is away", () => {
  /** A payload that the ledger has taken over, and whose group is ready. */
  async function claimOne(): Promise<string> {
    const ledger = real.LEDGER.getByName("0");
    await ledger.tableChecked("", { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable });
    const bell = doorbell({ n: 1, spans: limits.groupRowsReady });
    const { task } = await ledger.claim([bell], codecVersion);
    return task?.group ?? "";
  }

  async function deliver(queue: string, body: unknown, bindings: Partial<ConsumerBindings>): Promise<void> {
    const batch = createMessageBatch(queue, [{ id: "1", body, attempts: 1, timestamp: new Date() }]);
    await consumerWorker.queue(batch, {
      ...real,
      CLICKHOUSE: { fetch: empty } as unknown as Fetcher,
      ...bindings,
    });
  }

  test("R2: the group says what it failed of, and page, CLI and health in which binding", async () => {
    const ledger = real.LEDGER.getByName("0");
    await ledger.tableChecked("", { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable });
    await deliver("headrace-ring", doorbell({ n: 1, spans: limits.groupRowsReady }), {
      PAYLOADS: off<R2Bucket>(),
    });
    const said = "R2 (bucket binding PAYLOADS) does not answer (internal error; reference = 4711)";
    const env = bindingsWith({});
    expect(JSON.parse((await ask(env, "/api/status")).text).trouble).toContain(
      `UTC (${said}); 1 payload waits; nothing is lost.`,
    );
    expect((await ask(env, "/api/in-flight")).text).toContain(said);
    expect(logged.join("\n")).toContain(said);
    now += limits.alertNotDeliveredMs;
    expect(await ask(env, "/healthz")).toMatchObject({ status: 503, text: expect.stringContaining(said) });
  });

  test("the queue of groups: payloads that wait for it are reported with its binding, and it is over when it takes one", async () => {
    const ledger = real.LEDGER.getByName("0");
    const switchTo = async (GROUP: object): Promise<void> =>
      await runInDurableObject(ledger, (instance) => {
        Reflect.set(instance, "env", { ...Reflect.get(instance, "env"), GROUP });
      });
    await switchTo({ sendBatch: off<Queue>("throws").sendBatch });
    await claimOne();
    now += 200_000;
    await runDurableObjectAlarm(ledger); // the lease is over
    now += 60_000;
    await runDurableObjectAlarm(ledger); // the group is due
    const said = "the queue of groups (binding GROUP) does not answer (internal error; reference = 4711)";
    const env = bindingsWith({});
    await vi.waitFor(async () => {
      expect((await ask(env, "/api/status")).text).toContain(`${said} since`);
    }, 15_000);
    expect(logged.join("\n")).toContain(said);
    now += limits.alertNotDeliveredMs;
    expect(await ask(env, "/healthz")).toMatchObject({ status: 503, text: expect.stringContaining(said) });
    await switchTo(real.GROUP);
    now += 900_000;
    await runDurableObjectAlarm(ledger);
    await vi.waitFor(async () => {
      expect((await ask(env, "/api/status")).text).not.toContain("the queue of groups");
    }, 15_000);
  });
});

test("R2, KV and the Meter that hang are given up in time, and are reported like those that fail", async () => {
  const env = bindingsWith({
    PAYLOADS: off<R2Bucket>("hangs"),
    KEYS: off<KVNamespace>("hangs"),
    METER: meters(off("hangs")),
  });
  const answers = await Promise.all(["/healthz", "/api/status", "/api/keys"].map((path) => ask(env, path)));
  for (const { seconds } of answers) {
    expect(seconds).toBeLessThan(oneWaitSeconds);
  }
  expect(answers[0]?.text).toMatch(/R2 \(.*no answer within 4 s[\s\S]*KV \([\s\S]*the Meter \(/);
});
