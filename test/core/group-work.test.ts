import { expect, test } from "vitest";
import { needsCount } from "../../shared/delivery/evidence.ts";
import { mayBegin } from "../../shared/delivery/insertion.ts";
import type { Receipt } from "../../shared/ledger/group.ts";
import { doorbell, TestLedger } from "../ledger/world.ts";

test("no statement of an attempt begins at its deadline or later", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeRung();
  expect(mayBegin(task, task.deadline - 1)).toBe(true);
  expect(mayBegin(task, task.deadline)).toBe(false);
});

test("an object is transcoded unless a transcode or a stored receipt with rows says what it comes to", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const { group } = ledger.takeRung();
  const { key } = doorbell({ n: 1 });
  const receipt: Receipt = {
    key,
    outcome: "stored",
    group,
    spans: 10,
    rowsByDay: [{ day: 20_781, rows: 10 }],
    rejectedSpans: 0,
    bytes: 100,
    reason: "",
  };
  expect(needsCount(null, [])).toBe(true);
  expect(needsCount(null, [receipt])).toBe(false);
  expect(needsCount(null, [{ ...receipt, outcome: "duplicate", rowsByDay: [] }])).toBe(true);
  // Or VERIFY would have nothing to compare with, fail its assertion, and be repeated for ever.
  expect(needsCount(null, [{ ...receipt, rowsByDay: [] }])).toBe(true);
  expect(needsCount([{ key, rowsByDay: [], rejectedSpans: 0, bytes: 100 }], [])).toBe(false);
});
