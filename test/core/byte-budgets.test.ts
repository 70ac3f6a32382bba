import { expect, test } from "vitest";
import { ByteBudget } from "../../shared/byte-budget.ts";

const now = 1_000_000;
const later = now + 5000;

test("takes what is free and says no to the rest", () => {
  const budget = new ByteBudget(100);
  const first = budget.take("a", 60, now, later);
  expect(first).not.toBeNull();
  expect(budget.take("b", 41, now, later)).toBeNull();
  expect(budget.take("b", 40, now, later)).not.toBeNull();
  first?.give();
  expect(budget.take("c", 60, now, later)).not.toBeNull();
});

test("one holder has a part of it at most, the others the rest", () => {
  const budget = new ByteBudget(100, 25);
  expect(budget.take("a", 25, now, later)).not.toBeNull();
  expect(budget.take("a", 1, now, later)).toBeNull();
  expect(budget.take("b", 25, now, later)).not.toBeNull();
});

test("what nobody gives back is free again when it expires, and cannot grow any more", () => {
  const budget = new ByteBudget(100);
  const lost = budget.take("a", 100, now, later);
  expect(budget.take("b", 1, later - 1, later + 1)).toBeNull();
  expect(budget.take("b", 100, later, later + 1000)).not.toBeNull();
  expect(lost && budget.grow(lost, 0, later, later + 1000)).toBe(false);
  lost?.give(); // late: it takes nothing away from whoever has the bytes now
  expect(budget.take("c", 1, later, later + 1000)).toBeNull();
});

test("a taking that grows lives on", () => {
  const budget = new ByteBudget(100);
  const taking = budget.take("a", 10, now, later);
  expect(taking && budget.grow(taking, 50, later - 1, later + 5000)).toBe(true);
  expect(budget.bytesAt(later + 4999)).toBe(60);
  expect(budget.bytesAt(later + 5000)).toBe(0);
});
