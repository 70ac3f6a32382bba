/** The filter of traces as text: what it reads, what it refuses, and that what is formatted is read back. */
import { describe, expect, test } from "vitest";
import { type SearchSettings, searchLimits, searchSettings } from "../../shared/clickhouse/search-limits.ts";
import { formatInstant, parseInstant, shortInstant } from "../../shared/console/instant.ts";
import {
  type AttributeCondition,
  asksOfSpans,
  formatCondition,
  parseCondition,
  parseDuration,
  parseFilter,
} from "../../shared/console/trace-filter.ts";

const condition = (text: string): AttributeCondition | string => {
  const read = parseCondition(text);
  return read.ok ? read.value : read.refusal;
};

describe("a condition on an attribute", () => {
  test.each([
    ["http.route=/cart", { scope: "any", key: "http.route", test: "equals", value: "/cart" }],
    ["http.route != /a=b", { scope: "any", key: "http.route", test: "differs", value: "/a=b" }],
    ["a=", { scope: "any", key: "a", test: "equals", value: "" }],
    ["user.id", { scope: "any", key: "user.id", test: "exists", value: "" }],
    ["!user.id", { scope: "any", key: "user.id", test: "missing", value: "" }],
    ["!span.user.id", { scope: "span", key: "user.id", test: "missing", value: "" }],
    ["resource.host.name=a", { scope: "resource", key: "host.name", test: "equals", value: "a" }],
    ['"a=b!"=c', { scope: "any", key: "a=b!", test: "equals", value: "c" }],
    ['"span.x"', { scope: "any", key: "span.x", test: "exists", value: "" }],
  ] as const)("%s", (text, wanted) => {
    expect(condition(text)).toEqual(wanted);
    expect(condition(formatCondition(wanted))).toEqual(wanted);
  });

  test.each(["", "=x", "!", "!a=b", "span.", '"a"x', `a=${"x".repeat(2000)}`])("is none: %s", (text) => {
    const read = parseCondition(text);
    expect(read.ok === false || read.value.key.startsWith('"a')).toBe(true);
  });
});

test("durations are a number and a unit", () => {
  expect(["250us", "1.5s", "15m", "7d", "3 ms"].map(parseDuration)).toEqual([
    250e3, 1.5e9, 900e9, 604_800e9, 3e6,
  ]);
  expect(["5", "ms", "-1s", "1e3s", "1w"].map(parseDuration)).toEqual(Array(5).fill(undefined));
});

test("only what asks something of spans looks through them", () => {
  const asks = (query: string): boolean => {
    const filter = parseFilter(new URLSearchParams(query), 1e12);
    return filter.ok && asksOfSpans(filter.value);
  };
  expect(["", "tenant=a", "match=root&service=a&status=error&minDuration=1s"].map(asks)).toEqual([
    false,
    false,
    false,
  ]);
  expect(["service=a", "where=a", "match=root&where=a"].map(asks)).toEqual([true, true, true]);
});

describe("a time that is asked for", () => {
  const read = (text: string): string => {
    const instant = parseInstant("from", text);
    return instant.ok ? new Date(instant.value).toISOString() : instant.refusal;
  };

  test.each([
    ["2026-11-24T07:41:00Z", "2026-11-24T07:41:00.000Z"],
    ["2026-11-24T07:41:00.123456789Z", "2026-11-24T07:41:00.123Z"],
    ["2026-11-24T07:41+02:00", "2026-11-24T05:41:00.000Z"],
    ["2026-11-24T07:41", "2026-11-24T07:41:00.000Z"],
    ["2026-11-24 07:41:09", "2026-11-24T07:41:09.000Z"],
    ["2026-11-24", "2026-11-24T00:00:00.000Z"],
  ])("%s", (text, wanted) => {
    expect(read(text)).toBe(wanted);
  });

  test.each(["", "yesterday", "2026", "2026-13-01", "2026-11-24T25:00Z", "1764276912", "Tue Nov 24 2026"])(
    "is none: %s",
    (text) => {
      expect(read(text)).toBe("from is a time as in 2026-11-24T07:41:00Z");
    },
  );

  test.each([
    "1969-12-31T23:59:59Z",
    "2100-01-01",
    "9999-12-31T23:59:59Z",
    "+275760-09-13T00:00:00Z",
    "-000001-01-01",
  ])("is too far: %s", (text) => {
    expect(read(text)).toBe("from lies between 1970 and 2099: no span has another time");
  });
});

test("an instant keeps its nanoseconds, also before 1970", () => {
  expect(formatInstant(1_764_276_912_123_456_789n)).toBe("2025-11-27T20:55:12.123456789Z");
  expect(formatInstant(-1n)).toBe("1969-12-31T23:59:59.999999999Z");
  expect(shortInstant(0n)).toBe("1970-01-01 00:00:00 UTC");
});

describe("the limits of a search", () => {
  const login = (readonly: number, value: number): SearchSettings =>
    searchSettings("who", {
      readonly,
      limits: { max_execution_time: value, max_rows_to_read: value, max_memory_usage: value },
    });

  test("are the login's own where it may set nothing", () => {
    expect(login(1, 5)).toEqual({ kind: "limited", settings: {} });
  });

  test("are sent with each query where it may set some, and cannot be passed by it then", () => {
    expect(login(0, 0)).toMatchObject({
      settings: { readonly: "1", max_execution_time: String(searchLimits.max_execution_time) },
    });
    expect(login(2, 0)).toMatchObject({
      settings: { max_memory_usage: String(searchLimits.max_memory_usage) },
    });
    expect(login(2, 0)).not.toHaveProperty("settings.readonly");
  });

  test("that a login lacks and may not set are named, with the statement that sets them", () => {
    expect(login(1, 0)).toMatchObject({
      kind: "unlimited",
      missing: ["max_execution_time", "max_rows_to_read", "max_memory_usage"],
      mend: expect.stringMatching(/^ALTER USER who SETTINGS readonly = 1, max_execution_time = 30,/),
    });
  });
});
