/** How a payload's rows are described to an operator, and which payloads may be let in again. */
import { describe, expect, test } from "vitest";
import type { Whereabouts } from "../../shared/ledger/whereabouts.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import type { DayRows } from "../../shared/receipt.ts";
import { forgettingOf, presenceOf, presences, presenceText } from "../../shared/reconcile/presence.ts";
import { doorbell } from "../ledger/world.ts";

const whole: readonly DayRows[] = [
  { day: 10, rows: 10 },
  { day: 11, rows: 5 },
];
const unknown: Whereabouts = { at: "unknown" };

function receipt(outcome: PayloadOutcome) {
  return { outcome, rowsByDay: outcome === "stored" ? whole : [] };
}

function rows(monday: number, tuesday: number, sunday = 0): readonly DayRows[] {
  return [
    { day: 9, rows: sunday },
    { day: 10, rows: monday },
    { day: 11, rows: tuesday },
  ].filter((one) => one.rows > 0);
}

describe("of 10 rows on one day and 5 on the next that a receipt claims", () => {
  test.each([
    ["present", "all are there", rows(10, 5), 0],
    ["gone", "none is there", [], 0],
    ["days_gone", "one day has all and the other none", rows(10, 0), 0],
    ["days_gone", "the first day is gone", rows(0, 5), 0],
    ["inexact", "some of a day are there", rows(7, 5), 0],
    ["inexact", "some of a day are there, and nothing of the other", rows(7, 0), 0],
    ["inexact", "there is a copy more than is claimed", rows(20, 10), 0],
    ["inexact", "there are rows on a day that is not claimed, and none of the claimed", rows(0, 0, 3), 0],
    ["inexact", "there are rows on a day that is not claimed, and one day is gone", rows(10, 0, 3), 0],
    ["present", "the day that is gone is older than the TTL", rows(0, 5), 11],
    ["gone", "the day inside of the TTL is gone, whatever is left of the older one", rows(4, 0), 11],
    ["expired", "both days are older than the TTL", [], 12],
    ["expired", "both days are older than the TTL, and the server has not dropped them yet", rows(10, 5), 12],
    ["unclear", "the TTL is not understood", [], null],
  ] as const)("%s: %s", (presence, _name, rowsByDay, oldestDay) => {
    expect(presenceOf({ at: unknown, receipts: [receipt("stored")], rowsByDay, oldestDay })).toBe(presence);
  });

  test("a day without rows is neither claimed nor found, and a day's rows are its own", () => {
    const none = { day: 12, rows: 0 };
    const of = (claimed: readonly DayRows[], rowsByDay: readonly DayRows[], oldestDay = 0) =>
      presenceOf({
        at: unknown,
        receipts: [{ outcome: "stored", rowsByDay: claimed }],
        rowsByDay,
        oldestDay,
      });
    expect(of([...whole, none], rows(10, 5))).toBe("present");
    expect(of(whole, [...rows(10, 5), none])).toBe("present");
    expect(of([none], [none])).toBe("expired");
    expect(of([...whole, none], rows(10, 5), 12)).toBe("expired");
    expect(of(whole, [{ ...none, rows: 10 }])).toBe("inexact");
  });

  test("whatever is seen of it, it is in flight while the ledger has it", () => {
    const { key } = doorbell({ n: 1 });
    const at = { receipts: [receipt("stored")], rowsByDay: rows(10, 5), oldestDay: 0 };
    expect(presenceOf({ ...at, at: { at: "waiting", key } })).toBe("in_flight");
  });

  test("two keys that are stored may have two copies, and one is enough", () => {
    const receipts = [receipt("stored"), receipt("stored")];
    const of = (rowsByDay: readonly DayRows[]) =>
      presenceOf({ at: unknown, receipts, rowsByDay, oldestDay: 0 });
    expect([of(rows(20, 10)), of(rows(10, 5)), of([]), of(rows(30, 15))]).toEqual([
      "present",
      "present",
      "gone",
      "inexact",
    ]);
  });
});

test.each([
  [["erased", "stored"], "erased"],
  [["dead"], "dead"],
  [["dead", "stored"], "gone"],
  [["expired", "duplicate"], "expired"],
  [["duplicate", "stored"], "gone"],
  [["duplicate"], "no_receipt"],
  [[], "no_receipt"],
] as const)("without rows, keys receipted as %j are %s", (outcomes, presence) => {
  const receipts = outcomes.map(receipt);
  expect(presenceOf({ at: unknown, receipts, rowsByDay: [], oldestDay: 0 })).toBe(presence);
});

test("what the ledger has is in flight, whatever rows and receipts say", () => {
  const facts = { receipts: [receipt("stored")], rowsByDay: [], oldestDay: 0 };
  const group = { at: "group", key: null, payloads: 1, attempts: 0, made: 0, due: 0, failure: null } as const;
  const id = "0".repeat(32) as Extract<Whereabouts, { at: "group" }>["group"];
  const inGroup = (state: "verifying" | "held") =>
    presenceOf({ ...facts, at: { ...group, group: id, state } });
  expect([inGroup("verifying"), inGroup("held")]).toEqual(["in_flight", "held"]);
  expect(presenceOf({ ...facts, at: { at: "done", outcome: "stored", since: 0 } })).toBe("gone");
});

test("only what misses rows and has its bytes in R2 is let in again; of all else is said why not", () => {
  const taken = presences.filter((presence) => forgettingOf(presence, true).kind === "look");
  expect(taken).toEqual(["no_receipt", "gone", "days_gone", "inexact"]);
  expect(forgettingOf("inexact", true)).toEqual({ kind: "look", isHeldNext: true });
  expect(forgettingOf("gone", true)).toEqual({ kind: "look", isHeldNext: false });
  for (const presence of presences) {
    expect(forgettingOf(presence, false).kind).toBe("refuse");
  }
  expect(forgettingOf("present", true)).toMatchObject({ why: expect.stringContaining("headrace erase") });
  expect(forgettingOf("in_flight", true)).toMatchObject({ why: expect.stringContaining("in flight") });
});

test("an operator sees what is gone, and the command that brings it back", () => {
  expect(presenceText("gone", "abc")).toMatch(/none of its rows .* `headrace forget abc`/);
  expect(presenceText("present", "abc")).toBe("");
});

test("a payload of one row is there, or gone, like any other", () => {
  const one = { outcome: "stored" as const, rowsByDay: [{ day: 10, rows: 1 }] };
  const of = (rowsByDay: readonly DayRows[]) =>
    presenceOf({ at: unknown, receipts: [one], rowsByDay, oldestDay: 0 });
  expect([of(one.rowsByDay), of([])]).toEqual(["present", "gone"]);
});
