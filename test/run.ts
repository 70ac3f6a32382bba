/**
 * `npm test`: types, lint, then every test project, and at the end one line that says how it went. A failing step
 * does not keep the later ones from running: one run tells everything that is wrong.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";

const reportSchema = v.object({
  numPassedTests: v.number(),
  numFailedTests: v.number(),
  numFailedTestSuites: v.number(),
  success: v.boolean(),
});

function run(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}`);
  return spawnSync(command, args, { stdio: "inherit" }).status === 0;
}

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
  "--reporter=default",
  "--reporter=json",
  `--outputFile=${reportFile}`,
]);

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

console.log(`\n${passed} passed, ${failed} failed (${Math.round((Date.now() - began) / 1000)} s)`);
process.exit(failed === 0 ? 0 : 1);
