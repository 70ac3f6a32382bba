import { expect, test } from "vitest";
import { whereaboutsOf } from "../../shared/ledger/whereabouts.ts";
import { doorbell, idAt, startMs, storedReport, TestLedger } from "../ledger/world.ts";

test("a payload is unknown, waits, is in a group, is done", () => {
  const ledger = new TestLedger();
  const where = () => whereaboutsOf(ledger.state, idAt(1));
  expect(where()).toEqual({ at: "unknown" });
  ledger.claim({ n: 2 }, { n: 1 });
  expect(where()).toEqual({ at: "waiting", key: doorbell({ n: 1 }).key });
  const task = ledger.takeNotified();
  expect(where()).toEqual({
    at: "group",
    key: doorbell({ n: 1 }).key,
    group: task.group,
    state: "open",
    payloads: 2,
    attempts: 1,
    made: ledger.now,
    due: task.deadline,
    failure: null,
  });
  const receipts = ledger.report(task, storedReport(task));
  expect(where()).toMatchObject({ at: "group", state: "receipting", attempts: 2, made: startMs + 1000 });
  ledger.receipted(...(receipts === null ? [] : [receipts]));
  expect(where()).toEqual({ at: "done", outcome: "stored", since: ledger.now });
  expect(whereaboutsOf(ledger.state, idAt(3))).toEqual({ at: "unknown" });
});
