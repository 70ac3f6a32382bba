/**
 * What a person may ask of traces: the filter, in the form that links, requests and command lines share. A condition on
 * an attribute is one line of text:
 *
 *   http.route=/cart          a span whose attribute, or whose resource's, is this
 *   http.route!=/cart         a span of which the former does not hold; one without the attribute too
 *   user.id                   has the attribute
 *   !user.id                  has it not
 *   span.user.id=7            only the span's own; resource.host.name=a: only the resource's
 *   "a=b"=c                   a key with = or ! in it, or one that begins with `span.`: as a JSON string
 *
 * Pure: the page, the CLI and the console's Worker read it alike.
 */
import { limits } from "../limits.ts";
import { ok, type Result, refuse } from "../result.ts";
import { parseInstant } from "./instant.ts";

const scopes = ["any", "span", "resource"] as const;
type AttributeScope = (typeof scopes)[number];

type AttributeTest = "equals" | "differs" | "exists" | "missing";

export interface AttributeCondition {
  readonly scope: AttributeScope;
  readonly key: string;
  readonly test: AttributeTest;
  /** Of `equals` and `differs`; else empty. */
  readonly value: string;
}

const quotedPattern = /^"(?:[^"\\]|\\.)*"/;

/** A refusal says what is wrong with the text. */
export function parseCondition(text: string): Result<AttributeCondition, string> {
  const isNot = text.startsWith("!");
  const scoped = scopeOf(isNot ? text.slice(1) : text);
  const quoted = quotedPattern.exec(scoped.rest)?.[0];
  const end = quoted?.length ?? endOfKey(scoped.rest);
  const key = quoted === undefined ? scoped.rest.slice(0, end).trim() : unquoted(quoted);
  const rest = scoped.rest.slice(end).trimStart();
  if (key === undefined || key === "") {
    return refuse(`${shown(text)} names no attribute: write key=value, key!=value, key or !key`);
  }
  if (text.length > limits.traceConditionCharsMax) {
    return refuse(`${shown(text)} is longer than ${limits.traceConditionCharsMax} characters`);
  }
  const operator = rest === "" ? "" : rest.startsWith("!=") ? "!=" : rest.startsWith("=") ? "=" : undefined;
  if (operator === undefined || (isNot && operator !== "")) {
    return refuse(`${shown(text)} is not a condition: write key=value, key!=value, key or !key`);
  }
  const test = operator === "" ? (isNot ? "missing" : "exists") : operator === "=" ? "equals" : "differs";
  return ok({ scope: scoped.scope, key, test, value: rest.slice(operator.length).trim() });
}

/** The condition as text that `parseCondition` reads back. */
export function formatCondition({ scope, key, test, value }: AttributeCondition): string {
  const isPlain = /^[^\s="!][^="!]*$/.test(key) && key.trim() === key && !/^(span|resource)\./.test(key);
  const name = `${scope === "any" ? "" : `${scope}.`}${isPlain ? key : JSON.stringify(key)}`;
  switch (test) {
    case "equals":
      return `${name}=${value}`;
    case "differs":
      return `${name}!=${value}`;
    case "exists":
      return name;
    case "missing":
      return `!${name}`;
  }
}

function scopeOf(text: string): { readonly scope: AttributeScope; readonly rest: string } {
  const trimmed = text.trimStart();
  const prefix = /^(span|resource)\./.exec(trimmed);
  return prefix === null
    ? { scope: "any", rest: trimmed }
    : { scope: prefix[1] === "span" ? "span" : "resource", rest: trimmed.slice(prefix[0].length) };
}

function endOfKey(text: string): number {
  const end = text.search(/!?=/);
  return end === -1 ? text.length : end;
}

function unquoted(text: string): string | undefined {
  try {
    const key: unknown = JSON.parse(text);
    return typeof key === "string" ? key : undefined;
  } catch {
    return undefined;
  }
}

function shown(text: string): string {
  return text.length > 60 ? `"${text.slice(0, 60)}…"` : `"${text}"`;
}

/** What is asked of traces. Conditions of one span: a trace is found where one span of it fulfils all of them. */
export interface TraceFilter {
  /** ms since the epoch; `toMs` itself is not within. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly service: string | null;
  /** The span's name. */
  readonly name: string | null;
  readonly status: "Error" | "Ok" | "Unset" | null;
  readonly minDurationNs: number | null;
  readonly maxDurationNs: number | null;
  readonly tenant: string | null;
  readonly where: readonly AttributeCondition[];
  /** Which spans are looked at: all, or those without a parent. */
  readonly match: "any" | "root";
}

/** Whether it asks something of spans. Else it lists traces by their root spans. */
export function asksOfSpans({ match, ...filter }: TraceFilter): boolean {
  const isPlain =
    filter.service === null &&
    filter.name === null &&
    filter.status === null &&
    filter.minDurationNs === null &&
    filter.maxDurationNs === null;
  return filter.where.length > 0 || (match === "any" && !isPlain);
}

const unitsNs = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9, d: 86_400e9 } as const;

/** `250ms`, `1.5s`, `15m`, `7d` in nanoseconds; undefined: it is none. */
export function parseDuration(text: string): number | undefined {
  const [, number = "", unit = ""] =
    /^(\d{1,15}(?:\.\d{1,9})?) ?(ns|us|µs|ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  const factor = Object.entries(unitsNs).find(([name]) => name === unit)?.[1];
  return factor === undefined ? undefined : Number(number) * factor;
}

const statuses = { error: "Error", ok: "Ok", unset: "Unset" } as const;

/**
 * The filter of a link's or a request's parameters: `since=1h`, or `from=` and `to=` (ISO 8601); `service`, `name`,
 * `status=error|ok|unset`, `minDuration=100ms`, `maxDuration=`, `tenant`, `where` (as often as needed), `match=any|root`.
 * `nowMs`: the end, where none is named. A refusal says which parameter is wrong, and how it is written.
 */
export function parseFilter(parameters: URLSearchParams, nowMs: number): Result<TraceFilter, string> {
  const text = (name: string): string | null => {
    const value = parameters.get(name);
    return value === null || value === "" ? null : value;
  };
  for (const name of ["service", "name", "tenant"]) {
    if ((text(name)?.length ?? 0) > limits.traceConditionCharsMax) {
      return refuse(`${name} is longer than ${limits.traceConditionCharsMax} characters`);
    }
  }
  const range = rangeOf(text("since"), text("from"), text("to"), nowMs);
  if (!range.ok) {
    return range;
  }
  const durations = [text("minDuration"), text("maxDuration")].map((one) =>
    one === null ? null : parseDuration(one),
  );
  const [minDurationNs, maxDurationNs] = durations;
  if (minDurationNs === undefined || maxDurationNs === undefined) {
    return refuse("minDuration and maxDuration are a number and a unit: 250us, 100ms, 1.5s, 2m");
  }
  if (minDurationNs !== null && maxDurationNs !== null && minDurationNs > maxDurationNs) {
    return refuse("minDuration is above maxDuration: no span can meet both");
  }
  const asked = text("status");
  const status =
    asked === null ? null : Object.entries(statuses).find(([word]) => word === asked.toLowerCase())?.[1];
  if (status === undefined) {
    return refuse("status is one of error, ok, unset");
  }
  const match = text("match") ?? "any";
  if (match !== "any" && match !== "root") {
    return refuse("match is any (each span is looked at) or root (only spans without a parent)");
  }
  const where = conditionsOf(parameters.getAll("where"));
  return where.ok
    ? ok({
        ...range.value,
        service: text("service"),
        name: text("name"),
        status,
        minDurationNs,
        maxDurationNs,
        tenant: text("tenant"),
        where: where.value,
        match,
      })
    : where;
}

function conditionsOf(texts: readonly string[]): Result<readonly AttributeCondition[], string> {
  if (texts.length > limits.traceConditionsMax) {
    return refuse(
      `a filter has at most ${limits.traceConditionsMax} conditions on attributes, and this one has ${texts.length}`,
    );
  }
  const conditions: AttributeCondition[] = [];
  for (const text of texts) {
    const condition = parseCondition(text);
    if (!condition.ok) {
      return condition;
    }
    conditions.push(condition.value);
  }
  return ok(conditions);
}

function rangeOf(
  since: string | null,
  from: string | null,
  to: string | null,
  nowMs: number,
): Result<Pick<TraceFilter, "fromMs" | "toMs">, string> {
  if (since !== null && from !== null) {
    return refuse("since and from are both given: one of them says where the time begins");
  }
  const until = to === null ? ok(nowMs) : parseInstant("to", to);
  if (!until.ok) {
    return until;
  }
  const toMs = until.value;
  const begin = from === null ? beginOf(since ?? "1h", toMs) : parseInstant("from", from);
  if (!begin.ok) {
    return begin;
  }
  const fromMs = begin.value;
  if (fromMs >= toMs) {
    return refuse("from is not before to: no time lies between");
  }
  if (toMs - fromMs > limits.traceRangeMaxMs) {
    return refuse(
      `from and to are more than ${limits.traceRangeMaxMs / 86_400_000} days apart: ask for less at a time`,
    );
  }
  return ok({ fromMs: Math.floor(fromMs), toMs: Math.ceil(toMs) });
}

/** As long before `toMs` as `since` says, ms since the epoch. */
function beginOf(since: string, toMs: number): Result<number, string> {
  const ns = parseDuration(since);
  if (ns === undefined) {
    return refuse("since is a number and a unit: 15m, 1h, 7d");
  }
  return ok(Math.max(0, toMs - ns / 1e6)); // no span is older
}
