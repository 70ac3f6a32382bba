/** Which table the ledger inserts into, and what it makes of another one that answers under its name (decision 0014). */
import { describe, expect, test } from "vitest";
import { elsewhereText } from "../../shared/clickhouse/table-fence.ts";
import type { Group, GroupTask } from "../../shared/ledger/group.ts";
import {
  accepted,
  afterLook,
  isOfOtherTable,
  isUnknown,
  refusedAsOther,
} from "../../shared/ledger/known-table.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { shortText } from "../../shared/ledger/short-text.ts";
import { limits } from "../../shared/limits.ts";
import { emptyWorld, knownTable, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const measured = (identity: string | null) => ({
  refusal: "",
  measure: { blocks: 0, windowBlocks: 100_000, windowMs: null, identity },
});

function look(ledger: TestLedger, identity: string | null): void {
  ledger.step({ kind: "table", table: measured(identity) });
}

function refusalOf(ledger: TestLedger): string {
  return ledger.state.head?.table.refusal ?? "no head";
}

function elsewhere(ledger: TestLedger, task: GroupTask): void {
  ledger.report(task, { kind: "halted", reason: elsewhereText, code: 395, elsewhere: true });
}

test("what only an INSERT met is named as that, for it does not say which table it was", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  elsewhere(ledger, ledger.takeNotified());
  expect(refusalOf(ledger)).toContain("found: another one, by an INSERT)");
});

/** A ledger that has seen no table: as it is born. */
function unlearnt(): TestLedger {
  const ledger = new TestLedger();
  ledger.step({ kind: "acceptTable" });
  return ledger;
}

describe("a ledger that knows no table", () => {
  test("looks at it before its first INSERT, and says from then on which it is", () => {
    const ledger = unlearnt();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    expect(task).toMatchObject({ step: "measure", table: null });
    const { measure } = measured("plain 0 9");
    const insert = ledger.report(task, { kind: "measured", refusal: "", table: measure });
    expect(insert).toMatchObject({ step: "insert", table: "plain 0 9" });
    // Its retry is of the transcoder that measured and inserted: the same token again, and no VERIFY.
    expect(insert === null ? null : ledger.report(insert, { kind: "unknown", reason: "reset" })).toBeNull();
    ledger.now += limits.retryFirstMs;
    expect(ledger.alarm()).toEqual([task.group]);
    expect(ledger.take(task.group)).toMatchObject({
      step: "insert",
      group: task.group,
      isFirstInsert: false,
    });
  });

  test("inserts nothing where that look refuses", () => {
    const ledger = unlearnt();
    ledger.claim({ n: 1 });
    const { measure } = measured("plain 0 9");
    const refused = { kind: "measured", refusal: "no window", table: measure } as const;
    expect(ledger.report(ledger.takeNotified(), refused)).toBeNull();
    expect(refusalOf(ledger)).toBe("no window");
  });

  test("inserts all the same into a table whose server cannot say which it is", () => {
    const ledger = unlearnt();
    ledger.claim({ n: 1 });
    const { measure } = measured(null);
    const insert = ledger.report(ledger.takeNotified(), { kind: "measured", refusal: "", table: measure });
    expect(insert).toMatchObject({ step: "insert", table: null });
  });

  test("is also one whose head was written before tables had identities: it learns at its first look", () => {
    const ledger = new TestLedger(undefined, emptyWorld);
    const { head } = ledger.state;
    if (head === null) {
      throw new Error("a ledger is born");
    }
    const { refusal, measure, measuredAt } = head.table;
    ledger.state.apply([{ kind: "head", head: { ...head, table: { refusal, measure, measuredAt } } }]);
    look(ledger, "plain 0 9");
    expect(ledger.state.head?.table).toMatchObject({ identity: "plain 0 9", refusal: "" });
  });

  test("looks again before an INSERT only where its last look is too old, whether it said no table or an earlier version did", () => {
    for (const identity of [null, undefined]) {
      for (const [age, step] of [
        [limits.measureFreshMs, "insert"],
        [limits.measureFreshMs + 1, "measure"],
      ] as const) {
        const ledger = new TestLedger();
        const { head } = ledger.state;
        if (head === null) {
          throw new Error("a ledger is born");
        }
        const { identity: _, ...table } = head.table;
        const measuredAt = ledger.now + limits.groupAgeReadyMs - age;
        const unknown = { ...table, measuredAt, ...(identity === null ? { identity } : {}) };
        ledger.state.apply([{ kind: "head", head: { ...head, table: unknown } }]);
        ledger.claim({ n: 1 });
        expect(ledger.takeNotified().step).toBe(step);
      }
    }
  });
});

describe("another table", () => {
  test("halts the INSERTs when a look meets it, with the words that accept it", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    look(ledger, "plain 0 other");
    expect(refusalOf(ledger)).toContain("npx headrace accept-table");
    expect(refusalOf(ledger)).toContain(knownTable);
    ledger.now += ledger.settings.caps.ageReadyMs;
    expect(ledger.alarm()).toEqual([]);
  });

  test("halts for a while after it was last met: of two servers in turns every second look is right", () => {
    const ledger = new TestLedger();
    look(ledger, "plain 0 other");
    ledger.now += limits.otherTableMs - 1;
    look(ledger, knownTable);
    expect(refusalOf(ledger)).toContain("Another table");
    ledger.now += 1;
    look(ledger, knownTable);
    expect(refusalOf(ledger)).toBe("");
  });

  test("measures nothing: its blocks say nothing about the tokens of this one", () => {
    const ledger = new TestLedger();
    look(ledger, knownTable);
    const before = ledger.state.head?.table.measure;
    look(ledger, "plain 0 other");
    expect(ledger.state.head?.table.measure).toEqual(before);
  });

  test("halts when an INSERT meets it, which leaves its group as clean as before", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    expect(task).toMatchObject({ step: "insert", table: knownTable });
    elsewhere(ledger, task);
    expect(refusalOf(ledger)).toContain("Another table");
    expect(ledger.state.group(task.group)).toMatchObject({ outcomeUnknown: false, state: { at: "open" } });
    expect(ledger.state.head?.breaker).toMatchObject({ isOpen: false, inFlight: [] });
    look(ledger, knownTable);
    expect(refusalOf(ledger)).toContain("Another table");
  });
});

describe("a table that a person accepted", () => {
  test("is looked at, and from then on the one that is known", () => {
    const ledger = new TestLedger();
    look(ledger, "plain 0 new");
    ledger.step({ kind: "acceptTable" });
    expect(refusalOf(ledger)).toBe("");
    look(ledger, "plain 0 new");
    expect(ledger.state.head?.table).toMatchObject({ identity: "plain 0 new", refusal: "", other: null });
    look(ledger, knownTable);
    expect(refusalOf(ledger)).toContain("Another table");
  });

  test("verifies what was tried at the one before: its token is not known here, and its rows may be", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.report(task, { kind: "unknown", reason: "no answer" });
    ledger.step({ kind: "acceptTable" });
    look(ledger, "plain 0 new");
    ledger.now += 60_000;
    ledger.alarm();
    ledger.take(task.group);
    expect(ledger.state.group(task.group)?.state).toMatchObject({ at: "verifying" });
  });

  test("takes what was never tried as it is", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.step({ kind: "acceptTable" });
    look(ledger, "plain 0 new");
    const task = ledger.takeNotified();
    expect(task).toMatchObject({ step: "insert", table: "plain 0 new" });
    ledger.report(task, storedReport(task));
  });

  test("is not refused again by an INSERT that was leased for the one before", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.step({ kind: "acceptTable" });
    look(ledger, "plain 0 new");
    elsewhere(ledger, task);
    expect(refusalOf(ledger)).toBe("");
  });
});

describe("no evidence", () => {
  test("is remembered from its first time on, and forgotten with the first evidence", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const insert = ledger.takeNotified();
    ledger.report(insert, { kind: "unknown", reason: "no answer" });
    ledger.now += 60_000;
    const again = ledger.takeNotified();
    const none = { kind: "retry", reason: "no evidence: r2 lags", noEvidence: true } as const;
    const count = ledger.report(again, storedReport(again));
    if (count === null) {
      throw new Error("a 200 after an unknown outcome is counted");
    }
    const since = ledger.now;
    ledger.report(count, none);
    ledger.now += 60_000;
    ledger.alarm();
    const second = ledger.take(insert.group);
    if (second === null) {
      throw new Error("what was no evidence is counted again");
    }
    ledger.report(second, none);
    expect(ledger.state.head?.noEvidence).toEqual({ since, reason: none.reason });
    ledger.now += 60_000;
    ledger.alarm();
    const third = ledger.take(insert.group);
    if (third?.step !== "count") {
      throw new Error("what was no evidence is counted again");
    }
    ledger.report(third, {
      kind: "counted",
      payloads: storedReport(third).payloads.map(({ key, rowsByDay }) => ({ key, rowsByDay })),
    });
    expect(ledger.state.head?.noEvidence).toBeNull();
  });
});

describe("what is known of the table, all of it,", () => {
  const settings = defaultSettings;
  const now = startMs;
  const { measure } = measured(knownTable);
  const before = { refusal: "", measure: null, measuredAt: 5, identity: knownTable, acceptedAt: 3 };
  const textOf = (known: string | null, found: string) =>
    shortText(
      `Another table answers under the name of the traces table than the one that Headrace has inserted into (known: ${known}; found: ${found}): it was dropped and created anew, or there are several servers behind CLICKHOUSE_URL that do not share their rows. Nothing is inserted. Name one server, or replicas of one table, in CLICKHOUSE_URL; or, if you mean the new table, accept it: npx headrace accept-table`,
      limits.noteTextBytesMax,
    );
  const seen = (refusal: string, identity: string | null = knownTable) => ({
    refusal,
    measure: measured(identity).measure,
  });

  test("after a look that meets it, or one that cannot say which it met", () => {
    const known = { ...before, refusal: "full", measure, measuredAt: now, other: null };
    expect(afterLook(before, seen("full"), now, settings)).toEqual(known);
    expect(afterLook(before, seen("full", null), now, settings)).toEqual({
      ...known,
      measure: seen("", null).measure,
    });
    expect(afterLook(before, { refusal: "gone", measure: null }, now, settings)).toEqual({
      ...known,
      refusal: "gone",
      measure: null,
    });
    // The first look says which it is.
    const { identity: _, ...unknown } = before;
    expect(afterLook(unknown, seen("", "plain 0 9"), now, settings)).toEqual({
      ...known,
      refusal: "",
      measure: seen("", "plain 0 9").measure,
      identity: "plain 0 9",
    });
    expect(afterLook(unknown, seen("", null), now, settings)).toMatchObject({ identity: null });
  });

  test("after another one was met: refused, and for a while after the last time", () => {
    const refused = {
      ...before,
      refusal: textOf(knownTable, "plain 0 9"),
      other: { at: now, found: "plain 0 9" },
    };
    expect(afterLook(before, seen("", "plain 0 9"), now, settings)).toEqual({ ...refused, measuredAt: now });
    expect(refusedAsOther(before, "plain 0 9", now)).toEqual(refused);
    const unnamed = "another one, by an INSERT";
    expect(refusedAsOther(before, "", now)).toEqual({
      ...before,
      refusal: textOf(knownTable, unnamed),
      other: { at: now, found: "" },
    });
    // An INSERT does not say which: it is the one that a look met.
    expect(refusedAsOther(refused, "", now + 1)).toEqual({
      ...refused,
      other: { at: now + 1, found: "plain 0 9" },
    });
    const { identity: _, ...unknown } = before;
    expect(refusedAsOther(unknown, "", now).refusal).toBe(textOf(null, unnamed));
    const looked = (afterMs: number, refusal: string) =>
      afterLook(refused, seen(refusal), now + afterMs, settings);
    const again = { ...refused, measure, measuredAt: now + settings.otherTableMs - 1 };
    expect(looked(settings.otherTableMs - 1, "")).toEqual(again);
    expect(looked(settings.otherTableMs - 1, "full")).toEqual({ ...again, refusal: "full" });
    expect(looked(settings.otherTableMs, "")).toEqual({
      ...again,
      refusal: "",
      measuredAt: now + settings.otherTableMs,
      other: null,
    });
  });

  test("after a person has accepted another: nothing, and when that was", () => {
    expect(accepted(now)).toEqual({
      refusal: "",
      measure: null,
      measuredAt: 0,
      identity: null,
      other: null,
      acceptedAt: now,
    });
    const inserted = (firstInsertAt: number | null) => ({ firstInsertAt }) as Group;
    const of = [now - 1, now, now + 1, null].map((at) =>
      isOfOtherTable(inserted(at), { ...before, acceptedAt: now }),
    );
    expect(of).toEqual([true, true, false, false]);
    const { acceptedAt: _, ...never } = before;
    expect(isOfOtherTable(inserted(now), never)).toBe(false);
  });

  test("is to be looked for where it is not known and the last look is old", () => {
    const { identity: _, ...older } = before;
    const at = (state: typeof older, ms: number) => isUnknown(state, state.measuredAt + ms, settings);
    for (const state of [older, { ...older, identity: null }]) {
      expect([at(state, settings.measureFreshMs), at(state, settings.measureFreshMs + 1)]).toEqual([
        false,
        true,
      ]);
    }
    expect(at(before, settings.measureFreshMs + 1)).toBe(false);
  });
});
