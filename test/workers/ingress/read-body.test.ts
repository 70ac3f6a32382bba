/** How a body is held: what it takes from the isolate's budget, and when it gives it back. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { ByteBudget } from "../../../shared/byte-budget.ts";
import { limits } from "../../../shared/limits.ts";
import { Deadline } from "../../../workers/ingress/deadline.ts";
import { readBody } from "../../../workers/ingress/read-body.ts";
import { wordRefusal } from "../../../workers/ingress/word-refusal.ts";
import { origin } from "./sender.ts";

const budgetBytes = 100_000;
const bytes = crypto.getRandomValues(new Uint8Array(1000));

afterEach(() => {
  vi.useRealTimers();
});

async function read(
  body: BodyInit,
  claimed?: number,
  budget = new ByteBudget(budgetBytes),
  announced = new ByteBudget(budgetBytes),
) {
  const request = new Request(`${origin}/v1/traces`, {
    method: "POST",
    headers: claimed === undefined ? {} : { "content-length": String(claimed) },
    body,
  });
  const deadline = new Deadline();
  const result = await readBody(request, { budget, announced, holder: "a" }, deadline);
  deadline.end();
  return result;
}

function isFree(budget: ByteBudget, bytes: number): boolean {
  return budget.take("b", bytes, Date.now(), Date.now() + 1000) !== null;
}

/** Whether nothing of the budget is taken. */
function isWhole(budget: ByteBudget): boolean {
  return isFree(budget, budgetBytes);
}

describe.each([
  ["that says its length", bytes.length],
  ["that does not", undefined],
])("a body %s", (_name, claimed) => {
  test("is read as it was sent, and holds its bytes of the budget until it is released", async () => {
    const budget = new ByteBudget(budgetBytes);
    const body = await read(bytes, claimed, budget);
    expect(body).toMatchObject({ ok: true, value: { bytes } });
    expect(isFree(budget, budgetBytes - bytes.length + 1)).toBe(false);
    if (body.ok) {
      body.value.release();
      body.value.release();
    }
    expect(isWhole(budget)).toBe(true);
  });

  test("is refused where the budget does not have its bytes", async () => {
    const budget = new ByteBudget(bytes.length - 1);
    expect(await read(bytes, claimed, budget)).toMatchObject({ ok: false, refusal: { reason: "busy" } });
    expect(isFree(budget, bytes.length - 1)).toBe(true);
  });

  test("that stops coming is refused at the read deadline, and gives its bytes back", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { readable, writable } = new IdentityTransformStream();
    const budget = new ByteBudget(budgetBytes);
    const asked = read(readable, claimed, budget);
    const writer = writable.getWriter();
    writer.write(bytes.subarray(0, 500)).catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(limits.bodyTimeoutMs);
    expect(await asked).toMatchObject({ ok: false, refusal: { reason: "slow_body" } });
    expect(isWhole(budget)).toBe(true);
  });
});

test.each([
  ["above 64 KiB, with what came", 90_000, 500, /bytes that came: 500, its Content-Length: 90000/],
  [
    "of one read, whose bytes nobody has counted",
    1000,
    undefined,
    /fewer bytes came than its Content-Length of 1000/,
  ],
])("a body that stops says how much of its Content-Length came: %s", async (_, claimed, received, words) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { readable, writable } = new IdentityTransformStream();
  const asked = read(readable, claimed);
  const writer = writable.getWriter();
  writer.write(bytes.subarray(0, 500)).catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  await vi.advanceTimersByTimeAsync(limits.bodyTimeoutMs);
  const refused = await asked;
  expect(refused).toMatchObject({ ok: false, refusal: { reason: "slow_body", received, claimed } });
  expect(refused.ok ? "" : wordRefusal(refused.refusal)).toMatch(words);
});

test.each([-1, 1, bytes.length])(
  "a body that says to have %i bytes more than it has is none, and gives its bytes back",
  async (more) => {
    const budget = new ByteBudget(budgetBytes);
    expect(await read(bytes, bytes.length + more, budget)).toMatchObject({
      ok: false,
      refusal: { reason: "broken_body", claimed: bytes.length + more },
    });
    expect(isWhole(budget)).toBe(true);
  },
);

test("a body that comes in pieces is whole, whether it says its length or not", async () => {
  for (const claimed of [bytes.length, undefined]) {
    const { readable, writable } = new IdentityTransformStream();
    const asked = read(readable, claimed);
    const writer = writable.getWriter();
    for (let at = 0; at < bytes.length; at += 100) {
      await writer.write(bytes.subarray(at, at + 100));
    }
    await writer.close();
    expect(await asked).toMatchObject({ ok: true, value: { bytes } });
  }
});

test("a body is not waited for where it says a length that is longer than any, or none at all", async () => {
  expect(await read(bytes, limits.bodyBytesMax + 1)).toMatchObject({ refusal: { reason: "too_large" } });
  expect(await read(new Uint8Array(0), 0)).toMatchObject({ ok: true, value: { bytes: new Uint8Array(0) } });
});

test("a body that is announced and does not come holds nothing of the budget, and keeps no other from being read", async () => {
  const budget = new ByteBudget(budgetBytes);
  const announced = new ByteBudget(60_001);
  const { readable, writable } = new IdentityTransformStream();
  const idle = read(readable, 60_000, budget, announced);
  await new Promise((resolve) => setImmediate(resolve));
  expect(budget.bytesAt(Date.now())).toBe(0);
  expect(announced.bytesAt(Date.now())).toBe(60_001);
  expect(await read(bytes, bytes.length, budget, announced)).toMatchObject({ ok: true, value: { bytes } });
  await writable.abort("gone");
  expect(await idle).toMatchObject({ ok: false });
  expect(announced.bytesAt(Date.now())).toBe(0);
});
