import { expect, test } from "vitest";
import { missingKeys, planReconcile } from "../../shared/ledger/reconcile.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { seededRandom } from "../ledger/random-events.ts";
import { doorbell } from "../ledger/world.ts";

const key = (n: number): PayloadKey => doorbell({ n }).key;

test("rings what is listed, has no receipt and is not held", () => {
  const listed = [1, 2, 3, 4].map(key);
  expect(planReconcile(listed, [key(1)], new Set([key(3)]))).toEqual([key(2), key(4)]);
});

test("a receipt whose object is gone rings nothing", () => {
  expect(planReconcile([key(2)], [key(1), key(2), key(3)], new Set())).toEqual([]);
});

test("refuses keys that are not ascending", () => {
  expect(() => missingKeys([key(2), key(1)], [])).toThrow("ascending");
  expect(() => missingKeys([], [key(1), key(1)])).toThrow("ascending");
});

test("equals the difference of sets, for any two sets", () => {
  const random = seededRandom(5);
  for (let round = 0; round < 500; round++) {
    const some = (): readonly PayloadKey[] =>
      Array.from({ length: 12 }, (_, n) => n)
        .filter(() => random() < 0.5)
        .map(key);
    const listed = some();
    const receipts = some();
    expect(missingKeys(listed, receipts)).toEqual(listed.filter((one) => !receipts.includes(one)));
  }
});
