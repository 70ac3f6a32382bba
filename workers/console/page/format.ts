/** Numbers, times and keys as people read them. All times are UTC, as they stand in keys and in SQL. */

const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 12,345; from a million on 1.23M. */
export function countText(count: number): string {
  return count < 1_000_000 ? counts.format(count) : compact.format(count);
}

/** A rate by the second: three digits that say something. */
export function rateText(rate: number): string {
  if (rate === 0) {
    return "0";
  }
  return rate < 10 ? rate.toFixed(rate < 1 ? 2 : 1) : countText(rate);
}

/** `one payload`, `3 payloads`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`;
}

export function bytesText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let size = bytes;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit] ?? ""}`;
}

/** 41 s, 5 min 41 s, 3 h 12 min, 2 d 4 h. */
export function durationText(ms: number): string {
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

/** 0.4 ms, 12 ms, 1.25 s */
export function spanDurationText(ms: number): string {
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** 80 ns, 450 µs, 12.3 ms, 1.25 s, 2 min 5 s */
export function nanosText(ns: number): string {
  if (ns < 1000) {
    return `${Math.round(ns)} ns`;
  }
  if (ns < 1e6) {
    return `${digits(ns / 1e3)} µs`;
  }
  if (ns < 1e9) {
    return `${digits(ns / 1e6)} ms`;
  }
  return ns < 120e9 ? `${digits(ns / 1e9)} s` : durationText(ns / 1e6);
}

/** Three digits, no zeros behind the point. */
function digits(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** 20:55:12.123 */
export function timeText(iso: string): string {
  return iso.slice(11, 23).replace("Z", "");
}

/** 14:32 */
export function clockText(iso: string): string {
  return iso.slice(11, 16);
}

/** 24 Nov 2026 */
export function dateText(iso: string): string {
  const [year, month, day] = iso.slice(0, 10).split("-").map(Number);
  const name = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ")[(month ?? 1) - 1];
  return `${day} ${name} ${year}`;
}

/** A DateTime64 as ClickHouse prints it (UTC), as ISO 8601. */
export function isoOf(time: string): string {
  return time.includes("T") ? time : `${time.replace(" ", "T")}Z`;
}

/** How long ago, at `now`. */
export function agoText(iso: string, now: number): string {
  return `${durationText(now - Date.parse(iso))} ago`;
}

/** The end of a payload's key: tenant, minute, and as much of the id as tells it from its neighbours. */
export function keyParts(key: string): {
  readonly tenant: string;
  readonly minute: string;
  readonly id: string;
} {
  const [, , , minute = "", tenant = "", id = ""] = key.split("/");
  return { tenant, minute: `${minute.slice(0, 13)}:${minute.slice(13)}`, id };
}
