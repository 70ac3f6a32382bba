import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { readCommandLine } from "../../cli/command-line.ts";
import { commands } from "../../cli/commands.ts";
import { referenceText } from "../../cli/help-text.ts";
import { findingKinds } from "../../shared/finding.ts";
import { limits } from "../../shared/limits.ts";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const documents = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)].filter(
  (path) => path.endsWith(".md") && path !== "docs/cli.md",
);

describe("docs/operating.md", () => {
  const operating = read("docs/operating.md");

  test("has a heading for every kind of finding, that says where to look and how to repair", () => {
    const sections = new Map(
      operating
        .split(/^### /m)
        .slice(1)
        .map((section) => [section.split("\n")[0] ?? "", section]),
    );
    expect([...sections.keys()].toSorted()).toEqual([...findingKinds].toSorted());
    for (const [kind, section] of sections) {
      expect(section, kind).toContain("**Look**");
      expect(section, kind).toMatch(/\*\*Repair\*\*|Nothing to repair/);
    }
  });
});

describe("the documents", () => {
  test("name only commands and flags that the CLI has", () => {
    const calls = documents.flatMap((path) =>
      [...read(path).matchAll(/npx headrace ([^`\n|&#]+)/g)].map(([, line = ""]) => `${path}: ${line}`),
    );
    expect(calls.length).toBeGreaterThan(30);
    const wrong = calls.filter((call) => {
      const line = call.slice(call.indexOf(": ") + 2);
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
      return !readCommandLine(words.map(example), commands).ok;
    });
    expect(wrong).toEqual([]);
  });
});

/** What stands for a value in a document, as a value. */
function example(word: string): string {
  switch (word) {
    case "ID":
      return "0123456789abcdef0123456789abcdef";
    case "KEY":
      return "p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnog";
    case "TENANT":
    case "NAME":
      return "acme";
    default:
      return word;
  }
}

test("docs/cli.md is the help of every command, as `npm run docs:cli` writes it", () => {
  expect(read("docs/cli.md")).toBe(referenceText(commands));
});

test("the Terraform file has the queues of wrangler.toml and the numbers of shared/limits.ts", () => {
  const terraform = read("docs/terraform/headrace.tf");
  expect(terraform).toContain(`retention_seconds = ${limits.queueRetentionSeconds} `);
  const [, names = ""] = /queues *= toset\((\[.*\])\)/.exec(terraform) ?? [];
  expect([...v.parse(v.array(v.string()), JSON.parse(names)), "late"].toSorted()).toEqual(
    [...read("wrangler.toml").matchAll(/^queue = "headrace-(\w+)"/gm)]
      .map(([, name = ""]) => name)
      .filter((name, index, all) => all.indexOf(name) === index)
      .toSorted(),
  );
  expect(terraform).toContain(`late_seconds      = ${limits.lateDelaySeconds} `);
  expect(terraform).toContain(`max_age = ${limits.r2BackstopDays * 86_400} `);
});
