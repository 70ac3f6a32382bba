/** Durations in words, which the page and the CLI share. */
import { expect, test } from "vitest";
import { durationText, elapsedText } from "../../shared/console/duration-text.ts";

test("a span's duration has three digits, in the unit that people use", () => {
  expect(
    [0, 80, 999.6, 1000, 1230, 450_000, 999_999, 12_345_678, 1_250_000_000, 119.9e9, 125e9, 7200e9].map(
      durationText,
    ),
  ).toEqual([
    "0 ns",
    "80 ns",
    "1 µs",
    "1 µs",
    "1.23 µs",
    "450 µs",
    "1 ms",
    "12.3 ms",
    "1.25 s",
    "2 min 0 s",
    "2 min 5 s",
    "2 h 0 min",
  ]);
});

test("what somebody waits for is in whole seconds, and in two units from a minute on", () => {
  expect([-5, 400, 41_000, 341_000, 11_520_000, 187_200_000].map(elapsedText)).toEqual([
    "0 s",
    "0 s",
    "41 s",
    "5 min 41 s",
    "3 h 12 min",
    "2 d 4 h",
  ]);
});
