import { describe, expect, test } from "vitest";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { holds, nextAlarm } from "../../shared/ledger/machine.ts";
import { backOffMs, defaultSettings } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const MINUTE_MS = 60_000;

function receiptsOf(task: GroupTask | null): readonly string[] {
  return task?.step === "receipts" ? task.receipts.map(({ key, outcome }) => `${outcome} ${key}`) : [];
}

describe("claiming and grouping", () => {
  test("a lone payload waits a second, is notified, inserted, receipted and done", () => {
    const ledger = new TestLedger();
    expect(ledger.claim({ n: 1 })).toBeNull();
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(startMs + limits.groupAgeReadyMs);
    expect(ledger.alarm()).toEqual([]);
    const task = ledger.takeNotified();
    expect(task.step).toBe("insert");
    expect(task.attempt).toBe(1);
    expect(task.payloads.map(({ key }) => key)).toEqual([doorbell({ n: 1 }).key]);
    expect(task.deadline).toBe(ledger.now + limits.leaseMs);
    const receipts = ledger.report(task, storedReport(task));
    expect(receiptsOf(receipts)).toEqual([`stored ${doorbell({ n: 1 }).key}`]);
    expect(holds(ledger.state, [doorbell({ n: 1 }).key])).toEqual([true]);
    if (receipts !== null) {
      ledger.receipted(receipts);
    }
    expect(holds(ledger.state, [doorbell({ n: 1 }).key])).toEqual([false]);
    expect(ledger.state.dump().groups.size).toBe(0);
  });

  test("a claim that reaches 10,000 rows takes its group along", () => {
    const ledger = new TestLedger();
    expect(ledger.claim({ n: 1, spans: 9_999 })).toBeNull();
    const task = ledger.claim({ n: 2, spans: 1 });
    expect(task?.payloads).toHaveLength(2);
  });

  test("of three groups that are ready one goes with the claim, the alarm rings the others at once", () => {
    const ledger = new TestLedger();
    const task = ledger.claim({ n: 1, spans: 60_000 }, { n: 2, spans: 60_000 }, { n: 3, spans: 60_000 });
    expect(task?.payloads.map(({ key }) => key)).toEqual([doorbell({ n: 1 }).key]);
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(ledger.now);
    expect(ledger.alarm()).toHaveLength(2);
  });

  test.each([
    ["rows", { spans: 9_000 }, { spans: 91_001 }],
    ["output bytes", { outputBytes: 20_000_000 }, { outputBytes: 20_000_000 }],
    ["days of arrival", { arrival: startMs - 29 * 86_400_000 }, {}],
  ])("a group never exceeds the cap on %s", (_name, first, second) => {
    const ledger = new TestLedger();
    const task = ledger.claim({ n: 1, ...first }, { n: 2, ...second });
    expect(task?.payloads.map(({ key }) => key)).toEqual([doorbell({ n: 1, ...first }).key]);
  });

  test("500 payloads are a group", () => {
    const ledger = new TestLedger();
    const task = ledger.claim(...Array.from({ length: 501 }, (_, n) => ({ n, spans: 1 })));
    expect(task?.payloads).toHaveLength(limits.groupPayloadsMax);
    expect(ledger.state.waiting.payloads).toHaveLength(1);
  });
});

describe("equal bytes", () => {
  test("the same doorbell twice is one payload with one receipt", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 1 });
    const task = ledger.takeNotified();
    ledger.claim({ n: 1 });
    expect(task.payloads).toHaveLength(1);
    expect(receiptsOf(ledger.report(task, storedReport(task)))).toHaveLength(1);
  });

  test("under another key, while it waits or is being inserted, the other receipts follow the owner's", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 1, arrival: startMs + MINUTE_MS });
    const task = ledger.takeNotified();
    ledger.claim({ n: 1, arrival: startMs + 2 * MINUTE_MS });
    expect(receiptsOf(ledger.report(task, storedReport(task)))).toEqual([
      `stored ${doorbell({ n: 1 }).key}`,
      `duplicate ${doorbell({ n: 1, arrival: startMs + MINUTE_MS }).key}`,
      `duplicate ${doorbell({ n: 1, arrival: startMs + 2 * MINUTE_MS }).key}`,
    ]);
  });

  test("under another key while the receipts are being written, its receipt is still owed after the settling", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    const receipts = ledger.report(task, storedReport(task));
    ledger.claim({ n: 1, arrival: startMs + MINUTE_MS });
    expect(receipts).not.toBeNull();
    if (receipts !== null) {
      ledger.receipted(receipts);
    }
    const [group] = ledger.alarm();
    expect(group).toBe(task.group);
    const again = ledger.take(task.group);
    expect(receiptsOf(again)).toEqual([`duplicate ${doorbell({ n: 1, arrival: startMs + MINUTE_MS }).key}`]);
    if (again !== null) {
      ledger.receipted(again);
    }
    expect(ledger.state.dump().groups.size).toBe(0);
  });

  test("after it is done, the same key is acked and another key gets its duplicate receipt", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.storeAll(ledger.takeNotified());
    ledger.claim({ n: 1, cause: "event" });
    expect(ledger.state.dump().groups.size).toBe(0);
    ledger.claim({ n: 1, arrival: startMs + 5 * MINUTE_MS });
    const [group] = ledger.alarm();
    const task = group === undefined ? null : ledger.take(group);
    expect(receiptsOf(task)).toEqual([
      `duplicate ${doorbell({ n: 1, arrival: startMs + 5 * MINUTE_MS }).key}`,
    ]);
    if (task !== null) {
      ledger.receipted(task);
    }
    ledger.claim({ n: 1 });
    expect(ledger.state.dump().groups.size).toBe(0);
  });

  test("who misses its rows while a duplicate's receipt is written is answered by VERIFY, after the fence", () => {
    for (const cause of ["audit", "replay", "event"] as const) {
      const ledger = new TestLedger();
      ledger.claim({ n: 1 });
      ledger.storeAll(ledger.takeNotified());
      ledger.claim({ n: 1, arrival: startMs + 5 * MINUTE_MS });
      const [group] = ledger.alarm();
      const task = group === undefined ? null : ledger.take(group);
      ledger.claim({ n: 1, cause });
      ledger.claim({ n: 1, cause }); // the queue delivers it twice
      ledger.receipted(...(task === null ? [] : [task]));
      const [appended] = ledger.alarm(); // the receipt of the key that rang
      const last = appended === undefined ? null : ledger.take(appended);
      expect(last?.step).toBe("receipts");
      ledger.receipted(...(last === null ? [] : [last]));
      const groups = [...ledger.state.dump().groups.values()];
      if (cause === "event") {
        expect(groups).toEqual([]); // a late ring misses nothing
        continue;
      }
      expect(groups.map(({ state, payloads }) => [state.at, payloads.map((one) => one.cause)])).toEqual([
        ["verifying", [cause]],
      ]);
      expect(groups[0]?.due).toBeGreaterThan(ledger.now + 60_000);
      expect(holds(ledger.state, [doorbell({ n: 1 }).key])).toEqual([true]);
    }
  });
});

describe("attempts", () => {
  test("only one attempt of a group is in flight, and a doubled ring finds nothing", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    expect(ledger.take(task.group)).toBeNull();
    ledger.storeAll(task);
    expect(ledger.take(task.group)).toBeNull();
  });

  test("an attempt that failed is notified again with the same token and payloads, later each time", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    let task = ledger.takeNotified();
    for (let i = 0; i < 12; i++) {
      expect(ledger.report(task, { kind: "unknown", reason: "reset" })).toBeNull();
      const wait = backOffMs(i, defaultSettings);
      ledger.now += wait - 1;
      expect(ledger.alarm()).toEqual([]);
      ledger.now += 1;
      expect(ledger.alarm()).toEqual([task.group]);
      const next = ledger.take(task.group);
      expect(next).toMatchObject({ group: task.group, attempt: task.attempt + 1, payloads: task.payloads });
      task = next ?? task;
    }
    expect(backOffMs(11, defaultSettings)).toBe(limits.retryLastMs);
  });

  test("an attempt that is never reported is taken back when its lease ends, and its late report changes nothing", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.now = task.deadline - 1;
    expect(ledger.alarm()).toEqual([]);
    ledger.now = task.deadline;
    expect(ledger.alarm()).toEqual([]);
    expect(ledger.state.group(task.group)?.outcomeUnknown).toBe(true);
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(ledger.now);
    expect(ledger.alarm()).toEqual([task.group]);
    const before = structuredClone(ledger.state.group(task.group));
    expect(ledger.report(task, storedReport(task))).toBeNull();
    expect(ledger.state.group(task.group)).toEqual(before);
  });

  test("a consumer that asks when the lease is over gets the group at once, and none does a moment before", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const first = ledger.takeNotified();
    ledger.now = first.deadline - 1;
    expect(ledger.take(first.group)).toBeNull();
    ledger.now = first.deadline;
    const second = ledger.take(first.group);
    expect(second).toMatchObject({ step: "insert", attempt: 2, deadline: ledger.now + limits.leaseMs });
    expect(ledger.state.head?.breaker.inFlight).toEqual([first.group]);
  });

  test("a VERIFY whose lease ends is verified again, the third time without transcoding anything", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "replay" });
    const [id] = ledger.state.dump().groups.keys();
    ledger.now = (id === undefined ? undefined : ledger.state.group(id)?.due) ?? 0;
    for (let tries = 0; tries <= limits.ownFailuresMax + 1; tries++) {
      const task = id === undefined ? null : ledger.take(id);
      expect(task).toMatchObject({ step: "verify", isBlind: tries >= limits.ownFailuresMax });
      ledger.now = task?.deadline ?? 0;
    }
    // It sent nothing: what it left says nothing of ClickHouse.
    expect(ledger.state.head?.breaker.suspects).toEqual([]);
    expect(id && ledger.state.group(id)).toMatchObject({ outcomeUnknown: false });
  });

  test("payloads that wait become a group when the first of them has waited for its age, and not before", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.now += limits.groupAgeReadyMs - 1;
    ledger.claim({ n: 2 });
    expect(ledger.alarm()).toEqual([]);
    ledger.now += 1;
    expect(ledger.alarm()).toHaveLength(1);
    expect([...ledger.state.dump().groups.values()].map(({ payloads }) => payloads.length)).toEqual([2]);
  });

  test("a ring that is lost is notified again", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.now += limits.groupAgeReadyMs;
    const first = ledger.alarm();
    ledger.now += limits.retryFirstMs;
    expect(ledger.alarm()).toEqual(first);
    ledger.now += 2 * limits.retryFirstMs - 1;
    expect(ledger.alarm()).toEqual([]);
    ledger.now += 1;
    expect(ledger.alarm()).toEqual(first);
  });

  test("a group that comes when its slot is taken is notified again as soon as there is one", () => {
    const ledger = new TestLedger({ ...defaultSettings, concurrencyFirst: 1, concurrencyMax: 2 });
    const claim = (n: number) => ledger.claim({ n, spans: limits.groupRowsReady });
    const first = claim(1);
    expect(claim(2)).toBeNull();
    ledger.storeAll(first ?? ledger.takeNotified()); // two may be out from now on
    const [late, ...more] = ledger.alarm();
    if (late === undefined) {
      throw new Error("the second is notified");
    }
    expect(more).toEqual([]);
    const others = [claim(3), claim(4)];
    expect(ledger.take(late)).toBeNull();
    expect(ledger.state.group(late)).toMatchObject({ rings: 0, due: ledger.now });
    expect(ledger.alarm()).toEqual([]);
    ledger.storeAll(others[0] ?? ledger.takeNotified());
    expect(ledger.alarm()).toEqual([late]);
    expect(ledger.take(late)?.step).toBe("insert");
  });

  test("a group that was never notified stays due when somebody comes and there is no slot", () => {
    const ledger = new TestLedger({ ...defaultSettings, concurrencyFirst: 1, concurrencyMax: 1 });
    ledger.claim({ n: 1, spans: limits.groupRowsReady });
    ledger.claim({ n: 2, spans: limits.groupRowsReady });
    const made = ledger.now;
    const [, second] = ledger.state.dump().groups.values();
    ledger.now += 500;
    expect(second === undefined ? null : ledger.take(second.id)).toBeNull();
    expect(second && ledger.state.group(second.id)).toMatchObject({ rings: 0, due: made });
  });

  test("a group that was notified and has gone to VERIFY since gives its slot back when it would be notified again", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.report(task, { kind: "unknown", reason: "reset" });
    ledger.now += limits.retryFirstMs;
    expect(ledger.alarm()).toEqual([task.group]);
    ledger.step({ kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" });
    expect(ledger.state.group(task.group)?.state.at).toBe("verifying");
    ledger.now += limits.leaseMs;
    expect(ledger.alarm()).toEqual([]);
    expect(ledger.state.head?.breaker.notified).toEqual([]);
  });

  test("as many groups are notified as there are slots, and the next when one of them is done", () => {
    const ledger = new TestLedger();
    const waiting = 3 * limits.insertsAtOnceFirst;
    for (let n = 0; n < waiting; n++) {
      // Each is a group by itself. The claim hands the first ones out until the slots are full.
      ledger.claim({ n, spans: limits.groupRowsReady });
    }
    const { inFlight } = ledger.state.head?.breaker ?? { inFlight: [] };
    expect(inFlight).toHaveLength(limits.insertsAtOnceFirst);
    expect(ledger.alarm()).toEqual([]);
    const [first] = inFlight;
    const task = first === undefined ? null : { group: first, attempt: 1 };
    const group = first === undefined ? undefined : ledger.state.group(first);
    if (task === null || group === undefined) {
      throw new Error("a group is leased");
    }
    ledger.storeAll({
      ...task,
      step: "insert",
      isFirstInsert: true,
      table: null,
      serverDeadline: 0,
      deadline: 0,
      payloads: group.payloads,
    });
    // One is done and one more may be out than before: two are notified, and however often the alarm looks, no third.
    const notified = ledger.alarm();
    expect(notified).toHaveLength(2);
    expect(ledger.alarm()).toEqual([]);
    // For some time no consumer fetches them: they are notified again, and no other is.
    ledger.now += limits.retryFirstMs;
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(ledger.now);
    expect(ledger.alarm()).toEqual(notified);
    expect(ledger.alarm()).toEqual([]);
    expect(notified.map((id) => ledger.take(id)?.step)).toEqual(["insert", "insert"]);
    expect(ledger.alarm()).toEqual([]);
  });

  test("more may be out at once only while all that may be out are", () => {
    const ledger = new TestLedger();
    for (let n = 0; n < 20; n++) {
      // One after the other: a queue that leases one message at a time.
      const task = ledger.claim({ n, spans: limits.groupRowsReady });
      if (task !== null) {
        ledger.storeAll(task);
      }
    }
    expect(ledger.state.head?.breaker.concurrencyLimit).toBe(limits.insertsAtOnceFirst);
    const tasks = Array.from({ length: limits.insertsAtOnceFirst }, (_, n) =>
      ledger.claim({ n: 100 + n, spans: limits.groupRowsReady }),
    );
    for (const task of tasks.slice(0, 1)) {
      ledger.storeAll(task ?? ledger.takeNotified());
    }
    expect(ledger.state.head?.breaker.concurrencyLimit).toBe(limits.insertsAtOnceFirst + 1);
  });

  test("after an outage the groups that waited go as soon as there are slots, not after a back-off of their own", () => {
    const ledger = new TestLedger();
    const waiting = 20;
    const tasks = Array.from({ length: waiting }, (_, n) =>
      ledger.claim({ n, spans: limits.groupRowsReady }),
    );
    for (const task of tasks) {
      if (task !== null) {
        ledger.report(task, { kind: "unknown", reason: "reset" });
      }
    }
    /** The alarm rings again and again before anybody comes: a queue is slower than the ledger. */
    const ringAll = (): readonly GroupId[] => {
      const notified: GroupId[] = [];
      for (let more = ledger.alarm(); more.length > 0; more = ledger.alarm()) {
        notified.push(...more);
      }
      return notified;
    };
    const untilNext = (end: number) => Math.max(ledger.now, nextAlarm(ledger.state, ledger.settings) ?? end);
    for (const end = ledger.now + 3_600_000; ledger.now < end; ) {
      ledger.now = untilNext(end);
      for (const task of ringAll().map((id) => ledger.take(id))) {
        if (task !== null) {
          ledger.report(task, { kind: "unknown", reason: "reset" });
        }
      }
    }
    expect(ledger.state.head?.breaker.isOpen).toBe(true);
    // ClickHouse is back. A group that was never sent has nothing to wait for once a probe was stored.
    const neverOut = () =>
      [...ledger.state.dump().groups.values()].filter(({ attempts }) => attempts === 0).length;
    expect(neverOut()).toBeGreaterThan(0);
    let backAt = Number.POSITIVE_INFINITY;
    let rings = 0;
    for (const end = ledger.now + 2 * limits.retryLastMs; ledger.now < end && neverOut() > 0; ) {
      ledger.now = untilNext(end);
      const tasks = ringAll().map((id) => ledger.take(id));
      rings += tasks.length;
      for (const task of tasks) {
        if (task !== null && task.step === "insert") {
          backAt = Math.min(backAt, ledger.now);
          ledger.storeAll(task);
        }
      }
    }
    expect(neverOut()).toBe(0);
    expect(ledger.now - backAt).toBeLessThan(2 * limits.retryFirstMs);
    expect(rings).toBeLessThan(2 * waiting);
  });

  test("receipts that could not be written are leased again without another INSERT", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    const receipts = ledger.report(task, storedReport(task));
    expect(receipts?.step).toBe("receipts");
    if (receipts !== null) {
      ledger.report(receipts, { kind: "unknown", reason: "reset" });
    }
    ledger.now += limits.retryFirstMs;
    expect(ledger.alarm()).toEqual([task.group]);
    expect(ledger.take(task.group)?.step).toBe("receipts");
  });

  test("is receipted with the rows of its object, whatever a doorbell counted", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    const report = storedReport(task);
    const rowsByDay = [{ day: 20_781, rows: 7 }]; // ten spans by the doorbell of another request
    const other = { ...report, payloads: report.payloads.map((payload) => ({ ...payload, rowsByDay })) };
    const receipts = [{ outcome: "stored", spans: 7, rowsByDay }];
    expect(ledger.report(task, other)).toMatchObject({ step: "receipts", receipts });
  });
});

test("an alarm that finds nothing to do writes nothing", () => {
  const ledger = new TestLedger();
  expect(ledger.step({ kind: "alarm" })).toEqual({ changes: [], rings: [], task: null });
  ledger.claim({ n: 1 });
  ledger.storeAll(ledger.takeNotified());
  expect(ledger.step({ kind: "alarm" })).toEqual({ changes: [], rings: [], task: null });
  ledger.claim({ n: 2, arrival: ledger.now });
  ledger.takeNotified();
  expect(ledger.step({ kind: "alarm" })).toEqual({ changes: [], rings: [], task: null });
});

test("a finished id is remembered for the ledger's memory, then forgotten", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  ledger.storeAll(ledger.takeNotified());
  ledger.now += limits.ledgerMemoryMs;
  ledger.alarm();
  expect(ledger.state.dump().places.size).toBe(1);
  ledger.now++;
  ledger.step({ kind: "minute" });
  expect(ledger.state.dump().places.size).toBe(0);
  expect(nextAlarm(ledger.state, ledger.settings)).toBeUndefined();
});

test("a retry of a retry is one payload: keys at 0, 23 and 45 hours (decision 0010)", () => {
  const ledger = new TestLedger();
  const hours = (n: number): number => startMs + n * 3_600_000;
  const retryAt = (n: number): GroupTask => {
    ledger.now = hours(n);
    for (let due = nextAlarm(ledger.state, ledger.settings); due !== undefined && due <= ledger.now; ) {
      const before = due;
      ledger.alarm();
      due = nextAlarm(ledger.state, ledger.settings);
      if (due === before) {
        break;
      }
    }
    ledger.claim({ n: 1, arrival: hours(n) });
    const [group] = ledger.alarm();
    const task = group === undefined ? null : ledger.take(group);
    if (task === null) {
      throw new Error(`the key of hour ${n} has no receipt to wait for`);
    }
    return task;
  };
  ledger.claim({ n: 1, arrival: hours(0) });
  ledger.storeAll(ledger.takeNotified());
  for (const n of [23, 45]) {
    const task = retryAt(n);
    expect(receiptsOf(task)).toEqual([`duplicate ${doorbell({ n: 1, arrival: hours(n) }).key}`]);
    ledger.receipted(task);
  }
});
