/**
 * Behaviours of the platform, each nearly alone (world/harsh-profiles.ts). What breaks an invariant today is an expected
 * failure (expected-failures.ts); every other behaviour is run by many seeds.
 */
import { describe, expect, test } from "vitest";
import { expectedFailures } from "./expected-failures.ts";
import { type Outcome, runSchedule } from "./schedule.ts";
import { SeededChoices } from "./world/choices.ts";
import type { DoorsChoice } from "./world/fate.ts";
import { harshProfiles } from "./world/harsh-profiles.ts";
import { type Profile, profiles } from "./world/profile.ts";

/** In each world; `npm run test:all` runs more. */
const schedules = process.env["HEADRACE_LONG"] === undefined ? 60 : 150;

const ran = new Map<string, Outcome>();

/** A seed runs once in this file: what it came to and what struck there are looked at by different tests. */
function outcomeOf(profile: Profile, seed: number): Outcome {
  const name = `${seed} ${profile.name}`;
  const outcome = ran.get(name) ?? runSchedule(profile, new SeededChoices(seed));
  ran.set(name, outcome);
  return outcome;
}

const failing = new Map(expectedFailures.map((failure) => [failure.profile, failure]));

describe("no payload is lost, doubled, or stuck", () => {
  for (const profile of harshProfiles) {
    const failure = failing.get(profile.name);
    const run = failure === undefined ? test : test.fails;
    run(`where this happens: ${profile.name}`, () => {
      const seeds =
        failure === undefined ? Array.from({ length: schedules }, (_, i) => i + 1) : [failure.seed];
      for (const seed of seeds) {
        const { violation } = outcomeOf(profile, seed);
        expect(violation, `npm run test:faults -- --seed ${seed} --profile "${profile.name}"`).toBeNull();
      }
    });
  }
});

test("an expected failure is of a behaviour that there is, and breaks what it says", () => {
  for (const { profile: name, seed, invariant } of expectedFailures) {
    const profile = harshProfiles.find((one) => one.name === name);
    const violation = profile && outcomeOf(profile, seed).violation;
    expect(violation?.invariant, name).toBe(invariant);
  }
});

test("each behaviour strikes in at least one of a thousand schedules, and in its own world in one of ten", () => {
  const all = [...profiles, ...harshProfiles];
  const seeds = 60;
  const struck = new Map<string, number>();
  for (const profile of all) {
    let inOwn = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const outcome = outcomeOf(profile, seed);
      for (const name of outcome.struck.keys()) {
        struck.set(name, (struck.get(name) ?? 0) + 1);
      }
      inOwn += outcome.struck.size > 0 ? 1 : 0;
    }
    expect(inOwn, profile.name).toBeGreaterThanOrEqual(seeds / 10);
  }
  const choices: readonly DoorsChoice[] = ["alone by advice", "collector is paused", "another collector"];
  const named = all.flatMap(({ faults, incidents }) => [...Object.keys(faults), ...Object.keys(incidents)]);
  for (const name of new Set([...named, ...choices])) {
    expect(struck.get(name) ?? 0, name).toBeGreaterThanOrEqual((all.length * seeds) / 1000);
  }
});
