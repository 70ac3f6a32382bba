/** Which of the ledger's head is written, and what a new instance knows again without it. */
import { describe, expect, test } from "vitest";
import { mayInsert } from "../../shared/ledger/breaker.ts";
import type { Group } from "../../shared/ledger/group.ts";
import { bornHead, type Head } from "../../shared/ledger/head.ts";
import { headAtStart, isToWrite, withoutGroups } from "../../shared/ledger/head-row.ts";
import { headFromRow, headToRow } from "../../shared/ledger/rows.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { emptyWorld, startMs, TestLedger } from "../ledger/world.ts";

const head = bornHead(emptyWorld, startMs, 4);
const withBreaker = (change: Partial<Head["breaker"]>): Head => ({
  ...head,
  breaker: { ...head.breaker, ...change },
});
const token = "a".repeat(32) as Group["id"];

describe("the head is written", () => {
  test("the first time, and when something changed that nothing else says", () => {
    expect(isToWrite(null, head)).toBe(true);
    expect(isToWrite(head, head)).toBe(false);
    expect(isToWrite(head, { ...head })).toBe(false);
    // A member that an earlier version did not know, and that is not written.
    const withUndefined = { ...head, added: undefined };
    expect(isToWrite(head, withUndefined)).toBe(false);
    expect(isToWrite(withUndefined, head)).toBe(false);
    expect(isToWrite(head, { ...head, counter: 1 })).toBe(true);
    expect(isToWrite(head, { ...head, memSince: startMs })).toBe(true);
    expect(isToWrite(head, { ...head, table: { ...head.table, refusal: "no" } })).toBe(true);
    expect(isToWrite(head, withBreaker({ isOpen: true }))).toBe(true);
    expect(isToWrite(head, withBreaker({ suspects: [token] }))).toBe(true);
  });

  test("not for what groups say themselves, nor for what may be known as it was", () => {
    expect(isToWrite(head, withBreaker({ inFlight: [token], wide: token }))).toBe(false);
    expect(isToWrite(head, withBreaker({ notified: [{ group: token, again: startMs }] }))).toBe(false);
    expect(isToWrite(head, { ...head, lastStoredInsertAt: startMs })).toBe(false);
    expect(isToWrite(head, withBreaker({ concurrencyLimit: 5 }))).toBe(false);
    expect(isToWrite(head, withBreaker({ concurrencyLimit: 3 }))).toBe(true);
  });

  test("without groups in it: an earlier version would keep their slots when they have ended", () => {
    const busy = withBreaker({
      inFlight: [token],
      wide: token,
      notified: [{ group: token, again: startMs }],
      concurrencyLimit: 7,
    });
    expect(headFromRow(headToRow(busy))).toEqual(withBreaker({ concurrencyLimit: 7 }));
    expect(withoutGroups(busy)).toEqual(withBreaker({ concurrencyLimit: 7 }));
  });
});

describe("an instance that starts", () => {
  /** A ledger with the breaker open and a probe in flight. */
  function probing(): { readonly ledger: TestLedger; readonly probe: Group["id"] } {
    const ledger = new TestLedger();
    const open = { ...ledger.state.head?.breaker, isOpen: true, concurrencyLimit: 1, failures: 1 };
    const opened = { ...ledger.state.head, breaker: open } as Head;
    ledger.state.apply([{ kind: "head", head: opened }]);
    ledger.now += 10_000;
    const task = ledger.claim({ n: 1, arrival: ledger.now - 1000 });
    expect(task?.step).toBe("insert");
    return { ledger, probe: task?.group ?? token };
  }

  test("finds the probe that is in flight in its group, and leases no second one", () => {
    const { ledger, probe } = probing();
    ledger.state.restart();
    expect(ledger.state.head?.breaker.inFlight).toEqual([probe]);
    expect(ledger.claim({ n: 2, arrival: ledger.now - 1000 })).toBeNull();
    ledger.now += defaultSettings.leaseMs - 1;
    expect(ledger.alarm()).toEqual([]);
  });

  test("gives the slot back when the lease that it found ends", () => {
    const { ledger, probe } = probing();
    ledger.state.restart();
    ledger.now += defaultSettings.leaseMs;
    ledger.alarm();
    expect(ledger.state.head?.breaker.inFlight).toEqual([]);
    expect(ledger.state.head?.breaker.isOpen).toBe(true);
    ledger.now += defaultSettings.retryLastMs;
    expect(ledger.alarm()).toEqual([probe]);
    ledger.state.restart();
    expect(ledger.state.head?.breaker.notified.map(({ group }) => group)).toEqual([probe]);
    expect(ledger.take(probe)?.attempt).toBe(2);
    expect(ledger.state.head?.breaker.notified).toEqual([]);
  });

  test("writes no head for having started", () => {
    const { ledger } = probing();
    const before = ledger.state.head;
    ledger.state.restart();
    const { head: after } = ledger.state;
    expect(before !== null && after !== null && isToWrite(before, after)).toBe(false);
    expect(after !== null && isToWrite(headFromRow(headToRow(after)), after)).toBe(false);
  });

  test("counts no group of an epoch before a restore", () => {
    const { ledger } = probing();
    ledger.step({ kind: "restored", epoch: 2 });
    ledger.state.restart();
    expect(ledger.state.head?.breaker.inFlight).toEqual([]);
    const { head: now } = ledger.state;
    expect(now !== null && mayInsert(now, ledger.now)).toBe(true);
  });

  test("knows the wide group among those in flight", () => {
    const ledger = new TestLedger();
    const { outputBytesMax } = defaultSettings.caps;
    const task = ledger.claim({ n: 1, outputBytes: outputBytesMax + 1 });
    expect(task?.step === "insert" && task.blocks).toBeGreaterThan(1);
    ledger.state.restart();
    expect(ledger.state.head?.breaker.wide).toBe(task?.group);
    const stored = ledger.state.head;
    expect(stored && headAtStart(stored, []).breaker).not.toHaveProperty("wide");
  });
});
