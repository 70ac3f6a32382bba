/**
 * The protocol in a world that breaks (docs/architecture.md): the real ledger, grouping and reconciler, the invariants
 * after every step. `npm run test:faults` runs more of them, and shows a failing one small.
 */
import { writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { everyShare, runShares, seedShares } from "./run-schedules.ts";
import { behaviourWorlds, leftToSeeds } from "./world/every-behaviour.ts";
import { smallWorlds } from "./world/profile.ts";

/** `npm run test:all` runs more of them, and all that the small worlds have. */
const isLong = process.env["HEADRACE_LONG"] !== undefined;
const schedules = isLong ? 20_000 : 3000;
const ofEachBehaviour = isLong ? Number.MAX_SAFE_INTEGER : 200;
const ofEachWorld = isLong ? Number.MAX_SAFE_INTEGER : 1200;
const threads = Math.min(4, availableParallelism());
/** On a machine that does nothing else both take half a minute together; nothing here measures speed. */
const timeoutMs = 600_000;

/** Shown although the test passes: vitest keeps the console of passing tests to itself. */
function say(text: string): void {
  writeSync(1, `${text}\n`);
}

test(
  `in ${schedules} schedules by seed no payload is lost, doubled, or stuck`,
  async () => {
    const firstSeed = Number(process.env["FAULTS_SEED"] ?? 1);
    const { failure, text } = await runShares(seedShares([], firstSeed, schedules), threads);
    say(`model: ${text}`);
    expect(
      failure,
      `npm run test:faults -- --seed ${failure?.seed} --profile "${failure?.profile}"`,
    ).toBeNull();
  },
  timeoutMs,
);

test(
  `in ${isLong ? "every schedule" : `up to ${ofEachWorld} schedules`} of each small world, up to its number of strikes, no payload is lost, doubled, or stuck`,
  async () => {
    const { failure, text } = await runShares(everyShare(smallWorlds, ofEachWorld), threads);
    say(`model: every schedule of the small worlds: ${text}`);
    expect(failure).toBeNull();
  },
  timeoutMs,
);

test(
  `so it is in ${isLong ? "every schedule" : `up to ${ofEachBehaviour} schedules`} of a small world of each behaviour of the platform`,
  async () => {
    const { failure, struck, text } = await runShares(everyShare(behaviourWorlds, ofEachBehaviour), threads);
    say(`model: the small world of each behaviour: ${text}`);
    expect(failure).toBeNull();
    const named = behaviourWorlds.flatMap(({ faults, incidents, flaws }) => [
      ...Object.keys(faults),
      ...Object.keys(incidents),
      ...Object.keys(flaws).map((flaw) => `payload: ${flaw}`),
    ]);
    const never = [...new Set(named)].filter((name) => !struck.has(name) && !leftToSeeds.has(name));
    if (isLong) {
      expect(never).toEqual([]); // the first schedules are those in which little strikes
    }
  },
  timeoutMs,
);
