import { describe, expect, test } from "vitest";
import {
  afterHalt,
  afterPressure,
  afterSilence,
  afterSuccess,
  afterUnknown,
  insertBegan,
  insertDue,
  insertEnded,
  insertsFree,
  isWideOut,
  mayInsert,
  wasFetched,
  wasNotified,
} from "../../shared/ledger/breaker.ts";
import { dueNever } from "../../shared/ledger/group.ts";
import { type Breaker, bornHead, type Head } from "../../shared/ledger/head.ts";
import { backOffMs, defaultSettings } from "../../shared/ledger/settings.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { emptyWorld } from "../ledger/world.ts";

const now = 1_000_000;
const settings = defaultSettings;
const id = (n: number): GroupId => String(n).padStart(32, "0") as GroupId;
const ids = (count: number): readonly GroupId[] => Array.from({ length: count }, (_, n) => id(n));

function headOf(breaker: Partial<Breaker>, refusal = ""): Head {
  const head = bornHead(emptyWorld, now, 4);
  return { ...head, breaker: { ...head.breaker, ...breaker }, table: { ...head.table, refusal } };
}
const breakerOf = (breaker: Partial<Breaker>): Breaker => headOf(breaker).breaker;

test("a ledger begins with its slots free, nobody suspected, and its memory complete only where nothing was before", () => {
  expect(bornHead(emptyWorld, now, 4)).toMatchObject({
    epoch: 1,
    birth: now,
    memSince: expect.any(Number),
    counter: 0,
    breaker: {
      inFlight: [],
      notified: [],
      concurrencyLimit: 4,
      suspects: [],
      isOpen: false,
      probeAt: 0,
      failures: 0,
    },
    lastStoredInsertAt: 0,
    rescues: { event: 0, reconcile: 0 },
    backlogAt: 0,
    lateBells: 0,
  });
  expect(bornHead(emptyWorld, now, 4).memSince).toBeLessThan(0);
  for (const facts of [{ epoch: 3 }, { anyPayload: true }, { anyRow: true }]) {
    expect(bornHead({ ...emptyWorld, ...facts }, now, 4).memSince).toBe(now);
  }
});

describe("another INSERT", () => {
  test.each([
    ["may go while a slot is free", { inFlight: ids(3) }, "", true],
    ["waits while all are in flight", { inFlight: ids(4) }, "", false],
    ["waits while the table is refused", {}, "no deduplication", false],
    [
      "is a probe when the breaker is open: at its time",
      { isOpen: true, concurrencyLimit: 1, probeAt: now },
      "",
      true,
    ],
    ["not before", { isOpen: true, concurrencyLimit: 1, probeAt: now + 1 }, "", false],
    [
      "and never beside one in flight",
      { isOpen: true, concurrencyLimit: 2, probeAt: now, inFlight: ids(1) },
      "",
      false,
    ],
  ] as const)("%s", (_, breaker, refusal, may) => {
    expect(mayInsert(headOf(breaker, refusal), now)).toBe(may);
    expect(insertsFree(headOf(breaker, refusal), now) > 0).toBe(may);
  });

  test("is called for by as many rings as there are slots that are neither out nor notified for", () => {
    const notified = [{ group: id(7), again: now + 5 }];
    expect(insertsFree(headOf({ inFlight: ids(1), notified }), now)).toBe(2);
    expect(insertsFree(headOf({ inFlight: ids(3), notified: [...notified, ...notified] }), now)).toBe(0);
    expect(insertsFree(headOf({ isOpen: true, concurrencyLimit: 3 }), now)).toBe(1);
  });

  test("is due at its group's time, the probe's, or when the first ring is repeated", () => {
    const due = now + 10;
    expect(insertDue(headOf({}), due)).toBe(due);
    expect(insertDue(headOf({}, "refused"), due)).toBeUndefined();
    expect(insertDue(headOf({ inFlight: ids(4) }), due)).toBeUndefined();
    expect(insertDue(headOf({ isOpen: true, concurrencyLimit: 1, probeAt: now + 50 }), due)).toBe(now + 50);
    expect(insertDue(headOf({ isOpen: true, concurrencyLimit: 1, probeAt: now }), due)).toBe(due);
    const notified = [40, 30].map((ms, n) => ({ group: id(n), again: now + ms }));
    expect(insertDue(headOf({ inFlight: ids(2), notified }), due)).toBe(now + 30);
    expect(insertDue(headOf({ inFlight: ids(1), notified }), due)).toBe(due);
    expect(insertDue(headOf({ isOpen: true, concurrencyLimit: 2, inFlight: ids(1) }), due)).toBe(dueNever);
  });

  test("of a group that is notified again is one call", () => {
    const once = wasNotified(breakerOf({}), { group: id(1), again: 5 });
    const other = wasNotified(once, { group: id(2), again: 6 });
    expect(wasNotified(other, { group: id(1), again: 9 }).notified).toEqual([
      { group: id(2), again: 6 },
      { group: id(1), again: 9 },
    ]);
    expect(
      insertEnded(insertBegan(insertBegan(once, { id: id(1), blocks: 1 }), { id: id(2), blocks: 1 }), id(1))
        .inFlight,
    ).toEqual([id(2)]);
  });
});

describe("an INSERT that was stored", () => {
  test("frees one more slot if all were in flight, up to the most, and forgets what was suspected", () => {
    const wrong = { isOpen: true, concurrencyLimit: 1, suspects: ids(5), failures: 3 };
    expect(afterSuccess(breakerOf(wrong), settings)).toMatchObject({
      isOpen: false,
      concurrencyLimit: 2,
      suspects: [],
      failures: 0,
    });
    expect(afterSuccess(breakerOf({ inFlight: ids(3) }), settings).concurrencyLimit).toBe(5);
    expect(afterSuccess(breakerOf({ inFlight: ids(2) }), settings).concurrencyLimit).toBe(4);
    const most = { concurrencyLimit: settings.concurrencyMax, inFlight: ids(settings.concurrencyMax - 1) };
    expect(afterSuccess(breakerOf(most), settings).concurrencyLimit).toBe(settings.concurrencyMax);
  });
});

describe("an INSERT that was not", () => {
  test.each([
    [5, 2],
    [2, 1],
    [1, 1],
  ])("of %i slots leaves %i", (concurrencyLimit, left) => {
    expect(afterPressure(breakerOf({ concurrencyLimit }), now, settings)).toMatchObject({
      concurrencyLimit: left,
      isOpen: false,
    });
    expect(afterUnknown(breakerOf({ concurrencyLimit }), id(1), now, settings).concurrencyLimit).toBe(left);
  });

  test("opens the breaker as the fifth group of them, and a group counts once", () => {
    let breaker = breakerOf({ concurrencyLimit: 16 });
    for (let n = 1; n < settings.suspectsMax; n++) {
      breaker = afterUnknown(afterUnknown(breaker, id(n), now, settings), id(n), now, settings);
      expect(breaker).toMatchObject({ isOpen: false });
      expect(breaker.suspects).toHaveLength(n);
    }
    breaker = afterUnknown(breaker, id(99), now, settings);
    expect(breaker).toMatchObject({
      isOpen: true,
      concurrencyLimit: 1,
      failures: 1,
      probeAt: now + backOffMs(0, settings),
    });
    expect(breaker.suspects).toEqual([
      ...Array.from({ length: settings.suspectsMax - 1 }, (_, n) => id(n + 1)),
      id(99),
    ]);
    // Its list does not grow with the probes that fail.
    const later = afterUnknown(breaker, id(100), now, settings);
    expect(later).toMatchObject({
      suspects: breaker.suspects,
      failures: 2,
      probeAt: now + backOffMs(1, settings),
    });
  });

  test("holds an open breaker open for longer, whatever the reason", () => {
    const open = breakerOf({ isOpen: true, concurrencyLimit: 1, failures: 2 });
    const longer = { isOpen: true, failures: 3, probeAt: now + backOffMs(2, settings) };
    expect(afterPressure(open, now, settings)).toMatchObject(longer);
    expect(afterUnknown(open, id(1), now, settings)).toMatchObject(longer);
    expect(afterHalt(open, now, settings)).toMatchObject(longer);
  });

  test("because nothing can be inserted at all, opens it at once", () => {
    expect(afterHalt(breakerOf({}), now, settings)).toMatchObject({ isOpen: true, concurrencyLimit: 1 });
  });
});

test("what each ending makes of the breaker, all of it", () => {
  const before = breakerOf({
    inFlight: ids(2),
    notified: [{ group: id(8), again: 1 }],
    wide: id(1),
    concurrencyLimit: 3,
    suspects: [id(5)],
    probeAt: 7,
    failures: 2,
  });
  const opened = {
    ...before,
    isOpen: true,
    concurrencyLimit: 1,
    probeAt: now + backOffMs(2, settings),
    failures: 3,
  };
  const well = { ...before, suspects: [], isOpen: false, failures: 0 };
  expect(afterSuccess(before, settings)).toEqual({ ...well, concurrencyLimit: 4 });
  expect(afterSuccess({ ...before, inFlight: ids(1) }, settings)).toEqual({ ...well, inFlight: ids(1) });
  expect(afterPressure(before, now, settings)).toEqual({ ...before, concurrencyLimit: 1 });
  expect(afterHalt(before, now, settings)).toEqual(opened);
  const suspects = [id(5), id(6)];
  expect(afterUnknown(before, id(6), now, settings)).toEqual({ ...before, concurrencyLimit: 1, suspects });
  expect(afterUnknown(before, id(5), now, settings)).toEqual({ ...before, concurrencyLimit: 1 });
  expect(afterSilence(before, id(6), now, settings)).toEqual({ ...before, suspects });
  const few = { ...settings, suspectsMax: 2 };
  expect(afterSilence(before, id(6), now, few)).toEqual({ ...opened, suspects });
  expect(afterSilence({ ...before, isOpen: true, suspects }, id(7), now, few)).toEqual({
    ...opened,
    suspects,
  });
  expect(insertBegan(before, { id: id(9), blocks: 1 })).toEqual({ ...before, inFlight: [...ids(2), id(9)] });
  expect(insertBegan(before, { id: id(9), blocks: 2 })).toEqual({
    ...before,
    inFlight: [...ids(2), id(9)],
    wide: id(9),
  });
  expect(insertEnded(before, id(0))).toEqual({ ...before, inFlight: [id(1)] });
  expect(isWideOut(before)).toBe(true);
  expect(isWideOut(insertEnded(before, id(1)))).toBe(false);
  expect(isWideOut(breakerOf({ inFlight: ids(2) }))).toBe(false);
  expect(wasFetched(before, id(8))).toEqual({ ...before, notified: [] });
  expect(wasFetched(before, id(9))).toBe(before);
  expect(insertsFree(headOf({ concurrencyLimit: 3, inFlight: ids(1) }), now)).toBe(2);
  expect(insertsFree(headOf({ concurrencyLimit: 3, inFlight: ids(1) }, "full"), now)).toBe(0);
});
