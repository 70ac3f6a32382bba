/**
 * `npm run test:faults -- --compare <git ref>`: schedules per second of the working tree and of another version, in one run. Each
 * version runs its own test/faults/run.ts as a process, in turns, so that what else the machine does strikes both alike.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

export interface ComparedRates {
  /** Schedules per second on one thread, of the best round: whatever else the machine does only makes a round slower. */
  readonly before: number;
  readonly now: number;
  /** now / before */
  readonly ratio: number;
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
    // The other version may be older than its harsh worlds, and then runs the others anyway.
    const mild = readFileSync(join(other, "test/faults/run.ts"), "utf8").includes("mild:") ? ["--mild"] : [];
    const before = { name: `${ref} (${commit})`, tree: other, flags: mild, best: 0 };
    const now = { name: "working tree", tree: root, flags: ["--mild"], best: 0 };
    for (let round = 0; round < rounds; round++) {
      // The one that was second is first in the next round: neither always finds the machine warm.
      for (const version of round % 2 === 0 ? [before, now] : [now, before]) {
        const rate = rateOf(version, schedules, firstSeed + round * schedules);
        version.best = Math.max(version.best, rate);
        console.log(`round ${round + 1}  ${version.name}: ${rate.toFixed(0)} schedules per second`);
      }
    }
    return { before: before.best, now: now.best, ratio: now.best / before.best };
  } finally {
    git("worktree", "remove", "--force", other);
    rmSync(folder, { recursive: true, force: true });
  }
}

function rateOf(
  { tree, flags }: { readonly tree: string; readonly flags: readonly string[] },
  schedules: number,
  firstSeed: number,
): number {
  const args = ["test/faults/run.ts", ...flags, "--threads", "1", "--schedules", String(schedules)];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...args, "--from", String(firstSeed)], {
    cwd: tree,
    encoding: "utf8",
  });
  const [, ran, seconds] = /(\d+) schedules in ([\d.]+) s/.exec(stdout) ?? [];
  if (status !== 0 || ran === undefined || seconds === undefined) {
    throw new Error(`the model of ${tree} failed: ${stdout}${stderr}`);
  }
  return Number(ran) / Number(seconds);
}

function git(...args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  if (status !== 0) {
    throw new Error(`git ${args.join(" ")}: ${stderr}`);
  }
  return stdout;
}
