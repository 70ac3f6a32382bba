/** A run of the reconciler from its lease to its end: all that its stages ask for, in their order, and what it comes to. */
import { describe, expect, test } from "vitest";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { formatSlotKey, idOfKey, payloadPrefix } from "../../shared/payload-key.ts";
import { Budget, subrequestsOf, within } from "../../shared/reconcile/budget.ts";
import { minutesToNote, sealedOf } from "../../shared/reconcile/changed-minutes.ts";
import {
  beforeMinute,
  type Checkpoint,
  isOpen,
  newCheckpoint,
  opened,
  startOfMinute,
} from "../../shared/reconcile/checkpoint.ts";
import { ask, type CronEffects, type CronWork } from "../../shared/reconcile/effects.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { doorbell } from "../ledger/world.ts";
import { minutesAgo, noCounts, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const minuteAgo = (minutes: number): number => noon - minutes * minuteMs;
const { ageMs, deleteEveryMs, againMs } = reconcileSettings;
const list = (after: string) => ["list", { after, cursor: null, atMost: 1000 }];
const begin = (takesOver = false) => ["beginRun", { takesOver }];
const save = (checkpoint: Checkpoint) => ["save", { run: "run", checkpoint }];
const end = ["endRun", "run"];
/** What an idle hour's stages come to, where nothing is to be audited. */
const idleAfter = (checkpoint: Checkpoint): Checkpoint => ({
  ...checkpoint,
  auditAfter: beforeMinute(minuteAgo(60)),
});

describe("a run", () => {
  const kept: Checkpoint = {
    ...newCheckpoint(minuteAgo(5)),
    auditAfter: beforeMinute(minuteAgo(120)),
    againAfter: beforeMinute(noon - againMs),
    deleteNextAt: noon + 1,
    ranAt: 5,
    noEvidence: { since: 3, reason: "before" },
  };
  const ended = { ...idleAfter(kept), noEvidence: null, ranAt: noon };

  test("with nothing to do saves its checkpoint once, and asks for nothing else", () => {
    const world = new ReconcileWorld();
    world.checkpoint = kept;
    expect(world.run(noon)).toEqual({
      ...noCounts,
      deleted: 0,
      openMinutes: 0,
      watermark: minuteAgo(5),
      overtaken: false,
    });
    expect(world.asked).toEqual([begin(), save(ended), end]);
  });

  test("saves what its stages came to before the next one asks for anything, and where none does at its end", () => {
    const world = new ReconcileWorld();
    const beforeAgain = beforeMinute(noon - againMs - minuteMs);
    world.checkpoint = { ...kept, from: minuteAgo(6), againAfter: beforeAgain, newest: minuteAgo(90) };
    world.run(noon);
    const walked = { ...kept, newest: minuteAgo(90) };
    expect(world.asked).toEqual([
      begin(),
      list(beforeMinute(minuteAgo(6))),
      save({ ...walked, againAfter: beforeAgain }),
      list(beforeAgain),
      save(walked),
      ["storedReceipts", { after: kept.auditAfter, before: beforeMinute(minuteAgo(60)), atMost: 1000 }],
      save({ ...ended, newest: minuteAgo(90) }),
      end,
    ]);
  });

  test("that was overtaken ends there, and says so", () => {
    const world = new ReconcileWorld();
    const asks = ["list", "save", "list", "save", "storedReceipts", "save"];
    for (let saves = 0; saves < 3; saves++) {
      world.checkpoint = {
        ...kept,
        from: minuteAgo(6),
        againAfter: beforeMinute(noon - againMs - minuteMs),
        newest: minuteAgo(90),
      };
      world.savesLeft = saves;
      expect(world.run(noon)).toMatchObject({ overtaken: true, deleted: 0 });
      expect(world.asked.map(([name]) => name)).toEqual([
        "beginRun",
        ...asks.slice(0, 2 * saves + 2),
        "endRun",
      ]);
    }
  });

  test("that a person asked for takes over, walks each open minute and notifies young payloads", () => {
    const world = new ReconcileWorld();
    const young = world.put(minutesAgo(1), 1);
    const old = world.stored(minutesAgo(6), 2);
    const waits = opened(minuteAgo(6), noon + 99);
    world.checkpoint = { ...kept, open: [waits] };
    const report = world.run(noon, {}, true);
    expect(report).toEqual({
      listed: 2,
      held: 0,
      notified: 1,
      sealed: 1,
      sealedAnew: 0,
      deleted: 0,
      openMinutes: 0,
      watermark: minuteAgo(5),
      overtaken: false,
    });
    const recorded = world.asked.find(([name]) => name === "record");
    expect(recorded).toMatchObject([
      "record",
      {
        minutes: [{ minute: minuteAgo(6), sealed: true }],
        watermark: { watermark: minuteAgo(5), openMinutes: 0 },
      },
    ]);
    expect(world.asked.filter(([name]) => name !== "record" && name !== "tally")).toEqual([
      begin(true),
      list(beforeMinute(minuteAgo(6))),
      ["outcomes", [old]],
      save(kept),
      list(beforeMinute(minuteAgo(5))),
      ["outcomes", [young]],
      ["holds", [young]],
      ["outcomes", [young]],
      ["ring", [{ v: 1, key: young, cause: "reconcile" }]],
      save(ended),
      end,
    ]);
  });

  test("writes rows before the checkpoint that says so, and reports what it found with it", () => {
    const world = new ReconcileWorld();
    const lost = world.put(minutesAgo(24 * 60 + 2), 1);
    world.checkpoint = { ...kept, againAfter: beforeMinute(noon - againMs - 3 * minuteMs) };
    world.stored(minutesAgo(24 * 60 + 2), 2);
    const other = world.put(minutesAgo(24 * 60 + 1), 3);
    world.run(noon);
    const names = world.asked.map(([name]) => name);
    const place = names.indexOf("record");
    expect(names.slice(place, place + 3)).toEqual(["record", "reportFindings", "save"]);
    expect(world.asked[place]).toMatchObject([
      "record",
      {
        minutes: [{ minute: minuteAgo(24 * 60 + 2), sealed: false }],
        watermark: { watermark: minuteAgo(24 * 60 + 2), openMinutes: 2 },
      },
    ]);
    expect(names.filter((name) => name === "reportFindings")).toHaveLength(1);
    expect(world.reported).toMatchObject([
      { kind: "late_put", subject: lost },
      { kind: "late_put", subject: other },
    ]);
  });

  test("seals anew what changed and is sealed, by one question, and forgets those notes", () => {
    const world = new ReconcileWorld();
    const open = opened(minuteAgo(8), noon + 9);
    world.checkpoint = { ...kept, open: [open] };
    world.stored(minutesAgo(7), 1);
    const notes = [7, 8, 9].map((minutes) => ({ minute: minuteAgo(minutes), stamp: minutes }));
    world.changed = notes;
    expect(world.run(noon)).toMatchObject({ sealed: 0, sealedAnew: 2, openMinutes: 1 });
    const sealed = [notes[0], notes[2]];
    expect(world.asked.slice(1, 4)).toMatchObject([
      ["tally", [minuteAgo(7), minuteAgo(9)]],
      [
        "record",
        {
          minutes: [{ minute: minuteAgo(7), stored: 1, sealed: true }],
          watermark: { watermark: minuteAgo(8), openMinutes: 1 },
        },
      ],
      ["sealedAnew", sealed],
    ]);
    expect(sealedOf(notes, { ...kept, open: [open] })).toEqual(sealed);
  });

  test("deletes last, and keeps what the deletion came to", () => {
    const world = new ReconcileWorld();
    const day = noon - 8 * DAY_MS;
    const gone = world.stored(day, 1);
    world.checkpoint = { ...kept, deleteNextAt: noon };
    expect(world.run(noon)).toMatchObject({ deleted: 1 });
    expect(world.asked.slice(-3)).toEqual([
      ["delete", [gone]],
      save({ ...ended, deleteAfter: payloadPrefix, deleteNextAt: noon + deleteEveryMs }),
      end,
    ]);
    // Where it opens a minute its row is written with that.
    const late = new ReconcileWorld();
    late.put(day, 1);
    late.stored(day, 2);
    late.checkpoint = { ...kept, deleteNextAt: noon };
    late.run(noon);
    expect(late.asked.slice(-4).map(([name]) => name)).toEqual([
      "record",
      "reportFindings",
      "save",
      "endRun",
    ]);
  });

  test("in which no count of rows is evidence leaves the audit and the deletion, and remembers since when", () => {
    const world = new ReconcileWorld();
    world.stored(minutesAgo(100), 1);
    world.stored(noon - 8 * DAY_MS, 2);
    world.witness = { ...world.witness, behind: `r1 lags ${"x".repeat(400)}` };
    world.checkpoint = { ...kept, newest: minuteAgo(100), deleteNextAt: noon };
    world.run(noon);
    const reason = world.checkpoint.noEvidence?.reason ?? "";
    expect(new TextEncoder().encode(reason).length).toBe(limits.reasonBytesMax);
    expect(world.checkpoint).toEqual({
      ...kept,
      newest: minuteAgo(100),
      deleteNextAt: noon,
      noEvidence: { since: 3, reason },
      ranAt: noon,
    });
    expect(world.asked.map(([name]) => name)).not.toContain("list");
    // The audit could be done, and the deletion not.
    world.checkpoint = { ...kept, noEvidence: null, deleteNextAt: noon };
    world.run(noon);
    expect(world.checkpoint).toEqual({
      ...idleAfter(kept),
      deleteNextAt: noon,
      noEvidence: { since: noon, reason },
      ranAt: noon,
    });
  });

  test("gives its lease back where it fails, and reports what it had found", () => {
    const world = new ReconcileWorld();
    world.put(minutesAgo(24 * 60 + 2), 1);
    world.checkpoint = { ...kept, againAfter: beforeMinute(noon - againMs - 3 * minuteMs) };
    world.run(noon);
    const effect = world.effects.indexOf("tally");
    const failing = new ReconcileWorld();
    failing.put(minutesAgo(24 * 60 + 2), 1);
    failing.checkpoint = { ...kept, againAfter: beforeMinute(noon - againMs - 3 * minuteMs) };
    failing.failAt = { effect, when: "before" };
    expect(() => failing.run(noon)).toThrow("made to fail");
    expect(failing.effects.slice(effect)).toEqual(["tally", "reportFindings", "endRun"]);
    failing.failAt = { effect: world.effects.length - 1, when: "before" };
    failing.checkpoint = { ...kept, againAfter: beforeMinute(noon - againMs - 3 * minuteMs) };
    expect(failing.run(noon)).toMatchObject({ overtaken: false });
  });
});

describe("the first run", () => {
  const first = (world: ReconcileWorld, calls = 100) => {
    const listCalls = { ...reconcileSettings.listCalls, fresh: calls };
    world.run(noon, { listCalls });
    const [, asks] = world.asked.find(([name]) => name === "save") ?? [];
    return (asks as CronEffects["save"]["asks"]).checkpoint;
  };
  /** Where a first run begins. How far its second listing is then is that stage's concern. */
  const beginning = (at: number): Partial<Checkpoint> => {
    const { againAfter: _, ...rest } = newCheckpoint(at);
    return rest;
  };

  test("begins with the first payload that R2 holds, and with now where it holds none", () => {
    const empty = new ReconcileWorld();
    expect(first(empty)).toMatchObject(beginning(noon - ageMs));
    expect(empty.asked.slice(0, 2)).toEqual([begin(), list(payloadPrefix)]);
    const world = new ReconcileWorld();
    world.held.add(idOfKey(world.put(minutesAgo(100), 1)));
    expect(first(world)).toMatchObject(beginning(minuteAgo(100)));
    const young = new ReconcileWorld();
    young.put(minutesAgo(1), 1);
    expect(first(young)).toMatchObject(beginning(noon - ageMs));
  });

  test("begins before all of them where the calls end before any is seen", () => {
    const world = new ReconcileWorld();
    world.put(minutesAgo(100), 1);
    expect(first(world, 0)).toMatchObject(beginning(0));
    const silent = new ReconcileWorld();
    silent.put(minutesAgo(100), 1);
    silent.pageOf = () => 0;
    expect(first(silent, 2)).toMatchObject(beginning(0));
  });

  test("of a checkpoint of before there were doubts begins with none", () => {
    const world = new ReconcileWorld();
    const { doubts: _, ...older } = newCheckpoint(minuteAgo(5));
    world.checkpoint = older as Checkpoint;
    first(world);
    expect(world.checkpoint.doubts).toEqual([]);
  });
});

test("a minute is noted where it may be sealed when its receipts are written, once, and for each erasure", () => {
  const world = new ReconcileWorld();
  const noted = (minutes: number, outcome: "stored" | "erased", age = ageMs) =>
    minutesToNote([{ key: world.put(minuteAgo(minutes), 1), outcome }], noon, age);
  // Its end was two and a half minutes ago.
  expect(noted(4, "stored", 6 * minuteMs)).toEqual([minuteAgo(4)]);
  expect(noted(4, "stored", 6 * minuteMs + 2)).toEqual([]);
  expect(noted(0, "erased")).toEqual([noon]);
  const twice = [1, 2].map((n) => ({ key: world.put(minutesAgo(30), n), outcome: "dead" as const }));
  expect(minutesToNote(twice, noon, ageMs)).toEqual([startOfMinute(minutesAgo(30))]);
});

test("a minute is open that no walk has begun, or that one has left open", () => {
  const checkpoint = { ...newCheckpoint(minuteAgo(5)), open: [opened(minuteAgo(9), 0)] };
  expect([4, 5, 6, 9, 10].map((minutes) => isOpen(checkpoint, minuteAgo(minutes)))).toEqual([
    true,
    true,
    false,
    true,
    false,
  ]);
});

describe("a stage's budget", () => {
  test("is used up when nothing of it is left, and each effect is paid from it", () => {
    const budget = new Budget(3);
    function* work(): CronWork<string> {
      yield* ask("find", []);
      yield* ask("tally", []);
      expect(budget.isUsedUp).toBe(false);
      yield* ask("record", { minutes: [], watermark: { watermark: 0, openMinutes: 0 } });
      expect(budget.isUsedUp).toBe(true);
      return "done";
    }
    expect(new ReconcileWorld().drive(within(budget, work()))).toBe("done");
    expect(new Budget(0).isUsedUp).toBe(true);
  });

  test("counts of each effect what it takes at most", () => {
    const of = (name: keyof CronEffects, asks: unknown = null): number =>
      subrequestsOf({ name, asks } as Parameters<typeof subrequestsOf>[0]);
    expect(of("warn")).toBe(0);
    expect(of("wake")).toBe(1);
    for (const name of ["record", "reportFindings", "reportAlerts"] as const) {
      expect(of(name)).toBe(2);
    }
    const { key } = doorbell({ n: 1 });
    const inSegment = formatSlotKey(
      formatSegmentKey(noon, new Uint8Array(10), [idOfKey(key)]),
      0,
      "acme",
      idOfKey(key),
    );
    expect(of("find", [key, key, key])).toBe(3);
    expect(of("find", [key, inSegment]), "one in a segment may be a copy").toBe(3);
    expect(of("deadLetters", [1])).toBe(limits.recordListCallsMax);
    const many = (name: "ring" | "delete", most: number) =>
      [0, 1, most, most + 1].map((count) => of(name, Array.from({ length: count })));
    expect(many("ring", limits.queueMessagesMax)).toEqual([0, 1, 1, 2]);
    expect(many("delete", limits.r2DeleteKeysMax)).toEqual([0, 1, 1, 2]);
    for (const name of ["list", "outcomes", "rows", "save", "tally"] as const) {
      expect(of(name)).toBe(1);
    }
  });
});
