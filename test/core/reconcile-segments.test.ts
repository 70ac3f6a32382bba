/** The reconciler over objects that have many payloads (shared/reconcile/): joined, sealed, listed again and deleted by payload. */
import { describe, expect, test } from "vitest";
import { DAY_MS } from "../../shared/limits.ts";
import { idOfKey, objectOf, type PayloadKey, slotOf } from "../../shared/payload-key.ts";
import { reconcileRun } from "../../shared/reconcile/run.ts";
import { reconcileSettings } from "../../shared/reconcile/settings.ts";
import { minutesAgo, noon, ReconcileWorld } from "../reconcile/world.ts";

const MINUTE_MS = 60_000;

/** A world with one segment of five payloads, of which these have ended as stored. */
function worldOf(...ended: readonly number[]): { world: ReconcileWorld; keys: readonly PayloadKey[] } {
  const world = new ReconcileWorld();
  const keys = world.putSegment(minutesAgo(10), [1, 2, 3, 4, 5]);
  for (const slot of ended) {
    world.end(at(keys, slot), "stored");
  }
  return { world, keys };
}

function at(keys: readonly PayloadKey[], slot: number): PayloadKey {
  const key = keys[slot];
  if (key === undefined) {
    throw new RangeError(`no slot ${slot}`);
  }
  return key;
}

const slotsOf = (keys: readonly { readonly key: PayloadKey }[]) => keys.map(({ key }) => slotOf(key));

describe("a segment", () => {
  test("whose payloads all have their receipt is sealed, and nobody reads it", () => {
    const { world } = worldOf(0, 1, 2, 3, 4);
    expect(world.run(noon)).toMatchObject({ listed: 5, notified: 0, sealed: 1, openMinutes: 0 });
    expect(world.count("readIndex")).toBe(0);
    expect([...world.minutes.values()]).toMatchObject([{ accepted: 5, stored: 5, sealed: true }]);
  });

  test("is read where a receipt is missing, and rings for that payload alone, with what its index says", () => {
    const { world, keys } = worldOf(0, 1, 3, 4);
    expect(world.run(noon)).toMatchObject({ listed: 5, notified: 1, sealed: 0, openMinutes: 1 });
    expect(world.notified).toEqual([
      {
        v: 1,
        key: at(keys, 2),
        cause: "reconcile",
        spans: 2,
        outputBytes: 200,
        arrival: minutesAgo(10) - 1000,
      },
    ]);
    expect(world.checkpoint?.open).toMatchObject([{ listed: 5, pending: 1, example: at(keys, 2) }]);
    world.end(at(keys, 2), "stored");
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ sealed: 1, openMinutes: 0 });
  });

  test("is not taken for whole by another payload's receipt in its place", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    // As many receipts as payloads; one of them is of bytes that this segment does not have.
    const [stranger] = new ReconcileWorld().putSegment(minutesAgo(10), [9]);
    const key = at(keys, 4).replace(/[^/]*$/, idOfKey(stranger ?? at(keys, 0))) as PayloadKey;
    world.end(key, "stored");
    world.run(noon);
    expect(slotsOf(world.notified)).toEqual([4]);
    expect(world.checkpoint?.open).toHaveLength(1);
  });

  test("has what the ledger holds in flight, and not notified", () => {
    const { world, keys } = worldOf(0, 1);
    world.held.add(idOfKey(at(keys, 2)));
    world.held.add(idOfKey(at(keys, 4)));
    expect(world.run(noon)).toMatchObject({ held: 2, notified: 1 });
    expect(slotsOf(world.notified)).toEqual([3]);
  });

  test("counts a duplicate once another key of its bytes is stored, dead or erased", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.end(at(keys, 4), "duplicate");
    world.run(noon);
    expect(slotsOf(world.notified)).toEqual([4]);
    expect(world.count("readIndex")).toBe(0);
    const [owner] = world.putSegment(minutesAgo(9), [5], 1);
    world.end(owner ?? at(keys, 4), "stored");
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ sealed: 1, openMinutes: 0 });
  });

  test("may have the same bytes twice: each place needs its receipt", () => {
    const world = new ReconcileWorld();
    const keys = world.putSegment(minutesAgo(10), [1, 1]);
    world.end(at(keys, 0), "stored");
    world.run(noon);
    expect(slotsOf(world.notified)).toEqual([1]);
    world.end(at(keys, 1), "duplicate");
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ sealed: 1, openMinutes: 0 });
  });

  test("of which a payload was erased, whose receipt is lost, does not wait for it", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.blanked.add(at(keys, 4));
    expect(world.run(noon)).toMatchObject({ notified: 0, sealed: 1, openMinutes: 0 });
  });

  test("whose index is damaged has its other payloads notified, and keeps its minute open", () => {
    const { world, keys } = worldOf(0, 1);
    world.unreadable.add(at(keys, 3));
    world.run(noon);
    expect(slotsOf(world.notified)).toEqual([2, 4]);
    expect(world.reported).toMatchObject([
      { kind: "damaged_segment", subject: objectOf(at(keys, 0)), state: "open" },
    ]);
    for (const slot of [2, 4]) {
      world.end(at(keys, slot), "stored");
    }
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ sealed: 0, openMinutes: 1 });
  });

  test("of which nothing but a damaged payload is missing is named by the minute that waits for it", () => {
    const { world, keys } = worldOf(0, 1, 2, 4);
    world.unreadable.add(at(keys, 3));
    world.run(noon);
    const segment = objectOf(at(keys, 3));
    expect(world.notified).toEqual([]);
    expect(world.checkpoint?.open).toMatchObject([{ pending: 1, example: segment }]);
  });

  test("of which the damaged payload has its receipt, and another lost its own, is not called damaged", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.unreadable.add(at(keys, 3));
    world.run(noon);
    expect(slotsOf(world.notified)).toEqual([4]);
    expect(world.reported).toEqual([]);
    world.end(at(keys, 4), "stored");
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ sealed: 1, openMinutes: 0 });
  });

  test("of which the damaged payload has its receipt, and another ends while it is looked at, is not called damaged", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.unreadable.add(at(keys, 3));
    const run = reconcileRun({ now: noon, everything: false }, reconcileSettings);
    const next: typeof run.next = (...answer) => {
      const asked = run.next(...answer);
      if (asked.done !== true && asked.value.name === "readIndex") {
        world.end(at(keys, 4), "stored");
      }
      return asked;
    };
    world.drive({ next, [Symbol.iterator]: () => run });
    expect(world.reported).toEqual([]);
    expect(world.run(noon + MINUTE_MS)).toMatchObject({ openMinutes: 0 });
  });

  test("that lands in a minute which was sealed opens it again", () => {
    const world = new ReconcileWorld();
    world.stored(minutesAgo(10), 1);
    expect(world.run(noon)).toMatchObject({ sealed: 1 });
    const keys = world.putSegment(minutesAgo(10), [2, 3]);
    world.end(at(keys, 0), "stored");
    world.run(noon + DAY_MS);
    expect(new Set(slotsOf(world.notified))).toEqual(new Set([1]));
    expect(world.checkpoint?.open).toHaveLength(1);
    expect(world.reported).toMatchObject([{ kind: "late_put", subject: at(keys, 1) }]);
  });
});

describe("a budget that ends among segments", () => {
  test("leaves the walk at the first one that was not read, and the next run goes on there", () => {
    const world = new ReconcileWorld();
    const segments = Array.from({ length: 30 }, (_, n) =>
      world.putSegment(minutesAgo(10), [2 * n, 2 * n + 1], n),
    );
    const subrequests = { fresh: 12, open: 12, young: 12, again: 12, audit: 12, delete: 12 };
    let now = noon;
    for (let run = 0; run < 12 && world.notified.length < 60; run++) {
      now += MINUTE_MS;
      world.run(now, { subrequests });
      expect(world.count("readIndex")).toBeLessThanOrEqual(subrequests.fresh + subrequests.open);
    }
    expect(new Set(world.notified.map(({ key }) => key))).toEqual(new Set(segments.flat()));
    for (const key of segments.flat()) {
      world.end(key, "stored");
    }
    for (let run = 0; run < 5; run++) {
      now += 16 * MINUTE_MS;
      world.run(now, { subrequests });
    }
    expect([...world.minutes.values()]).toMatchObject([{ accepted: 60, sealed: true }]);
  });
});

test("so many payloads are asked about together, and one segment more; the others follow in the same run", () => {
  const world = new ReconcileWorld();
  const keys = [0, 1, 2, 3].flatMap((n) =>
    world.putSegment(minutesAgo(10), [3 * n, 3 * n + 1, 3 * n + 2], n),
  );
  const asked = (name: string) =>
    world.asked.flatMap(([one, asks]) => (one === name ? [(asks as readonly unknown[]).length] : []));
  world.run(noon, { pageKeys: 4 });
  expect(asked("outcomes").slice(0, 4)).toEqual([6, 6, 6, 6]);
  expect(asked("ring")).toEqual([6, 6]);
  expect(world.notified.map(({ key }) => key)).toEqual(keys.toSorted());
});

describe("deletion", () => {
  const late = noon + 8 * DAY_MS;

  /** Sealed, and a week old: runs until a round of deletion has seen everything. */
  function removedFrom(world: ReconcileWorld): ReadonlySet<PayloadKey> {
    world.run(noon);
    for (let run = 0; run < 4; run++) {
      world.run(late + run * DAY_MS);
    }
    return world.objects;
  }

  test("takes a segment when each of its payloads may go", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.end(at(keys, 4), "duplicate");
    const [owner] = world.putSegment(minutesAgo(9), [5], 1);
    world.end(owner ?? at(keys, 4), "stored");
    expect(removedFrom(world).size).toBe(0);
  });

  test("leaves it whole while one of them has to stay", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.end(at(keys, 4), "dead");
    expect(removedFrom(world).size).toBe(5);
  });

  test("takes it with a dead payload whose bytes are kept elsewhere, unless that is being replayed", () => {
    const { world, keys } = worldOf(0, 1, 2, 3);
    world.end(at(keys, 4), "dead");
    world.copies.add(at(keys, 4));
    world.held.add(idOfKey(at(keys, 4)));
    expect(removedFrom(world).size).toBe(5);
    world.held.clear();
    world.run(late + 5 * DAY_MS);
    expect(world.objects.size).toBe(0);
    const dead = new ReconcileWorld();
    for (const key of dead.putSegment(minutesAgo(10), [1, 2])) {
      dead.end(key, "dead");
      dead.copies.add(key);
    }
    expect(removedFrom(dead).size).toBe(0);
  });

  test("leaves it whole while one of them has no rows", () => {
    const { world, keys } = worldOf(0, 1, 2, 3, 4);
    world.rows.delete(idOfKey(at(keys, 1)));
    world.held.add(idOfKey(at(keys, 1)));
    expect(removedFrom(world).size).toBe(5);
  });

  test("reads the receipts of so many payloads at once, and of one segment at least", () => {
    const world = new ReconcileWorld();
    for (let n = 0; n < 4; n++) {
      for (const key of world.putSegment(minutesAgo(10), [3 * n, 3 * n + 1, 3 * n + 2], n)) {
        world.end(key, "stored");
      }
    }
    world.run(noon);
    const asked = (deletePayloads: number) => {
      world.run(late, { deletePayloads, deleteEveryMs: 0 });
      return world.asked.flatMap(([name, asks]) =>
        name === "receipts" ? [(asks as readonly unknown[]).length] : [],
      );
    };
    world.held.add(idOfKey([...world.objects][0] as PayloadKey));
    expect(asked(2)).toEqual([1, 1, 1, 1]);
    expect(world.objects.size).toBe(3);
    const again = new ReconcileWorld();
    for (let n = 0; n < 4; n++) {
      for (const key of again.putSegment(minutesAgo(10), [3 * n, 3 * n + 1, 3 * n + 2], n)) {
        again.end(key, "stored");
      }
    }
    again.run(noon);
    again.run(late, { deletePayloads: 7 });
    expect(
      again.asked.flatMap(([name, asks]) =>
        name === "receipts" ? [(asks as readonly unknown[]).length] : [],
      ),
    ).toEqual([2, 2]);
    expect(again.objects.size).toBe(0);
  });
});
