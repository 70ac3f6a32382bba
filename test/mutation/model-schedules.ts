/**
 * A mutant against the model (test/faults): schedules by seed over all profiles, and all harsh ones in which nothing is known to
 * fail, until one breaks an invariant.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expectedFailures } from "../faults/expected-failures.ts";
import type { Share, ShareResult } from "../faults/schedule-worker.ts";
import { bundleModel } from "../faults/threads.ts";
import { harshProfiles } from "../faults/world/harsh-profiles.ts";
import { profiles } from "../faults/world/profile.ts";

const failing = new Set(expectedFailures.map(({ profile }) => profile));
const tried = [...profiles, ...harshProfiles].map(({ name }) => name).filter((name) => !failing.has(name));

const root = join(import.meta.dirname, "../..");

export type ModelAnswer =
  | { readonly kind: "passed" }
  /** An invariant that broke, or an error that no schedule of the unchanged code throws. */
  | { readonly kind: "failed"; readonly how: string }
  | { readonly kind: "timeout" }
  /** The model does not load the file. */
  | { readonly kind: "not in the model" };

/** `text`: what the file reads as; null: as it is. */
export async function runModel(
  file: string,
  text: string | null,
  schedules: number,
  timeoutMs: number,
): Promise<ModelAnswer> {
  let bundle: string;
  try {
    const find = readFileSync(join(root, file), "utf8");
    const change = { name: file, file, find, replace: text ?? find, profile: "" };
    bundle = await bundleModel(change);
  } catch (error) {
    if (String(error).includes("is no part of the model")) {
      return { kind: "not in the model" };
    }
    throw error;
  }
  const share: Share = { kind: "seeds", profiles: tried, firstSeed: 1, stride: 1, schedules };
  const worker = new Worker(bundle, { eval: true, stdout: true, stderr: true });
  const answer = await new Promise<ModelAnswer>((resolve) => {
    const timer = setTimeout(() => resolve({ kind: "timeout" }), timeoutMs);
    const end = (ended: ModelAnswer): void => {
      clearTimeout(timer);
      resolve(ended);
    };
    worker.once("message", ({ failure }: ShareResult) =>
      end(
        failure === null
          ? { kind: "passed" }
          : { kind: "failed", how: `${failure.invariant}, ${failure.profile}, seed ${failure.seed}` },
      ),
    );
    worker.once("error", (error) => end({ kind: "failed", how: String(error).slice(0, 200) }));
    worker.postMessage(share);
  });
  await worker.terminate();
  return answer;
}
