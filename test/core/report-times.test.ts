import { describe, expect, test } from "vitest";
import { ReportTimes } from "../../shared/report-times.ts";

describe("an isolate reports how its requests ended", () => {
  test("five seconds after the first, and fifteen after the last report as long as all come in", () => {
    const times = new ReportTimes();
    expect(times.arm(100_000, false)).toBe(5000);
    expect(times.arm(101_000, false), "one is armed").toBeUndefined();
    times.sent(105_000);
    expect(times.arm(105_250, false)).toBe(14_750);
    times.sent(120_000);
    expect(times.arm(200_000, false), "after a pause").toBe(5000);
  });

  test("five seconds after one that was refused, by one report", () => {
    const times = new ReportTimes();
    times.sent(100_000);
    expect(times.arm(100_500, false)).toBe(14_500);
    expect(times.arm(103_000, true)).toBe(5000);
    expect(times.arm(104_000, true), "one is armed").toBeUndefined();
    expect(times.isArmed(108_000)).toBe(true);
    expect(times.isArmed(115_000), "what was armed before is none of its own").toBe(false);
    times.sent(108_000);
    expect(times.isArmed(108_000)).toBe(false);
  });

  test("again where the request that had armed it was cut off", () => {
    const times = new ReportTimes();
    times.arm(100_000, false);
    expect(times.arm(109_999, true)).toBeUndefined();
    expect(times.arm(110_000, false)).toBe(5000);
  });

  test("by its clock, also where that is put back", () => {
    const times = new ReportTimes();
    times.sent(10_000_000);
    expect(times.arm(100_000, false)).toBe(15_000);
  });

  test("at most every fifteen seconds by a steady sender, and nothing that it sent is left out", () => {
    const times = new ReportTimes();
    let [dueAt, counted, reported, reports] = [Number.POSITIVE_INFINITY, 0, 0, 0];
    for (let now = 0; now <= 600_000; now += 250) {
      if (now >= dueAt) {
        expect(times.isArmed(dueAt)).toBe(true);
        times.sent(now);
        [dueAt, reported, reports] = [Number.POSITIVE_INFINITY, counted, reports + 1];
      }
      counted++;
      const ms = times.arm(now, false);
      dueAt = ms === undefined ? dueAt : now + ms;
      expect(counted - reported, "fifteen seconds of requests").toBeLessThanOrEqual(61);
    }
    expect(reports).toBe(40);
  });
});
