/** The word at the page's top: what could not be read is never "well". */
import { expect, test } from "vitest";
import type { Status, Watermark } from "../../shared/console/answers.ts";
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
