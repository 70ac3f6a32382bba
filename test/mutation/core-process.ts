/**
 * A process that keeps vitest warm: it is sent a mutant, runs the `core` tests that are related to its file, and sends
 * back what the first of them that fails says. A mutant that never ends is ended with the process, from outside.
 */
import { join } from "node:path";
import { createVitest } from "vitest/node";
import type { CoreAnswer, CoreTask } from "./core-tests.ts";

const root = join(import.meta.dirname, "../..");

/** The file that reads otherwise than it is on the disk. */
let changed: { readonly path: string; readonly text: string } | null = null;

const vitest = await createVitest(
  "test",
  {
    root,
    config: false,
    watch: false,
    pool: "threads",
    isolate: false,
    fileParallelism: false,
    maxWorkers: 1,
    bail: 1,
    testTimeout: 600_000, // a busy machine catches nothing: what does not end is ended by who started this process
    hookTimeout: 600_000,
    reporters: [{}],
    silent: true,
    include: ["test/core/**/*.test.ts"],
    fsModuleCache: false, // it would remember what a mutant was not
  },
  {
    plugins: [
      {
        name: "mutant",
        enforce: "pre",
        load: (id) => (id === changed?.path ? changed.text : undefined),
      },
    ],
  },
);
const all = await vitest.globTestSpecifications();

async function run({ file, text, tests }: CoreTask): Promise<CoreAnswer> {
  const before = changed?.path;
  changed = text === null ? null : { path: join(root, file), text };
  for (const path of [before, changed?.path]) {
    if (path !== undefined) {
      vitest.invalidateFile(path);
    }
  }
  // What an earlier mutant failed is no answer for this one.
  vitest.state.clearErrors();
  vitest.state.filesMap.clear();
  const wanted = new Set(tests.map((test) => join(root, test)));
  const specifications = all.filter(({ moduleId }) => wanted.has(moduleId));
  const ended = await vitest.runTestSpecifications(specifications);
  const testModules = ended.testModules.filter(({ moduleId }) => wanted.has(moduleId));
  const { unhandledErrors } = ended;
  for (const module of testModules) {
    for (const test of module.children.allTests("failed")) {
      return { failed: `${module.relativeModuleId}: ${test.fullName}` };
    }
    if (module.errors().length > 0) {
      return { failed: `${module.relativeModuleId}: ${module.errors()[0]?.message ?? "does not load"}` };
    }
  }
  const ran = testModules.filter((module) => module.state() === "passed").length;
  if (unhandledErrors.length > 0 || ran < specifications.length) {
    return {
      failed: `${ran} of ${specifications.length} test files ran; ${String(unhandledErrors[0] ?? "")}`,
    };
  }
  return { failed: null };
}

process.on("message", (task: CoreTask) => {
  run(task).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ failed: `vitest: ${String(error)}` } satisfies CoreAnswer),
  );
});
process.on("disconnect", () => process.exit());
