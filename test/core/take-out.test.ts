/** What a person erases leaves the group that it is to be inserted with (shared/ledger/take-out.ts). */
import { assert, expect, test } from "vitest";
import type { AttemptReport, Evidence, GroupTask } from "../../shared/ledger/group.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { codecVersion, doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const erase = (ledger: TestLedger, n: number): void => {
  ledger.step({ kind: "erase", payloads: [doorbell({ n, cause: "replay" })], reason: "asked for" });
};

/** The numbers of a task's payloads. */
const numbersOf = ({ payloads }: GroupTask): readonly number[] => {
  const keys = Array.from({ length: 10 }, (_, n) => doorbell({ n }).key);
  return payloads.map(({ key }) => keys.indexOf(key));
};

/** Everything that is leased within these ms. */
function tasksWithin(ledger: TestLedger, ms: number): readonly GroupTask[] {
  const tasks: GroupTask[] = [];
  for (const end = ledger.now + ms; ledger.now <= end; ledger.now += 1000) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        tasks.push(task);
      }
    }
  }
  return tasks;
}

/** What is leased next. */
function nextTask(ledger: TestLedger): GroupTask {
  for (;;) {
    const [task] = tasksWithin(ledger, 0);
    if (task !== undefined) {
      return task;
    }
  }
}

/** VERIFY finds the objects, and `rows` of each payload. */
function verified(task: GroupTask, rows: number): AttemptReport {
  const payloads = task.payloads.map(({ key, spans }): Evidence => {
    const rowsByDay = [{ day: 20_781, rows: spans }];
    const object = { key, spans, rejectedSpans: 0, bytes: 1, rowsByDay };
    return { key, receipts: [], rowsByDay: rows === 0 ? [] : [{ day: 20_781, rows }], object };
  });
  return { kind: "verified", running: false, oldestDay: 0, payloads };
}

const refused = { kind: "table", table: { refusal: "no deduplication window", measure: null } } as const;
const mended = { kind: "table", table: { refusal: "", measure: null } } as const;

test("an erasure does not wait for a group that cannot be inserted, and the others are inserted without it", () => {
  const ledger = new TestLedger();
  ledger.step(refused);
  ledger.claim({ n: 1 }, { n: 2 }, { n: 3 });
  expect(tasksWithin(ledger, 10_000)).toEqual([]);
  const [before] = ledger.state.dump().groups.keys();
  erase(ledger, 2);
  const [look, ...more] = tasksWithin(ledger, 10_000);
  expect(more).toEqual([]);
  expect(look && [look.step, numbersOf(look)]).toEqual(["verify", [2]]);
  const receipts = look ? ledger.report(look, verified(look, 0)) : null;
  expect(receipts).toMatchObject({
    step: "receipts",
    receipts: [{ outcome: "erased", reason: "asked for" }],
  });
  ledger.step(mended);
  const [insert] = tasksWithin(ledger, 10_000);
  expect(insert && [insert.step, numbersOf(insert)]).toEqual(["insert", [1, 3]]);
  expect(insert?.group).not.toBe(before);
});

test("the others of its group keep what was counted against them", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  const task = ledger.takeNotified();
  ledger.report(task, { kind: "retry", reason: "33 MiB", tooLarge: true });
  const counted = ledger.state.group(task.group);
  expect(counted?.ownFailures).toBe(1);
  erase(ledger, 1);
  const others = [...ledger.state.dump().groups.values()].find(
    ({ payloads, state }) => state.at === "open" && payloads.length === 1,
  );
  expect(others).toMatchObject({
    ownFailures: 1,
    ownFailedAt: counted?.ownFailedAt,
    failures: counted?.failures,
  });
});

test("what is erased while it waits for its group is never sent", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  erase(ledger, 1);
  const tasks = tasksWithin(ledger, 10_000);
  expect(tasks.map((task) => [task.step, numbersOf(task)])).toEqual(
    expect.arrayContaining([
      ["insert", [2]],
      ["verify", [1]],
    ]),
  );
  expect(tasks).toHaveLength(2);
});

test("what is erased while an attempt is in flight leaves its group when that attempt sent nothing", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  const attempt = ledger.takeNotified();
  erase(ledger, 1);
  expect(ledger.state.dump().groups.size).toBe(1);
  ledger.report(attempt, { kind: "retry", reason: "the block could not be built" });
  const tasks = tasksWithin(ledger, 20_000);
  expect(tasks.filter(({ step }) => step === "insert").map(numbersOf)).toEqual([[2]]);
  expect(tasks.filter(({ step }) => step === "verify").map(numbersOf)).toEqual([[1]]);
});

test("where its rows may be there already, VERIFY erases it after the fence, and decides about the others", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  const attempt = ledger.takeNotified();
  ledger.report(attempt, { kind: "unknown", reason: "no answer" });
  const fence = ledger.now + fenceMs(ledger.settings);
  erase(ledger, 1);
  const [look] = tasksWithin(ledger, fenceMs(ledger.settings) + 10_000);
  expect(look && [look.step, numbersOf(look)]).toEqual(["verify", [1, 2]]);
  expect(ledger.now).toBeGreaterThanOrEqual(fence - 1000);
  const receipts = look ? ledger.report(look, verified(look, 10)) : null;
  expect(receipts).toMatchObject({
    step: "receipts",
    receipts: [{ outcome: "erased" }, { outcome: "stored" }],
  });
});

test("what was inserted before somebody asked is erased when it is done", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  const attempt = ledger.takeNotified();
  erase(ledger, 1);
  const receipts = ledger.report(attempt, storedReport(attempt));
  expect(receipts).toMatchObject({
    step: "receipts",
    receipts: [{ outcome: "stored" }, { outcome: "stored" }],
  });
  if (receipts !== null) {
    ledger.receipted(receipts);
  }
  const [look] = tasksWithin(ledger, fenceMs(ledger.settings) + 10_000);
  expect(look && [look.step, numbersOf(look)]).toEqual(["verify", [1]]);
});

test("what is erased while it waits is in no group that a claim leases at once", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  erase(ledger, 2);
  ledger.now += 1001;
  // The claim finds that all have waited long enough, and takes their group along.
  const insert = ledger.claim({ n: 3 });
  expect(insert && [insert.step, numbersOf(insert)]).toEqual(["insert", [1, 3]]);
  const [look] = tasksWithin(ledger, 2000);
  expect(look && [look.step, numbersOf(look)]).toEqual(["verify", [2]]);
});

test("where all that wait are erased there is nothing to insert", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  erase(ledger, 1);
  ledger.now += 1001;
  expect(ledger.alarm()).toHaveLength(0);
  const [look] = tasksWithin(ledger, 2000);
  expect(look && [look.step, numbersOf(look)]).toEqual(["verify", [1]]);
});

test("what cannot be erased in R2 is retried behind the receipts that no attempt has come to, and then alone", () => {
  const ledger = new TestLedger({ ...defaultSettings, receiptsMax: 2 });
  ledger.claim({ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 });
  const attempt = ledger.takeNotified();
  for (const n of [1, 2, 3, 4]) {
    erase(ledger, n);
  }
  ledger.report(attempt, { kind: "retry", reason: "no answer" });
  const look = nextTask(ledger);
  let task = ledger.report(look, verified(look, 0));
  const leased = (): readonly number[] => {
    const keys = Array.from({ length: 10 }, (_, n) => doorbell({ n }).key);
    return task?.step === "receipts" ? task.receipts.map(({ key }) => keys.indexOf(key)) : [];
  };
  const next = (): void => {
    task = nextTask(ledger);
  };
  const written = (): readonly boolean[] =>
    task?.step === "receipts" ? task.receipts.map(({ isWritten }) => isWritten === true) : [];
  const left = (n: number): void => {
    assert(task !== null);
    const { key } = doorbell({ n });
    const report = { kind: "retry", reason: `not erased: ${key}`, left: [key] } as const;
    expect(ledger.report(task, report)).toBeNull();
  };
  expect([leased(), written()]).toEqual([
    [1, 2],
    [false, false],
  ]);
  left(1);
  next();
  expect([leased(), written()], "the others first").toEqual([
    [3, 4],
    [false, false],
  ]);
  assert(task !== null);
  ledger.receipted(task);
  next();
  expect([leased(), written()], "and only its bytes are left").toEqual([[1], [true]]);
  // Another key of it is asked for meanwhile: of that nothing is done yet, and it is not tried later because of the other one.
  const other = doorbell({ n: 1, arrival: startMs + 120_000, cause: "replay" });
  ledger.step({ kind: "claim", doorbells: [other], codecVersion });
  left(1);
  next();
  expect([task?.step === "receipts" && task.receipts[0]?.key, written()]).toEqual([other.key, [false, true]]);
  assert(task !== null);
  ledger.report(task, { kind: "retry", reason: "not erased: s", left: [doorbell({ n: 1 }).key] });
  next();
  expect([leased(), written()]).toEqual([[1], [true]]);
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = ledger.now;
    left(1);
    next();
    waits.push(ledger.now - before);
    expect(leased()).toEqual([1]);
  }
  expect(waits.every((wait, i) => i === 0 || wait >= (waits[i - 1] ?? 0))).toBe(true);
  expect(waits.at(-1), "later each time").toBeGreaterThan(10_000);
  const [group] = ledger.state.dump().groups.values();
  expect(group?.failure?.text).toContain(`not erased: ${doorbell({ n: 1 }).key}`);
  expect(group?.state.at, "it is not over").toBe("receipting");
});

test("where none of more receipts than one attempt takes can be erased, they are all tried further apart each time", () => {
  const ledger = new TestLedger({ ...defaultSettings, receiptsMax: 2 });
  ledger.claim({ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }, { n: 5 });
  const attempt = ledger.takeNotified();
  for (const n of [1, 2, 3, 4, 5]) {
    erase(ledger, n);
  }
  ledger.report(attempt, { kind: "retry", reason: "no answer" });
  const look = nextTask(ledger);
  let task: GroupTask | null = ledger.report(look, verified(look, 0));
  const waits: number[] = [];
  const tried = new Set<string>();
  for (let i = 0; i < 12; i++) {
    assert(task?.step === "receipts");
    const left = task.receipts.map(({ key }) => key);
    for (const key of left) {
      tried.add(key);
    }
    const before = ledger.now;
    ledger.report(task, { kind: "retry", reason: "not erased: R2", left });
    task = nextTask(ledger);
    waits.push(ledger.now - before);
  }
  expect(tried.size).toBe(5);
  expect(waits.slice(0, 2), "none waits for one that was not tried yet").toEqual([1000, 1000]);
  expect(waits.at(-1), "later each time").toBeGreaterThan(10_000);
});

test("a payload of which the table has more rows than were ever accepted is erased, and keeps none of those beside it", () => {
  const ledger = new TestLedger();
  const { rowsMax } = ledger.settings.caps;
  const payloads = [2 * rowsMax, 10].map((spans, n) => doorbell({ n, spans, cause: "replay" }));
  ledger.step({ kind: "erase", payloads, reason: "asked for" });
  const looks = tasksWithin(ledger, fenceMs(ledger.settings) + 1000);
  expect(looks.flatMap(numbersOf).sort()).toEqual([0, 1]);
  for (const look of looks) {
    const receipts = ledger.report(look, verified(look, 20));
    expect(receipts).toMatchObject({ step: "receipts", receipts: [{ outcome: "erased" }] });
  }
});
