/**
 * A recording of wrangler for tests of `headrace deploy`: keeps an account in memory, answers in the forms of the real
 * one (test/fixtures/wrangler/), and notes what it was asked for: argument lists, and the names on standard input.
 */
import { readFileSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import type { Wrangler, WranglerAnswer, WranglerCall } from "../../cli/deploy/wrangler.ts";

/** Of a version of a Worker. */
type Variables = Readonly<Record<string, string>>;

export interface RecordedAccount {
  loggedIn: boolean;
  buckets: string[];
  lifecycle: string[];
  rules: { id: string; queue: string; prefix: string }[];
  namespaces: { id: string; title: string }[];
  queues: Record<string, { consumers: string[]; settings: readonly string[] }>;
  /** `tag`: null for a draft that was never deployed, empty for a version without one. `versions`: the last one is deployed. */
  workers: Record<string, { secrets: string[]; tag: string | null; versions?: Variables[] }>;
  configs: Record<string, Config>;
  calls: { argv: readonly string[]; stdin: string[] }[];
  /** Calls that begin so fail; empty: none do. */
  fails: string;
}

const configSchema = v.looseObject({
  name: v.string(),
  workers_dev: v.boolean(),
  vars: v.optional(v.record(v.string(), v.string()), {}),
  routes: v.optional(v.array(v.object({ pattern: v.string(), custom_domain: v.boolean() }))),
  queues: v.object({ consumers: v.array(v.looseObject({ queue: v.string() })) }),
});
type Config = v.InferOutput<typeof configSchema>;

export function emptyAccount(changed: Partial<RecordedAccount> = {}): RecordedAccount {
  return {
    loggedIn: true,
    buckets: ["other"],
    lifecycle: [],
    rules: [],
    namespaces: [],
    queues: {},
    workers: {},
    configs: {},
    calls: [],
    fails: "",
    ...changed,
  };
}

export function recordingWrangler(account: RecordedAccount): Wrangler {
  return async (call) => {
    const answer = answerOf(account, call);
    const stdin = call.stdin === undefined ? [] : Object.keys(namesIn(call.stdin));
    account.calls.push({ argv: call.argv, stdin });
    return answer;
  };
}

const fail = (text: string): WranglerAnswer => ({ ok: false, out: "", text: `✘ [ERROR] ${text}` });
const ok = (text = ""): WranglerAnswer => ({ ok: true, out: text, text });
const namesIn = (stdin: string): object => v.parse(v.looseObject({}), JSON.parse(stdin));

function answerOf(account: RecordedAccount, { argv, stdin = "", env }: WranglerCall): WranglerAnswer {
  const line = argv.join(" ");
  if (account.fails !== "" && line.startsWith(account.fails)) {
    return fail("A request to the Cloudflare API failed.\n  Internal error [code: 10000]");
  }
  const flag = (name: string): string => argv[argv.indexOf(name) + 1] ?? "";
  /** The command and its operands, without flags. */
  const words = argv.slice(0, argv.findIndex((word) => word.startsWith("--")) >>> 0);
  const operand = words.at(-1) ?? "";
  const is = (command: string): boolean => line === command || line.startsWith(`${command} `);

  if (is("whoami")) {
    return ok(JSON.stringify({ loggedIn: account.loggedIn, accounts: [{ id: "1", name: "test" }] }));
  }
  if (is("r2 bucket list")) {
    return ok(account.buckets.map((name) => `name:           ${name}\ncreation_date:  2026`).join("\n\n"));
  }
  if (is("r2 bucket create")) {
    account.buckets.push(operand);
    return ok();
  }
  if (is("r2 bucket lifecycle list")) {
    return ok(account.lifecycle.map((name) => `name:     ${name}\nenabled:  Yes`).join("\n\n"));
  }
  if (is("r2 bucket lifecycle add")) {
    account.lifecycle.push(argv[5] ?? "");
    return ok();
  }
  if (is("r2 bucket notification list")) {
    return account.rules.length === 0
      ? fail("The configuration does not exist. [code: 11015]")
      : ok(account.rules.map(ruleText).join("\n\n"));
  }
  if (is("r2 bucket notification create")) {
    const id = `rule-${account.rules.length + 1}`;
    account.rules.push({ id, queue: flag("--queue"), prefix: flag("--prefix") });
    return ok();
  }
  if (is("kv namespace list")) {
    return ok(JSON.stringify(account.namespaces));
  }
  if (is("kv namespace create")) {
    account.namespaces.push({ id: "0123456789abcdef0123456789abcdef", title: operand });
    return ok();
  }
  if (is("queues info")) {
    const queue = account.queues[operand];
    return queue === undefined
      ? fail(`Queue "${operand}" does not exist. To create it, run: wrangler queues create ${operand}`)
      : ok(
          `Queue Name: ${operand}\nConsumers: ${queue.consumers.map((name) => `worker:${name}`).join(", ")}`,
        );
  }
  if (is("queues create") || is("queues update")) {
    account.queues[operand] = {
      consumers: account.queues[operand]?.consumers ?? [],
      settings: argv.slice(words.length),
    };
    return ok();
  }
  if (is("deploy")) {
    return deploy(account, flag("--config"), flag("--tag"), env?.["WRANGLER_OUTPUT_FILE_PATH"]);
  }
  return aboutWorker(account, line, flag("--name"), stdin);
}

function aboutWorker(account: RecordedAccount, line: string, name: string, stdin: string): WranglerAnswer {
  const worker = account.workers[name];
  if (line.startsWith("secret bulk")) {
    const secrets = new Set([...(worker?.secrets ?? []), ...Object.keys(namesIn(stdin))]);
    // A secret makes a version of its own, without a tag; or a draft, where there is no Worker yet.
    account.workers[name] = { ...worker, secrets: [...secrets], tag: worker?.tag == null ? null : "" };
    return ok();
  }
  if (worker === undefined) {
    return fail(`Worker "${name}" not found.`);
  }
  if (line.startsWith("secret list")) {
    return ok(JSON.stringify(worker.secrets.map((secret) => ({ name: secret, type: "secret_text" }))));
  }
  const { versions = [{}] } = worker;
  if (line.startsWith("deployments status")) {
    return worker.tag === null
      ? fail(`The Worker ${name} has no deployments.`)
      : ok(JSON.stringify({ versions: [{ version_id: `v${versions.length}`, percentage: 100 }] }));
  }
  if (line.startsWith("versions list")) {
    const tag = { "workers/tag": worker.tag ?? "" };
    const listed = versions.map((_, at) => ({ id: `v${at + 1}`, annotations: tag }));
    return ok(JSON.stringify(listed));
  }
  if (line.startsWith("versions view v")) {
    const variables = versions[Number(line.split(" ")[2]?.slice(1)) - 1] ?? {};
    const bindings = Object.entries(variables).map(([name, text]) => ({ type: "plain_text", name, text }));
    return ok(JSON.stringify({ resources: { bindings } }));
  }
  return fail(`the recording knows no \`wrangler ${line}\``);
}

function deploy(
  account: RecordedAccount,
  path: string,
  tag: string,
  output: string | undefined,
): WranglerAnswer {
  const config = v.parse(configSchema, JSON.parse(readFileSync(path, "utf8")));
  for (const { queue } of config.queues.consumers) {
    const there = account.queues[queue];
    if (there === undefined) {
      return fail(`Queue "${queue}" does not exist.`);
    }
    there.consumers = [config.name];
  }
  const before = account.workers[config.name];
  const versions = [...(before?.versions ?? []), config.vars];
  account.workers[config.name] = { secrets: before?.secrets ?? [], tag, versions };
  account.configs[config.name] = config;
  const [route] = config.routes ?? [];
  const address = route?.pattern ?? `https://${config.name}.test.workers.dev`;
  const targets = config.workers_dev || route !== undefined ? [address] : [];
  const lines = [
    { type: "wrangler-session", version: 1 },
    { type: "deploy", version: 1, targets },
  ];
  writeFileSync(output ?? "", lines.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  return ok();
}

function ruleText({ id, queue, prefix }: RecordedAccount["rules"][number]): string {
  return [
    `rule_id:     ${id}`,
    `queue_name:  ${queue}`,
    `prefix:      ${prefix}`,
    "suffix:      (all suffixes)",
    "event_type:  PutObject,CompleteMultipartUpload,CopyObject",
  ].join("\n");
}
