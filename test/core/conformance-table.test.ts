import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bodyCases } from "../intake/body-cases.ts";
import { itemCases } from "../intake/item-cases.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** The rows of the checklist of OTLP/HTTP 1.11 and proto3's JSON mapping: transport, limits, responses, and so on. */
const ids = [
  ...[
    "T1",
    "T2",
    "T3",
    "T4",
    "T5",
    "T6",
    "L1",
    "L2",
    "L3",
    "R1",
    "R2",
    "R3",
    "R4",
    "R5",
    "P1",
    "P2",
    "P3",
    "P4",
  ],
  ...["F1", "F2", "F3", "F4", "F5", "F6", "J1", "J2", "J3", "J4", "J5", "J6", "J7", "J8"],
  ...["B1", "B2", "B3", "B4", "B5", "D1", "E1"],
];

/** Titles by id, of tests named `"T1 …"` or `"B1 B3 …"`. */
function titles(path: string, mark: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [, named = "", title] of read(path).matchAll(/(?:^|\()\s*"((?:[TLRPFJBDE]\d )+)([^"]+)"/gm)) {
    for (const id of named.trim().split(" ")) {
      found.set(id, [...(found.get(id) ?? []), `${title}${mark}`]);
    }
  }
  return found;
}

describe("docs/otlp-conformance.md", () => {
  const rows = new Map(
    [...read("docs/otlp-conformance.md").matchAll(/^\| ([A-Z]\d) .*?\| ([^|]*?) *\| (\w+) *\|$/gm)].map(
      ([, id = "", tests = "", result = ""]) => [id, { tests, result }],
    ),
  );

  test("has each row of the checklist, and each passes", () => {
    expect([...rows.keys()]).toEqual(ids);
    expect(new Set([...rows.values()].map(({ result }) => result))).toEqual(new Set(["passes"]));
  });

  test("names exactly the tests that carry a row's id", () => {
    const inWorkerd = titles("test/workers/ingress/conformance.test.ts", "");
    const onTheWire = titles("test/e2e/on-the-wire.test.ts", " †");
    for (const id of ids) {
      const named = [...(inWorkerd.get(id) ?? []), ...(onTheWire.get(id) ?? [])];
      expect(rows.get(id)?.tests, id).toBe(named.join("; "));
      expect(named.length, id).toBeGreaterThan(0);
    }
  });

  test("explains each class of differences to the Collector's receiver, and no other", () => {
    const at = { now: Date.now() };
    const classes = [...itemCases(at), ...bodyCases(at)].flatMap(({ differs }) => differs ?? []);
    const explained = [...read("docs/otlp-conformance.md").matchAll(/^\| `([\w-]+)` +\|/gm)].map(
      ([, name]) => name,
    );
    expect(explained.toSorted()).toEqual([...new Set(classes)].toSorted());
  });
});
