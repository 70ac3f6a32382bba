/**
 * The short form of `npm run test:chaos`: the same code, for less than a minute, and always the same choices: what fails
 * here is the change's. Other seeds are for `npm run test:chaos`.
 */
import { expect, test } from "vitest";
import { describeRun, runChaos, wrongOf } from "../chaos/run-chaos.ts";

test("while connections, Workers and the server die, every payload answered 200 is stored once or is a dead letter", async () => {
  const seed = 17;
  const report = await runChaos({
    chaosMs: 18_000,
    settleMs: 90_000,
    seed,
    untilLastMinute: false,
    onProgress: () => undefined,
  });
  process.stdout.write(`Seed ${seed}.\n${describeRun(report)}\n`);
  expect(wrongOf(report), `seed ${seed}\n${report.logs.slice(-200).join("\n")}`).toEqual([]);
  expect(report.ends.accepted).toBeGreaterThan(10);
  for (const fault of [
    "workers_killed",
    "engine_killed",
    "outage",
    "poison",
    "hung_up",
    "slow_upload",
    "wide",
    "slow",
    "too_old",
    "sampling_changed",
    "delivered_late",
    "delivered_twice",
  ] as const) {
    expect(report.faults.get(fault) ?? 0, fault).toBeGreaterThan(0);
  }
  // What was held was delivered when everything had been stored, and the server itself refused it.
  expect(report.held.delivered).toBeGreaterThan(0);
  expect(report.held.late).toBe(report.held.delivered);
  const broken = [
    "cut_before",
    "cut_in_body",
    "cut_after",
    "cut_in_answer",
    "late_request",
    "late_answer",
  ] as const;
  expect(broken.reduce((sum, fault) => sum + (report.faults.get(fault) ?? 0), 0)).toBeGreaterThan(0);
}, 180_000);
