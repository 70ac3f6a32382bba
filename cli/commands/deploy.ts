/** `headrace deploy`: brings a Cloudflare account and a ClickHouse to what this commit needs, and changes nothing else. */
import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseEnv } from "node:util";
import * as v from "valibot";
import { migrateClickHouse, migrateReplicas } from "../../dev/clickhouse/migrate-clickhouse.ts";
import { statementRunner } from "../../dev/clickhouse/run-statement.ts";
import { createProgress } from "../../dev/send/progress.ts";
import { addressRefusal, isLoopback, privateNetworkWord } from "../../shared/clickhouse/address.ts";
import {
  defaultSchemaSettings,
  MigrationError,
  type SchemaSettings,
} from "../../shared/clickhouse/migrations.ts";
import { type Replicas, ReplicasError } from "../../shared/clickhouse/replicated-schema.ts";
import {
  collectorLocations,
  collectWords,
  parseCollectMs,
  parseCollectorLocation,
} from "../../shared/collect/settings.ts";
import { counted } from "../../shared/counted.ts";
import { limits } from "../../shared/limits.ts";
import { tokensRefusal } from "../../shared/token-strength.ts";
import type { Call, Command } from "../command.ts";
import { wholeNumber } from "../command-line.ts";
import { confirm, yesFlag } from "../confirm.ts";
import { checkIdTimeFrom, chooseIdTimeFrom } from "../deploy/id-time-from.ts";
import { type Plan, planDeployment, type Step } from "../deploy/plan.ts";
import { readRawConfig, root } from "../deploy/read-config.ts";
import { pendingMigrations, readPresent } from "../deploy/read-present.ts";
import { type Addresses, runPlan } from "../deploy/run-plan.ts";
import { type InstallationSettings, production, stagePattern, stageWorkers } from "../deploy/stage-config.ts";
import { versionTag } from "../deploy/version-tag.ts";
import { wantedOf } from "../deploy/wanted.ts";
import { projectWrangler, type Wrangler } from "../deploy/wrangler.ts";
import { type Profile, profilesSchema } from "../installation.ts";
import { profilesPath } from "../profiles-path.ts";
import { UserError } from "../user-error.ts";

const isHost = (text: string): string | undefined =>
  /^([a-z0-9-]+\.)+[a-z]{2,}$/.test(text) ? undefined : "is a host name such as otlp.example.com";

export const deploy: Command = {
  name: "deploy",
  summary: "set up a Cloudflare account and ClickHouse for this commit; safe to run again",
  about: `Reads what is there with \`wrangler\`, shows the plan, and does what is missing: bucket, queues, KV, ClickHouse's
schema, secrets, three Workers, the notification rule. A system that is as planned is not touched. After a failure the
same command goes on.

It reads, from the environment or --env-file: CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID (or \`wrangler login\`);
CLICKHOUSE_URL, CLICKHOUSE_NETWORK, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DATABASE, CLICKHOUSE_TRACES_TABLE; CLICKHOUSE_CLUSTER (the
tables are replicated, and made ON CLUSTER) and CLICKHOUSE_REPLICAS (the replicas' own addresses, with commas between, where ON CLUSTER cannot be used);
CLICKHOUSE_CONSOLE_USER and CLICKHOUSE_CONSOLE_PASSWORD, the console's own login; CLICKHOUSE_SCHEMA_USER and CLICKHOUSE_SCHEMA_PASSWORD, that of the migrations; HEADRACE_ADMIN_TOKEN
(made when it is not set); ALERT_WEBHOOK, METRICS_TOKEN; ACCESS_TEAM_DOMAIN and ACCESS_AUD, where Cloudflare Access is in front of the console; ZONE_ID and ZONE_ANALYTICS_TOKEN, by which the zone of --ingress-domain is asked what it turned away. ID_TIME_FROM is chosen once, and then read from the deployed ingress. COLLECT (on, off; on where it is not said) and COLLECT_MS: whether payloads of concurrent requests share objects of R2; COLLECTOR_LOCATION (weur, enam, ...): where that is done. What the API token must be allowed: docs/operating.md.`,
  args: { text: "", min: 0, max: 0 },
  flags: {
    "dry-run": { help: "show the plan and change nothing; exit code 1 when something differs from it" },
    stage: {
      value: "NAME",
      help: `a further installation in the same account: every name ends with -NAME (default ${production})`,
      check: (text) => (stagePattern.test(text) ? undefined : "is a-z and 0-9, 16 characters at most"),
    },
    "env-file": {
      value: "FILE",
      help: "read the variables from this file (NAME=value lines, readable only by you: chmod 600)",
    },
    "ingress-domain": {
      value: "HOST",
      help: "a custom domain for the ingress instead of workers.dev",
      check: isHost,
    },
    "console-domain": { value: "HOST", help: "a custom domain for the console", check: isHost },
    "ttl-days": {
      value: "N",
      help: "when the schema is created: days after which ClickHouse drops spans (default: never)",
      check: wholeNumber(39, 10_000),
    },
    "trace-projection": {
      help: "when the schema is created: add what lists traces fast among 10^8 spans (docs/console.md says what it costs)",
    },
    "small-granules": {
      help: "when the schema is created: a trace opens faster among 10^8 spans (docs/console.md says what it costs)",
    },
    "private-clickhouse": {
      help: "the Workers reach CLICKHOUSE_URL through a binding named CLICKHOUSE (VPC), not over the internet",
    },
    "set-secrets": { help: "set every secret anew, not only those that are missing" },
    wrangler: { value: "PATH", help: "use this wrangler instead of the project's (or HEADRACE_WRANGLER)" },
    yes: yesFlag,
  },
  examples: [
    "headrace deploy --env-file headrace.env --dry-run",
    "headrace deploy --env-file headrace.env --ingress-domain otlp.example.com",
    "headrace deploy --env-file staging.env --stage staging --yes",
    "headrace deploy --env-file headrace.env --set-secrets",
  ],
  exitOne: "with --dry-run, something differs from the plan",
  asksConsole: false,
  run: deployInstallation,
};

/** What an installation may choose of its schema, when that is made. */
function schemaOf(
  given: Call["given"],
  { database, tracesTable }: Pick<SchemaSettings, "database" | "tracesTable">,
): SchemaSettings {
  return {
    ...defaultSchemaSettings,
    database,
    tracesTable,
    tracesTtlDays: given.has("ttl-days") ? Number(given.text("ttl-days")) : undefined,
    smallGranules: given.has("small-granules"),
    leaveOut: given.has("trace-projection") ? [] : defaultSchemaSettings.leaveOut,
  };
}

async function deployInstallation(call: Call): Promise<0 | 1> {
  const { given, context, say, json } = call;
  const stage = given.text("stage") ?? production;
  const env = environmentOf(call);
  const settings = settingsOf(call, env, stage);
  checkTokens(call, env, stage);
  const raw = await readRawConfig();
  const wrangler = context.wranglerAt(
    resolve(given.text("wrangler") ?? env["HEADRACE_WRANGLER"] ?? projectWrangler()),
    root,
    env,
  );
  const schemaUser = env["CLICKHOUSE_SCHEMA_USER"];
  const login = {
    url: settings.clickHouse.url,
    user: schemaUser ?? settings.clickHouse.user,
    password: env[schemaUser === undefined ? "CLICKHOUSE_PASSWORD" : "CLICKHOUSE_SCHEMA_PASSWORD"] ?? "",
  };
  const schema = schemaOf(given, settings.clickHouse);
  const replicas = replicasOf(env, login);
  await checkLogin(wrangler);
  const progress = createProgress(context.err);
  const present = await readPresent(
    wrangler,
    wantedOf(stageWorkers(raw, settings)),
    () => reached(login.url, () => pendingMigrations(replicas ?? statementRunner(login), schema)),
    (done, total) => progress.show("reading the present state", done, total, ""),
  );
  progress.end();
  const { namespaceId } = present;
  const idTime = chooseIdTimeFrom(env["ID_TIME_FROM"] ?? "", present, Date.now());
  const wanted = wantedOf(stageWorkers(raw, { ...settings, idTimeFrom: idTime.from }));
  const plan = planDeployment(wanted, present, {
    tagOf: (worker) =>
      namespaceId === undefined ? undefined : versionTag(root, worker, wanted, namespaceId),
    given: new Set(Object.keys(env).filter((name) => (env[name] ?? "") !== "")),
    setSecrets: given.has("set-secrets"),
  });
  sayPlan(call, plan);
  if (plan.conflicts.length > 0) {
    throw new UserError(plan.conflicts.join("\n"));
  }
  if (given.has("dry-run") || plan.steps.length === 0) {
    json({ stage, ...plan, done: false });
    return plan.steps.length === 0 ? 0 : 1;
  }
  const adminToken = env["HEADRACE_ADMIN_TOKEN"] ?? randomBytes(24).toString("base64url");
  const secrets = secretsOf(plan.steps, { ...env, ADMIN_TOKEN: adminToken });
  await confirm(call, counted(plan.steps.length, "step"));
  const addresses = await runPlan(plan.steps, namespaceId, {
    root,
    folder: join(root, "dist", "deploy", stage),
    wanted,
    wrangler,
    secretOf: (name, environment) => secrets.get(secretSource(name, environment, env)),
    migrate: async (which) => {
      await reached(login.url, () =>
        replicas === undefined
          ? migrateClickHouse(login, schema, which)
          : migrateReplicas(replicas, schema, which),
      );
    },
    beforeDeploy: (environment) => {
      if (environment === "ingress") {
        checkIdTimeFrom(idTime, Date.now());
      }
    },
    interrupted: context.interrupted,
    onStep: (step, index) => say(`[${index + 1}/${plan.steps.length}] ${step.what} …`),
  });
  const setsToken = plan.steps.some((step) => step.secrets.includes("ADMIN_TOKEN"));
  const profile = keepProfile(call, stage, addresses, setsToken ? adminToken : undefined);
  json({ stage, ...plan, done: true, addresses: Object.fromEntries(addresses) });
  sayNext(call, stage, profile);
  return 0;
}

/** The environment, with the file's variables where it has none. */
function environmentOf({ given, context }: Call): Readonly<Record<string, string | undefined>> {
  const path = given.text("env-file");
  if (path === undefined) {
    return context.env;
  }
  const text = context.readText(path);
  if (text === undefined) {
    throw new UserError(`there is no file ${path}`);
  }
  const mode = context.modeOf(path) ?? 0;
  if ((mode & 0o077) !== 0) {
    throw new UserError(
      `${path} holds secrets and is readable by others on this machine (mode ${(mode & 0o777).toString(8)}): chmod 600 ${path}`,
    );
  }
  return { ...parseEnv(text), ...context.env };
}

/** Refuses tokens that are easily guessed, or that open more than they are meant for. */
function checkTokens(
  { context }: Call,
  env: Readonly<Record<string, string | undefined>>,
  stage: string,
): void {
  const before = v.safeParse(profilesSchema, tryJson(context.readText(profilesPath(context)) ?? "{}"));
  const given = env["HEADRACE_ADMIN_TOKEN"];
  const kept = before.success ? before.output[stage]?.adminToken : undefined;
  const metrics = env["METRICS_TOKEN"] ?? "";
  const refusal = tokensRefusal([
    ...(given !== undefined
      ? [{ name: "HEADRACE_ADMIN_TOKEN", value: given }]
      : kept === undefined
        ? []
        : [{ name: `the admin token of profile ${stage}`, value: kept }]),
    ...(metrics === "" ? [] : [{ name: "METRICS_TOKEN", value: metrics }]),
  ]);
  if (refusal !== "") {
    throw new UserError(refusal);
  }
}

/** Undefined: the schema is one server's. */
function replicasOf(
  env: Readonly<Record<string, string | undefined>>,
  login: { readonly url: string; readonly user: string; readonly password: string },
): Replicas | undefined {
  const urls = (env["CLICKHOUSE_REPLICAS"] ?? "").split(",").map((url) => url.trim());
  const wrong = urls.find((url) => url !== "" && !(/^https?:\/\//.test(url) && URL.canParse(url)));
  if (wrong !== undefined) {
    throw new UserError(
      `CLICKHOUSE_REPLICAS is a list of addresses such as https://a:8443,https://b:8443: "${wrong}" is none`,
    );
  }
  const [first, ...others] = urls
    .filter((url) => url !== "")
    .map((url) => statementRunner({ ...login, url }));
  if (first !== undefined) {
    return { onCluster: null, servers: [first, ...others] };
  }
  const cluster = env["CLICKHOUSE_CLUSTER"] ?? "";
  return cluster === "" ? undefined : { onCluster: cluster, servers: [statementRunner(login)] };
}

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;

function settingsOf(
  { given }: Call,
  env: Readonly<Record<string, string | undefined>>,
  stage: string,
): InstallationSettings {
  const url = env["CLICKHOUSE_URL"] ?? "";
  const network = env["CLICKHOUSE_NETWORK"] ?? "";
  if (network !== "" && network !== privateNetworkWord) {
    throw new UserError(`CLICKHOUSE_NETWORK is ${privateNetworkWord} or empty, not "${network}"`);
  }
  const isPrivate = network === privateNetworkWord || given.has("private-clickhouse");
  const refusal = addressRefusal(url, isPrivate, {
    name: "CLICKHOUSE_URL",
    declare: `set CLICKHOUSE_NETWORK to ${privateNetworkWord}, or pass --private-clickhouse`,
  });
  if (refusal !== "") {
    throw new UserError(
      url === ""
        ? "set CLICKHOUSE_URL to the address of ClickHouse's HTTP interface, https://host:8443"
        : refusal,
    );
  }
  const { username, password, hostname } = new URL(url);
  if (username !== "" || password !== "") {
    throw new UserError(
      "CLICKHOUSE_URL is not secret: put the login into CLICKHOUSE_USER and CLICKHOUSE_PASSWORD",
    );
  }
  if (isLoopback(hostname) && !given.has("private-clickhouse")) {
    throw new UserError(
      `Cloudflare's Workers cannot reach ${hostname}: give an address that they can reach, or pass --private-clickhouse`,
    );
  }
  const named = (name: string, otherwise: string): string => {
    const text = env[name] ?? otherwise;
    if (!identifier.test(text)) {
      throw new UserError(`${name} is a name of letters, digits and _, not "${text}"`);
    }
    return text;
  };
  return {
    stage,
    clickHouse: {
      url,
      network,
      user: env["CLICKHOUSE_USER"] ?? "default",
      consoleUser: env["CLICKHOUSE_CONSOLE_USER"] ?? env["CLICKHOUSE_USER"] ?? "default",
      database: named("CLICKHOUSE_DATABASE", "default"),
      tracesTable: named("CLICKHOUSE_TRACES_TABLE", defaultSchemaSettings.tracesTable),
      cluster: env["CLICKHOUSE_CLUSTER"] ?? "",
    },
    access: accessOf(env),
    domains: { ingress: given.text("ingress-domain"), console: given.text("console-domain") },
    zoneId: zoneOf(env, given.text("ingress-domain")),
    idTimeFrom: "",
    collect: collectOf(env),
  };
}

/** Whether payloads share objects, how long one waits for others, and where; what is not said is as in wrangler.toml. */
function collectOf(env: Readonly<Record<string, string | undefined>>): InstallationSettings["collect"] {
  const { COLLECT: word = "", COLLECT_MS: ms = "", COLLECTOR_LOCATION: place = "" } = env;
  if (word !== "" && !collectWords.some((one) => one === word)) {
    throw new UserError(`COLLECT is ${collectWords.join(" or ")}, not "${word}"`);
  }
  if (parseCollectMs(ms) === undefined) {
    throw new UserError(`COLLECT_MS is a number of ms up to ${limits.collectMsMax}, not "${ms}"`);
  }
  if (parseCollectorLocation(place) === undefined) {
    throw new UserError(`COLLECTOR_LOCATION is one of ${collectorLocations.join(", ")}, not "${place}"`);
  }
  const said = { COLLECT: word, COLLECT_MS: ms, COLLECTOR_LOCATION: place };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== ""));
}

/** Cloudflare Access in front of the console: both are given, or neither. */
function accessOf(env: Readonly<Record<string, string | undefined>>): InstallationSettings["access"] {
  const team = env["ACCESS_TEAM_DOMAIN"] ?? "";
  const audience = env["ACCESS_AUD"] ?? "";
  if ((team === "") !== (audience === "")) {
    throw new UserError("set both of ACCESS_TEAM_DOMAIN and ACCESS_AUD, or neither");
  }
  if (team !== "" && !/^[a-z0-9-]+\.cloudflareaccess\.com$/.test(team)) {
    throw new UserError(`ACCESS_TEAM_DOMAIN is a domain such as acme.cloudflareaccess.com, not "${team}"`);
  }
  return { team, audience };
}

/** The zone that is watched, with the token for it; empty: none is. */
function zoneOf(
  env: Readonly<Record<string, string | undefined>>,
  ingressDomain: string | undefined,
): string {
  const zoneId = env["ZONE_ID"] ?? "";
  const hasToken = (env["ZONE_ANALYTICS_TOKEN"] ?? "") !== "";
  if (zoneId === "" && !hasToken) {
    return "";
  }
  if (!/^[0-9a-f]{32}$/.test(zoneId)) {
    throw new UserError(
      `ZONE_ID is the id of the ingress's zone, 32 hex digits (the dashboard shows it on the zone's overview)${zoneId === "" ? ": ZONE_ANALYTICS_TOKEN needs it" : `, not "${zoneId}"`}`,
    );
  }
  if (ingressDomain === undefined) {
    throw new UserError(
      "ZONE_ID is watched for the ingress's domain: pass --ingress-domain (a workers.dev address is in no zone of yours)",
    );
  }
  return zoneId;
}

const whoamiSchema = v.looseObject({
  loggedIn: v.optional(v.boolean()),
  accounts: v.optional(v.array(v.looseObject({ id: v.string(), name: v.string() }))),
});

async function checkLogin(wrangler: Wrangler): Promise<void> {
  const { ok, out, text } = await wrangler({ argv: ["whoami", "--json"] });
  const begin = out.indexOf("{");
  const parsed = v.safeParse(whoamiSchema, begin < 0 ? undefined : tryJson(out.slice(begin)));
  if (!ok || (parsed.success && parsed.output.loggedIn === false)) {
    throw new UserError(
      `wrangler is not logged in: set CLOUDFLARE_API_TOKEN (docs/operating.md lists what it must be allowed) and CLOUDFLARE_ACCOUNT_ID, or run \`npx wrangler login\`${ok ? "" : `\n${text.trim().split("\n").slice(-3).join("\n")}`}`,
    );
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** ClickHouse's own answers are complaints of its own; a network that does not answer is exit code 3. */
async function reached<T>(url: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    const text = error instanceof Error ? error.message : String(error);
    throw new UserError(
      `ClickHouse at ${url}: ${code === "" ? (text.split("\n")[0] ?? "") : code}`,
      error instanceof MigrationError || error instanceof ReplicasError ? 2 : 3,
      { cause: error },
    );
  }
}

/** The variable that a Worker's secret comes from: the console may have a login of its own. */
function secretSource(
  name: string,
  environment: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  return name === "CLICKHOUSE_PASSWORD" &&
    environment === "console" &&
    env["CLICKHOUSE_CONSOLE_USER"] !== undefined
    ? "CLICKHOUSE_CONSOLE_PASSWORD"
    : name;
}

/** Every value that the steps need, before the first of them is done. */
function secretsOf(
  steps: readonly Step[],
  env: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const names = steps.flatMap(({ secrets, secretsOf }) =>
    secrets.map((name) => secretSource(name, secretsOf, env)),
  );
  for (const name of new Set(names)) {
    const value = env[name];
    if (value === undefined) {
      throw new UserError(
        `set ${name} in the environment or the --env-file (it may be empty): a Worker needs it as a secret`,
      );
    }
    values.set(name, value);
  }
  return values;
}

function sayPlan({ say }: Call, { steps, asPlanned }: Plan): void {
  if (asPlanned.length > 0) {
    say(`As planned: ${asPlanned.join(", ")}.`);
  }
  if (steps.length === 0) {
    say("There is nothing to do.");
    return;
  }
  say(asPlanned.length === 0 ? "To be done:" : "\nTo be done:");
  for (const [index, { what, does, argv, environment }] of steps.entries()) {
    say(`${String(index + 1).padStart(3)}. ${what}\n     ${does}`);
    if (argv.length > 0) {
      const more = environment === undefined ? "" : ` --config dist/deploy/…/${environment}.json --tag hr-…`;
      say(`     wrangler ${argv.join(" ")}${more}`);
    }
  }
}

/** Writes the installation into the profile file, readable by its owner only, as far as its parts are known. */
function keepProfile(
  { context }: Call,
  stage: string,
  addresses: Addresses,
  adminToken: string | undefined,
): Profile | undefined {
  const path = profilesPath(context);
  const parsed = v.safeParse(profilesSchema, tryJson(context.readText(path) ?? "{}"));
  if (!parsed.success) {
    throw new UserError(
      `everything is deployed, but ${path} is damaged and was not changed: move it away and run this again`,
    );
  }
  const before = parsed.output[stage];
  const console = addresses.get("console") ?? before?.console;
  const token = adminToken ?? before?.adminToken;
  const otlp = addresses.get("ingress") ?? before?.otlp;
  if (console === undefined || token === undefined) {
    return undefined;
  }
  const profile: Profile = { ...before, console, adminToken: token, ...(otlp === undefined ? {} : { otlp }) };
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Written beside and renamed: at no moment is it open to others, or half a file.
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(beside, `${JSON.stringify({ ...parsed.output, [stage]: profile }, null, 2)}\n`, {
      mode: 0o600,
      flag: "wx",
    });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
  return profile;
}

function sayNext({ say, context }: Call, stage: string, profile: Profile | undefined): void {
  if (profile === undefined) {
    say(
      "\nDeployed. The console's address or token is not known here: set HEADRACE_CONSOLE_URL and HEADRACE_ADMIN_TOKEN, or run this again with --set-secrets.",
    );
    return;
  }
  say(`
Deployed. ${profilesPath(context)} has the profile ${stage}.

  OTLP/HTTP  ${profile.otlp ?? "(see the Worker's page)"}/v1/traces
  Console    ${profile.console}

Next:
  npx headrace keys create --profile ${stage} --tenant acme --name "first key"
  npx headrace doctor --profile ${stage}`);
}
