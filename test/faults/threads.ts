/** Runs schedules in threads, from one bundle of the model; a mutant is the bundle with its text changed. */
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { build, type Plugin } from "esbuild";
import type { Mutant } from "./mutants.ts";
import type { Share, ShareResult } from "./schedule-worker.ts";

const root = join(import.meta.dirname, "../..");

/** The model as one script. Throws when a mutant's text is not in its file exactly once. */
export async function bundleModel(mutant: Mutant | null = null): Promise<string> {
  let isApplied = mutant === null;
  const mutate: Plugin = {
    name: "mutate",
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        if (mutant === null || relative(root, path) !== mutant.file) {
          return { contents: withPlainNames(text), loader: "ts" };
        }
        isApplied = true;
        return { contents: withPlainNames(mutateText(text, mutant)), loader: "ts" };
      });
    },
  };
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "schedule-worker.ts")],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node22",
    logLevel: "error",
    plugins: [mutate],
  });
  if (!isApplied) {
    throw new Error(`${mutant?.name}: ${mutant?.file} is no part of the model`);
  }
  return outputFiles[0]?.text ?? "";
}

/**
 * Private members as plain ones: `this.#clock` is `this.$clock`. V8's compilers but the last one have a call for each look at a private
 * member, and one for each that a constructor makes. A place that this leaves out is a syntax error.
 */
function withPlainNames(text: string): string {
  return text
    .replaceAll(/(?<=\.)#(?=[a-z])/g, "$$")
    .replaceAll(/^( +(?:(?:readonly|static|async|get|set) )*\*?)#(?=[a-z])/gm, "$1$$");
}

function mutateText(text: string, { name, file, find, replace }: Mutant): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`mutant "${name}": its text occurs ${parts.length - 1} times in ${file}`);
  }
  return parts.join(replace);
}

/**
 * V8's last compiler begins after so many calls of a function, and not after 3000. Schedules take every way through the protocol, one of
 * them sooner or later the one that was compiled away: then it is compiled once more. That was a fourth of all CPU.
 */
setFlagsFromString("--invocation-count-for-turbofan=60000");

/** A thread that takes shares, one after the other: its code is compiled and made fast once, and not once a share. */
export class ModelThread {
  readonly #worker: Worker;

  constructor(bundle: string) {
    const resourceLimits = { maxYoungGenerationSizeMb };
    this.#worker = new Worker(bundle, { eval: true, resourceLimits });
  }

  async run(share: Share): Promise<ShareResult> {
    const worker = this.#worker;
    return await new Promise((resolve, reject) => {
      const exited = (code: number): void => reject(new Error(`a thread ended with ${code}`));
      worker.once("error", reject);
      worker.once("exit", exited);
      worker.once("message", (result: ShareResult) => {
        worker.off("error", reject);
        worker.off("exit", exited);
        resolve(result);
      });
      worker.postMessage(share);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Nearly everything that a schedule makes is garbage when it ends: the fewer collections meanwhile, the less is moved. */
const maxYoungGenerationSizeMb = 192;

/** One share in a thread of its own. */
export async function runInThread(bundle: string, share: Share): Promise<ShareResult> {
  const thread = new ModelThread(bundle);
  try {
    return await thread.run(share);
  } finally {
    await thread.close();
  }
}
