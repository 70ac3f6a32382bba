import { expect, test } from "vitest";
import type { GroupPayload } from "../../shared/ledger/group.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadId, formatPayloadKey } from "../../shared/payload-key.ts";
import { loadPayloads } from "../../workers/consumer/load-payloads.ts";

/** How many objects of a group were asked for and not yet used, at most. */
async function mostAhead(outputBytes: number): Promise<number> {
  let asked = 0;
  let used = 0;
  let most = 0;
  const bucket = {
    get: async () => {
      asked++;
      most = Math.max(most, asked - used);
      return null;
    },
  } as unknown as R2Bucket;
  const payloads = Array.from({ length: 8 }, (_, i): GroupPayload => {
    const key = formatPayloadKey(0, "acme", formatPayloadId(new Uint8Array(16).fill(i)));
    const sizes = { spans: 1, outputBytes, arrival: 0 };
    return {
      key,
      ...sizes,
      cause: "ingress",
      doorbell: true,
      duplicateKeys: [],
      missingDays: null,
      erase: null,
    };
  });
  for await (const loaded of loadPayloads(bucket, payloads)) {
    expect(loaded.key).toBe(payloads[used]?.key);
    used++;
  }
  expect(used).toBe(payloads.length);
  return most;
}

test("a group's payloads are fetched five at once, and large ones only as many as their bytes allow", async () => {
  expect(await mostAhead(500_000)).toBe(limits.r2GetsAtOnceMax);
  expect(await mostAhead(limits.aheadOutputBytesMax / 2)).toBe(2);
  expect(await mostAhead(limits.outputBytesMax)).toBe(1);
});
