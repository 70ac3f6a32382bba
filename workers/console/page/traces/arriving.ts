/** A trace whose spans may still be on their way: how often it is looked at again. Pure. */
import { instantNs } from "../../../../shared/console/instant.ts";
import type { TraceShape } from "../../../../shared/console/traces.ts";

/** Of one that is not there. */
const absentMs = 3000;
/** Of one that has ended a moment ago: each of its services sends by itself, after five seconds mostly. */
export const arrivingMs = 5000;
/** Until nothing has come for so long. */
export const quietMs = 60_000;
const recentMs = 10 * 60_000;

type Shape = Pick<TraceShape, "start" | "durationNs" | "spansCount" | "errorsCount">;

/** ms; null: not again. A clock that is wrong by more than ten minutes makes it null too. */
export function lookAgain({ start, durationNs, spansCount }: Shape, now: number): number | null {
  if (start === null || spansCount === 0) {
    return absentMs;
  }
  const endMs = Number(instantNs(start) / 1_000_000n) + durationNs / 1e6;
  return Math.abs(now - endMs) < recentMs ? arrivingMs : null;
}

/** Whether no span has come or gone between two answers of one trace. */
export function isSameShape(a: Shape, b: Shape): boolean {
  return (
    a.start === b.start &&
    a.durationNs === b.durationNs &&
    a.spansCount === b.spansCount &&
    a.errorsCount === b.errorsCount
  );
}
