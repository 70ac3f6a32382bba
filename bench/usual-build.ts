/**
 * The build that most people would write, to compare with: decode the request to objects, make a row object a span,
 * write JSON lines. It does the same work (sorted attributes, text for every value), and shares no code with ours.
 */
import protobuf from "protobufjs";

const schema = {
  nested: {
    Request: { fields: { resourceSpans: { rule: "repeated", type: "ResourceSpans", id: 1 } } },
    ResourceSpans: {
      fields: {
        resource: { type: "Resource", id: 1 },
        scopeSpans: { rule: "repeated", type: "ScopeSpans", id: 2 },
      },
    },
    Resource: { fields: { attributes: { rule: "repeated", type: "KeyValue", id: 1 } } },
    ScopeSpans: {
      fields: { scope: { type: "Scope", id: 1 }, spans: { rule: "repeated", type: "Span", id: 2 } },
    },
    Scope: { fields: { name: { type: "string", id: 1 }, version: { type: "string", id: 2 } } },
    Span: {
      fields: {
        traceId: { type: "bytes", id: 1 },
        spanId: { type: "bytes", id: 2 },
        traceState: { type: "string", id: 3 },
        parentSpanId: { type: "bytes", id: 4 },
        name: { type: "string", id: 5 },
        kind: { type: "int32", id: 6 },
        startTimeUnixNano: { type: "fixed64", id: 7 },
        endTimeUnixNano: { type: "fixed64", id: 8 },
        attributes: { rule: "repeated", type: "KeyValue", id: 9 },
        events: { rule: "repeated", type: "Event", id: 11 },
        links: { rule: "repeated", type: "Link", id: 13 },
        status: { type: "Status", id: 15 },
      },
    },
    Event: {
      fields: {
        timeUnixNano: { type: "fixed64", id: 1 },
        name: { type: "string", id: 2 },
        attributes: { rule: "repeated", type: "KeyValue", id: 3 },
      },
    },
    Link: {
      fields: {
        traceId: { type: "bytes", id: 1 },
        spanId: { type: "bytes", id: 2 },
        traceState: { type: "string", id: 3 },
        attributes: { rule: "repeated", type: "KeyValue", id: 4 },
      },
    },
    Status: { fields: { message: { type: "string", id: 2 }, code: { type: "int32", id: 3 } } },
    KeyValue: { fields: { key: { type: "string", id: 1 }, value: { type: "AnyValue", id: 2 } } },
    AnyValue: {
      oneofs: {
        value: {
          oneof: [
            "stringValue",
            "boolValue",
            "intValue",
            "doubleValue",
            "arrayValue",
            "kvlistValue",
            "bytesValue",
          ],
        },
      },
      fields: {
        stringValue: { type: "string", id: 1 },
        boolValue: { type: "bool", id: 2 },
        intValue: { type: "int64", id: 3 },
        doubleValue: { type: "double", id: 4 },
        arrayValue: { type: "ArrayValue", id: 5 },
        kvlistValue: { type: "KeyValueList", id: 6 },
        bytesValue: { type: "bytes", id: 7 },
      },
    },
    ArrayValue: { fields: { values: { rule: "repeated", type: "AnyValue", id: 1 } } },
    KeyValueList: { fields: { values: { rule: "repeated", type: "KeyValue", id: 1 } } },
  },
};

interface AnyValue {
  readonly value?: string;
  readonly stringValue: string;
  readonly boolValue: boolean;
  readonly intValue: { toString(): string };
  readonly doubleValue: number;
  readonly bytesValue: Uint8Array;
  readonly arrayValue: { readonly values: readonly AnyValue[] };
  readonly kvlistValue: { readonly values: readonly KeyValue[] };
}
interface KeyValue {
  readonly key: string;
  readonly value: AnyValue | null;
}
interface Link {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly traceState: string;
  readonly attributes: readonly KeyValue[];
}
interface Span extends Link {
  readonly parentSpanId: Uint8Array;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: { toString(): string };
  readonly endTimeUnixNano: { toString(): string };
  readonly events: readonly {
    readonly timeUnixNano: { toString(): string };
    readonly name: string;
    readonly attributes: readonly KeyValue[];
  }[];
  readonly links: readonly Link[];
  readonly status: { readonly message: string; readonly code: number } | null;
}
interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] } | null;
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string; readonly version: string } | null;
      readonly spans: readonly Span[];
    }[];
  }[];
}

const root = protobuf.Root.fromJSON(schema).resolveAll();
// protobufjs writes its decoders as source text. A Worker may evaluate text while it starts, and not later.
for (const type of root.nestedArray) {
  if (type instanceof protobuf.Type) {
    type.setup();
  }
}
const requestType = root.lookupType("Request");
const kinds = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
const codes = ["Unset", "Ok", "Error"];

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function plain(value: AnyValue | null): unknown {
  switch (value?.value) {
    case "stringValue":
      return value.stringValue;
    case "boolValue":
      return value.boolValue;
    case "intValue":
      return value.intValue.toString();
    case "doubleValue":
      return value.doubleValue;
    case "bytesValue":
      return Buffer.from(value.bytesValue).toString("base64");
    case "arrayValue":
      return value.arrayValue.values.map(plain);
    case "kvlistValue":
      return Object.fromEntries(value.kvlistValue.values.map((entry) => [entry.key, plain(entry.value)]));
    default:
      return "";
  }
}

function textOf(value: AnyValue | null): string {
  const found = plain(value);
  return typeof found === "object" ? JSON.stringify(found) : String(found);
}

function mapOf(attributes: readonly KeyValue[]): Record<string, string> {
  const sorted = [...attributes].sort((a, b) => (a.key < b.key ? -1 : 1));
  return Object.fromEntries(sorted.map(({ key, value }) => [key, textOf(value)]));
}

/** The rows of a request body as JSON lines, in UTF-8. */
export function usualBuild(body: Uint8Array): Uint8Array {
  const request = requestType.decode(body) as unknown as Request;
  let lines = "";
  for (const { resource, scopeSpans } of request.resourceSpans) {
    const resourceAttributes = mapOf(resource?.attributes ?? []);
    for (const { scope, spans } of scopeSpans) {
      for (const span of spans) {
        const start = BigInt(span.startTimeUnixNano.toString());
        const row = {
          Timestamp: start.toString(),
          TraceId: hex(span.traceId),
          SpanId: hex(span.spanId),
          ParentSpanId: hex(span.parentSpanId),
          TraceState: span.traceState,
          SpanName: span.name,
          SpanKind: kinds[span.kind] ?? "",
          ServiceName: resourceAttributes["service.name"] ?? "",
          ResourceAttributes: resourceAttributes,
          ScopeName: scope?.name ?? "",
          ScopeVersion: scope?.version ?? "",
          SpanAttributes: mapOf(span.attributes),
          Duration: (BigInt(span.endTimeUnixNano.toString()) - start).toString(),
          StatusCode: codes[span.status?.code ?? 0] ?? "",
          StatusMessage: span.status?.message ?? "",
          "Events.Timestamp": span.events.map((event) => event.timeUnixNano.toString()),
          "Events.Name": span.events.map((event) => event.name),
          "Events.Attributes": span.events.map((event) => mapOf(event.attributes)),
          "Links.TraceId": span.links.map((link) => hex(link.traceId)),
          "Links.SpanId": span.links.map((link) => hex(link.spanId)),
          "Links.TraceState": span.links.map((link) => link.traceState),
          "Links.Attributes": span.links.map((link) => mapOf(link.attributes)),
        };
        lines += `${JSON.stringify(row)}\n`;
      }
    }
  }
  return new TextEncoder().encode(lines);
}
