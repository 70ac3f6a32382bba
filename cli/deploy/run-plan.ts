/** Does the steps of a plan in their order, and stops at the first that fails: run again, it goes on from there. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import { UserError } from "../user-error.ts";
import type { Step } from "./plan.ts";
import { parseNamespaceId } from "./present.ts";
import { lastLines } from "./read-present.ts";
import { configFile } from "./stage-config.ts";
import { versionTag } from "./version-tag.ts";
import type { Wanted } from "./wanted.ts";
import type { Wrangler } from "./wrangler.ts";

export interface Work {
  readonly root: string;
  /** Where flattened configurations are written; made where it is missing. */
  readonly folder: string;
  readonly wanted: Wanted;
  readonly wrangler: Wrangler;
  readonly secretOf: (name: string, environment: string | undefined) => string | undefined;
  readonly migrate: (which: "early" | "all") => Promise<void>;
  /** Throws `UserError` where a Worker may no longer be deployed as it was planned. */
  readonly beforeDeploy: (environment: string) => void;
  readonly interrupted: AbortSignal;
  readonly onStep: (step: Step, index: number) => void;
}

/** Addresses of the Workers that were deployed, by environment. */
export type Addresses = ReadonlyMap<string, string>;

/** `namespaceId`: undefined where a step makes the namespace. Throws `UserError` naming the step that failed. */
export async function runPlan(
  steps: readonly Step[],
  namespaceId: string | undefined,
  work: Work,
): Promise<Addresses> {
  const addresses = new Map<string, string>();
  let namespace = namespaceId;
  for (const [index, step] of steps.entries()) {
    if (work.interrupted.aborted) {
      throw new UserError(
        `interrupted before: ${step.what}. Run the same command again to continue from there`,
        130,
      );
    }
    work.onStep(step, index);
    if (step.kind === "schema" || step.kind === "schema_end") {
      await work.migrate(step.kind === "schema" ? "early" : "all");
    } else if (step.environment !== undefined) {
      work.beforeDeploy(step.environment);
      namespace ??= await readNamespace(work);
      const address = await deployWorker(step, step.environment, namespace, work);
      if (address !== undefined) {
        addresses.set(step.environment, address);
      }
    } else {
      await runWrangler(step, step.argv, {}, work);
    }
  }
  return addresses;
}

async function runWrangler(
  step: Step,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  { wrangler, secretOf }: Work,
): Promise<string> {
  const values = Object.fromEntries(
    step.secrets.map((name) => {
      const value = secretOf(name, step.secretsOf);
      assert(value !== undefined, `the secret ${name} was asked for before the plan was run`);
      return [name, value];
    }),
  );
  const answer = await wrangler({
    argv,
    env,
    ...(step.secrets.length === 0 ? {} : { stdin: JSON.stringify(values) }),
  });
  if (!answer.ok) {
    throw new UserError(
      `${step.what} failed, and nothing after it was done. Fix the cause, then run the same command again to continue.\nwrangler ${argv.join(" ")}\n${lastLines(answer.text)}`,
      3,
    );
  }
  return answer.out;
}

/** The id of the namespace that an earlier step has made: what `create` prints is for people. */
async function readNamespace({ wrangler, wanted }: Work): Promise<string> {
  const { ok, out, text } = await wrangler({ argv: ["kv", "namespace", "list"] });
  const id = ok ? parseNamespaceId(out, wanted.namespace) : undefined;
  if (id === undefined) {
    throw new UserError(
      `the KV namespace ${wanted.namespace} is not listed yet: run this again\n${lastLines(text)}`,
      3,
    );
  }
  return id;
}

const outputSchema = v.looseObject({
  type: v.string(),
  targets: v.optional(v.nullable(v.array(v.string()))),
});

/** Resolves with the Worker's address, where it has one. */
async function deployWorker(
  step: Step,
  environment: string,
  namespace: string,
  work: Work,
): Promise<string | undefined> {
  const worker = work.wanted.workers.find((one) => one.worker.environment === environment);
  assert(worker !== undefined, "a step names a Worker of the plan");
  const tag = versionTag(work.root, worker, work.wanted, namespace);
  const config = writeConfig(worker.worker.environment, namespace, work);
  // wrangler writes what it did, one JSON object a line, for programs.
  const output = join(work.folder, `${environment}.output.ndjson`);
  rmSync(output, { force: true });
  const argv = ["deploy", "--config", config, "--tag", tag];
  await runWrangler(step, argv, { WRANGLER_OUTPUT_FILE_PATH: output }, work);
  return readAddress(output);
}

/** Writes the configuration of one Worker of the stage and returns its path. */
function writeConfig(
  environment: string,
  namespace: string,
  { root, folder, wanted }: Pick<Work, "root" | "folder" | "wanted">,
): string {
  const worker = wanted.workers.find((one) => one.worker.environment === environment);
  assert(worker !== undefined, "the environment is one of the plan");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${environment}.json`);
  const config = configFile(worker.worker, namespace, (relative) => resolve(root, relative));
  writeFileSync(path, `${JSON.stringify(config, null, 2)}\n`);
  return path;
}

function readAddress(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined; // the address is printed by wrangler too; the profile is then written without it
  }
  for (const line of text.split("\n").filter((one) => one !== "")) {
    const entry = v.safeParse(outputSchema, JSON.parse(line));
    if (entry.success && entry.output.type === "deploy") {
      const [target] = (entry.output.targets ?? []).flatMap(
        (one) => /^(https:\/\/)?([\w-]+\.)+[a-z]+/.exec(one)?.[0] ?? [],
      );
      return target === undefined || target.startsWith("https://") ? target : `https://${target}`;
    }
  }
  return undefined;
}
