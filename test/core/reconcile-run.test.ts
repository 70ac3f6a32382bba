import { describe, expect, test } from "vitest";
import { DAY_MS } from "../../shared/limits.ts";
import { idOfKey, keyOfMinute, minuteOfKey } from "../../shared/payload-key.ts";
import { minutesToNote } from "../../shared/reconcile/changed-minutes.ts";
import { beforeMinute, opened, startOfMinute, watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import { minutesAgo, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** A world whose reconciler has run once, with nothing there, `minutes` before noon. */
function begun(minutes = 60): ReconcileWorld {
  const world = new ReconcileWorld();
  world.run(noon - minutes * minuteMs);
  return world;
}

describe("sealing", () => {
  test("a minute whose payloads have all ended is sealed five minutes after its end, with its counts", () => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    world.end(world.put(minutesAgo(6), 2), "dead");
    world.stored(minutesAgo(6), 3, "other");
    world.stored(minutesAgo(5), 4); // ended four minutes ago: too young
    expect(world.run(noon)).toMatchObject({ sealed: 1, openMinutes: 0, notified: 0 });
    expect([...world.minutes.values()]).toMatchObject([
      { tenant: "acme", sealed: true, accepted: 2, stored: 1, dead: 1, spans: 2 },
      { tenant: "other", sealed: true, accepted: 1, stored: 1 },
    ]);
    expect(world.watermark).toEqual({ watermark: noon - 5 * minuteMs, openMinutes: 0 });
  });

  test("a sealed minute whose receipts changed is sealed anew, one that is open waits for its walk", () => {
    const world = begun();
    const dead = world.put(minutesAgo(7), 1);
    world.end(dead, "dead");
    const open = world.put(minutesAgo(6), 2);
    world.held.add(idOfKey(open));
    world.run(noon);
    world.end(dead, "stored");
    const changed = [7, 6].map((stamp) => ({ minute: startOfMinute(minutesAgo(stamp)), stamp }));
    world.changed = changed;
    expect(world.run(noon + 1000)).toMatchObject({ sealed: 0, sealedAnew: 1, openMinutes: 1 });
    expect([...world.minutes.values()]).toMatchObject([{ sealed: true, accepted: 1, stored: 1, dead: 0 }]);
    expect(world.changed).toEqual(changed.slice(1));
    world.run(noon + 2000);
    expect(world.count("tally"), "nothing is asked about what is open").toBe(0);
  });

  test("what is noted is what may be sealed when its receipts are written, and each erasure", () => {
    const key = (minutes: number) => new ReconcileWorld().put(minutesAgo(minutes), minutes);
    const receipts = [10, 4, 3, 2, 0].map((minutes) => ({ key: key(minutes), outcome: "stored" as const }));
    const { ageMs } = reconcileSettings;
    expect(minutesToNote(receipts, noon, ageMs)).toEqual(
      [10, 4].map((minutes) => startOfMinute(minutesAgo(minutes))),
    );
    const erased = [{ key: key(0), outcome: "erased" as const }];
    expect(minutesToNote(erased, noon, ageMs)).toEqual([startOfMinute(minutesAgo(0))]);
  });

  test("the watermark moves over empty minutes, without a question to ClickHouse", () => {
    const world = begun();
    const { watermark } = world.run(noon);
    expect(watermark).toBe(noon - 5 * minuteMs);
    expect(new Set(world.effects)).toEqual(new Set(["beginRun", "list", "save", "endRun"]));
  });

  test("a day without cron is caught up in bounded runs, none of which loses its place", () => {
    const world = begun(24 * 60);
    for (let minute = 24 * 60 - 10; minute >= 6; minute--) {
      world.stored(minutesAgo(minute), minute);
    }
    const subrequests = { ...reconcileSettings.subrequests, fresh: 1000 };
    const settings = { listCalls: { fresh: 3, open: 1, again: 1, delete: 1 }, pageKeys: 50, subrequests };
    let runs = 0;
    for (let now = noon; watermarkOf(world.checkpoint ?? never()) < noon - 5 * minuteMs; now += 100) {
      world.run(now, settings);
      expect(world.count("list")).toBeLessThanOrEqual(6);
      runs += 1;
    }
    expect(runs).toBe(Math.ceil((24 * 60 - 15) / 150));
    expect([...world.minutes.values()].filter(({ sealed }) => sealed)).toHaveLength(24 * 60 - 15);
  }, 20_000);

  test("what outlives its receipt moves no watermark back: a dead letter in silence, another reported once", () => {
    const world = begun();
    const dead = world.put(minutesAgo(6), 1);
    world.end(dead, "dead");
    const other = world.put(minutesAgo(6), 2);
    const another = world.put(minutesAgo(6), 3);
    for (const key of [other, another]) {
      world.end(key, "dead");
      world.records.delete(key);
    }
    let watermark = 0;
    for (let now = noon; now < noon + 45 * DAY_MS; now += hourMs) {
      if (now - minutesAgo(6) > 37 * DAY_MS) {
        world.receipts.clear();
      }
      const report = world.run(now);
      expect(report).toMatchObject({ notified: 0, openMinutes: 0 });
      expect(report.watermark).toBeGreaterThanOrEqual(watermark);
      ({ watermark } = report);
    }
    expect(world.reported).toMatchObject([
      { kind: "late_put", subject: other },
      { kind: "late_put", subject: another },
    ]);
    expect(world.objects.size).toBe(3);
    // A lost checkpoint begins with them, and is not stopped by them.
    world.checkpoint = null;
    expect(world.run(noon + 46 * DAY_MS)).toMatchObject({ notified: 0, openMinutes: 0 });
  });

  test("a payload that never ended keeps its minute open, and is notified, past the age of receipts", () => {
    const world = begun();
    world.put(minutesAgo(6), 1);
    for (let now = noon; now < noon + 40 * DAY_MS; now += 12 * hourMs) {
      expect(world.run(now)).toMatchObject({ openMinutes: 1 });
    }
    expect(world.notified.at(-1)).toBeDefined();
    expect(world.run(noon + 41 * DAY_MS).notified).toBeGreaterThan(0);
  });

  test.each([
    ["empty", 0],
    ["short", 1],
  ])("an %s page with more to come is no end, in no stage", (_, keys) => {
    // Each call of every other answers so little.
    const world = begun();
    world.pageOf = (call) => (call % 2 === 0 ? keys : 1000);
    const lost = world.stored(minutesAgo(6), 1);
    const gone = world.stored(minutesAgo(6), 2);
    world.put(minutesAgo(7), 3);
    world.receipts.delete(lost);
    expect(world.run(noon)).toMatchObject({ notified: 2, openMinutes: 2 });
    world.end(lost, "stored");
    world.stored(minutesAgo(7), 3);
    expect(world.run(noon + 2 * hourMs)).toMatchObject({ sealed: 2, openMinutes: 0 });
    world.receipts.delete(gone);
    expect(world.run(noon + 26 * hourMs)).toMatchObject({ notified: 1, openMinutes: 1 });
    world.end(gone, "stored");
    world.run(noon + 28 * hourMs);
    world.run(noon + 8 * DAY_MS);
    expect(world.objects.size).toBe(0);
    world.checkpoint = null;
    world.put(minutesAgo(90), 4);
    expect(world.run(noon + 9 * DAY_MS)).toMatchObject({ openMinutes: 1 });
  });

  test("keys that are no payload's are passed over, within a budget of calls, and count as progress", () => {
    const world = begun(120);
    const key = world.put(minutesAgo(60), 1);
    for (let n = 0; n < 40; n++) {
      world.foreign.add(`${key.slice(0, key.lastIndexOf("/"))}/!${String(n).padStart(2, "0")}`);
    }
    const settings = { listCalls: { fresh: 3, open: 3, again: 3, delete: 3 }, pageKeys: 5 };
    world.checkpoint = {
      ...(world.checkpoint ?? never()),
      open: [opened(minutesAgo(60) - 1000, noon)],
      from: noon - 300_000,
    };
    let runs = 0;
    while (world.notified.length === 0 && runs < 9) {
      runs += 1;
      world.run(noon, settings);
    }
    expect(world.notified.map((doorbell) => doorbell.key)).toEqual([key]);
    expect(runs).toBe(3);
  });

  test("a minute larger than a run's budget is joined page by page, and sealed by a later run", () => {
    const world = begun();
    for (let n = 0; n < 2345; n++) {
      world.stored(minutesAgo(7), n);
    }
    world.stored(minutesAgo(6), 9999);
    const settings = { listCalls: { fresh: 5, open: 5, again: 1, delete: 1 }, pageKeys: 100 };
    let runs = 0;
    for (let now = noon; world.minutes.size < 2; now += 1000) {
      world.run(now, settings);
      runs += 1;
    }
    expect(world.largestPage).toBe(100);
    expect(runs).toBe(4); // the first does ten pages of it, each later one five
    expect([...world.minutes.values()].find(({ accepted }) => accepted === 2345)?.sealed).toBe(true);
    expect(watermarkOf(world.checkpoint ?? never())).toBe(noon - 5 * minuteMs);
  });

  test("a minute that was half walked with the checksum of other bytes is walked again, and sealed", () => {
    const world = begun();
    for (let n = 0; n < 60; n++) {
      world.stored(minutesAgo(7), n);
    }
    const settings = { listCalls: { fresh: 2, open: 2, again: 1, delete: 1 }, pageKeys: 10 };
    world.run(noon, settings);
    const { checkpoint } = world;
    const [half] = checkpoint?.open ?? [];
    expect(half).toMatchObject({ minute: startOfMinute(minutesAgo(7)), listed: expect.any(Number) });
    expect(half?.after).not.toBe("");
    // As a consumer of before left it, whose checksum was of the ids' first bytes.
    world.checkpoint = { ...(checkpoint ?? never()), open: [{ ...(half ?? never()), checksum: "4711" }] };
    world.run(noon + 1000, settings);
    expect(world.minutes.size).toBe(0);
    expect(world.checkpoint?.open).toMatchObject([{ after: "", tries: 1, pending: 0 }]);
    for (let now = noon + hourMs; world.minutes.size === 0 && now < noon + 2 * hourMs; now += 1000) {
      world.run(now, settings);
    }
    expect([...world.minutes.values()]).toMatchObject([{ accepted: 60, sealed: true }]);
  });

  test("a page that is shorter than asked, with more to come, ends neither a minute nor what is notified, listed again or deleted", () => {
    const world = begun();
    world.listsAtMost = 4;
    const young = Array.from({ length: 10 }, (_, n) => world.put(minutesAgo(1), 100 + n));
    for (let n = 0; n < 30; n++) {
      world.stored(minutesAgo(6), n);
    }
    const lost = world.put(minutesAgo(6), 30); // the last of its minute in the order of keys
    expect(world.run(noon, {}, true)).toMatchObject({ sealed: 0, openMinutes: 1 });
    expect(new Set(world.notified.map(({ key }) => key))).toEqual(new Set([lost, ...young]));
    world.end(lost, "stored");
    expect(world.run(noon + 3 * minuteMs)).toMatchObject({ sealed: 1, openMinutes: 0 });
    expect([...world.minutes.values()]).toMatchObject([{ accepted: 31, sealed: true }]);
    for (const key of young) {
      world.end(key, "stored");
    }
    const late = world.put(minutesAgo(6), 31);
    world.run(noon + reconcileSettings.againMs);
    expect(world.notified.map(({ key }) => key)).toContain(late);
    world.end(late, "stored");
    world.run(noon + reconcileSettings.againMs + hourMs);
    world.run(noon + reconcileSettings.retentionMs + 3 * hourMs);
    world.run(noon + reconcileSettings.retentionMs + 5 * hourMs);
    expect(world.objects.size).toBe(0);
  });

  test("a minute is not sealed while the receipts count otherwise than the listing", () => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    const late = world.stored(minutesAgo(6), 2);
    const run = () => world.run(noon);
    const receipt = world.receipts.get(late) ?? never();
    // The receipt is seen by the join and gone when the minute is counted.
    const outcomes = world.receipts.get.bind(world.receipts);
    world.receipts.get = (key) => {
      const found = outcomes(key);
      world.receipts.delete(late);
      return key === late ? receipt : found;
    };
    expect(run()).toMatchObject({ sealed: 0, openMinutes: 1 });
  });

  test("nor while as many receipts are of other payloads than were listed", () => {
    const world = begun();
    const listed = world.stored(minutesAgo(6), 1);
    const other = world.stored(minutesAgo(6), 2);
    world.objects.delete(other);
    // The join sees the receipt of what is listed, and the count that of the other.
    const read = world.receipts.get.bind(world.receipts);
    world.receipts.get = (key) => {
      const found = read(key);
      world.receipts.delete(listed);
      return found;
    };
    expect(world.run(noon)).toMatchObject({ sealed: 0, openMinutes: 1 });
  });

  test("a checkpoint that was lost begins with the first payload that R2 holds", () => {
    const world = new ReconcileWorld();
    world.held.add(idOfKey(world.put(minutesAgo(300), 1)));
    world.held.add(idOfKey(world.put(minutesAgo(200), 2)));
    world.run(noon);
    expect(watermarkOf(world.checkpoint ?? never())).toBe(noon - 300 * minuteMs);
  });
});

describe("the third ring", () => {
  test("rings what has no receipt and nobody holds, and leaves what is held", () => {
    const world = begun();
    const lost = world.put(minutesAgo(6), 1);
    const held = world.put(minutesAgo(6), 2);
    world.held.add(idOfKey(held));
    world.stored(minutesAgo(6), 3);
    expect(world.run(noon)).toMatchObject({ listed: 3, held: 1, notified: 1, sealed: 0, openMinutes: 1 });
    expect(world.notified.map(({ key, cause }) => [key, cause])).toEqual([[lost, "reconcile"]]);
    expect(watermarkOf(world.checkpoint ?? never())).toBe(noon - 6 * minuteMs);
  });

  test("asks the queue nothing where nothing is lost", () => {
    const world = begun();
    world.held.add(idOfKey(world.put(minutesAgo(6), 1)));
    expect(world.run(noon)).toMatchObject({ held: 1, notified: 0 });
    expect(world.count("ring")).toBe(0);
  });

  test("what ended between the two questions is not notified", () => {
    const world = begun();
    const key = world.put(minutesAgo(6), 1);
    const has = world.held.has.bind(world.held);
    world.held.has = (id) => {
      world.end(key, "stored"); // the group finishes while the ledger is asked
      return has(id);
    };
    expect(world.run(noon)).toMatchObject({ notified: 0, sealed: 1 });
  });

  test("an open minute is walked again with back-off, and sealed once everything has ended", () => {
    const world = begun();
    const key = world.put(minutesAgo(6), 1);
    world.held.add(idOfKey(key));
    world.run(noon);
    world.run(noon + 30_000);
    expect(world.count("outcomes")).toBe(0); // not due yet
    world.run(noon + minuteMs);
    expect(world.count("outcomes")).toBe(1);
    world.run(noon + 2 * minuteMs);
    expect(world.count("outcomes")).toBe(0); // the second wait is two minutes
    world.end(key, "stored");
    expect(world.run(noon + 3 * minuteMs)).toMatchObject({ sealed: 1, openMinutes: 0 });
  });

  test("a minute that cannot be sealed starves none of the others", () => {
    const world = begun();
    const pinned = world.put(minutesAgo(30), 1);
    world.held.add(idOfKey(pinned));
    for (let minute = 29; minute >= 6; minute--) {
      world.stored(minutesAgo(minute), 100 + minute);
    }
    const settings = { listCalls: { fresh: 1, open: 1, again: 1, delete: 1 }, pageKeys: 5 };
    for (let now = noon; now < noon + 20 * minuteMs; now += minuteMs) {
      world.run(now, settings);
    }
    expect(world.minutes.size).toBe(24);
    expect(world.checkpoint?.open.map(({ example }) => example)).toEqual([pinned]);
  });

  test("a duplicate is missing while no other key of its id has ended", () => {
    const world = begun();
    const owner = world.put(minutesAgo(8), 1);
    const duplicate = keyOfMinute(owner, minuteOfKey(world.put(minutesAgo(7), 2)));
    world.objects.add(duplicate);
    world.end(duplicate, "duplicate");
    world.end(world.put(minutesAgo(7), 2), "stored");
    world.run(noon);
    expect(world.notified.map(({ key }) => key).sort()).toEqual([owner, duplicate].sort());
    world.end(owner, "stored");
    expect(world.run(noon + minuteMs)).toMatchObject({ notified: 0, openMinutes: 0 });
  });

  test("asked by a person, it rings young payloads too and seals none of them", () => {
    const world = begun();
    const young = world.put(minutesAgo(0), 1);
    expect(world.run(noon)).toMatchObject({ notified: 0 });
    world.held.add(idOfKey(world.put(minutesAgo(0), 2)));
    expect(world.run(noon, {}, true)).toMatchObject({ listed: 2, held: 1, notified: 1, sealed: 0 });
    expect(world.notified[0]?.key).toBe(young);
  });
});

describe("the second listing", () => {
  const again = noon + reconcileSettings.againMs;

  test("a put that landed after the seal is notified a day later, and its minute opened until it has ended", () => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    world.run(noon);
    const late = world.put(minutesAgo(6), 2);
    world.run(noon + hourMs);
    expect(world.notified).toEqual([]); // only a listing shows it
    world.run(again);
    expect(world.notified.map(({ key }) => key)).toEqual([late]);
    expect(world.reported).toMatchObject([{ kind: "late_put", subject: late }]);
    expect([...world.minutes.values()][0]).toMatchObject({ sealed: false });
    expect(world.watermark?.watermark).toBe(noon - 6 * minuteMs);
    world.end(late, "stored");
    world.run(again + minuteMs);
    expect([...world.minutes.values()][0]).toMatchObject({ sealed: true, accepted: 2 });
    expect(watermarkOf(world.checkpoint ?? never())).toBeGreaterThan(noon);
  });

  test("such a payload that the ledger holds already is counted as held, and its minute opened", () => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    world.run(noon);
    world.held.add(idOfKey(world.put(minutesAgo(6), 2)));
    expect(world.run(again)).toMatchObject({ held: 1, notified: 0, openMinutes: 1 });
  });

  test("so is one that landed in a minute that had been empty", () => {
    const world = begun();
    world.run(noon);
    const late = world.put(minutesAgo(20), 2);
    world.run(again);
    expect(world.notified.map(({ key }) => key)).toEqual([late]);
    expect(watermarkOf(world.checkpoint ?? never())).toBe(noon - 20 * minuteMs);
  });

  test("a minute that is listed again on its own is listed on where a run's calls ended", () => {
    const world = begun();
    const key = world.put(minutesAgo(6), 0);
    world.held.add(idOfKey(key));
    world.run(noon);
    world.run(again);
    world.end(key, "stored");
    world.run(again + hourMs);
    for (let n = 1; n < 30; n++) {
      world.stored(minutesAgo(6), n);
    }
    const late = world.put(minutesAgo(6), 30);
    const settings = { listCalls: { fresh: 5, open: 5, again: 2, delete: 1 }, pageKeys: 5 };
    let runs = 0;
    for (let now = again + hourMs + reconcileSettings.againMs; world.notified.length === 0; now += minuteMs) {
      expect(runs, "every run begins where the last one ended").toBeLessThan(9);
      world.run(now, settings);
      runs += 1;
    }
    expect(runs).toBeGreaterThan(2);
    expect(world.notified.map(({ key: notified }) => notified)).toEqual([late]);
  });

  test("a minute that was sealed more than a day late is listed again on its own", () => {
    const world = begun();
    const key = world.put(minutesAgo(6), 1);
    world.held.add(idOfKey(key));
    world.run(noon);
    world.run(again);
    world.end(key, "stored");
    world.run(again + hourMs);
    expect(world.checkpoint?.open).toEqual([]);
    const late = world.put(minutesAgo(6), 2);
    world.run(again + hourMs + reconcileSettings.againMs - minuteMs);
    expect(world.notified).toEqual([]);
    world.run(again + hourMs + reconcileSettings.againMs);
    expect(world.notified.map(({ key: notified }) => notified)).toEqual([late]);
    expect(world.checkpoint?.again).toEqual([]);
    expect([...world.minutes.values()]).toMatchObject([{ sealed: false, accepted: 1 }]);
  });
});

describe("the audit", () => {
  function audited(break_: (world: ReconcileWorld) => void): ReconcileWorld {
    const world = begun(120);
    world.stored(noon - 100 * minuteMs, 1);
    world.run(noon - 60 * minuteMs);
    break_(world);
    world.run(noon + 5 * minuteMs);
    world.run(noon + 5 * minuteMs + reconcileSettings.secondReadingMs);
    return world;
  }
  const key = (world: ReconcileWorld) => [...world.receipts.keys()][0] ?? never();

  test("rows that are as claimed are nobody's concern", () => {
    const world = begun(120);
    world.stored(noon - 100 * minuteMs, 1);
    world.run(noon + 5 * minuteMs);
    expect(world.count("storedReceipts")).toBeGreaterThan(0);
    expect(world.reported).toEqual([]);
    expect(world.notified).toEqual([]);
  });

  test("rows that the table lost are brought back while R2 keeps the object", () => {
    const world = audited((it) => it.rows.clear());
    expect(world.notified.map(({ cause }) => cause)).toEqual(["audit"]);
    expect(world.reported).toMatchObject([{ kind: "lost_rows", severity: "warning" }]);
  });

  test("an hour of several pages is audited to its last receipt, over several runs where a run ends before", () => {
    const world = begun(120);
    const keys = Array.from({ length: 12 }, (_, n) => world.stored(noon - 100 * minuteMs, n));
    world.run(noon - 60 * minuteMs);
    const last = keys.sort().at(-1) ?? never();
    world.rows.delete(idOfKey(last));
    // Two pages a run, of the three that the hour has; a page that is full may be the last one.
    for (const pageKeys of [5, 4]) {
      const reported = world.reported.length;
      world.checkpoint = { ...(world.checkpoint ?? never()), auditAfter: "" };
      world.run(noon + 5 * minuteMs, { pageKeys, auditPages: 2 });
      expect(world.reported).toHaveLength(reported);
      world.run(noon + 6 * minuteMs, { pageKeys, auditPages: 2 });
      world.run(noon + 9 * minuteMs, { pageKeys, auditPages: 2 });
      expect(world.reported.slice(reported)).toMatchObject([{ kind: "lost_rows", subject: last }]);
      world.run(noon + 10 * minuteMs, { pageKeys, auditPages: 2 });
      world.checkpoint = { ...(world.checkpoint ?? never()), doubts: [] };
      expect(world.reported).toHaveLength(reported + 1);
    }
  });

  test("rows that only one reading misses are nobody's concern", () => {
    const world = begun(120);
    const one = world.stored(noon - 100 * minuteMs, 1);
    const rows = world.rows.get(idOfKey(one)) ?? [];
    world.run(noon - 60 * minuteMs);
    world.rows.clear(); // a replica that lags is read
    world.run(noon + 5 * minuteMs);
    expect(world.notified).toEqual([]);
    world.rows.set(idOfKey(one), rows);
    world.run(noon + 8 * minuteMs);
    world.run(noon + 11 * minuteMs);
    expect([world.notified, world.reported, world.checkpoint?.doubts]).toEqual([[], [], []]);
  });

  test("a payload whose rows are missing is not notified again while the ledger holds it, and a later reading ends the doubt", () => {
    const world = audited((it) => it.rows.clear());
    world.held.add(idOfKey(key(world)));
    world.run(noon + 11 * minuteMs);
    expect(world.notified).toHaveLength(1);
    world.held.clear();
    world.end(key(world), "stored");
    world.run(noon + 14 * minuteMs);
    expect(world.notified).toHaveLength(1);
    expect(world.checkpoint?.doubts).toEqual([]);
  });

  describe("the brake: more than 5 in 1,000 of a page missing, and at least 3", () => {
    /** 400 payloads of one minute, of which so many lost their rows; the audit has read them once. */
    function braked(lost: number) {
      const world = begun(120);
      const keys = Array.from({ length: 400 }, (_, n) => world.stored(noon - 100 * minuteMs, n)).sort();
      world.run(noon - 60 * minuteMs);
      const missing = keys.slice(0, lost);
      for (const one of missing) {
        world.rows.delete(idOfKey(one));
      }
      let now = noon + 5 * minuteMs;
      const next = () => {
        world.run(now);
        now += reconcileSettings.secondReadingMs;
      };
      next();
      return { world, missing, next };
    }
    const rungOf = (world: ReconcileWorld) => world.notified.map((doorbell) => doorbell.key);

    test("two are notified after the second reading, three are not", () => {
      const two = braked(2);
      two.next();
      expect(rungOf(two.world)).toEqual(two.missing);
      const three = braked(3);
      three.next();
      expect(three.world.notified).toEqual([]);
      expect(three.world.reported).toMatchObject([{ kind: "rows_missing", severity: "page", state: "open" }]);
      expect(three.world.reported[0]?.message).toContain("3 of 400");
    });

    test("what the second reading finds there again is not reported", () => {
      const { world, missing, next } = braked(100);
      for (const one of missing) {
        world.end(one, "stored");
      }
      next();
      expect([world.notified, world.reported, world.checkpoint?.doubts]).toEqual([[], [], []]);
    });

    test("then they are notified one at a time, each when the one before is seen to be there", () => {
      const { world, missing, next } = braked(4);
      next();
      next();
      expect(rungOf(world)).toEqual(missing.slice(0, 1));
      world.held.add(idOfKey(missing[0] ?? never()));
      next();
      expect(rungOf(world)).toEqual(missing.slice(0, 1));
      world.held.clear();
      for (const [index, one] of missing.entries()) {
        expect(rungOf(world)).toEqual(missing.slice(0, index + 1));
        world.end(one, "stored");
        next();
      }
      expect(rungOf(world)).toEqual(missing);
      expect(world.checkpoint?.doubts).toEqual([]);
      const [opened, resolved] = world.reported.filter(({ kind }) => kind === "rows_missing");
      expect(resolved).toMatchObject({
        state: "resolved",
        subject: opened?.subject,
        openedAt: opened?.openedAt,
      });
    });

    test("rows that come back behind a re-insert are reported, and nothing more is inserted", () => {
      const { world, missing, next } = braked(50);
      next();
      next();
      const [first] = rungOf(world);
      // All are attached again, and the one that was notified is there twice.
      for (const one of missing) {
        world.end(one, "stored");
      }
      world.rows.set(idOfKey(first ?? never()), [{ day: Math.floor(noon / DAY_MS), rows: 4 }]);
      next();
      next();
      expect(world.notified).toHaveLength(1);
      expect(world.reported).toContainEqual(expect.objectContaining({ kind: "inexact", subject: first }));
      expect(world.checkpoint?.doubts).toEqual([]);
    });

    test("the deletion round has it too", () => {
      const world = begun(120);
      const keys = Array.from({ length: 20 }, (_, n) => world.stored(noon - 100 * minuteMs, n));
      world.run(noon);
      world.run(noon + 2 * DAY_MS);
      world.rows.clear();
      world.run(noon + reconcileSettings.retentionMs);
      world.run(noon + reconcileSettings.retentionMs + reconcileSettings.secondReadingMs);
      expect(world.notified).toEqual([]);
      expect(world.reported).toMatchObject([{ kind: "rows_missing" }]);
      expect(world.objects.size).toBe(keys.length);
    });

    test("what a run reads again is bounded, and the audit waits where too much is doubted", () => {
      const world = begun(120);
      for (let n = 0; n < 400; n++) {
        world.stored(noon - 100 * minuteMs, n);
      }
      world.run(noon - 60 * minuteMs);
      world.rows.clear();
      const settings = { pageKeys: 10, auditPages: 30, doubtsMax: 12, doubtsARun: 4 };
      world.run(noon + 5 * minuteMs, settings);
      expect(world.checkpoint?.doubts).toHaveLength(12);
      const place = world.checkpoint?.auditAfter;
      world.run(noon + 8 * minuteMs, settings);
      expect(world.reported).toHaveLength(4);
      expect(world.checkpoint?.auditAfter).toBe(place);
      expect(place).not.toBe(beforeMinute(noon));
    });
  });

  test("rows that are lost for good are reported", () => {
    const world = audited((it) => {
      it.rows.clear();
      it.objects.clear();
    });
    expect(world.notified).toEqual([]);
    expect(world.reported).toMatchObject([{ kind: "lost_rows", severity: "page", state: "open" }]);
  });

  test("a second copy is reported, and one per stored key is exact", () => {
    const twice = (it: ReconcileWorld) =>
      it.rows.set(idOfKey(key(it)), [{ day: Math.floor(noon / DAY_MS), rows: 4 }]);
    expect(audited(twice).reported).toMatchObject([{ kind: "inexact" }]);
    const exact = audited((it) => {
      twice(it);
      const second = keyOfMinute(key(it), "2026-11-24T1030");
      it.objects.add(second);
      it.end(second, "stored");
      twice(it);
    });
    expect(exact.reported).toEqual([]);
  });

  test("an erased payload's rows are not missed", () => {
    const world = audited((it) => {
      it.rows.clear();
      it.end(key(it), "erased");
    });
    expect(world.reported).toEqual([]);
  });
});

describe("deletion", () => {
  const week = reconcileSettings.retentionMs;

  test("rows that were lost after their audit are missed when their payload is to go, and brought back", () => {
    const world = old((it) => it.stored(minutesAgo(6), 1));
    world.run(noon + 3 * DAY_MS);
    world.rows.clear();
    world.run(noon + 4 * DAY_MS);
    expect(world.notified).toEqual([]);
    world.run(noon + week + hourMs);
    expect(world.notified).toEqual([]);
    world.run(noon + week + hourMs + 3 * minuteMs);
    expect(world.notified.map(({ cause }) => cause)).toEqual(["audit"]);
    expect(world.objects.size).toBe(1);
  });

  test("the key that is stored is the one that is missed, whatever other keys its id has", () => {
    let duplicate = "";
    const world = old((it) => {
      const key = it.stored(minutesAgo(6), 1);
      const other = keyOfMinute(key, "2026-11-24T1150");
      it.objects.add(other);
      it.end(other, "duplicate");
      duplicate = other;
      it.receipts.set(key, it.receipts.get(key) ?? never());
    });
    const [stored] = [...world.receipts.values()].filter(({ outcome }) => outcome === "stored");
    // The duplicate's receipt is read first.
    const receipts = [...world.receipts].sort(([a], [b]) => (a < b ? -1 : 1));
    world.receipts.clear();
    for (const [key, receipt] of receipts) {
      world.receipts.set(key, receipt);
    }
    world.run(noon + 3 * DAY_MS);
    world.rows.clear();
    world.run(noon + week + hourMs);
    expect(duplicate < (stored?.key ?? "")).toBe(true);
    expect(world.checkpoint?.doubts).toMatchObject([{ kind: "keys", keys: [stored?.key] }]);
  });

  test("a second copy of rows is reported before its object would go, and keeps it", () => {
    const world = old((it) => it.stored(minutesAgo(6), 1));
    world.run(noon + 3 * DAY_MS);
    const [key] = world.receipts.keys();
    world.rows.set(idOfKey(key ?? never()), [{ day: Math.floor(noon / DAY_MS), rows: 4 }]);
    expect(world.run(noon + week + hourMs)).toMatchObject({ deleted: 0 });
    expect(world.reported).toMatchObject([{ kind: "inexact", subject: key }]);
  });

  test("a payload whose rows had expired goes, and is not missed", () => {
    const world = old((it) => {
      const key = it.stored(minutesAgo(6), 1);
      it.end(key, "expired");
      it.rows.delete(idOfKey(key));
    });
    world.run(noon + week + hourMs);
    expect(world.notified).toEqual([]);
    expect(world.objects.size).toBe(0);
  });

  test("an erasure that was stopped behind its receipts is notified before its object goes", () => {
    const world = old((it) => it.end(it.stored(minutesAgo(6), 1), "erased"));
    world.run(noon + week + hourMs);
    expect(world.notified.map(({ cause }) => cause)).toEqual(["audit"]);
    world.rows.clear();
    world.run(noon + week + 2 * hourMs);
    expect(world.objects.size).toBe(0);
  });

  /** A week on: everything was sealed in time. */
  function old(prepare: (world: ReconcileWorld) => void): ReconcileWorld {
    const world = begun();
    prepare(world);
    world.run(noon);
    world.run(noon + 2 * DAY_MS);
    return world;
  }

  test("a payload goes a week after it was stored, and not a minute before", () => {
    const world = old((it) => it.stored(minutesAgo(6), 1));
    world.run(noon + week - 7 * minuteMs);
    expect(world.objects.size).toBe(1);
    const { deleted } = world.run(noon + week + hourMs); // a round an hour
    expect(deleted).toBe(1);
    expect(world.objects.size).toBe(0);
  });

  test.each([
    ["is dead", (it: ReconcileWorld) => it.end(it.put(minutesAgo(6), 1), "dead")],
    [
      "was written down less than an hour ago",
      (it: ReconcileWorld) => it.end(it.put(minutesAgo(6), 1), "stored", noon + week - 30 * minuteMs),
    ],
    ["is held by the ledger", (it: ReconcileWorld) => it.held.add(idOfKey(it.stored(minutesAgo(6), 1)))],
    [
      "has lost its rows",
      (it: ReconcileWorld) => {
        it.stored(minutesAgo(6), 1);
        it.rows.clear();
      },
    ],
    [
      "has more rows than were claimed",
      (it: ReconcileWorld) => {
        const key = it.stored(minutesAgo(6), 1);
        it.rows.set(idOfKey(key), [{ day: Math.floor(noon / DAY_MS), rows: 3 }]);
      },
    ],
    [
      "is a duplicate of one that is dead",
      (it: ReconcileWorld) => {
        const owner = it.put(minutesAgo(8), 1);
        it.end(owner, "dead");
        it.objects.delete(owner);
        const duplicate = keyOfMinute(owner, "2026-11-24T1154");
        it.objects.add(duplicate);
        it.end(duplicate, "duplicate");
      },
    ],
    [
      "was erased, and still has rows",
      (it: ReconcileWorld) => {
        const key = it.stored(minutesAgo(6), 1);
        it.end(key, "erased");
      },
    ],
  ])("a payload stays that %s", (_, prepare) => {
    const world = old(prepare);
    const before = world.objects.size;
    world.run(noon + week);
    expect(before).toBe(1);
    expect(world.objects.size).toBe(1);
  });

  test("a duplicate goes with the key that is stored", () => {
    const world = old((it) => {
      const owner = it.stored(minutesAgo(8), 1);
      const duplicate = keyOfMinute(owner, "2026-11-24T1154");
      it.objects.add(duplicate);
      it.end(duplicate, "duplicate");
    });
    world.run(noon + week);
    expect(world.objects.size).toBe(0);
  });

  test("a payload without receipt, found by the last listing, is notified and not deleted", () => {
    const world = old((it) => it.stored(minutesAgo(6), 1));
    const late = world.put(minutesAgo(6), 2);
    world.run(noon + week);
    expect([...world.objects]).toContain(late);
    expect(world.notified.map(({ key }) => key)).toEqual([late]);
  });

  test("a dead payload that was replayed is deleted by a later round", () => {
    const world = old((it) => it.end(it.put(minutesAgo(6), 1), "dead"));
    world.run(noon + week);
    const [key] = world.objects;
    world.end(key ?? never(), "stored", noon + week);
    world.run(noon + week + 2 * hourMs);
    expect(world.objects.size).toBe(0);
  });
});

describe("a run that fails at any of its effects", () => {
  /** Everything at once: fresh minutes, a lost payload, a late put, lost rows, payloads to delete. */
  function busy(): ReconcileWorld {
    const world = begun();
    world.stored(minutesAgo(50), 1);
    world.stored(minutesAgo(49), 2);
    world.end(world.put(minutesAgo(49), 3), "dead");
    world.run(noon);
    world.put(minutesAgo(50), 4);
    world.put(noon + reconcileSettings.retentionMs - 10 * minuteMs, 5);
    world.stored(noon + reconcileSettings.retentionMs - 9 * minuteMs, 6);
    return world;
  }
  const later = noon + reconcileSettings.retentionMs;
  const effects = (() => {
    const world = busy();
    world.run(later);
    return world.effects.indexOf("endRun"); // where that fails the lease ends by itself
  })();

  test.each(["before", "after"] as const)("loses nothing, failing %s it", (when) => {
    expect(effects).toBeGreaterThan(15);
    const whole = busy();
    whole.run(later);
    whole.run(later + minuteMs);
    for (let effect = 0; effect < effects; effect++) {
      const world = busy();
      world.failAt = { effect, when };
      expect(() => world.run(later), `effect ${effect}`).toThrow("made to fail");
      world.failAt = null;
      world.run(later);
      world.run(later + minuteMs);
      expect([...world.objects].sort(), `effect ${effect}`).toEqual([...whole.objects].sort());
      expect(new Set(world.notified.map(({ key }) => key))).toEqual(
        new Set(whole.notified.map(({ key }) => key)),
      );
      expect(watermarkOf(world.checkpoint ?? never())).toBe(watermarkOf(whole.checkpoint ?? never()));
      expect(world.receipts).toEqual(whole.receipts);
      expect(new Set(world.reported.map(({ kind, subject }) => `${kind} ${subject}`))).toEqual(
        new Set(whole.reported.map(({ kind, subject }) => `${kind} ${subject}`)),
      );
    }
  });

  test("a lost checkpoint costs a long round, and deletes nothing that it would not have deleted", () => {
    const world = busy();
    world.run(later);
    world.checkpoint = null;
    world.run(later + minuteMs);
    world.run(later + 2 * minuteMs);
    const whole = busy();
    whole.run(later);
    expect([...world.objects].sort()).toEqual([...whole.objects].sort());
  });
});

describe("rows that cannot be established", () => {
  const lags = { table: "replicated /t", server: "r1", behind: "r1 lags", replicas: 2, upSeconds: 1 };

  test("hold up the audit and the deletion alone, and the checkpoint says since when and why", () => {
    const world = begun(8 * 24 * 60);
    const key = world.stored(minutesAgo(7 * 24 * 60 + 10), 1);
    world.witness = lags;
    const { auditAfter } = world.checkpoint ?? never();
    expect(world.run(noon)).toMatchObject({ sealed: 1, deleted: 0, openMinutes: 0 });
    expect(world.count("rows")).toBe(0);
    expect(world.checkpoint).toMatchObject({
      noEvidence: { since: noon, reason: "r1 lags" },
      auditAfter,
      ranAt: noon,
    });
    world.run(noon + 60_000);
    expect(world.checkpoint).toMatchObject({ noEvidence: { since: noon } });
    expect(world.objects.has(key)).toBe(true);
    expect(world.reported).toEqual([]);
    world.witness = { ...lags, behind: "" };
    world.run(noon + hourMs);
    expect(world.checkpoint).toMatchObject({ noEvidence: null });
    expect(world.objects.has(key)).toBe(false);
  });

  test("are those of another table than the ledger knows", () => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    world.knownTable = "plain 0 other";
    world.run(noon + 2 * hourMs);
    expect(world.checkpoint?.noEvidence?.reason).toContain("another table");
  });
});

test("a run that lost its lease in between says so, wherever it was", () => {
  const saves = (() => {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    expect(world.run(noon).overtaken).toBe(false);
    return world.count("save");
  })();
  expect(saves).toBeGreaterThan(2);
  for (let lost = 0; lost < saves; lost++) {
    const world = begun();
    world.stored(minutesAgo(6), 1);
    world.savesLeft = lost;
    expect(world.run(noon).overtaken, `overtaken at save ${lost}`).toBe(true);
  }
});

test("where R2 holds nothing, the first checkpoint is of now, and nothing before it is walked", () => {
  const world = new ReconcileWorld();
  world.run(noon);
  expect(watermarkOf(world.checkpoint ?? never())).toBeGreaterThanOrEqual(noon - 10 * minuteMs);
});

test("a run that lost its lease ends at once", () => {
  const world = begun();
  world.stored(minutesAgo(6), 1);
  world.isOvertaken = true;
  const { overtaken } = world.run(noon);
  expect(overtaken).toBe(true);
  expect(world.count("save")).toBe(1);
});

function never(): never {
  throw new Error("the world has it");
}
