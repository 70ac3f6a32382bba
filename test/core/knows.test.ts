/** What a late ring need not look up in R2, because the ledger has it. */
import { describe, expect, test } from "vitest";
import { knows } from "../../shared/ledger/knows.ts";
import type { Cause } from "../../shared/messages.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { type Bell, doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const minuteMs = 60_000;

function known(ledger: TestLedger, ...bells: readonly (Bell & { readonly cause: Cause })[]) {
  return knows(
    ledger.state,
    bells.map((bell) => ({ key: doorbell(bell).key, cause: bell.cause })),
  );
}

/** Claiming it changes nothing, and nobody is leased anything. */
function changesNothing(ledger: TestLedger, bell: Bell): boolean {
  const { head, waiting } = ledger.state;
  const groups = [...ledger.state.dump().groups.values()];
  const { changes, task } = ledger.step({ kind: "claim", doorbells: [doorbell(bell)], codecVersion: 1 });
  expect([ledger.state.head, ledger.state.waiting, ...ledger.state.dump().groups.values()]).toEqual([
    head,
    waiting,
    ...groups,
  ]);
  return changes.every(({ kind }) => kind === "waiting") && task === null;
}

describe("the ledger knows", () => {
  test("what waits, what is live and what has ended, under the key that it has", () => {
    const ledger = new TestLedger();
    const late = { n: 1, cause: "event" } as const;
    expect(known(ledger, late)).toEqual([false]);
    ledger.claim({ n: 1 });
    expect(known(ledger, late, { n: 2, cause: "event" })).toEqual([true, false]);
    expect(changesNothing(ledger, late)).toBe(true);
    const task = ledger.takeNotified();
    expect(known(ledger, late)).toEqual([true]);
    expect(changesNothing(ledger, late)).toBe(true);
    const receipts = ledger.report(task, storedReport(task));
    expect(known(ledger, late)).toEqual([true]);
    if (receipts !== null) {
      ledger.receipted(receipts);
    }
    expect(known(ledger, late)).toEqual([true]);
    expect(changesNothing(ledger, late)).toBe(true);
  });

  test("not equal bytes under another key: their receipt is owed", () => {
    const ledger = new TestLedger();
    const other = { n: 1, arrival: startMs + minuteMs, cause: "event" } as const;
    ledger.claim({ n: 1 });
    expect(known(ledger, other)).toEqual([false]);
    ledger.claim(other);
    expect(known(ledger, other)).toEqual([true]);
    ledger.storeAll(ledger.takeNotified());
    const third = { n: 1, arrival: startMs + 2 * minuteMs, cause: "event" } as const;
    expect(known(ledger, { n: 1, cause: "event" }, third)).toEqual([true, false]);
  });

  test("not what the reconciler rings although it has ended: it misses the receipt", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const missed = { n: 1, cause: "reconcile" } as const;
    expect(known(ledger, missed)).toEqual([true]);
    expect(changesNothing(ledger, missed)).toBe(true);
    ledger.storeAll(ledger.takeNotified());
    expect(known(ledger, missed)).toEqual([false]);
  });

  test("not what asks, nor a doorbell of the ingress: these say more than a key", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.storeAll(ledger.takeNotified());
    for (const cause of ["audit", "replay", "ingress"] as const) {
      expect(known(ledger, { n: 1, cause }), cause).toEqual([false]);
    }
  });

  test("not what it held before it was restored: that is verified", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.takeNotified();
    ledger.step({ kind: "restored", epoch: 2 });
    expect(known(ledger, { n: 1, cause: "event" })).toEqual([false]);
  });
});

test("nothing of a segment is known by its key alone: its index says which payloads it has", () => {
  const ledger = new TestLedger();
  const { key } = doorbell({ n: 1 });
  ledger.claim({ n: 1 });
  const segment = formatSegmentKey(startMs, new Uint8Array(10), [idOfKey(key)]);
  const bells = [key, segment].map((one) => ({ key: one, cause: "event" }) as const);
  expect(knows(ledger.state, bells)).toEqual([true, false]);
});
