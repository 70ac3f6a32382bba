import { expect, test } from "vitest";
import type { DeliveryEffects } from "../../shared/delivery/effects.ts";
import { writeReceipts } from "../../shared/delivery/receipts.ts";
import { perform } from "../../shared/effect.ts";
import { limits } from "../../shared/limits.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import type { Receipt } from "../../shared/receipt.ts";
import { doorbell, knownTable, TestLedger } from "../ledger/world.ts";

test("an erasure of 501 keys deletes their objects in calls that R2 takes", async () => {
  const ledger = new TestLedger();
  ledger.claim({ n: 1 });
  const { group } = ledger.takeNotified();
  const receipts = Array.from({ length: 501 }, (_, n): Receipt => {
    const { key } = doorbell({ n: n + 1 });
    const counts = { spans: 1, rowsByDay: [], rejectedSpans: 0, bytes: 1 };
    return { key, outcome: "erased", group, ...counts, reason: "asked for" };
  });
  const task = {
    step: "receipts",
    group,
    attempt: 2,
    deadline: 0,
    table: knownTable,
    payloads: [],
    receipts,
    completeView: false,
  } as const;
  const deleted: (readonly PayloadKey[])[] = [];
  const effects: Partial<Record<keyof DeliveryEffects, (asks: never) => Promise<unknown>>> = {
    readReceipts: async () => [] as never,
    countRows: async () =>
      ({
        rows: [],
        witness: { table: knownTable, server: "one", behind: "", replicas: 1, upSeconds: 1 },
      }) as never,
    writeReceipts: async () => null,
    eraseTraceTimes: async () => null,
    eraseRows: async () => null,
    eraseObjects: async (keys: readonly PayloadKey[]) => {
      deleted.push(keys);
      return { keys: [], reason: "" };
    },
  };
  const { r2DeleteKeysMax: deleteKeysMax, verifyGetsMax } = limits;
  const context = { now: () => 0, codecVersion: 1, deleteKeysMax, verifyGetsMax };
  await perform(writeReceipts(task, context), effects as never);
  expect(deleted.map((keys) => keys.length)).toEqual([500, 1]);
  expect(deleted.flat()).toEqual(receipts.map(({ key }) => key));
});
