/**
 * What the ingress must know of the traces table, which it cannot ask: how long it keeps rows. The consumer's cron writes
 * it into R2, beside the payloads; an isolate of the ingress reads it once a minute.
 */
import * as v from "valibot";
import { DAY_MS, limits } from "./limits.ts";

/** Outside of the payloads' prefix, like the ledger's own objects. */
export const tableLimitsKey = "table/0/limits";

export const tableLimitsSchema = v.object({
  v: v.literal(1),
  /** The least time that a row is kept after its Timestamp; null: for ever. */
  keptMs: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0))),
});
export type TableLimits = v.InferOutput<typeof tableLimitsSchema>;

/** Before the table was ever looked at. */
export const noTableLimits: TableLimits = { v: 1, keptMs: null };

/**
 * How long ago a span may have begun and have ended when it arrives, in ms. It is old by its end: a job of a day ends when
 * it ends. Its row, though, goes into the table by its start, and goes with it: a day before that it is refused, or at half
 * of a TTL that is shorter than two. Example, a TTL of 7 days: 6 days, both. `spanAgeDays`: what the key allows.
 */
export function spanAges(
  { keptMs }: TableLimits,
  spanAgeDays: number,
): { readonly start: number; readonly end: number } {
  const inTable = keptMs === null ? Number.POSITIVE_INFINITY : Math.max(keptMs - DAY_MS, keptMs / 2);
  return {
    start: Math.floor(Math.min(limits.spanAgeCeilingMs, inTable)),
    end: Math.floor(Math.min(spanAgeDays * DAY_MS, inTable)),
  };
}
