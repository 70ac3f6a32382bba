/**
 * The real reconciler (shared/reconcile/run.ts), its effects performed as workers/consumer/reconcile.ts performs them:
 * any of them may fail, before or after it was done, and the run may die between any two. Two of them may run at once.
 */
import { unreachable } from "../../../shared/assert.ts";
import { idOfKey, type PayloadKey } from "../../../shared/payload-key.ts";
import type { Answer, DatedReceipt, Effect, Listed, MinuteTally } from "../../../shared/reconcile/effects.ts";
import { keyChecksum } from "../../../shared/reconcile/join.ts";
import { reconcileRun } from "../../../shared/reconcile/run.ts";
import { type ReconcileSettings, reconcileSettings } from "../../../shared/reconcile/settings.ts";
import { minuteOf } from "../../../shared/reconcile/walk-minutes.ts";
import type { Process } from "./clock.ts";
import { pause } from "./consumer.ts";
import { doorbellOf, type StoredObject } from "./object-store.ts";
import type { WrittenReceipt } from "./receipts-table.ts";
import type { World } from "./world.ts";

/** The defaults, but for pages of a few keys and budgets of a few pages: so that both end in the middle of things. */
const settings: ReconcileSettings = {
  ...reconcileSettings,
  pageKeys: 3,
  listCalls: { fresh: 6, open: 6, again: 4, delete: 4 },
  auditPages: 2,
};

/** Throws when R2, ClickHouse or the ledger cannot be asked. */
export function* reconcile(world: World): Process {
  const began = world.clock.now;
  const begun = world.ledger.beginReconcile(settings.leaseMs);
  if (begun === null) {
    return;
  }
  try {
    const now = began + world.skews.consumer;
    const run = reconcileRun({ now, book: begun.book, everything: false }, settings);
    let next = run.next();
    while (next.done !== true) {
      yield* pause(world);
      next = run.next(perform(world, next.value, begun.run, began));
    }
  } finally {
    world.ledger.endReconcile(begun.run);
  }
}

function perform(world: World, effect: Effect, run: string, began: number): Answer {
  const { store, receipts, table, witness } = world;
  switch (effect.do) {
    case "list": {
      world.askStore("list");
      // A cursor is the text that it goes on after.
      const after = effect.cursor ?? effect.after;
      const rest = store.list().filter(({ key }) => key > after);
      const isShort = world.fate.strikes("page short");
      const objects = rest
        .slice(0, isShort ? world.fate.within(0, effect.atMost - 1) : effect.atMost)
        .map(listed);
      const through = objects.at(-1)?.key ?? after;
      return { to: "list", objects, through, cursor: rest.length > objects.length ? through : null };
    }
    case "outcomes": {
      const outcomes = world.askTable("outcomes", () => found(world, effect.keys));
      return { to: "outcomes", outcomes: outcomes.map(({ key, outcome }) => ({ key, outcome })) };
    }
    case "receipts":
      return { to: "receipts", receipts: world.askTable("receipts", () => found(world, effect.keys)) };
    case "receiptsOfIds": {
      const of = world.askTable("receipts", () => effect.ids.flatMap((id) => receipts.ofId(id).map(dated)));
      return { to: "receiptsOfIds", receipts: of };
    }
    case "storedReceipts": {
      const stored = world.askTable("receipts", () =>
        receipts
          .list()
          .map(dated)
          .filter(({ key, outcome }) => outcome === "stored" && key > effect.after && key < effect.before),
      );
      return { to: "storedReceipts", receipts: stored.slice(0, effect.atMost) };
    }
    case "holds":
      return { to: "holds", held: world.ledger.holds(effect.keys) };
    case "rows": {
      const rows = world.askTable("rows", () => new Map(effect.ids.map((id) => [id, world.readRows(id)])));
      return { to: "rows", rows, oldestDay: table.oldestDay };
    }
    case "tally":
      return { to: "tally", tenants: world.askTable("tally", () => tally(world, effect.minute)) };
    case "find": {
      world.askStore("head");
      const there = effect.keys.map((key) => store.get(key)).filter((object) => object !== null);
      return { to: "find", objects: there.map(listed) };
    }
    case "deadLetters": {
      // A record is written with its receipt, which no schedule outlives.
      world.askStore("list");
      const dead = found(world, effect.keys).filter(({ outcome }) => outcome === "dead");
      return { to: "deadLetters", keys: dead.map(({ key }) => key) };
    }
    case "ring":
      for (const doorbell of effect.doorbells) {
        world.say(
          () =>
            `the reconciler rings ${doorbell.key.slice(6, 22)}…${doorbell.key.slice(-22, -18)} (${doorbell.cause})`,
        );
        witness.rung += doorbell.cause === "reconcile" ? 1 : 0;
        world.queues.ring.send({ kind: "doorbell", doorbell });
      }
      return { to: "ring" };
    case "record":
      world.tellTable("minutes", () => {
        for (const { minute, sealed } of effect.minutes) {
          world.say(() => `${sealed ? "sealed" : "opened"} ${new Date(minute).toISOString().slice(0, 16)}`);
          witness.seals.push({ minute, sealed, at: world.clock.now, runBegan: began });
        }
      });
      return { to: "record" };
    case "delete":
      world.askStore("delete");
      for (const key of effect.keys) {
        world.say(() => `deleted ${key.slice(6, 22)}…${key.slice(-22, -18)}`);
        store.delete(key);
        witness.deletions.push({ key, at: world.clock.now, runBegan: began });
      }
      return { to: "delete" };
    case "tell":
      for (const { kind, subject } of effect.findings) {
        witness.findings.add(`${kind} ${subject}`);
      }
      return { to: "tell" };
    case "save":
      return { to: "save", kept: world.ledger.keepBook(run, settings.leaseMs, effect.book) };
    default:
      return unreachable(effect);
  }
}

function listed(object: StoredObject): Listed {
  return { key: object.key, doorbell: doorbellOf(object, "reconcile") };
}

function dated({ receipt, at }: WrittenReceipt): DatedReceipt {
  return { ...receipt, at };
}

function found({ receipts }: World, keys: readonly PayloadKey[]): readonly DatedReceipt[] {
  return keys
    .map((key) => receipts.get(key))
    .filter((written) => written !== undefined)
    .map(dated);
}

/** What SQL adds up over the receipts of a minute: one tenant here. */
function tally({ receipts }: World, minute: number): readonly MinuteTally[] {
  const own = receipts.list().filter(({ receipt }) => minuteOf(receipt.key) === minute);
  if (own.length === 0) {
    return [];
  }
  const count = (outcome: string): number => own.filter(({ receipt }) => receipt.outcome === outcome).length;
  return [
    {
      tenant: "acme",
      accepted: own.length,
      stored: count("stored"),
      dead: count("dead"),
      duplicate: count("duplicate"),
      erased: count("erased"),
      expired: count("expired"),
      spans: own.reduce((sum, { receipt }) => sum + receipt.spans, 0),
      rejectedSpans: 0,
      bytes: 0,
      checksum: keyChecksum(own.map(({ receipt }) => idOfKey(receipt.key))),
    },
  ];
}
