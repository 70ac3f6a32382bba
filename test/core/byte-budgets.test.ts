import { expect, test } from "vitest";
import { ByteBudget, bytesToBuild } from "../../shared/byte-budget.ts";
import { limits } from "../../shared/limits.ts";

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
  lost?.give(); // late: it takes nothing away from the present holder
  expect(budget.take("c", 1, later, later + 1000)).toBeNull();
});

test("a taking that grows lives on", () => {
  const budget = new ByteBudget(100);
  const taking = budget.take("a", 10, now, later);
  expect(taking && budget.grow(taking, 50, later - 1, later + 5000)).toBe(true);
  expect(budget.bytesAt(later + 4999)).toBe(60);
  expect(budget.bytesAt(later + 5000)).toBe(0);
});

test("each waiter has its turn: a large group is not overtaken by small ones", () => {
  const budget = new ByteBudget(100);
  const times = (at: number) => ({ expiresAt: at + 90_000, turnUntil: at + 300 });
  const first = budget.take("g", 60, now, now + 90_000);
  const [large, small] = [{}, {}];
  expect(budget.takeInTurn(large, "g", 90, now, times(now))).toBeNull();
  expect(budget.takeInTurn(small, "g", 10, now + 1, times(now + 1))).toBeNull(); // 40 are free, and the large one was first
  first?.give();
  expect(budget.takeInTurn(small, "g", 10, now + 100, times(now + 100))).toBeNull();
  expect(budget.takeInTurn(large, "g", 90, now + 100, times(now + 100))).not.toBeNull();
  expect(budget.takeInTurn(small, "g", 10, now + 101, times(now + 101))).not.toBeNull();
});

test("one that died in its wait, or waits no longer, holds nobody up", () => {
  const budget = new ByteBudget(100);
  const times = (at: number) => ({ expiresAt: at + 90_000, turnUntil: at + 300 });
  budget.take("g", 60, now, now + 90_000);
  const [dead, gone, alive] = [{}, {}, {}];
  budget.takeInTurn(dead, "g", 90, now, times(now));
  budget.takeInTurn(gone, "g", 90, now, times(now));
  expect(budget.takeInTurn(alive, "g", 10, now + 299, times(now + 299))).toBeNull();
  budget.leave(gone);
  expect(budget.takeInTurn(alive, "g", 10, now + 300, times(now + 300))).not.toBeNull();
});

test("room for a moment is what nobody has taken, and what nobody may take", () => {
  const budget = new ByteBudget(100, 60, 50);
  expect(budget.take("a", 61, now, later)).toBeNull();
  budget.take("a", 60, now, later);
  budget.take("b", 40, now, later);
  expect(budget.take("c", 1, now, later)).toBeNull();
  expect(budget.roomAt(now)).toBe(50);
  expect(budget.roomAt(later)).toBe(150);
});

test("a payload that fills the consumer's memory while it is decoded is built alone, usual ones beside each other", () => {
  const budget = new ByteBudget(limits.consumerBytesInHandMax);
  const group = (...outputBytes: number[]) =>
    Math.min(
      bytesToBuild(outputBytes.map((bytes) => ({ outputBytes: bytes }))),
      limits.consumerBytesInHandMax,
    );
  const usual = Array.from({ length: 20 }, () => 350_000);
  const large = budget.take("group", group(limits.bodyBytesMax), now, later);
  expect(budget.take("group", group(...usual), now, later)).toBeNull();
  large?.give();
  for (let i = 0; i < 5; i++) {
    expect(budget.take("group", group(...usual), now, later)).not.toBeNull();
  }
});
