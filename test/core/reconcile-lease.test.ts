import { expect, test } from "vitest";
import { beginRun, endRun, keepBook, newReconciler } from "../../shared/reconcile/lease.ts";
import { newBook } from "../../shared/reconcile/minute-book.ts";

const leaseMs = 1000;
const book = newBook(60_000);

function begun(run: string, now: number, takesOver = false, state = newReconciler) {
  return beginRun(state, { run, now, leaseMs, takesOver });
}

function stateOf<T>(state: T | null): T {
  if (state === null) {
    throw new Error("the run was not let begin");
  }
  return state;
}

test("a second cron does nothing while the first one's run is under way", () => {
  const first = stateOf(begun("a", 0));
  expect(begun("b", 999, false, first)).toBeNull();
  expect(begun("b", 1000, false, first)).not.toBeNull();
  expect(begun("b", 1, false, endRun(first, "a"))).not.toBeNull();
});

test("a run that still comes to the end of stages is not taken for dead", () => {
  const first = stateOf(begun("a", 0));
  const kept = stateOf(keepBook(first, { run: "a", now: 900, leaseMs }, book));
  expect(begun("b", 1500, false, kept)).toBeNull();
  expect(kept.book).toBe(book);
});

test("a run that was overtaken keeps nothing, and does not end the other's lease", () => {
  const second = stateOf(begun("b", 1, true, stateOf(begun("a", 0))));
  expect(keepBook(second, { run: "a", now: 2, leaseMs }, book)).toBeNull();
  expect(endRun(second, "a")).toEqual(second);
  expect(keepBook(second, { run: "b", now: 2, leaseMs }, book)).not.toBeNull();
});
