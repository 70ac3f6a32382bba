import * as v from "valibot";
import { expect, test } from "vitest";
import { limits } from "../../shared/limits.ts";
import { outcomesMessageSchema } from "../../shared/messages.ts";
import { OutcomeCounter, type OutcomeLabels, type OutcomeNumbers } from "../../shared/outcome-counter.ts";

const minute = Date.UTC(2026, 10, 24, 7, 41);
const labels: OutcomeLabels = { tenant: "acme", key: "a".repeat(64), outcome: "accepted", reason: "created" };
const numbers: OutcomeNumbers = {
  requests: 1,
  spans: 10,
  rejectedSpans: 2,
  bytes: 300,
  keyLookUps: 1,
  meterCalls: 0,
};

test("requests of one minute that end alike are one count, those of the next another", () => {
  const counter = new OutcomeCounter();
  counter.add(labels, numbers, minute + 1);
  counter.add(labels, numbers, minute + 59_999);
  counter.add({ ...labels, reason: "duplicate" }, numbers, minute);
  counter.add(labels, numbers, minute + 60_000);
  const [counts, ...others] = counter.unsent();
  expect(others).toEqual([]);
  expect(counts).toEqual([
    { minute, ...labels, requests: 2, spans: 20, rejectedSpans: 4, bytes: 600, keyLookUps: 2, meterCalls: 0 },
    { minute, ...labels, reason: "duplicate", ...numbers },
    { minute: minute + 60_000, ...labels, ...numbers },
  ]);
  expect(
    v.is(outcomesMessageSchema, { v: 1, kind: "outcomes", reporter: "0".repeat(32), sequence: 1, counts }),
  ).toBe(true);
});

test("a count is sent again when it grew, whole, and not when it did not", () => {
  const counter = new OutcomeCounter();
  counter.add(labels, numbers, minute);
  const [first = []] = counter.unsent();
  counter.sent(first, minute + 5000);
  expect(counter.unsent()).toEqual([]);
  counter.add(labels, numbers, minute + 6000);
  expect(counter.unsent()).toMatchObject([[{ requests: 2 }]]);
});

test("a count that grew while it was sent is not taken for sent, even after its minute", () => {
  const counter = new OutcomeCounter();
  counter.add(labels, numbers, minute);
  const [first = []] = counter.unsent();
  counter.add(labels, numbers, minute + 1);
  counter.sent(first, minute + 60_000);
  expect(counter.unsent()).toMatchObject([[{ requests: 2 }]]);
});

test("what could not be sent stays", () => {
  const counter = new OutcomeCounter();
  counter.add(labels, numbers, minute);
  expect(counter.unsent()).toEqual(counter.unsent());
  expect(counter.unsent()).toHaveLength(1);
});

test("counts go in messages of a size that the queue takes", () => {
  const counter = new OutcomeCounter();
  for (let i = 0; i < 2 * limits.outcomesAMessage + 1; i++) {
    counter.add({ ...labels, tenant: "t".repeat(60) + i, reason: "r".repeat(40) }, numbers, minute);
  }
  const lists = counter.unsent();
  expect(lists.map(({ length }) => length)).toEqual([limits.outcomesAMessage, limits.outcomesAMessage, 1]);
  expect(JSON.stringify(lists[0]).length).toBeLessThan(127_000);
});

test("beyond the limit keys lose their names, and the sums stay right", () => {
  const counter = new OutcomeCounter();
  const requests = limits.outcomesMax + 500;
  for (let i = 0; i < requests; i++) {
    counter.add({ ...labels, tenant: `t${i}` }, numbers, minute);
  }
  counter.add({ ...labels, tenant: "t1" }, numbers, minute);
  const counts = counter.unsent().flat();
  expect(counts).toHaveLength(limits.outcomesMax + 1);
  expect(counts.find(({ reason }) => reason === "too_many_keys")).toMatchObject({
    tenant: "",
    requests: 500,
  });
  expect(counts.find(({ tenant }) => tenant === "t1")).toMatchObject({ requests: 2 });
  expect(counts.reduce((sum, count) => sum + count.requests, 0)).toBe(requests + 1);
});
