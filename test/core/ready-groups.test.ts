/** When payloads that were claimed are a group: a second after the oldest of them arrived, or a little later for more. */
import { describe, expect, test } from "vitest";
import { nextAlarm } from "../../shared/ledger/machine.ts";
import { limits } from "../../shared/limits.ts";
import { doorbell, startMs, TestLedger } from "../ledger/world.ts";

const second = limits.groupAgeReadyMs;
const full = limits.queueMessagesMax;

function bells(count: number, arrival: number, from = 0) {
  return Array.from({ length: count }, (_, i) => ({ n: from + i, arrival }));
}

describe("a claim", () => {
  test("leases a payload whose second went by in the queue: nothing waits, and nobody is notified", () => {
    const ledger = new TestLedger();
    ledger.now = startMs + second;
    const { changes, rings, task } = ledger.step({
      kind: "claim",
      doorbells: [doorbell({ n: 1 })],
      codecVersion: 1,
    });
    expect(task).toMatchObject({ step: "insert", attempt: 1 });
    expect(rings).toEqual([]);
    expect(changes.map(({ kind }) => kind)).toEqual(["head", "group"]);
    expect(changes[1]).toMatchObject({ isNew: true, group: { state: { lease: { attempt: 1 } } } });
  });

  test("lets one that arrived a moment ago wait for others, until a second after it arrived", () => {
    const ledger = new TestLedger();
    ledger.now = startMs + second - 1;
    expect(ledger.claim({ n: 1 })).toBeNull();
    expect(ledger.state.waiting.payloads).toHaveLength(1);
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(startMs + second);
    ledger.now = startMs + second;
    expect(ledger.alarm()).toHaveLength(1);
  });

  test("takes those along that wait when another one's second is over", () => {
    const ledger = new TestLedger();
    ledger.now = startMs + 500;
    expect(ledger.claim({ n: 1, arrival: startMs + 400 })).toBeNull();
    expect(ledger.claim({ n: 2, arrival: startMs - 600 })?.payloads).toHaveLength(2);
  });

  test("of a full batch waits for those behind it, as long as before, and the groups stay large", () => {
    const ledger = new TestLedger();
    const hourOld = startMs - 3_600_000;
    expect(ledger.claim(...bells(full, hourOld))).toBeNull();
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(startMs + second);
    ledger.now += 10;
    expect(ledger.claim(...bells(full, hourOld, full))).toBeNull();
    ledger.now += 10;
    expect(ledger.claim(...bells(1, hourOld, 2 * full))?.payloads).toHaveLength(2 * full + 1);
  });

  test("of a batch that is not full, or of segments, is one group, of up to 25,000 rows: of other full ones each 10,000 are", () => {
    const claimed = (count: number, messages: number | null, spans = 100) => {
      const ledger = new TestLedger();
      ledger.now = startMs + second;
      const doorbells = Array.from({ length: count }, (_, n) => doorbell({ n, spans }));
      const { task } = ledger.step({ kind: "claim", doorbells, messages, codecVersion: 1 });
      const groups = [...ledger.state.dump().groups.values()].map(({ payloads }) => payloads.length);
      return { leased: task?.payloads.length ?? 0, groups, waiting: ledger.state.waiting.payloads.length };
    };
    // Ten segments of 20 payloads, and what a batch of segments can have at most.
    expect(claimed(200, 10)).toEqual({ leased: 200, groups: [200], waiting: 0 });
    expect(claimed(300, 15)).toEqual({ leased: 250, groups: [250, 50], waiting: 0 });
    expect(claimed(full, full, 200)).toEqual({ leased: 50, groups: [50, 50], waiting: 0 });
    expect(claimed(full + 1, full, 200)).toEqual({ leased: full + 1, groups: [full + 1], waiting: 0 });
    // Others of the batch follow: nothing is leased yet.
    expect(claimed(300, null)).toEqual({ leased: 0, groups: [250], waiting: 50 });
  });

  test("that brings 10,000 rows is a group before its second is over", () => {
    const ledger = new TestLedger();
    expect(ledger.claim({ n: 1, spans: limits.groupRowsReady - 1 })).toBeNull();
    expect(ledger.claim({ n: 2, spans: 1 })?.payloads).toHaveLength(2);
  });

  test("of full batches is a group a second after the first claim at the latest", () => {
    const ledger = new TestLedger();
    const hourOld = startMs - 3_600_000;
    expect(ledger.claim(...bells(full, hourOld))).toBeNull();
    ledger.now += second;
    expect(ledger.claim(...bells(full, hourOld, full))?.payloads).toHaveLength(2 * full);
    expect(ledger.claim(...bells(full, ledger.now, 2 * full))).toBeNull();
    expect(ledger.state.waiting.payloads).toHaveLength(full);
  });

  test("of full batches is a group when the oldest has been here for a second", () => {
    const ledger = new TestLedger();
    expect(ledger.claim(...bells(full, startMs - 500))).toBeNull();
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(startMs + 500);
    ledger.now = startMs + 500;
    expect(ledger.claim(...bells(full, startMs + 100, full))?.payloads).toHaveLength(2 * full);
  });

  test("of a clock that is ahead waits a second by the ledger's clock", () => {
    const ledger = new TestLedger();
    expect(ledger.claim({ n: 1, arrival: startMs + 3_600_000 })).toBeNull();
    expect(nextAlarm(ledger.state, ledger.settings)).toBe(startMs + second);
    ledger.now = startMs + second;
    expect(ledger.alarm()).toHaveLength(1);
  });
});
