/** Failures that may be a group's own (shared/ledger/own-failures.ts): what is split, when, and into what. */
import { describe, expect, test } from "vitest";
import { Draft } from "../../shared/ledger/draft.ts";
import type { AttemptReport, Evidence, GroupTask } from "../../shared/ledger/group.ts";
import { isToSeparate, neverReported, ownCauseOf } from "../../shared/ledger/own-failures.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { startMs, TestLedger } from "../ledger/world.ts";

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
    expect([...ledger.state.dump().groups.values()]).toMatchObject(
      Array.from({ length: 4 }, () => ({ state: { at: "open" }, ownFailures: 0 })),
    );
  });

  test("an INSERT without an answer counts once for each time that another was stored since", () => {
    const { ledger, task } = ledgerOf(2);
    const ownFailures = () => ledger.state.group(task.group)?.ownFailures;
    /** Another group is stored, whose INSERT is leased now. */
    const storeAnother = (n: number) => {
      const other = ledger.claim({ n, spans: limits.groupRowsReady });
      ledger.storeAll(other ?? next(ledger));
    };
    const unanswered = (mine: GroupTask) => {
      ledger.report(mine, { kind: "unknown", reason: "no answer" });
      return ownFailures();
    };
    expect(unanswered(task)).toBe(0);
    storeAnother(100);
    expect(unanswered(next(ledger))).toBe(1);
    storeAnother(101); // leased when that failure was: it may have met what failed
    expect(unanswered(next(ledger))).toBe(1);
    storeAnother(102);
    expect(unanswered(next(ledger))).toBe(2);
  });
});

describe("a failure of an INSERT", () => {
  const sure = { isSure: true, alone: "dead" };
  test.each<[string, AttemptReport, unknown]>([
    ["for which its isolate had no time", { kind: "retry", reason: "late", passes: true }, null],
    ["by pressure", { kind: "retry", reason: "too many parts", code: 252 }, null],
    ["by memory", { kind: "retry", reason: "memory", code: 241 }, { ...sure, reason: "too_large" }],
    [
      "before anything was sent",
      { kind: "retry", reason: "R2" },
      { isSure: true, alone: "again", reason: "unreadable" },
    ],
    [
      "by ClickHouse's limit on time",
      { kind: "unknown", reason: "", code: 159 },
      { ...sure, reason: "too_slow" },
    ],
    ["as too slow", { kind: "unknown", reason: "", code: 160 }, { ...sure, reason: "too_slow" }],
    [
      "by another unknown answer",
      { kind: "unknown", reason: "", code: 210 },
      { isSure: false, alone: "again", reason: "no_answer" },
    ],
    [
      "without an answer",
      { kind: "unknown", reason: "reset" },
      { isSure: false, alone: "again", reason: "no_answer" },
    ],
    ["with an unlisted code", { kind: "unlisted", reason: "?", code: 9999 }, { ...sure, reason: "9999" }],
    ["with no code at all", { kind: "unlisted", reason: "?" }, { ...sure, reason: "?" }],
    ["of the schema or the login", { kind: "halted", reason: "", code: 60 }, null],
  ])("%s", (_, report, cause) => {
    expect(ownCauseOf(report)).toEqual(cause);
  });
});

test("a group that has failed before says nothing about ClickHouse: the others' INSERTs go on as they did", () => {
  for (const report of [
    { kind: "retry", reason: "memory", code: 241 },
    { kind: "unknown", reason: "timeout", code: 159 },
  ] as const) {
    const ledger = new TestLedger({ ...defaultSettings, concurrencyFirst: 16 });
    ledger.claim({ n: 1 }, { n: 2 });
    let task = ledger.takeNotified();
    const limitsAfter: (number | undefined)[] = [];
    for (let tries = 1; tries <= limits.ownFailuresMax; tries++) {
      ledger.report(task, report);
      limitsAfter.push(ledger.state.head?.breaker.concurrencyLimit);
      task = next(ledger);
    }
    expect(limitsAfter).toEqual([8, 4, 4]);
  }
});

describe("a group is split", () => {
  /** May a group of so many payloads with so many failures be split, `sinceMs` after another was, and made at `made`? */
  function isSplit(
    payloads: number,
    ownFailures: number,
    sinceMs: number,
    storedAfterMadeMs: number,
  ): boolean {
    const { ledger, task } = ledgerOf(payloads);
    const { head } = ledger.state;
    const group = ledger.state.group(task.group);
    if (head === null || group === undefined) {
      throw new Error("there is a group");
    }
    const draft = new Draft(ledger.state, { now: ledger.now, tokens: [], databaseBytes: 0 }, ledger.settings);
    const lastStoredInsertAt = group.made + storedAfterMadeMs;
    draft.head = { ...head, lastStoredInsertAt, lastSplitAt: ledger.now - sinceMs };
    return isToSeparate(draft, { ...group, ownFailures }, neverReported);
  }
  const most = limits.ownFailuresMax;

  test("after as many failures as it may have, where others are stored, or a minute after the one before", () => {
    expect(isSplit(2, most, 0, 0)).toBe(true);
    expect(isSplit(2, most, 0, -1)).toBe(false);
    expect(isSplit(2, most, limits.splitEveryMs, -1)).toBe(true);
    expect(isSplit(2, most, limits.splitEveryMs - 1, -1)).toBe(false);
    expect(isSplit(2, most - 1, limits.splitEveryMs, 0)).toBe(false);
    // What is alone is not split: it ends, whatever others do.
    expect(isSplit(1, most, 0, -1)).toBe(true);
  });
});

describe("a VERIFY that breaks an invariant", () => {
  const broken: AttemptReport = { kind: "broken", reason: "days ascend" };

  test("three times is had for each payload by itself, which knows of the INSERTs and is held at its next", () => {
    const { ledger, task } = ledgerOf(2);
    ledger.report(task, { kind: "refused", reason: "bad", code: 117, payloads: [] });
    const count = ledger.state.group(task.group)?.state.lease;
    expect(count).not.toBeNull();
    const days = [{ day: 20_781, rows: 10 }];
    const counted = task.payloads.map(({ key }) => ({ key, rowsByDay: days }));
    const { attempts = 0, lastInsertAt = null } = ledger.state.group(task.group) ?? {};
    expect(lastInsertAt).not.toBeNull();
    ledger.report({ ...task, attempt: attempts }, { kind: "counted", payloads: counted });
    fail(ledger, next(ledger), broken);
    const groups = [...ledger.state.dump().groups.values()];
    expect(groups.map(({ state, payloads }) => [state.at, payloads.length])).toEqual([
      ["verifying", 1],
      ["verifying", 1],
    ]);
    for (const group of groups) {
      expect(group).toMatchObject({ inserts: 1, lastInsertAt, ownFailures: limits.ownFailuresMax - 1 });
    }
    const alone = next(ledger);
    ledger.report(alone, broken);
    expect(ledger.state.group(alone.group)?.state).toMatchObject({
      at: "held",
      found: [{ rowsByDay: [], reason: "broken_invariant: days ascend" }],
    });
  });
});

describe("a payload that is alone", () => {
  test("is held with the claim that broke, and never a dead letter", () => {
    const { ledger, task } = ledgerOf(1);
    fail(ledger, task, { kind: "broken", reason: "days ascend" });
    expect([...ledger.state.dump().groups.values()]).toMatchObject([
      { state: { at: "held", found: [{ reason: "broken_invariant: days ascend" }] } },
    ]);
    // Another key of its bytes explains no broken claim: it is kept, and the payload stays held.
    ledger.claim({ n: 1, arrival: startMs + MINUTE_MS });
    const [group] = ledger.state.dump().groups.values();
    expect(group).toMatchObject({
      state: { at: "held" },
      payloads: [{ duplicateKeys: [expect.any(String)] }],
    });
  });

  test("that R2 has no object of stays held, which its reason says once, however long it is", () => {
    const { ledger, task } = ledgerOf(1);
    fail(ledger, task, { kind: "broken", reason: "x".repeat(2000) });
    const key = task.payloads[0]?.key;
    const reason = () => {
      const [group] = ledger.state.dump().groups.values();
      return group?.state.at === "held" ? group.state.found[0]?.reason : group?.state.at;
    };
    expect(reason()).toHaveLength(limits.reasonBytesMax - 2); // "…" is three bytes
    const kept: (string | undefined)[] = [];
    for (let times = 1; times <= 2; times++) {
      if (key !== undefined) {
        ledger.step({ kind: "resolve", key, how: "rewrite" });
      }
      const clear = next(ledger);
      expect(clear.step).toBe("clear");
      ledger.report(clear, { kind: "kept" });
      kept.push(reason());
    }
    const end = "…; R2 has no object to rewrite it from";
    expect(kept[0]?.endsWith(`x${end}`)).toBe(true);
    expect(new TextEncoder().encode(kept[0]).length).toBe(limits.reasonBytesMax);
    expect(kept[1]).toBe(kept[0]);
  });

  test("and short of a reason gets the same words behind the whole of it", () => {
    const { ledger, task } = ledgerOf(1);
    fail(ledger, task, { kind: "broken", reason: "days ascend" });
    for (let times = 1; times <= 2; times++) {
      const [payload] = task.payloads;
      if (payload !== undefined) {
        ledger.step({ kind: "resolve", key: payload.key, how: "rewrite" });
      }
      ledger.report(next(ledger), { kind: "kept" });
      expect([...ledger.state.dump().groups.values()]).toMatchObject([
        {
          state: {
            found: [{ reason: "broken_invariant: days ascend; R2 has no object to rewrite it from" }],
          },
        },
      ]);
    }
  });

  test("is retried for as long as it takes where R2 does not give it", () => {
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
