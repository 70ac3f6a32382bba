/**
 * `npm test`: types, lint, then every test project, and at the end how long each of them took and one line that says how
 * it went. A failing step does not keep the later ones from running: one run tells everything that is wrong.
 *
 * It stays below six minutes on two cores. What does not fit is named in `searches`, and run by `npm run test:all` (`--all`).
 * `npm run check` (`--check`) is the same with the tests of the projects `core` and `tidy` alone.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { whyNoStand } from "./cluster/stand.ts";

const reportSchema = v.object({
  numPassedTests: v.number(),
  numFailedTests: v.number(),
  numFailedTestSuites: v.number(),
  success: v.boolean(),
});

const { values: options } = parseArgs({
  options: { all: { type: "boolean", default: false }, check: { type: "boolean", default: false } },
});

/** Behind the tests, each by its exit code: those that search, with random seeds, and find more the longer they run. */
const searches: readonly (readonly [title: string, ...args: string[]])[] = [
  ["schedules of the model", "test/faults/run.ts", "--schedules", "100000"],
  ["seeded bugs that the model must catch", "test/faults/run-mutants.ts"],
  ["chaos on the real parts", "test/chaos/main.ts", "--minutes", "5"],
  ["generated mutants", "test/mutation/main.ts", "--sample", "150"],
];

/**
 * With `--all`, the model runs all schedules of its small worlds and more of the others, hostile bodies are more (test/faults), and
 * tests that wait on purpose wait longer (test/e2e/unread-log.test.ts, strange-clickhouse.test.ts).
 */
function run(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}`);
  const began = Date.now();
  const env = { ...process.env, ...(options.all ? { HEADRACE_LONG: "1" } : {}) };
  const isGood = spawnSync(command, args, { stdio: "inherit", env }).status === 0;
  took.push(`${String(Math.round((Date.now() - began) / 1000)).padStart(5)} s  ${title}`);
  return isGood;
}

const took: string[] = [];
const folder = mkdtempSync(join(tmpdir(), "headrace-test-"));
const reportFile = join(folder, "report.json");
const began = Date.now();

const checks = [
  run("types", "tsc", ["--noEmit", "-p", "."]),
  run("types of the page", "tsc", ["--noEmit", "-p", "workers/console/page"]),
  run("lint", "biome", ["check", "--error-on-warnings", "."]),
];
const tests = run("tests", "vitest", [
  "run",
  ...(options.check ? ["--project", "core", "--project", "tidy"] : []),
  "--reporter=default",
  `--reporter=${join(import.meta.dirname, "durations-reporter.ts")}`,
  "--reporter=json",
  `--outputFile=${reportFile}`,
]);

if (options.all) {
  for (const [title, ...args] of searches) {
    checks.push(run(title, "node", args));
  }
}

let passed = checks.filter((good) => good).length;
let failed = checks.length - passed;
try {
  const report = v.parse(reportSchema, JSON.parse(readFileSync(reportFile, "utf8")));
  passed += report.numPassedTests;
  // A file that cannot be loaded fails without a failing test in it.
  failed += report.success && tests ? 0 : Math.max(report.numFailedTests, report.numFailedTestSuites, 1);
} catch (error) {
  console.error(`The tests left no report: ${String(error)}`);
  failed += 1;
}
rmSync(folder, { recursive: true, force: true });

if (!options.check) {
  const noStand = whyNoStand();
  console.log(
    `\nReplicas were not tried: \`npm run test:cluster\` does, in 4 minutes${noStand === "" ? "" : `, but not here (${noStand})`}.`,
  );
}
console.log(`\n== steps\n${took.join("\n")}`);
console.log(`\n${passed} passed, ${failed} failed (${Math.round((Date.now() - began) / 1000)} s)`);
process.exit(failed === 0 ? 0 : 1);
