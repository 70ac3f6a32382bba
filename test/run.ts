/**
 * `npm test`: types, lint, then every test project, and at the end how long each of them took and one line that says how
 * it went. A failing step does not keep the later ones from running: one run tells everything that is wrong.
 *
 * It stays below six minutes on two cores. What does not fit is named in `searches`, and run by `npm run test:all` (`--all`).
 * `npm run check` (`--check`) is the same with the tests of the projects `core` and `tidy` alone.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { getPriority, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { whyNoStand } from "./cluster/stand.ts";

const reportSchema = v.object({
  numPassedTests: v.number(),
  numFailedTests: v.number(),
  testResults: v.array(
    v.object({ status: v.string(), assertionResults: v.array(v.object({ status: v.string() })) }),
  ),
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

const env = { ...process.env, ...(options.all ? { HEADRACE_LONG: "1" } : {}) };

/**
 * With `--all`, the model runs all schedules of its small worlds and more of the others, hostile bodies are more (test/faults), and
 * tests that wait on purpose wait longer (test/e2e/unread-log.test.ts, strange-clickhouse.test.ts).
 */
function run(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}`);
  const began = Date.now();
  const isGood = spawnSync(command, args, { stdio: "inherit", env }).status === 0;
  took.push(`${String(Math.round((Date.now() - began) / 1000)).padStart(5)} s  ${title}`);
  return isGood;
}

/** The tests of some projects: one process of vitest, and the report that it leaves. */
interface TestRun {
  readonly title: string;
  readonly projects: readonly string[];
  /** The others are shown what they print at once, this one when both have ended. */
  readonly isShownLater: boolean;
  /** Added to this process's own. */
  readonly niceness: number;
}

/**
 * Tests of the whole pipeline wait for deadlines more than half of their time, the others compute: side by side they take two thirds
 * of the time of one after the other. Those that wait get three times the CPU of the others where there is not enough for both: they are
 * the longest, and hardly slower than alone.
 */
const sideBySide: readonly TestRun[] = [
  {
    title: "tests of the pipeline",
    projects: ["e2e"],
    isShownLater: true,
    niceness: 0,
  },
  {
    title: "other tests",
    projects: ["!e2e"],
    isShownLater: false,
    niceness: 5,
  },
];
const fastOnly: readonly TestRun[] = [
  {
    title: "tests",
    projects: ["core", "tidy"],
    isShownLater: false,
    niceness: 0,
  },
];

const reportOf = ({ title }: TestRun): string => join(folder, `${title.replaceAll(" ", "-")}.json`);

async function runTests(tests: TestRun): Promise<boolean> {
  const { title, projects, isShownLater, niceness } = tests;
  const began = Date.now();
  const args = [
    "run",
    ...projects.flatMap((name) => ["--project", name]),
    "--reporter=default",
    `--reporter=${join(import.meta.dirname, "durations-reporter.ts")}`,
    "--reporter=json",
    `--outputFile=${reportOf(tests)}`,
  ];
  const stdio = isShownLater
    ? (["ignore", "pipe", "pipe"] as const)
    : (["ignore", "inherit", "inherit"] as const);
  const child = spawn("vitest", args, { stdio: [...stdio], env });
  if (child.pid !== undefined && niceness > 0) {
    setPriority(child.pid, Math.min(19, getPriority() + niceness)); // its workers and servers inherit it
  }
  const printed: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (bytes: Buffer) => printed.push(bytes));
  }
  const isGood = await new Promise<boolean>((resolve) => {
    child.once("error", (error) => {
      console.error(String(error));
      resolve(false);
    });
    child.once("close", (code) => resolve(code === 0));
  });
  took.push(`${String(Math.round((Date.now() - began) / 1000)).padStart(5)} s  ${title}`);
  if (isShownLater) {
    shownLater.push(() => process.stdout.write(Buffer.concat([Buffer.from(`\n== ${title}\n`), ...printed])));
  }
  return isGood;
}

const took: string[] = [];
const shownLater: (() => void)[] = [];
const folder = mkdtempSync(join(tmpdir(), "headrace-test-"));
const began = Date.now();

const checks = [
  run("types", "tsc", ["--noEmit", "-p", "."]),
  run("types of the page", "tsc", ["--noEmit", "-p", "workers/console/page"]),
  run("lint", "biome", ["check", "--error-on-warnings", "."]),
];
console.log("\n== tests");
const testRuns = options.check ? fastOnly : sideBySide;
const testsAreGood = await Promise.all(testRuns.map(runTests));
for (const show of shownLater) {
  show();
}

if (options.all) {
  for (const [title, ...args] of searches) {
    checks.push(run(title, "node", args));
  }
}

let passed = checks.filter((good) => good).length;
let failed = checks.length - passed;
for (const [index, tests] of testRuns.entries()) {
  try {
    const report = v.parse(reportSchema, JSON.parse(readFileSync(reportOf(tests), "utf8")));
    passed += report.numPassedTests;
    // A file that cannot be loaded fails without a failing test in it.
    const filesAlone = report.testResults.filter(
      ({ status, assertionResults }) =>
        status === "failed" && !assertionResults.some((test) => test.status === "failed"),
    ).length;
    const isGood = report.success && testsAreGood[index] === true;
    failed += isGood ? 0 : Math.max(report.numFailedTests + filesAlone, 1);
  } catch (error) {
    console.error(`The ${tests.title} left no report: ${String(error)}`);
    failed += 1;
  }
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
