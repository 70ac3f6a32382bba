import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, test } from "vitest";

const launcher = join(import.meta.dirname, "..", "..", "cli", "headrace.mjs");

/** The Node that runs this test, and the one that runs npm: often the system's, and older. */
const nodes: readonly [string, string][] = [
  ["the Node of this project", process.execPath],
  ["the Node that runs npm", process.env["npm_node_execpath"] ?? process.execPath],
];

describe.each(nodes)("npx headrace on %s", (_name, node) => {
  const start = (...argv: string[]) =>
    spawnSync(node, [launcher, ...argv], { encoding: "utf8", timeout: 30_000 });

  test("hands over arguments, output and exit code", () => {
    const help = start("keys", "--help");
    expect(help.stdout).toContain("  keys create ");
    expect(help.status).toBe(0);
    const wrong = start("status", "--hour", "a b");
    expect(wrong.stderr).toBe("headrace: `headrace status` has no flag --hour; did you mean --hours?\n");
    expect(wrong.status).toBe(2);
  });
});
