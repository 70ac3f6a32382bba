/**
 * The protocol in a world that breaks (docs/architecture.md): the real ledger, grouping and reconciler, schedules by
 * seed, the invariants after every step. `npm run test:faults` runs more of them, and shows a failing one small.
 */
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { runSchedules } from "./run-schedules.ts";

const schedules = 20_000;

test(`in ${schedules} schedules of faults no payload is lost, doubled, or stuck`, async () => {
  const firstSeed = Number(process.env["FAULTS_SEED"] ?? 1);
  const { failure, text } = await runSchedules({
    profiles: [],
    firstSeed,
    schedules,
    threads: Math.min(4, availableParallelism()),
  });
  console.log(`model: ${text}`);
  expect(
    failure,
    `npm run test:faults -- --seed ${failure?.seed} --profile "${failure?.profile}"`,
  ).toBeNull();
});
