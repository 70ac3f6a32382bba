import { evictDurableObject, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { channels } from "../../shared/alerts.ts";
import { dueNever, type Group, type GroupTask } from "../../shared/ledger/group.ts";
import { limits, MINUTE_MS } from "../../shared/limits.ts";
import type { Cause } from "../../shared/messages.ts";
import type { GroupId } from "../../shared/receipt.ts";
import type { Ledger } from "../../workers/consumer/ledger-object.ts";
import { LedgerStorage } from "../../workers/consumer/ledger-storage.ts";
import { failure, groupIn, open, payloadAt } from "../ledger/one-step.ts";
import { codecVersion, doorbell, knownTable, storedReport } from "../ledger/world.ts";

function ledger(): DurableObjectStub<Ledger> {
  return env.LEDGER.getByName("0");
}

/** ClickHouse's answer to a new ledger's question: rows of ours? */
function tableHas(rows: readonly unknown[]): void {
  vi.spyOn(globalThis, "fetch").mockImplementation(
    async () =>
      new Response(rows.map((row) => `${JSON.stringify(row)}\n`).join(""), {
        headers: { "x-clickhouse-summary": "{}" },
      }),
  );
}

beforeEach(async () => {
  await reset();
  vi.useRealTimers();
  vi.restoreAllMocks();
  tableHas([]);
});

/** A ledger that knows no table measures before it inserts. */
async function learnTable(): Promise<void> {
  const measure = { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable };
  await ledger().tableChecked("", measure);
}

/** Claims enough rows for a group at once. */
async function claimFull(n: number): Promise<GroupTask> {
  await learnTable();
  const { task } = await ledger().claim([doorbell({ n, spans: limits.groupRowsReady })], codecVersion);
  if (task === null) {
    throw new Error("a full group is leased");
  }
  return task;
}

async function storeAll(task: GroupTask): Promise<void> {
  const receipts = await ledger().report(task.group, task.attempt, storedReport(task));
  expect(receipts?.step).toBe("receipts");
  if (receipts !== null) {
    await ledger().receipted([{ group: receipts.group, attempt: receipts.attempt }]);
  }
}

describe("the ledger's Durable Object", () => {
  test("takes a payload over, leases it once, and is done when its receipts are written", async () => {
    const task = await claimFull(1);
    const { key } = doorbell({ n: 1 });
    expect(await ledger().take(task.group, codecVersion)).toBeNull();
    expect(await ledger().holds([key, doorbell({ n: 2 }).key])).toEqual([true, false]);
    await storeAll(task);
    expect(await ledger().holds([key])).toEqual([false]);
    expect(await ledger().status()).toMatchObject({
      waiting: 0,
      groups: 0,
      remembered: 1,
      oldestArrival: null,
    });
  });

  test("a ledger killed between the claim and its answer has the payload, and gives it out once", async () => {
    await learnTable();
    // The persist has happened, the answer has not: the object dies on the way out, so the caller's messages come
    // again. Nothing may be lost (the payload is held) and nothing doubled (it is in one group).
    await ledger().claim([], codecVersion);
    const doorbells = [doorbell({ n: 1, spans: limits.groupRowsReady })];
    await runInDurableObject(ledger(), (instance, state) => {
      vi.spyOn(state.storage, "sync").mockRejectedValueOnce(new Error("killed before the answer"));
      return expect(instance.claim(doorbells, codecVersion)).rejects.toThrow("killed before the answer");
    });
    await evictDurableObject(ledger());
    expect(await ledger().holds([doorbell({ n: 1 }).key])).toEqual([true]);
    const again = await ledger().claim(doorbells, codecVersion);
    expect(again.task).toBeNull();
    const status = await ledger().status();
    expect(status).toMatchObject({ waiting: 0, groups: 1 });
    // The attempt that died with the answer keeps its lease; after it the same group is leased again.
    const [group] = status.oldestGroups;
    expect(group?.attempts).toBe(1);
    const token = group?.group ?? "";
    expect(await ledger().take(token, codecVersion)).toBeNull();
    await runInDurableObject(ledger(), async (instance) => {
      vi.useFakeTimers({ now: Date.now() + limits.leaseMs, toFake: ["Date"] });
      const task = await instance.take(token, codecVersion);
      expect(task).toMatchObject({ group: token, attempt: 2, step: "insert" });
      expect(task?.payloads).toHaveLength(1);
      vi.useRealTimers();
    });
  });

  test("reports what is stuck behind more erasures that fail than are looked into, of each kind", async () => {
    await learnTable();
    await runInDurableObject(ledger(), (_, { storage }) => {
      const since = Date.now() - limits.alertInFlightMs - 1000;
      let count = 0;
      const made = (more: Partial<Group>, cause: Cause = "ingress") => {
        const payloads = [{ ...payloadAt({ n: ++count, arrival: since }), cause }];
        const id = count.toString(16).padStart(32, "0") as GroupId;
        const due = Date.now() + 60 * MINUTE_MS;
        const group = groupIn(open, {
          id,
          payloads,
          made: since,
          due,
          failure: null,
          rows: null,
          rings: 0,
          ...more,
        });
        return { kind: "group", group, isNew: true } as const;
      };
      const failed = { ...failure, since, at: since };
      const erasure = { failure: { ...failed, kind: "retry", ofErasure: true } } as const;
      const erasures = () =>
        Array.from({ length: limits.inFlightGroupsLooked + 10 }, () => made(erasure, "replay"));
      const { key } = doorbell({ n: 999 });
      new LedgerStorage(storage).apply([
        ...erasures(),
        made({}),
        made({ failure: { ...failed, kind: "refused", refused: 2 }, refusals: 2, lastRefusalAt: since }),
        made({
          due: dueNever,
          state: { at: "held", lease: null, found: [{ key, rowsByDay: [], reason: "1 of 2" }] },
        }),
        ...erasures(),
      ]);
    });
    await evictDurableObject(ledger());
    const learnt = { runFailure: "", recent: null, volumes: null, frontDoor: null, bypassed: null };
    const reported = await ledger().judgeAlerts(learnt);
    const nameOf = (kind: string, subject: string): string =>
      `${kind} ${subject.startsWith("p/") ? "a key" : subject}`;
    expect(new Set(reported.map(({ finding: { kind, subject } }) => nameOf(kind, subject)))).toEqual(
      new Set(["in_flight ledger", "in_flight erasure", "refused a key", "inexact a key"]),
    );
    const { kinds, groupsCount } = await ledger().inFlight();
    expect(kinds).toMatchObject({
      usual: 1,
      refused: 1,
      held: 1,
      erasure: 2 * (limits.inFlightGroupsLooked + 10),
    });
    expect(groupsCount).toBe(3 + 2 * (limits.inFlightGroupsLooked + 10));
    expect(await ledger().status()).toMatchObject({ heldCount: 1, held: [{ reason: "1 of 2" }] });
  });

  test("a ledger that cannot persist refuses the claim and holds nothing", async () => {
    await ledger().claim([], codecVersion);
    await runInDurableObject(ledger(), async (instance, state) => {
      vi.spyOn(state.storage, "transactionSync").mockImplementationOnce(() => {
        throw new Error("disk full");
      });
      await expect(instance.claim([doorbell({ n: 1 })], codecVersion)).rejects.toThrow("could not persist");
      expect(await instance.holds([doorbell({ n: 1 }).key])).toEqual([false]);
      await instance.claim([doorbell({ n: 1 })], codecVersion);
      expect(await instance.holds([doorbell({ n: 1 }).key])).toEqual([true]);
    });
  });

  test("keeps what waits and what is in flight over an eviction", async () => {
    const task = await claimFull(1);
    await ledger().claim([doorbell({ n: 2 })], codecVersion);
    await evictDurableObject(ledger());
    expect(await ledger().holds([doorbell({ n: 1 }).key, doorbell({ n: 2 }).key])).toEqual([true, true]);
    expect(await ledger().take(task.group, codecVersion)).toBeNull();
    await storeAll(task);
  });

  test("the alarm forms a group by age, rings it, and is armed again", async () => {
    await ledger().claim([doorbell({ n: 1, arrival: Date.now() })], codecVersion);
    await runInDurableObject(ledger(), async (instance, state) => {
      const armed = await state.storage.getAlarm();
      expect(armed).not.toBeNull();
      const notified: string[] = [];
      vi.spyOn(instance["env"].GROUP, "sendBatch").mockImplementation(async (messages) => {
        for (const { body } of messages) {
          notified.push(body.group);
        }
        throw new Error("Queue is overloaded");
      });
      vi.useFakeTimers({ now: Number(armed), toFake: ["Date"] });
      await instance.alarm();
      expect(notified).toHaveLength(1);
      expect(await state.storage.getAlarm()).toBe(Number(armed) + limits.retryFirstMs);
      vi.setSystemTime(Number(armed) + limits.retryFirstMs);
      await instance.alarm();
      expect(notified).toHaveLength(2);
      expect(notified[1]).toBe(notified[0]);
      vi.useRealTimers();
    });
  });

  test("an alarm that fails does not throw and is armed again", async () => {
    await ledger().claim([doorbell({ n: 1, arrival: Date.now() })], codecVersion);
    await runInDurableObject(ledger(), async (instance, state) => {
      vi.useFakeTimers({ now: Date.now() + limits.groupAgeReadyMs, toFake: ["Date"] });
      vi.spyOn(state.storage, "transactionSync").mockImplementationOnce(() => {
        throw new Error("disk full");
      });
      await state.storage.deleteAlarm();
      await instance.alarm();
      expect(await state.storage.getAlarm()).toBe(Date.now() + limits.retryFirstMs);
      vi.useRealTimers();
    });
  });

  test("a broken invariant leaves the alarm armed and becomes a finding", async () => {
    await ledger().claim([], codecVersion);
    await runInDurableObject(ledger(), async (instance, state) => {
      await instance.erase(doorbell({ n: 1 }), "asked for"); // a group that nobody is notified of yet
      await state.storage.deleteAlarm();
      state.storage.sql.exec("UPDATE groups_3 SET doc = json_set(doc, '$.payloads', 1)");
    });
    await evictDurableObject(ledger()); // what an instance wrote it does not read again
    await runInDurableObject(ledger(), async (instance, state) => {
      vi.useFakeTimers({ now: Date.now() + 10 * MINUTE_MS, toFake: ["Date"] });
      await state.storage.deleteAlarm();
      await instance.alarm();
      expect(await state.storage.getAlarm()).toBe(Date.now() + limits.retryFirstMs);
      state.storage.sql.exec("DELETE FROM groups_3");
      const nothingLearnt = { runFailure: "", recent: null, volumes: null, frontDoor: null, bypassed: null };
      const unreported = await instance.judgeAlerts(nothingLearnt);
      expect(unreported).toMatchObject([
        { finding: { kind: "broken_invariant", severity: "page", state: "open" }, channels },
      ]);
      expect(unreported[0]?.finding.message).toContain("a group was written by the ledger");
      await instance.alertsReported(unreported, ["log", "table"]);
      vi.setSystemTime(Date.now() + limits.alertBrokenMs);
      expect(await instance.judgeAlerts(nothingLearnt)).toMatchObject([
        { finding: { state: "open" }, channels: ["webhook"] },
        { finding: { kind: "broken_invariant", state: "resolved" }, channels },
      ]);
      vi.useRealTimers();
    });
  });

  test("wake arms an alarm that was given up", async () => {
    await ledger().claim([doorbell({ n: 1 })], codecVersion);
    await runInDurableObject(ledger(), async (instance, state) => {
      await state.storage.deleteAlarm();
      await instance.wake();
      expect(await state.storage.getAlarm()).not.toBeNull();
    });
    expect(await runDurableObjectAlarm(ledger())).toBe(true);
  });
});
