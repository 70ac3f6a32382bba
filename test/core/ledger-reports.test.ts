/** What single reports make of a group, and what late rings are counted as. */
import { describe, expect, test } from "vitest";
import { contentMinuteOfId } from "../../shared/id-time.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { nextAlarm } from "../../shared/ledger/machine.ts";
import { backOffMs, defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import type { Cause } from "../../shared/messages.ts";
import {
  type Bell,
  doorbell,
  emptyWorld,
  idAt,
  startMs,
  storedReport,
  TestLedger,
  timedIdAt,
} from "../ledger/world.ts";

const MINUTE_MS = 60_000;
const today = Math.floor(startMs / 86_400_000);

function next(ledger: TestLedger): GroupTask {
  for (const end = ledger.now + 60 * MINUTE_MS; ledger.now <= end; ledger.now += 1000) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        return task;
      }
    }
  }
  throw new Error("nothing was notified in time");
}

function begun(...bells: readonly Bell[]): { readonly ledger: TestLedger; readonly task: GroupTask } {
  const ledger = new TestLedger();
  ledger.claim(...(bells.length === 0 ? [{ n: 1 }] : bells));
  return { ledger, task: ledger.takeNotified() };
}

function counted(task: GroupTask, rows: number): AttemptReport {
  const rowsByDay = rows === 0 ? [] : [{ day: today, rows }];
  return { kind: "counted", payloads: task.payloads.map(({ key }) => ({ key, rowsByDay })) };
}

describe("what may have stored rows", () => {
  test.each([
    ["an unknown answer", { kind: "unknown", reason: "reset" }],
    ["a halt", { kind: "halted", reason: "no such table", code: 60 }],
    ["an unlisted code", { kind: "unlisted", reason: "?", code: 9999 }],
    ["a busy server", { kind: "retry", reason: "memory", code: 241 }],
    ["a broken invariant", { kind: "broken", reason: "days ascend" }],
  ] as const)("%s is not forgotten by an attempt that began no INSERT", (_, first) => {
    const { ledger, task } = begun();
    ledger.report(task, first);
    ledger.report(next(ledger), { kind: "retry", reason: "R2 is away" });
    const third = next(ledger);
    expect(ledger.report(third, storedReport(third))?.step).toBe("count");
  });

  test("what was transcoded first is what a count is compared with", () => {
    const { ledger, task } = begun();
    const { payloads } = storedReport(task);
    const [first] = payloads;
    ledger.report(task, { kind: "unknown", reason: "reset", ...(first && { payloads: [first] }) });
    const again = next(ledger);
    const other = payloads.map((one) => ({ ...one, rowsByDay: [{ day: today, rows: 4 }] }));
    const count = ledger.report(again, { ...storedReport(again), payloads: other });
    expect(count === null ? null : ledger.report(count, counted(count, 10))?.step).toBe("receipts");
  });

  test("a group that a 200 proved to be whole begins to count failures anew", () => {
    const { ledger, task } = begun();
    ledger.report(task, { kind: "retry", reason: "away" });
    const again = next(ledger);
    ledger.report(again, storedReport(again));
    expect(ledger.state.group(task.group)).toMatchObject({ failures: 0, due: ledger.now + limits.leaseMs });
  });

  test("and so does one whose 200 is counted first, or whose rows VERIFY found", () => {
    const { ledger, task } = begun();
    ledger.report(task, { kind: "unknown", reason: "reset" });
    ledger.report(next(ledger), { kind: "unknown", reason: "reset" });
    const third = next(ledger);
    expect(ledger.state.group(task.group)).toMatchObject({ failures: 2 });
    const count = ledger.report(third, storedReport(third));
    expect(count?.step).toBe("count");
    expect(ledger.state.group(task.group)).toMatchObject({ failures: 0, due: ledger.now + limits.leaseMs });
    if (count === null) {
      return;
    }
    ledger.report(count, { kind: "retry", reason: "away" });
    const again = next(ledger);
    expect(again.step).toBe("count");
    expect(ledger.report(again, counted(again, 10))?.step).toBe("receipts");
    expect(ledger.state.group(task.group)).toMatchObject({ failures: 0, due: ledger.now + limits.leaseMs });
  });
});

describe("a step that fails", () => {
  test.each(["retry", "unknown", "unlisted", "halted", "refused"] as const)(
    "as `%s`, without being an INSERT, is retried later, and says nothing of ClickHouse's health",
    (kind) => {
      const { ledger, task } = begun();
      const receipts = ledger.report(task, storedReport(task));
      const { breaker } = ledger.state.head ?? {};
      if (receipts === null) {
        throw new Error("it has receipts to write");
      }
      expect(ledger.report(receipts, { kind, reason: "no", code: 117 })).toBeNull();
      expect(ledger.state.group(task.group)).toMatchObject({
        state: { at: "receipting", lease: null },
        due: ledger.now + backOffMs(0, defaultSettings),
        outcomeUnknown: false,
      });
      expect(ledger.state.head?.breaker).toEqual(breaker);
      expect(next(ledger)).toMatchObject({ step: "receipts", group: task.group });
    },
  );

  test("a count whose consumer dies is leased again when its lease is over", () => {
    const { ledger, task } = begun();
    const count = ledger.report(task, { kind: "refused", reason: "bad", code: 117 });
    ledger.now = count?.deadline ?? 0;
    ledger.alarm();
    // A count stores nothing, and says nothing of the group or of ClickHouse.
    expect(ledger.state.group(task.group)).toMatchObject({
      due: ledger.now,
      state: { lease: null },
      outcomeUnknown: false,
      ownFailures: 0,
    });
    expect(ledger.state.head?.breaker.suspects).toEqual([]);
    expect(next(ledger)).toMatchObject({ step: "count", group: task.group, attempt: 3 });
  });
});

describe("a payload that dies", () => {
  test.each([
    [{ code: 117 }, "rejected:117"],
    [{}, "rejected:bad"],
  ])("of %j has `%s` as its reason", (code, reason) => {
    const { ledger, task } = begun();
    let mine = task;
    for (let n = 0; n < limits.refusalsMax; n++) {
      const good = ledger.claim({ n: 10 + n, spans: limits.groupRowsReady });
      ledger.storeAll(good ?? mine);
      const count = ledger.report(mine, { kind: "refused", reason: "bad", ...code });
      if (count !== null) {
        ledger.report(count, counted(count, 0));
      }
      mine = next(ledger);
    }
    expect(mine).toMatchObject({ step: "receipts", receipts: [{ outcome: "dead", reason }] });
  });

  test("after unlisted answers: as many as are allowed, then it is looked for and taken for refused", () => {
    const { ledger, task } = begun({ n: 1 }, { n: 2 });
    let mine = task;
    for (let n = 1; n < limits.unlistedAnswersMax; n++) {
      ledger.report(mine, { kind: "unlisted", reason: "?", code: 9999 });
      mine = next(ledger);
      expect(mine).toMatchObject({ step: "insert", group: task.group });
    }
    ledger.report(mine, { kind: "unlisted", reason: "?", code: 9999 });
    expect(ledger.state.group(task.group)?.state).toMatchObject({
      at: "verifying",
      split: true,
      code: "9999",
    });
  });
});

describe("what nobody's doorbell brought", () => {
  /** One payload, notified by `cause`, stored. Its doorbell comes after `bellAfterMs`, or never. */
  function rescued(cause: Cause, bellAfterMs?: number, bell: Partial<Bell> = {}): TestLedger {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause });
    ledger.storeAll(ledger.takeNotified());
    const storedAt = ledger.now;
    if (bellAfterMs !== undefined) {
      ledger.now = storedAt + bellAfterMs;
      ledger.claim({ n: 1, ...bell });
    }
    ledger.now = storedAt + limits.rescueOvertakenMs - 1;
    ledger.alarm();
    expect(ledger.state.head?.rescues).toEqual({ event: 0, reconcile: 0 });
    ledger.now = Math.max(nextAlarm(ledger.state, ledger.settings) ?? 0, ledger.now + 1);
    expect(ledger.now - storedAt).toBe(
      ledger.state.head?.pendingRescues.length === 0 ? ledger.now - storedAt : limits.rescueOvertakenMs,
    );
    ledger.alarm();
    expect(ledger.state.head?.pendingRescues).toEqual([]);
    return ledger;
  }

  test.each([
    ["event", { event: 1, reconcile: 0 }],
    ["reconcile", { event: 0, reconcile: 1 }],
    ["ingress", { event: 0, reconcile: 0 }],
  ] as const)("by `%s` is counted as %j, once ten minutes have passed", (cause, rescues) => {
    expect(rescued(cause).state.head?.rescues).toEqual(rescues);
  });

  test("is none where the doorbell had only been overtaken", () => {
    expect(rescued("event", MINUTE_MS).state.head?.rescues).toEqual({ event: 0, reconcile: 0 });
  });

  test("is none only where a doorbell came: another late ring is none", () => {
    expect(rescued("event", MINUTE_MS, { cause: "event" }).state.head?.rescues).toEqual({
      event: 1,
      reconcile: 0,
    });
    // Nor are late rings a backlog of doorbells, however old what they name is.
    const old = { n: 2, cause: "event", arrival: startMs - limits.rescueOvertakenMs - MINUTE_MS } as const;
    expect(rescued("event", MINUTE_MS, old).state.head?.rescues).toEqual({ event: 1, reconcile: 0 });
  });

  test("is counted for each payload by itself", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "event" }, { n: 2, cause: "event" }, { n: 3, cause: "reconcile" });
    ledger.storeAll(ledger.takeNotified());
    ledger.claim({ n: 2 });
    expect(ledger.state.head?.pendingRescues).toHaveLength(2);
    ledger.now += limits.rescueOvertakenMs;
    ledger.alarm();
    expect(ledger.state.head?.rescues).toEqual({ event: 1, reconcile: 1 });
  });

  test("is counted while other doorbells come in time", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "event" });
    ledger.storeAll(ledger.takeNotified());
    ledger.claim({ n: 2, arrival: ledger.now - limits.rescueOvertakenMs });
    ledger.now += limits.rescueOvertakenMs;
    ledger.alarm();
    expect(ledger.state.head?.rescues).toEqual({ event: 1, reconcile: 0 });
  });

  test("is none where both rang before it was stored", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "event" }, { n: 1 });
    ledger.storeAll(ledger.takeNotified());
    expect(ledger.state.head?.pendingRescues).toEqual([]);
  });

  test("is none while doorbells are late altogether", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "reconcile" });
    ledger.storeAll(ledger.takeNotified());
    // Another payload's doorbell comes after more than ten minutes.
    ledger.claim({ n: 2, arrival: startMs - limits.rescueOvertakenMs - MINUTE_MS });
    ledger.now += limits.rescueOvertakenMs;
    ledger.alarm();
    expect(ledger.state.head?.rescues).toEqual({ event: 0, reconcile: 0 });
    expect(ledger.state.head?.pendingRescues).toEqual([]);
  });
});

test("who asks for a payload by name, while it waits or is live, has it looked for as if it were stored already", () => {
  for (const cause of ["audit", "replay"] as const) {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 1, cause });
    expect(ledger.state.waiting.payloads).toMatchObject([{ cause, duplicateKeys: [] }]);
    const { ledger: live, task } = begun();
    live.claim({ n: 1, cause });
    live.claim({ n: 1, cause: "event" });
    expect(live.state.group(task.group)?.payloads).toMatchObject([{ cause, duplicateKeys: [] }]);
  }
});

test("late bells for rows that somebody removed are counted, whether their object is still there or not", () => {
  const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
  ledger.claim({ n: 1 });
  const verify = next(ledger);
  const { key } = doorbell({ n: 1 });
  const receipt = {
    key,
    outcome: "stored",
    group: verify.group,
    spans: 10,
    rowsByDay: [{ day: today, rows: 10 }],
    rejectedSpans: 0,
    bytes: 100,
    reason: "",
  } as const;
  ledger.report(verify, {
    kind: "verified",
    running: false,
    oldestDay: 0,
    payloads: [{ key, receipts: [receipt], rowsByDay: [], object: null }],
  });
  expect(ledger.state.head?.lateBells).toBe(1);
  ledger.claim({ n: 2 });
  const other = next(ledger);
  const second = doorbell({ n: 2 }).key;
  const object = {
    key: second,
    spans: 10,
    rejectedSpans: 0,
    bytes: 100,
    rowsByDay: [{ day: today, rows: 10 }],
  };
  ledger.report(other, {
    kind: "verified",
    running: false,
    oldestDay: 0,
    payloads: [{ key: second, receipts: [{ ...receipt, key: second }], rowsByDay: [], object }],
  });
  expect(ledger.state.head?.lateBells).toBe(2);
  expect(ledger.state.dump().groups.size).toBe(0);
});

describe("a full store", () => {
  /** One payload that was stored a minute ago, of content of this time. */
  function stored(): { readonly ledger: TestLedger; readonly time: number } {
    const ledger = new TestLedger();
    const time = contentMinuteOfId(timedIdAt(1));
    ledger.claim({ n: 1, id: timedIdAt(1) });
    ledger.storeAll(ledger.takeNotified());
    ledger.now += MINUTE_MS;
    return { ledger, time };
  }
  const full = defaultSettings.databaseBytesMax + 1;

  test("forgets what has the oldest content, whenever that ended, and nothing where it has room", () => {
    const { ledger, time } = stored();
    ledger.fullAlarm(full - 1, time + 1);
    ledger.fullAlarm(full, undefined);
    expect(ledger.state.head?.trimmed).toBeUndefined();
    ledger.fullAlarm(full, time);
    expect(ledger.state.places([timedIdAt(1)]).size).toBe(1);
    ledger.fullAlarm(full, time + 1);
    expect(ledger.state.places([timedIdAt(1)]).size).toBe(0);
    expect(ledger.state.head).toMatchObject({
      trimmed: { from: time + 1, at: ledger.now },
      memSince: Number.MIN_SAFE_INTEGER,
    });
  });

  test("never takes back what it has forgotten", () => {
    const { ledger, time } = stored();
    ledger.fullAlarm(full, time + 5);
    ledger.now++;
    ledger.fullAlarm(full, time - 5);
    expect(ledger.state.head?.trimmed).toEqual({ from: time + 5, at: ledger.now });
  });

  test("verifies content that it may have forgotten, behind the fence of what was live until then; what is newer is new", () => {
    const { ledger, time } = stored();
    ledger.fullAlarm(full, time + 1);
    const trimmedAt = ledger.now;
    ledger.now += 1000;
    // An hour after the first time, and under another key.
    expect(ledger.claim({ n: 1, id: timedIdAt(1), arrival: ledger.now })).toBeNull();
    const [verified] = ledger.state.dump().groups.values();
    expect(verified?.state).toMatchObject({ at: "verifying", fence: trimmedAt + fenceMs(defaultSettings) });
    expect(contentMinuteOfId(timedIdAt(2))).toBeGreaterThan(time);
    ledger.claim({ n: 2, id: timedIdAt(2), arrival: ledger.now });
    expect(ledger.state.waiting.payloads).toHaveLength(1);
  });

  test("erases what it may have forgotten behind the same fence", () => {
    const { ledger, time } = stored();
    ledger.fullAlarm(full, time + 1);
    const payload = doorbell({ n: 1, id: timedIdAt(1) });
    ledger.step({ kind: "erase", payloads: [payload], reason: "asked for" });
    const [erased] = ledger.state.dump().groups.values();
    expect(erased?.state).toMatchObject({ fence: ledger.now + fenceMs(defaultSettings) });
  });

  test("knows what is live and what has ended since it forgot, whatever its content", () => {
    const { ledger, time } = stored();
    ledger.claim({ n: 2, id: timedIdAt(2), arrival: ledger.now });
    const task = ledger.takeNotified();
    ledger.fullAlarm(full, time + 100);
    ledger.now++;
    ledger.storeAll(task);
    expect([...ledger.state.places([timedIdAt(1), timedIdAt(2)]).keys()]).toEqual([timedIdAt(2)]);
    ledger.fullAlarm(full, time + 100);
    expect(ledger.state.places([timedIdAt(2)]).size).toBe(0);
  });

  test("has a memory that is complete again when what it forgot would be forgotten in any case", () => {
    const { ledger, time } = stored();
    ledger.fullAlarm(full, time + 1);
    const trimmedAt = ledger.now;
    ledger.now = trimmedAt + limits.ledgerMemoryMs;
    ledger.step({ kind: "minute" });
    expect(ledger.state.head?.trimmed).toMatchObject({ at: trimmedAt });
    ledger.now++;
    ledger.step({ kind: "minute" });
    expect(ledger.state.head?.trimmed).toBeNull();
  });
});

describe("what has ended is forgotten", () => {
  /** One payload that ended, and when. */
  function ended(): { readonly ledger: TestLedger; readonly endedAt: number } {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.storeAll(ledger.takeNotified());
    return { ledger, endedAt: ledger.now };
  }

  test("with the first minute after the memory's time: no alarm is armed for it, and the head is written anyway", () => {
    const { ledger, endedAt } = ended();
    ledger.now = endedAt + limits.ledgerMemoryMs;
    ledger.step({ kind: "minute" });
    expect(ledger.state.dump().places.size).toBe(1);
    ledger.now++;
    ledger.step({ kind: "minute" });
    expect(ledger.state.dump().places.size).toBe(0);
    // What arrived when the forgotten one did is verified from now on.
    expect(ledger.state.head?.memSince).toBe(endedAt + 1);
    expect(nextAlarm(ledger.state, ledger.settings)).toBeUndefined();
  });

  test("by an alarm, later, where nobody counts minutes; none is armed for it", () => {
    const { ledger, endedAt } = ended();
    expect(nextAlarm(ledger.state, ledger.settings)).toBeUndefined();
    ledger.now = startMs + limits.ledgerMemoryMs + limits.ledgerForgetLagMs;
    expect(ledger.now).toBeGreaterThan(endedAt + limits.ledgerMemoryMs);
    ledger.alarm();
    expect(ledger.state.dump().places.size).toBe(1);
    ledger.now++;
    ledger.alarm();
    expect(ledger.state.dump().places.size).toBe(0);
    expect(ledger.state.head?.memSince).toBe(ledger.now - limits.ledgerMemoryMs);
  });

  test("not before the ledger is as old as its memory: a memory that is complete from the beginning stays so", () => {
    const { ledger } = ended();
    ledger.now = startMs + limits.ledgerMemoryMs;
    ledger.step({ kind: "minute" });
    expect(ledger.state.head?.memSince).toBe(Number.MIN_SAFE_INTEGER);
    ledger.now++;
    ledger.step({ kind: "minute" });
    expect(ledger.state.head?.memSince).toBe(startMs + 1);
  });

  test("although a group that was made before it ended later, which is remembered for longer", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const slow = ledger.takeNotified();
    ledger.claim({ n: 2, arrival: ledger.now });
    ledger.storeAll(ledger.takeNotified());
    const endedAt = ledger.now;
    ledger.now += MINUTE_MS;
    ledger.storeAll(slow);
    ledger.now = endedAt + limits.ledgerMemoryMs + 1;
    ledger.step({ kind: "minute" });
    expect([...ledger.state.dump().places.keys()]).toEqual([idAt(1)]);
    ledger.now += MINUTE_MS;
    ledger.step({ kind: "minute" });
    expect(ledger.state.dump().places.size).toBe(0);
  });
});
