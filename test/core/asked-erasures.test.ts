/** What a person asks to be erased is handed to the ledger (shared/delivery/asked-erasures.ts). */
import { expect, test } from "vitest";
import { type AskedErasurePerformer, eraseAsked } from "../../shared/delivery/asked-erasures.ts";
import { perform } from "../../shared/effect.ts";
import { MINUTE_MS } from "../../shared/limits.ts";
import type { Doorbell } from "../../shared/messages.ts";
import { doorbell, startMs } from "../ledger/world.ts";

const stored = doorbell({ n: 1, arrival: startMs });
const older = doorbell({ n: 2, arrival: startMs - MINUTE_MS });
const gone = doorbell({ n: 3 });
/** Its key is of the minute in which it is asked for: it has rows, and no receipt any more. */
const outlived = doorbell({ n: 4, arrival: startMs + MINUTE_MS });
const keys = [stored, older, gone, outlived].map(({ key }) => key);

function effects(readSpans: AskedErasurePerformer["readSpans"]) {
  const handed: (readonly Doorbell[])[] = [];
  const unasked = (): never => {
    throw new Error("not asked");
  };
  const performer: AskedErasurePerformer = {
    writeRecord: async () => null,
    completeDoorbell: async (key) => [stored, older].find((one) => one.key === key) ?? null,
    readSpans,
    findRows: async (asked) => asked.filter((key) => key === outlived.key),
    erase: async ({ payloads }) => {
      handed.push(payloads);
      return null;
    },
    listRecords: unasked,
    readRecord: unasked,
    deleteRecord: unasked,
    outcomes: unasked,
    holds: unasked,
    report: unasked,
  };
  return { performer, handed };
}
const numbersOf = (payloads: readonly Doorbell[]) => payloads.map(({ key }) => keys.indexOf(key));

test("what R2 has is erased together, and so is what only its receipts name", async () => {
  const { performer, handed } = effects(async () => [{ key: gone.key, spans: 7 }]);
  const asked = await perform(eraseAsked("erasures/a", [...keys, "no key"], "a test"), performer);
  expect(handed.map(numbersOf)).toEqual([
    [1, 0],
    [2, 3],
  ]);
  expect(
    handed[1]?.map(({ spans }) => spans),
    "no usage of the minute in which it was asked for",
  ).toEqual([7, 0]);
  expect(asked).toEqual({ taken: keys, missing: ["no key"] });
});

test("what R2 has is erased while ClickHouse does not answer, whatever it is asked for beside it", async () => {
  const { performer, handed } = effects(async () => {
    throw new Error("it does not answer");
  });
  await expect(perform(eraseAsked("erasures/a", keys, "a test"), performer)).rejects.toThrow();
  expect(handed.map(numbersOf)).toEqual([[1, 0]]);
});
