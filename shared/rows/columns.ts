/**
 * The one list of `otel_traces`' columns that we write: the 22 of the OpenTelemetry Collector's ClickHouse exporter in
 * its Map form, then ours. The INSERT's column text, the block's order and the test against `schema/*.sql` come from
 * here.
 *
 * Source: opentelemetry-collector-contrib exporter/clickhouseexporter/internal/sqltemplates/traces_insert.sql and
 * traces_table.sql. The types are the table's own, so that the engine converts nothing.
 */

export interface Column {
  readonly name: string;
  /** ClickHouse's spelling of the type, as a Native block's header has it. */
  readonly type: string;
}

const attributesType = "Map(LowCardinality(String), String)";

export const columns = [
  { name: "Timestamp", type: "DateTime64(9)" },
  { name: "TraceId", type: "String" },
  { name: "SpanId", type: "String" },
  { name: "ParentSpanId", type: "String" },
  { name: "TraceState", type: "String" },
  { name: "SpanName", type: "LowCardinality(String)" },
  { name: "SpanKind", type: "LowCardinality(String)" },
  { name: "ServiceName", type: "LowCardinality(String)" },
  { name: "ResourceAttributes", type: attributesType },
  { name: "ScopeName", type: "String" },
  { name: "ScopeVersion", type: "String" },
  { name: "SpanAttributes", type: attributesType },
  { name: "Duration", type: "UInt64" },
  { name: "StatusCode", type: "LowCardinality(String)" },
  { name: "StatusMessage", type: "String" },
  { name: "Events.Timestamp", type: "Array(DateTime64(9))" },
  { name: "Events.Name", type: "Array(LowCardinality(String))" },
  { name: "Events.Attributes", type: `Array(${attributesType})` },
  { name: "Links.TraceId", type: "Array(String)" },
  { name: "Links.SpanId", type: "Array(String)" },
  { name: "Links.TraceState", type: "Array(String)" },
  { name: "Links.Attributes", type: `Array(${attributesType})` },
  { name: "HeadraceTenant", type: "LowCardinality(String)" },
  { name: "HeadracePayload", type: "FixedString(16)" },
] as const satisfies readonly Column[];

export type ColumnName = (typeof columns)[number]["name"];

/** The column list of the INSERT: names in backticks, because those of nested columns hold a dot. */
export const columnListText = columns.map(({ name }) => `\`${name}\``).join(", ");
