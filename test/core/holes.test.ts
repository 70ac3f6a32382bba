/** The tests that `test/faults/holes.md` names are there, under these names. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { harshProfiles } from "../faults/world/harsh-profiles.ts";
import { profiles } from "../faults/world/profile.ts";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "test/faults/holes.md"), "utf8");

/** A file, and the quoted names behind it. */
const named = [...page.matchAll(/`(test\/[\w/-]+\.test\.ts)`(?:: ("[^"]+"(?:, "[^"]+")*))?/g)].map(
  ([, file = "", names = ""]) => ({
    file,
    names: [...names.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name),
  }),
);

test("each test that is named is in its file", () => {
  expect(named.flatMap(({ names }) => names).length).toBeGreaterThan(20);
  for (const { file, names } of named) {
    const text = readFileSync(join(root, file), "utf8");
    for (const name of names) {
      expect(text, `${file} has a test "${name}"`).toContain(`"${name}"`);
    }
  }
});

test("so does each profile of the model", () => {
  const known = new Set([...profiles, ...harshProfiles].map(({ name }) => name));
  const wanted = [...page.matchAll(/the profiles? ("[^"]+"(?: and "[^"]+")*)/g)].flatMap(([, names = ""]) =>
    [...names.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name),
  );
  expect(wanted.length).toBeGreaterThan(3);
  expect(wanted.filter((name) => !known.has(name))).toEqual([]);
});
