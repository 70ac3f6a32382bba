/** The bugs of `npm run test:chaos -- --break …` follow the code; that the run finds them, only the run can show. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { breaks, withEdits } from "../chaos/breaks.ts";

test.each(breaks)("the bug that $ingredient is to find can be made", ({ edits }) => {
  for (const [file, some] of Map.groupBy(edits, (edit) => edit.file)) {
    const text = readFileSync(join(import.meta.dirname, "../..", file), "utf8");
    expect(withEdits(text, some)).not.toBe(text);
  }
});

test("a text that does not occur in its file exactly once is an error", () => {
  const edit = { file: "a.ts", find: "x", replace: "y" };
  expect(withEdits("1x2", [edit])).toBe("1y2");
  expect(() => withEdits("12", [edit])).toThrow("occurs 0 times in a.ts");
  expect(() => withEdits("xx", [edit])).toThrow("occurs 2 times in a.ts");
});
