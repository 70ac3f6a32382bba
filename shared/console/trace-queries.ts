/**
 * What the console asks the spans for. Everything that a person typed is a parameter, never a part of the text. Times are
 * parameters of whole nanoseconds since the epoch, written in digits.
 *
 * The projection headrace_traces (schema/) has a row per minute and trace: its spans, its errors and its first root. What
 * lists traces reads that and no span. A server reads it for these very expressions alone, so they stand here once:
 * `ParentSpanId <= ''` is "empty", in a form that no server rewrites on the way to its projections.
 */

import type { ClickHouseSettings } from "../clickhouse/connection.ts";
import { tableName } from "../clickhouse/statements.ts";
import { type AttributeCondition, asksOfSpans, type TraceFilter } from "./trace-filter.ts";

/** A query and what fills in its `{name:Type}`. */
export interface Question {
  readonly query: string;
  readonly parameters: Readonly<Record<string, string | number>>;
}

/** Nanoseconds since the epoch: a piece of time, its end not within. */
export interface Slice {
  readonly from: bigint;
  readonly to: bigint;
}

export const projectionName = "headrace_traces";

const minute = "toStartOfMinute(Timestamp)";
/** Of a trace's first root: what a list shows. */
const rootTuple =
  "minIf((Timestamp, ServiceName, SpanName, SpanKind, StatusCode, Duration, HeadraceTenant, SpanId), ParentSpanId <= '')";
const spansCount = "count()";
const errorsCount = "countIf(StatusCode = 'Error')";
const rootsCount = "countIf(ParentSpanId <= '')";
const rootErrorsCount = "countIf(ParentSpanId <= '' AND StatusCode = 'Error')";

const traces = (settings: ClickHouseSettings): string => tableName(settings, settings.tracesTable);
const nanos = (expression: string): string => `toString(toUnixTimestamp64Nano(${expression}))`;
const at = (name: string): string => `fromUnixTimestamp64Nano({${name}:Int64})`;

/** Whether the table has the projection, and whether it is there at all. */
export function hasProjectionQuery(settings: ClickHouseSettings): string {
  return `SELECT position(create_table_query, 'PROJECTION ${projectionName}') > 0 AS has
    FROM system.tables WHERE database = '${settings.database}' AND name = '${settings.tracesTable}'`;
}

/** Minutes that a slice touches, for what is kept by minute. */
const withinMinutes = `${minute} >= toStartOfMinute(${at("from")}) AND ${minute} <= toStartOfMinute(${at("last")})`;

function sliceParameters({ from, to }: Slice): Readonly<Record<string, string>> {
  return { from: String(from), to: String(to), last: String(to - 1n) };
}

/** What a filter asks of roots alone, as conditions on the tuple `one` of a minute's first root. */
function rootConditions(filter: TraceFilter): Conditions {
  const conditions = new Conditions();
  conditions.equal("one.2", "service", filter.service);
  conditions.equal("one.3", "name", filter.name);
  conditions.equal("one.5", "status", filter.status);
  conditions.between("one.6", filter);
  conditions.equal("one.7", "tenant", filter.tenant);
  return conditions;
}

/** The same, of roots within a slice. */
function rootsOfSlice(filter: TraceFilter, slice: Slice): Conditions {
  const conditions = rootConditions(filter);
  conditions.add(`one.1 >= ${at("from")} AND one.1 < ${at("to")}`, sliceParameters(slice));
  return conditions;
}

/** The first root that each trace has in each minute of a slice, out of the projection; `where`: more to ask of the spans. */
function minuteRoots(settings: ClickHouseSettings, where = ""): string {
  return `SELECT ${minute} AS minute, TraceId, ${rootTuple} AS one, ${rootsCount} AS found
          FROM ${traces(settings)} WHERE ${withinMinutes}${where} GROUP BY minute, TraceId HAVING found > 0`;
}

/** Where the next page of a list begins: behind this trace, in the order of the list. */
export interface PageCursor {
  /** Of its root, or of the span by which it was found. */
  readonly at: bigint;
  readonly durationNs: number;
  readonly traceId: string;
}

export type Sort = "time" | "duration";

export interface ListOptions {
  readonly sort: Sort;
  readonly limit: number;
  readonly after: PageCursor | null;
}

/** The columns of a list, of the tuple `one`. */
const listedColumns = `TraceId AS traceId, ${nanos("one.1")} AS at, one.2 AS service, one.3 AS name, one.4 AS kind, one.5 AS status,
        toFloat64(one.6) AS durationNs, one.7 AS tenant, one.8 AS spanId`;

/** Traces by their roots within a slice, out of the projection: each by its newest one that fulfils the filter, or its longest. */
export function listRootsQuestion(
  settings: ClickHouseSettings,
  filter: TraceFilter,
  slice: Slice,
  options: ListOptions,
): Question {
  const conditions = rootsOfSlice(filter, slice);
  const place = new Conditions(conditions.parameters);
  place.follow("one.1", "one.6", options);
  return {
    query: `SELECT ${listedColumns}, 0 AS matched
      FROM (
        SELECT TraceId, argMax(root, ${rank(options.sort, "root.1", "root.6")}) AS one
        FROM (SELECT TraceId, one AS root FROM (${minuteRoots(settings)}) WHERE ${conditions.text}) GROUP BY TraceId
      )
      WHERE ${place.text} ORDER BY ${order(options.sort)} LIMIT ${options.limit}`,
    parameters: place.parameters,
  };
}

/**
 * By which a trace's spans are compared: the greatest is the one that it is listed by. Durations as numbers of JavaScript, which
 * the list's answer and its cursor have.
 */
function rank(sort: Sort, time: string, duration: string): string {
  return sort === "time" ? time : `(toFloat64(${duration}), ${time})`;
}

function order(sort: Sort): string {
  return sort === "time" ? "one.1 DESC, TraceId DESC" : "toFloat64(one.6) DESC, one.1 DESC, TraceId DESC";
}

/**
 * Traces by the spans of a slice that fulfil the filter: each by its newest one, or its longest. A filter that asks nothing of
 * spans is asked of those without a parent.
 */
export function listSpansQuestion(
  settings: ClickHouseSettings,
  filter: TraceFilter,
  slice: Slice,
  options: ListOptions,
): Question {
  const conditions = spanConditions(filter);
  conditions.slice(slice);
  const place = new Conditions(conditions.parameters);
  place.follow("one.1", "one.6", options);
  return {
    query: `SELECT ${listedColumns}, toUInt32(matched) AS matched
      FROM (
        SELECT TraceId, count() AS matched,
          argMax((Timestamp, ServiceName, SpanName, SpanKind, StatusCode, Duration, HeadraceTenant, SpanId), ${rank(options.sort, "Timestamp", "Duration")}) AS one
        FROM ${traces(settings)} WHERE ${conditions.text} GROUP BY TraceId
      )
      WHERE ${place.text} ORDER BY ${order(options.sort)} LIMIT ${options.limit}`,
    parameters: place.parameters,
  };
}

/** What a list is asked for beside its filter, of a page that is not the first. */
export interface LaterPage {
  readonly sort: Sort;
  readonly after: PageCursor;
}

/**
 * Which of these traces an earlier page has: by a root, or a span, of `slice` that is before the cursor in the list's order. It
 * asks as the list itself does: `byRoots` by the projection's roots, else by the spans.
 */
export function listedBeforeQuestion(
  settings: ClickHouseSettings,
  filter: TraceFilter,
  slice: Slice,
  page: LaterPage,
  traceIds: readonly string[],
  byRoots: boolean,
): Question {
  const isOne = "TraceId IN ({ids:Array(String)})";
  const conditions = byRoots ? rootsOfSlice(filter, slice) : spanConditions(filter);
  if (byRoots) {
    conditions.precede("one.1", "one.6", page);
  } else {
    conditions.slice(slice);
    conditions.add(isOne);
    conditions.precede("Timestamp", "Duration", page);
  }
  const rows = byRoots ? `(${minuteRoots(settings, ` AND ${isOne}`)})` : traces(settings);
  return {
    query: `SELECT DISTINCT TraceId AS traceId FROM ${rows} WHERE ${conditions.text}`,
    parameters: { ...conditions.parameters, ids: arrayText(traceIds) },
  };
}

/** Which of these traces began their last span before a time, to the second, as the view of trace ids has it. */
export function endedBeforeQuestion(
  settings: ClickHouseSettings,
  traceIds: readonly string[],
  before: bigint,
): Question {
  return {
    query: `SELECT TraceId AS traceId FROM ${tableName(settings, `${settings.tracesTable}_trace_id_ts`)}
      WHERE TraceId IN ({ids:Array(String)}) GROUP BY TraceId HAVING max(toUnixTimestamp(End)) < {before:Int64}`,
    parameters: { ids: arrayText(traceIds), before: String(before / 1_000_000_000n) },
  };
}

/**
 * Spans, errors and root of these traces, of the minutes of a slice. Without the projection it reads spans: the slice is to
 * be as long as the traces take and no longer.
 */
export function countTracesQuestion(
  settings: ClickHouseSettings,
  traceIds: readonly string[],
  slice: Slice,
): Question {
  return {
    query: `SELECT TraceId AS traceId, toFloat64(sum(spans)) AS spans, toFloat64(sum(errors)) AS errors, sum(found) > 0 AS hasRoot,
        minIf(one, found > 0) AS root, ${nanos("root.1")} AS at, root.2 AS service, root.3 AS name, root.4 AS kind,
        root.5 AS status, toFloat64(root.6) AS durationNs, root.7 AS tenant, root.8 AS spanId
      FROM (
        SELECT ${minute} AS minute, TraceId, ${spansCount} AS spans, ${errorsCount} AS errors, ${rootsCount} AS found, ${rootTuple} AS one
        FROM ${traces(settings)} WHERE ${withinMinutes} AND TraceId IN ({ids:Array(String)}) GROUP BY minute, TraceId
      ) GROUP BY TraceId`,
    parameters: { ids: arrayText(traceIds), from: String(slice.from), last: String(slice.to - 1n) },
  };
}

/** When these traces begin and end, to the second, as the view of trace ids has it. No row: it does not know one of them. */
export function traceTimesQuestion(settings: ClickHouseSettings, traceIds: readonly string[]): Question {
  return {
    query: `SELECT toFloat64(toUnixTimestamp(min(Start))) AS begin, toFloat64(toUnixTimestamp(max(End))) AS end, count() AS known
      FROM ${tableName(settings, `${settings.tracesTable}_trace_id_ts`)} WHERE TraceId IN ({ids:Array(String)}) HAVING known > 0`,
    parameters: { ids: arrayText(traceIds) },
  };
}

/** How many roots, or spans that fulfil the filter, begin in each step of a slice. `from`: of step 0; step in seconds. */
export function countStepsQuestion(
  settings: ClickHouseSettings,
  filter: TraceFilter,
  slice: Slice,
  steps: { readonly from: bigint; readonly seconds: number },
  hasProjection: boolean,
): Question {
  const begin = { begin: String(steps.from / 1_000_000_000n) };
  const stepOf = (time: string): string =>
    `toUInt32(intDiv(toUnixTimestamp(${time}) - {begin:Int64}, ${steps.seconds})) AS step`;
  if (asksOfSpans(filter) || !hasProjection) {
    const conditions = spanConditions(filter);
    conditions.slice(slice);
    return {
      query: `SELECT ${stepOf("Timestamp")}, toFloat64(count()) AS count, toFloat64(${errorsCount}) AS errors
        FROM ${traces(settings)} WHERE ${conditions.text} GROUP BY step`,
      parameters: { ...conditions.parameters, ...begin },
    };
  }
  if (rootConditions(filter).isEmpty && steps.seconds % 60 === 0) {
    return {
      query: `SELECT ${stepOf("minute")}, toFloat64(sum(found)) AS count, toFloat64(sum(failed)) AS errors
        FROM (
          SELECT ${minute} AS minute, ${rootsCount} AS found, ${rootErrorsCount} AS failed
          FROM ${traces(settings)} WHERE ${withinMinutes} GROUP BY minute
        ) GROUP BY step HAVING count > 0`,
      parameters: { ...begin, from: String(slice.from), last: String(slice.to - 1n) },
    };
  }
  const roots = rootsOfSlice(filter, slice);
  return {
    query: `SELECT ${stepOf("one.1")}, toFloat64(count()) AS count, toFloat64(countIf(one.5 = 'Error')) AS errors
      FROM (${minuteRoots(settings)}) WHERE ${roots.text} GROUP BY step`,
    parameters: { ...roots.parameters, ...begin },
  };
}

/** Conditions that are joined by AND, and their parameters. */
class Conditions {
  readonly #texts: string[] = [];
  readonly #parameters: Record<string, string | number>;

  constructor(parameters: Readonly<Record<string, string | number>> = {}) {
    this.#parameters = { ...parameters };
  }

  get text(): string {
    return this.#texts.length === 0 ? "1" : this.#texts.join(" AND ");
  }

  get parameters(): Readonly<Record<string, string | number>> {
    return this.#parameters;
  }

  get isEmpty(): boolean {
    return this.#texts.length === 0;
  }

  add(text: string, parameters: Readonly<Record<string, string | number>> = {}): void {
    this.#texts.push(text);
    Object.assign(this.#parameters, parameters);
  }

  equal(column: string, name: string, value: string | null): void {
    if (value !== null) {
      this.add(`${column} = {${name}:String}`, { [name]: value });
    }
  }

  between(column: string, { minDurationNs, maxDurationNs }: TraceFilter): void {
    if (minDurationNs !== null) {
      this.add(`${column} >= {minNs:UInt64}`, { minNs: wholeNs(minDurationNs) });
    }
    if (maxDurationNs !== null) {
      this.add(`${column} <= {maxNs:UInt64}`, { maxNs: wholeNs(maxDurationNs) });
    }
  }

  slice(slice: Slice): void {
    const { from, to } = sliceParameters(slice);
    this.add(`Timestamp >= ${at("from")} AND Timestamp < ${at("to")}`, { from: from ?? "", to: to ?? "" });
  }

  /** Behind a place of the list. */
  follow(time: string, duration: string, { sort, after }: Pick<ListOptions, "sort" | "after">): void {
    if (after !== null) {
      this.#compare("<", time, duration, { sort, after });
    }
  }

  /** At a place of the list, or before it. */
  precede(time: string, duration: string, page: LaterPage): void {
    this.#compare(">=", time, duration, page);
  }

  /** By duration the places have no order in time, so it is all three. */
  #compare(operator: "<" | ">=", time: string, duration: string, { sort, after }: LaterPage): void {
    const isByTime = sort === "time";
    const columns = isByTime ? `(${time}, TraceId)` : `(toFloat64(${duration}), ${time}, TraceId)`;
    const place = `(${isByTime ? "" : "{afterNs:Float64}, "}${at("afterAt")}, {afterId:String})`;
    this.add(`${columns} ${operator} ${place}`, {
      afterAt: String(after.at),
      afterId: after.traceId,
      ...(isByTime ? {} : { afterNs: after.durationNs }),
    });
  }
}

const uint64Max = 2n ** 64n - 1n;

function wholeNs(ns: number): string {
  const whole = BigInt(Math.round(ns));
  return String(whole > uint64Max ? uint64Max : whole);
}

/** What a filter asks of a span, as conditions on the table's columns; where it asks nothing, those without a parent. */
function spanConditions(filter: TraceFilter): Conditions {
  const conditions = new Conditions();
  conditions.equal("ServiceName", "service", filter.service);
  conditions.equal("SpanName", "name", filter.name);
  conditions.equal("StatusCode", "status", filter.status);
  conditions.between("Duration", filter);
  conditions.equal("HeadraceTenant", "tenant", filter.tenant);
  if (filter.match === "root" || !asksOfSpans(filter)) {
    conditions.add("ParentSpanId = ''");
  }
  for (const [index, condition] of filter.where.entries()) {
    conditions.add(attributeText(condition, index), {
      [`key${index}`]: condition.key,
      ...(condition.test === "equals" || condition.test === "differs"
        ? { [`value${index}`]: condition.value }
        : {}),
    });
  }
  return conditions;
}

/**
 * The indexes on keys and values are read for `=` and mapContains. A value is compared beside its key: the Map answers ''
 * for one that is not there.
 */
function attributeText({ scope, test }: AttributeCondition, index: number): string {
  const [key, value] = [`{key${index}:String}`, `{value${index}:String}`];
  const columns =
    scope === "any"
      ? ["SpanAttributes", "ResourceAttributes"]
      : [scope === "span" ? "SpanAttributes" : "ResourceAttributes"];
  const isExistence = test === "exists" || test === "missing";
  const text = columns
    .map((column) =>
      isExistence
        ? `mapContains(${column}, ${key})`
        : `(${column}[${key}] = ${value} AND mapContains(${column}, ${key}))`,
    )
    .join(" OR ");
  return test === "differs" || test === "missing" ? `NOT (${text})` : `(${text})`;
}

/** As an Array(String) parameter is read. */
function arrayText(texts: readonly string[]): string {
  return `[${texts.map((text) => `'${text.replace(/[\\']/g, "\\$&")}'`).join(",")}]`;
}
