/** Requests by hand, in both forms: good spans of now, and in one of them whatever a case wants. */
import {
  bytesField,
  fixed64Field,
  join,
  keyValue,
  type Part,
  stringField,
  value,
  varintField,
} from "../fixtures/protobuf.ts";

/** When the cases are made: span times are about now, or a receiver that looks at them refuses all. */
export interface Times {
  /** ms since the epoch */
  readonly now: number;
}

export interface IntakeCase {
  readonly name: string;
  /** Made when it is sent: some have 20 MiB. */
  readonly body: () => Uint8Array;
  readonly type: "protobuf" | "json";
  /** Beside, or instead of, the Content-Type of `type`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly path?: string;
  /** The class of the difference to the Collector, in docs/otlp-conformance.md. */
  readonly differs?: string;
}

let ids = 0;

/** Ids that no other span has: an equal request would be the same payload. */
function freshIds(): { trace: Uint8Array; span: Uint8Array } {
  const number = ++ids;
  const trace = new Uint8Array(16).fill(7);
  const span = new Uint8Array(8).fill(7);
  new DataView(trace.buffer).setUint32(12, number);
  new DataView(span.buffer).setUint32(4, number);
  return { trace, span };
}

const nanosOf = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;

/** A span whose later fields win over the good ones before them. */
export function pbSpan({ now }: Times, more: Part = []): Uint8Array {
  const { trace, span } = freshIds();
  return join(
    bytesField(1, trace),
    bytesField(2, span),
    stringField(5, "op"),
    varintField(6, 2),
    fixed64Field(7, nanosOf(now - 1000)),
    fixed64Field(8, nanosOf(now)),
    more,
  );
}

export function pbRequest(at: Times, spans: readonly { readonly more?: Part }[]): Uint8Array {
  return pbRequestOf(spans.map(({ more = [] }) => pbSpan(at, more)));
}

export function pbRequestOf(spans: readonly Uint8Array[], resourceMore: Part = []): Uint8Array {
  return bytesField(1, [
    bytesField(1, [bytesField(1, keyValue("service.name", value.string("shop"))), resourceMore]),
    bytesField(2, [bytesField(1, stringField(1, "lib")), spans.map((span) => bytesField(2, span))]),
  ]);
}

/** A span's members; of those that `more` has too, its own are left out. */
export function jsonSpan({ now }: Times, more = ""): string {
  const { trace, span } = freshIds();
  const hex = (bytes: Uint8Array): string =>
    [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const members: readonly (readonly [string, string])[] = [
    ["traceId", `"${hex(trace)}"`],
    ["spanId", `"${hex(span)}"`],
    ["name", '"op"'],
    ["kind", "2"],
    ["startTimeUnixNano", `"${nanosOf(now - 1000)}"`],
    ["endTimeUnixNano", `"${nanosOf(now)}"`],
  ];
  const own = memberNames(more);
  const good = members.filter(([name]) => !own.has(name)).map(([name, text]) => `"${name}":${text}`);
  return `{${[...good, ...(more === "" ? [] : [more])].join()}}`;
}

/** The names of an object's own members, in a text that may be no JSON: what follows a bracket is another's. */
function memberNames(text: string): Set<string> {
  const names = new Set<string>();
  let depth = 0;
  for (const [token, name] of text.matchAll(/"(\w*)"\s*:|"[^"\\]*(?:\\.[^"\\]*)*"|[[{\]}]/gs)) {
    depth += "[{".includes(token) ? 1 : "]}".includes(token) ? -1 : 0;
    if (depth === 0 && name !== undefined) {
      names.add(name);
    }
  }
  return names;
}

export function jsonText(at: Times, spans: readonly { readonly more?: string }[]): string {
  return jsonTextOf(spans.map(({ more = "" }) => jsonSpan(at, more)));
}

export function jsonTextOf(spans: readonly string[]): string {
  const resource = '{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}';
  return `{"resourceSpans":[{"resource":${resource},"scopeSpans":[{"scope":{"name":"lib"},"spans":[${spans.join()}]}]}]}`;
}

export function jsonRequest(at: Times, spans: readonly { readonly more?: string }[]): Uint8Array {
  return new TextEncoder().encode(jsonText(at, spans));
}
