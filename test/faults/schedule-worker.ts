/** A thread that runs schedules: profile by profile, seed by seed, until it has run its share or one fails. */
import { parentPort, workerData } from "node:worker_threads";
import { runSchedule } from "./schedule.ts";
import { SeededChoices } from "./world/choices.ts";
import { profiles } from "./world/profile.ts";

export interface Share {
  /** Profiles by name; empty: all. */
  readonly profiles: readonly string[];
  readonly firstSeed: number;
  /** This thread takes every n-th seed. */
  readonly stride: number;
  readonly schedules: number;
}

export interface Failure {
  readonly profile: string;
  readonly seed: number;
  readonly invariant: string;
  readonly message: string;
}

export interface ShareResult {
  readonly schedules: number;
  readonly steps: number;
  readonly payloads: number;
  readonly struck: Readonly<Record<string, number>>;
  readonly failure: Failure | null;
}

export function runShare({ profiles: names, firstSeed, stride, schedules }: Share): ShareResult {
  const chosen =
    names.length === 0 ? profiles : names.flatMap((name) => profiles.filter((one) => one.name === name));
  const struck: Record<string, number> = {};
  let [done, steps, payloads] = [0, 0, 0];
  let failure: Failure | null = null;
  for (let seed = firstSeed; done < schedules && failure === null; seed += stride) {
    for (const profile of chosen) {
      const outcome = runSchedule(profile, new SeededChoices(seed));
      done++;
      steps += outcome.steps;
      payloads += outcome.payloads;
      for (const [fault, times] of outcome.struck) {
        struck[fault] = (struck[fault] ?? 0) + times;
      }
      if (outcome.violation !== null) {
        failure = { profile: profile.name, seed, ...outcome.violation };
        break;
      }
    }
  }
  return { schedules: done, steps, payloads, struck, failure };
}

if (parentPort !== null) {
  Error.stackTraceLimit = 0; // failures of the world are thrown by the million, and nobody reads where
  parentPort.postMessage(runShare(workerData as Share));
}
