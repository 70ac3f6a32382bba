/** What becomes of a batch of queue messages (shared/delivery/batch.ts), effect by effect. */
import { describe, expect, test } from "vitest";
import { type TakenMessage, takeBatch } from "../../shared/delivery/batch.ts";
import type { DeliveryEffects, DeliveryPerformer } from "../../shared/delivery/effects.ts";
import type { ReadMessage } from "../../shared/delivery/message.ts";
import { quotaFinding } from "../../shared/delivery/quota-finding.ts";
import { EffectFailed, perform } from "../../shared/effect.ts";
import type { Finding } from "../../shared/finding.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import type { OutcomesMessage, QuotaMessage } from "../../shared/messages.ts";
import { isPayloadKey } from "../../shared/payload-key.ts";
import { codecVersion, doorbell, TestLedger } from "../ledger/world.ts";

const context = { now: () => 0, codecVersion, deleteKeysMax: 1000, verifyGetsMax: 1000 };
const quota: QuotaMessage = {
  v: 1,
  kind: "quota",
  tenant: "acme",
  account: "0123456789abcdef".repeat(4),
  month: "2026-11",
  percent: 80,
  state: "open",
  unit: "spans",
  used: 81,
  perMonth: 100,
};
const parked: Finding = { ...quotaFinding(quota), subject: "parked" };
const bell = (n: number): ReadMessage => ({ kind: "doorbells", doorbells: [doorbell({ n })] });

/** A task that ends with the effect `receipted`. */
function receiptsTask(): GroupTask {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const { group, attempt, deadline, payloads, table } = ledger.takeNotified();
  const base = { group, attempt, deadline, payloads, table };
  return { ...base, step: "receipts", receipts: [], completeView: false };
}

/** An effect by its name, and what it asked. */
type Asked = readonly [name: keyof DeliveryEffects, asks: unknown];

/** Takes a batch; `with` answers otherwise than a queue and a ledger that lease nothing. */
async function take(
  messages: readonly (ReadMessage | TakenMessage)[],
  other: Partial<DeliveryPerformer> = {},
  isDeadLetterQueue = false,
): Promise<{ readonly asked: readonly Asked[]; readonly error: unknown }> {
  const asked: Asked[] = [];
  const performer: Partial<DeliveryPerformer> = {
    knows: async (bells) => bells.map(() => false),
    completeDoorbell: async ({ key, cause }) =>
      isPayloadKey(key) ? [{ ...doorbell({ n: 1 }), key, cause }] : [],
    parkMessage: async () => parked,
    claim: async () => null,
    take: async () => null,
    ...other,
  };
  const watched = new Proxy(performer, {
    get: (target, name: keyof DeliveryEffects) => async (asks: never) => {
      asked.push([name, asks]);
      return (await target[name]?.(asks)) ?? null;
    },
  });
  const taken = messages.map((one) => ("read" in one ? one : { read: one, attempts: 1 }));
  try {
    await perform(takeBatch(taken, isDeadLetterQueue, context), watched as DeliveryPerformer);
  } catch (error) {
    return { asked, error };
  }
  return { asked, error: null };
}

const outcomes: OutcomesMessage = {
  v: 1,
  kind: "outcomes",
  reporter: "0".repeat(32),
  sequence: 1,
  counts: [],
};
const ledgerAway = async (): Promise<never> => {
  throw new Error("the ledger is away");
};

describe("a batch", () => {
  test("is acknowledged when everything in it is persisted or parked, and then what was leased is worked on", async () => {
    const { key } = doorbell({ n: 2 });
    const task = receiptsTask();
    const { asked, error } = await take(
      [
        bell(1),
        { kind: "bare", key, cause: "event" },
        { kind: "group", group: "f".repeat(32) },
        { kind: "outcomes", outcomes },
        { kind: "quota", quota },
        { kind: "passed_over", reason: "a deletion" },
        { kind: "unknown", reason: "text" },
      ],
      { take: async () => task },
    );
    expect(error).toBeNull();
    expect(asked).toEqual([
      ["passOver", "a deletion"],
      ["parkMessage", { at: 6, reason: "text" }],
      ["knows", [{ key, cause: "event" }]],
      ["completeDoorbell", { key, cause: "event" }],
      ["reportFindings", [quotaFinding(quota), parked]],
      ["writeOutcomes", [{ at: 3, outcomes }]],
      [
        "claim",
        { doorbells: [doorbell({ n: 1 }), { ...doorbell({ n: 1 }), key, cause: "event" }], messages: 7 },
      ],
      ["take", "f".repeat(32)],
      ["ackAll", null],
      ["receipted", [{ group: task.group, attempt: task.attempt }]],
    ]);
  });

  test("asks for nothing that none of its messages needs", async () => {
    expect((await take([])).asked).toEqual([["ackAll", null]]);
    const { key } = doorbell({ n: 2 });
    const gone = await take([{ kind: "bare", key, cause: "event" }], { completeDoorbell: async () => [] });
    expect(gone.asked.map(([name]) => name)).toEqual(["knows", "completeDoorbell", "ackAll"]);
  });

  test("claims all payloads of a segment that rings by its bare key", async () => {
    const { key } = doorbell({ n: 2 });
    const own = [1, 2, 3].map((n) => doorbell({ n }));
    const { asked } = await take([{ kind: "bare", key, cause: "event" }], {
      completeDoorbell: async () => own,
    });
    expect(asked.slice(2)).toEqual([
      ["claim", { doorbells: own, messages: 1 }],
      ["ackAll", null],
    ]);
  });

  test("looks at no object of what the ledger knows, and claims the others", async () => {
    const [known, unknown] = [doorbell({ n: 2 }).key, doorbell({ n: 3 }).key];
    const bare = (key: typeof known): ReadMessage => ({ kind: "bare", key, cause: "event" });
    const knows = async (bells: readonly { readonly key: string }[]) => bells.map(({ key }) => key === known);
    const { asked } = await take([bare(known), bare(unknown), bare(known)], { knows });
    expect(asked).toEqual([
      ["knows", [known, unknown, known].map((key) => ({ key, cause: "event" }))],
      ["completeDoorbell", { key: unknown, cause: "event" }],
      ["claim", { doorbells: [{ ...doorbell({ n: 1 }), key: unknown, cause: "event" }], messages: 3 }],
      ["ackAll", null],
    ]);
    const all = await take([bare(known)], { knows });
    expect(all.asked.map(([name]) => name)).toEqual(["knows", "ackAll"]);
    const away = await take([bare(known)], { knows: ledgerAway });
    expect(away.error).toBeInstanceOf(EffectFailed);
    expect(away.asked.map(([name]) => name)).toEqual(["knows"]);
  });

  test("of one message asks for what that one needs", async () => {
    const names = async (message: ReadMessage) => (await take([message])).asked.map(([name]) => name);
    expect(await names({ kind: "quota", quota })).toEqual(["reportFindings", "ackAll"]);
    expect(await names({ kind: "unknown", reason: "text" })).toEqual([
      "parkMessage",
      "reportFindings",
      "ackAll",
    ]);
    expect(await names({ kind: "outcomes", outcomes })).toEqual(["writeOutcomes", "ackAll"]);
    expect(await names(bell(1))).toEqual(["claim", "ackAll"]);
    expect(await names({ kind: "group", group: "f".repeat(32) })).toEqual(["take", "ackAll"]);
    expect(await names({ kind: "passed_over", reason: "a deletion" })).toEqual(["passOver", "ackAll"]);
  });

  test("is acknowledged not at all where the ledger did not take it", async () => {
    const { asked, error } = await take([bell(1)], { claim: ledgerAway });
    expect(error).toBeInstanceOf(EffectFailed);
    expect(asked.map(([name]) => name)).toEqual(["claim"]);
  });
});

describe("a dead letter's message", () => {
  test("is taken by itself, acknowledged, and what the ledger leases with it is worked on", async () => {
    const task = receiptsTask();
    const { asked } = await take([bell(1), bell(2)], { claim: async () => task }, true);
    expect(asked).toEqual([
      ["claim", { doorbells: [doorbell({ n: 1 })], messages: 1 }],
      ["ack", { at: 0 }],
      ["claim", { doorbells: [doorbell({ n: 2 })], messages: 1 }],
      ["ack", { at: 1 }],
      ["receipted", [{ group: task.group, attempt: task.attempt }]],
      ["receipted", [{ group: task.group, attempt: task.attempt }]],
    ]);
  });

  test("that cannot be taken is tried as often as the queue gives it, then parked, and holds up no other", async () => {
    const first = doorbell({ n: 1 }).key;
    const claim: DeliveryPerformer["claim"] = async ({ doorbells: [one] }) =>
      one?.key === first ? ledgerAway() : null;
    const attempts = limits.queueRetriesMax;
    const again = await take([{ read: bell(1), attempts }, bell(2)], { claim }, true);
    expect(again.error).toBeNull();
    expect(again.asked.map(([name]) => name)).toEqual(["claim", "retry", "claim", "ack"]);
    expect(again.asked[1]).toMatchObject(["retry", { at: 0, reason: expect.stringContaining("is away") }]);

    const last = await take([{ read: bell(1), attempts: attempts + 1 }, bell(2)], { claim }, true);
    expect(last.error).toBeNull();
    expect(last.asked.map(([name]) => name)).toEqual([
      "claim",
      "parkMessage",
      "reportFindings",
      "ack",
      "claim",
      "ack",
    ]);
    expect(last.asked[1]).toMatchObject([
      "parkMessage",
      { at: 0, reason: expect.stringContaining(`${attempts + 1} tries`) },
    ]);
  });
});

describe("the finding about a key's quota", () => {
  test("is one finding per key, month and share, of the month's first moment", () => {
    expect(quotaFinding(quota)).toMatchObject({
      kind: "quota",
      subject: `acme/2026-11/80/${quota.account}`,
      state: "open",
      severity: "note",
      tenant: "acme",
      openedAt: Date.UTC(2026, 10, 1),
    });
    expect(quotaFinding({ ...quota, percent: 100 })).toMatchObject({ severity: "warning" });
  });

  test("names the key by the first twelve characters of its hash, and says of what is over nothing of what follows", () => {
    const { message } = quotaFinding(quota);
    expect(message).toMatch(
      /^The key 0123456789ab… of tenant acme has used 81 of its 100 spans of 2026-11\./,
    );
    const resolved = quotaFinding({ ...quota, state: "resolved" }).message;
    expect(resolved, "and nothing of what follows").toMatch(/has used 81 of its 100 spans of 2026-11\.$/);
  });

  test("says what follows: at 80 % what comes at 100 %, and at 100 % what is refused", () => {
    expect(quotaFinding(quota).message).toContain("At 100 % its requests are answered 429");
    expect(quotaFinding({ ...quota, percent: 100 }).message).toContain(
      "Requests with more spans than are left",
    );
  });
});
