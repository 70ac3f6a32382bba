/** R2's listing as the walks see it (shared/reconcile/listing.ts): which pages it gives, and what it asks for them. */
import { expect, test } from "vitest";
import { objectOf, type PayloadKey } from "../../shared/payload-key.ts";
import type { CronWork } from "../../shared/reconcile/effects.ts";
import type { Listing, Page } from "../../shared/reconcile/listing.ts";
import { type Budgets, driven, minutesAgo, ReconcileWorld } from "../reconcile/world.ts";

const keys = [1, 2, 3, 4, 5].map((n) => new ReconcileWorld().put(minutesAgo(6), n));
const [a = never(), b = never(), c = never(), d = never(), e = never()] = keys;
const start = "p/0/t/";

function worldOf(...some: readonly PayloadKey[]): ReconcileWorld {
  const world = new ReconcileWorld();
  for (const key of some) {
    world.objects.add(key);
  }
  return world;
}

/** What comes after each of these texts, one after the other, and the calls that it took. */
function pagesOf(world: ReconcileWorld, texts: readonly string[], budgets: Budgets = {}) {
  function* all(listing: Listing): CronWork<readonly (Page | undefined)[]> {
    const pages: (Page | undefined)[] = [];
    for (const after of texts) {
      pages.push(yield* listing.next(after));
    }
    return pages;
  }
  const { ended, asked } = driven(world, all, { pageKeys: 2, ...budgets });
  return { pages: ended, calls: asked.map(([, asks]) => asks) };
}
const page = (objects: readonly PayloadKey[], through: string, more: boolean): Page => ({
  objects: objects.map((key) => ({ key: objectOf(key) })),
  through,
  more,
});
const call = (after: string, cursor: string | null = null) => ({ after, cursor, atMost: 2 });

test("a page is fetched once, and is at hand until its last key", () => {
  expect(pagesOf(worldOf(...keys), [start, start, a, b, c, d, e, `${e}~`])).toEqual({
    pages: [
      page([a, b], b, true),
      page([a, b], b, true),
      page([b], b, true),
      page([c, d], d, true),
      page([d], d, true),
      page([e], e, false),
      page([], e, false),
      page([], e, false),
    ],
    calls: [call(start), call(b), call(d)],
  });
});

test("what is before the page at hand is fetched anew", () => {
  expect(pagesOf(worldOf(...keys), [b, a, start])).toEqual({
    pages: [page([c, d], d, true), page([b, c], c, true), page([a, b], b, true)],
    calls: [call(b), call(a), call(start)],
  });
  // Also where it has been passed by what was asked for of that page.
  expect(pagesOf(worldOf(...keys), [start, a, start]).calls).toEqual([call(start), call(start)]);
});

test("nothing is asked for without a budget, of calls or of subrequests", () => {
  const world = worldOf(...keys);
  expect(pagesOf(world, [start], { calls: 0 })).toEqual({ pages: [undefined], calls: [] });
  expect(pagesOf(world, [start], { subrequests: 0 })).toEqual({ pages: [undefined], calls: [] });
  expect(pagesOf(world, [start, b], { calls: 1 })).toEqual({
    pages: [page([a, b], b, true), undefined],
    calls: [call(start)],
  });
  // What is at hand is no more given where the stage has used up its subrequests.
  expect(pagesOf(world, [start, a], { subrequests: 1 }).pages).toEqual([page([a, b], b, true), undefined]);
  expect(pagesOf(world, [start, a], { calls: 1 }).pages).toEqual([page([a, b], b, true), page([b], b, true)]);
});

test("an empty answer with more to come is gone on behind, by its cursor", () => {
  const world = worldOf(a);
  world.pageOf = (n) => (n < 2 ? 0 : 1);
  const cursor = `cursor ${start}`;
  expect(pagesOf(world, [start])).toEqual({
    pages: [page([a], a, false)],
    calls: [call(start), call(start, cursor), call(start, cursor)],
  });
  expect(pagesOf(world, [start], { calls: 2 }).pages).toEqual([undefined]);
  expect(pagesOf(world, [start], { subrequests: 2 }).pages).toEqual([undefined]);
  expect(pagesOf(worldOf(), [start]).pages).toEqual([page([], start, false)]);
});

test("keys that are no payload's are passed, and how far that went is said", () => {
  const world = worldOf(a, e);
  const [first, second, third] = ["1", "2", "3"].map((n) => `${a}!${n}`);
  for (const key of [first, second, third]) {
    world.foreign.add(key ?? never());
  }
  // The first page ends with one of them: what comes after its payload begins behind that.
  expect(pagesOf(world, [start, a])).toEqual({
    pages: [page([a], first ?? "", true), page([e], e, false)],
    calls: [call(start), call(first ?? ""), call(third ?? "", `cursor ${third}`)],
  });
  expect(pagesOf(world, [start, a], { calls: 2 }).pages[1]).toEqual(page([], third ?? "", true));
  // Asked for what is behind that, it is asked for there.
  expect(pagesOf(world, [start, second ?? ""]).calls).toEqual([call(start), call(second ?? "")]);
});

function never(): never {
  throw new Error("there are five");
}
