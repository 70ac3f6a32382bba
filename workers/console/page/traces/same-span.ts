/** Whether two answers are of one span: an id may be there twice, and the spans are then told apart by what is drawn of them. Pure. */
import { instantNs } from "../../../../shared/console/instant.ts";
import type { ShapeSpan } from "../../../../shared/console/traces.ts";

/** A span of an answer whose trace began at `start`: which is another one in each answer while spans are still arriving. */
export interface PlacedInTime {
  readonly start: string | null;
  readonly span: Pick<ShapeSpan, "name" | "startNs" | "durationNs">;
}

export function isSameSpan(one: PlacedInTime, drawn: PlacedInTime): boolean {
  // Of a long name the trace's answer has the beginning.
  const { name } = drawn.span;
  const beginning = name.endsWith("…") ? name.slice(0, -1) : name;
  return (
    one.span.name.startsWith(beginning) &&
    one.span.durationNs === drawn.span.durationNs &&
    beginOf(one) === beginOf(drawn)
  );
}

/** ns since the epoch */
function beginOf({ start, span }: PlacedInTime): bigint {
  return (start === null ? 0n : instantNs(start)) + BigInt(span.startNs);
}
