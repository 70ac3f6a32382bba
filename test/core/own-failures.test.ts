/** Failures that may be a group's own (shared/ledger/own-failures.ts): what is split, when, and into what. */
import { describe, expect, test } from "vitest";
import type { AttemptReport, Evidence, GroupTask } from "../../shared/ledger/group.ts";
import { fenceMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { TestLedger } from "../ledger/world.ts";

const MINUTE_MS = 60_000;

/** A ledger with one group of so many payloads. */
function ledgerOf(payloads: number): { readonly ledger: TestLedger; task: GroupTask } {
  const ledger = new TestLedger();
  const bells = Array.from({ length: payloads }, (_, n) => ({ n: n + 1, outputBytes: 10 }));
  return { ledger, task: ledger.claim(...bells) ?? ledger.takeNotified() };
}

/** The next group that the alarm notifies within ten minutes. */
function next(ledger: TestLedger): GroupTask {
  for (const end = ledger.now + 10 * MINUTE_MS; ledger.now < end; ledger.now += 1000) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        return task;
      }
    }
  }
  throw new Error("no group was notified");
}

/** Reports the same failure until the group has had its tries. */
function fail(ledger: TestLedger, first: GroupTask, report: AttemptReport): void {
  let task = first;
  for (let tries = 1; tries <= limits.ownFailuresMax; tries++) {
    ledger.report(task, report);
    if (tries < limits.ownFailuresMax) {
      task = next(ledger);
      expect(task.group).toBe(first.group);
    }
  }
}

const sizes = (ledger: TestLedger): readonly number[] =>
  [...ledger.state.dump().groups.values()].map(({ payloads }) => payloads.length);

/** VERIFY's evidence of payloads of which the table has `rows`. */
function verified(task: GroupTask, rows: number): AttemptReport {
  const isBlind = task.step === "verify" && task.isBlind;
  const payloads = task.payloads.map(({ key, spans }): Evidence => {
    const rowsByDay = isBlind ? null : [{ day: 20_781, rows: spans }];
    const object = { key, spans, rejectedSpans: 0, bytes: 100, rowsByDay };
    return { key, receipts: [], rowsByDay: rows === 0 ? [] : [{ day: 20_781, rows }], object };
  });
  return { kind: "verified", running: false, oldestDay: 0, payloads };
}

describe("a group that fails for a reason of its own", () => {
  test("falls into eighths after three attempts that sent nothing: 500, 63, 8, 1", () => {
    const { ledger, task } = ledgerOf(500);
    fail(ledger, task, { kind: "retry", reason: "the block could not be built" });
    expect(sizes(ledger)).toEqual([63, 63, 63, 63, 63, 63, 63, 59]);
    const guilty = next(ledger);
    ledger.storeAll(next(ledger)); // others are stored: it is this group, and not R2
    ledger.report(guilty, { kind: "retry", reason: "the block could not be built" });
    expect(sizes(ledger).filter((size) => size === 8)).toHaveLength(7);
  });

  test.each<[string, AttemptReport]>([
    ["241", { kind: "retry", reason: "memory limit", code: 241 }],
    ["159", { kind: "unknown", reason: "timeout", code: 159 }],
  ])("is verified payload by payload where ClickHouse answered %s three times", (_, report) => {
    const { ledger, task } = ledgerOf(20);
    fail(ledger, task, report);
    const verify = next(ledger);
    expect(verify).toMatchObject({ step: "verify", group: task.group, isBlind: false });
    ledger.report(verify, verified(verify, 0));
    expect(sizes(ledger)).toEqual(Array.from({ length: 20 }, () => 1));
  });

  test("is verified without transcoding anything where three leases ended without a report", () => {
    const { ledger, task } = ledgerOf(20);
    const began = ledger.now;
    for (let lease = 1; lease < limits.ownFailuresMax; lease++) {
      ledger.now += ledger.settings.leaseMs;
      expect(next(ledger)).toMatchObject({ step: "insert", group: task.group });
    }
    ledger.now += ledger.settings.leaseMs;
    const verify = next(ledger);
    expect(verify).toMatchObject({ step: "verify", isBlind: true });
    // What is there is stored, what is not is inserted alone: 6.5 minutes after the first attempt.
    expect(ledger.now - began).toBeLessThan(
      2 * ledger.settings.leaseMs + fenceMs(ledger.settings) + MINUTE_MS,
    );
    ledger.report(verify, verified(verify, 0));
    expect(sizes(ledger)).toEqual(Array.from({ length: 20 }, () => 1));
  });

  test("gives each payload a look of its own where nothing was transcoded and some rows are there", () => {
    const { ledger } = ledgerOf(2);
    for (let lease = 1; lease <= limits.ownFailuresMax; lease++) {
      ledger.now += ledger.settings.leaseMs;
      ledger.alarm();
      if (lease < limits.ownFailuresMax) {
        next(ledger);
      }
    }
    const verify = next(ledger);
    ledger.report(verify, verified(verify, 4)); // of ten: a day of it, or other rows
    const alone = next(ledger);
    expect(alone).toMatchObject({ step: "verify", isBlind: false });
    expect(alone.payloads).toHaveLength(1);
  });
});

describe("an outage, in which every group fails", () => {
  test("splits one group per minute, and none for an INSERT without an answer", () => {
    const ledger = new TestLedger();
    const groups = Array.from({ length: 4 }, (_, g) =>
      ledger.claim(
        ...Array.from({ length: 2 }, (_, n) => ({ n: 10 * g + n, spans: limits.groupRowsReady / 2 })),
      ),
    );
    for (let tries = 0; tries < 40; tries++) {
      for (const task of [...groups.splice(0), ...ledger.alarm().map((group) => ledger.take(group))]) {
        if (task !== null) {
          ledger.report(task, { kind: "unknown", reason: "no answer" });
        }
      }
      ledger.now += 30_000;
    }
    expect(sizes(ledger)).toEqual([2, 2, 2, 2]);
  });
});

describe("a payload that is alone", () => {
  test("is held with the claim that broke, and never a dead letter", () => {
    const { ledger, task } = ledgerOf(1);
    fail(ledger, task, { kind: "broken", reason: "days ascend" });
    expect([...ledger.state.dump().groups.values()]).toMatchObject([
      { state: { at: "held", found: [{ reason: "broken_invariant: days ascend" }] } },
    ]);
  });

  test("is tried again for as long as it takes where R2 does not give it", () => {
    const { ledger, task } = ledgerOf(1);
    let mine = task;
    for (let tries = 0; tries < 5; tries++) {
      ledger.report(mine, { kind: "retry", reason: "the block could not be built: R2" });
      mine = next(ledger);
      expect(mine).toMatchObject({ step: "insert", group: task.group });
    }
  });

  test("is a dead letter, too_large, after ClickHouse refused it so often, with others stored in between", () => {
    const { ledger, task } = ledgerOf(1);
    let mine = task;
    for (let n = 0; mine.step !== "receipts"; n++) {
      expect(n).toBeLessThan(40);
      if (mine.step === "verify") {
        ledger.report(mine, verified(mine, 0));
      } else if (mine.payloads[0]?.key === task.payloads[0]?.key) {
        ledger.report(mine, { kind: "retry", reason: "memory limit", code: 241 });
      }
      const good = ledger.claim({ n: 100 + n, spans: limits.groupRowsReady });
      if (good !== null && good.payloads[0]?.key !== task.payloads[0]?.key) {
        ledger.storeAll(good);
      }
      mine = next(ledger);
      if (mine.step === "insert" && mine.payloads[0]?.key !== task.payloads[0]?.key) {
        ledger.storeAll(mine);
        mine = next(ledger);
      }
    }
    expect(mine.receipts).toMatchObject([{ outcome: "dead", reason: "too_large" }]);
  });
});
