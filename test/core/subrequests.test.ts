/**
 * The platform gives an invocation 1000 subrequests. Work that would need more for what has piled up would end at the same
 * place each time: so each kind of it is driven at its largest here, and counted.
 */
import { describe, expect, test } from "vitest";
import {
  type AskedErasurePerformer,
  nameOfErasure,
  resumeErasures,
} from "../../shared/delivery/asked-erasures.ts";
import { takeBatch } from "../../shared/delivery/batch.ts";
import type { DeliveryContext, DeliveryEffects, DeliveryWork } from "../../shared/delivery/effects.ts";
import { workOnGroup } from "../../shared/delivery/group-work.ts";
import { subrequestsOf } from "../../shared/delivery/subrequests.ts";
import { perform } from "../../shared/effect.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { defaultSettings, fenceMs } from "../../shared/ledger/settings.ts";
import { DAY_MS, limits, widestInvocations } from "../../shared/limits.ts";
import { formatSlotKey, idOfKey, objectOf, type PayloadKey } from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import { subrequestsOf as cronSubrequestsOf } from "../../shared/reconcile/budget.ts";
import { watermarkOf } from "../../shared/reconcile/checkpoint.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { codecVersion, doorbell, knownTable, startMs, storedReport, TestLedger } from "../ledger/world.ts";
import { minutesAgo, noon, ReconcileWorld } from "../reconcile/world.ts";

const minuteMs = 60_000;

/** What the server of the tests' ledger's table says of itself. */
const witness = { table: knownTable, server: "one", behind: "", replicas: 1, upSeconds: 1 };

const context: DeliveryContext = {
  now: () => 0,
  codecVersion,
  deleteKeysMax: limits.r2DeleteKeysMax,
  verifyGetsMax: limits.verifyGetsMax,
};

test("the reconciler's doorbells and deletions cost a subrequest per message batch, the last one half full too", () => {
  const ring = (count: number) => cronSubrequestsOf({ name: "ring", asks: new Array(count) } as never);
  expect([1, limits.queueMessagesMax, limits.queueMessagesMax + 1].map(ring)).toEqual([1, 1, 2]);
  const remove = (count: number) => cronSubrequestsOf({ name: "delete", asks: new Array(count) } as never);
  expect([1, limits.r2DeleteKeysMax, limits.r2DeleteKeysMax + 1].map(remove)).toEqual([1, 1, 2]);
  expect(cronSubrequestsOf({ name: "now" } as never)).toBe(1);
});

/** A world without any object, any row and any receipt, that writes down receipts; the ledger is the real one. */
class EmptyWorld {
  readonly receipts: Receipt[] = [];
  readonly ledger: TestLedger;
  subrequests = 0;

  constructor(ledger: TestLedger) {
    this.ledger = ledger;
  }

  /** The subrequests of one invocation. */
  async invoke(work: DeliveryWork<void>): Promise<number> {
    this.subrequests = 0;
    await perform(this.#counted(work), this.#effects as never);
    return this.subrequests;
  }

  *#counted(work: DeliveryWork<void>): DeliveryWork<void> {
    let next = work.next();
    while (next.done !== true) {
      this.subrequests += subrequestsOf(next.value);
      next = work.next(yield next.value);
    }
  }

  readonly #effects: Partial<{
    [Name in keyof DeliveryEffects]: (
      asks: DeliveryEffects[Name]["asks"],
    ) => Promise<DeliveryEffects[Name]["answers"]>;
  }> = {
    knows: async (bells) => bells.map(() => false),
    completeDoorbell: async () => [],
    ackAll: async () => null,
    claim: async ({ doorbells, messages }) =>
      this.ledger.step({ kind: "claim", doorbells, messages, codecVersion }).task,
    buildBlock: async ({ payloads }) => {
      const keys = payloads.map(({ key }) => key);
      return { kind: "unreadable", keys, reason: "missing_object" };
    },
    findRunning: async () => ({ running: false, servers: 1, witness }),
    readReceipts: async (ids) => ids.map(() => []),
    readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness }),
    countRows: async ({ ids }) => ({ rows: ids.map(() => []), witness }),
    readObject: async () => null,
    writeDeadLetters: async () => null,
    writeReceipts: async ({ receipts }) => {
      this.receipts.push(...receipts);
      return null;
    },
    report: async ({ task, report }) => this.ledger.report(task, report),
    receipted: async (attempts) => {
      this.ledger.step({ kind: "receipted", receipted: attempts });
      return null;
    },
  };
}

test("a full group whose objects are gone, each under three keys, ends in invocations that the platform lets end", async () => {
  const ledger = new TestLedger();
  const world = new EmptyWorld(ledger);
  const bells = (minute: number) =>
    Array.from({ length: limits.groupPayloadsMax }, (_, n) =>
      doorbell({ n, spans: 20, arrival: startMs + minute * minuteMs }),
    );
  const first = bells(0).map(
    (bell) => ({ read: { kind: "doorbells", doorbells: [bell] }, attempts: 1 }) as const,
  );
  for (let at = 0; at < first.length; at += limits.claimDoorbellsMax) {
    const spent = await world.invoke(
      takeBatch(first.slice(at, at + limits.claimDoorbellsMax), false, context),
    );
    expect(spent).toBeLessThanOrEqual(limits.subrequestsMax);
  }
  for (const minute of [1, 2]) {
    for (let at = 0; at < first.length; at += limits.claimDoorbellsMax) {
      const doorbells = bells(minute).slice(at, at + limits.claimDoorbellsMax);
      ledger.step({ kind: "claim", doorbells, codecVersion });
    }
  }
  let most = 0;
  let invocations = 0;
  while (ledger.state.dump().groups.size > 0) {
    ledger.now += fenceMs(defaultSettings);
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        most = Math.max(most, await world.invoke(workOnGroup(task, context)));
        invocations++;
      }
    }
    expect(invocations).toBeLessThan(50);
  }
  expect(most).toBeGreaterThan(limits.verifyGetsMax);
  expect(most).toBeLessThanOrEqual(widestInvocations.batch);
  expect(new Set(world.receipts.map(({ key }) => key)).size).toBe(limits.groupKeysMax);
  expect(world.receipts.every(({ outcome }) => outcome === "dead")).toBe(true);
});

test("an effect of the consumer's takes no more subrequests than these", () => {
  const of = (name: keyof DeliveryEffects, asks: unknown = null): number =>
    subrequestsOf({ name, asks } as Parameters<typeof subrequestsOf>[0]);
  for (const name of ["passOver", "ackAll", "ack", "retry", "leave"] as const) {
    expect(of(name), name).toBe(0);
  }
  expect(of("reportFindings"), "the table of findings, and the webhook").toBe(2);
  const { key } = doorbell({ n: 1 });
  expect(of("buildBlock", { payloads: [{ key }, { key }, { key }] }), "an object per payload").toBe(3);
  const letters = { receipts: [1, 2, 3] };
  expect(of("writeDeadLetters", letters), "a copy out of its segment and a record each, and their rows").toBe(
    10,
  );
  const inSegment = formatSlotKey(
    formatSegmentKey(startMs, new Uint8Array(10), [idOfKey(key)]),
    0,
    "acme",
    idOfKey(key),
  );
  expect(
    of("eraseObjects", [key, inSegment, inSegment]),
    "a rewrite each, eight of them again, and one deletion",
  ).toBe(21);
  expect(of("eraseObjects", [key]), "a deletion").toBe(1);
  for (const name of ["claim", "sendBlock", "countRows", "report"] as const) {
    expect(of(name), name).toBe(1);
  }
  for (const name of ["completeDoorbell", "readObject"] as const) {
    expect(of(name, { key }), name).toBe(1);
    expect(of(name, { key: inSegment }), `${name}: the segment, and a copy where that is gone`).toBe(2);
    expect(of(name, { key: objectOf(inSegment) }), `${name}: an index`).toBe(1);
  }
  expect([of("hasObject", key), of("hasObject", inSegment)]).toEqual([1, 2]);
  const dead = (payloads: number) => ({
    payloads: Array.from({ length: payloads }, () => ({ key: inSegment })),
  });
  expect(of("buildBlock", dead(100))).toBe(200);
  expect(of("buildBlock", dead(limits.groupPayloadsMax)), "the rest is set aside").toBe(limits.groupGetsMax);
});

test("an erasure of payloads whose segments are gone is asked for again by as many as an invocation may, the others later", async () => {
  const keys = Array.from({ length: 400 }, (_, n) => {
    const { key } = doorbell({ n });
    const id = idOfKey(key);
    return formatSlotKey(formatSegmentKey(startMs, new Uint8Array(10), [id]), 0, "acme", id);
  });
  const now = startMs + DAY_MS;
  const name = nameOfErasure(startMs, new Uint8Array(8));
  let subrequests = 0;
  const counts =
    <A, T>(answer: (asks: A) => T, cost = 1) =>
    async (asks: A) => {
      subrequests += cost;
      return answer(asks);
    };
  const erased: PayloadKey[] = [];
  const kept: (readonly PayloadKey[])[] = [];
  const isAsked = await perform(resumeErasures(now), {
    listRecords: counts(() => [{ name, writtenAt: startMs }]),
    readRecord: counts(() => ({ keys, reason: "asked for" })),
    holds: counts((asked) => asked.map(() => false)),
    outcomes: counts(() => []),
    completeDoorbell: counts(() => null, 2),
    readSpans: counts((asked) => asked.map((key) => ({ key, spans: 1 }))),
    findRows: async () => expect.unreachable(),
    erase: counts(({ payloads }) => {
      erased.push(...payloads.map(({ key }) => key));
      return null;
    }),
    writeRecord: counts(({ erasure }) => {
      kept.push(erasure.keys);
      return null;
    }),
    deleteRecord: async () => expect.unreachable(),
    report: async () => null,
  } satisfies AskedErasurePerformer);
  expect(isAsked).toBe(true);
  expect(subrequests).toBeLessThanOrEqual(
    widestInvocations.resumed - limits.tickSubrequests - limits.erasuresLookSubrequests,
  );
  expect(erased.sort()).toEqual(keys.slice(0, limits.keysAskedMax).sort());
  expect(kept, "all of them, until each has its receipt").toEqual([keys]);
});

test("a batch of a hundred messages that name their payloads only has enough for its group", async () => {
  const world = new EmptyWorld(new TestLedger());
  const messages = Array.from({ length: 100 }, (_, n) => {
    const { key } = doorbell({ n });
    return { read: { kind: "bare", key, cause: "event" }, attempts: 1 } as const;
  });
  expect(await world.invoke(takeBatch(messages, false, context))).toBeLessThanOrEqual(
    limits.batchSubrequests + limits.stepSubrequests,
  );
});

test("the receipts of a full group that is stored are written at once", () => {
  const ledger = new TestLedger();
  let task: GroupTask | null = null;
  for (let at = 0; at < limits.groupPayloadsMax; at += 100) {
    const bells = Array.from({ length: 100 }, (_, i) => ({ n: at + i, spans: 20 }));
    task = ledger.claim(...bells) ?? task;
  }
  const receipts = task === null ? null : ledger.report(task, storedReport(task));
  const keys = receipts?.step === "receipts" ? receipts.receipts.map(({ key }) => key) : [];
  expect(new Set(keys).size).toBe(limits.groupPayloadsMax);
  if (receipts !== null) {
    ledger.receipted(receipts);
  }
  expect(ledger.state.dump().groups.size).toBe(0);
});

describe("a run of the reconciler", () => {
  test("catches up a day of minutes with a payload each, in runs that the platform lets end", () => {
    const world = new ReconcileWorld();
    world.run(noon - 24 * 60 * minuteMs);
    for (let minute = 24 * 60 - 10; minute >= 6; minute--) {
      world.stored(minutesAgo(minute), minute);
    }
    let runs = 0;
    for (
      let now = noon;
      world.checkpoint !== null && watermarkOf(world.checkpoint) < noon - 5 * minuteMs;
      now += 1000
    ) {
      world.run(now);
      expect(world.subrequests).toBeLessThanOrEqual(widestInvocations.cron - limits.tickSubrequests);
      expect(++runs).toBeLessThan(30);
    }
    expect([...world.minutes.values()].filter(({ sealed }) => sealed)).toHaveLength(24 * 60 - 15);
  });

  test("has a thousand late puts in as many minutes opened again by one question", () => {
    const world = new ReconcileWorld();
    world.run(noon - 26 * 60 * minuteMs);
    world.run(noon - 60 * minuteMs);
    for (let n = 0; n < 1000; n++) {
      world.put(minutesAgo(25 * 60 + 10 - n / 20), n);
    }
    world.run(noon);
    expect(world.notified.length).toBeGreaterThan(0);
    expect(world.subrequests).toBeLessThanOrEqual(widestInvocations.cron - limits.tickSubrequests);
    expect(world.count("tally")).toBeLessThan(10);
  });

  test("erases a thousand payloads again whose rows came back, some in each run", () => {
    const world = new ReconcileWorld();
    world.run(noon - 5 * 60 * minuteMs);
    for (let n = 0; n < 1000; n++) {
      const key = world.stored(minutesAgo(4 * 60), n);
      // A receipt of an older key of the id says that it was erased.
      const older = world.put(minutesAgo(4 * 60 + 1), n);
      world.end(older, "erased");
      expect(key).not.toBe(older);
      world.rows.set(idOfKey(key), [{ day: Math.floor(noon / DAY_MS), rows: 3 }]);
    }
    for (let runs = 0; runs < 5; runs++) {
      const before = world.notified.length;
      world.run(noon + runs * minuteMs);
      expect(world.subrequests).toBeLessThanOrEqual(widestInvocations.cron - limits.tickSubrequests);
      expect(world.notified.length).toBeGreaterThan(before);
      for (const { key } of world.notified.slice(before)) {
        world.rows.delete(idOfKey(key)); // the ledger erased them
      }
    }
  });
});
