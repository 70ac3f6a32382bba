import { expect, test } from "vitest";
import { newCheckpoint } from "../../shared/reconcile/checkpoint.ts";
import {
  beginRun,
  endRun,
  newReconciler,
  reconcilerFromNote,
  saveCheckpoint,
} from "../../shared/reconcile/lease.ts";
import { doorbell } from "../ledger/world.ts";

const leaseMs = 1000;
const checkpoint = newCheckpoint(60_000);

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
  const kept = stateOf(saveCheckpoint(first, { run: "a", now: 900, leaseMs }, checkpoint));
  expect(begun("b", 1500, false, kept)).toBeNull();
  expect(kept.checkpoint).toBe(checkpoint);
});

test("a run that was overtaken keeps nothing, and does not end the other's lease", () => {
  const second = stateOf(begun("b", 1, true, stateOf(begun("a", 0))));
  expect(saveCheckpoint(second, { run: "a", now: 2, leaseMs }, checkpoint)).toBeNull();
  expect(endRun(second, "a")).toEqual(second);
  expect(saveCheckpoint(second, { run: "b", now: 2, leaseMs }, checkpoint)).not.toBeNull();
});

test("what an earlier version kept is read", () => {
  const { key } = doorbell({ n: 1 });
  const doubt = { kind: "page", missing: 9, dueAt: 0, tries: 1, after: "", before: key } as const;
  const { expiredReported, ...rest } = checkpoint;
  const book = { ...rest, doubts: [{ ...doubt, toldAt: 5, rung: key }], expiredTold: [key] };
  expect(reconcilerFromNote({ book, lease: null })).toEqual({
    checkpoint: { ...rest, doubts: [{ ...doubt, reportedAt: 5, notified: key }], expiredReported: [key] },
    lease: null,
  });
  expect(reconcilerFromNote({ checkpoint, lease: null })).toEqual({ checkpoint, lease: null });
});

test("what is kept of a run is its checkpoint and its lease, whole", () => {
  expect(newReconciler).toEqual({ checkpoint: null, lease: null });
  const kept = { checkpoint, lease: { run: "a", until: 7 } };
  const start = { run: "b", now: 7, leaseMs, takesOver: false };
  expect(beginRun(kept, start)).toEqual({ checkpoint, lease: { run: "b", until: 7 + leaseMs } });
  expect(beginRun(kept, { ...start, now: 6 })).toBeNull();
  expect(beginRun(kept, { ...start, now: 6, takesOver: true })).toEqual({
    checkpoint,
    lease: { run: "b", until: 6 + leaseMs },
  });
  const later = { ...checkpoint, ranAt: 9 };
  expect(saveCheckpoint(kept, { run: "a", now: 9, leaseMs }, later)).toEqual({
    checkpoint: later,
    lease: { run: "a", until: 9 + leaseMs },
  });
  expect(saveCheckpoint({ ...kept, lease: null }, { run: "a", now: 9, leaseMs }, later)).toBeNull();
  expect(endRun(kept, "a")).toEqual({ checkpoint, lease: null });
  expect(endRun(kept, "b")).toBe(kept);
});

test("what an earlier version kept of a doubt about keys is read, and of nothing reported nothing", () => {
  const { key } = doorbell({ n: 1 });
  const { expiredReported: _, ...rest } = checkpoint;
  const doubt = { kind: "keys", missing: 1, dueAt: 2, tries: 3, keys: [key] } as const;
  const read = reconcilerFromNote({ book: { ...rest, doubts: [{ ...doubt, toldAt: 5 }] }, lease: null });
  expect(read).toEqual({ checkpoint: { ...rest, doubts: [{ ...doubt, reportedAt: 5 }] }, lease: null });
  expect(read.checkpoint).not.toHaveProperty("expiredReported");
  expect(reconcilerFromNote({ book: null, lease: null })).toEqual({ checkpoint: null, lease: null });
});
