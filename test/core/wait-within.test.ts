import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DeadlinePassed, within } from "../../workers/ingress/wait-within.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const never = new Promise<never>(() => undefined);
const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a wait has come to so far: "waits", "came" or "given up". */
function watch(wait: Promise<unknown>): { now: string } {
  const state = { now: "waits" };
  wait.then(
    () => {
      state.now = "came";
    },
    (error) => {
      state.now = error instanceof DeadlinePassed ? "given up" : "failed";
    },
  );
  return state;
}

test("a wait is given up in its time, and not before", async () => {
  const wait = watch(within(never, 60_000));
  await vi.advanceTimersByTimeAsync(59_999);
  expect(wait.now).toBe("waits");
  await vi.advanceTimersByTimeAsync(1);
  expect(wait.now).toBe("given up");
});

test("what comes in time comes as it is, and leaves no timer", async () => {
  const wait = watch(within(after(10_000), 30_000));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(wait.now).toBe("came");
  await expect(within(Promise.reject(new RangeError("as it is")), 1000)).rejects.toThrow(RangeError);
  expect(vi.getTimerCount()).toBe(0);
});

test("what comes or fails after its wait was given up disturbs nobody", async () => {
  const late = after(2000).then(() => Promise.reject(new RangeError("too late")));
  const wait = watch(within(late, 1000));
  await vi.advanceTimersByTimeAsync(5000);
  expect(wait.now).toBe("given up");
});
