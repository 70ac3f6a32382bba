/** The seeded bugs of the model are changes of texts: each text is in its file, so that the code cannot leave them behind unseen. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mutants } from "../faults/mutants.ts";

const root = join(import.meta.dirname, "../..");

test("each seeded bug changes a text that its file has once", () => {
  const occurrences = ({ file, find }: (typeof mutants)[number]): number =>
    readFileSync(join(root, file), "utf8").split(find).length - 1;
  expect(mutants.filter((mutant) => occurrences(mutant) !== 1).map(({ name }) => name)).toEqual([]);
});
