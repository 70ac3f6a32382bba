/**
 * A sender of OTLP/HTTP for tests that see the ingress from outside: requests made by hand, answers read by a reader
 * of its own that knows protobuf's framing and the field numbers of google.rpc.Status and ExportTraceServiceResponse.
 */
import { env, exports } from "cloudflare:workers";
import { apiKeyName, formatApiKey } from "../../../shared/api-key.ts";
import { payloadPrefix } from "../../../shared/payload-key.ts";
import type { IngressBindings } from "../../../workers/ingress/bindings.ts";
import {
  bytesField,
  fixed64Field,
  join,
  type Part,
  resource,
  spanId,
  stringField,
  traceId,
  value,
  varintField,
} from "../../fixtures/protobuf.ts";

export const bindings = env as unknown as IngressBindings;
export const ingress = (exports as unknown as { default: Fetcher }).default;
export const origin = "https://ingress.example";

const keyRecord = {
  tenant: "acme",
  name: "test",
  status: "active",
  spansPerSecond: null,
  burstSpans: null,
  spansPerMonth: null,
  bytesPerSecond: null,
  burstBytes: null,
  bytesPerMonth: null,
  origins: ["https://shop.example"],
  sample: 1,
  spanAgeDays: 30,
};

/** A key in KV; what `changes` names is other than in `keyRecord`. */
export async function makeKey(changes: object = {}): Promise<string> {
  const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
  await bindings.KEYS.put(await apiKeyName(key), JSON.stringify({ ...keyRecord, ...changes }));
  return key;
}

export type Type = "pb" | "json";
export const types = ["pb", "json"] as const;
export const mediaTypes = { pb: "application/x-protobuf", json: "application/json" } as const;

/** POST /v1/traces. A header of an empty value is left out. */
export function send(
  key: string,
  type: Type,
  body: BodyInit | null,
  headers: Record<string, string> = {},
): Promise<Response> {
  const all: Record<string, string> = { "x-api-key": key, "content-type": mediaTypes[type], ...headers };
  const kept = Object.fromEntries(Object.entries(all).filter(([, text]) => text !== ""));
  return ingress.fetch(`${origin}/v1/traces`, { method: "POST", headers: kept, body });
}

/** What an answer says, whichever of the two messages it is. */
export interface Answer {
  readonly status: number;
  readonly type: string | null;
  /** Status.message, or partial_success.error_message. */
  readonly message: string;
  readonly rejectedSpans: number;
  /** Field violations of a google.rpc.BadRequest in Status.details. */
  readonly violations: readonly { readonly field: string; readonly description: string }[];
  readonly bodyBytes: number;
  readonly headers: Headers;
}

export async function read(response: Response): Promise<Answer> {
  const type = response.headers.get("content-type");
  const body = new Uint8Array(await response.arrayBuffer());
  const said = type === mediaTypes.pb ? readProtobuf(response.ok, body) : readJson(response.ok, body);
  return { status: response.status, type, bodyBytes: body.length, headers: response.headers, ...said };
}

type Said = Pick<Answer, "message" | "rejectedSpans" | "violations">;

interface JsonAnswer {
  readonly message?: string;
  readonly details?: readonly { readonly "@type": string; readonly fieldViolations: Answer["violations"] }[];
  readonly partialSuccess?: { readonly rejectedSpans?: string; readonly errorMessage?: string };
}

function readJson(ok: boolean, body: Uint8Array): Said {
  const answer = JSON.parse(new TextDecoder().decode(body)) as JsonAnswer;
  const { rejectedSpans = "0", errorMessage = "" } = answer.partialSuccess ?? {};
  return {
    message: ok ? errorMessage : (answer.message ?? ""),
    rejectedSpans: Number(rejectedSpans),
    violations: answer.details?.flatMap((detail) => detail.fieldViolations) ?? [],
  };
}

function readProtobuf(ok: boolean, body: Uint8Array): Said {
  const top = fields(body);
  if (ok) {
    const partial = fields(top.get(1)?.bytes[0] ?? new Uint8Array(0));
    return { message: text(partial.get(2)), rejectedSpans: partial.get(1)?.numbers[0] ?? 0, violations: [] };
  }
  const violations = (top.get(3)?.bytes ?? []).flatMap((any) => {
    const badRequest = fields(fields(any).get(2)?.bytes[0] ?? new Uint8Array(0));
    return (badRequest.get(1)?.bytes ?? []).map((bytes) => {
      const violation = fields(bytes);
      return { field: text(violation.get(1)), description: text(violation.get(2)) };
    });
  });
  return { message: text(top.get(2)), rejectedSpans: 0, violations };
}

interface FieldValues {
  readonly numbers: number[];
  readonly bytes: Uint8Array[];
}

/** The varint and length-delimited fields of a message by number. */
function fields(message: Uint8Array): Map<number, FieldValues> {
  const found = new Map<number, FieldValues>();
  let at = 0;
  const varint = (): number => {
    let number = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = message[at++];
      if (byte === undefined) {
        throw new Error("the answer's protobuf is cut off");
      }
      number += (byte & 0x7f) * shift;
      if (byte < 0x80) {
        return number;
      }
    }
  };
  while (at < message.length) {
    const tag = varint();
    const values = found.get(tag >>> 3) ?? { numbers: [], bytes: [] };
    found.set(tag >>> 3, values);
    const number = varint();
    if ((tag & 7) === 0) {
      values.numbers.push(number);
    } else if ((tag & 7) === 2) {
      values.bytes.push(message.subarray(at, at + number));
      at += number;
    } else {
      throw new Error(`the answer has a field of wire type ${tag & 7}`);
    }
  }
  return found;
}

function text(values: FieldValues | undefined): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(values?.bytes[0]);
}

/** Payloads in R2, with their metadata. */
export async function storedPayloads(): Promise<R2Object[]> {
  return (await bindings.PAYLOADS.list({ prefix: payloadPrefix, include: ["customMetadata"] })).objects;
}

const nanos = (ms: number): bigint => BigInt(ms) * 1_000_000n;

/** A good span's content that began a minute ago; `more` fields follow, and the last of a number wins. */
export function freshSpan(...more: readonly Part[]): Uint8Array {
  const start = nanos(Date.now() - 60_000);
  return join(
    bytesField(1, traceId),
    bytesField(2, spanId),
    stringField(5, "op"),
    varintField(6, 2),
    fixed64Field(7, start),
    fixed64Field(8, start + 1500n),
    more,
  );
}

/** A request of one resource and one scope with these spans' contents. */
export function requestOf(...spans: readonly Part[]): Uint8Array {
  return bytesField(1, [
    resource(["service.name", value.string("shop")]),
    bytesField(2, [bytesField(1, stringField(1, "lib")), spans.map((span) => bytesField(2, span))]),
  ]);
}

export interface JsonSpan {
  readonly [field: string]: unknown;
}

/** The same span in OTLP/JSON. */
export function freshJsonSpan(changes: JsonSpan = {}): JsonSpan {
  const start = nanos(Date.now() - 60_000);
  return {
    traceId: "0102030405060708090a0b0c0d0e0f10",
    spanId: "a1a2a3a4a5a6a7a8",
    name: "op",
    kind: 2,
    startTimeUnixNano: String(start),
    endTimeUnixNano: String(start + 1500n),
    ...changes,
  };
}

export function jsonRequestOf(...spans: readonly JsonSpan[]): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] },
        scopeSpans: [{ scope: { name: "lib" }, spans }],
      },
    ],
  });
}
