/** Times to the nanosecond, as text for people and back. Whole nanoseconds since the epoch are bigints: a number cannot hold them. */

const nsPerSecond = 1_000_000_000n;

/** `2026-11-27T20:55:12.123456789Z` */
export function formatInstant(ns: bigint): string {
  // Rounded down also before 1970.
  const seconds = ns / nsPerSecond - (ns % nsPerSecond < 0n ? 1n : 0n);
  const rest = ns - seconds * nsPerSecond;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(rest).padStart(9, "0")}Z`;
}

/** For a sentence: `2026-11-27 20:55:12 UTC`. */
export function shortInstant(ns: bigint): string {
  return `${formatInstant(ns).slice(0, 19).replace("T", " ")} UTC`;
}

export function msToNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}
