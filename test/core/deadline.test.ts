import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Deadline, DeadlinePassed } from "../../workers/ingress/deadline.ts";

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

test("a wait has its own time, whatever the timer was set for before it", async () => {
  const deadline = new Deadline();
  const first = watch(deadline.within(after(10_000), 30_000));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(first.now).toBe("came");
  const longer = watch(deadline.within(never, 60_000));
  await vi.advanceTimersByTimeAsync(59_999);
  expect(longer.now).toBe("waits");
  await vi.advanceTimersByTimeAsync(1);
  expect(longer.now).toBe("given up");
  const shorter = watch(deadline.within(never, 1000));
  await vi.advanceTimersByTimeAsync(999);
  expect(shorter.now).toBe("waits");
  await vi.advanceTimersByTimeAsync(1);
  expect(shorter.now).toBe("given up");
});

test("a wait that is shorter than what the timer was set for is given up in its time", async () => {
  const deadline = new Deadline();
  await deadline.within(Promise.resolve(), 30_000);
  const wait = watch(deadline.within(never, 1000));
  await vi.advanceTimersByTimeAsync(1000);
  expect(wait.now).toBe("given up");
});

test("a timer that fires between two waits gives up neither", async () => {
  const deadline = new Deadline();
  await deadline.within(Promise.resolve(), 1000);
  await vi.advanceTimersByTimeAsync(5000);
  const wait = watch(deadline.within(after(500), 1000));
  await vi.advanceTimersByTimeAsync(500);
  expect(wait.now).toBe("came");
  deadline.end();
});

test("several waits in a row take one timer, and none is left at the end", async () => {
  const set = vi.spyOn(globalThis, "setTimeout");
  const deadline = new Deadline();
  await deadline.within(Promise.resolve(), 30_000);
  await deadline.within(Promise.resolve(), 60_000);
  await deadline.within(Promise.resolve(), 60_000);
  expect(set).toHaveBeenCalledTimes(1);
  deadline.end();
  expect(vi.getTimerCount()).toBe(0);
});

test("what fails in time fails as it does", async () => {
  const deadline = new Deadline();
  await expect(deadline.within(Promise.reject(new RangeError("as it is")), 1000)).rejects.toThrow(RangeError);
  deadline.end();
});
