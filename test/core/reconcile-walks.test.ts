/** Walking minutes, step by step: all that each walk asks for, keeps in the checkpoint, counts and reports. */
import { describe, expect, test } from "vitest";
import type { MinuteRow } from "../../shared/clickhouse/minutes.ts";
import { keyChecksum } from "../../shared/key-checksum.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey, keyOfMinute, objectOf, type PayloadKey } from "../../shared/payload-key.ts";
import {
  beforeMinute,
  type Checkpoint,
  newCheckpoint,
  type OpenMinute,
  opened,
} from "../../shared/reconcile/checkpoint.ts";
import type { CronEffects } from "../../shared/reconcile/effects.ts";
import { joinPage } from "../../shared/reconcile/join-page.ts";
import { type ReconcileSettings, reconcileSettings } from "../../shared/reconcile/settings.ts";
import {
  findLate,
  ringYoung,
  type Walked,
  walkAgain,
  walkFresh,
  walkOpen,
} from "../../shared/reconcile/walk-minutes.ts";
import { type Budgets, driven, minutesAgo, noCounts, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const { againMs, retryFirstMs, retryLastMs, receiptsMs } = reconcileSettings;
const minuteAgo = (minutes: number): number => noon - minutes * minuteMs;
const sumOf = (...keys: readonly PayloadKey[]): string => keyChecksum(keys.map(idOfKey)).toString();

const list = (after: string, atMost = 1000, cursor: string | null = null) => [
  "list" satisfies keyof CronEffects,
  { after, cursor, atMost },
];
const ring = (...keys: readonly PayloadKey[]) => [
  "ring" satisfies keyof CronEffects,
  keys.map((key) => ({ v: 1, key, cause: "reconcile" })),
];
const rowOf = (minute: number, keys: readonly PayloadKey[], more: Partial<MinuteRow> = {}): MinuteRow => ({
  minute,
  tenant: "acme",
  accepted: keys.length,
  stored: keys.length,
  dead: 0,
  duplicate: 0,
  erased: 0,
  expired: 0,
  spans: 2 * keys.length,
  rejectedSpans: 0,
  bytes: 100 * keys.length,
  checksum: keyChecksum(keys.map(idOfKey)),
  sealed: true,
  ...more,
});

/** The checkpoint of a reconciler that has walked everything up to five minutes ago. */
const kept: Checkpoint = { ...newCheckpoint(minuteAgo(5)), newest: minuteAgo(20), againAfter: "" };

describe("an open minute", () => {
  const minute = minuteAgo(6);
  const at = (more: Partial<OpenMinute> = {}): OpenMinute => ({ ...opened(minute, noon - 9), ...more });
  const open = (...minutes: readonly OpenMinute[]): Checkpoint => ({ ...kept, open: minutes });
  const walkOf = (world: ReconcileWorld, checkpoint: Checkpoint, budgets: Budgets = {}, all = false) =>
    driven(world, (listing, run) => walkOpen(checkpoint, listing, run, all), budgets);

  test("stays open with what was seen, and is due later each time; what nobody holds is notified", () => {
    const world = new ReconcileWorld();
    const held = world.put(minutesAgo(6), 1);
    const lost = world.put(minutesAgo(6), 2);
    const stored = world.stored(minutesAgo(6), 3);
    world.stored(minutesAgo(5), 4);
    world.held.add(idOfKey(held));
    for (const [tries, waitMs] of [
      [0, retryFirstMs],
      [2, 4 * retryFirstMs],
      [60, retryLastMs],
    ] as const) {
      const before = at({ tries, listed: 9, checksum: "7", pending: 8, example: stored });
      const { ended, asked, counts, findings } = walkOf(world, open(before));
      expect(ended).toEqual({
        checkpoint: open({
          minute,
          tries: tries + 1,
          dueAt: noon + waitMs,
          after: "",
          listed: 3,
          checksum: sumOf(held, lost, stored),
          pending: 2,
          example: held,
        }),
        rows: [],
      });
      expect(asked).toEqual([
        list(beforeMinute(minute)),
        ["outcomes", [held, lost, stored]],
        ["holds", [held, lost]],
        ["outcomes", [lost]],
        ring(lost),
      ]);
      expect(counts).toEqual({ ...noCounts, listed: 3, held: 1, notified: 1 });
      expect(findings).toEqual([]);
    }
  });

  test("is sealed where all of it has ended and the receipts count the same", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2].map((n) => world.stored(minutesAgo(6), n));
    const other = opened(minuteAgo(7), noon + 1);
    const { ended, asked, counts } = walkOf(world, open(other, at()));
    expect(ended).toEqual({ checkpoint: open(other), rows: [rowOf(minute, keys)] });
    expect(asked).toEqual([list(beforeMinute(minute)), ["outcomes", keys], ["tally", [minute]]]);
    expect(counts).toEqual({ ...noCounts, listed: 2, sealed: 1 });
    // An object may be gone that has its receipt, and none that is there may be without.
    world.objects.delete(keys[0] ?? never());
    expect(walkOf(world, open(at())).ended.rows).toEqual([rowOf(minute, keys)]);
  });

  test("is listed again on its own where the second listing has passed it, as far as there is room", () => {
    const world = new ReconcileWorld();
    const key = world.stored(minutesAgo(6), 1);
    const sealed = (before: Partial<Checkpoint>, changed: Partial<ReconcileSettings> = {}) =>
      driven(
        world,
        (listing, run) => walkOpen({ ...open(at()), ...before }, listing, run, false),
        {},
        changed,
      ).ended;
    const one = { minute, at: noon + againMs, after: "" };
    const older = { minute: minuteAgo(9), at: 5, after: "" };
    const same = { minute, at: 4, after: key };
    for (const [againAfter, before, changed, again] of [
      [beforeMinute(minute), [], {}, [one]],
      [beforeMinute(minute).slice(0, -1), [], {}, []],
      [beforeMinute(minute), [same, older], {}, [older, one]],
      [beforeMinute(minute), [older], { againMax: 1 }, [older]],
      [beforeMinute(minute), [older], { againMax: 2 }, [older, one]],
      [beforeMinute(minute), [same], { againMax: 1 }, [one]],
    ] as const) {
      const passed = { againAfter, again: before };
      expect(sealed(passed, changed)).toEqual({
        checkpoint: { ...kept, againAfter, again },
        rows: [rowOf(minute, [key])],
      });
    }
  });

  test("is walked on where the budget ended, and no other is begun before that", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3, 4, 5].map((n) => world.stored(minutesAgo(6), n));
    const [first = never(), second = never(), third = never()] = keys;
    world.receipts.delete(first);
    world.receipts.delete(third);
    const waits = opened(minuteAgo(7), noon - 5);
    const part = at({
      tries: 1,
      after: second,
      listed: 2,
      checksum: sumOf(first, second),
      pending: 1,
      example: first,
    });
    const budget = { calls: 1, pageKeys: 2 };
    const begun = walkOf(world, open(at({ tries: 1 }), waits), budget);
    expect(begun.ended).toEqual({ checkpoint: open(waits, part), rows: [] });
    expect(begun.asked.filter(([name]) => name === "list")).toEqual([list(beforeMinute(minute), 2)]);
    const all = open(at({ tries: 1 }), { ...waits, minute: minuteAgo(5), dueAt: noon + 9 });
    expect(walkOf(world, all, budget, true).ended.checkpoint).toEqual({
      ...kept,
      open: [
        { ...waits, minute: minuteAgo(5), dueAt: noon },
        { ...part, dueAt: noon },
      ],
    });
    const more = walkOf(world, open(part), budget);
    const [, , , fourth = never()] = keys;
    expect(more.ended).toEqual({
      checkpoint: open({
        ...part,
        after: fourth,
        listed: 4,
        checksum: sumOf(first, second, third, fourth),
        pending: 2,
      }),
      rows: [],
    });
    expect(more.asked[0]).toEqual(list(second, 2));
    expect(walkOf(world, open(part)).ended).toEqual({
      checkpoint: open({
        minute,
        tries: 2,
        dueAt: noon + 2 * retryFirstMs,
        after: "",
        listed: 5,
        checksum: sumOf(...keys),
        pending: 2,
        example: first,
      }),
      rows: [],
    });
    expect(walkOf(world, open(part), { calls: 0 }).ended).toEqual({ checkpoint: open(part), rows: [] });
    expect(walkOf(world, open(part), { subrequests: 0 }).asked).toEqual([]);
  });

  test("ends where the listing has come to a later one, also by a key that is not a payload's", () => {
    const world = new ReconcileWorld();
    const stored = world.stored(minutesAgo(6), 1);
    world.foreign.add(`${beforeMinute(minuteAgo(5))}!`);
    world.stored(minutesAgo(4), 2);
    const { ended, asked } = walkOf(world, open(at()), { pageKeys: 2 });
    expect(ended).toEqual({ checkpoint: kept, rows: [rowOf(minute, [stored])] });
    expect(asked.map(([name]) => name)).toEqual(["list", "outcomes", "tally"]);
    // And the second listing likewise.
    const again = { ...kept, againAfter: "~", again: [{ minute, at: noon, after: "" }] };
    const second = driven(world, (listing, run) => walkAgain(again, listing, run), { pageKeys: 2 });
    expect(second.asked.map(([name]) => name)).toEqual(["list", "outcomes"]);
    expect(second.ended.checkpoint.again).toEqual([]);
  });

  test("is walked when it is due, the longest due first; all of them where a person asks", () => {
    const world = new ReconcileWorld();
    const keys = [6, 7, 8].map((minutes) => world.stored(minutesAgo(minutes), minutes));
    const minutes = [
      opened(minuteAgo(6), noon - 1),
      opened(minuteAgo(7), noon + 1),
      opened(minuteAgo(8), noon),
    ];
    const tallies = (asked: ReconcileWorld["asked"]) =>
      asked.filter(([name]) => name === "tally").map(([, asks]) => asks);
    const due = walkOf(world, open(...minutes));
    expect(tallies(due.asked)).toEqual([[minuteAgo(6)], [minuteAgo(8)]]);
    expect(due.ended).toEqual({
      checkpoint: open(opened(minuteAgo(7), noon + 1)),
      rows: [rowOf(minuteAgo(6), keys.slice(0, 1)), rowOf(minuteAgo(8), keys.slice(2))],
    });
    const all = walkOf(world, open(...minutes), {}, true);
    expect(tallies(all.asked)).toEqual([[minuteAgo(8)], [minuteAgo(7)], [minuteAgo(6)]]);
    expect(all.ended.checkpoint).toEqual(kept);
    // One that stays open holds up no other.
    world.put(minutesAgo(6), 9);
    expect(tallies(walkOf(world, open(...minutes)).asked)).toEqual([[minuteAgo(8)]]);
    const idle = walkOf(world, open(opened(minuteAgo(7), noon + 1)));
    expect(idle).toMatchObject({ ended: { checkpoint: open(opened(minuteAgo(7), noon + 1)) }, asked: [] });
  });

  test("takes receipts for expired that are missing at its first walk only", () => {
    const world = new ReconcileWorld();
    const oldMinute = Math.floor((noon - receiptsMs) / minuteMs) * minuteMs - minuteMs;
    const expired = world.put(oldMinute, 1);
    const stored = world.stored(oldMinute, 2);
    const first = walkOf(world, open(opened(oldMinute, noon)));
    expect(first.ended).toEqual({ checkpoint: kept, rows: [rowOf(oldMinute, [stored])] });
    const second = walkOf(world, open({ ...opened(oldMinute, noon), tries: 1 }));
    expect(second.ended.checkpoint.open).toMatchObject([{ listed: 2, pending: 1, example: expired }]);
    // The first minute whose receipts are kept.
    world.put(oldMinute + minuteMs, 3);
    const young = walkOf(world, open(opened(oldMinute + minuteMs, noon)));
    expect(young.ended.checkpoint.open).toMatchObject([{ pending: 1 }]);
  });
});

describe("a page of the listing", () => {
  const joined = (world: ReconcileWorld, keys: readonly PayloadKey[], receiptsFrom = 0) =>
    driven(world, (_, run) =>
      joinPage(
        keys.map((key) => ({ key: objectOf(key) })),
        receiptsFrom,
        run,
      ),
    );

  test("asks the ledger for what has no receipt, and looks once more before it notifies", () => {
    const world = new ReconcileWorld();
    const [held = never(), lost = never(), stored = never(), ends = never()] = [1, 2, 3, 4].map((n) =>
      world.put(minutesAgo(6), n),
    );
    world.end(stored, "stored");
    world.held.add(idOfKey(held));
    const has = world.held.has.bind(world.held);
    world.held.has = (id) => {
      world.end(ends, "dead"); // while the ledger is asked
      return has(id);
    };
    expect(joined(world, [held, lost, stored, ends])).toMatchObject({
      ended: { pending: [held, lost], held: 1, notified: 1, expired: [] },
      asked: [
        ["outcomes", [held, lost, stored, ends]],
        ["holds", [held, lost, ends]],
        ["outcomes", [lost, ends]],
        ring(lost),
      ],
    });
  });

  test("asks no more than it has to", () => {
    const world = new ReconcileWorld();
    const key = world.put(minutesAgo(6), 1);
    world.held.add(idOfKey(key));
    expect(joined(world, [])).toMatchObject({
      ended: { pending: [], held: 0, notified: 0, expired: [] },
      asked: [],
    });
    expect(joined(world, [key])).toMatchObject({
      ended: { pending: [key], held: 1, notified: 0, expired: [] },
      asked: [
        ["outcomes", [key]],
        ["holds", [key]],
      ],
    });
    expect(joined(world, [key], noon)).toMatchObject({
      ended: { pending: [], held: 0, notified: 0, expired: [key] },
      asked: [["outcomes", [key]]],
    });
  });

  test("has a duplicate ended only where another key of its id is", () => {
    for (const [outcomes, isPending] of [
      [["duplicate"], true],
      [["duplicate", "duplicate"], true],
      [["duplicate", "duplicate", "stored"], false],
      [["duplicate", "dead"], false],
    ] as const) {
      const world = new ReconcileWorld();
      const key = world.put(minutesAgo(6), 1);
      const stored = world.stored(minutesAgo(6), 2);
      for (const [n, outcome] of outcomes.entries()) {
        world.end(n === 0 ? key : keyOfMinute(key, `2026-11-24T100${n}`), outcome);
      }
      const { ended, asked } = joined(world, [key, stored]);
      expect(ended).toMatchObject({ pending: isPending ? [key] : [], notified: isPending ? 1 : 0 });
      expect(asked.slice(0, 2)).toEqual([
        ["outcomes", [key, stored]],
        ["receiptsOfIds", [idOfKey(key)]],
      ]);
    }
  });
});

describe("minutes that no walk has begun", () => {
  const from = (minutes: number): Checkpoint => ({ ...kept, from: minuteAgo(minutes) });
  const walkOf = (
    world: ReconcileWorld,
    checkpoint: Checkpoint,
    budgets: Budgets = {},
    changed: Partial<ReconcileSettings> = {},
  ) => driven(world, (listing, run) => walkFresh(checkpoint, listing, run), budgets, changed);

  test("are walked one by one up to five minutes ago, the empty ones by the listing alone", () => {
    const world = new ReconcileWorld();
    const first = world.stored(minutesAgo(20), 1);
    const lost = world.put(minutesAgo(10), 2);
    const last = world.stored(minutesAgo(6), 3);
    world.stored(minutesAgo(5), 4);
    const { ended, asked, counts } = walkOf(world, from(30));
    expect(ended).toEqual({
      checkpoint: {
        ...kept,
        from: minuteAgo(5),
        newest: minuteAgo(6),
        open: [
          {
            minute: minuteAgo(10),
            tries: 1,
            dueAt: noon + retryFirstMs,
            after: "",
            listed: 1,
            checksum: sumOf(lost),
            pending: 1,
            example: lost,
          },
        ],
      },
      rows: [rowOf(minuteAgo(20), [first]), rowOf(minuteAgo(6), [last])],
    });
    expect(asked.filter(([name]) => name === "list")).toEqual([list(beforeMinute(minuteAgo(30)))]);
    expect(walkOf(world, from(30), { pageKeys: 1 }).ended).toEqual(ended);
    expect(counts).toEqual({ ...noCounts, listed: 3, notified: 1, sealed: 2 });
  });

  test("are passed over at once where none has a payload, and left where the calls end before the next one", () => {
    const world = new ReconcileWorld();
    expect(walkOf(world, from(30))).toMatchObject({
      ended: { checkpoint: { ...kept, from: minuteAgo(5) }, rows: [] },
      asked: [list(beforeMinute(minuteAgo(30)))],
    });
    expect(walkOf(world, from(5))).toMatchObject({ ended: { checkpoint: kept, rows: [] }, asked: [] });
    expect(walkOf(world, from(30), { calls: 0 }).ended).toEqual({ checkpoint: from(30), rows: [] });
    // R2 answers with nothing, and more to come.
    world.stored(minutesAgo(20), 1);
    world.pageOf = () => 0;
    expect(walkOf(world, from(30), { calls: 3 }).ended).toEqual({ checkpoint: from(30), rows: [] });
    // Or with keys that are no payload's.
    const foreign = new ReconcileWorld();
    for (const n of [1, 2, 3]) {
      foreign.foreign.add(`${beforeMinute(minuteAgo(25))}!${n}`);
    }
    expect(walkOf(foreign, from(30), { calls: 1, pageKeys: 2 }).ended).toEqual({
      checkpoint: from(30),
      rows: [],
    });
    // The newest stays what it was, where what is walked is older.
    world.pageOf = null;
    expect(walkOf(world, { ...from(30), newest: minuteAgo(2) }).ended.checkpoint.newest).toBe(minuteAgo(2));
  });

  test("wait where as many are open as the checkpoint has room for", () => {
    const world = new ReconcileWorld();
    world.put(minutesAgo(20), 1);
    world.put(minutesAgo(10), 2);
    expect(walkOf(world, from(30), {}, { openMax: 1 }).ended.checkpoint).toMatchObject({
      from: minuteAgo(19),
      open: [{ minute: minuteAgo(20) }],
    });
    expect(walkOf(world, from(30), {}, { openMax: 3 }).ended.checkpoint).toMatchObject({
      from: minuteAgo(5),
      open: [{ minute: minuteAgo(20) }, { minute: minuteAgo(10) }],
    });
  });
});

test("payloads too young to be sealed are notified where nobody holds them, page by page, and nothing is kept", () => {
  const world = new ReconcileWorld();
  const keys = [1, 2, 3, 4, 5].map((n) => world.put(minutesAgo(1), n));
  const [first = never(), second = never(), third = never(), fourth = never(), fifth = never()] = keys;
  world.held.add(idOfKey(first));
  world.end(third, "stored");
  const young = (budgets: Budgets) =>
    driven(world, (listing, run) => ringYoung(minuteAgo(5), listing, run), budgets);
  const { asked, counts } = young({ pageKeys: 2 });
  expect(asked).toEqual([
    list(beforeMinute(minuteAgo(5)), 2),
    ["outcomes", [first, second]],
    ["holds", [first, second]],
    ["outcomes", [second]],
    ring(second),
    list(second, 2),
    ["outcomes", [third, fourth]],
    ["holds", [fourth]],
    ["outcomes", [fourth]],
    ring(fourth),
    list(fourth, 2),
    ["outcomes", [fifth]],
    ["holds", [fifth]],
    ["outcomes", [fifth]],
    ring(fifth),
  ]);
  expect(counts).toEqual({ ...noCounts, listed: 5, held: 1, notified: 3 });
  expect(young({ pageKeys: 2, calls: 2 }).counts).toEqual({ ...noCounts, listed: 4, held: 1, notified: 2 });
});

const late = (key: PayloadKey) => ({
  kind: "late_put",
  subject: key,
  state: "resolved",
  severity: "note",
  tenant: "acme",
  message: expect.stringContaining("its minute had been sealed"),
});
const reopened = (minute: number, key: PayloadKey): OpenMinute => ({
  ...opened(minute, noon),
  pending: 1,
  example: key,
});

describe("what was sealed", () => {
  const lateOf = (
    world: ReconcileWorld,
    keys: readonly PayloadKey[],
    checkpoint: Checkpoint = kept,
    changed: Partial<ReconcileSettings> = {},
  ) =>
    driven(
      world,
      (_, run) =>
        findLate(
          checkpoint,
          keys.map((key) => ({ key: objectOf(key) })),
          run,
        ),
      {},
      changed,
    );

  test("is opened again by a payload without receipt, once, and its row says so", () => {
    const world = new ReconcileWorld();
    const stored = world.stored(minutesAgo(9), 1);
    const first = world.put(minutesAgo(9), 2);
    const second = world.put(minutesAgo(9), 3);
    const other = world.put(minutesAgo(8), 4);
    world.held.add(idOfKey(other));
    const isOpen = world.put(minutesAgo(7), 5);
    const waits = opened(minuteAgo(7), noon + 5);
    const keys = [stored, first, second, other, isOpen];
    const { ended, asked, counts, findings } = lateOf(world, keys, {
      ...kept,
      newest: minuteAgo(20),
      open: [waits],
    });
    expect(ended).toEqual({
      checkpoint: {
        ...kept,
        newest: minuteAgo(8),
        open: [waits, reopened(minuteAgo(9), first), reopened(minuteAgo(8), other)],
      },
      rows: [rowOf(minuteAgo(9), [stored], { sealed: false })],
      looked: keys.length,
    });
    expect(asked).toEqual([
      ["outcomes", keys],
      ["holds", keys.slice(1)],
      ["outcomes", [first, second, isOpen]],
      ring(first, second, isOpen),
      ["tally", [minuteAgo(9), minuteAgo(8)]],
    ]);
    expect(counts).toEqual({ ...noCounts, listed: 5, held: 1, notified: 3 });
    expect(findings).toEqual([late(first), late(other)]);
    expect(lateOf(world, [other], { ...kept, newest: minuteAgo(3) }).ended.checkpoint.newest).toBe(
      minuteAgo(3),
    );
  });

  test("stays sealed where nothing is without, or there is no room: what is without is notified all the same", () => {
    const world = new ReconcileWorld();
    const stored = world.stored(minutesAgo(9), 1);
    expect(lateOf(world, [stored])).toMatchObject({
      ended: { checkpoint: kept, rows: [] },
      asked: [["outcomes", [stored]]],
      findings: [],
    });
    const lost = world.put(minutesAgo(8), 2);
    const full = lateOf(world, [stored, lost], kept, { openMax: 0 });
    expect(full.ended).toEqual({ checkpoint: kept, rows: [], looked: 2 });
    expect(full.asked.at(-1)).toEqual(ring(lost));
    expect(full.findings).toEqual([]);
    expect(lateOf(world, [lost], kept, { openMax: 1 }).ended.checkpoint.open).toHaveLength(1);
  });

  test("and has outlived its receipts is reported once, where no dead letter's record says what it was", () => {
    const world = new ReconcileWorld();
    const old = noon - receiptsMs - 2 * minuteMs;
    const [dead = never(), told = never(), first = never(), second = never()] = [1, 2, 3, 4].map((n) =>
      world.put(old, n),
    );
    world.records.add(dead);
    const before = { ...kept, expiredReported: [told] };
    const { ended, asked, counts, findings } = lateOf(world, [dead, told, first, second], before);
    expect(ended).toEqual({
      checkpoint: { ...kept, expiredReported: [told, first, second] },
      rows: [],
      looked: 4,
    });
    expect(asked).toEqual([
      ["outcomes", [dead, told, first, second]],
      ["deadLetters", [dead, first, second]],
    ]);
    expect(counts).toEqual({ ...noCounts, listed: 4 });
    const finding = (key: PayloadKey) => ({
      ...late(key),
      severity: "warning",
      message: expect.stringContaining("older than receipts are kept"),
    });
    expect(findings).toEqual([finding(first), finding(second)]);
    expect(lateOf(world, [told], before)).toMatchObject({ ended: { checkpoint: before }, findings: [] });
    expect(lateOf(world, [dead], kept)).toMatchObject({ ended: { checkpoint: kept }, findings: [] });
    expect(lateOf(world, [first], kept).ended.checkpoint).toEqual({ ...kept, expiredReported: [first] });
    // The last of them are remembered, as many as there is room for.
    const many = Array.from({ length: limits.expiredReportedMax }, () => told);
    const full = lateOf(world, [first, second], { ...kept, expiredReported: many });
    expect(full.ended.checkpoint.expiredReported).toEqual([...many.slice(2), first, second]);
    const more = Array.from({ length: limits.expiredReportedMax + 1 }, (_, n) => world.put(old, 100 + n));
    expect(lateOf(world, more).findings.map(({ subject }) => subject)).toEqual(more.slice(0, -1));
  });
});

describe("the second listing", () => {
  const day = againMs / minuteMs;
  const end = beforeMinute(minuteAgo(day));
  const againOf = (
    world: ReconcileWorld,
    checkpoint: Checkpoint,
    budgets: Budgets = {},
    changed: Partial<ReconcileSettings> = {},
  ) => driven<Walked>(world, (listing, run) => walkAgain(checkpoint, listing, run), budgets, changed);
  const from = (minutes: number, more: Partial<Checkpoint> = {}): Checkpoint => ({
    ...kept,
    againAfter: beforeMinute(minuteAgo(minutes)),
    ...more,
  });

  test("goes on from where it was up to a day ago, and not into what no walk has begun", () => {
    const world = new ReconcileWorld();
    const stored = world.stored(minutesAgo(day + 20), 1);
    const lost = world.put(minutesAgo(day + 10), 2);
    world.put(minutesAgo(day), 3);
    const { ended, asked } = againOf(world, from(day + 30));
    expect(ended).toEqual({
      checkpoint: {
        ...kept,
        againAfter: end,
        open: [reopened(minuteAgo(day + 10), lost)],
      },
      rows: [],
    });
    expect(asked).toEqual([
      list(beforeMinute(minuteAgo(day + 30))),
      ["outcomes", [stored, lost]],
      ["holds", [lost]],
      ["outcomes", [lost]],
      ring(lost),
      ["tally", [minuteAgo(day + 10)]],
    ]);
    const begun = { from: minuteAgo(day + 15) };
    expect(againOf(world, from(day + 30, begun)).ended.checkpoint.againAfter).toBe(
      beforeMinute(minuteAgo(day + 15)),
    );
    expect(againOf(world, { ...kept, againAfter: end }).asked).toEqual([]);
  });

  test("keeps its place where the calls end, or there is no room for a minute more", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3, 4, 5].map((n) => world.stored(minutesAgo(day + 10), n));
    const part = againOf(world, from(day + 30), { pageKeys: 2, calls: 1 });
    expect(part.ended).toEqual({ checkpoint: { ...kept, againAfter: keys[1] }, rows: [] });
    const rest = againOf(world, part.ended.checkpoint, { pageKeys: 2 });
    expect(rest.ended).toEqual({ checkpoint: { ...kept, againAfter: end }, rows: [] });
    expect(rest.asked.filter(([name]) => name === "list")).toEqual(
      [list(keys[1] ?? ""), list(keys[3] ?? "")].map(([name, asks]) => [
        name,
        { ...(asks as object), atMost: 2 },
      ]),
    );
    const full = againOf(world, from(day + 30), {}, { openMax: 0 });
    expect(full).toMatchObject({ ended: { checkpoint: from(day + 30), rows: [] }, asked: [] });
  });

  test("lists a minute on its own when it is due, goes on where it was, and forgets it at its end", () => {
    const world = new ReconcileWorld();
    const keys = [1, 2, 3].map((n) => world.stored(minutesAgo(9), n));
    const lost = world.put(minutesAgo(8), 4);
    const nine = { minute: minuteAgo(9), at: noon, after: "" };
    const eight = { minute: minuteAgo(8), at: noon, after: "" };
    const notYet = { minute: minuteAgo(7), at: noon + 1, after: "" };
    const known = { ...kept, againAfter: end, again: [nine, notYet, eight] };
    const whole = againOf(world, known);
    expect(whole.ended).toEqual({
      checkpoint: {
        ...known,
        again: [notYet],
        newest: minuteAgo(8),
        open: [reopened(minuteAgo(8), lost)],
      },
      rows: [],
    });
    expect(whole.asked.filter(([name]) => name !== "list").slice(0, 2)).toEqual([
      ["outcomes", keys],
      ["outcomes", [lost]],
    ]);
    const part = againOf(world, known, { pageKeys: 2, calls: 1 });
    const [, second = never()] = keys;
    expect(part.ended).toEqual({
      checkpoint: { ...known, again: [notYet, eight, { ...nine, after: second }] },
      rows: [],
    });
    const on = againOf(world, { ...known, again: [{ ...nine, after: second }] });
    expect(on.asked).toEqual([list(second), ["outcomes", keys.slice(2)]]);
    expect(on.ended.checkpoint.again).toEqual([]);
  });
});

function never(): never {
  throw new Error("the world has it");
}
