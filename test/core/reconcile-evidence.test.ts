import { describe, expect, test } from "vitest";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import {
  formatPayloadId,
  formatPayloadKey,
  keyOfMinute,
  minuteOfKey,
  type PayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import {
  beforeMinute,
  dueMinutes,
  newCheckpoint,
  opened,
  watermarkOf,
  withOpen,
} from "../../shared/reconcile/checkpoint.ts";
import { auditRows, type DeleteFacts, mayDelete } from "../../shared/reconcile/evidence.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";

const minuteMs = 60_000;
const arrival = Date.UTC(2026, 10, 24, 12);
const claimed = [
  { day: 10, rows: 2 },
  { day: 11, rows: 3 },
];

describe("the rows of a receipt", () => {
  test.each([
    ["all there", [2, 3], 1, 0, "exact"],
    ["a row of a day gone", [2, 2], 1, 0, "too few"],
    ["a day gone", [0, 3], 1, 0, "too few"],
    ["a day gone that is outside of the TTL", [0, 3], 1, 11, "exact"],
    ["all outside of the TTL", [0, 0], 1, 12, "exact"],
    ["one copy of two that are claimed", [2, 3], 2, 0, "exact"],
    ["as many copies as are claimed", [4, 6], 2, 0, "exact"],
    ["a copy more than is claimed", [4, 6], 1, 0, "inexact"],
    ["a day twice", [4, 3], 2, 0, "inexact"],
    ["a row more", [2, 4], 2, 0, "inexact"],
    ["one and a half copies", [3, 4.5], 2, 0, "inexact"],
  ] as const)("%s", (_, [first, second], storedKeys, oldestDay, verdict) => {
    const found = [
      { day: 10, rows: first },
      { day: 11, rows: second },
    ].filter(({ rows }) => rows > 0);
    expect(auditRows(claimed, found, storedKeys, oldestDay)).toBe(verdict);
  });

  test("rows on a day that nobody claims are no copy, unless the day is outside of the TTL", () => {
    const found = [{ day: 9, rows: 1 }, ...claimed];
    expect(auditRows(claimed, found, 1, 0)).toBe("inexact");
    expect(auditRows(claimed, found, 1, 9)).toBe("inexact");
    expect(auditRows(claimed, found, 1, 10)).toBe("exact");
  });
});

describe("an object", () => {
  const key = formatPayloadKey(arrival, "acme", formatPayloadId(new Uint8Array(16)));
  const other = keyOfMinute(
    key,
    minuteOfKey(formatPayloadKey(arrival + minuteMs, "acme", formatPayloadId(new Uint8Array(16)))),
  );
  const { retentionMs, receiptAgeMs } = reconcileSettings;
  /** The first moment at which it may go: its minute's end counts. */
  const due = arrival + minuteMs + retentionMs;

  function receipt(
    outcome: PayloadOutcome,
    of: PayloadKey = key,
    at = arrival,
  ): DeleteFacts["receipts"][number] {
    return { key: of, outcome, rowsByDay: outcome === "stored" ? claimed : [], at };
  }
  function may(facts: Partial<DeleteFacts>): boolean {
    const usual = { rowsByDay: claimed, oldestDay: 0, isHeld: false, isSealed: true, now: due };
    return mayDelete({ key, receipts: [receipt("stored")], ...usual, ...facts }, reconcileSettings);
  }

  test("goes when its retention is over, counted from its minute's end", () => {
    expect(may({})).toBe(true);
    expect(may({ now: due - 1 })).toBe(false);
  });

  test("goes when each of its receipts is old enough", () => {
    expect(may({ receipts: [receipt("stored", key, due - receiptAgeMs)] })).toBe(true);
    expect(may({ receipts: [receipt("stored", key, due - receiptAgeMs + 1)] })).toBe(false);
    expect(may({ receipts: [receipt("stored"), receipt("duplicate", other, due - 1)] })).toBe(false);
  });

  test.each([
    ["has no receipt", { receipts: [] }],
    ["has only another key's", { receipts: [receipt("stored", other)] }],
    ["is held by the ledger", { isHeld: true }],
    ["is of an open minute", { isSealed: false }],
    ["is dead", { receipts: [receipt("dead")] }],
    ["is dead, and stored under another key", { receipts: [receipt("dead"), receipt("stored", other)] }],
    [
      "is a duplicate of nothing that is stored",
      { receipts: [receipt("duplicate"), receipt("dead", other)] },
    ],
    ["has lost a row", { rowsByDay: claimed.slice(1) }],
    ["is expired, and has rows", { receipts: [receipt("expired")] }],
    ["was erased, and has rows", { receipts: [receipt("erased")] }],
  ])("stays that %s", (_, facts) => {
    expect(may(facts)).toBe(false);
  });

  test.each([
    ["a duplicate of what is stored", { receipts: [receipt("duplicate"), receipt("stored", other)] }],
    ["erased, and has no row", { receipts: [receipt("erased")], rowsByDay: [] }],
    ["expired, and has no row", { receipts: [receipt("expired")], rowsByDay: [] }],
    [
      "a duplicate of what is expired, whatever died beside it",
      { receipts: [receipt("duplicate"), receipt("dead", other), receipt("expired", other)], rowsByDay: [] },
    ],
    [
      "stored twice, with both copies there",
      {
        receipts: [receipt("stored"), receipt("stored", other)],
        rowsByDay: claimed.map(({ day, rows }) => ({ day, rows: 2 * rows })),
      },
    ],
    ["outside of the table's TTL", { rowsByDay: [], oldestDay: 12 }],
  ])("goes that is %s", (_, facts) => {
    expect(may(facts)).toBe(true);
  });

  test("of another id decides nothing", () => {
    const bytes = new Uint8Array(16).fill(1);
    const foreign = formatPayloadKey(arrival, "acme", formatPayloadId(bytes));
    expect(() => may({ receipts: [receipt("stored"), receipt("stored", foreign)] })).toThrow("one id");
  });
});

describe("the checkpoint", () => {
  test("begins with nothing seen, audited, listed again or deleted", () => {
    expect(newCheckpoint(arrival + 59_999)).toEqual({
      from: arrival,
      open: [],
      newest: 0,
      againAfter: beforeMinute(arrival),
      again: [],
      auditAfter: beforeMinute(arrival),
      deleteAfter: payloadPrefix,
      deleteNextAt: 0,
      ranAt: 0,
      doubts: [],
    });
    expect(opened(arrival, 5)).toEqual({
      minute: arrival,
      tries: 0,
      dueAt: 5,
      after: "",
      listed: 0,
      checksum: "0",
      pending: 0,
      example: null,
    });
  });

  test("has minutes walked when they are due, the longest due first, of equals the oldest", () => {
    const [a, b, c] = [3, 2, 1].map((n) => opened(n * minuteMs, n === 3 ? 10 : 20));
    let checkpoint = newCheckpoint(arrival);
    for (const one of [b, a, c]) {
      checkpoint = one === undefined ? checkpoint : withOpen(checkpoint, one);
    }
    expect([9, 10, 19, 20].map((now) => dueMinutes(checkpoint, now))).toEqual([[], [a], [a], [a, c, b]]);
    expect(watermarkOf(checkpoint)).toBe(minuteMs);
  });
});
