/** The word at the page's top: what could not be read is never "well". */
import { expect, test } from "vitest";
import type { Status, Watermark } from "../../shared/console/answers.ts";
import { keyParts } from "../../workers/console/page/format.ts";
import { behindState, judge } from "../../workers/console/page/state.ts";

const watermark: Watermark = {
  watermark: "2026-11-24T12:00:00Z",
  behindSeconds: 360,
  ranAt: "2026-11-24T12:06:00Z",
  openMinutes: [],
  openMinutesCount: 0,
};
const status: Status = { remembered: 0, databaseBytes: 0, head: null, held: [], trouble: "", frontDoor: [] };
const sure = { isUnread: false, isRefused: false };

test.each([
  ["well", status, sure],
  ["look", status, { ...sure, isUnread: true }],
  ["look", status, { ...sure, isRefused: true }],
  ["look", { ...status, trouble: "ClickHouse at c does not answer since 07:34 UTC" }, sure],
  ["act", { ...status, held: [{ key: "k", reason: "1 of 2 rows" }] }, { ...sure, isUnread: true }],
  ["unknown", undefined, sure],
] as const)("is %s", (expected, known, unsure) => {
  expect(judge(watermark, known as Status | undefined, [], unsure)).toBe(expected);
});

test("the watermark's distance is never coloured as well beside a word that is not", () => {
  expect(behindState(360, "well")).toBe("well");
  expect(behindState(360, "act")).toBe("unknown");
  expect(behindState(1000, "act")).toBe("look");
  expect(behindState(4000, "well")).toBe("act");
});

test("a key's tenant, minute and id are the same wherever its payload is", () => {
  const id = "0123456789abcdefghijklmnog";
  const parts = { tenant: "acme", minute: "2026-11-24T07:41", id };
  expect(keyParts(`p/0/t/2026-11-24T0741/acme/${id}`)).toEqual(parts);
  expect(keyParts(`p/0/t/2026-11-24T0741/_2/${"0".repeat(35)}/003/acme/${id}`)).toEqual(parts);
});
