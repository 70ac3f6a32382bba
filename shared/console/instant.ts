/** Times to the nanosecond, as text for people and back. Whole nanoseconds since the epoch are bigints: a number cannot hold them. */
import { ok, type Result, refuse } from "../result.ts";

const nsPerSecond = 1_000_000_000n;

/** Milliseconds since the epoch that a question may name. ClickHouse's minutes are DateTimes, which begin in 1970 and end in 2106. */
const earliestMs = 0;
const latestMs = Date.UTC(2100, 0, 1);

/** ISO 8601; without a zone UTC is meant. Years of six digits are read, and refused with all others that are too far. */
const isoPattern =
  /^(?<day>(?:\d{4}|[+-]\d{6})-\d\d-\d\d)(?:[T ](?<time>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?<zone>Z|[+-]\d\d:\d\d)?)?$/;

/** A time of a question, `name`, in ms since the epoch. A refusal says how it is written, or between which years it lies. */
export function parseInstant(name: string, text: string): Result<number, string> {
  const { day, time = "00:00", zone = "Z" } = isoPattern.exec(text.trim())?.groups ?? {};
  const ms = day === undefined ? Number.NaN : Date.parse(`${day}T${time}${zone}`);
  if (Number.isNaN(ms)) {
    return refuse(`${name} is a time as in 2026-11-24T07:41:00Z`);
  }
  return isWithinReach(ms) ? ok(ms) : refuse(`${name} lies between 1970 and 2099: no span has another time`);
}

/** Whether a question may name this time, ms since the epoch. */
export function isWithinReach(ms: number): boolean {
  return ms >= earliestMs && ms < latestMs;
}

/** `2026-11-27T20:55:12.123456789Z` */
export function formatInstant(ns: bigint): string {
  // Rounded down also before 1970.
  const seconds = ns / nsPerSecond - (ns % nsPerSecond < 0n ? 1n : 0n);
  const rest = ns - seconds * nsPerSecond;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(rest).padStart(9, "0")}Z`;
}

/** What `formatInstant` wrote, in ns since the epoch. */
export function instantNs(text: string): bigint {
  const [seconds = "", rest = "0"] = text.replace("Z", "").split(".");
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(rest.padEnd(9, "0"));
}

/** For a sentence: `2026-11-27 20:55:12 UTC`. */
export function shortInstant(ns: bigint): string {
  return `${formatInstant(ns).slice(0, 19).replace("T", " ")} UTC`;
}

export function msToNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}
