import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

test("docs/security.md names tests that are there, by a part of their names, and commands that are there", () => {
  const text = readFileSync(join(root, "docs/security.md"), "utf8");
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  let named = 0;
  for (const [, file = "", name] of text.matchAll(/`(test\/[\w./-]+)`(?: "([^"]+)")?/g)) {
    expect(existsSync(join(root, file)), file).toBe(true);
    if (name !== undefined) {
      named++;
      expect(readFileSync(join(root, file), "utf8"), `${file}: ${name}`).toContain(name);
    }
  }
  expect(named).toBeGreaterThan(20);
  for (const [, command = ""] of text.matchAll(/`npm run ([\w:]+)/g)) {
    expect(Object.keys(scripts)).toContain(command);
  }
});
