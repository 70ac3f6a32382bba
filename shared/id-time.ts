/**
 * The time that an id of version 2 begins with, and `ID_TIME_FROM`, the time from which ids do (decision 0085). Both are counted
 * in minutes since 2020, and fit into three bytes until 2051.
 */
import { assert } from "./assert.ts";
import { limits, MINUTE_MS } from "./limits.ts";
import { contentMinuteBytes, type PayloadId, payloadIdToBytes } from "./payload-key.ts";

const nanosPerMinute = 60_000_000_000n;
const epochMinute = Date.UTC(2020, 0, 1) / MINUTE_MS;
export const contentMinuteMax = 2 ** (8 * contentMinuteBytes) - 1;

/** `ID_TIME_FROM` of a pipeline that has no payload yet: every id is of version 2. */
export const everyTime = "2020-01-01T00:00Z";

/** The content minute of a time in nanoseconds since 1970: what lies before 2020, and no time (0), is minute 0. */
export function contentMinuteOf(nanos: bigint): number {
  const minute = Number(nanos / nanosPerMinute) - epochMinute;
  return Math.min(Math.max(minute, 0), contentMinuteMax);
}

/** The content minute that an id of version 2 begins with. Of an id of version 1 it says nothing. */
export function contentMinuteOfId(id: PayloadId): number {
  const [first = 0, second = 0, third = 0] = payloadIdToBytes(id);
  return (first << 16) | (second << 8) | third;
}

const pattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z$/;

/** `2026-11-29T08:00Z` as a content minute. Empty or absent: Infinity. Undefined: it is no such time, or out of range. */
export function parseIdTimeFrom(text: string | undefined): number | undefined {
  if (text === undefined || text === "") {
    return Number.POSITIVE_INFINITY;
  }
  const minute = pattern.test(text) ? Date.parse(text) / MINUTE_MS - epochMinute : Number.NaN;
  return minute >= 0 && minute <= contentMinuteMax ? minute : undefined;
}

/** The first full minute that is not before `timeMs`. */
export function formatIdTimeFrom(timeMs: number): string {
  const text = `${new Date(Math.ceil(timeMs / MINUTE_MS) * MINUTE_MS).toISOString().slice(0, 16)}Z`;
  assert(parseIdTimeFrom(text) !== undefined, "ID_TIME_FROM lies between 2020 and 2051");
  return text;
}

/** The earliest `ID_TIME_FROM` for what is deployed at `nowMs` where ids of version 1 may have been given before. */
export function earliestIdTimeFrom(nowMs: number): string {
  return formatIdTimeFrom(nowMs + limits.idTimeLeadMs);
}
