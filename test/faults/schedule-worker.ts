/** A thread that runs schedules: profile by profile, seed by seed, until it has run its share or one fails; then the next. */
import { parentPort } from "node:worker_threads";
import { type Outcome, runSchedule } from "./schedule.ts";
import { EveryChoice, SeededChoices } from "./world/choices.ts";
import { behaviourWorlds, othersMax } from "./world/every-behaviour.ts";
import { harshProfiles } from "./world/harsh-profiles.ts";
import { type Profile, profiles, smallWorlds } from "./world/profile.ts";

export type Share =
  /** Schedules by seed, in these profiles (none named: all). */
  | {
      readonly kind: "seeds";
      readonly profiles: readonly string[];
      readonly firstSeed: number;
      /** This thread takes every n-th seed. */
      readonly stride: number;
      readonly schedules: number;
    }
  /** Every schedule of these small worlds (none named: all of `smallWorlds`), at most `schedules` of each. */
  | { readonly kind: "every"; readonly worlds: readonly string[]; readonly schedules: number };

export interface Failure {
  readonly profile: string;
  /** Null: found among all schedules of a small world. */
  readonly seed: number | null;
  readonly invariant: string;
  readonly message: string;
  /** The schedule's choices, where no seed repeats them. */
  readonly trace: readonly number[] | null;
}

export interface ShareResult {
  readonly schedules: number;
  readonly steps: number;
  readonly payloads: number;
  readonly struck: Readonly<Record<string, number>>;
  readonly failure: Failure | null;
}

const everySmallWorld = [...smallWorlds, ...behaviourWorlds];
const everyProfile = [...profiles, ...harshProfiles];

/** Counts what ran, and keeps the first failure. */
class Tally {
  schedules = 0;
  steps = 0;
  payloads = 0;
  readonly struck: Record<string, number> = {};
  failure: Failure | null = null;

  add(outcome: Outcome): boolean {
    this.schedules++;
    this.steps += outcome.steps;
    this.payloads += outcome.payloads;
    for (const [fault, times] of outcome.struck) {
      this.struck[fault] = (this.struck[fault] ?? 0) + times;
    }
    return outcome.violation === null;
  }

  get result(): ShareResult {
    const { schedules, steps, payloads, struck, failure } = this;
    return { schedules, steps, payloads, struck, failure };
  }
}

function runShare(share: Share): ShareResult {
  return share.kind === "seeds" ? runSeeds(share) : runEvery(share);
}

function named(all: readonly Profile[], names: readonly string[]): readonly Profile[] {
  return names.length === 0 ? all : names.flatMap((name) => all.filter((one) => one.name === name));
}

function runSeeds(share: Extract<Share, { kind: "seeds" }>): ShareResult {
  const chosen = share.profiles.length === 0 ? profiles : named(everyProfile, share.profiles);
  const tally = new Tally();
  for (let seed = share.firstSeed; ; seed += share.stride) {
    for (const profile of chosen) {
      if (tally.schedules >= share.schedules) {
        return tally.result;
      }
      const outcome = runSchedule(profile, new SeededChoices(seed));
      if (!tally.add(outcome) && outcome.violation !== null) {
        tally.failure = { profile: profile.name, seed, trace: null, ...outcome.violation };
        return tally.result;
      }
    }
  }
}

function runEvery({ worlds, schedules }: Extract<Share, { kind: "every" }>): ShareResult {
  const tally = new Tally();
  const chosen = worlds.length === 0 ? smallWorlds : named(everySmallWorld, worlds);
  for (const profile of chosen) {
    const choices = behaviourWorlds.includes(profile)
      ? new EveryChoice(profile.strikesMax, othersMax)
      : new EveryChoice(profile.strikesMax);
    for (let ran = 0; ran < schedules && choices.advance(); ran++) {
      const outcome = runSchedule(profile, choices);
      if (!tally.add(outcome) && outcome.violation !== null) {
        const { trace } = choices;
        tally.failure = { profile: profile.name, seed: null, trace, ...outcome.violation };
        return tally.result;
      }
    }
  }
  return tally.result;
}

if (parentPort !== null) {
  const port = parentPort;
  Error.stackTraceLimit = 0; // failures of the world are thrown by the million, and nobody reads where
  port.on("message", (share: Share) => port.postMessage(runShare(share)));
}
