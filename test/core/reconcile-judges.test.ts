/** The audit, what it misses, and the deletion, step by step: all that each asks for, keeps in the checkpoint and reports. */
import { describe, expect, test } from "vitest";
import { DAY_MS } from "../../shared/limits.ts";
import {
  idOfKey,
  keyOfMinute,
  type PayloadId,
  type PayloadKey,
  payloadPrefix,
} from "../../shared/payload-key.ts";
import { audit } from "../../shared/reconcile/audit.ts";
import {
  auditId,
  bringBack,
  judgeId,
  missingOf,
  receiptsById,
} from "../../shared/reconcile/audit-payload.ts";
import { Budget } from "../../shared/reconcile/budget.ts";
import {
  beforeMinute,
  type Checkpoint,
  type Doubt,
  newCheckpoint,
} from "../../shared/reconcile/checkpoint.ts";
import { deletePayloads } from "../../shared/reconcile/delete-payloads.ts";
import { doubted, resolveDoubts } from "../../shared/reconcile/doubts.ts";
import type { DatedReceipt } from "../../shared/reconcile/effects.ts";
import type { Run } from "../../shared/reconcile/run-context.ts";
import { type ReconcileSettings, reconcileSettings } from "../../shared/reconcile/settings.ts";
import { type Budgets, driven, minutesAgo, noCounts, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const today = Math.floor(noon / DAY_MS);
const { secondReadingMs, brakeLeast, brakePerMille, retentionMs, deleteEveryMs, doubtTriesMax } =
  reconcileSettings;
const minuteAgo = (minutes: number): number => noon - minutes * minuteMs;
const kept: Checkpoint = { ...newCheckpoint(minuteAgo(5)), newest: minuteAgo(6) };
const dueAt = noon + secondReadingMs;
/** What is asked to have rows counted. */
const rowsOf = (ids: readonly PayloadId[], days: readonly number[] | null = null) => [
  ["readTable", "plain 0 1"],
  ["rows", { ids, table: "plain 0 1", days }],
];
const ringing = (key: PayloadKey) => ["ring", [{ v: 1, key, cause: "audit" }]];
const second = (key: PayloadKey): PayloadKey => keyOfMinute(key, "2026-11-24T1030");

function runOf(changed: Partial<ReconcileSettings> = {}): Run {
  const settings = { ...reconcileSettings, ...changed };
  return { now: noon, settings, counts: noCounts, findings: [], table: null, budget: new Budget(9) };
}
const keysOf = (count: number): readonly PayloadKey[] => {
  const world = new ReconcileWorld();
  return Array.from({ length: count }, (_, n) => world.put(minutesAgo(70), n)).sort();
};
const keysDoubt = (keys: readonly PayloadKey[], more: Partial<Doubt> = {}): Doubt =>
  ({ kind: "keys", missing: keys.length, dueAt, tries: 0, reportedAt: 0, keys, ...more }) as Doubt;

describe("what a reading of a page misses is doubted", () => {
  const keys = keysOf(8);
  const page = { after: keys[0] ?? "", before: keys[7] ?? "", keys: 600 };
  const of = (missing: readonly PayloadKey[], before = kept, of_ = page, changed = {}) =>
    doubted(before, of_, missing, runOf(changed));
  const some = keys.slice(1, 1 + brakeLeast);

  test("key by key, or as a page where so much of it is missing", () => {
    const few = (1000 * brakeLeast) / brakePerMille;
    const asPage = {
      kind: "page",
      missing: brakeLeast,
      dueAt,
      tries: 0,
      reportedAt: 0,
      after: page.after,
      before: page.before,
      notified: null,
    };
    expect(of(some, kept, { ...page, keys: few })).toEqual({ ...kept, doubts: [keysDoubt(some)] });
    expect(of(some, kept, { ...page, keys: few - 1 })).toEqual({ ...kept, doubts: [asPage] });
    const many = keysOf(30);
    expect(of(many, kept, { ...page, keys: 5999 })?.doubts).toMatchObject([{ kind: "page" }]);
    expect(of(many, kept, { ...page, keys: 6000 })?.doubts).toMatchObject([{ kind: "keys" }]);
    const less = some.slice(1);
    expect(of(less, kept, { ...page, keys: 2 })).toEqual({ ...kept, doubts: [keysDoubt(less)] });
  });

  test("once: not what is doubted already, by its key or by its page", () => {
    const [first = never(), ...others] = some;
    const before = { ...kept, doubts: [keysDoubt([first])] };
    expect(of([first], before)).toBe(before);
    expect(of([], kept)).toBe(kept);
    expect(of(some, before)).toEqual({
      ...kept,
      doubts: [...before.doubts, keysDoubt(others, { missing: brakeLeast })],
    });
    const pages: Doubt = {
      kind: "page",
      missing: 9,
      dueAt,
      tries: 0,
      reportedAt: 0,
      after: keys[1] ?? "",
      before: keys[4] ?? "",
      notified: null,
    };
    const asPage = { ...kept, doubts: [pages] };
    expect(of(keys.slice(2, 4), asPage)).toBe(asPage);
    expect(of(keys.slice(1, 5), asPage, page, { brakeLeast: 9 })).toEqual({
      ...kept,
      doubts: [pages, keysDoubt([keys[1] ?? never(), keys[4] ?? never()], { missing: 4 })],
    });
  });

  test("as far as there is room", () => {
    const before = { ...kept, doubts: [keysDoubt(keys.slice(0, 1))] };
    expect(of(some, before, page, { doubtsMax: 1 })).toBeNull();
    expect(of(some, before, page, { doubtsMax: 2 })?.doubts).toHaveLength(2);
    expect(of(keys.slice(0, 1), before, page, { doubtsMax: 1 })).toBe(before);
  });

  test("by one key an id: the first that is stored and has too few rows", () => {
    const world = new ReconcileWorld();
    const [stored, lost, dead, old] = [1, 2, 3, 4].map((n) => world.stored(minutesAgo(70), n));
    if (stored === undefined || lost === undefined || dead === undefined || old === undefined) {
      throw new Error("there are four");
    }
    world.end(second(lost), "stored");
    world.end(dead, "dead");
    const died = world.receipts.get(dead) ?? never();
    world.receipts.set(dead, { ...died, rowsByDay: [{ day: today, rows: 2 }] });
    const receipts = [...world.receipts.values()];
    const rows = new Map([[idOfKey(stored), [{ day: today, rows: 2 }]]]);
    expect(missingOf(receipts, rows, 0)).toEqual([lost, old]);
    expect(missingOf(receipts, rows, today + 1)).toEqual([]);
  });
});

describe("what is doubted is read again", () => {
  const pageOf = (
    after: string,
    before: string,
    more: Partial<Extract<Doubt, { kind: "page" }>> = {},
  ): Doubt => ({
    kind: "page",
    missing: 3,
    dueAt: noon,
    tries: 0,
    reportedAt: 0,
    after,
    before,
    notified: null,
    ...more,
  });
  const resolved = (
    world: ReconcileWorld,
    doubts: readonly Doubt[],
    changed: Partial<ReconcileSettings> = {},
    budgets: Budgets = {},
  ) => driven(world, (_, run) => resolveDoubts({ ...kept, doubts }, run), budgets, changed);
  const due = (keys: readonly PayloadKey[], more: Partial<Doubt> = {}) =>
    keysDoubt(keys, { dueAt: noon, ...more });
  const lostRows = (key: PayloadKey, isKept: boolean) =>
    isKept
      ? {
          kind: "lost_rows",
          state: "resolved",
          severity: "warning",
          subject: key,
          tenant: "acme",
          message: expect.stringContaining("Its object is still in R2"),
        }
      : {
          kind: "lost_rows",
          state: "open",
          severity: "page",
          subject: key,
          tenant: "acme",
          message: expect.stringContaining("R2 no longer holds its object"),
        };

  /** A world with payloads of an hour ago whose rows are all gone, and the text before and behind them. */
  function lost(count: number) {
    const world = new ReconcileWorld();
    const keys = Array.from({ length: count }, (_, n) => world.stored(minutesAgo(70), n)).sort();
    world.rows.clear();
    return { world, keys, after: beforeMinute(minuteAgo(70)), before: beforeMinute(minuteAgo(69)) };
  }

  test("key by key: what is there is over, what is held waits, what is gone is brought back or reported", () => {
    const { world, keys } = lost(4);
    const [there = never(), held = never(), gone = never(), forGood = never()] = keys;
    world.end(there, "stored");
    world.held.add(idOfKey(held));
    world.objects.delete(forGood);
    const { ended, asked, findings } = resolved(world, [due(keys)]);
    const receipts = (key: PayloadKey) => ["receiptsOfIds", [idOfKey(key)]];
    expect(asked).toEqual([
      receipts(there),
      ...rowsOf([idOfKey(there)]),
      receipts(held),
      ...rowsOf([idOfKey(held)]),
      ["holds", [held]],
      receipts(gone),
      ...rowsOf([idOfKey(gone)]),
      ["holds", [gone]],
      ["find", [gone]],
      ringing(gone),
      receipts(forGood),
      ...rowsOf([idOfKey(forGood)]),
      ["holds", [forGood]],
      ["find", [forGood]],
    ]);
    expect(findings).toEqual([lostRows(gone, true), lostRows(forGood, false)]);
    expect(ended).toEqual({
      ...kept,
      doubts: [keysDoubt([held, gone], { missing: 4, tries: 1 })],
    });
  });

  test("key by key, and is reported at the first reading only; so often, and then no more", () => {
    const { world, keys } = lost(1);
    const back = lost(1);
    back.world.end(back.keys[0] ?? never(), "stored");
    expect(resolved(back.world, [due(back.keys)]).ended.doubts).toEqual([]);
    const again = resolved(world, [due(keys, { tries: 1 })]);
    expect(again.findings).toEqual([]);
    expect(again.ended.doubts).toEqual([keysDoubt(keys, { tries: 2 })]);
    const last = (tries: number) => resolved(world, [due(keys, { tries })]).ended.doubts;
    expect(last(doubtTriesMax - 1)).toEqual([keysDoubt(keys, { tries: doubtTriesMax })]);
    expect(last(doubtTriesMax)).toEqual([]);
  });

  test("when it is due, a few a run, as far as the budget lasts", () => {
    const { world, keys } = lost(3);
    const [a = never(), b = never(), c = never()] = keys;
    const doubts = [due([a], { dueAt: noon + 1 }), due([b]), due([c])];
    const read = (changed: Partial<ReconcileSettings>, budgets: Budgets = {}) =>
      resolved(world, doubts, changed, budgets).ended.doubts;
    const [waits = never(), middle = never(), third = never()] = doubts;
    const readAt = (doubt: Doubt): Doubt => ({ ...doubt, tries: 1, dueAt }) as Doubt;
    expect(read({})).toEqual([waits, readAt(middle), readAt(third)]);
    expect(read({ doubtsARun: 1 })).toEqual([waits, readAt(middle), third]);
    expect(read({ doubtsARun: 0 })).toEqual(doubts);
    expect(read({}, { subrequests: 1 })).toEqual([waits, readAt(middle), third]);
    expect(read({}, { subrequests: 0 })).toEqual(doubts);
  });

  test("a page: reported when the second reading misses as much, and nothing is notified before a third", () => {
    const { world, keys, after, before } = lost(4);
    const { ended, asked, findings } = resolved(world, [pageOf(after, before)]);
    expect(asked).toEqual([
      ["storedReceipts", { after, before, atMost: 1000 }],
      ...rowsOf(keys.map(idOfKey)),
    ]);
    expect(findings).toEqual([
      {
        kind: "rows_missing",
        subject: `page of ${noon}`,
        state: "open",
        severity: "page",
        tenant: "",
        message: expect.stringContaining(`(${after} … ${keys[0]})`),
        openedAt: noon,
      },
    ]);
    expect(findings[0]?.message).toContain(" 4 of 4 payloads");
    expect(ended.doubts).toEqual([pageOf(after, before, { missing: 4, reportedAt: noon, dueAt })]);
  });

  test("a page of which nothing is missing any more is over, and reported so where it had been reported", () => {
    const { world, keys, after, before } = lost(3);
    for (const key of keys) {
      world.end(key, "stored");
    }
    expect(resolved(world, [pageOf(after, before)])).toMatchObject({ ended: { doubts: [] }, findings: [] });
    const reported = resolved(world, [pageOf(after, before, { reportedAt: 5 })]);
    expect(reported.ended.doubts).toEqual([]);
    expect(reported.findings).toEqual([
      {
        kind: "rows_missing",
        subject: "page of 5",
        state: "resolved",
        severity: "page",
        tenant: "",
        message: expect.stringContaining(`(${after} … ${after})`),
        openedAt: 5,
      },
    ]);
    expect(resolved(new ReconcileWorld(), [pageOf(after, before)]).asked).toEqual([
      ["storedReceipts", { after, before, atMost: 1000 }],
    ]);
  });

  test("a page of which only a few are missing is doubted key by key", () => {
    const { world, keys, after, before } = lost(3);
    world.end(keys[0] ?? never(), "stored");
    expect(resolved(world, [pageOf(after, before)]).ended.doubts).toEqual([keysDoubt(keys.slice(1))]);
  });

  test("a page that goes on behind what one reading takes is read on", () => {
    const { world, keys, after, before } = lost(4);
    const [first = never(), middle = never()] = keys;
    world.end(first, "stored");
    world.end(middle, "stored");
    const pages = { pageKeys: 2 };
    const on = resolved(world, [pageOf(after, before, { notified: null, tries: 4 })], pages);
    expect(on.ended.doubts).toEqual([pageOf(middle, before, { dueAt })]);
    const told = pageOf(after, before, { reportedAt: 5, notified: first, tries: 4 });
    expect(resolved(world, [told], { pageKeys: 1 }).ended.doubts).toEqual([
      pageOf(middle, before, { reportedAt: 5, dueAt }),
    ]);
    // Its last page is full: nothing may come behind it.
    const last = resolved(world, [pageOf(keys[3] ?? never(), before)], pages);
    expect(last.ended.doubts).toEqual([]);
  });

  test("a page that was reported has its payloads notified one by one, each when the one before is there", () => {
    const { world, keys, after, before } = lost(3);
    const [first = never(), middle = never(), third = never()] = keys;
    const told = (more: Partial<Extract<Doubt, { kind: "page" }>>) =>
      pageOf(after, before, { reportedAt: 5, ...more });
    const begun = resolved(world, [told({ tries: 3 })]);
    expect(begun.asked.slice(-3)).toEqual([
      ["receiptsOfIds", [idOfKey(first)]],
      ["find", [first]],
      ringing(first),
    ]);
    expect(begun.findings).toEqual([lostRows(first, true)]);
    expect(begun.ended.doubts).toEqual([told({ notified: first, dueAt })]);
    const waits = resolved(world, [told({ notified: first, tries: 1 })]);
    expect(waits.findings).toEqual([]);
    expect(waits.ended.doubts).toEqual([told({ notified: first, tries: 2, dueAt })]);
    world.end(first, "stored");
    const on = resolved(world, [told({ notified: first, tries: 2 })]);
    expect(on.asked.filter(([name]) => name === "storedReceipts")).toEqual([
      ["storedReceipts", { after: first, before, atMost: 1000 }],
    ]);
    expect(on.ended.doubts).toEqual([told({ after: first, notified: middle, dueAt })]);
    // One that does not come is left behind after so many readings.
    const stuck = (tries: number) =>
      resolved(world, [told({ after: first, notified: middle, tries })]).ended.doubts;
    expect(stuck(doubtTriesMax - 1)).toEqual([
      told({ after: first, notified: middle, tries: doubtTriesMax, dueAt }),
    ]);
    expect(stuck(doubtTriesMax)).toEqual([told({ after: middle, notified: third, dueAt })]);
  });

  test("a page whose rows come back behind a re-insert is over, and both are reported", () => {
    const { world, keys, after, before } = lost(3);
    const [first = never()] = keys;
    world.rows.set(idOfKey(first), [{ day: today, rows: 4 }]);
    const { ended, findings } = resolved(world, [pageOf(after, before, { reportedAt: 5, notified: first })]);
    expect(ended.doubts).toEqual([]);
    expect(findings.slice(-2)).toEqual([
      {
        kind: "rows_missing",
        subject: "page of 5",
        state: "resolved",
        severity: "page",
        tenant: "",
        message: expect.stringContaining(`(${after} … ${first})`),
        openedAt: 5,
      },
      {
        kind: "inexact",
        subject: first,
        state: "open",
        severity: "page",
        tenant: "acme",
        message: expect.stringContaining("it has more now than its receipt says"),
      },
    ]);
  });

  test("pages that were reported are read one at a time; the others are read all the same", () => {
    const { world, after, before } = lost(3);
    const told = pageOf(after, before, { reportedAt: 1 });
    const two = resolved(world, [told, told]).ended.doubts;
    expect(two.map((doubt) => doubt.dueAt)).toEqual([dueAt, noon]);
    const untold = pageOf(after, before);
    const others = resolved(world, [told, untold, due(keysOf(1))]).ended.doubts;
    expect(others.map((doubt) => doubt.dueAt)).toEqual([dueAt, dueAt, dueAt]);
    const last = resolved(world, [told, untold, told]).ended.doubts;
    expect(last.map((doubt) => doubt.dueAt)).toEqual([dueAt, dueAt, noon]);
    // The first one is not due yet, and the second waits for it all the same.
    const later = resolved(world, [{ ...told, dueAt: noon + 1 }, told]).ended.doubts;
    expect(later.map((doubt) => doubt.dueAt)).toEqual([noon + 1, noon]);
    const first = resolved(world, [untold, told]).ended.doubts;
    expect(first.map((doubt) => doubt.dueAt)).toEqual([dueAt, dueAt]);
  });
});

describe("one id is judged by all of its receipts", () => {
  const world = new ReconcileWorld();
  const key = world.stored(minutesAgo(70), 1);
  const { end } = world;
  const receiptAs = (of: PayloadKey, outcome: Parameters<typeof end>[1]): DatedReceipt => {
    world.end(of, outcome);
    return world.receipts.get(of) ?? never();
  };
  const stored = receiptAs(key, "stored");
  const other = receiptAs(second(key), "stored");
  const erased = receiptAs(second(key), "erased");
  const rows = (count: number) => [{ day: today, rows: count }];

  test("one copy per stored key, and none of what is erased", () => {
    expect(judgeId([stored], rows(2), 0)).toBe("exact");
    expect(judgeId([stored], rows(4), 0)).toBe("inexact");
    expect(judgeId([stored, other], rows(4), 0)).toBe("exact");
    expect(judgeId([stored], rows(1), 0)).toBe("too few");
    expect(judgeId([stored], [], today + 1)).toBe("exact");
    expect(judgeId([stored, erased], rows(2), 0)).toBe("erased");
    expect(judgeId([stored, erased], [], 0)).toBe("exact");
    expect(judgeId([], rows(2), 0)).toBe("exact");
    // Of keys that are not stored none claims a copy.
    const duplicate: DatedReceipt = { ...stored, outcome: "duplicate", rowsByDay: [], key: second(key) };
    expect(judgeId([duplicate, stored], rows(2), 0)).toBe("exact");
    expect(judgeId([duplicate, stored], rows(4), 0)).toBe("inexact");
    expect(judgeId([duplicate], rows(4), 0)).toBe("exact");
  });

  test("what does not fit is reported, and what was erased is erased once more, or reported", () => {
    const judged = (receipts: readonly DatedReceipt[], found: number, objects: readonly PayloadKey[]) => {
      const place = new ReconcileWorld();
      for (const one of objects) {
        place.objects.add(one);
      }
      return driven(place, (_, run) => auditId(receipts, found === 0 ? [] : rows(found), 0, run));
    };
    const finding = (subject: PayloadKey, message: string) => ({
      kind: "inexact",
      state: "open",
      severity: "page",
      subject,
      tenant: "acme",
      message,
    });
    expect(judged([stored], 2, [])).toMatchObject({ ended: "exact", asked: [], findings: [] });
    expect(judged([stored, erased], 0, [key])).toMatchObject({ ended: "exact", asked: [], findings: [] });
    expect(judged([stored], 1, [])).toMatchObject({ ended: "too few", asked: [], findings: [] });
    expect(judged([stored], 4, [key])).toEqual({
      ended: "inexact",
      asked: [],
      counts: noCounts,
      findings: [
        finding(key, expect.stringContaining("other rows of this payload than one copy a stored key")),
      ],
    });
    const keys = [key, second(key)].sort();
    expect(judged([stored, erased], 2, [key])).toEqual({
      ended: "erased",
      asked: [["find", keys], ringing(key)],
      counts: noCounts,
      findings: [],
    });
    expect(judged([stored, erased], 2, [])).toEqual({
      ended: "erased",
      asked: [["find", keys]],
      counts: noCounts,
      findings: [finding(second(key), expect.stringContaining("the table still holds rows of it"))],
    });
  });

  test("is brought back under the first of its newest keys that has an object", () => {
    const place = new ReconcileWorld();
    const third = keyOfMinute(key, "2026-11-24T1100");
    const receipts = [third, second(key), key].map((one) => ({ ...stored, key: one }));
    const newest = [key, third];
    place.objects.add(second(key)).add(third).add(key);
    const back = (isFirst: boolean) =>
      driven(place, (_, run) => bringBack(key, receipts, isFirst, run), {}, { headsMax: 2 });
    expect(back(false)).toEqual({
      ended: true,
      asked: [["find", newest], ringing(key)],
      counts: noCounts,
      findings: [],
    });
    expect(back(true).findings).toHaveLength(1);
    place.objects.clear();
    for (const isFirst of [true, false]) {
      expect(back(isFirst)).toMatchObject({ ended: false, findings: [{ severity: "page", subject: key }] });
    }
  });

  test("receipts are asked for once for all ids, and not for none", () => {
    const place = new ReconcileWorld();
    const first = place.stored(minutesAgo(70), 1);
    const next = place.stored(minutesAgo(70), 2);
    place.end(second(first), "duplicate");
    const ids = [idOfKey(first), idOfKey(next)];
    const { ended, asked } = driven(place, () => receiptsById(ids));
    expect(asked).toEqual([["receiptsOfIds", ids]]);
    expect([...ended].map(([id, of]) => [id, of.map((one) => one.key)])).toEqual([
      [idOfKey(first), [first, second(first)]],
      [idOfKey(next), [next]],
    ]);
    expect(driven(place, () => receiptsById([])).asked).toEqual([]);
  });
});

describe("the audit", () => {
  const at = (minutes: number) => beforeMinute(minuteAgo(minutes));
  const known: Checkpoint = { ...kept, auditAfter: at(120) };
  const audited = (
    world: ReconcileWorld,
    checkpoint: Checkpoint = known,
    changed: Partial<ReconcileSettings> = {},
    budgets: Budgets = {},
  ) => driven(world, (_, run) => audit(checkpoint, run), budgets, changed);
  const receiptsAsked = (after: string, before: string, atMost = 1000) => [
    "storedReceipts",
    { after, before, atMost },
  ];

  test("reads what is stored up to the last whole hour that is sealed, of the days that receipts claim", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2].map((n) => world.stored(minutesAgo(100), n)).sort();
    world.stored(minutesAgo(59), 3);
    const { ended, asked, findings } = audited(world);
    expect(asked).toEqual([receiptsAsked(at(120), at(60)), ...rowsOf(keys.map(idOfKey), [today])]);
    expect(ended).toEqual({ ...known, auditAfter: at(60) });
    expect(findings).toEqual([]);
  });

  test("waits for a minute that is open, for so long", () => {
    const world = new ReconcileWorld();
    world.stored(minutesAgo(250), 1);
    const open = (minutes: number): Checkpoint => ({
      ...known,
      auditAfter: at(300),
      open: [
        {
          minute: minuteAgo(minutes),
          tries: 0,
          dueAt: 0,
          after: "",
          listed: 0,
          checksum: "0",
          pending: 1,
          example: null,
        },
      ],
    });
    const last = reconcileSettings.auditAtLastMs / minuteMs;
    expect(audited(world, open(100)).asked[0]).toEqual(receiptsAsked(at(300), at(120)));
    expect(audited(world, open(last + 70)).asked[0]).toEqual(receiptsAsked(at(300), at(last)));
    const early = { ...known, auditAfter: at(300), from: minuteAgo(last + 10), newest: minuteAgo(6) };
    expect(audited(world, early).asked[0]).toEqual(receiptsAsked(at(300), at(last + 60)));
  });

  test("asks nothing where nothing arrived since, and goes on from the end of that hour", () => {
    const world = new ReconcileWorld();
    const idle = { ...known, newest: minuteAgo(121) };
    expect(audited(world, idle)).toMatchObject({ asked: [], ended: { ...idle, auditAfter: at(60) } });
    expect(audited(world, { ...idle, newest: minuteAgo(120) }).asked).toHaveLength(1);
    // It has come further already.
    const further = { ...idle, auditAfter: at(50) };
    expect(audited(world, further)).toMatchObject({ asked: [], ended: further });
  });

  test("reads page by page, as many as are allowed, and keeps its place", () => {
    const world = new ReconcileWorld();
    const keys = Array.from({ length: 7 }, (_, n) => world.stored(minutesAgo(100), n)).sort();
    const pages = (changed: Partial<ReconcileSettings>, budgets: Budgets = {}) => {
      const { asked, ended } = audited(world, known, { pageKeys: 3, ...changed }, budgets);
      return [asked.filter(([name]) => name === "storedReceipts"), ended.auditAfter];
    };
    const [third = never(), sixth = never()] = [keys[2], keys[5]];
    expect(pages({})).toEqual([
      [receiptsAsked(at(120), at(60), 3), receiptsAsked(third, at(60), 3), receiptsAsked(sixth, at(60), 3)],
      at(60),
    ]);
    expect(pages({ auditPages: 1 })).toEqual([[receiptsAsked(at(120), at(60), 3)], third]);
    expect(pages({ auditPages: 0 })).toEqual([[], at(120)]);
    expect(pages({}, { subrequests: 0 })).toEqual([[], at(120)]);
    expect(pages({}, { subrequests: 1 })).toEqual([[receiptsAsked(at(120), at(60), 3)], third]);
  });

  test("doubts what it misses, with the page that it is of, and stays before it where there is no room", () => {
    const world = new ReconcileWorld();
    const keys = Array.from({ length: 5 }, (_, n) => world.stored(minutesAgo(100), n)).sort();
    const [, , , fourth = never()] = keys;
    world.rows.clear();
    const common = { dueAt, tries: 0, reportedAt: 0, notified: null };
    const page = (after: string, before: string, missing: number) => ({
      kind: "page",
      ...common,
      after,
      before,
      missing,
    });
    expect(audited(world).ended.doubts).toEqual([page(at(120), at(60), 5)]);
    const paged = audited(world, known, { pageKeys: 4 });
    expect(paged.ended.doubts).toEqual([page(at(120), `${fourth}~`, 4), keysDoubt(keys.slice(4))]);
    const full = audited(world, known, { pageKeys: 4, doubtsMax: 1 });
    expect(full.ended).toEqual({
      ...known,
      auditAfter: fourth,
      doubts: [page(at(120), `${fourth}~`, 4)],
    });
  });

  test("reads all receipts of an id whose rows do not fit its own, and all days of it", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3].map((n) => world.stored(minutesAgo(100), n)).sort();
    const [twice = never(), , lost = never()] = keys;
    world.rows.set(idOfKey(twice), [{ day: today, rows: 4 }]);
    world.rows.delete(idOfKey(lost));
    const ids = keys.map(idOfKey);
    const { asked, findings, ended } = audited(world);
    expect(asked).toEqual([
      receiptsAsked(at(120), at(60)),
      ...rowsOf(ids, [today]),
      ["receiptsOfIds", [idOfKey(twice)]],
      ...rowsOf([idOfKey(twice)]),
    ]);
    expect(findings.map(({ subject }) => subject)).toEqual([twice]);
    expect(ended.doubts).toEqual([keysDoubt([lost])]);
    // Without a budget for it the page is read again.
    const used = audited(world, known, {}, { subrequests: 6 });
    expect(used).toMatchObject({ ended: known, findings: [] });
  });

  test("reads all days where the receipts of a page claim none", () => {
    const world = new ReconcileWorld();
    const key = world.put(minutesAgo(100), 1);
    world.end(key, "expired");
    const receipt = world.receipts.get(key) ?? never();
    world.receipts.set(key, { ...receipt, outcome: "stored" });
    expect(audited(world).asked.slice(1)).toEqual(rowsOf([idOfKey(key)]));
  });
});

describe("the deletion", () => {
  const week = retentionMs / minuteMs;
  const over = { deleteAfter: payloadPrefix, deleteNextAt: noon + deleteEveryMs };
  const removed = (
    world: ReconcileWorld,
    checkpoint: Checkpoint = kept,
    budgets: Budgets = {},
    changed: Partial<ReconcileSettings> = {},
  ) => driven(world, (listing, run) => deletePayloads(checkpoint, listing, run), budgets, changed);
  const old = (world: ReconcileWorld, n: number, more = 10): PayloadKey =>
    world.stored(minutesAgo(week + more), n);
  const listing = (after: string, atMost = 1000) => ["list", { after, cursor: null, atMost }];

  test("takes what is old enough and bears out, and nothing of a dead letter, an open minute or what is held", () => {
    const world = new ReconcileWorld();
    const [stored = never(), dead = never(), held = never()] = [1, 2, 3].map((n) => old(world, n));
    const open = old(world, 4, 9);
    const young = world.stored(minutesAgo(week - 1), 5);
    world.end(dead, "dead");
    world.held.add(idOfKey(held));
    const waits = {
      minute: minuteAgo(week + 9),
      tries: 0,
      dueAt: 0,
      after: "",
      listed: 0,
      checksum: "0",
      pending: 1,
      example: null,
    };
    const checkpoint = { ...kept, open: [waits] };
    const { ended, asked, findings } = removed(world, checkpoint);
    const all = [stored, dead, held, open];
    expect(asked).toEqual([
      listing(payloadPrefix),
      ["outcomes", all],
      ["receipts", [stored, dead, held]],
      ...rowsOf([stored, held].map(idOfKey)),
      ["holds", [stored, held]],
      ["delete", [stored]],
    ]);
    expect(ended).toEqual({ checkpoint: { ...checkpoint, ...over }, rows: [], deleted: 1 });
    expect(findings).toEqual([]);
    expect([...world.objects].sort()).toEqual([dead, held, open, young].sort());
  });

  test("begins a round when it is time, and goes on with one that is under way", () => {
    const world = new ReconcileWorld();
    old(world, 1);
    const later = { ...kept, deleteNextAt: noon + 1 };
    expect(removed(world, later)).toMatchObject({
      ended: { checkpoint: later, rows: [], deleted: 0 },
      asked: [],
    });
    const key = old(world, 2);
    const on = { ...later, deleteAfter: keyOfMinute(key, "2026-11-01T0000") };
    expect(removed(world, on).ended.checkpoint).toEqual({ ...kept, ...over });
    expect(removed(world, { ...kept, deleteNextAt: noon }).asked).not.toEqual([]);
  });

  test("is over at the first payload that is too young, or where nothing more is listed", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3, 4].map((n) => old(world, n)).sort();
    const pages = (calls = 100) => {
      const { ended, asked } = removed(world, kept, { pageKeys: 2, calls });
      return [asked.filter(([name]) => name === "list").length, ended];
    };
    for (const key of keys) {
      world.held.add(idOfKey(key));
    }
    expect(pages(1)).toEqual([1, { checkpoint: { ...kept, deleteAfter: keys[1] }, rows: [], deleted: 0 }]);
    expect(pages()).toEqual([2, { checkpoint: { ...kept, ...over }, rows: [], deleted: 0 }]);
    world.stored(minutesAgo(week - 1), 5);
    world.stored(minutesAgo(week - 1), 6);
    world.stored(minutesAgo(week - 1), 7);
    expect(pages()).toEqual([3, { checkpoint: { ...kept, ...over }, rows: [], deleted: 0 }]);
    // A key that is not a payload's is behind them, and more of the young ones.
    const foreign = new ReconcileWorld();
    const only = old(foreign, 1);
    foreign.held.add(idOfKey(only));
    foreign.foreign.add(`${beforeMinute(minuteAgo(week))}!`);
    for (const n of [2, 3]) {
      foreign.stored(minutesAgo(week - 1), n);
    }
    expect(
      driven(foreign, (list, run) => deletePayloads(kept, list, run), { pageKeys: 2 })
        .asked.map(([name]) => name)
        .filter((name) => name === "list"),
    ).toEqual(["list"]);
    // A page that ends in the middle, and the listing with it.
    const third = old(world, 8, 11);
    world.held.add(idOfKey(third));
    expect(pages()).toEqual([3, { checkpoint: { ...kept, ...over }, rows: [], deleted: 0 }]);
  });

  test("opens the minute of a payload without receipt again, and leaves its payloads for later", () => {
    const world = new ReconcileWorld();
    const stored = old(world, 1);
    const lost = world.put(minutesAgo(week + 10), 2);
    const { ended, asked } = removed(world);
    expect(asked.map(([name]) => name)).toEqual(["list", "outcomes", "holds", "outcomes", "ring", "tally"]);
    expect(ended).toMatchObject({
      checkpoint: { ...over, open: [{ minute: minuteAgo(week + 10), example: lost }] },
      rows: [{ minute: minuteAgo(week + 10), sealed: false }],
      deleted: 0,
    });
    expect(world.objects.has(stored)).toBe(true);
  });

  test("asks nothing of the table where all are dead letters or have no receipt", () => {
    const world = new ReconcileWorld();
    world.end(old(world, 1), "dead");
    const { ended, asked } = removed(world);
    expect(asked.map(([name]) => name)).toEqual(["list", "outcomes", "receipts"]);
    expect(ended).toEqual({ checkpoint: { ...kept, ...over }, rows: [], deleted: 0 });
  });

  test("reads the other receipts of an id that its own does not settle; what has too few rows is doubted", () => {
    const world = new ReconcileWorld();
    const day = Math.floor(minutesAgo(week + 10) / DAY_MS);
    const [fits = never(), twice = never(), lost = never(), copy = never()] = [1, 2, 3, 4].map((n) =>
      old(world, n),
    );
    world.rows.set(idOfKey(twice), [{ day, rows: 4 }]);
    world.rows.delete(idOfKey(lost));
    // Another key is stored, and both copies are there.
    world.rows.set(idOfKey(copy), [{ day, rows: 4 }]);
    const other = keyOfMinute(copy, "2026-11-01T0000");
    world.receipts.set(other, { ...(world.receipts.get(copy) ?? never()), key: other });
    const { ended, asked, findings } = removed(world);
    expect(asked.filter(([name]) => name === "receiptsOfIds")).toEqual([
      ["receiptsOfIds", [twice, lost, copy].map(idOfKey)],
    ]);
    expect(asked.at(-1)).toEqual(["delete", [fits, copy]]);
    expect(findings).toMatchObject([{ kind: "inexact", subject: twice }]);
    expect(ended).toEqual({
      checkpoint: { ...kept, ...over, doubts: [keysDoubt([lost])] },
      rows: [],
      deleted: 2,
    });
    // Without a budget they are looked at by the next round; without room for a doubt too.
    world.objects.add(fits);
    const used = removed(world, kept, { subrequests: 7 });
    expect([used.ended.checkpoint.doubts, used.findings]).toEqual([[], []]);
    const full = removed(world, kept, {}, { doubtsMax: 0 });
    expect(full.ended.checkpoint).toEqual({ ...kept, ...over });
    // What the ledger holds is nobody's concern.
    world.held.add(idOfKey(lost)).add(idOfKey(twice));
    expect(removed(world)).toMatchObject({ ended: { checkpoint: { doubts: [] } }, findings: [] });
  });

  test("doubts a page as such where much of it is missing", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3].map((n) => old(world, n)).sort();
    world.rows.clear();
    const page = {
      kind: "page",
      missing: 3,
      dueAt,
      tries: 0,
      reportedAt: 0,
      after: payloadPrefix,
      before: `${keys[2]}~`,
      notified: null,
    };
    expect(removed(world).ended.checkpoint.doubts).toEqual([page]);
  });
});

function never(): never {
  throw new Error("the world has it");
}
