import { expect, test } from "vitest";
import { balanceOf } from "../../shared/balance.ts";
import type { PayloadOutcome } from "../../shared/outcome.ts";
import { formatPayloadId, formatPayloadKey, type PayloadKey } from "../../shared/payload-key.ts";

const key = (n: number): PayloadKey =>
  formatPayloadKey(Date.UTC(2026, 10, 24), "acme", formatPayloadId(new Uint8Array(16).fill(n)));

function receipts(...entries: [number, PayloadOutcome][]): Map<PayloadKey, PayloadOutcome> {
  return new Map(entries.map(([n, outcome]) => [key(n), outcome]));
}

test("every accepted key is in exactly one set", () => {
  const balance = balanceOf(
    [1, 2, 3, 4, 5, 6, 7].map(key),
    receipts([1, "stored"], [2, "dead"], [3, "duplicate"], [4, "erased"], [7, "expired"]),
    new Set([key(5), key(1)]),
  );
  expect(balance).toEqual({
    accepted: 7,
    stored: 1,
    dead: 1,
    duplicate: 1,
    erased: 1,
    expired: 1,
    inFlight: 1,
    missing: [key(6)],
  });
});

test("one lost and one that R2 has forgotten do not cancel out", () => {
  const balance = balanceOf([key(1), key(2)], receipts([1, "stored"], [9, "stored"]), new Set());
  expect(balance).toMatchObject({ accepted: 3, stored: 2, inFlight: 0, missing: [key(2)] });
});

test("a key that is listed twice counts once", () => {
  expect(balanceOf([key(1), key(1)], receipts(), new Set())).toMatchObject({
    accepted: 1,
    missing: [key(1)],
  });
});
