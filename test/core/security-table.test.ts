/** Tables of docs that say which test holds what: each test is there, by a part of its name, and so is each command. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

test.each([
  ["docs/security.md", "", 30],
  ["docs/otlp-conformance.md", "## Reported of other receivers", 30],
])(
  "%s names tests that are there, by a part of their names, and commands that are there",
  (path, from, least) => {
    const text = readFileSync(join(root, path), "utf8");
    const [, section = ""] = from === "" ? ["", text] : text.split(`${from}\n`);
    let named = 0;
    for (const [, file = "", names = ""] of section.matchAll(/`(test\/[\w./-]+)`((?:,? "[^"]+")*)/g)) {
      expect(existsSync(join(root, file)), file).toBe(true);
      for (const [, name = ""] of names.matchAll(/"([^"]+)"/g)) {
        named++;
        expect.soft(readFileSync(join(root, file), "utf8"), `${file}: ${name}`).toContain(name);
      }
    }
    expect(named).toBeGreaterThan(least);
    for (const [, command = ""] of section.matchAll(/`npm run ([\w:]+)/g)) {
      expect(Object.keys(scripts)).toContain(command);
    }
  },
);
