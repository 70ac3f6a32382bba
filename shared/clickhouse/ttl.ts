/**
 * What a table's TTL keeps, read from its declaration as ClickHouse prints it. Rows that are older than it are answered
 * 200 at their INSERT and dropped, and leave a table by themselves later: neither is a loss, if it is known. So what is
 * not understood here is said to be so, and never taken for "no TTL".
 */
import { DAY_MS } from "../limits.ts";

export type TableTtl =
  /** Rows are kept. */
  | { readonly kind: "none" }
  /** A row goes so many calendar months and then so many ms after its Timestamp. */
  | { readonly kind: "keeps"; readonly months: number; readonly ms: number }
  /** A TTL that we do not understand. */
  | { readonly kind: "unclear"; readonly clause: string };

type Interval = { readonly months: number; readonly ms: number };

/** ClickHouse's intervals, without the `toInterval` before them. */
const units: Readonly<Record<string, Interval>> = {
  Nanosecond: { months: 0, ms: 1e-6 },
  Microsecond: { months: 0, ms: 1e-3 },
  Millisecond: { months: 0, ms: 1 },
  Second: { months: 0, ms: 1000 },
  Minute: { months: 0, ms: 60_000 },
  Hour: { months: 0, ms: 3_600_000 },
  Day: { months: 0, ms: DAY_MS },
  Week: { months: 0, ms: 7 * DAY_MS },
  Month: { months: 1, ms: 0 },
  Quarter: { months: 3, ms: 0 },
  Year: { months: 12, ms: 0 },
};

/** The span's start, in the forms that ClickHouse takes; its day is cut off by `toDate`, which loses no whole day. */
const base = "(?:toDateTime|toDate|toDateTime64|toStartOfDay)?\\(?`?Timestamp`?(?:, \\d+)?\\)?";
const fromBase = new RegExp(`^${base}$`);

/**
 * `engineFull`: `engine_full` of system.tables. Example: `MergeTree … TTL toDateTime(Timestamp) + toIntervalWeek(2)
 * SETTINGS …` keeps 14 days.
 */
export function readTtl(engineFull: string): TableTtl {
  const text = clauseOf(engineFull);
  if (text === undefined) {
    return { kind: "none" };
  }
  let keeps: Interval | undefined;
  for (const part of splitAtTop(text, ",")) {
    const clause = part.trim();
    if (/ (?:TO (?:VOLUME|DISK) '[^']*'|RECOMPRESS CODEC\(.*\))$/.test(clause)) {
      continue; // it moves or recompresses rows, and keeps them
    }
    const interval = readSum(clause.replace(/ DELETE$/, ""));
    if (interval === undefined || keeps !== undefined) {
      return { kind: "unclear", clause };
    }
    keeps = interval;
  }
  return keeps === undefined ? { kind: "none" } : { kind: "keeps", ...keeps };
}

/** `(Timestamp + toIntervalDay(1)) + toIntervalHour(2)`, `addDays(Timestamp, 3)`, `toDateTime(Timestamp) + 86400`. */
function readSum(text: string): Interval | undefined {
  if (fromBase.test(text)) {
    return { months: 0, ms: 0 };
  }
  const called = /^add(\w+?)s\((.+), (\d{1,12})\)$/.exec(text);
  if (called !== null) {
    return plus(readSum(called[2] ?? ""), units[called[1] ?? ""], Number(called[3]));
  }
  const sum = /^(.+) \+ (?:toInterval(\w+)\('?(\d{1,12})'?\)|(\d{1,12}))$/.exec(text);
  if (sum === null) {
    return undefined;
  }
  const [, left = "", unit, count, bare] = sum;
  const inner = /^\((.*)\)$/.exec(left)?.[1] ?? left;
  // A plain number is seconds, and days behind a Date; DateTime64 counts otherwise.
  const plain = /^toDateTime\(/.test(inner) ? "Second" : /^toDate\(/.test(inner) ? "Day" : "";
  return plus(readSum(inner), units[unit ?? plain], Number(count ?? bare));
}

function plus(left: Interval | undefined, unit: Interval | undefined, count: number): Interval | undefined {
  return left === undefined || unit === undefined
    ? undefined
    : { months: left.months + unit.months * count, ms: left.ms + unit.ms * count };
}

/** The text between TTL and SETTINGS. */
function clauseOf(engineFull: string): string | undefined {
  const [, ttl] = splitAtTop(engineFull, " TTL ");
  return ttl === undefined ? undefined : splitAtTop(ttl, " SETTINGS ")[0];
}

/** Splits at each `separator` that is outside of parentheses and quotes. */
function splitAtTop(text: string, separator: string): readonly string[] {
  const parts: string[] = [];
  let from = 0;
  let depth = 0;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (quote !== "") {
      if (char === "\\") {
        at++;
      } else if (char === quote) {
        quote = "";
      }
    } else if (depth === 0 && text.startsWith(separator, at)) {
      parts.push(text.slice(from, at));
      from = at + separator.length;
      at = from - 1;
    } else if (char === "'" || char === "`") {
      quote = char;
    } else if (char === "(") {
      depth++;
    } else if (char === ")") {
      depth--;
    }
  }
  return [...parts, text.slice(from)];
}

/**
 * The first day (since 1970-01-01) of which no row can have expired at `now` (ms since the epoch); null: nobody knows.
 * Example: 7 days, on the 27th at noon: rows of the 20th expire through the day, so the 21st.
 */
export function oldestDayOf(ttl: TableTtl, now: number): number | null {
  switch (ttl.kind) {
    case "none":
      return 0;
    case "unclear":
      return null;
    case "keeps": {
      let day = Math.max(0, Math.floor((now - ttl.ms) / DAY_MS) - 31 * ttl.months - 1);
      while (expiryOf(day * DAY_MS, ttl) <= now) {
        day++;
      }
      return day;
    }
  }
}

/** The least that it keeps, in ms: a month is 28 days. */
export function leastKeptMs({ months, ms }: Interval): number {
  return months * 28 * DAY_MS + ms;
}

/** As ClickHouse adds them: a month later is the same day of the month, or the month's last. */
function expiryOf(timeMs: number, { months, ms }: Interval): number {
  const time = new Date(timeMs);
  const dayOfMonth = time.getUTCDate();
  time.setUTCDate(1);
  time.setUTCMonth(time.getUTCMonth() + months);
  const last = new Date(Date.UTC(time.getUTCFullYear(), time.getUTCMonth() + 1, 0)).getUTCDate();
  time.setUTCDate(Math.min(dayOfMonth, last));
  return time.getTime() + ms;
}
