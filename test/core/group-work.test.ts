import { describe, expect, test } from "vitest";
import { elsewhereText, lateText } from "../../shared/clickhouse/table-fence.ts";
import { clearRows } from "../../shared/delivery/clearing.ts";
import type {
  DeliveryEffects,
  DeliveryPerformer,
  DeliveryWork,
  InsertTask,
} from "../../shared/delivery/effects.ts";
import { countRows, needsCount, verifyGroup } from "../../shared/delivery/evidence.ts";
import { insertGroup, mayBegin } from "../../shared/delivery/insertion.ts";
import { writeReceipts } from "../../shared/delivery/receipts.ts";
import { done, perform } from "../../shared/effect.ts";
import type { AttemptReport, GroupTask } from "../../shared/ledger/group.ts";
import { DAY_MS } from "../../shared/limits.ts";
import { idOfKey, type PayloadKey } from "../../shared/payload-key.ts";
import type { DayRows, PlannedReceipt, Receipt } from "../../shared/receipt.ts";
import { codecVersion, doorbell, knownTable, storedReport, TestLedger } from "../ledger/world.ts";

/** What the server of the tests' ledger's table says of itself. */
const witness = { table: knownTable, server: "one", behind: "", replicas: 1, upSeconds: 1 };

const manyLookups = { now: () => 0, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 };

test("no statement of an attempt begins at its deadline or later", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  expect(mayBegin(task, task.deadline - 1)).toBe(true);
  expect(mayBegin(task, task.deadline)).toBe(false);
});

/** The effects that a work asks for, in order; each is answered by the performer. */
async function askedBy(
  work: DeliveryWork<unknown>,
  performer: Partial<DeliveryPerformer>,
): Promise<{ readonly asked: readonly string[]; readonly ended: unknown }> {
  const asked: string[] = [];
  const watched = Object.fromEntries(
    Object.entries(performer).map(([name, act]) => [
      name,
      async (asks: never) => {
        asked.push(name);
        return await (act as (asks: never) => Promise<unknown>)(asks);
      },
    ]),
  );
  const ended = await perform(work, watched as unknown as DeliveryPerformer);
  return { asked, ended };
}

const nothing = async () => null;

test("an attempt whose lease ran out while its block was built sends nothing", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  if (task.step !== "insert") {
    throw new Error(`an INSERT was expected, not ${task.step}`);
  }
  const { payloads } = storedReport(task);
  const built = { buildBlock: async () => ({ kind: "built" as const, rows: 10, payloads }) };
  const context = { now: () => task.deadline, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 };
  const { asked, ended } = await askedBy(insertGroup(task, context), built);
  expect(asked).toEqual(["buildBlock"]);
  expect(ended).toMatchObject({ kind: "retry", passes: true });
});

test("a DELETE whose lease ran out is not begun", async () => {
  const task = {
    step: "clear",
    group: "0".repeat(32),
    attempt: 1,
    deadline: 1000,
    table: knownTable,
    payloads: [{ key: doorbell({ n: 1 }).key, duplicateKeys: [] }],
  } as unknown as Parameters<typeof clearRows>[0];
  const performer = {
    readReceipts: async () => [[]],
    hasObject: async () => true,
    countRows: async () => ({ rows: [[{ day: 20_781, rows: 10 }]], witness }),
    clearRows: nothing,
  };
  const at = (now: number) => ({ now: () => now, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 });
  const late = await askedBy(clearRows(task, at(1000)), performer);
  expect(late.asked).not.toContain("clearRows");
  expect(late.ended).toMatchObject({ kind: "retry" });
  expect((await askedBy(clearRows(task, at(999)), performer)).asked).toContain("clearRows");
});

test("rows are deleted only where R2 has an object of each payload, under whichever of its keys", async () => {
  const keys = [1, 2].map((n) => doorbell({ n }).key);
  const [second, third] = [1, 2].map((minutes) => {
    const arrival = doorbell({ n: 2 }).arrival + minutes * 60_000;
    return doorbell({ n: 2, arrival }).key;
  });
  const task = {
    step: "clear",
    group: "0".repeat(32),
    attempt: 3,
    deadline: 1000,
    table: knownTable,
    payloads: [
      { key: keys[0], duplicateKeys: [] },
      { key: keys[1], duplicateKeys: [second] },
    ],
  } as unknown as Parameters<typeof clearRows>[0];
  const cleared: unknown[] = [];
  const clear = (objects: readonly (PayloadKey | undefined)[]) =>
    askedBy(clearRows(task, manyLookups), {
      readReceipts: async () => [[], third === undefined ? [] : [receiptOf(third)]],
      hasObject: async (key) => objects.includes(key),
      countRows: async () => ({ rows: [[{ day: 20_781, rows: 10 }], []], witness }),
      clearRows: async (asks) => {
        cleared.push(asks);
        return null;
      },
    });
  expect((await clear([keys[0], second])).ended).toEqual({ kind: "cleared" });
  expect(cleared).toEqual([
    { ids: keys.map((key) => key && idOfKey(key)), days: [20_781], group: task.group },
  ]);
  // Also one that only receipts know of.
  expect((await clear([keys[0], third])).ended).toEqual({ kind: "cleared" });
  for (const objects of [[keys[0]], [second], []]) {
    expect((await clear(objects)).ended).toEqual({ kind: "kept" });
  }
  expect(cleared).toHaveLength(2);
});

test("VERIFY ends what runs before it reads anything, and says that something ran", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1, cause: "replay" });
  ledger.now += 600_000;
  const task = ledger.takeNotified();
  if (task.step !== "verify") {
    throw new Error(`VERIFY was expected, not ${task.step}`);
  }
  const performer: Partial<DeliveryPerformer> = {
    findRunning: async () => ({ running: true, servers: 1, witness }),
    killRunning: nothing,
    readReceipts: async (ids) => ids.map(() => []),
    readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness }),
    countRows: async ({ ids }) => ({ rows: ids.map(() => []), witness }),
    readObject: async () => null,
  };
  const running = await askedBy(verifyGroup(task, manyLookups), performer);
  expect(running.asked.slice(0, 2)).toEqual(["findRunning", "killRunning"]);
  expect(running.ended).toMatchObject({ kind: "verified", running: true });
  const alone = await askedBy(verifyGroup(task, manyLookups), {
    ...performer,
    findRunning: async () => ({ running: false, servers: 1, witness }),
  });
  expect(alone.asked).not.toContain("killRunning");
  expect(alone.ended).toMatchObject({ running: false });
});

test("an erasure is rows, then receipts, then objects: nothing says `erased` of what is there", async () => {
  const ledger = new TestLedger();
  ledger.step({ kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" });
  ledger.now += 600_000;
  const verify = ledger.takeNotified();
  const { key } = doorbell({ n: 1 });
  const object = { key, spans: 10, rejectedSpans: 0, bytes: 100, rowsByDay: [{ day: 20_781, rows: 10 }] };
  const task = ledger.report(verify, {
    kind: "verified",
    running: false,
    oldestDay: 0,
    payloads: [{ key, receipts: [], rowsByDay: [{ day: 20_781, rows: 10 }], object }],
  });
  if (task?.step !== "receipts") {
    throw new Error(`receipts were expected, not ${task?.step}`);
  }
  const context = { now: () => ledger.now, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 };
  const performer = {
    readReceipts: async () => [
      [{ ...receiptOf(key), outcome: "stored" as const, rowsByDay: [{ day: 20_780, rows: 1 }] }],
    ],
    countRows: async () => ({ rows: [[{ day: 20_781, rows: 10 }]], witness }),
    completeView: nothing,
    writeReceipts: nothing,
    eraseTraceTimes: nothing,
    eraseRows: async ({ days }: { readonly days: readonly number[] }) => {
      expect(days).toEqual([20_780, 20_781]); // what is counted, and what a receipt claims
      return null;
    },
    eraseObjects: async () => ({ keys: [], reason: "" }),
  };
  const whole = await askedBy(writeReceipts(task, context), performer);
  expect(whole.asked.slice(2)).toEqual(["eraseTraceTimes", "eraseRows", "writeReceipts", "eraseObjects"]);
  expect(whole.ended).toBeNull();

  // While a DELETE goes on, or nobody can count, nothing is said of it; receipts of others are written.
  const going = async () => Promise.reject(new Error("the DELETE goes on"));
  for (const name of ["eraseTraceTimes", "eraseRows"] as const) {
    const { asked, ended } = await askedBy(writeReceipts(task, context), { ...performer, [name]: going });
    expect(asked.at(-1)).toBe(name);
    expect(ended).toEqual({ reason: "rows are to be erased: Error: the DELETE goes on", ofErasure: true });
  }
  const other = { ...receiptOf(doorbell({ n: 2 }).key), outcome: "stored" as const };
  const unknown = { rows: [[]], witness: { ...witness, table: "plain another", behind: "" } };
  const both = { ...task, receipts: [...task.receipts, other] };
  const waits = await askedBy(writeReceipts(both, context), { ...performer, countRows: async () => unknown });
  expect(waits.asked.filter((name) => /write|erase/.test(name))).toEqual(["writeReceipts"]);
  const noEvidence = expect.stringMatching(/^rows are to be erased: no evidence: /);
  expect(waits.ended).toEqual({ reason: noEvidence, ofErasure: true });
});

describe("objects of five payloads", () => {
  const keys = [1, 2, 3, 4, 5].map((n) => doorbell({ n }).key);

  /** Their rows are gone. `eraseObjects`: what R2 does. */
  async function erase(
    deleteKeysMax: number,
    eraseObjects: DeliveryPerformer["eraseObjects"],
    isWritten: (at: number) => boolean = () => false,
    more: Partial<DeliveryPerformer> = {},
  ) {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const { group, attempt, deadline, payloads, table } = ledger.takeNotified();
    const receipts = keys.map((key, at): PlannedReceipt => {
      const receipt = { ...receiptOf(key), outcome: "erased", rowsByDay: [] } as const;
      return isWritten(at) ? { ...receipt, isWritten: true } : receipt;
    });
    const base = { group, attempt, deadline, payloads, table };
    const task = { ...base, step: "receipts", receipts, completeView: true } as const;
    return await perform(writeReceipts(task, { ...manyLookups, deleteKeysMax }), {
      readReceipts: async () => keys.map(() => []),
      countRows: async () => ({ rows: [], witness }),
      completeView: nothing,
      writeReceipts: nothing,
      eraseTraceTimes: nothing,
      eraseRows: nothing,
      eraseObjects,
      ...more,
    } as unknown as DeliveryPerformer);
  }

  test("are erased in as many calls as R2 needs, two of its keys for each payload", async () => {
    for (const [deleteKeysMax, parts] of [
      [4, [keys.slice(0, 2), keys.slice(2, 4), keys.slice(4)]],
      [5, [keys.slice(0, 2), keys.slice(2, 4), keys.slice(4)]],
      [10, [keys]],
    ] as const) {
      const erased: (readonly PayloadKey[])[] = [];
      const ended = await erase(deleteKeysMax, async (some) => {
        erased.push(some);
        return { keys: [], reason: "" };
      });
      expect(erased).toEqual(parts);
      expect(ended).toBeNull();
    }
  });

  test("of which everything else was done before cost their own erasure, and nothing more", async () => {
    const erased: PayloadKey[] = [];
    const eraseObjects = async (some: readonly PayloadKey[]) => {
      erased.push(...some);
      return { keys: [], reason: "" };
    };
    const never = async () => expect.unreachable();
    const nobody = { readReceipts: never, countRows: never, completeView: never, writeReceipts: never };
    expect(await erase(10, eraseObjects, () => true, nobody)).toBeNull();
    expect(erased).toEqual(keys);

    // Beside others, which have it all to do.
    erased.length = 0;
    const written: string[] = [];
    const asked: string[] = [];
    const ended = await erase(10, eraseObjects, (at) => at % 2 === 0, {
      readReceipts: async (ids) => {
        asked.push(...ids);
        return ids.map(() => []);
      },
      writeReceipts: async ({ receipts }) => {
        written.push(...receipts.map(({ key }) => key));
        return null;
      },
    });
    const others = keys.filter((_, at) => at % 2 === 1);
    expect([asked, written]).toEqual([others.map(idOfKey), others]);
    expect([...erased].sort()).toEqual([...keys].sort());
    expect(ended).toBeNull();
  });

  test("that cannot be erased keep no other one, and are named", async () => {
    const [first, , third, fourth] = keys;
    const asked: PayloadKey[] = [];
    const ended = await erase(4, async (some) => {
      asked.push(...some);
      if (some.includes(third ?? expect.unreachable())) {
        throw new Error("R2 said no");
      }
      return { keys: some.filter((key) => key === first), reason: "it is of version 3" };
    });
    expect(asked).toEqual(keys);
    expect(ended).toEqual({
      reason: "not erased: it is of version 3",
      ofErasure: true,
      left: [first, third, fourth],
    });
  });
});

test("a dead letter is kept before its receipt, and what needs neither asks for neither", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const { group, attempt, deadline, payloads, table } = ledger.takeNotified();
  const [stored, dead] = [1, 2].map((n) => receiptOf(doorbell({ n }).key));
  const written: unknown[] = [];
  const write = async (asks: unknown): Promise<null> => {
    written.push(asks);
    return null;
  };
  const work = (receipts: readonly Receipt[], completeView: boolean) =>
    askedBy(
      writeReceipts(
        { step: "receipts", group, attempt, deadline, payloads, table, receipts, completeView },
        { ...manyLookups, now: () => 5 },
      ),
      { completeView: write, writeDeadLetters: write, writeReceipts: write },
    );
  if (stored === undefined || dead === undefined) {
    throw new Error("there are two");
  }
  const both = [stored, { ...dead, outcome: "dead" } as const];
  expect((await work(both, true)).asked).toEqual(["completeView", "writeDeadLetters", "writeReceipts"]);
  expect(written).toEqual([
    payloads.map(({ key }) => idOfKey(key)),
    { receipts: both.slice(1), failure: null, now: 5 },
    { receipts: both, now: 5 },
  ]);
  expect((await work([stored], false)).asked).toEqual(["writeReceipts"]);
  expect((await work([], false)).asked).toEqual([]);
});

test("an object is transcoded unless a transcode or a stored receipt with rows says what it comes to", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const { group } = ledger.takeNotified();
  const { key } = doorbell({ n: 1 });
  const receipt: Receipt = {
    key,
    outcome: "stored",
    group,
    spans: 10,
    rowsByDay: [{ day: 20_781, rows: 10 }],
    rejectedSpans: 0,
    bytes: 100,
    reason: "",
  };
  expect(needsCount(null, [])).toBe(true);
  expect(needsCount(null, [receipt])).toBe(false);
  expect(needsCount(null, [{ ...receipt, outcome: "duplicate", rowsByDay: [] }])).toBe(true);
  // Or VERIFY would have nothing to compare with, fail its assertion, and be repeated for ever.
  expect(needsCount(null, [{ ...receipt, rowsByDay: [] }])).toBe(true);
  expect(needsCount([{ key, rowsByDay: [], rejectedSpans: 0, bytes: 100 }], [])).toBe(false);
});

/** What an attempt reports whose INSERT of 10 rows is answered like this. */
function reportOfInsert(
  task: GroupTask,
  answered: Partial<DeliveryEffects["sendBlock"]["answers"]>,
): AttemptReport {
  if (task.step !== "insert") {
    throw new Error(`an INSERT was expected, not ${task.step}`);
  }
  const { payloads } = storedReport(task);
  const ok = { httpStatus: 200, exceptionCode: null, text: "", clickHouseHeaders: true };
  const work = insertGroup(task satisfies InsertTask, {
    now: () => task.deadline - 1,
    codecVersion,
    deleteKeysMax: 1000,
    verifyGetsMax: 1000,
  });
  expect(work.next().value).toMatchObject({ name: "buildBlock" });
  expect(
    work.next(done<DeliveryEffects, "buildBlock">("buildBlock", { kind: "built", rows: 10, payloads })),
  ).toMatchObject({ value: { name: "sendBlock" } });
  const ended = work.next(
    done<DeliveryEffects, "sendBlock">("sendBlock", { answer: ok, writtenRows: undefined, ...answered }),
  );
  if (ended.done !== true) {
    throw new Error("an answered INSERT is the attempt's end");
  }
  return ended.value;
}

test("whatever ClickHouse answers, the report says what the block came to: VERIFY compares the rows with it", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  const { payloads } = storedReport(task);
  const failed = (exceptionCode: string, text: string) =>
    reportOfInsert(task, {
      answer: {
        httpStatus: 500,
        exceptionCode,
        text: `Code: ${exceptionCode}. DB::Exception: ${text}`,
        clickHouseHeaders: true,
      },
    });
  expect(failed("241", "memory")).toMatchObject({ kind: "retry", code: 241, payloads });
  expect(failed("117", "bad data")).toMatchObject({ kind: "refused", code: 117, payloads });
  expect(failed("395", lateText)).toMatchObject({ kind: "retry", passes: true, payloads });
  expect(failed("9999", "?")).toMatchObject({ kind: "unlisted", code: 9999, payloads });
  // Only an answer of another table's says so: it halts everybody, and leaves the group as clean as before.
  expect(failed("395", elsewhereText)).toMatchObject({ kind: "halted", elsewhere: true, payloads });
  expect(failed("117", "bad data")).not.toHaveProperty("elsewhere");
  expect(failed("117", "bad data")).not.toHaveProperty("passes");
  expect(reportOfInsert(task, { writtenRows: 0 })).toMatchObject({ kind: "unknown", payloads });
  expect(reportOfInsert(task, {})).toMatchObject({ kind: "stored", payloads, codecVersion });
});

test("an answer is waited for until the lease ends, and one that does not come leaves the outcome unknown", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  if (task.step !== "insert") {
    throw new Error(`an INSERT was expected, not ${task.step}`);
  }
  const { payloads } = storedReport(task);
  let patience = 0;
  const { ended } = await askedBy(insertGroup(task, { ...manyLookups, now: () => task.deadline - 7 }), {
    buildBlock: async () => ({ kind: "built", rows: 10, payloads }),
    sendBlock: async ({ patienceMs }) => {
      patience = patienceMs;
      throw new Error("reset");
    },
  });
  expect(patience).toBe(7);
  expect(ended).toEqual({ kind: "unknown", reason: "no answer: Error: reset", payloads });
});

test("a block that is not built sends nothing: it is unreadable, or retried", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  if (task.step !== "insert") {
    throw new Error(`an INSERT was expected, not ${task.step}`);
  }
  const { key } = doorbell({ n: 1 });
  const unreadable = { kind: "unreadable", keys: [key], reason: "decode" } as const;
  const built = (buildBlock: DeliveryPerformer["buildBlock"]) =>
    askedBy(insertGroup(task, { ...manyLookups, now: () => task.deadline - 1 }), { buildBlock });
  expect(await built(async () => unreadable)).toEqual({ asked: ["buildBlock"], ended: unreadable });
  // An isolate without memory says nothing about the group; an object that R2 does not give may.
  expect((await built(async () => ({ kind: "busy" }))).ended).toMatchObject({ kind: "retry", passes: true });
  expect((await built(async () => ({ kind: "too_large", reason: "33 MiB" }))).ended).toEqual({
    kind: "retry",
    reason: "33 MiB",
    tooLarge: true,
  });
  const failed = await built(async () => {
    throw new Error("R2 is away");
  });
  expect(failed.asked).toEqual(["buildBlock"]);
  expect(failed.ended).toEqual({ kind: "retry", reason: "the block could not be built: Error: R2 is away" });
});

test("a 200 that wrote too few rows is no proof, also where an attempt before had ended without an INSERT", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const first = ledger.takeNotified();
  ledger.report(first, { kind: "retry", reason: "R2 did not answer" });
  ledger.now += 60_000;
  const second = ledger.takeNotified();
  expect(second).toMatchObject({ attempt: 2, isFirstInsert: true });
  expect(reportOfInsert(second, { writtenRows: 0 })).toMatchObject({ kind: "unknown" });
  expect(reportOfInsert(second, { writtenRows: 10 })).toMatchObject({ kind: "stored" });
});

test("an INSERT that the server found late leaves its group as clean as one that was never sent", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  const text = `Code: 395. DB::Exception: ${lateText}`;
  const answer = { httpStatus: 500, exceptionCode: "395", text, clickHouseHeaders: true };
  const report = reportOfInsert(task, { answer });
  expect(report).toMatchObject({ kind: "retry" });
  ledger.report(task, report);
  expect(ledger.state.group(task.group)).toMatchObject({ outcomeUnknown: false });
});

describe("a TTL that a person set since the ledger's last look", () => {
  const table = { blocks: 0, windowBlocks: 1000, windowMs: null, identity: knownTable };
  const today = Math.floor(doorbell({ n: 1 }).arrival / DAY_MS);

  /** An INSERT of rows of this day, into a table that has a TTL by now. */
  async function inserted(day: number, readTable: DeliveryPerformer["readTable"]) {
    const ledger = new TestLedger();
    ledger.step({ kind: "table", table: { refusal: "", measure: { ...table, ttl: { kind: "none" } } } });
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    if (task.step !== "insert") {
      throw new Error(`an INSERT was expected, not ${task.step}`);
    }
    const payloads = storedReport(task).payloads.map((one) => ({ ...one, rowsByDay: [{ day, rows: 10 }] }));
    const answer = { httpStatus: 200, exceptionCode: null, text: "", clickHouseHeaders: true };
    const { asked, ended } = await askedBy(insertGroup(task, { ...manyLookups, now: () => ledger.now }), {
      buildBlock: async () => ({ kind: "built", rows: 10, payloads }),
      sendBlock: async () => ({ answer, writtenRows: undefined }),
      readTable,
    });
    return { asked, ended, next: ledger.report(task, ended as AttemptReport), ledger };
  }
  const week = { kind: "keeps", months: 0, ms: 7 * DAY_MS } as const;
  const withTtl = async () => ({
    refusal: "",
    measure: { ...table, ttl: week },
    oldestDay: null,
    witness: null,
  });

  test("is seen before the receipts of old rows are written: what it dropped at its INSERT is not called stored", async () => {
    const { asked, next } = await inserted(today - 9, withTtl);
    expect(asked).toEqual(["buildBlock", "sendBlock", "readTable"]);
    expect(next).toMatchObject({ step: "receipts", receipts: [{ outcome: "expired", rowsByDay: [] }] });
  });

  test("costs nothing where all rows are of today, and takes nothing that it keeps", async () => {
    const ofToday = await inserted(today, withTtl);
    expect(ofToday.asked).toEqual(["buildBlock", "sendBlock"]);
    expect(ofToday.next).toMatchObject({ step: "receipts", receipts: [{ outcome: "stored" }] });
    const kept = await inserted(today - 1, withTtl);
    expect(kept.asked).toContain("readTable");
    expect(kept.next).toMatchObject({ step: "receipts", receipts: [{ outcome: "stored" }] });
  });

  test("leaves the outcome open where the table cannot be read", async () => {
    for (const readTable of [
      async () => {
        throw new Error("away");
      },
      async () => ({ refusal: "", measure: null, oldestDay: 0, witness: null }),
    ]) {
      const { ended, next } = await inserted(today - 9, readTable);
      expect(ended).toMatchObject({ kind: "unknown" });
      expect(next).toBeNull();
    }
  });
});

test("only a group's first INSERT goes by the fence of the table, and only where it is that of the known table", () => {
  const measure = { blocks: 0, windowBlocks: 1000, windowMs: null, identity: knownTable, isFenced: true };
  const byColumn = (changed: object): boolean | undefined => {
    const ledger = new TestLedger();
    ledger.step({ kind: "table", table: { refusal: "", measure: { ...measure, ...changed } } });
    ledger.claim({ n: 1 });
    const task = ledger.takeNotified();
    return task.step === "insert" ? task.byColumn : undefined;
  };
  expect(byColumn({})).toBe(true);
  expect(byColumn({ isFenced: false })).toBe(false);
  expect(byColumn({ identity: null })).toBe(false);
  const ledger = new TestLedger();
  ledger.step({ kind: "table", table: { refusal: "", measure } });
  ledger.claim({ n: 1 });
  const first = ledger.takeNotified();
  ledger.report(first, { kind: "retry", reason: "too many parts" });
  ledger.now += 60_000;
  expect(ledger.takeNotified()).toMatchObject({ step: "insert", attempt: 2, byColumn: false });
});

test("an INSERT's deadline is by the server's clock", () => {
  const ledger = new TestLedger();
  const measure = { blocks: 0, windowBlocks: 1000, windowMs: null, clockAheadMs: -7000 };
  ledger.step({ kind: "table", table: { refusal: "", measure } });
  ledger.claim({ n: 1 });
  const task = ledger.takeNotified();
  expect(task).toMatchObject({ step: "insert", serverDeadline: task.deadline - 7000 });
});

/** A receipt of the first payload, under this key. */
function receiptOf(key: PayloadKey): Receipt {
  const group = "0".repeat(32) as Receipt["group"];
  const counts = { spans: 10, rejectedSpans: 0, bytes: 100, rowsByDay: [{ day: 20_781, rows: 10 }] };
  return { key, outcome: "stored", group, ...counts, reason: "" };
}

/** Performs a VERIFY of one payload with two keys, whose objects come to these rows; answers the object that it reports. */
async function objectVerified(
  own: number,
  other: number,
  inTable: number,
  stored: PayloadKey | null = null,
): Promise<string | undefined> {
  const on = (rows: number) => (rows === 0 ? [] : [{ day: 20_781, rows }]);
  return (await objectsVerified(on(own), on(other), on(inTable), stored)).key;
}

/** The same, by day, and how many objects it looked for. */
async function objectsVerified(
  own: readonly DayRows[] | "undecodable",
  other: readonly DayRows[],
  inTable: readonly DayRows[],
  stored: PayloadKey | null = null,
): Promise<{ readonly key: string | undefined; readonly lookups: number }> {
  const ledger = new TestLedger();
  ledger.claim({ n: 1, cause: "replay" });
  const second = doorbell({ n: 1, arrival: doorbell({ n: 1 }).arrival + 60_000 });
  ledger.claim({ n: 1, arrival: second.arrival });
  ledger.now += 600_000;
  const task = ledger.takeNotified();
  if (task.step !== "verify") {
    throw new Error(`VERIFY was expected, not ${task.step}`);
  }
  let lookups = 0;
  const performer: Partial<DeliveryPerformer> = {
    findRunning: async () => ({ running: false, servers: 1, witness }),
    readReceipts: async (ids) => ids.map(() => (stored === null ? [] : [receiptOf(stored)])),
    readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness }),
    countRows: async ({ ids }) => ({ rows: ids.map(() => inTable), witness }),
    readObject: async ({ key }) => {
      lookups++;
      return { spans: 10, rejectedSpans: 0, bytes: 100, rowsByDay: key === second.key ? other : own };
    },
  };
  const report = await perform(verifyGroup(task, manyLookups), performer as DeliveryPerformer);
  return { key: report.kind === "verified" ? report.payloads[0]?.object?.key : undefined, lookups };
}

test("of two keys whose requests kept other shares of the traces, VERIFY takes the object whose rows are there", async () => {
  const { key, arrival } = doorbell({ n: 1 });
  const second = doorbell({ n: 1, arrival: arrival + 60_000 }).key;
  expect(await objectVerified(10, 4, 10)).toBe(key);
  expect(await objectVerified(10, 4, 4)).toBe(second);
  expect(await objectVerified(10, 4, 0)).toBe(key);
  expect(await objectVerified(10, 4, 7)).toBe(key); // explained by neither: a person decides
});

test("an object explains the rows only where all of its days are there, and the table has no other", async () => {
  const { key, arrival } = doorbell({ n: 1 });
  const second = doorbell({ n: 1, arrival: arrival + 60_000 }).key;
  const today = { day: 20_781, rows: 6 };
  const both = [{ day: 20_780, rows: 4 }, today];
  expect((await objectsVerified([today], both, both)).key).toBe(second);
  expect((await objectsVerified(both, [today], [today])).key).toBe(second);
  expect((await objectsVerified([today], both, [today])).key).toBe(key);
  const other = both.map(({ day, rows }, n) => ({ day, rows: rows + n }));
  expect((await objectsVerified(both, other, other)).key).toBe(second);
  expect((await objectsVerified([{ ...today, day: 20_779 }], [today], [today])).key).toBe(second);
});

test("the first object that is found is enough where the table has no row, or it explains those that are there", async () => {
  const rows = [{ day: 20_781, rows: 10 }];
  const other = [{ day: 20_781, rows: 4 }];
  const { key } = doorbell({ n: 1 });
  expect(await objectsVerified(rows, [], [])).toEqual({ key, lookups: 1 });
  expect(await objectsVerified(rows, other, rows)).toEqual({ key, lookups: 1 });
  expect(await objectsVerified("undecodable", other, other)).toEqual({ key, lookups: 1 });
  expect((await objectsVerified(rows, other, other)).lookups).toBe(2);
});

test("rows that are gone are stored under the key that is receipted as stored, whichever rang", async () => {
  const { key, arrival } = doorbell({ n: 1 });
  const second = doorbell({ n: 1, arrival: arrival + 60_000 }).key;
  expect(await objectVerified(10, 10, 0, second)).toBe(second);
  expect(await objectVerified(10, 10, 0, key)).toBe(key);
});

test("what a retry says it wrote is not asked: its rows may have been stored before", () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  ledger.report(ledger.takeNotified(), { kind: "unknown", reason: "no answer" });
  ledger.now += 60_000;
  const again = ledger.takeNotified();
  expect(again).toMatchObject({ step: "insert", isFirstInsert: false });
  expect(reportOfInsert(again, { writtenRows: 0 })).toMatchObject({ kind: "stored" });
});

describe("counting", () => {
  const replica = { table: "replicated /t", server: "r1", behind: "", replicas: 2, upSeconds: 1 };
  const lags = { ...replica, behind: "r1 lags" };

  async function count(performer: Partial<DeliveryPerformer>, why: "stored" | "refused" = "refused") {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const { group, attempt, deadline, payloads } = ledger.takeNotified();
    const base = { group, attempt, deadline, payloads, table: replica.table };
    return await askedBy(countRows({ ...base, step: "count", why }), performer);
  }

  async function verify(table: string | null, performer: Partial<DeliveryPerformer>) {
    const ledger = new TestLedger();
    ledger.claim({ n: 1 });
    const { group, attempt, deadline, payloads } = ledger.takeNotified();
    const base = { group, attempt, deadline, payloads, table };
    return await askedBy(verifyGroup({ ...base, step: "verify", rows: null, isBlind: false }, manyLookups), {
      killRunning: nothing,
      readReceipts: async () => [[]],
      ...performer,
    });
  }

  const noEvidence = { kind: "retry", noEvidence: true };

  const { server, upSeconds } = replica;
  const healthy: Partial<DeliveryPerformer> = {
    findRunning: async () => ({ running: false, servers: 2, witness: replica }),
    readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness: replica }),
    readWitness: async () => replica,
    countRows: async () => ({ rows: [[]], witness: { server, upSeconds } }),
    readObject: async () => null,
  };

  test("of a refused group's rows needs three words of a replica, of a stored one's a single one", async () => {
    const refused = await count(healthy);
    expect(refused.asked).toEqual(["readWitness", "readWitness", "readWitness", "countRows"]);
    expect(refused.ended).toMatchObject({ kind: "counted" });
    const stored = await count(healthy, "stored");
    expect(stored.asked).toEqual(["readWitness", "countRows"]);
    expect(stored.ended).toMatchObject({ kind: "counted" });
  });

  test("by VERIFY needs no statement more, for its others say two words; where something ran, two more", async () => {
    const { asked } = await verify(replica.table, healthy);
    expect(asked).toEqual(["findRunning", "readReceipts", "readTable", "countRows", "readObject"]);
    const after = await verify(replica.table, {
      ...healthy,
      findRunning: async () => ({ running: true, servers: 2, witness: replica }),
    });
    const looks = ["readWitness", "readWitness"];
    expect(after.asked.filter((one) => one !== "killRunning")).toEqual(asked.toSpliced(3, 0, ...looks));
  });

  test("of a replica that lags is none, for a count and for VERIFY", async () => {
    expect((await count({ readWitness: async () => lags })).ended).toMatchObject(noEvidence);
    const { asked, ended } = await verify(replica.table, {
      findRunning: async () => ({ running: false, servers: 2, witness: lags }),
      readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness: lags }),
      readWitness: async () => lags,
    });
    expect(ended).toMatchObject(noEvidence);
    expect(asked).not.toContain("countRows");
  });

  test("is not begun by VERIFY where an INSERT may run unseen, and what runs is ended first", async () => {
    const { asked, ended } = await verify(replica.table, {
      findRunning: async () => ({ running: true, servers: 1, witness: replica }),
    });
    expect(asked).toEqual(["findRunning", "killRunning"]);
    expect(ended).toMatchObject(noEvidence);
  });

  test("is of the table whose processes were seen, where the ledger knows none", async () => {
    const plain = { ...replica, table: "plain a 1", replicas: 1 };
    const other = { ...plain, table: "plain b 1" };
    const { ended } = await verify(null, {
      findRunning: async () => ({ running: false, servers: 1, witness: plain }),
      readTable: async () => ({ refusal: "", measure: null, oldestDay: 0, witness: other }),
      countRows: async () => ({ rows: [[]], witness: other }),
    });
    expect(ended).toMatchObject(noEvidence);
  });
});
