/**
 * Starts the longest files of a project first, so that none of them runs alone at the end. vitest knows how long a file took the
 * last time; where there was no last time, as in a new checkout, it goes by their sizes, and the longest are among the smallest.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { assert } from "../shared/assert.ts";

/** Half a minute and more, the longest first. The others are as vitest sorts them. */
const longest = [
  "test/faults/model.test.ts",
  "test/e2e/verify.test.ts",
  "test/e2e/chaos.test.ts",
  "test/e2e/start-and-stop.test.ts",
  "test/e2e/exporter-to-rows.test.ts",
  "test/e2e/console-page.test.ts",
  "test/e2e/strange-clickhouse.test.ts",
].map((file) => {
  const path = join(import.meta.dirname, "..", file);
  assert(existsSync(path), `${file} is there`);
  return path;
});

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const projects = Map.groupBy(sorted, ({ project }) => project);
    return [...projects.values()].flatMap((own) => {
      const first = longest.flatMap((file) => own.filter(({ moduleId }) => moduleId === file));
      return [...first, ...own.filter((one) => !first.includes(one))];
    });
  }
}
