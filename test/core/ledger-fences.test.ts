import { expect, test } from "vitest";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { backOffMs, defaultSettings, fenceMs, overdueMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { doorbell, emptyWorld, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const MINUTE_MS = 60_000;
const today = Math.floor(startMs / 86_400_000);

/** All of each payload's rows are in the table, and none of its receipts. */
function allFound(task: GroupTask): AttemptReport {
  return {
    kind: "verified",
    running: false,
    oldestDay: 0,
    payloads: task.payloads.map(({ key, spans }) => ({
      key,
      receipts: [],
      rowsByDay: [{ day: today, rows: spans }],
      object: { key, spans, rejectedSpans: 0, bytes: 100, rowsByDay: [{ day: today, rows: spans }] },
    })),
  };
}

/** Lets time pass until the ledger rings a group, and takes it. */
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

test("what is verified together waits for the latest fence of all, whichever doorbell comes first", () => {
  for (const isLateFirst of [true, false]) {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1 });
    const verify = next(ledger);
    const receipts = ledger.report(verify, allFound(verify));
    ledger.receipted(...(receipts === null ? [] : [receipts]));
    const doneAt = ledger.now;
    expect(doneAt).toBeGreaterThanOrEqual(startMs + fenceMs(ledger.settings));

    // One was done just now. Of the other nothing is known: its fence counts from the ledger's birth, and is over.
    const done = { n: 1, cause: "reconcile" } as const;
    ledger.claim(...(isLateFirst ? [done, { n: 2 }] : [{ n: 2 }, done]));
    expect(next(ledger).payloads).toHaveLength(2);
    expect(ledger.now - doneAt).toBeGreaterThanOrEqual(fenceMs(ledger.settings));
  }
});

test("a payload that a second attempt cannot read sends its group to VERIFY: the first may have stored the rows", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  const first = ledger.takeNotified();
  ledger.report(first, { kind: "unknown", reason: "reset" });
  const second = next(ledger);
  expect(second).toMatchObject({ step: "insert", group: first.group });
  ledger.report(second, { kind: "unreadable", keys: [doorbell({ n: 1 }).key], reason: "decode" });
  const groups = [...ledger.state.dump().groups.values()];
  expect(groups.map(({ id, state, payloads }) => [id, state.at, payloads.length])).toEqual([
    [first.group, "verifying", 2],
  ]);
});

test("a payload that the first attempt cannot read leaves the others to be inserted at once", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 }, { n: 2 });
  ledger.report(ledger.takeNotified(), {
    kind: "unreadable",
    keys: [doorbell({ n: 1 }).key],
    reason: "decode",
  });
  const groups = [...ledger.state.dump().groups.values()];
  expect(groups.map(({ state, payloads }) => [state.at, payloads.map(({ key }) => key)])).toEqual([
    ["open", [doorbell({ n: 2 }).key]],
    ["verifying", [doorbell({ n: 1 }).key]],
  ]);
});

test("a table with fewer blocks than before has dropped tokens: no token of before is trusted", () => {
  for (const [blocks, step] of [
    [600, "insert"],
    [599, "verify"],
  ] as const) {
    const ledger = new TestLedger();
    const table = { refusal: "", measure: { blocks: 600, windowBlocks: 1000, windowMs: null } };
    ledger.step({ kind: "table", table });
    ledger.claim({ n: 1 });
    const first = ledger.takeNotified();
    ledger.report(first, { kind: "unknown", reason: "reset" });
    ledger.now += limits.measureAfterMs + 1;
    const measure = next(ledger);
    expect(measure.step).toBe("measure");
    const again = ledger.report(measure, {
      kind: "measured",
      refusal: "",
      table: { blocks, windowBlocks: 1000, windowMs: null },
    });
    // Leased at once: the fence of its only INSERT is over by then.
    expect(again, `${blocks} blocks`).toMatchObject({ step, group: first.group });
  }
});

test("a token is not trusted while nobody has measured the table, before the first INSERT or since", () => {
  const measure = { blocks: 0, windowBlocks: 1000, windowMs: null };
  for (const isMeasured of [true, false]) {
    const ledger = new TestLedger();
    ledger.step({ kind: "table", table: { refusal: "", measure: isMeasured ? measure : null } });
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), { kind: "unknown", reason: "reset" });
    ledger.now += limits.measureAfterMs + 1;
    const again = ledger.report(next(ledger), { kind: "measured", refusal: "", table: measure });
    expect(again?.step).toBe(isMeasured ? "insert" : "verify");
  }
});

test("a table that forgets tokens by time is trusted for half of that time", () => {
  for (const isInTime of [true, false]) {
    const ledger = new TestLedger();
    const windowMs = 4 * limits.measureAfterMs;
    const known = { blocks: 0, windowBlocks: 1000, windowMs };
    ledger.step({ kind: "table", table: { refusal: "", measure: known } });
    ledger.claim({ n: 1 });
    const first = ledger.takeNotified();
    const handedOutAt = ledger.now;
    ledger.report(first, { kind: "unknown", reason: "reset" });
    ledger.now += limits.measureAfterMs + 1;
    const measure = next(ledger);
    ledger.now = handedOutAt + windowMs / 2 - (isInTime ? 1 : 0);
    const again = ledger.report(measure, { kind: "measured", refusal: "", table: known });
    expect(again?.step).toBe(isInTime ? "insert" : "verify");
  }
});

test("what a person erases while it is being inserted is erased behind the fence of that INSERT", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const insert = ledger.takeNotified();
  const handedOutAt = ledger.now;
  ledger.step({ kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" });
  const receipts = ledger.report(insert, storedReport(insert));
  ledger.receipted(...(receipts === null ? [] : [receipts]));
  const verify = next(ledger);
  expect(verify).toMatchObject({ step: "verify", payloads: [{ erase: "asked for" }] });
  expect(ledger.now - handedOutAt).toBeGreaterThanOrEqual(fenceMs(ledger.settings));
});

test("a token of a while ago is trusted by a measure that is fresh, and a young one without any", () => {
  const measure = { blocks: 0, windowBlocks: 1000, windowMs: null };
  for (const [age, measuredBefore, step] of [
    [limits.measureAfterMs, limits.measureAfterMs, "insert"],
    [limits.measureAfterMs + 1, limits.measureFreshMs, "insert"],
    [limits.measureAfterMs + 1, limits.measureFreshMs + 1, "measure"],
  ] as const) {
    const ledger = new TestLedger();
    const look = () => ledger.step({ kind: "table", table: { refusal: "", measure } });
    look();
    ledger.claim({ n: 1 });
    const first = ledger.takeNotified();
    const insertAt = ledger.now;
    ledger.report(first, { kind: "unknown", reason: "reset" });
    ledger.now = insertAt + age - measuredBefore;
    look();
    ledger.now = insertAt + age;
    expect(ledger.alarm()).toEqual([first.group]);
    expect(ledger.take(first.group)?.step).toBe(step);
  }
});

test("an unknown payload is inserted without looking only if it arrived more than a client's retries after the memory began", () => {
  for (const [afterMs, isWaiting] of [
    [limits.clientRetryMs, false],
    [limits.clientRetryMs + 1, true],
  ] as const) {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.now += afterMs;
    ledger.claim({ n: 1, arrival: ledger.now });
    expect(ledger.state.waiting.payloads).toHaveLength(isWaiting ? 1 : 0);
  }
});

test("a fence is a lease, an INSERT and a margin; an INSERT is overdue after its time and half of the margin", () => {
  const settings = { ...defaultSettings, leaseMs: 100, insertMs: 60, fenceMarginMs: 10 };
  expect(fenceMs(settings)).toBe(170);
  expect(overdueMs(settings)).toBe(65);
  const backOff = { ...settings, retryFirstMs: 3, retryLastMs: 20 };
  expect([0, 1, 2, 3, 5000].map((failures) => backOffMs(failures, backOff))).toEqual([3, 6, 12, 20, 20]);
});

test("what a person erases together is one group, or as few as its caps and the fences allow", () => {
  const ledger = new TestLedger();
  const asked = Array.from({ length: 501 }, (_, i) => doorbell({ n: i + 1, cause: "replay" }));
  ledger.now += fenceMs(ledger.settings) + 1;
  const [first] = asked;
  ledger.step({
    kind: "erase",
    payloads: [...asked, ...(first === undefined ? [] : [first])],
    reason: "asked for",
  });
  const groups = [...ledger.state.dump().groups.values()];
  expect(groups.map(({ payloads }) => payloads.length)).toEqual([500, 1]);
  expect(groups.flatMap(({ payloads }) => payloads).every(({ erase }) => erase === "asked for")).toBe(true);
});

test("what a person erases together waits for the latest fence of all, whichever key comes first", () => {
  for (const isLateFirst of [true, false]) {
    const ledger = new TestLedger();
    ledger.now += 3 * MINUTE_MS;
    for (const n of [1, 2]) {
      ledger.now += 5000;
      ledger.claim({ n, arrival: ledger.now });
      ledger.storeAll(ledger.takeNotified());
    }
    const endedAt = ledger.now;
    const asked = [1, 2].map((n) => doorbell({ n, cause: "replay" }));
    ledger.step({ kind: "erase", payloads: isLateFirst ? asked.reverse() : asked, reason: "asked for" });
    const [group, ...others] = ledger.state.dump().groups.values();
    expect(others).toEqual([]);
    expect(group?.state).toMatchObject({ at: "verifying", fence: endedAt + fenceMs(ledger.settings) });
    expect(group?.due).toBe(endedAt + fenceMs(ledger.settings));
  }
});

test("what a person erases that is not live is verified behind the fence of any INSERT that may have stored it", () => {
  const erase = (ledger: TestLedger) => {
    ledger.step({ kind: "erase", payloads: [doorbell({ n: 1, cause: "replay" })], reason: "asked for" });
    const [group] = ledger.state.dump().groups.values();
    return group && [group.state.at === "verifying" && group.state.fence, group.due];
  };
  // Unknown: of a ledger before this one, which ended when this one was born.
  const unknown = new TestLedger();
  const fence = startMs + fenceMs(unknown.settings);
  expect(erase(unknown)).toEqual([fence, fence]);
  const late = new TestLedger();
  late.now = fence + 5;
  expect(erase(late)).toEqual([fence, fence + 5]);
  // Done: of the group that had it.
  const done = new TestLedger();
  done.now += 3 * MINUTE_MS;
  done.claim({ n: 1, arrival: done.now });
  done.storeAll(done.takeNotified());
  const endedAt = done.now;
  done.now += 5;
  expect(erase(done)).toEqual([endedAt + fenceMs(done.settings), endedAt + fenceMs(done.settings)]);
});
