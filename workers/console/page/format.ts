/** Numbers, times and keys as people read them. All times are UTC, as they stand in keys and in SQL. */
import { elapsedText } from "../../../shared/console/duration-text.ts";

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
  return `${elapsedText(now - Date.parse(iso))} ago`;
}

/** As much of a payload's id as tells it from its neighbours': its end, for it may begin with its time. */
export function shortId(id: string): string {
  return `…${id.slice(-8)}`;
}

/** What a payload's key says: its minute, and with its last two parts its tenant and id. Between them may be a segment and a place. */
export function keyParts(key: string): {
  readonly tenant: string;
  readonly minute: string;
  readonly id: string;
} {
  const parts = key.split("/");
  const [, , , minute = ""] = parts;
  const [tenant = "", id = ""] = parts.slice(-2);
  return { tenant, minute: `${minute.slice(0, 13)}:${minute.slice(13)}`, id };
}
