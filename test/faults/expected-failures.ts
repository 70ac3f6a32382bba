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

export const expectedFailures: readonly ExpectedFailure[] = [];
