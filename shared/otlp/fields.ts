/**
 * The messages of OTLP traces with their field numbers, JSON names and kinds: the one list from which the slow
 * readers (`canonical-form.ts`, `json.ts`) work, and the tags that the fast readers compare.
 *
 * Source: opentelemetry-proto 1.11, trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
 * Fields of other signals (the string indices of profiles) are left out: in traces they are unknown fields. So are a
 * resource's entity_refs, still in development: no reader of ours looks into them.
 */

/** Wire types, protobuf.dev/programming-guides/encoding/#structure. */
export const wireType = {
  varint: 0,
  fixed64: 1,
  length: 2,
  groupStart: 3,
  groupEnd: 4,
  fixed32: 5,
} as const;

/** `id` is bytes in protobuf and hex in OTLP/JSON. */
export type ScalarKind =
  | "string"
  | "bytes"
  | "id"
  | "bool"
  | "int64"
  | "uint32"
  | "enum"
  | "fixed64"
  | "fixed32"
  | "double";

export type MessageName =
  | "request"
  | "resourceSpans"
  | "resource"
  | "scopeSpans"
  | "scope"
  | "span"
  | "event"
  | "link"
  | "status"
  | "keyValue"
  | "anyValue"
  | "arrayValue"
  | "keyValueList";

export type FieldType = ScalarKind | { readonly message: MessageName };

export interface Field {
  readonly number: number;
  /** Name in the .proto file; paths in error messages use it. */
  readonly name: string;
  /** Name in OTLP/JSON: lowerCamelCase. */
  readonly jsonName: string;
  readonly type: FieldType;
  /** Of an enum: the names of its values 0, 1, …, as stock protobuf libraries write them in JSON. */
  readonly valueNames?: readonly string[];
  /** `one`: the last one wins, messages merge. `oneof`: setting one clears the others of the message. */
  readonly cardinality: "one" | "many" | "oneof";
}

export interface Message {
  readonly name: MessageName;
  /** By field number. */
  readonly fields: readonly (Field | undefined)[];
}

/** trace.proto, Span.SpanKind and Status.StatusCode. */
const enumNames: Readonly<Record<string, readonly string[]>> = {
  kind: ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"].map(
    (kind) => `SPAN_KIND_${kind}`,
  ),
  code: ["UNSET", "OK", "ERROR"].map((code) => `STATUS_CODE_${code}`),
};

type FieldRow = readonly [number: number, name: string, type: FieldType, cardinality?: "many" | "oneof"];

function message(name: MessageName, rows: readonly FieldRow[]): Message {
  const fields: (Field | undefined)[] = [];
  for (const [number, fieldName, type, cardinality] of rows) {
    const jsonName = fieldName.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const valueNames = type === "enum" ? { valueNames: enumNames[fieldName] ?? [] } : {};
    fields[number] = {
      number,
      name: fieldName,
      jsonName,
      type,
      ...valueNames,
      cardinality: cardinality ?? "one",
    };
  }
  return { name, fields };
}

const attributes = { message: "keyValue" } as const;

export const messages: Readonly<Record<MessageName, Message>> = {
  request: message("request", [[1, "resource_spans", { message: "resourceSpans" }, "many"]]),
  resourceSpans: message("resourceSpans", [
    [1, "resource", { message: "resource" }],
    [2, "scope_spans", { message: "scopeSpans" }, "many"],
    [3, "schema_url", "string"],
  ]),
  resource: message("resource", [
    [1, "attributes", attributes, "many"],
    [2, "dropped_attributes_count", "uint32"],
  ]),
  scopeSpans: message("scopeSpans", [
    [1, "scope", { message: "scope" }],
    [2, "spans", { message: "span" }, "many"],
    [3, "schema_url", "string"],
  ]),
  scope: message("scope", [
    [1, "name", "string"],
    [2, "version", "string"],
    [3, "attributes", attributes, "many"],
    [4, "dropped_attributes_count", "uint32"],
  ]),
  span: message("span", [
    [1, "trace_id", "id"],
    [2, "span_id", "id"],
    [3, "trace_state", "string"],
    [4, "parent_span_id", "id"],
    [5, "name", "string"],
    [6, "kind", "enum"],
    [7, "start_time_unix_nano", "fixed64"],
    [8, "end_time_unix_nano", "fixed64"],
    [9, "attributes", attributes, "many"],
    [10, "dropped_attributes_count", "uint32"],
    [11, "events", { message: "event" }, "many"],
    [12, "dropped_events_count", "uint32"],
    [13, "links", { message: "link" }, "many"],
    [14, "dropped_links_count", "uint32"],
    [15, "status", { message: "status" }],
    [16, "flags", "fixed32"],
  ]),
  event: message("event", [
    [1, "time_unix_nano", "fixed64"],
    [2, "name", "string"],
    [3, "attributes", attributes, "many"],
    [4, "dropped_attributes_count", "uint32"],
  ]),
  link: message("link", [
    [1, "trace_id", "id"],
    [2, "span_id", "id"],
    [3, "trace_state", "string"],
    [4, "attributes", attributes, "many"],
    [5, "dropped_attributes_count", "uint32"],
    [6, "flags", "fixed32"],
  ]),
  status: message("status", [
    [2, "message", "string"],
    [3, "code", "enum"],
  ]),
  keyValue: message("keyValue", [
    [1, "key", "string"],
    [2, "value", { message: "anyValue" }],
  ]),
  anyValue: message("anyValue", [
    [1, "string_value", "string", "oneof"],
    [2, "bool_value", "bool", "oneof"],
    [3, "int_value", "int64", "oneof"],
    [4, "double_value", "double", "oneof"],
    [5, "array_value", { message: "arrayValue" }, "oneof"],
    [6, "kvlist_value", { message: "keyValueList" }, "oneof"],
    [7, "bytes_value", "bytes", "oneof"],
  ]),
  arrayValue: message("arrayValue", [[1, "values", { message: "anyValue" }, "many"]]),
  keyValueList: message("keyValueList", [[1, "values", attributes, "many"]]),
};

/** The wire type that a field's values have. */
export function wireTypeOf(type: FieldType): number {
  if (typeof type === "object") {
    return wireType.length;
  }
  switch (type) {
    case "string":
    case "bytes":
    case "id":
      return wireType.length;
    case "bool":
    case "int64":
    case "uint32":
    case "enum":
      return wireType.varint;
    case "fixed64":
    case "double":
      return wireType.fixed64;
    case "fixed32":
      return wireType.fixed32;
  }
}

/**
 * Tags as the fast readers meet them: `number << 3 | wireType` in one byte. A tag that some encoder wrote in more
 * bytes than it needs is not canonical.
 */
export const tags = {
  request: { resourceSpans: 0x0a },
  resourceSpans: { resource: 0x0a, scopeSpans: 0x12, schemaUrl: 0x1a },
  resource: { attributes: 0x0a, droppedAttributesCount: 0x10 },
  scopeSpans: { scope: 0x0a, spans: 0x12, schemaUrl: 0x1a },
  scope: { name: 0x0a, version: 0x12, attributes: 0x1a, droppedAttributesCount: 0x20 },
  span: {
    traceId: 0x0a,
    spanId: 0x12,
    traceState: 0x1a,
    parentSpanId: 0x22,
    name: 0x2a,
    kind: 0x30,
    startTime: 0x39,
    endTime: 0x41,
    attributes: 0x4a,
    droppedAttributesCount: 0x50,
    events: 0x5a,
    droppedEventsCount: 0x60,
    links: 0x6a,
    droppedLinksCount: 0x70,
    status: 0x7a,
    /** Field 16: two bytes, 0x85 0x01. */
    flagsFirstByte: 0x85,
    flagsSecondByte: 0x01,
  },
  event: { time: 0x09, name: 0x12, attributes: 0x1a, droppedAttributesCount: 0x20 },
  link: {
    traceId: 0x0a,
    spanId: 0x12,
    traceState: 0x1a,
    attributes: 0x22,
    droppedAttributesCount: 0x28,
    flags: 0x35,
  },
  status: { message: 0x12, code: 0x18 },
  keyValue: { key: 0x0a, value: 0x12 },
  anyValue: {
    string: 0x0a,
    bool: 0x10,
    int: 0x18,
    double: 0x21,
    array: 0x2a,
    kvlist: 0x32,
    bytes: 0x3a,
  },
  /** ArrayValue and KeyValueList alike. */
  list: { values: 0x0a },
} as const;
