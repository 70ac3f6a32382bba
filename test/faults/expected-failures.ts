/**
 * Behaviours of the platform that break an invariant today: the schedule that shows it, and its story. Each is an expected
 * failure of harsh-worlds.test.ts, by name. The list may only shrink: a behaviour that leaves it is run with the others
 * from then on.
 */
import type { Invariant } from "./invariants.ts";

export interface ExpectedFailure {
  /** A profile of world/harsh-profiles.ts. */
  readonly profile: string;
  /** `npm run test:faults -- --profile "…" --seed N` shows it small. */
  readonly seed: number;
  readonly invariant: Invariant;
  readonly story: string;
}

export const expectedFailures: readonly ExpectedFailure[] = [
  {
    profile: "replica lags",
    seed: 77,
    invariant: "I1",
    story:
      "A payload is stored and receipted. Somebody replays it while reads reach a replica that lags: VERIFY counts no rows there, takes that for evidence, and inserts again.",
  },
  {
    profile: "processes are elsewhere",
    seed: 185,
    invariant: "I1",
    story:
      "An INSERT overruns max_execution_time at one server, and VERIFY asks another one what runs: it sees nothing, ends nothing, finds no rows, and a new group inserts before the first one commits.",
  },
];
