/**
 * Makes a failing schedule smaller: fewer choices that are not zero, as long as the same invariant still breaks. A
 * schedule is its list of choices (world/choices.ts), so nothing of the world needs to know how it is made smaller.
 */
import { type Outcome, runSchedule } from "./schedule.ts";
import { ReplayedChoices, SeededChoices } from "./world/choices.ts";
import type { Profile } from "./world/profile.ts";

/** A bound on the work, in schedules. */
const triesMax = 4000;

export interface Shrunk {
  readonly trace: readonly number[];
  readonly story: readonly string[];
}

export function shrink(profile: Profile, seed: number, invariant: string): Shrunk {
  const recorded: number[] = [];
  runSchedule(profile, new SeededChoices(seed, recorded));
  let best: readonly number[] = recorded;
  let tries = 0;
  const stillFails = (trace: readonly number[]): boolean => {
    tries++;
    const outcome: Outcome = runSchedule(profile, new ReplayedChoices(trace));
    return outcome.violation?.invariant === invariant;
  };
  let isSmaller = true;
  while (isSmaller && tries < triesMax) {
    isSmaller = false;
    for (let length = best.length; length >= 1 && tries < triesMax; length = Math.floor(length / 2)) {
      for (let from = 0; from < best.length && tries < triesMax; from += length) {
        if (best.slice(from, from + length).every((choice) => choice === 0)) {
          continue;
        }
        const zeroed = best.map((choice, i) => (i >= from && i < from + length ? 0 : choice));
        if (stillFails(zeroed)) {
          best = zeroed;
          isSmaller = true;
        }
      }
    }
  }
  const story: string[] = [];
  runSchedule(profile, new ReplayedChoices(best), story);
  return { trace: best, story };
}
