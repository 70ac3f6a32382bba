import { expect, test } from "vitest";
import { ByteBudget } from "../../workers/consumer/byte-budget.ts";
import { BytesInHand } from "../../workers/ingress/bytes-in-hand.ts";

test("the ingress takes what is free and says no to the rest", () => {
  const budget = new BytesInHand(100);
  expect(budget.take(60)).toBe(true);
  expect(budget.take(41)).toBe(false);
  expect(budget.take(40)).toBe(true);
  budget.give(60);
  expect(budget.take(60)).toBe(true);
});

test("the consumer waits its turn, and a large group is not overtaken by small ones", async () => {
  const budget = new ByteBudget(100);
  const order: string[] = [];
  const first = await budget.take(60);
  const large = budget.take(90).then((give) => {
    order.push("large");
    return give;
  });
  const small = budget.take(10).then((give) => {
    order.push("small");
    return give;
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  first();
  (await large)();
  (await small)();
  expect(order).toEqual(["large", "small"]);
  (await budget.take(100))();
});

test("more than was taken cannot be given back", () => {
  expect(() => new BytesInHand(100).give(1)).toThrow(/given back/);
});
