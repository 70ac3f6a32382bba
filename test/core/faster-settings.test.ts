import { describe, expect, test } from "vitest";
import { defaultSettings, settingsFaster } from "../../shared/ledger/settings.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { reconcileSettings, reconcileSettingsFaster } from "../../shared/reconcile/settings.ts";

/** What times a span may have, and the TTL of the receipts' table, are no durations of the protocol. */
const ofTables = /^(caps\.span|receiptsMs$)/;

/** Every number by its path. */
function numbersOf(value: object, path = ""): ReadonlyMap<string, number> {
  return new Map(
    Object.entries(value).flatMap(([name, one]: [string, unknown]): [string, number][] => {
      const here = path === "" ? name : `${path}.${name}`;
      return typeof one === "number"
        ? [[here, one]]
        : typeof one === "object" && one !== null
          ? [...numbersOf(one, here)]
          : [];
    }),
  );
}

describe.each([
  [
    "the ledger's",
    numbersOf(defaultSettings),
    (times: number) => numbersOf(settingsFaster(defaultSettings, times)),
    [3000],
  ],
  [
    "the reconciler's",
    numbersOf(reconcileSettings),
    (times: number) => numbersOf(reconcileSettingsFaster(reconcileSettings, times)),
    [200_000],
  ],
])("%s settings, faster", (_, usual, faster, fastest) => {
  // With the fastest there are durations that would round to none.
  test.each([1, 7, 30, ...fastest])("%i times: every duration is divided, and nothing else is", (times) => {
    const shortestMs = new Map([["auditSpanMs", 60_000]]); // whole minutes are audited
    const expected = [...usual].map(([path, value]) => [
      path,
      path.endsWith("Ms") && !ofTables.test(path)
        ? Math.max(shortestMs.get(path) ?? 1, Math.round(value / times))
        : value,
    ]);
    expect(Object.fromEntries(faster(times))).toEqual(Object.fromEntries(expected));
  });
});

test("an INSERT may run for as long as its limit in seconds says", () => {
  expect(defaultSettings.insertMs).toBe(limits.insertTimeoutSeconds * 1000);
});

test("a receipt counts as kept for a day less than it is", () => {
  expect(reconcileSettings.receiptsMs).toBe(limits.receiptsRetentionDays * DAY_MS - DAY_MS);
});
