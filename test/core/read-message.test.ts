import { expect, test } from "vitest";
import { readMessage } from "../../shared/delivery/message.ts";

const key = "p/0/t/2026-11-24T0741/acme/0000000000000000000000000g";
const doorbell = { v: 1, key, cause: "ingress", spans: 3, outputBytes: 999, arrival: 1_790_000_000_000 };
const event = {
  account: "3f4b7e3dcab231cbfdaa90a6a28bd548",
  action: "PutObject",
  bucket: "headrace-payloads",
  object: { key, size: 65536, eTag: "c846ff7a18f28c2e262116d6e8719ef0" },
  eventTime: "2026-11-24T07:41:29.687Z",
};

test("a doorbell, a group's bell and an R2 event are told apart", () => {
  expect(readMessage(doorbell)).toEqual({ kind: "doorbells", doorbells: [doorbell] });
  expect(readMessage({ v: 1, group: "0123456789abcdef0123456789abcdef" })).toEqual({
    kind: "group",
    group: "0123456789abcdef0123456789abcdef",
  });
  expect(readMessage(event)).toEqual({ kind: "bare", cause: "event", key });
});

test("a key with its cause alone is a bare doorbell: its object says the rest", () => {
  expect(readMessage({ v: 1, key, cause: "reconcile" })).toEqual({ kind: "bare", key, cause: "reconcile" });
  for (const action of ["CopyObject", "CompleteMultipartUpload"]) {
    expect(readMessage({ ...event, action })).toEqual({ kind: "bare", cause: "event", key });
  }
});

test("what the ingress reports is told apart from what is notified", () => {
  const reporter = "0123456789abcdef0123456789abcdef";
  const outcomes = { v: 1, kind: "outcomes", reporter, sequence: 1, counts: [] };
  expect(readMessage(outcomes)).toEqual({ kind: "outcomes", outcomes });
  const quota = {
    v: 1,
    kind: "quota",
    tenant: "acme",
    account: "a".repeat(64),
    month: "2026-11",
    percent: 80,
    state: "open",
    unit: "bytes",
    used: 80,
    perMonth: 100,
  };
  expect(readMessage(quota)).toEqual({ kind: "quota", quota });
  const { unit: _, used, perMonth, ...rest } = quota;
  expect(readMessage({ ...rest, usedSpans: used, spansPerMonth: perMonth }), "of an older Meter").toEqual({
    kind: "quota",
    quota: { ...quota, unit: "spans" },
  });
  expect(readMessage({ ...quota, percent: 81 })).toMatchObject({ kind: "unknown" });
  expect(readMessage({ ...outcomes, counts: [{}] })).toMatchObject({ kind: "unknown" });
});

test("an event that leads to no payload is passed over", () => {
  expect(readMessage({ ...event, action: "DeleteObject" })).toMatchObject({ kind: "passed_over" });
  expect(readMessage({ ...event, object: { ...event.object, key: "dead/x" } })).toMatchObject({
    kind: "passed_over",
  });
});

test.each([
  null,
  1,
  "text",
  [],
  {},
  { ...doorbell, v: 2 },
  { ...doorbell, spans: -1 },
  { ...doorbell, key: "p/0/t/x" },
])("%j is not understood, and says so instead of throwing", (body) => {
  expect(readMessage(body)).toMatchObject({ kind: "unknown" });
});
