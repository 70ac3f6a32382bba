/** Durations as people read them, the same on the page and in the terminal. */

/** Each with the size of its unit in nanoseconds, and how many of it are written in it. */
const units = [
  { name: "ns", size: 1, below: 1000 },
  { name: "µs", size: 1e3, below: 1000 },
  { name: "ms", size: 1e6, below: 1000 },
  { name: "s", size: 1e9, below: 120 },
] as const;

/** Of nanoseconds, for a span: `80 ns`, `450 µs`, `12.3 ms`, `1.25 s`, `2 min 5 s`: three digits, no zeros behind the point. */
export function durationText(ns: number): string {
  for (const { name, size, below } of units) {
    const value = name === "ns" ? Math.round(ns) : Number((ns / size).toPrecision(3));
    if (value < below) {
      return `${value} ${name}`;
    }
  }
  return elapsedText(ns / 1e6);
}

/** Of milliseconds, for what somebody waits for: `41 s`, `5 min 41 s`, `3 h 12 min`, `2 d 4 h`. */
export function elapsedText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes === 0) {
    return `${seconds} s`;
  }
  if (hours === 0) {
    return `${minutes} min ${seconds % 60} s`;
  }
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
