/**
 * What a newcomer asks first is answered in the README's first 60 lines. The two commands that it gives are run, as they
 * stand there, by `test/e2e/start-and-stop.test.ts`, and `npm install` by `.ci/run`, from a clean clone, before all tests.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { exportLines } from "../../shared/export-lines.ts";
import { readmeCommands, shellBlocks } from "../readme-commands.ts";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const readme = read("README.md");
const top = readme.split("\n").slice(0, 60).join("\n");

/** The text below a heading, up to the next one. */
function section(title: string): string {
  const [, below = ""] = top.split(`\n## ${title}\n`);
  return below.split("\n## ")[0] ?? "";
}

describe("the first 60 lines of the README say", () => {
  test("what it is", () => {
    const [, what = ""] = top.split("\n\n");
    expect(what).toMatch(/takes OpenTelemetry traces .* puts every span into ClickHouse\s+exactly once/s);
    expect(what).toMatch(/It is for teams/);
  });

  test("how to start: two commands that are scripts of package.json", () => {
    const [first, second] = shellBlocks(section("Start"));
    expect([first, second]).toEqual([
      "npm install && npm run dev",
      "npm run send -- --spans 1000 --services 5",
    ]);
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(["dev", "send"]));
    const { start, send } = readmeCommands();
    expect([start, send]).toEqual(["npm run dev", second]);
  });

  test("how to point a program at it: the lines that npm run dev and the console show", () => {
    expect(shellBlocks(section("Start"))[2]).toBe(exportLines("http://127.0.0.1:4318", "hr_...").join("\n"));
    for (const user of ["dev/main.ts", "workers/console/page/first-steps.tsx"]) {
      expect(read(user), user).toContain("exportLines(");
      expect(read(user), user).not.toContain("export OTEL_");
    }
  });

  test("where to see a trace", () => {
    expect(section("See a trace")).toMatch(/Open the link that `npm run send` prints/);
    expect(section("See a trace")).toMatch(/Spans are rows of `otel_traces`/);
    expect(shellBlocks(section("See a trace"))[0]).toMatch(/FROM otel_traces/);
  });

  test("what it costs", () => {
    expect(section("What it costs")).toMatch(/per million requests \$0\.95 at 200\s+per second/);
    expect(read("docs/costs.md")).toMatch(/\| 4 +\| 3 +\| .* 0\.95 +\|\n/);
  });

  test("what happens when ClickHouse is down", () => {
    expect(section("What is guaranteed")).toMatch(/If ClickHouse is down\*\*, clients still get 200/);
  });
});

test("the test command of README is what continuous integration runs, and all that it runs", () => {
  const run = read(".ci/run").split("\n");
  const commands = run.filter((line) => line !== "" && !/^(#|set |cd "\$\(dirname )/.test(line));
  expect(commands).toEqual([readmeCommands().test]);
  expect(commands).toEqual(["npm install && npm test"]);
});

test("every file that README, CONTRIBUTING and docs link to exists", () => {
  const pages = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  const documents = ["README.md", "CONTRIBUTING.md", ...pages.map((page) => `docs/${page}`)].filter((path) =>
    path.endsWith(".md"),
  );
  const dead = documents.flatMap((path) =>
    [...read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
      .map(([, link = ""]) => normalize(join(dirname(path), link)))
      .filter((target) => !existsSync(join(root, target))),
  );
  expect(dead).toEqual([]);
});
