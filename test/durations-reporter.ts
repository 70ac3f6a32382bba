/** A reporter of vitest that says at the end how long each project took, the slowest first, and which file the longest. */
import { basename } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

export default class DurationsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const projects = new Map<string, { ms: number; files: number; slowest: string; slowestMs: number }>();
    for (const module of modules) {
      const { name } = module.project;
      const all = projects.get(name) ?? { ms: 0, files: 0, slowest: "", slowestMs: -1 };
      const ms = durationMs(module);
      projects.set(name, {
        ms: all.ms + ms,
        files: all.files + 1,
        slowest: ms > all.slowestMs ? basename(module.moduleId) : all.slowest,
        slowestMs: Math.max(ms, all.slowestMs),
      });
    }
    const rows = [...projects].sort(([, a], [, b]) => b.ms - a.ms);
    console.log("\n== durations, the files of a project added up (several run at a time)");
    for (const [name, { ms, files, slowest, slowestMs }] of rows) {
      const seconds = (ms / 1000).toFixed(1).padStart(7);
      console.log(
        `${seconds} s  ${name}: ${files} files, the longest ${slowest} with ${(slowestMs / 1000).toFixed(1)} s`,
      );
    }
  }
}

/** Everything that vitest does for a file: its environment, loading it, its hooks and tests. */
function durationMs(module: TestModule): number {
  const { environmentSetupDuration, prepareDuration, collectDuration, setupDuration, duration } =
    module.diagnostic();
  return environmentSetupDuration + prepareDuration + collectDuration + setupDuration + duration;
}
