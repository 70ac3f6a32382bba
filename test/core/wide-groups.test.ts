/** Groups of a wide payload: alone, one at a time, with the number of blocks that was said when they were made. */
import { describe, expect, test } from "vitest";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { groupFromRow, groupToRow } from "../../shared/ledger/rows.ts";
import { limits } from "../../shared/limits.ts";
import { TestLedger } from "../ledger/world.ts";

const wide = { outputBytes: 40_000_000, spans: 500 };

function blocksIn(task: GroupTask | null): number | undefined {
  return task?.step === "insert" ? task.blocks : undefined;
}

/** The tasks that the alarms of the next seconds lease. */
function handedOut(ledger: TestLedger, ms: number): GroupTask[] {
  const tasks: GroupTask[] = [];
  for (const end = ledger.now + ms; ledger.now < end; ledger.now += 500) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        tasks.push(task);
      }
    }
  }
  return tasks;
}

function nextOf(ledger: TestLedger): GroupTask | undefined {
  for (let seconds = 0; seconds < 600; seconds++) {
    const [task] = handedOut(ledger, 1);
    if (task !== undefined) {
      return task;
    }
    ledger.now += 1000;
  }
  return undefined;
}

describe("a wide payload", () => {
  test("is a group of its own, of several blocks, beside ordinary ones", () => {
    const ledger = new TestLedger();
    const first = ledger.claim({ n: 1, outputBytes: 10 }, { n: 2, ...wide }, { n: 3, outputBytes: 10 });
    const tasks = [...(first === null ? [] : [first]), ...handedOut(ledger, 3000)];
    const blocks = tasks.map((task) => [task.payloads.length, blocksIn(task)]);
    expect(blocks.filter(([, n]) => n !== 1)).toEqual([[1, 5]]);
    expect(tasks.flatMap(({ payloads }) => payloads)).toHaveLength(3);
  });

  test("has the same number in each attempt", () => {
    const ledger = new TestLedger();
    const task = ledger.claim({ n: 1, ...wide }) ?? ledger.takeNotified();
    ledger.report(task, { kind: "unknown", reason: "no answer" });
    const [again] = handedOut(ledger, 10_000);
    expect([again?.group, blocksIn(again ?? null)]).toEqual([task.group, 5]);
  });

  test("goes when no other one is in flight", () => {
    const ledger = new TestLedger();
    const first = ledger.claim({ n: 1, ...wide }) ?? ledger.takeNotified();
    ledger.claim({ n: 2, ...wide });
    ledger.claim({ n: 3, spans: 10, outputBytes: 10 });
    const meanwhile = handedOut(ledger, 20_000);
    expect(meanwhile.map(blocksIn)).toEqual([1]);
    ledger.report(first, { kind: "retry", reason: "busy", code: 252 });
    expect(handedOut(ledger, 20_000).map(blocksIn)).toContain(5);
  });

  test.each([{ code: 241 }, { tooLarge: true as const }])(
    "that fails with %o is verified, to end as too_large",
    (why) => {
      const ledger = new TestLedger();
      let task = ledger.claim({ n: 1, ...wide }) ?? ledger.takeNotified();
      for (let tries = 1; tries < limits.ownFailuresMax; tries++) {
        ledger.report(task, { kind: "retry", reason: "memory", ...why });
        const next = nextOf(ledger);
        if (next === undefined) {
          throw new Error("it is retried");
        }
        task = next;
      }
      ledger.report(task, { kind: "retry", reason: "memory", ...why });
      const group = ledger.state.group(task.group);
      expect(group?.state).toMatchObject({ at: "verifying", code: "too_large" });
    },
  );

  test("of before this was known is one block", () => {
    const ledger = new TestLedger();
    const task = ledger.claim({ n: 1, outputBytes: 10 }) ?? ledger.takeNotified();
    const group = ledger.state.group(task.group);
    if (group === undefined) {
      throw new Error("the group is there");
    }
    const { blocks: _, ...before } = JSON.parse(groupToRow({ ...group, blocks: 7 }));
    expect(groupFromRow(JSON.stringify(before)).blocks).toBe(1);
    expect(groupFromRow(groupToRow({ ...group, blocks: 7 })).blocks).toBe(7);
  });
});
