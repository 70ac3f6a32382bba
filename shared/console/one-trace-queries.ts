/**
 * What the console asks for one trace, and for values that complete a filter. As in trace-queries.ts, what a person typed is a
 * parameter. Texts and lists are cut in ClickHouse, so that no answer is larger than the console has memory for.
 */

import type { ClickHouseSettings } from "../clickhouse/connection.ts";
import { tableName } from "../clickhouse/statements.ts";
import { limits } from "../limits.ts";
import type { TraceFilter } from "./trace-filter.ts";
import type { Question, Slice } from "./trace-queries.ts";
import type { ValueKind } from "./traces.ts";

/** A trace, or what one tenant has of it: equal ids may be several tenants'. Null: all of it. */
export interface AskedTrace {
  readonly traceId: string;
  readonly tenant: string | null;
}

/** Which spans: of a trace, and of one id where one is asked for; `seconds`: when they begin, where that is known. */
export interface TraceScope extends AskedTrace {
  readonly spanId: string | null;
  readonly seconds: { readonly begin: number; readonly end: number } | null;
}

/** How much of a span is shown. */
export interface Cut {
  readonly members: number;
  readonly textChars: number;
  /** Bytes of attributes, events and links of all spans; those after it have none. */
  readonly detailBytes: number;
  readonly spans: number;
}

const tracesOf = (settings: ClickHouseSettings): string => tableName(settings, settings.tracesTable);

function where({ spanId, tenant, seconds }: TraceScope): string {
  const time =
    seconds === null
      ? ""
      : " AND Timestamp >= toDateTime64({begin:Int64}, 9) AND Timestamp < toDateTime64({end:Int64}, 9)";
  return `TraceId = {trace:String}${spanId === null ? "" : " AND SpanId = {span:String}"}${ofTenant(tenant)}${time}`;
}

const ofTenant = (tenant: string | null): string =>
  tenant === null ? "" : " AND HeadraceTenant = {tenant:String}";

function askedParameters({ traceId, tenant }: AskedTrace): Question["parameters"] {
  return { trace: traceId, ...(tenant === null ? {} : { tenant }) };
}

function parametersOf({ spanId, seconds, ...asked }: TraceScope): Question["parameters"] {
  return {
    ...askedParameters(asked),
    ...(spanId === null ? {} : { span: spanId }),
    ...(seconds === null ? {} : { begin: Math.floor(seconds.begin), end: Math.floor(seconds.end) + 1 }),
  };
}

/** A text of at most so many characters, with … where something was cut off. */
function cutText(text: string, chars: number): string {
  return `if(lengthUTF8(${text}) > ${chars}, concat(substringUTF8(${text}, 1, ${chars}), '…'), ${text})`;
}

/** A Map as an array of (key, value). */
function cutMap(map: string, { members, textChars }: Cut): string {
  return `arrayMap((k, v) -> (${cutText("k", textChars)}, ${cutText("v", textChars)}),
    arraySlice(mapKeys(${map}), 1, ${members}), arraySlice(mapValues(${map}), 1, ${members}))`;
}

const countOf = (map: string): string => `toUInt32(length(mapKeys(${map})))`;

const resourceId =
  "toString(cityHash64(ServiceName, mapKeys(ResourceAttributes), mapValues(ResourceAttributes)))";
const textBytes = (pairs: string): string =>
  `arraySum(pair -> length(pair.1) + length(pair.2) + 6, ${pairs})`;

/**
 * The spans by their begin. Arrays: attributes of (key, value), events of (ns, name, attributes, their number), links of (trace, span,
 * attributes, their number).
 * The first span of each resource brings its attributes: the table is looked through once.
 */
export function traceSpansQuestion(settings: ClickHouseSettings, scope: TraceScope, cut: Cut): Question {
  const first = (list: string): string => `arraySlice(${list}, 1, ${cut.members})`;
  return {
    query: `SELECT spanId, parentSpanId, name, service, kind, at, durationNs, status, statusMessage, scope, payload, resource,
        tenant, attributesCount, eventsCount, linksCount,
        row_number() OVER (PARTITION BY resource ORDER BY at0, spanId) = 1 AS isFirst,
        if(isFirst, resource0, []) AS resourceAttributes, resourceCount,
        sum(bytes) OVER (ORDER BY at0, spanId ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) <= ${cut.detailBytes} AS hasDetail,
        if(hasDetail, attributes0, []) AS attributes, if(hasDetail, events0, []) AS events, if(hasDetail, links0, []) AS links
      FROM (
        SELECT Timestamp AS at0, SpanId AS spanId, ParentSpanId AS parentSpanId, ${cutText("SpanName", cut.textChars)} AS name,
          ServiceName AS service, SpanKind AS kind, toString(toUnixTimestamp64Nano(Timestamp)) AS at,
          toFloat64(Duration) AS durationNs, StatusCode AS status, ${cutText("StatusMessage", cut.textChars)} AS statusMessage,
          ${cutText("ScopeName", cut.textChars)} AS scope, lower(hex(HeadracePayload)) AS payload, ${resourceId} AS resource,
          HeadraceTenant AS tenant, ${cutMap("ResourceAttributes", cut)} AS resource0, ${countOf("ResourceAttributes")} AS resourceCount,
          ${countOf("SpanAttributes")} AS attributesCount,
          toUInt32(length(Events.Name)) AS eventsCount, toUInt32(length(Links.TraceId)) AS linksCount,
          ${cutMap("SpanAttributes", cut)} AS attributes0,
          arrayMap((t, n, a) -> (toString(toUnixTimestamp64Nano(t)), ${cutText("n", cut.textChars)}, ${cutMap("a", cut)}, ${countOf("a")}),
            ${first("Events.Timestamp")}, ${first("Events.Name")}, ${first("Events.Attributes")}) AS events0,
          arrayMap((t, s, a) -> (t, s, ${cutMap("a", cut)}, ${countOf("a")}),
            ${first("Links.TraceId")}, ${first("Links.SpanId")}, ${first("Links.Attributes")}) AS links0,
          ${textBytes("attributes0")} + arraySum(e -> 60 + length(e.2) + ${textBytes("e.3")}, events0)
            + arraySum(l -> 60 + ${textBytes("l.3")}, links0) AS bytes
        FROM ${tracesOf(settings)} WHERE ${where(scope)}
        ORDER BY Timestamp, SpanId LIMIT ${cut.spans}
      ) ORDER BY at0, spanId`,
    parameters: parametersOf(scope),
  };
}

/**
 * A trace of few spans and few bytes, as the table has it and in no order: no row is cut, and there is none where it is larger than
 * `traceSmallBytesMax` (or not there). One span more than `traceSmallSpansMax` says that it has too many. For most traces it
 * replaces the question above and the one for its times: of a query with some hundred expressions the plan alone takes longer than
 * the rows of seven spans, and each query some milliseconds. Where the view of trace ids has missed the trace (`known` is 0), all of
 * the table is looked at.
 */
export function smallTraceQuestion(settings: ClickHouseSettings, asked: AskedTrace): Question {
  return {
    query: `${withTimes(settings)}
      SELECT times.1 > 0 AS known, toFloat64(toUnixTimestamp(times.2)) AS begin, toFloat64(toUnixTimestamp(times.3)) AS end,
        spanId, parentSpanId, name, service, kind, at, durationNs, status, statusMessage, scope, payload, tenant, resource, attributes,
        eventTimes, eventNames, eventAttributes, linkTraces, linkSpans, linkAttributes
      FROM (
        SELECT SpanId AS spanId, ParentSpanId AS parentSpanId, SpanName AS name, ServiceName AS service, SpanKind AS kind,
          toString(toUnixTimestamp64Nano(Timestamp)) AS at, toFloat64(Duration) AS durationNs, StatusCode AS status,
          StatusMessage AS statusMessage, ScopeName AS scope, lower(hex(HeadracePayload)) AS payload, HeadraceTenant AS tenant,
          ${pairsOfMap("ResourceAttributes")} AS resource, ${pairsOfMap("SpanAttributes")} AS attributes,
          arrayMap(t -> toString(toUnixTimestamp64Nano(t)), Events.Timestamp) AS eventTimes, Events.Name AS eventNames,
          arrayMap(a -> ${pairsOfMap("a")}, Events.Attributes) AS eventAttributes,
          Links.TraceId AS linkTraces, Links.SpanId AS linkSpans, arrayMap(a -> ${pairsOfMap("a")}, Links.Attributes) AS linkAttributes,
          byteSize(SpanName, StatusMessage, ScopeName, ResourceAttributes, SpanAttributes, Events.Name, Events.Attributes,
            Links.TraceId, Links.SpanId, Links.Attributes) AS bytes
        FROM ${tracesOf(settings)} WHERE ${whereTimes(asked)}
        LIMIT ${limits.traceSmallSpansMax + 1}
      ) QUALIFY sum(bytes) OVER () <= ${limits.traceSmallBytesMax}`,
    parameters: askedParameters(asked),
  };
}

/** The last that a DateTime64(9) can say, in 2262. */
const lastNs = 2n ** 63n - 1n;

/** The times of a trace by the view of trace ids, in the query that needs them: a query of their own takes some milliseconds. */
function withTimes(settings: ClickHouseSettings): string {
  return `WITH (SELECT (count(), min(Start), max(End)) FROM ${tableName(settings, `${settings.tracesTable}_trace_id_ts`)} WHERE TraceId = {trace:String}) AS times`;
}

/** Where that view has missed the trace, all of the table is looked at. */
const whereTimes = ({ tenant }: AskedTrace): string => `TraceId = {trace:String}${ofTenant(tenant)}
          AND Timestamp >= if(times.1 > 0, toDateTime64(times.2, 9), toDateTime64(0, 9))
          AND Timestamp < if(times.1 > 0, toDateTime64(times.3, 9) + INTERVAL 1 SECOND, fromUnixTimestamp64Nano(${lastNs}))`;

/**
 * What a waterfall draws of a trace's spans. Each span lies in a granule of its own, of which every column is decompressed from its beginning:
 * so no attributes, events and links, and not how many there are either. In no order, and one span more than `traceSpansMax` says that it has
 * too many; `ordered`: the first of these by their begin, which costs more.
 */
export function traceShapeQuestion(
  settings: ClickHouseSettings,
  asked: AskedTrace,
  ordered: boolean,
): Question {
  return {
    query: `${withTimes(settings)}
      SELECT SpanId AS spanId, ParentSpanId AS parentSpanId, ${cutText("SpanName", limits.traceTextCharsMax)} AS name, ServiceName AS service,
        SpanKind AS kind, toString(toUnixTimestamp64Nano(Timestamp)) AS at, toFloat64(Duration) AS durationNs, StatusCode AS status,
        HeadraceTenant AS tenant
      FROM ${tracesOf(settings)} WHERE ${whereTimes(asked)}
      ${ordered ? `ORDER BY Timestamp, SpanId LIMIT ${limits.traceSpansMax}` : `LIMIT ${limits.traceSpansMax + 1}`}`,
    parameters: askedParameters(asked),
  };
}

/** In the table's order; as an object of JSON it would lose a key that is there twice. */
const pairsOfMap = (map: string): string => `CAST(${map}, 'Array(Tuple(String, String))')`;

/**
 * Of a trace that has more spans than are shown: all of them counted, and from when to when they are: `begin`, `end` and `lastBegin` in ns since the
 * epoch. `ofOthers`: those that did not come through Headrace.
 */
export function traceTotalsQuestion(settings: ClickHouseSettings, asked: AskedTrace): Question {
  return {
    query: `${withTimes(settings)}
      SELECT toFloat64(count()) AS spans, toFloat64(countIf(StatusCode = 'Error')) AS errors, toFloat64(countIf(NOT ${isOurs})) AS ofOthers,
        toString(toUnixTimestamp64Nano(min(Timestamp))) AS begin,
        toString(max(toInt128(toUnixTimestamp64Nano(Timestamp)) + Duration)) AS end,
        toString(toUnixTimestamp64Nano(max(Timestamp))) AS lastBegin,
        groupUniqArray(${limits.traceTenantsListed + 1})(HeadraceTenant) AS tenants
      FROM ${tracesOf(settings)} WHERE ${whereTimes(asked)}`,
    parameters: askedParameters(asked),
  };
}

const isOurs = "HeadracePayload != ''";

/** The payloads that brought a trace's spans, those first whose spans begin first: `payloadsListed` of them. */
export function tracePayloadsQuestion(settings: ClickHouseSettings, scope: TraceScope): Question {
  return {
    query: `SELECT lower(hex(HeadracePayload)) AS payload, any(HeadraceTenant) AS tenant, toUInt32(count()) AS spans
      FROM ${tracesOf(settings)} WHERE ${where(scope)} AND ${isOurs}
      GROUP BY HeadracePayload ORDER BY min(Timestamp), payload LIMIT ${limits.payloadsListed}`,
    parameters: parametersOf(scope),
  };
}

/**
 * When the trace of a span begins, in ns since the epoch, and how many of the trace's spans came in each of the payloads that brought this one.
 * The payloads of all spans are gathered, 16 bytes each: to choose them by a second look at the trace takes a third longer.
 */
export function spanSurroundingsQuestion(
  settings: ClickHouseSettings,
  { spanId, ...scope }: TraceScope,
): Question {
  return {
    query: `SELECT toString(toUnixTimestamp64Nano(min(Timestamp))) AS begin,
        arrayMap(payload -> (lower(hex(payload)), toUInt32(countEqual(groupArray(HeadracePayload), payload))),
          groupUniqArrayIf(${limits.payloadsListed})(HeadracePayload, SpanId = {span:String})) AS spansByPayload
      FROM ${tracesOf(settings)} WHERE ${where({ ...scope, spanId: null })}`,
    parameters: parametersOf({ ...scope, spanId }),
  };
}

/** Of what values are asked for, and for which spans. */
export interface ValuesQuestion {
  readonly of: ValueKind;
  /** A part of the value. */
  readonly part: string;
  /** Of `value`: whose. */
  readonly key: string;
  readonly filter: TraceFilter;
}

/** Values among the spans of a slice, and how many spans it has: its first row, with an empty scope and value. */
export function valuesQuestion(settings: ClickHouseSettings, asked: ValuesQuestion, slice: Slice): Question {
  const { of, part, key, filter } = asked;
  const conditions = [
    "Timestamp >= fromUnixTimestamp64Nano({from:Int64}) AND Timestamp < fromUnixTimestamp64Nano({to:Int64})",
  ];
  const parameters: Record<string, string> = { from: String(slice.from), to: String(slice.to) };
  const only = (column: string, name: string, value: string | null): void => {
    if (value !== null) {
      conditions.push(`${column} = {${name}:String}`);
      parameters[name] = value;
    }
  };
  only("HeadraceTenant", "tenant", of === "tenant" ? null : filter.tenant);
  only("ServiceName", "service", of === "service" ? null : filter.service);
  if (of === "value") {
    parameters["key"] = key;
  }
  if (part !== "") {
    parameters["part"] = part;
  }
  return {
    query: `SELECT found.1 AS scope, ${cutText("found.2", limits.traceConditionCharsMax)} AS value, toFloat64(count()) AS spans
      FROM (
        SELECT arrayJoin(${pairsOf[of]}) AS found FROM ${tracesOf(settings)} WHERE ${conditions.join(" AND ")}
      ) ${part === "" ? "" : "WHERE positionCaseInsensitiveUTF8(found.2, {part:String}) > 0"}
      GROUP BY found ORDER BY spans DESC, value LIMIT ${limits.traceValuesListed}`,
    parameters,
  };
}

const pairsOf: Readonly<Record<ValueKind, string>> = {
  service: "[('', toString(ServiceName))]",
  name: "[('', toString(SpanName))]",
  tenant: "[('', toString(HeadraceTenant))]",
  key: "arrayConcat(arrayMap(k -> ('span', toString(k)), mapKeys(SpanAttributes)), arrayMap(k -> ('resource', toString(k)), mapKeys(ResourceAttributes)))",
  value:
    "arrayConcat(if(mapContains(SpanAttributes, {key:String}), [('span', SpanAttributes[{key:String}])], []), if(mapContains(ResourceAttributes, {key:String}), [('resource', ResourceAttributes[{key:String}])], []))",
};
