/** The tool that makes mutants (test/mutation): what it changes, and what it leaves alone. */
import { expect, test } from "vitest";
import { applyMutant, mutantsOf } from "../mutation/operators.ts";
import { relatedTests } from "../mutation/related-tests.ts";
import { wilson } from "../mutation/score.ts";

/** The text with each of its mutants made, without the function around it. */
function changed(
  body: string,
  head = "function f(a: number, b: number, c: boolean, d: number[])",
): readonly string[] {
  const before = `${head} {\n`;
  const text = `${before}${body}\n}\n`;
  return mutantsOf("shared/ledger/x.ts", text).map((mutant) =>
    applyMutant(text, mutant).slice(before.length, -"\n}\n".length),
  );
}

test.each([
  ["return a < b;", ["return a <= b;", "return a >= b;"]],
  ["return a === b;", ["return a !== b;"]],
  ["return a + b;", ["return a - b;"]],
  ["return c && d;", ["return c || d;", "return c;", "return d;"]],
  ["return c ?? d;", ["return c;", "return d;"]],
  ["return !c;", ["return c;"]],
  ["return c ? a : b;", ["return !(c) ? a : b;"]],
  ["return Math.min(a, b);", ["return Math.max(a, b);"]],
  ["return d.some(g);", ["return d.every(g);"]],
  ["return d.filter(g);", ["return d;"]],
  ["return [a, b];", ["return [b];", "return [a];"]],
  ["return { a, ...d };", ["return { ...d };", "return { a };"]],
  ["return 7;", ["return (7 + 1);", "return (7 - 1);"]],
  ["return true;", ["return false;"]],
  ["g(a);\nreturn c;", [";\nreturn c;"]],
  ["a += b;", [";", "a -= b;"]],
  [
    "if (c) {\nreturn a;\n}\nreturn b;",
    ["if (!(c)) {\nreturn a;\n}\nreturn b;", "if (c) {\n;\n}\nreturn b;"],
  ],
  [
    "if (c) {\ng(a);\ng(b);\n}",
    ["if (!(c)) {\ng(a);\ng(b);\n}", "if (c) {}", "if (c) {\n;\ng(b);\n}", "if (c) {\ng(a);\n;\n}"],
  ],
])("%s", (body, mutants) => {
  expect([...changed(body)].sort()).toEqual([...mutants].sort());
});

test.each([
  "assert(a < b, 'a is less');",
  "return `$" + "{a} is less than b`;",
  "return 'less' + a;",
  "// a < b, 7, true",
  "type Less = 7 | true;",
  "return unreachable(a);",
])("leaves alone: %s", (body) => {
  expect(changed(body)).toEqual([]);
});

test("looks into what is cast, and knows the line", () => {
  const [mutant] = mutantsOf("x.ts", "type A = 1;\nexport const a = (b < c) as A;\n");
  expect(mutant).toMatchObject({ line: 2, operator: "< to <=" });
});

test("the tests of a file are those that import it, the nearest first", () => {
  expect(relatedTests("test/mutation/score.ts")).toEqual(["test/core/generated-mutants.test.ts"]);
  expect(relatedTests("shared/reconcile/lease.ts")[0]).toBe("test/core/reconcile-lease.test.ts");
});

test("a share's interval is Wilson's", () => {
  // Newcombe 1998, table I: 81 of 263, and 0 of 20.
  expect(wilson(81, 263).least).toBeCloseTo(0.2553, 4);
  expect(wilson(81, 263).most).toBeCloseTo(0.3662, 4);
  expect(wilson(0, 20).least).toBeCloseTo(0, 4);
  expect(wilson(0, 20).most).toBeCloseTo(0.1611, 4);
});
