/**
 * A small server for tests of the sender: it takes OTLP/HTTP on /v1/traces and answers ClickHouse's HTTP interface
 * everywhere else, from what it was sent. It reads the bodies with a reader of its own, a dozen lines that know
 * protobuf's framing and OTLP's field numbers, so that no SDK code checks SDK code.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { gunzipSync } from "node:zlib";

interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  /** Keys of the resource's attributes. */
  readonly resourceKeys: readonly string[];
  readonly attributeKeys: readonly string[];
  readonly events: number;
  readonly links: number;
}

interface ReceivedRequest {
  readonly headers: IncomingMessage["headers"];
  readonly spans: readonly ReceivedSpan[];
}

/** What the server does with the request of this index (0 first). */
export type Behaviour = (index: number) => {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array | string;
  /** Whether the spans become rows; by default they do when the status is 200. */
  readonly stored?: boolean;
  /** How long after the request's arrival they become rows. */
  readonly storedAfterMs?: number;
  /** How long the answer takes. */
  readonly afterMs?: number;
};

export interface OtlpReceiver {
  readonly url: string;
  readonly requests: ReceivedRequest[];
  /** Requests that have arrived and are not answered yet, and the most there were at once. */
  readonly load: { now: number; most: number };
  close(): Promise<void>;
}

/** `copies` is how many rows a stored span becomes: 1 but for tests of doubled spans. */
export async function startReceiver(behaviour: Behaviour, copies = 1): Promise<OtlpReceiver> {
  const requests: ReceivedRequest[] = [];
  const rows: string[] = [];
  const load = { now: 0, most: 0 };

  const takeExport = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    load.now += 1;
    load.most = Math.max(load.most, load.now);
    const received = await readBody(request);
    const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(received) : received;
    const spans =
      request.headers["content-type"] === "application/json" ? spansOfJson(body) : spansOfProtobuf(body);
    const answer = behaviour(requests.length);
    requests.push({ headers: request.headers, spans });
    if (answer.stored ?? answer.status === 200) {
      setTimeout(() => {
        for (let copy = 0; copy < copies; copy++) {
          rows.push(...spans.map((span) => span.traceId + span.spanId));
        }
      }, answer.storedAfterMs ?? 0);
    }
    await new Promise((resolve) => setTimeout(resolve, answer.afterMs ?? 0));
    load.now -= 1;
    response.writeHead(answer.status, answer.headers ?? {}).end(answer.body ?? "");
  };

  const server = createServer((request, response) => {
    if (request.url === "/v1/traces") {
      takeExport(request, response).catch((error) => response.writeHead(400).end(String(error)));
    } else {
      request.resume();
      response.writeHead(200, { "x-clickhouse-query-id": "q" });
      response.end(`${JSON.stringify({ rows: String(rows.length), spans: new Set(rows).size })}\n`);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    load,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

/** Length-delimited fields of a protobuf message by number; other wire types are skipped. */
function fieldsOf(bytes: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 127) * scale;
      if (byte < 128) {
        return value;
      }
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        at += 8;
        break;
      case 5:
        at += 4;
        break;
      case 2: {
        const length = varint();
        if (at + length > bytes.length) {
          throw new Error("a field is longer than its message");
        }
        fields.set(tag >>> 3, [...(fields.get(tag >>> 3) ?? []), bytes.subarray(at, at + length)]);
        at += length;
        break;
      }
      default:
        throw new Error(`wire type ${tag & 7}`);
    }
  }
  return fields;
}

const messages = (bytes: Buffer | undefined, field: number): Buffer[] =>
  bytes === undefined ? [] : (fieldsOf(bytes).get(field) ?? []);
const keysOf = (keyValues: readonly Buffer[]): string[] =>
  keyValues.map((keyValue) => messages(keyValue, 1)[0]?.toString() ?? "");

// opentelemetry/proto/trace/v1/trace.proto: TracesData 1 → ResourceSpans {resource 1, scope_spans 2 → spans 2}
function spansOfProtobuf(body: Buffer): ReceivedSpan[] {
  return messages(body, 1).flatMap((resourceSpans) => {
    const resourceKeys = keysOf(messages(messages(resourceSpans, 1)[0], 1));
    return messages(resourceSpans, 2).flatMap((scopeSpans) =>
      messages(scopeSpans, 2).map((span) => ({
        traceId: messages(span, 1)[0]?.toString("hex") ?? "",
        spanId: messages(span, 2)[0]?.toString("hex") ?? "",
        name: messages(span, 5)[0]?.toString() ?? "",
        resourceKeys,
        attributeKeys: keysOf(messages(span, 9)),
        events: messages(span, 11).length,
        links: messages(span, 13).length,
      })),
    );
  });
}

interface JsonKeyValues {
  readonly attributes: readonly { readonly key: string }[];
}
interface JsonBody {
  readonly resourceSpans: readonly {
    readonly resource: JsonKeyValues;
    readonly scopeSpans: readonly {
      readonly spans: readonly (JsonKeyValues & {
        readonly traceId: string;
        readonly spanId: string;
        readonly name: string;
        readonly events: readonly unknown[];
        readonly links: readonly unknown[];
      })[];
    }[];
  }[];
}

function spansOfJson(body: Buffer): ReceivedSpan[] {
  const parsed: JsonBody = JSON.parse(body.toString());
  return parsed.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        name: span.name,
        resourceKeys: resource.attributes.map(({ key }) => key),
        attributeKeys: span.attributes.map(({ key }) => key),
        events: span.events.length,
        links: span.links.length,
      })),
    ),
  );
}
