/** Rows that the audit misses, at one reading and at the next: which are read again, how often, and what is reported. */
import { describe, expect, test } from "vitest";
import { DAY_MS } from "../../shared/limits.ts";
import { idOfKey, keyOfMinute, type PayloadKey } from "../../shared/payload-key.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import { noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const { secondReadingMs } = reconcileSettings;

/** So many stored payloads of one minute, in a complete hour that the audit has not read. */
function stored(count: number, arrival = noon - 100 * minuteMs) {
  const world = new ReconcileWorld();
  world.run(noon - 120 * minuteMs);
  const keys = Array.from({ length: count }, (_, n) => world.stored(arrival, n)).sort();
  world.run(noon - 60 * minuteMs);
  return { world, keys };
}

function lose(world: ReconcileWorld, keys: readonly PayloadKey[]): void {
  for (const key of keys) {
    world.rows.delete(idOfKey(key));
  }
}

/** The audit's reading at five past noon, and so many more, each when it is due. */
function readings(world: ReconcileWorld, count: number, from = 0): void {
  for (let n = from; n < from + count; n++) {
    world.run(noon + 5 * minuteMs + n * secondReadingMs);
  }
}

const lostRows = (world: ReconcileWorld) => world.reported.filter(({ kind }) => kind === "lost_rows");

describe("the audit", () => {
  test("asks for the receipts of an id only where one copy of rows does not settle it", () => {
    const { world, keys } = stored(3);
    readings(world, 1);
    expect([world.count("storedReceipts"), world.count("receiptsOfIds")]).toEqual([1, 0]);
    const [first] = keys;
    world.checkpoint = world.checkpoint && { ...world.checkpoint, auditAfter: "" };
    world.rows.set(idOfKey(first ?? never()), [{ day: Math.floor(noon / DAY_MS), rows: 4 }]);
    world.run(noon + 6 * minuteMs);
    expect(world.count("receiptsOfIds")).toBe(1);
  });

  test("asks nothing of an hour in which nothing arrived, up to the minute behind the newest payload", () => {
    const { world } = stored(1, noon - 61 * minuteMs);
    world.run(noon - 50 * minuteMs);
    expect(world.count("storedReceipts")).toBe(1);
    // It has come to 11:00, where the minute of the newest payload ends.
    world.run(noon + 10 * minuteMs);
    expect(world.count("storedReceipts")).toBe(0);
  });

  test("an erased payload's rows are deleted again while there is an object, and otherwise reported", () => {
    for (const isKept of [true, false]) {
      const { world, keys } = stored(1);
      const [key = never()] = keys;
      const rows = world.rows.get(idOfKey(key)) ?? [];
      // Another key of the id is stored still: that is what the audit reads.
      world.end(keyOfMinute(key, "2026-11-24T1021"), "erased");
      world.rows.set(idOfKey(key), [{ day: Math.floor(noon / DAY_MS), rows: 4 }]);
      expect(rows).not.toEqual([]);
      if (!isKept) {
        world.objects.clear();
      }
      readings(world, 1);
      expect(world.notified.map((doorbell) => doorbell.key)).toEqual(isKept ? [key] : []);
      expect(world.reported.map(({ kind }) => kind)).toEqual(isKept ? [] : ["inexact"]);
    }
  });

  test("of an id with many keys the newest are looked for, in whatever order their receipts come", () => {
    const { world, keys } = stored(1);
    const [key = never()] = keys;
    const newest = keyOfMinute(key, "2026-11-24T1030");
    const middle = keyOfMinute(key, "2026-11-24T1025");
    world.end(newest, "duplicate");
    world.end(middle, "duplicate");
    world.rows.clear();
    world.objects.clear();
    world.objects.add(middle);
    world.objects.add(newest);
    const newestOnly = { headsMax: 1 };
    world.run(noon + 5 * minuteMs, newestOnly);
    world.run(noon + 5 * minuteMs + secondReadingMs, newestOnly);
    expect(world.notified.map((doorbell) => doorbell.key)).toEqual([newest]);
  });
});

describe("a payload that two readings miss", () => {
  test("is reported once, however often it is asked for again", () => {
    const { world, keys } = stored(1);
    lose(world, keys);
    readings(world, 5);
    expect(world.notified.length).toBeGreaterThan(2);
    expect(lostRows(world)).toHaveLength(1);
  });

  test("is asked for a bounded number of times, and then left to the deletion's look", () => {
    const { world, keys } = stored(1);
    lose(world, keys);
    const { doubtTriesMax } = reconcileSettings;
    readings(world, doubtTriesMax + 10);
    expect(world.notified).toHaveLength(doubtTriesMax + 1);
    expect(world.checkpoint?.doubts).toEqual([]);
  });

  test("is doubted once, although its page is read again meanwhile", () => {
    const { world, keys } = stored(2);
    lose(world, keys.slice(0, 1));
    readings(world, 1);
    lose(world, keys.slice(1));
    world.checkpoint = world.checkpoint && { ...world.checkpoint, auditAfter: "" };
    world.run(noon + 6 * minuteMs);
    const doubted = world.checkpoint?.doubts.map((doubt) => doubt.kind === "keys" && doubt.keys);
    expect(doubted).toEqual([keys.slice(0, 1), keys.slice(1)]);
  });
});

describe("a page under the brake", () => {
  test("each of its payloads is reported when it is asked for", () => {
    const { world, keys } = stored(400);
    lose(world, keys.slice(0, 3));
    readings(world, 3);
    const [first] = keys;
    expect(lostRows(world)).toMatchObject([{ subject: first, severity: "warning" }]);
  });

  test("is released where the second reading misses only a few, which are then reported", () => {
    const { world, keys } = stored(400);
    lose(world, keys.slice(0, 3));
    readings(world, 1);
    for (const key of keys.slice(1, 3)) {
      world.end(key, "stored");
    }
    readings(world, 3, 1);
    expect(lostRows(world)).toMatchObject([{ subject: keys[0], state: "resolved" }]);
    expect(world.reported.filter(({ kind }) => kind === "rows_missing")).toEqual([]);
  });

  test("what its second reading finds is read on to its end, page by page", () => {
    const { world, keys } = stored(12);
    lose(world, keys.slice(7, 10));
    // The audit reads all of it at once; the readings that follow take five receipts each.
    readings(world, 1);
    for (let n = 1; n < 8; n++) {
      world.run(noon + 5 * minuteMs + n * secondReadingMs, { pageKeys: 5 });
    }
    expect(world.reported[0]).toMatchObject({ kind: "rows_missing", state: "open" });
    const notified = new Set(world.notified.map((doorbell) => doorbell.key));
    expect([...notified]).toEqual(keys.slice(7, 8));
  });

  test("waits while another page is brought back", () => {
    const { world, keys } = stored(12);
    lose(world, keys);
    const pages = { pageKeys: 6 };
    for (let n = 0; n < 6; n++) {
      world.run(noon + 5 * minuteMs + n * secondReadingMs, pages);
    }
    expect(world.checkpoint?.doubts.map(({ kind }) => kind)).toEqual(["page", "page"]);
    // Of the second page nothing is asked for before the first one is over.
    expect(new Set(world.notified.map((doorbell) => doorbell.key))).toEqual(new Set(keys.slice(0, 1)));
    for (const key of keys.slice(0, 6)) {
      world.end(key, "stored");
    }
    for (let n = 6; n < 12; n++) {
      world.run(noon + 5 * minuteMs + n * secondReadingMs, pages);
    }
    expect(world.notified.at(-1)?.key).toBe(keys[6]);
  });
});

function never(): never {
  throw new Error("the world has it");
}
