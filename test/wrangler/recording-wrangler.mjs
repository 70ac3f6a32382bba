#!/usr/bin/env node
/**
 * Stands in for wrangler in tests of `headrace deploy`: keeps an account in the file RECORDING_ACCOUNT, answers in the
 * forms of the real one (test/fixtures/wrangler/), and writes what it was asked for into it: argument lists, and the
 * names that came on standard input. RECORDING_FAIL: calls that begin so fail.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

const file = process.env.RECORDING_ACCOUNT;
const argv = process.argv.slice(2);
const line = argv.join(" ");
const stdin = readFileSync(0, "utf8");

/** Calls run beside each other: one at a time reads and writes the account. */
function locked(act) {
  for (;;) {
    try {
      mkdirSync(`${file}.lock`);
      break;
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
  try {
    const account = JSON.parse(readFileSync(file, "utf8"));
    const answer = act(account);
    account.calls.push(stdin === "" ? { argv } : { argv, stdin: Object.keys(JSON.parse(stdin)) });
    writeFileSync(file, JSON.stringify(account, null, 1));
    return answer;
  } finally {
    rmdirSync(`${file}.lock`);
  }
}

const flag = (name) => argv[argv.indexOf(name) + 1];
const fail = (text) => ({ code: 1, text });
const ok = (text = "") => ({ code: 0, text });
const worker = (account, name) => {
  account.workers[name] ??= { secrets: [], tag: null };
  return account.workers[name];
};

function answer(account) {
  const fails = process.env.RECORDING_FAIL ?? "";
  if (fails !== "" && line.startsWith(fails)) {
    return fail("A request to the Cloudflare API failed.\n  Internal error [code: 10000]");
  }
  const name = argv.includes("--name") ? flag("--name") : argv.at(-1);
  switch (
    argv
      .slice(
        0,
        argv[0] === "r2" ? (argv[2] === "list" || argv[2] === "create" ? 3 : 4) : argv[0] === "kv" ? 3 : 2,
      )
      .join(" ")
  ) {
    case "whoami --json":
      return ok(JSON.stringify({ loggedIn: account.loggedIn, accounts: [{ id: "1", name: "test" }] }));
    case "r2 bucket list":
      return ok(
        `Listing buckets...\n${account.buckets.map((one) => `name:           ${one}\ncreation_date:  2026`).join("\n\n")}`,
      );
    case "r2 bucket create":
      account.buckets.push(name);
      return ok();
    case "r2 bucket lifecycle list":
      return ok(account.lifecycle.map((one) => `name:     ${one}\nenabled:  Yes`).join("\n\n"));
    case "r2 bucket lifecycle add":
      account.lifecycle.push(argv[5]);
      return ok();
    case "r2 bucket notification list":
      return account.rules.length === 0
        ? fail("The configuration does not exist. [code: 11015]")
        : ok(
            account.rules
              .map(
                (rule) =>
                  `rule_id:     ${rule.id}\nqueue_name:  ${rule.queue}\nprefix:      ${rule.prefix}\nsuffix:      (all suffixes)\nevent_type:  PutObject,CompleteMultipartUpload,CopyObject`,
              )
              .join("\n\n"),
          );
    case "r2 bucket notification create":
      account.rules.push({
        id: `rule-${account.rules.length + 1}`,
        queue: flag("--queue"),
        prefix: flag("--prefix"),
      });
      return ok();
    case "kv namespace list":
      return ok(JSON.stringify(account.namespaces));
    case "kv namespace create":
      account.namespaces.push({ id: "0123456789abcdef0123456789abcdef", title: name });
      return ok();
    case "queues info":
      return name in account.queues
        ? ok(
            `Queue Name: ${name}\nNumber of Consumers: 1\nConsumers: ${account.queues[name].consumers.map((one) => `worker:${one}`).join(", ")}`,
          )
        : fail(`Queue "${name}" does not exist. To create it, run: wrangler queues create ${name}`);
    case "queues create":
      account.queues[argv[2]] = { consumers: [], settings: argv.slice(3) };
      return ok();
    case "queues update":
      account.queues[argv[2]].settings = argv.slice(3);
      return ok();
    case "secret list":
      return name in account.workers
        ? ok(JSON.stringify(account.workers[name].secrets.map((one) => ({ name: one, type: "secret_text" }))))
        : fail(`Worker "${name}" not found.`);
    case "secret bulk":
      worker(account, name).secrets = [
        ...new Set([...worker(account, name).secrets, ...Object.keys(JSON.parse(stdin))]),
      ];
      worker(account, name).tag = ""; // a version of its own
      return ok();
    case "deployments status":
      return account.workers[name]?.tag == null
        ? fail(`The Worker ${name} has no deployments.`)
        : ok(JSON.stringify({ versions: [{ version_id: "v1", percentage: 100 }] }));
    case "versions list":
      return ok(
        JSON.stringify([
          {
            id: "v1",
            annotations: account.workers[name].tag === "" ? {} : { "workers/tag": account.workers[name].tag },
          },
        ]),
      );
    case "deploy --config": {
      const config = JSON.parse(readFileSync(flag("--config"), "utf8"));
      worker(account, config.name).tag = flag("--tag");
      for (const { queue } of config.queues?.consumers ?? []) {
        if (!(queue in account.queues)) {
          return fail(`Queue "${queue}" does not exist.`);
        }
        account.queues[queue].consumers = [config.name];
      }
      account.configs[config.name] = config;
      const target = config.routes?.[0]?.pattern ?? `https://${config.name}.test.workers.dev`;
      writeFileSync(
        process.env.WRANGLER_OUTPUT_FILE_PATH,
        `${JSON.stringify({ type: "wrangler-session", version: 1 })}\n${JSON.stringify({ type: "deploy", version: 1, targets: config.workers_dev || config.routes ? [target] : [] })}\n`,
      );
      return ok();
    }
    default:
      return fail(`the recording knows no \`wrangler ${line}\``);
  }
}

const { code, text } = locked(answer);
if (code === 0) {
  console.log(text);
} else {
  console.error(`✘ [ERROR] ${text}`);
}
process.exitCode = code;
