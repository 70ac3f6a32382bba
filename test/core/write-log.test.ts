/** What an operator reads in the Workers' logs when something failed. */
import { afterEach, expect, test, vi } from "vitest";
import { writeLog } from "../../shared/write-log.ts";

afterEach(() => vi.restoreAllMocks());

/** The line that `write` writes. */
function lineOf(write: () => void): unknown {
  const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
  write();
  return JSON.parse(String(error.mock.calls[0]?.[0]));
}

test("an error is said with its causes, and without its stack", () => {
  const full = new Error("SQLITE_FULL: database or disk is full");
  const thrown = new Error("the ledger could not persist", { cause: full });
  expect(lineOf(() => writeLog("error", { message: "a claim failed" }, thrown))).toEqual({
    message: "a claim failed",
    error: "Error: the ledger could not persist, because of Error: SQLITE_FULL: database or disk is full",
  });
});

test("causes in a circle end, and a key in any text is not shown", () => {
  const first = new Error("hr_DhkFj7sgqQKA1HurRdlGbDZFTn0o1Mlh was asked for");
  first.cause = first;
  const line = lineOf(() => writeLog("error", { message: "refused" }, first));
  expect(JSON.stringify(line)).not.toContain("hr_Dhk");
  expect(JSON.stringify(line).split("because of")).toHaveLength(5);
});
