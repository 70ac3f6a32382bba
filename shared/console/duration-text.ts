/** Durations as people read them. */

const units = [
  [3600e9, "h"],
  [60e9, "min"],
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
] as const;

/** `850 ns`, `1.23 ms`, `12.3 s`, `4.50 min`: three digits. */
export function durationText(ns: number): string {
  const [size, unit] = units.find(([least]) => Math.abs(ns) >= least) ?? [1, "ns"];
  const value = ns / size;
  const digits = unit === "ns" || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}
