import { describe, expect, test } from "vitest";
import type { AttemptReport, Evidence, GroupPayload, GroupTask } from "../../shared/ledger/group.ts";
import { holds } from "../../shared/ledger/machine.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import { type Bell, doorbell, emptyWorld, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const MINUTE_MS = 60_000;
const today = Math.floor(startMs / 86_400_000);

/** What VERIFY sees of a payload of one day: `rows` in the table, the object there. */
function evidenceOf(payload: GroupPayload, rows: number, more: Partial<Evidence> = {}): Evidence {
  return {
    key: payload.key,
    receipts: [],
    rowsByDay: rows === 0 ? [] : [{ day: today, rows }],
    object: {
      key: payload.key,
      spans: payload.spans,
      rejectedSpans: 0,
      bytes: 100,
      rowsByDay: [{ day: today, rows: payload.spans }],
    },
    ...more,
  };
}

function verified(task: GroupTask, rows: number, more: Partial<Evidence> = {}): AttemptReport {
  return {
    kind: "verified",
    running: false,
    oldestDay: 0,
    payloads: task.payloads.map((payload) => evidenceOf(payload, rows, more)),
  };
}

function counted(task: GroupTask, rows: number): AttemptReport {
  return {
    kind: "counted",
    payloads: task.payloads.map(({ key }) => ({
      key,
      rowsByDay: rows === 0 ? [] : [{ day: today, rows }],
    })),
  };
}

/** Lets time pass until the ledger rings a group, and takes it. */
function next(ledger: TestLedger, withinMs: number): GroupTask {
  const end = ledger.now + withinMs;
  while (ledger.now <= end) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        return task;
      }
    }
    ledger.now += 1000;
  }
  throw new Error("nothing was notified in time");
}

function outcomeUnknown(ledger: TestLedger, bell: Bell = { n: 1 }): GroupTask {
  ledger.claim(bell);
  const task = ledger.takeNotified();
  ledger.report(task, { kind: "unknown", reason: "reset" });
  return next(ledger, MINUTE_MS);
}

describe("a group of unknown outcome", () => {
  test("is counted after its 200, and closed when every row is there", () => {
    const ledger = new TestLedger();
    const task = outcomeUnknown(ledger);
    const count = ledger.report(task, storedReport(task));
    expect(count?.step).toBe("count");
    expect(count === null ? null : ledger.report(count, counted(count, 10))?.step).toBe("receipts");
  });

  test("is what a busy server leaves behind too, but not a lease that ran out before the INSERT", () => {
    for (const [code, step] of [
      [241, "count"],
      [undefined, "receipts"],
    ] as const) {
      const ledger = new TestLedger();
      ledger.claim({ n: 1 });
      const first = ledger.takeNotified();
      ledger.report(first, { kind: "retry", reason: "busy", ...(code === undefined ? {} : { code }) });
      const again = next(ledger, MINUTE_MS);
      expect(ledger.report(again, storedReport(again))?.step).toBe(step);
    }
  });

  test("whose rows are missing is verified after the fence, and goes on under another token", () => {
    const ledger = new TestLedger();
    const task = outcomeUnknown(ledger);
    const handedOut = ledger.now;
    const count = ledger.report(task, storedReport(task));
    expect(count === null ? null : ledger.report(count, counted(count, 0))).toBeNull();
    const verify = next(ledger, 10 * MINUTE_MS);
    expect(verify.step).toBe("verify");
    expect(ledger.now - handedOut).toBeGreaterThanOrEqual(fenceMs(ledger.settings));
    ledger.report(verify, verified(verify, 0));
    const again = next(ledger, MINUTE_MS);
    expect(again.step).toBe("insert");
    expect(again.group).not.toBe(task.group);
  });

  test("that is refused is verified, not split", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 2 });
    const task = ledger.takeNotified();
    ledger.report(task, { kind: "unknown", reason: "reset" });
    const again = next(ledger, MINUTE_MS);
    ledger.report(again, { kind: "refused", reason: "bad", code: 117 });
    expect(ledger.state.group(task.group)?.state.at).toBe("verifying");
  });
});

describe("poison", () => {
  test("a clean refusal with no row in the table splits the group in two", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 2 }, { n: 3 });
    const task = ledger.takeNotified();
    const count = ledger.report(task, { kind: "refused", reason: "bad", code: 117 });
    expect(count?.step).toBe("count");
    if (count !== null) {
      ledger.report(count, counted(count, 0));
    }
    const sizes = [...ledger.state.dump().groups.values()].map(({ payloads }) => payloads.length);
    expect(sizes).toEqual([2, 1]);
  });

  test("a group that is refused is split although a payload of it has other days in the table from before", () => {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1 }, { n: 2 });
    const verify = next(ledger, 10 * MINUTE_MS);
    const days = [
      { day: today - 1, rows: 4 },
      { day: today, rows: 6 },
    ];
    const payloads = verify.payloads.map((payload) =>
      evidenceOf(payload, 0, {
        rowsByDay: days.slice(0, 1),
        object: { key: payload.key, spans: 10, rejectedSpans: 0, bytes: 100, rowsByDay: days },
      }),
    );
    ledger.report(verify, { kind: "verified", running: false, oldestDay: 0, payloads });
    const insert = next(ledger, MINUTE_MS);
    const rest = insert.payloads.map(({ key }) => ({
      key,
      rowsByDay: days.slice(1),
      rejectedSpans: 0,
      bytes: 100,
    }));
    const count = ledger.report(insert, { kind: "refused", reason: "bad", code: 117, payloads: rest });
    const counted = insert.payloads.map(({ key }) => ({ key, rowsByDay: days.slice(0, 1) }));
    expect(count?.step).toBe("count");
    if (count !== null) {
      ledger.report(count, { kind: "counted", payloads: counted });
    }
    const groups = [...ledger.state.dump().groups.values()];
    expect(groups.map(({ state, payloads: own }) => `${state.at} ${own.length}`)).toEqual([
      "open 1",
      "open 1",
    ]);
  });

  test("a group that is refused is verified where a day of what it inserted is there, and split where all of them are absent", () => {
    const days = [
      { day: today - 1, rows: 4 },
      { day: today, rows: 6 },
    ];
    for (const [found, at] of [
      [[], ["open", "open"]],
      [[{ day: today, rows: 0 }], ["open", "open"]],
      [days.slice(0, 1), ["verifying"]],
      [days.slice(1), ["verifying"]],
      // A day that nobody inserted is a payload's from before.
      [[{ day: today - 2, rows: 4 }], ["open", "open"]],
    ] as const) {
      const ledger = new TestLedger();
      ledger.claim({ n: 1 }, { n: 2 });
      const task = ledger.takeNotified();
      const transcoded = { rowsByDay: days, rejectedSpans: 0, bytes: 100 };
      const payloads = task.payloads.map(({ key }) => ({ key, ...transcoded }));
      const count = ledger.report(task, { kind: "refused", reason: "bad", code: 117, payloads });
      const counts = payloads.map(({ key }, n) => ({ key, rowsByDay: n === 0 ? found : [] }));
      expect(count === null ? null : ledger.report(count, { kind: "counted", payloads: counts })).toBeNull();
      expect([...ledger.state.dump().groups.values()].map(({ state }) => state.at)).toEqual(at);
    }
  });

  test("a payload alone that was refused is retried under another token, later each time", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    let task = ledger.takeNotified();
    const tokens = new Set([task.group]);
    let waited = 0;
    for (let i = 0; i < 3; i++) {
      const count = ledger.report(task, { kind: "refused", reason: "in a view", code: 117 });
      expect(count === null ? null : ledger.report(count, counted(count, 0))).toBeNull();
      const from = ledger.now;
      task = next(ledger, 60 * MINUTE_MS);
      expect(task.step).toBe("insert");
      expect(ledger.now - from).toBeGreaterThan(waited);
      waited = ledger.now - from;
      tokens.add(task.group);
    }
    expect(tokens.size, "the server may know a refused token, and have lost its rows").toBe(4);
    expect(ledger.report(task, storedReport(task))?.step).toBe("receipts");
  });

  test("a payload alone dies after three refusals, only with other groups stored between them", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    let task = ledger.takeNotified();
    const refuse = (): GroupTask | null => {
      const count = ledger.report(task, { kind: "refused", reason: "bad", code: 117 });
      return count === null ? null : ledger.report(count, counted(count, 0));
    };
    for (let i = 0; i < 5; i++) {
      refuse();
      task = next(ledger, 60 * MINUTE_MS);
      expect(task.step, "nothing else was stored: nobody dies").toBe("insert");
    }
    for (let n = 2; n <= 3; n++) {
      const good = ledger.claim({ n, spans: limits.groupRowsReady });
      if (good !== null) {
        ledger.storeAll(good);
      }
      refuse();
      task = next(ledger, 60 * MINUTE_MS);
    }
    expect(task.step).toBe("receipts");
    expect(task.step === "receipts" ? task.receipts : []).toMatchObject([
      { key: doorbell({ n: 1 }).key, outcome: "dead", reason: "rejected:117" },
    ]);
  });
});

test("an erasure that was stopped behind its receipts is done again by the next look, until nothing is left", () => {
  const { key } = doorbell({ n: 1 });
  for (const [rows, isThere] of [
    [10, true],
    [0, true],
    [0, false],
  ] as const) {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1, cause: "audit" });
    const verify = next(ledger, 10 * MINUTE_MS);
    const erased = {
      key,
      outcome: "erased",
      group: verify.group,
      spans: 10,
      rowsByDay: [],
      rejectedSpans: 0,
      bytes: 100,
      reason: "asked for",
    } as const;
    const seen = verified(verify, rows, { receipts: [erased], ...(isThere ? {} : { object: null }) });
    const task = ledger.report(verify, seen);
    expect(task?.step === "receipts" ? task.receipts : []).toMatchObject(
      rows > 0 || isThere ? [{ key, outcome: "erased", reason: "asked for" }] : [],
    );
  }
});

test("a group of one INSERT whose rows are gone is no late bell's: it was not notified by it", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  const count = ledger.report(task, { kind: "refused", reason: "in a view", code: 117 });
  if (count !== null) {
    ledger.report(count, counted(count, 10));
  }
  const verify = next(ledger, 10 * MINUTE_MS);
  expect(ledger.state.group(verify.group)?.inserts).toBe(1);
  const [payload] = verify.payloads;
  const stored = {
    key: payload?.key ?? doorbell({ n: 1 }).key,
    outcome: "stored",
    group: verify.group,
    spans: 10,
    rowsByDay: [{ day: today, rows: 10 }],
    rejectedSpans: 0,
    bytes: 100,
    reason: "",
  } as const;
  expect(ledger.report(verify, verified(verify, 0, { receipts: [stored] }))).toBeNull();
  expect(ledger.state.head?.lateBells).toBe(0);
});

test("an attempt that could read none of its payloads sent nothing: VERIFY need not wait, nor think that it did", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  const keys = task.payloads.map(({ key }) => key);
  ledger.report(task, { kind: "unreadable", keys, reason: "decode" });
  expect(ledger.state.group(task.group)).toMatchObject({
    state: { at: "verifying", fence: ledger.now },
    due: ledger.now,
    inserts: 0,
    firstInsertAt: null,
    lastInsertAt: null,
  });
});

test("what ends together has as many receipts as a group may have keys; what is above is looked at by itself", () => {
  const caps = { ...defaultSettings.caps, keysMax: 4 };
  for (const [erasedKeys, states] of [
    [1, ["receipting 4"]],
    [2, ["receipting 3", "verifying 0"]],
    [4, ["receipting 5", "verifying 0"]],
  ] as const) {
    const ledger = new TestLedger({ ...defaultSettings, caps }, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1 }, { n: 2 });
    const verify = next(ledger, 10 * MINUTE_MS);
    const payloads = verify.payloads.map((payload, n) => {
      const receipts = Array.from({ length: erasedKeys }, (_, minute) => ({
        key: doorbell({ n: n + 1, arrival: startMs + (minute + 1) * MINUTE_MS }).key,
        outcome: "erased" as const,
        group: verify.group,
        spans: 10,
        rowsByDay: [],
        rejectedSpans: 0,
        bytes: 100,
        reason: "asked for",
      }));
      return evidenceOf(payload, 10, { receipts });
    });
    ledger.report(verify, { kind: "verified", running: false, oldestDay: 0, payloads });
    const groups = [...ledger.state.dump().groups.values()];
    expect(
      groups.map(({ state }) => `${state.at} ${state.at === "receipting" ? state.receipts.length : 0}`),
    ).toEqual(states);
  }
});

describe("the view of trace ids is completed with the receipts", () => {
  const completes = (task: GroupTask | null): boolean => task?.step === "receipts" && task.completeView;

  test("of a group whose answer was lost, and of one whose view failed after the commit", () => {
    const lost = new TestLedger();
    const again = outcomeUnknown(lost);
    const count = lost.report(again, storedReport(again));
    expect(count === null ? false : completes(lost.report(count, counted(count, 10)))).toBe(true);

    const failed = new TestLedger();
    failed.claim({ n: 1 });
    const refused = failed.report(failed.takeNotified(), { kind: "refused", reason: "in a view", code: 117 });
    if (refused !== null) {
      failed.report(refused, counted(refused, 10));
    }
    const verify = next(failed, 10 * MINUTE_MS);
    expect(completes(failed.report(verify, verified(verify, 10)))).toBe(true);
  });

  test("of rows that an unknown ledger inserted, unless they have their receipt", () => {
    for (const outcome of ["stored", null] as const) {
      const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
      ledger.claim({ n: 1 }, { n: 1, arrival: startMs + MINUTE_MS });
      const verify = next(ledger, 10 * MINUTE_MS);
      const [payload] = verify.payloads;
      const receipts: Evidence["receipts"] =
        outcome === null || payload === undefined
          ? []
          : [
              {
                key: payload.key,
                outcome,
                rowsByDay: [{ day: today, rows: 10 }],
                reason: "",
              },
            ];
      const task = ledger.report(verify, verified(verify, 10, { receipts }));
      expect(task?.step).toBe("receipts");
      expect(completes(task)).toBe(outcome === null);
    }
  });

  test("of the days that a payload had before its other days were inserted", () => {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1 });
    const verify = next(ledger, 10 * MINUTE_MS);
    const days = [
      { day: today - 1, rows: 4 },
      { day: today, rows: 6 },
    ];
    const object = { key: doorbell({ n: 1 }).key, spans: 10, rejectedSpans: 0, bytes: 100, rowsByDay: days };
    ledger.report(verify, verified(verify, 0, { object, rowsByDay: days.slice(0, 1) }));
    const insert = next(ledger, MINUTE_MS);
    const stored: AttemptReport = {
      kind: "stored",
      codecVersion: 1,
      payloads: [{ key: object.key, rowsByDay: days.slice(1), rejectedSpans: 0, bytes: 100 }],
    };
    expect(completes(ledger.report(insert, stored))).toBe(true);
  });
});

describe("a payload whose rows are inexact", () => {
  /** Held: 4 of its 10 rows are there, and the receipt says all of them. */
  function held(): TestLedger {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.storeAll(ledger.takeNotified());
    ledger.claim({ n: 1, cause: "audit" });
    const task = next(ledger, 10 * MINUTE_MS);
    expect(ledger.report(task, verified(task, 4))).toBeNull();
    expect(() => next(ledger, 60 * MINUTE_MS)).toThrow("nothing was notified");
    return ledger;
  }
  const { key } = doorbell({ n: 1 });

  test("is verified again by a ledger that was restored: a person may have decided since", () => {
    const ledger = held();
    ledger.step({ kind: "restored", epoch: 2 });
    const verify = next(ledger, 10 * MINUTE_MS);
    expect(verify.step).toBe("verify");
    expect(ledger.report(verify, verified(verify, 10))?.step).toBe("receipts");
  });

  test("is verified again when another key of its bytes comes: that key's object may be the one whose rows are there", () => {
    const ledger = held();
    ledger.claim({ n: 1, arrival: startMs + MINUTE_MS });
    const verify = next(ledger, MINUTE_MS);
    const [payload] = verify.payloads;
    expect(payload).toMatchObject({ duplicateKeys: [doorbell({ n: 1, arrival: startMs + MINUTE_MS }).key] });
    const sampled = { key, spans: 4, rejectedSpans: 0, bytes: 100, rowsByDay: [{ day: today, rows: 4 }] };
    expect(ledger.report(verify, verified(verify, 4, { object: sampled }))?.step).toBe("receipts");
  });

  test("is held with what was found of each day, as many days as a payload has", () => {
    for (const length of [2, limits.payloadDaysMax + 2]) {
      const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
      ledger.claim({ n: 1 });
      const verify = next(ledger, 10 * MINUTE_MS);
      const rowsByDay = Array.from({ length }, (_, day) => ({ day: day + 1, rows: 1 }));
      ledger.report(verify, verified(verify, 0, { rowsByDay }));
      expect([...ledger.state.dump().groups.values()]).toMatchObject([
        { state: { at: "held", found: [{ key, rowsByDay: rowsByDay.slice(0, limits.payloadDaysMax) }] } },
      ]);
    }
  });

  test("waits for a person; accepted, it is stored as it is", () => {
    const ledger = held();
    ledger.step({ kind: "resolve", key, how: "accept" });
    const task = next(ledger, MINUTE_MS);
    // Its rows have been there for as long as somebody was asked: the INSERT that stored them completed their view.
    expect(task).toMatchObject({ step: "receipts", completeView: false });
    expect(task.step === "receipts" ? task.receipts : []).toMatchObject([
      { key, outcome: "stored", rowsByDay: [{ day: today, rows: 4 }] },
    ]);
  });

  test("is written anew: its rows are deleted, and after the fence what is absent is inserted", () => {
    const ledger = held();
    ledger.step({ kind: "resolve", key, how: "rewrite" });
    const clear = next(ledger, MINUTE_MS);
    expect(clear.step).toBe("clear");
    const handedOut = ledger.now;
    expect(ledger.report(clear, { kind: "cleared" })).toBeNull();
    expect(holds(ledger.state, [key])).toEqual([true]);
    const verify = next(ledger, 10 * MINUTE_MS);
    expect(ledger.now - handedOut, "a DELETE that runs on must not meet new rows").toBeGreaterThanOrEqual(
      fenceMs(ledger.settings),
    );
    ledger.report(verify, verified(verify, 0));
    const insert = next(ledger, MINUTE_MS);
    expect(insert.step).toBe("insert");
    expect(insert.payloads).toMatchObject([{ key, missingDays: null }]);
  });

  test("is not deleted where R2 has nothing to write it from, and is deleted again where the answer was lost", () => {
    const ledger = held();
    ledger.step({ kind: "resolve", key, how: "rewrite" });
    const first = next(ledger, MINUTE_MS);
    ledger.report(first, { kind: "retry", reason: "reset" });
    const second = next(ledger, MINUTE_MS);
    expect(second).toMatchObject({ step: "clear", group: first.group });
    ledger.report(second, { kind: "kept" });
    expect(ledger.state.group(first.group)?.state).toMatchObject({
      at: "held",
      found: [{ key, reason: expect.stringContaining("R2 has no object") }],
    });
  });

  test("accepted as it was, and then a day of that was lost: a person decides again", () => {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1, cause: "audit" });
    const verify = next(ledger, 10 * MINUTE_MS);
    const accepted = {
      key,
      outcome: "stored",
      group: verify.group,
      spans: 10,
      rowsByDay: [
        { day: today - 1, rows: 2 },
        { day: today, rows: 4 },
      ],
      rejectedSpans: 0,
      bytes: 100,
      reason: "accepted: a day has some of its rows",
    } as const;
    expect(ledger.report(verify, verified(verify, 4, { receipts: [accepted] }))).toBeNull();
    const [group] = ledger.state.dump().groups.values();
    expect(group?.state.at).toBe("held");
  });

  test("leaves the others of its group held, each with what was found of it, and its other keys end with it", () => {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    const other = { n: 1, arrival: startMs + MINUTE_MS };
    ledger.claim({ n: 1 }, other, { n: 2 });
    const verify = next(ledger, 10 * MINUTE_MS);
    const rows = (payload: GroupPayload) => evidenceOf(payload, payload.key === key ? 4 : 3);
    const payloads = verify.payloads.map(rows);
    ledger.report(verify, { kind: "verified", running: false, oldestDay: 0, payloads });
    ledger.step({ kind: "resolve", key, how: "accept" });
    const task = next(ledger, MINUTE_MS);
    const counts = { rejectedSpans: 0, bytes: 0 };
    expect(task).toMatchObject({
      step: "receipts",
      receipts: [
        { key, outcome: "stored", spans: 4, reason: expect.stringMatching(/^accepted: /), ...counts },
        { key: doorbell(other).key, outcome: "duplicate", rowsByDay: [] },
      ],
    });
    const held = [...ledger.state.dump().groups.values()].filter(({ state }) => state.at === "held");
    const second = doorbell({ n: 2 }).key;
    expect(held).toMatchObject([
      {
        payloads: [{ key: second }],
        state: { found: [{ key: second, rowsByDay: [{ day: today, rows: 3 }] }] },
      },
    ]);
    // Asked twice, it is resolved already.
    const before = ledger.state.dump().groups.size;
    ledger.step({ kind: "resolve", key, how: "rewrite" });
    expect(ledger.state.dump().groups.size).toBe(before);
  });

  test("is erased at once when a person asks for that", () => {
    const ledger = held();
    ledger.step({ kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" });
    const verify = next(ledger, MINUTE_MS);
    const task = ledger.report(verify, verified(verify, 4));
    expect(task?.step === "receipts" ? task.receipts : []).toMatchObject([
      { key, outcome: "erased", reason: "asked for" },
    ]);
  });
});

describe("a payload that dies under several keys", () => {
  const second = { n: 1, arrival: startMs + MINUTE_MS };
  const third = { n: 1, arrival: startMs + 2 * MINUTE_MS };
  const undecodable = (task: GroupTask): AttemptReport =>
    verified(task, 0, {
      object: {
        key: task.payloads[0]?.key ?? doorbell({ n: 1 }).key,
        spans: task.payloads[0]?.spans ?? 0,
        rejectedSpans: 0,
        bytes: 100,
        rowsByDay: "undecodable",
      },
    });

  test("is dead under each of them: no `duplicate` outranks a death (decision 0011)", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, second);
    const task = ledger.takeNotified();
    const keys = task.payloads.map(({ key }) => key);
    ledger.report(task, { kind: "unreadable", keys, reason: "decode" });
    const verify = next(ledger, MINUTE_MS);
    const receipts = ledger.report(verify, undecodable(verify));
    expect(receipts?.step === "receipts" ? receipts.receipts : []).toMatchObject([
      { key: doorbell({ n: 1 }).key, outcome: "dead", reason: "decode" },
      { key: doorbell(second).key, outcome: "dead", reason: "decode" },
    ]);

    // A third key while these receipts are being written.
    ledger.claim(third);
    if (receipts !== null) {
      ledger.receipted(receipts);
    }
    const rest = next(ledger, MINUTE_MS);
    expect(rest.step === "receipts" ? rest.receipts : []).toMatchObject([
      { key: doorbell(third).key, outcome: "dead", reason: "decode" },
    ]);
  });
});

describe("unknown and questioned ids", () => {
  test("a ledger that was born into a world that knew another verifies what it does not know, after the fence", () => {
    const ledger = new TestLedger(undefined, { ...emptyWorld, epoch: 1 });
    ledger.claim({ n: 1 });
    expect(ledger.state.waiting.payloads).toEqual([]);
    const task = next(ledger, 10 * MINUTE_MS);
    expect(task.step).toBe("verify");
    expect(ledger.now).toBeGreaterThanOrEqual(startMs + fenceMs(ledger.settings));
    const receipts = ledger.report(task, verified(task, 10));
    expect(receipts?.step === "receipts" ? receipts.receipts : []).toMatchObject([{ outcome: "stored" }]);
  });

  test("a done id that the reconciler misses is verified: present it gets its receipt again, absent it is inserted", () => {
    for (const rows of [10, 0]) {
      const ledger = new TestLedger();
      ledger.claim({ n: 1 });
      ledger.storeAll(ledger.takeNotified());
      ledger.claim({ n: 1, cause: "reconcile" });
      const task = next(ledger, 10 * MINUTE_MS);
      expect(task.step).toBe("verify");
      const after = ledger.report(task, verified(task, rows));
      expect((after ?? next(ledger, MINUTE_MS)).step).toBe(rows === 10 ? "receipts" : "insert");
    }
  });

  test("a restored ledger rings no group before its fence: that of the restore, whatever the group was due for", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const insert = ledger.takeNotified();
    ledger.claim({ n: 2, arrival: ledger.now });
    const counting = ledger.takeNotified();
    ledger.report(counting, { kind: "refused", reason: "bad", code: 117 });
    ledger.now += ledger.settings.leaseMs;
    ledger.step({ kind: "restored", epoch: 2 });
    const fence = ledger.now + fenceMs(ledger.settings);
    expect(ledger.alarm()).toEqual([]);
    for (const id of [insert.group, counting.group]) {
      const lease = { lease: null, fence };
      expect(ledger.state.group(id)).toMatchObject({
        due: fence,
        rings: 0,
        state: { at: "verifying", ...lease },
      });
    }
    ledger.now = fence - 1;
    expect(ledger.alarm()).toEqual([]);
    ledger.now = fence;
    expect(ledger.alarm()).toHaveLength(2);
  });

  test("who misses a payload's rows while its receipt is written, and had asked before, is answered once more", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1, cause: "audit" });
    const verify = next(ledger, 10 * MINUTE_MS);
    const receipts = ledger.report(verify, verified(verify, 10));
    expect(receipts?.step).toBe("receipts");
    ledger.claim({ n: 1, cause: "audit" });
    ledger.receipted(...(receipts === null ? [] : [receipts]));
    const groups = [...ledger.state.dump().groups.values()];
    expect(groups.map(({ state, payloads }) => [state.at, payloads.length])).toEqual([["verifying", 1]]);
  });

  test("what VERIFY did not come to is looked at by the next one, which knows of the INSERTs", () => {
    for (const isInserted of [true, false]) {
      const ledger = new TestLedger();
      const cause = isInserted ? "ingress" : "replay";
      ledger.claim({ n: 1, cause }, { n: 2, cause });
      if (isInserted) {
        const task = ledger.takeNotified();
        ledger.report(task, { kind: "unknown", reason: "reset" });
        ledger.report(next(ledger, MINUTE_MS), { kind: "refused", reason: "bad", code: 117 });
      }
      const verify = next(ledger, 10 * MINUTE_MS);
      const before = ledger.state.group(verify.group);
      const all = verified(verify, 10);
      expect(verify.payloads).toHaveLength(2);
      ledger.report(verify, all.kind === "verified" ? { ...all, payloads: all.payloads.slice(0, 1) } : all);
      const rest = [...ledger.state.dump().groups.values()].find(({ state }) => state.at === "verifying");
      expect(rest).toMatchObject({
        payloads: verify.payloads.slice(1),
        inserts: isInserted ? 2 : 0,
        outcomeUnknown: isInserted,
        firstInsertAt: before?.firstInsertAt,
        lastInsertAt: before?.lastInsertAt,
        due: ledger.now,
      });
    }
  });

  test("a restored ledger verifies what waits and what is in flight, and takes no report of the lost time", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.claim({ n: 2 });
    ledger.step({ kind: "restored", epoch: 2 });
    expect(ledger.report(task, storedReport(task))).toBeNull();
    expect(next(ledger, 10 * MINUTE_MS).step).toBe("verify");
    expect(next(ledger, MINUTE_MS).step).toBe("verify");
  });
});

test("a token is not trusted past half of the dedup window, nor under another transcoder", () => {
  const measure = (blocks: number): AttemptReport => ({
    kind: "measured",
    refusal: "",
    table: { blocks, windowBlocks: 1000, windowMs: null },
  });
  for (const [blocks, step] of [
    [499, "insert"],
    [500, null],
  ] as const) {
    const ledger = new TestLedger();
    const table = { refusal: "", measure: { blocks: 0, windowBlocks: 1000, windowMs: null } };
    ledger.step({ kind: "table", table });
    const task = outcomeUnknown(ledger);
    ledger.report(task, { kind: "unknown", reason: "reset" });
    ledger.now += limits.measureAfterMs;
    const probe = next(ledger, 10 * MINUTE_MS);
    expect(probe.step).toBe("measure");
    expect(ledger.report(probe, measure(blocks))?.step ?? null, `${blocks} blocks`).toBe(
      step ?? ledger.state.group(task.group)?.state.at.replace("verifying", "verify") ?? null,
    );
  }
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  ledger.report(task, { kind: "retry", reason: "busy" });
  ledger.now += limits.retryFirstMs;
  ledger.alarm();
  expect(ledger.take(task.group, 2)).toBeNull();
  expect(ledger.state.group(task.group)?.state.at).toBe("verifying");
});

test("five groups in a row that end unknown leave one probe, and a success lets more go", () => {
  const ledger = new TestLedger();
  const tasks = [1, 2, 3, 4].map((n) => ledger.claim({ n, spans: limits.groupRowsReady }));
  for (const task of tasks) {
    if (task !== null) {
      ledger.report(task, { kind: "unknown", reason: "reset" });
    }
  }
  const fifth = ledger.claim({ n: 5, spans: limits.groupRowsReady });
  if (fifth !== null) {
    ledger.report(fifth, { kind: "unknown", reason: "reset" });
  }
  expect(ledger.state.head?.breaker).toMatchObject({ isOpen: true, concurrencyLimit: 1, inFlight: [] });
  const probe = next(ledger, MINUTE_MS);
  expect(ledger.claim({ n: 6, spans: limits.groupRowsReady })).toBeNull();
  ledger.report(probe, storedReport(probe));
  expect(ledger.state.head?.breaker).toMatchObject({ isOpen: false, concurrencyLimit: 2 });
});

describe("rows that are older than the table's TTL", () => {
  const ttl = { kind: "keeps", months: 0, ms: 3 * 86_400_000 } as const;
  const withTtl = (): TestLedger => {
    const ledger = new TestLedger();
    const measure = { blocks: 0, windowBlocks: 1000, windowMs: null, ttl };
    ledger.step({ kind: "table", table: { refusal: "", measure } });
    return ledger;
  };
  const stored = (task: GroupTask, rowsByDay: readonly { day: number; rows: number }[]): AttemptReport => ({
    ...storedReport(task),
    payloads: task.payloads.map(({ key }) => ({ key, rowsByDay, rejectedSpans: 0, bytes: 100 })),
  });
  const receiptsOf = (task: GroupTask | null) => (task?.step === "receipts" ? task.receipts : null);

  test("are answered 200 and dropped: the receipt says `expired`, and claims none", () => {
    const ledger = withTtl();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    const receipting = ledger.report(task, stored(task, [{ day: today - 10, rows: 10 }]));
    expect(receiptsOf(receipting)).toMatchObject([
      {
        outcome: "expired",
        spans: 10,
        rowsByDay: [],
        reason: expect.stringContaining("10 spans of 2026-11-14"),
      },
    ]);
  });

  test("beside younger ones: the receipt claims those that are there, and names the others", () => {
    const ledger = withTtl();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    const rowsByDay = [
      { day: today - 10, rows: 7 },
      { day: today, rows: 3 },
    ];
    expect(receiptsOf(ledger.report(task, stored(task, rowsByDay)))).toMatchObject([
      {
        outcome: "stored",
        rowsByDay: [{ day: today, rows: 3 }],
        reason: expect.stringContaining("7 spans of 2026-11-14"),
      },
    ]);
  });

  test("are found gone by VERIFY, which says `expired` once and never `stored`", () => {
    const ledger = withTtl();
    ledger.report(outcomeUnknown(ledger), { kind: "unlisted", reason: "?" });
    ledger.step({ kind: "restored", epoch: 2 });
    const verify = next(ledger, 10 * MINUTE_MS);
    const object = (payload: GroupPayload) => ({
      key: payload.key,
      spans: 10,
      rejectedSpans: 0,
      bytes: 100,
      rowsByDay: [{ day: today - 10, rows: payload.spans }],
    });
    const report = (receipts: Evidence["receipts"]): AttemptReport => ({
      kind: "verified",
      running: false,
      oldestDay: today - 2,
      payloads: verify.payloads.map((payload) =>
        evidenceOf(payload, 0, { receipts, object: object(payload) }),
      ),
    });
    const planned = receiptsOf(ledger.report(verify, report([])));
    expect(planned).toMatchObject([{ outcome: "expired", rowsByDay: [], spans: 10 }]);
    // A second look, after the receipt: nothing more is owed.
    const again = new TestLedger(undefined, { epoch: 1, anyPayload: true, anyRow: true });
    again.claim({ n: 1, cause: "replay" });
    const second = next(again, 10 * MINUTE_MS);
    expect(second.step).toBe("verify");
    expect(again.report(second, report(planned ?? []))).toBeNull();
    expect(again.state.group(second.group)).toBeUndefined();
  });
});
