/**
 * `npm run test:faults -- --compare <git ref>`: schedules per second of CPU, of the working tree and of another version, in one
 * run. Each version runs its own model as a process, in turns, so that what else the machine does strikes both alike.
 *
 * Compared is what both have: the profiles of these names, without the harsh worlds. A profile that one of them lacks says nothing of
 * the other's rate, and is named.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";

const root = join(import.meta.dirname, "../..");

export interface ComparedRates {
  /** Schedules per second of CPU on one thread, of the best round: whatever else the machine does only makes a round slower. */
  readonly before: number;
  readonly now: number;
  /** now / before */
  readonly ratio: number;
  /** Profiles of one version only: not run. */
  readonly leftOut: readonly string[];
}

/** `schedules` each round and version, the same seeds in both. Prints every round. */
export function compareWith(
  ref: string,
  schedules: number,
  rounds: number,
  firstSeed: number,
): ComparedRates {
  const folder = mkdtempSync(join(tmpdir(), "headrace-compare-"));
  const other = join(folder, "tree");
  git("worktree", "add", "--detach", other, ref);
  try {
    symlinkSync(join(root, "node_modules"), join(other, "node_modules"));
    const commit = git("-C", other, "rev-parse", "--short", "HEAD").trim();
    const before = { name: `${ref} (${commit})`, tree: other, best: 0 };
    const now = { name: "working tree", tree: root, best: 0 };
    const script = join(folder, "script.mjs");
    const own = profilesOf(now.tree, script);
    const others = profilesOf(before.tree, script);
    const shared = own.filter((name) => others.includes(name));
    for (let round = 0; round < rounds; round++) {
      // The one that was second is first in the next round: neither always finds the machine warm.
      for (const version of round % 2 === 0 ? [before, now] : [now, before]) {
        const rate = rateOf(version.tree, script, shared, schedules, firstSeed + round * schedules);
        version.best = Math.max(version.best, rate);
        console.log(`round ${round + 1}  ${version.name}: ${rate.toFixed(0)} schedules per second of CPU`);
      }
    }
    const leftOut = [...own, ...others].filter((name) => !shared.includes(name));
    return { before: before.best, now: now.best, ratio: now.best / before.best, leftOut };
  } finally {
    git("worktree", "remove", "--force", other);
    rmSync(folder, { recursive: true, force: true });
  }
}

const profilesSchema = v.array(v.string());

function profilesOf(tree: string, script: string): readonly string[] {
  const code = `import { profiles } from "${tree}/test/faults/world/profile.ts";
    console.log(JSON.stringify(profiles.map(({ name }) => name)));`;
  return v.parse(profilesSchema, JSON.parse(runIn(tree, script, code)));
}

const ranSchema = v.object({ text: v.string(), failure: v.unknown(), cpuMs: v.number() });

/** The CPU is that of the process, all of its threads: the model's, and V8's own that compile and collect. */
function rateOf(
  tree: string,
  script: string,
  profiles: readonly string[],
  schedules: number,
  firstSeed: number,
): number {
  const code = `import { runShares, seedShares } from "${tree}/test/faults/run-schedules.ts";
    const began = process.cpuUsage();
    const { text, failure } = await runShares(seedShares(${JSON.stringify(profiles)}, ${firstSeed}, ${schedules}), 1);
    const { user, system } = process.cpuUsage(began);
    console.log(JSON.stringify({ text, failure, cpuMs: (user + system) / 1000 }));`;
  const { text, failure, cpuMs } = v.parse(ranSchema, JSON.parse(runIn(tree, script, code)));
  const [, ran] = /^(\d+) schedules/.exec(text) ?? [];
  if (failure !== null || ran === undefined) {
    throw new Error(`the model of ${tree} failed: ${text} ${JSON.stringify(failure)}`);
  }
  return Number(ran) / (cpuMs / 1000);
}

/** What this code prints, run in this version's folder. A file, for what the command line says holds in its threads too. */
function runIn(tree: string, script: string, code: string): string {
  writeFileSync(script, code);
  const { stdout, stderr, status } = spawnSync(process.execPath, [script], { cwd: tree, encoding: "utf8" });
  if (status !== 0) {
    throw new Error(`the model of ${tree} failed: ${stdout}${stderr}`);
  }
  return stdout;
}

function git(...args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  if (status !== 0) {
    throw new Error(`git ${args.join(" ")}: ${stderr}`);
  }
  return stdout;
}
