/** `headrace deploy` against a recording of wrangler and a real ClickHouse engine; its configurations against wrangler. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeEach, describe, expect, inject, test } from "vitest";
import { projectWrangler, wranglerAt } from "../../cli/deploy/wrangler.ts";
import { examineAccount } from "../../cli/doctor/examine-account.ts";
import { loginVariables } from "../../dev/clickhouse/login.ts";
import { headrace } from "../wrangler/cli-run.ts";
import { emptyAccount, recordingWrangler } from "../wrangler/recording-wrangler.ts";

const folder = mkdtempSync(join(tmpdir(), "headrace-deploy-"));
const profiles = join(folder, "profiles.json");
const root = join(import.meta.dirname, "..", "..");
const webhook = "https://hooks.example/a-secret-that-must-not-show";
const openFile = join(folder, "open.env");
writeFileSync(openFile, "CLICKHOUSE_DATABASE=deployed\n", { mode: 0o644 });
const zoneId = "023e105f4ecef8ad9ca31a8372d0c353";
let account = emptyAccount();

/** What changes something, as one line each. */
function changes(): string[] {
  const reads =
    /^(whoami|r2 bucket list|r2 bucket \w+ list|kv namespace list|queues info|secret list|deployments|versions)/;
  return account.calls.map(({ argv }) => argv.join(" ")).filter((line) => !reads.test(line));
}

function environment(changed: Readonly<Record<string, string>> = {}) {
  return {
    HEADRACE_PROFILES: profiles,
    ...loginVariables(inject("clickhouse")),
    CLICKHOUSE_DATABASE: "deployed",
    ...changed,
  };
}

const deploy = (flags: readonly string[], changed: Readonly<Record<string, string>> = {}) =>
  headrace(["deploy", "--private-clickhouse", ...flags], environment(changed), {
    wrangler: recordingWrangler(account),
  });

beforeEach(() => {
  account = emptyAccount();
  rmSync(profiles, { force: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("headrace deploy", () => {
  test("makes everything in an empty account, then finds nothing to do", async () => {
    const first = await deploy(["--yes"]);
    expect(first.err).not.toContain("headrace:");
    expect(first.code).toBe(0);
    const made = changes();
    expect(made.filter((line) => line.startsWith("deploy "))).toHaveLength(3);
    expect(made.filter((line) => line.startsWith("queues create "))).toHaveLength(
      Object.keys(account.queues).length,
    );
    expect(account.queues["headrace-late"]?.settings.join(" ")).toContain("--delivery-delay-secs 300");

    const again = await deploy(["--yes"]);
    expect(again.out).toContain("There is nothing to do.");
    expect(again.code).toBe(0);
    expect(changes()).toEqual(made);
    expect((await deploy(["--dry-run"])).code).toBe(0);
  });

  test("goes on where a failure has stopped it", async () => {
    account.fails = "r2 bucket notification create";
    const failed = await deploy(["--yes"]);
    expect(failed.code).toBe(3);
    expect(failed.err).toContain("create notification rule p/0/ failed");
    expect(failed.err).toContain("[code: 10000]");
    const before = changes().length;
    account.fails = "";
    const rest = await deploy(["--yes"]);
    expect(rest.code).toBe(0);
    expect(
      changes()
        .slice(before)
        .map((line) => line.split(" ").slice(0, 4).join(" ")),
    ).toEqual([
      "r2 bucket notification create",
      expect.stringMatching(/^deploy --config .*ingress\.json --tag$/),
      "secret bulk --name headrace-console",
      expect.stringMatching(/^deploy --config .*console\.json --tag$/),
    ]);
  });

  test("puts secrets on standard input and into nobody's sight, and writes a profile for its owner only", async () => {
    const token = "the-admin-token-of-this-test-4711";
    const { out, err, code } = await deploy(["--yes", "--json"], {
      HEADRACE_ADMIN_TOKEN: token,
      ALERT_WEBHOOK: webhook,
    });
    expect(code).toBe(0);
    const { calls, configs } = account;
    const secrets = calls.filter(({ stdin }) => stdin.length > 0);
    expect(secrets.map(({ argv, stdin }) => [argv.at(-1), stdin])).toEqual([
      ["headrace-consumer", ["CLICKHOUSE_PASSWORD", "ALERT_WEBHOOK"]],
      ["headrace-console", ["CLICKHOUSE_PASSWORD", "ADMIN_TOKEN"]],
    ]);
    for (const seen of [out, err, JSON.stringify(calls.map(({ argv }) => argv)), JSON.stringify(configs)]) {
      expect(seen).not.toContain(webhook);
      expect(seen).not.toContain(token);
    }
    expect(statSync(profiles).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).filter((name) => name.startsWith("profiles"))).toEqual(["profiles.json"]);
    expect(JSON.parse(readFileSync(profiles, "utf8"))).toEqual({
      production: {
        console: "https://headrace-console.test.workers.dev",
        adminToken: token,
        otlp: "https://headrace-ingress.test.workers.dev",
      },
    });
  });

  test("a profile file that others could read is closed to them before the token is in it", async () => {
    writeFileSync(profiles, "{}", { mode: 0o644 });
    expect((await deploy(["--yes"])).code).toBe(0);
    expect(statSync(profiles).mode & 0o777).toBe(0o600);
    expect(readFileSync(profiles, "utf8")).toContain("adminToken");
  });

  test("tells the consumer which zone to watch, its token as a secret", async () => {
    const env = { ZONE_ID: zoneId, ZONE_ANALYTICS_TOKEN: "a-zone-token-of-this-test" };
    expect((await deploy(["--yes", "--ingress-domain", "otlp.example.com"], env)).code).toBe(0);
    expect(account.configs["headrace-consumer"]).toMatchObject({
      vars: { INGRESS_HOST: "otlp.example.com", ZONE_ID: zoneId },
    });
    expect(account.calls.flatMap(({ stdin }) => stdin)).toContain("ZONE_ANALYTICS_TOKEN");
    expect(JSON.stringify([account.configs, account.calls.map(({ argv }) => argv)])).not.toContain(
      env.ZONE_ANALYTICS_TOKEN,
    );
  });

  test("gives a new ingress its ID_TIME_FROM, and keeps it through a rollback to a version from before there was one", async () => {
    const timeOf = () => account.configs["headrace-ingress"]?.vars["ID_TIME_FROM"];
    expect((await deploy(["--yes"])).code).toBe(0);
    expect(timeOf()).toBe("2020-01-01T00:00Z");
    // As a version of before this one left it.
    const { secrets = [], versions = [] } = account.workers["headrace-ingress"] ?? {};
    account.workers["headrace-ingress"] = { secrets, tag: "hr-before", versions: [{}] };
    expect((await deploy(["--yes"])).code).toBe(0);
    const chosen = String(timeOf());
    expect(Date.parse(chosen)).toBeGreaterThanOrEqual(Date.now() + 25 * 3_600_000);
    expect(Date.parse(chosen)).toBeLessThanOrEqual(Date.now() + 26 * 3_600_000 + 60_000);
    expect((await deploy(["--yes"])).out).toContain("There is nothing to do.");
    account.workers["headrace-ingress"] = {
      secrets,
      tag: "hr-before",
      versions: [{ ID_TIME_FROM: chosen }, {}],
    };
    expect((await deploy(["--yes"])).code).toBe(0);
    expect(timeOf()).toBe(chosen);
    expect(versions).toMatchObject([{ ID_TIME_FROM: "2020-01-01T00:00Z" }]);
    const lower = await deploy(["--yes"], { ID_TIME_FROM: "2020-01-01T00:00Z" });
    expect(lower.code).toBe(2);
    expect(lower.err).toContain(`ID_TIME_FROM is ${chosen} in the ingress, and stays so`);
  });

  test("of a stage touches nothing of production", async () => {
    const { code } = await deploy(["--yes", "--stage", "staging", "--ingress-domain", "otlp.example.com"]);
    expect(code).toBe(0);
    const names = Object.keys(account.configs);
    expect(names.toSorted()).toEqual(
      ["console", "consumer", "ingress"].map((name) => `headrace-${name}-staging`),
    );
    expect(Object.keys(account.queues).every((name) => name.endsWith("-staging"))).toBe(true);
    expect(readFileSync(profiles, "utf8")).toContain("https://otlp.example.com");
  });

  test("with --dry-run shows every step with its reason, does none, and says 1", async () => {
    const { code, out } = await deploy(["--dry-run"]);
    expect(code).toBe(1);
    expect(changes()).toEqual([]);
    expect(out).toContain("create bucket headrace-payloads");
    expect(out).toContain("the second ring");
    expect(out).toContain("wrangler queues create headrace-ring --delivery-delay-secs 0");
  });

  test.each<[string, readonly string[], Readonly<Record<string, string>>, object, 2 | 3, string]>([
    ["no address of ClickHouse", [], { CLICKHOUSE_URL: "" }, {}, 2, "set CLICKHOUSE_URL"],
    ["a login in the address", [], { CLICKHOUSE_URL: "https://u:p@ch.example" }, {}, 2, "is not secret"],
    [
      "a ClickHouse that does not answer",
      [],
      { CLICKHOUSE_URL: "http://127.0.0.1:9" },
      {},
      3,
      "ClickHouse at",
    ],
    ["a zone that is none", [], { ZONE_ID: "example.com" }, {}, 2, "ZONE_ID is the id of the ingress's zone"],
    ["a token for no zone", [], { ZONE_ANALYTICS_TOKEN: "t" }, {}, 2, "ZONE_ANALYTICS_TOKEN needs it"],
    ["a zone and no domain", [], { ZONE_ID: zoneId }, {}, 2, "pass --ingress-domain"],
    ["a damaged env file", ["--env-file", "/nowhere/x"], {}, {}, 2, "there is no file /nowhere/x"],
    ["an env file that others can read", ["--env-file", openFile], {}, {}, 2, `chmod 600 ${openFile}`],
    [
      "a short admin token",
      ["--yes"],
      { HEADRACE_ADMIN_TOKEN: "a" },
      {},
      2,
      "has 1 characters and must have 32",
    ],
    [
      "an empty admin token",
      ["--yes"],
      { HEADRACE_ADMIN_TOKEN: "" },
      {},
      2,
      "HEADRACE_ADMIN_TOKEN has 0 characters",
    ],
    ["a short metrics token", ["--yes"], { METRICS_TOKEN: "m" }, {}, 2, "METRICS_TOKEN has 1 characters"],
    [
      "one token for everything",
      ["--yes"],
      { HEADRACE_ADMIN_TOKEN: "x".repeat(32), METRICS_TOKEN: "x".repeat(32) },
      {},
      2,
      "METRICS_TOKEN is the same as HEADRACE_ADMIN_TOKEN",
    ],
    ["nobody logged in", [], {}, { loggedIn: false }, 2, "set CLOUDFLARE_API_TOKEN"],
    ["nobody to confirm", [], {}, {}, 2, "pass --yes"],
    ["an API that fails", ["--yes"], {}, { fails: "queues info" }, 3, "`wrangler queues info"],
  ])("with %s changes nothing and says what to do", async (_name, flags, env, changed, code, said) => {
    account = emptyAccount(changed);
    const answer = await deploy(flags, env);
    expect(answer.err).toContain(said);
    expect(answer.code).toBe(code);
    expect(changes()).toEqual([]);
  });

  test("refuses an address that Cloudflare cannot reach", async () => {
    const { code, err } = await headrace(["deploy"], environment());
    expect(err).toContain("Cloudflare's Workers cannot reach 127.0.0.1");
    expect(code).toBe(2);
  });
});

describe("doctor's look into the account", () => {
  test("finds everything that deploy has made, and names what is gone since", async () => {
    expect((await deploy(["--yes"])).code).toBe(0);
    const wrangler = recordingWrangler(account);
    const [good, ...others] = await examineAccount(wrangler, "production");
    expect(good).toMatchObject({ verdict: "good", found: expect.stringContaining("notification rule p/0/") });
    expect(others).toEqual([]);

    account.rules = [];
    delete account.queues["headrace-late"];
    const made = changes().length;
    const bad = (await examineAccount(wrangler, "production")).filter(({ verdict }) => verdict === "bad");
    expect(bad.map(({ found }) => found)).toEqual([
      "to be done: create queue headrace-late",
      "to be done: deploy Worker headrace-consumer",
      "to be done: create notification rule p/0/",
    ]);
    expect(bad.every(({ mend }) => mend === "npx headrace deploy")).toBe(true);
    expect(changes()).toHaveLength(made);
  });

  test("says so when it may not look", async () => {
    account.fails = "kv namespace list";
    expect(await examineAccount(recordingWrangler(account), "production")).toMatchObject([
      { verdict: "bad", mend: expect.stringContaining("CLOUDFLARE_API_TOKEN") },
    ]);
  });
});

describe("the wrangler of the project", () => {
  test("gets its arguments as they are, and secrets on standard input alone", async () => {
    const script = join(folder, "record.mjs");
    writeFileSync(
      script,
      `import { readFileSync } from "node:fs";
      console.log(JSON.stringify([process.argv.slice(2), readFileSync(0, "utf8"), process.env.MORE]));
      process.exitCode = process.argv.length > 3 ? 0 : 1;`,
    );
    const wrangler = wranglerAt(script, folder, { PATH: process.env["PATH"] });
    const argv = ["secret", "bulk", "--name", "a b; $(c)"];
    const answer = await wrangler({ argv, stdin: webhook, env: { MORE: "x" } });
    expect(JSON.parse(answer.out)).toEqual([argv, webhook, "x"]);
    expect(answer.ok).toBe(true);
    expect((await wrangler({ argv: ["list"] })).ok).toBe(false);
  });

  test("is given what it finds its way by, and none of our secrets", async () => {
    const script = join(folder, "environment.mjs");
    writeFileSync(script, "console.log(JSON.stringify(Object.keys(process.env)));");
    const given = {
      PATH: process.env["PATH"],
      HOME: folder,
      https_proxy: "http://proxy.example",
      CLOUDFLARE_API_TOKEN: "cf",
      CLICKHOUSE_PASSWORD: "ours",
      HEADRACE_ADMIN_TOKEN: "ours",
      METRICS_TOKEN: "ours",
      ALERT_WEBHOOK: "ours",
      AWS_SECRET_ACCESS_KEY: "another's",
    };
    const { out } = await wranglerAt(script, folder, given)({ argv: [] });
    const names: string[] = JSON.parse(out);
    expect(names).toEqual(expect.arrayContaining(["PATH", "HOME", "https_proxy", "CLOUDFLARE_API_TOKEN"]));
    const ours = /CLICKHOUSE|HEADRACE|METRICS_TOKEN|ALERT|AWS/;
    expect(names.filter((name) => ours.test(name))).toEqual([]);
  });

  test("takes the flattened configuration of each Worker of a stage", async () => {
    expect((await deploy(["--yes", "--stage", "dry"])).code).toBe(0);
    const wrangler = wranglerAt(projectWrangler(), folder, { PATH: process.env["PATH"], HOME: folder });
    const answers = await Promise.all(
      ["ingress", "consumer", "console"].map((name) => {
        const config = join(root, "dist", "deploy", "dry", `${name}.json`);
        return wrangler({
          argv: ["deploy", "--dry-run", "--config", config, "--outdir", join(folder, name)],
        });
      }),
    );
    for (const { ok, text } of answers) {
      expect(text).toContain("--dry-run: exiting now.");
      expect(ok).toBe(true);
    }
    expect(answers[0]?.text).toContain("headrace-ring-dry");
    expect(answers[2]?.text).toContain("headrace-consumer-dry");
  }, 60_000);
});
