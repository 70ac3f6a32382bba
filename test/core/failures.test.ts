/** Every attempt that fails leaves its reason, and what is made of a group takes it along. */

import { describe, expect, test } from "vitest";
import { deadLetterRow } from "../../shared/clickhouse/dead-letters.ts";
import { errorName, verdict, withoutValues } from "../../shared/clickhouse/errors.ts";
import { errorText, failureText } from "../../shared/failure.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { inFlightOf } from "../../shared/ledger/in-flight.ts";
import { whereaboutsOf } from "../../shared/ledger/whereabouts.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey } from "../../shared/payload-key.ts";
import { lookedInto } from "../ledger/looked-into.ts";
import { doorbell, startMs, storedReport, TestLedger } from "../ledger/world.ts";

const constraint =
  "Code: 469. DB::Exception: Constraint `no_poison` for table default.otel_traces is violated at row 1. Expression: (SpanName != 'poison'). Column values: SpanName = 'it's poison', Duration = 5. (VIOLATED_CONSTRAINT) (version 26.7.1.1 (official build))";
const reasonOf = (code: number, text: string) =>
  verdict({ httpStatus: 500, exceptionCode: String(code), text, clickHouseHeaders: true }).reason;
const refused: AttemptReport = { kind: "refused", reason: reasonOf(469, constraint), code: 469 };
const words =
  "Constraint `no_poison` for table default.otel_traces is violated at row 1. Expression: (SpanName != '…'). Column values: ….";

function next(ledger: TestLedger): GroupTask {
  for (const end = ledger.now + 3_600_000; ledger.now <= end; ledger.now += 1000) {
    for (const group of ledger.alarm()) {
      const task = ledger.take(group);
      if (task !== null) {
        return task;
      }
    }
  }
  throw new Error("nothing was notified in time");
}

function counted(task: GroupTask): AttemptReport {
  return { kind: "counted", payloads: task.payloads.map(({ key }) => ({ key, rowsByDay: [] })) };
}

const whereIs = (ledger: TestLedger, n: number) => {
  const where = whereaboutsOf(ledger.state, idOfKey(doorbell({ n }).key));
  return where.at === "group" ? where.failure : undefined;
};

describe("the reason of a failed attempt", () => {
  test("is in the in-flight row and where a person asks for the payload, with how many there were", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    expect(whereIs(ledger, 1)).toBeNull();
    ledger.report(task, { kind: "unknown", reason: "no answer: connection refused" });
    const last = {
      failed: 1,
      refused: 0,
      since: ledger.now,
      at: ledger.now,
      kind: "unknown",
      code: null,
      name: "",
    };
    expect(whereIs(ledger, 1)).toEqual({ ...last, text: "no answer: connection refused" });
    const { head, waiting } = ledger.state;
    const group = ledger.state.group(task.group);
    const groups = group === undefined ? [] : [group];
    const [row] = inFlightOf(head, waiting, lookedInto(groups, 1), ledger.now).groups;
    expect(row?.failure).toEqual(whereIs(ledger, 1));
    expect(row).toMatchObject({ waitsFor: "back_off", until: expect.any(Number) });
  });

  test("is taken along when a refused group is split, and when the payload is tried under another token", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 }, { n: 2 });
    const count = ledger.report(ledger.takeNotified(), refused);
    expect(count?.step).toBe("count");
    ledger.report(count as GroupTask, counted(count as GroupTask));
    expect([whereIs(ledger, 1), whereIs(ledger, 2)]).toMatchObject([{ refused: 1 }, { refused: 1 }]);
    const alone = next(ledger);
    const again = ledger.report(alone, refused) as GroupTask;
    ledger.report(again, counted(again));
    const [n] = [1, 2].filter((one) => alone.payloads[0]?.key === doorbell({ n: one }).key);
    expect(whereIs(ledger, n ?? 0)).toMatchObject({
      failed: 2,
      refused: 2,
      code: 469,
      name: "VIOLATED_CONSTRAINT",
      text: words,
    });
  });

  test("goes with the dead letter: the words are the message, and the refusals are counted", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    let task = ledger.takeNotified();
    let n = 10;
    for (let tries = 0; tries < 20 && task.step !== "receipts"; tries++) {
      const mine = task.payloads.some(({ key }) => key === doorbell({ n: 1 }).key);
      const after = ledger.report(
        task,
        task.step === "insert" ? (mine ? refused : storedReport(task)) : counted(task),
      );
      if (after?.step === "receipts" && !mine) {
        ledger.receipted(after);
      }
      if (mine && after === null) {
        ledger.now += 1000;
        ledger.claim({ n: n++, arrival: ledger.now }); // others are stored in between
      }
      task = after !== null && mine ? after : next(ledger);
    }
    expect(task).toMatchObject({ step: "receipts", receipts: [{ outcome: "dead", reason: "rejected:469" }] });
    if (task.step !== "receipts") {
      throw new Error("it has not died");
    }
    const [receipt] = task.receipts;
    const failure = task.failure ?? null;
    expect(failure?.refused).toBeGreaterThanOrEqual(3);
    expect(receipt && deadLetterRow(receipt, failure, ledger.now)).toMatchObject({
      reason: "rejected:469",
      message: `VIOLATED_CONSTRAINT (469): ${words}`,
      refusals: failure?.refused,
    });
  });

  test("is said of an attempt that nobody reported", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    ledger.now = task.deadline;
    ledger.take(task.group);
    expect(whereIs(ledger, 1)).toMatchObject({ failed: 1, kind: "unreported" });
  });

  test("is kept as far as a row has room for it", () => {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    ledger.report(ledger.takeNotified(), { kind: "unknown", reason: "é".repeat(5000) });
    const text = whereIs(ledger, 1)?.text ?? "";
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(limits.failureTextBytesMax);
    expect(text.endsWith("…")).toBe(true);
  });
});

describe("in words", () => {
  const last = { at: startMs, kind: "refused", code: 469, name: "VIOLATED_CONSTRAINT", text: "no" } as const;
  test.each([
    [
      { failed: 1, refused: 1 },
      /^refused once, last at 20..-..-.. ..:..:.. UTC: VIOLATED_CONSTRAINT \(469\): no$/,
    ],
    [{ failed: 7, refused: 7 }, /^refused 7 times, last/],
    [{ failed: 9, refused: 7 }, /^failed 9 times, refused 7 of them, last/],
    [{ failed: 2, refused: 0 }, /^failed 2 times, last/],
  ])("%j", (counts, expected) => {
    expect(failureText({ ...counts, ...last })).toMatch(expected);
  });

  test("an error without code is its words, and one without name its number", () => {
    expect(errorText({ code: null, name: "", text: "no answer" })).toBe("no answer");
    expect(errorText({ code: 4711, name: "", text: "new" })).toBe("code 4711: new");
  });
});

test("an error that no list has is named by its text's end", () => {
  expect(
    errorName(4711, "Code: 4711. DB::Exception: new. (SOMETHING_NEW) (version 27.1 (official build))"),
  ).toBe("SOMETHING_NEW");
  expect(errorName(4711, "new")).toBe("");
});

describe("values of spans", () => {
  test.each([
    [
      "Cannot parse string 'it's a secret' as Int32: while executing 'f(x)': while pushing to view v",
      "Cannot parse string '…': while pushing to view v",
    ],
    ["Column values: a = 5", "Column values: …"],
    ['Cannot parse "secret', 'Cannot parse "…'],
    ["Table default.x doesn't exist", "Table default.x doesn't exist"],
    ["Setting `s` shouldn't be 'secret'", "Setting `s` shouldn't be '…'"],
  ])("are cut out of %s", (text, expected) => {
    expect(withoutValues(text)).toBe(expected);
  });

  test("are in no error that is everybody's: what it quotes are columns and settings, and stays", () => {
    expect(reasonOf(16, "Code: 16. DB::Exception: No such column 'x' in table")).toContain("'x'");
  });

  test("are not in the reason, which the log repeats", () => {
    const reason = reasonOf(469, constraint);
    expect(reason).toContain("(SpanName != '…')");
    expect(reason).not.toMatch(/poison'|Duration/);
  });
});
