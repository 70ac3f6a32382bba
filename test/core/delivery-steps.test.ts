/** The work on a group, effect by effect: all that each step asks for, and all that it reports. */
import { describe, expect, test } from "vitest";
import { BrokenInvariant } from "../../shared/assert.ts";
import { clearRows } from "../../shared/delivery/clearing.ts";
import type {
  DeliveryEffects,
  DeliveryPerformer,
  DeliveryWork,
  InsertTask,
} from "../../shared/delivery/effects.ts";
import { countRows, keysLookedFor, measureTable, verifyGroup } from "../../shared/delivery/evidence.ts";
import { workOnGroup } from "../../shared/delivery/group-work.ts";
import { insertGroup } from "../../shared/delivery/insertion.ts";
import { writeReceipts } from "../../shared/delivery/receipts.ts";
import { perform } from "../../shared/effect.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import { idOfKey, type PayloadKey } from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import { failure, groupId, one, today, transcoded, two } from "../ledger/one-step.ts";
import { codecVersion, doorbell, knownTable, startMs } from "../ledger/world.ts";

type Asked = readonly [name: keyof DeliveryEffects, asks: unknown];

const deadline = startMs + 90_000;
const context = { now: () => startMs, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 };
const base = { group: groupId, attempt: 3, deadline, payloads: [one, two], table: knownTable };
const insert: InsertTask = {
  ...base,
  step: "insert",
  blocks: 2,
  isFirstInsert: true,
  serverDeadline: deadline,
  byColumn: false,
};
const ids = [one, two].map(({ key }) => idOfKey(key));
const payloads = transcoded(one, two).map((stored) => ({
  ...stored,
  rowsByDay: stored.rowsByDay.map(({ rows }, n) => ({ day: today + n, rows })),
}));
const built = { kind: "built", rows: 30, payloads } as const;
const ok = { httpStatus: 200, exceptionCode: null, text: "", clickHouseHeaders: true };
const witness = { table: knownTable, server: "one", behind: "", replicas: 1, upSeconds: 1 };
const measure = { blocks: 50, windowBlocks: 1000, windowMs: null, identity: knownTable };
const noWords = { rows: [[], []], witness };
const away = async (): Promise<never> => {
  throw new Error("away");
};
const breaks = async (): Promise<never> => {
  throw new BrokenInvariant("days ascend");
};

/** Performs the work; what is not named answers null. */
async function asked<T>(
  work: DeliveryWork<T>,
  performer: Partial<DeliveryPerformer>,
): Promise<{ readonly asked: readonly Asked[]; readonly ended: T }> {
  const seen: Asked[] = [];
  const watched = new Proxy(performer, {
    get: (target, name: keyof DeliveryEffects) => async (asks: never) => {
      seen.push([name, asks]);
      return (await target[name]?.(asks)) ?? null;
    },
  });
  return { ended: await perform(work, watched as DeliveryPerformer), asked: seen };
}

const receiptOf = (key: PayloadKey, outcome: Receipt["outcome"] = "stored"): Receipt => ({
  key,
  outcome,
  group: groupId,
  spans: 10,
  rowsByDay: [],
  rejectedSpans: 0,
  bytes: 100,
  reason: "",
});
const receiptsTask: GroupTask = {
  ...base,
  step: "receipts",
  receipts: [receiptOf(one.key)],
  completeView: false,
  failure,
};

describe("the work on a group", () => {
  const work = (task: GroupTask, performer: Partial<DeliveryPerformer>) =>
    asked(workOnGroup(task, context), performer);
  const measureTask: GroupTask = { ...base, step: "measure" };
  const unreadable = { kind: "retry", reason: "the evidence could not be read: Error: away" };

  test("goes on with the steps that the ledger answers, until there is none", async () => {
    const next = [insert, receiptsTask];
    const answered = { answer: ok, writtenRows: undefined };
    const { asked: seen } = await work(measureTask, {
      readTable: async () => ({ refusal: "full", measure, oldestDay: 0, witness }),
      buildBlock: async () => built,
      sendBlock: async () => answered,
      report: async () => next.shift() ?? null,
    });
    expect(seen).toEqual([
      ["readTable", knownTable],
      ["report", { task: measureTask, report: { kind: "measured", table: measure, refusal: "full" } }],
      ["buildBlock", { payloads: [one, two], blocks: 2, deadline }],
      ["sendBlock", { task: insert, patienceMs: 90_000 }],
      ["report", { task: insert, report: { kind: "stored", payloads, codecVersion } }],
      ["writeReceipts", { receipts: receiptsTask.receipts, now: startMs }],
      ["receipted", [{ group: groupId, attempt: 3 }]],
    ]);
  });

  test("reports evidence that could not be read, and a deletion that failed, as retried", async () => {
    const steps: readonly (readonly [GroupTask, Partial<DeliveryPerformer>])[] = [
      [measureTask, { readTable: away }],
      [
        { ...base, step: "count", why: "stored" },
        { countRows: away, readWitness: async () => witness },
      ],
      [{ ...base, step: "verify", rows: null, isBlind: false }, { findRunning: away }],
      [{ ...base, step: "clear" }, { readReceipts: away }],
    ];
    for (const [task, performer] of steps) {
      const { asked: seen } = await work(task, performer);
      expect(seen.at(-1)).toEqual(["report", { task, report: unreadable }]);
    }
  });

  test("leaves a group whose report does not reach the ledger to its lease, and says why", async () => {
    const { asked: seen } = await work(measureTask, { readTable: away, report: away });
    expect(seen.slice(-2)).toEqual([
      ["report", { task: measureTask, report: unreadable }],
      ["leave", { group: groupId, reason: "Error: away" }],
    ]);
  });

  test("reports receipts that could not be written, and leaves them where that cannot be reported either", async () => {
    const reason = "the receipts could not be written: Error: away";
    const report = ["report", { task: receiptsTask, report: { kind: "retry", reason } }];
    const written = ["writeReceipts", { receipts: receiptsTask.receipts, now: startMs }];
    const failed = await work(receiptsTask, { writeReceipts: away });
    expect(failed.asked).toEqual([written, report]);
    const alone = await work(receiptsTask, { writeReceipts: away, report: away });
    expect(alone.asked).toEqual([
      written,
      report,
      ["leave", { group: groupId, reason: "EffectFailed: Error: away" }],
    ]);
  });

  test("reports an erasure that is not at its end as retried", async () => {
    const task = { ...receiptsTask, receipts: [receiptOf(one.key, "erased")] };
    const other = { ...witness, table: "plain 0 other" };
    const { asked: seen } = await work(task, {
      readReceipts: async () => [[]],
      readWitness: async () => other,
      countRows: async () => ({ rows: [[]], witness: other }),
    });
    expect(seen.at(-1)).toMatchObject([
      "report",
      {
        task,
        report: { kind: "retry", reason: expect.stringMatching(/^rows are to be erased: no evidence: /) },
      },
    ]);
  });

  test("reports a broken invariant of the step that broke it, and leaves the group where it cannot", async () => {
    const report = ["report", { task: insert, report: { kind: "broken", reason: "days ascend" } }];
    const next = [insert];
    const broke = await work(measureTask, {
      readTable: async () => ({ refusal: "", measure, oldestDay: 0, witness }),
      buildBlock: breaks,
      report: async () => next.shift() ?? null,
    });
    expect(broke.asked.at(-1)).toEqual(report);
    const alone = await work(insert, { buildBlock: breaks, report: away });
    expect(alone.asked.slice(-2)).toEqual([
      report,
      ["leave", { group: groupId, reason: "EffectFailed: Error: away" }],
    ]);
  });
});

describe("an INSERT", () => {
  const at = (now: number) => ({ ...context, now: () => now });
  const inserted = (performer: Partial<DeliveryPerformer>, task = insert, now = startMs) =>
    asked(insertGroup(task, at(now)), { buildBlock: async () => built, ...performer });
  const answers = (answer: object, writtenRows?: number): Partial<DeliveryPerformer> => ({
    sendBlock: async () => ({ answer: { ...ok, ...answer }, writtenRows }),
  });
  const failed = (code: string, text: string) =>
    answers({ httpStatus: 500, exceptionCode: code, text: `Code: ${code}. DB::Exception: ${text}` });

  test("is of one block where nothing says how many", async () => {
    const { blocks: _, ...older } = insert;
    const { asked: seen } = await inserted(answers({}), older);
    expect(seen[0]).toEqual(["buildBlock", { payloads: [one, two], blocks: 1, deadline }]);
  });

  test("is reported as what its answer proves", async () => {
    const ended = async (performer: Partial<DeliveryPerformer>, task = insert) =>
      (await inserted(performer, task)).ended;
    expect(await ended(answers({}))).toEqual({ kind: "stored", payloads, codecVersion });
    expect(await ended(answers({}, 30))).toEqual({ kind: "stored", payloads, codecVersion });
    expect(await ended(answers({}, 29))).toEqual({
      kind: "unknown",
      reason: "29 rows written of 30 sent",
      payloads,
    });
    expect(await ended(answers({}, 29), { ...insert, isFirstInsert: false })).toMatchObject({
      kind: "stored",
    });
    expect(await ended(failed("117", "bad"))).toEqual({
      kind: "refused",
      reason: expect.stringContaining("bad"),
      payloads,
      code: 117,
    });
    const silent = await ended(answers({ httpStatus: 502, clickHouseHeaders: false, text: "" }));
    expect(silent).toMatchObject({ kind: "unknown", payloads });
    expect(silent).not.toHaveProperty("code");
  });

  test("is looked at once more where it has rows of a day before today", async () => {
    const day = (n: number, rows: number) => [{ ...(payloads[0] ?? never()), rowsByDay: [{ day: n, rows }] }];
    const looked = async (of: typeof payloads, readTable: DeliveryPerformer["readTable"]) =>
      await inserted({ ...answers({}), buildBlock: async () => ({ ...built, payloads: of }), readTable });
    const table = async () => ({ refusal: "full", measure, oldestDay: 0, witness });
    const old = day(today - 1, 4);
    const { asked: seen, ended } = await looked(old, table);
    expect(seen.at(-1)).toEqual(["readTable", knownTable]);
    expect(ended).toEqual({
      kind: "stored",
      payloads: old,
      codecVersion,
      look: { refusal: "full", measure },
    });
    const [fresh = never(), partly = never()] = payloads;
    const oneRow = [
      { day: today - 1, rows: 1 },
      { day: today, rows: 3 },
    ];
    expect((await looked([fresh, { ...partly, rowsByDay: oneRow }], table)).ended).toHaveProperty("look");
    for (const young of [day(today, 4), day(today - 1, 0), []]) {
      expect((await looked(young, table)).ended).toEqual({ kind: "stored", payloads: young, codecVersion });
    }
    expect(
      (await looked(old, async () => ({ refusal: "", measure: null, oldestDay: 0, witness: null }))).ended,
    ).toEqual({
      kind: "unknown",
      payloads: old,
      reason: "stored, and then the table was not there",
    });
    expect((await looked(old, away)).ended).toEqual({
      kind: "unknown",
      payloads: old,
      reason: "stored, but the table's TTL could not be read: Error: away",
    });
    await expect(looked(old, breaks)).rejects.toThrow("days ascend");
  });

  test("that is not begun is reported as such, and a broken invariant is not caught", async () => {
    const busy = await inserted({ buildBlock: async () => ({ kind: "busy" }) });
    expect(busy).toEqual({
      asked: [["buildBlock", { payloads: [one, two], blocks: 2, deadline }]],
      ended: { kind: "retry", reason: "the isolate had no memory left for the block", passes: true },
    });
    expect((await inserted({}, insert, deadline)).ended).toEqual({
      kind: "retry",
      reason: "the attempt's lease ran out before its INSERT began",
      passes: true,
    });
    await expect(inserted({ buildBlock: breaks })).rejects.toThrow("days ascend");
    await expect(inserted({ sendBlock: breaks })).rejects.toThrow("days ascend");
  });
});

describe("evidence", () => {
  const verify = { ...base, step: "verify", rows: null, isBlind: false } as const;
  const second = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
  const rowsOf = (...days: readonly (readonly [number, number])[]) =>
    days.map(([day, rows]) => ({ day, rows }));
  const object = { spans: 10, rejectedSpans: 1, bytes: 100, rowsByDay: rowsOf([today, 10]) };
  const healthy: Partial<DeliveryPerformer> = {
    findRunning: async () => ({ running: false, servers: 1, witness }),
    readReceipts: async () => [[], []],
    readTable: async () => ({ refusal: "", measure, oldestDay: today, witness }),
    countRows: async () => ({ rows: [rowsOf([today - 1, 3], [today, 10]), []], witness }),
    readObject: async ({ key }) => (key === one.key ? object : null),
  };

  test("of the table is measured; where it is not there nothing is", async () => {
    const task = { ...base, step: "measure" } as const;
    expect(
      await asked(measureTable(task), {
        readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness: null }),
      }),
    ).toEqual({
      asked: [["readTable", knownTable]],
      ended: { kind: "retry", reason: "the table is not there" },
    });
  });

  test("of rows is counted payload by payload, in the task's order", async () => {
    const task = { ...base, step: "count", why: "stored" } as const;
    const rows = [rowsOf([today, 10])];
    const counted = await asked(countRows(task), {
      readWitness: async () => witness,
      countRows: async () => ({ rows, witness }),
    });
    expect(counted.asked.at(-1)).toEqual(["countRows", { ids, table: knownTable }]);
    expect(counted.ended).toEqual({
      kind: "counted",
      payloads: [
        { key: one.key, rowsByDay: rows[0] },
        { key: two.key, rowsByDay: [] },
      ],
    });
    const lags = await asked(countRows(task), {
      readWitness: async () => null,
      countRows: async () => ({ rows: [], witness: null }),
    });
    expect(lags.ended).toMatchObject({
      kind: "retry",
      noEvidence: true,
      reason: expect.stringMatching(/^no evidence: ./),
    });
  });

  test("for VERIFY is what runs, the receipts, the rows inside of the TTL and the objects", async () => {
    const { asked: seen, ended } = await asked(verifyGroup(verify, context), healthy);
    expect(seen.filter(([name]) => name !== "readWitness")).toEqual([
      ["findRunning", { group: groupId, table: knownTable }],
      ["readReceipts", ids],
      ["readTable", knownTable],
      ["countRows", { ids, table: knownTable }],
      ["readObject", { payload: one, key: one.key, count: true }],
      ["readObject", { payload: two, key: two.key, count: true }],
    ]);
    expect(ended).toEqual({
      kind: "verified",
      running: false,
      oldestDay: today,
      payloads: [
        { key: one.key, receipts: [], rowsByDay: rowsOf([today, 10]), object: { key: one.key, ...object } },
        { key: two.key, receipts: [], rowsByDay: [], object: null },
      ],
    });
  });

  test("for VERIFY: what runs is ended first, and said; the table is the one that was seen", async () => {
    const running = { ...healthy, findRunning: async () => ({ running: true, servers: 1, witness }) };
    const { asked: seen, ended } = await asked(verifyGroup({ ...verify, table: null }, context), {
      ...running,
      readWitness: async () => witness,
    });
    expect(seen.slice(0, 4)).toEqual([
      ["findRunning", { group: groupId, table: null }],
      ["killRunning", groupId],
      ["readReceipts", ids],
      ["readTable", knownTable],
    ]);
    expect(ended).toMatchObject({ kind: "verified", running: true });
  });

  test("for VERIFY is none where the processes are those of another table than the ledger knows", async () => {
    const other = { ...witness, table: "plain 0 other" };
    const { asked: seen, ended } = await asked(verifyGroup(verify, context), {
      ...healthy,
      findRunning: async () => ({ running: false, servers: 1, witness: other }),
    });
    expect(seen.map(([name]) => name)).toEqual(["findRunning"]);
    expect(ended).toMatchObject({ kind: "retry", noEvidence: true });
  });

  test("for VERIFY is none where the TTL is not understood", async () => {
    const unclear = async () => ({ refusal: "", measure, oldestDay: null, witness });
    const { ended } = await asked(verifyGroup(verify, context), { ...healthy, readTable: unclear });
    expect(ended).toEqual({ kind: "retry", reason: "the table's TTL is not understood" });
  });

  test("for VERIFY: objects are transcoded only where nothing else says their rows", async () => {
    const counts = async (task: Parameters<typeof verifyGroup>[0], receipts: readonly Receipt[] = []) => {
      const { asked: seen } = await asked(verifyGroup(task, context), {
        ...healthy,
        readReceipts: async () => [receipts, []],
      });
      return seen
        .filter(([name]) => name === "readObject")
        .map(([, asks]) => (asks as DeliveryEffects["readObject"]["asks"]).count);
    };
    expect(await counts(verify)).toEqual([true, true]);
    expect(await counts({ ...verify, isBlind: true })).toEqual([false, false]);
    expect(await counts({ ...verify, rows: payloads })).toEqual([false, false]);
    const stored = { ...receiptOf(one.key), rowsByDay: rowsOf([today, 10]) };
    expect(await counts(verify, [stored])).toEqual([false, true]);
    expect(await counts(verify, [{ ...stored, outcome: "duplicate" }])).toEqual([true, true]);
  });

  test("for VERIFY: an object that is damaged counts only where there is no other copy of its bytes", async () => {
    const task = { ...verify, payloads: [{ ...one, duplicateKeys: [second] }] };
    const damaged = { spans: 10, rejectedSpans: 0, bytes: 0, rowsByDay: "unreadable" } as const;
    const found = async (copy: typeof object | typeof damaged | null) => {
      const { ended } = await asked(verifyGroup(task, context), {
        ...healthy,
        readObject: async ({ key }) => (key === one.key ? damaged : copy),
      });
      return ended.kind === "verified" ? ended.payloads[0]?.object : undefined;
    };
    expect(await found(object)).toEqual({ key: second, ...object });
    expect(await found(damaged)).toEqual({ key: one.key, ...damaged });
    expect(await found(null)).toEqual({ key: one.key, ...damaged });
  });

  test("for VERIFY: as many objects are looked for as it may, those of one payload together", async () => {
    const task = { ...verify, payloads: [{ ...one, duplicateKeys: [second] }, two] };
    const found = async (verifyGetsMax: number) => {
      const { ended } = await asked(verifyGroup(task, { ...context, verifyGetsMax }), healthy);
      return ended.kind === "verified" ? ended.payloads.map(({ key }) => key) : [];
    };
    expect(await found(3)).toEqual([one.key, two.key]);
    expect(await found(2)).toEqual([one.key]);
    expect(await found(1)).toEqual([one.key]);
  });

  test("an object is looked for under stored keys first, then its own, then those that receipts know, the newest", () => {
    const minutes = Array.from(
      { length: limits.verifyReceiptKeysMax + 2 },
      (_, n) => doorbell({ n: 1, arrival: startMs + (n + 2) * 60_000 }).key,
    );
    const payload = { key: one.key, duplicateKeys: [second] };
    const [, , ...newest] = minutes;
    const duplicates = minutes.map((key) => receiptOf(key, "duplicate")).reverse();
    expect(keysLookedFor(payload, duplicates)).toEqual([one.key, second, ...newest]);
    const stored = minutes.map((key) => receiptOf(key)).reverse();
    expect(keysLookedFor(payload, stored)).toEqual([...newest, one.key, second]);
    const mixed = [
      receiptOf(newest[0] ?? never()),
      receiptOf(newest[1] ?? never(), "dead"),
      receiptOf(one.key),
    ];
    expect(keysLookedFor(payload, mixed)).toEqual([one.key, newest[0], second, newest[1]]);
  });
});

describe("rows are deleted", () => {
  const clear = { ...base, step: "clear" } as const;
  const performer: Partial<DeliveryPerformer> = {
    eraseObjects: async () => ({ keys: [], reason: "" }),
    readReceipts: async () => [[], []],
    hasObject: async () => true,
    readWitness: async () => witness,
    countRows: async () => ({ rows: [[{ day: today, rows: 1 }], [{ day: today - 1, rows: 1 }]], witness }),
  };

  test("on the days that they are on, and not where there are none, nobody can count, or it is too late", async () => {
    const cleared = await asked(clearRows(clear, context), performer);
    expect(cleared.ended).toEqual({ kind: "cleared" });
    expect(cleared.asked.at(-1)).toEqual(["clearRows", { ids, days: [today - 1, today], group: groupId }]);
    const none = await asked(clearRows(clear, context), { ...performer, countRows: async () => noWords });
    expect(none.ended).toEqual({ kind: "cleared" });
    expect(none.asked.map(([name]) => name)).not.toContain("clearRows");
    const lags = await asked(clearRows(clear, context), {
      ...performer,
      readWitness: async () => null,
      countRows: async () => ({ rows: [], witness: null }),
    });
    expect(lags.ended).toMatchObject({
      kind: "retry",
      noEvidence: true,
      reason: expect.stringMatching(/^no evidence: ./),
    });
    const late = await asked(clearRows(clear, { ...context, now: () => deadline }), performer);
    expect(late.ended).toEqual({
      kind: "retry",
      reason: "the attempt's lease ran out before its DELETE began",
    });
  });

  test("of what is erased: with the times of their traces before, and the objects behind the receipts", async () => {
    const duplicate = doorbell({ n: 1, arrival: startMs + 60_000 }).key;
    const erased = [receiptOf(one.key, "erased"), receiptOf(duplicate, "erased")];
    const others = [receiptOf(two.key, "dead"), receiptOf(two.key)];
    const task = { ...receiptsTask, receipts: [...erased, ...others], completeView: true };
    const claimed = { ...receiptOf(one.key), rowsByDay: [{ day: today - 3, rows: 1 }] };
    const { asked: seen, ended } = await asked(writeReceipts(task, { ...context, deleteKeysMax: 3 }), {
      ...performer,
      readReceipts: async () => [[claimed]],
    });
    const rows = { ids: ids.slice(0, 1), days: [today - 3, today - 1, today], group: groupId };
    expect(seen.filter(([name]) => name !== "readWitness")).toEqual([
      ["completeView", ids],
      ["writeDeadLetters", { receipts: others.slice(0, 1), failure, now: startMs }],
      ["writeReceipts", { receipts: others, now: startMs }],
      ["readReceipts", ids.slice(0, 1)],
      ["countRows", { ids: ids.slice(0, 1), table: knownTable }],
      ["eraseTraceTimes", rows],
      ["eraseRows", rows],
      ["writeReceipts", { receipts: erased, now: startMs }],
      ["eraseObjects", [one.key]],
      ["eraseObjects", [duplicate]],
    ]);
    expect(ended).toBeNull();
    const ofOneDay = await asked(writeReceipts({ ...task, receipts: erased, payloads: [] }, context), {
      ...performer,
      readReceipts: async () => [[]],
      countRows: async () => ({ rows: [[{ day: today, rows: 1 }]], witness }),
    });
    expect(ofOneDay.asked).toContainEqual(["eraseRows", { ...rows, days: [today] }]);
    // Where there is no row, none is deleted.
    const none = await asked(writeReceipts({ ...task, receipts: erased, payloads: [] }, context), {
      ...performer,
      readReceipts: async () => [[]],
      countRows: async () => ({ rows: [[]], witness }),
    });
    expect(none.asked.filter(([name]) => name !== "readWitness").map(([name]) => name)).toEqual([
      "readReceipts",
      "countRows",
      "writeReceipts",
      "eraseObjects",
    ]);
  });
});

function never(): never {
  throw new Error("there is one");
}
