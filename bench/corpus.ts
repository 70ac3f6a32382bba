/**
 * A seeded corpus of trace payloads, made by the real OpenTelemetry SDK and its serializers: six services, HTTP
 * server and client, database, queue and internal spans, with events, exceptions, links, trace states, text beyond
 * ASCII and attributes of every type that the SDK takes. The same seed gives the same bytes.
 */
import {
  context,
  type Link,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { Random } from "./random.ts";

export interface CorpusPayload {
  readonly spans: number;
  readonly protobuf: Uint8Array;
  readonly json: Uint8Array;
}

/** 2026-11-24T07:00:00Z */
export const corpusStartMs = Date.UTC(2026, 10, 24, 7);
/** Bounds that accept the whole corpus. */
export const corpusBounds = {
  startMinMs: corpusStartMs - 86_400_000,
  startMaxMs: corpusStartMs + 86_400_000,
};

const services = ["frontend", "checkout", "cart", "payment", "catalogue", "search-index"];
const routes = [
  "/",
  "/api/cart",
  "/api/cart/{id}",
  "/api/checkout",
  "/api/products/{id}",
  "/api/suche/größe",
];
const tables = ["orders", "order_items", "customers", "products"];
const methods = ["GET", "GET", "GET", "POST", "PUT"];

/** `count` payloads of `spansEach` spans, as each service's exporter would batch them. */
export function makeCorpus(seed: number, count: number, spansEach: number): CorpusPayload[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, index) => {
    const spans = makeSpans(random, services[index % services.length] ?? "frontend", spansEach);
    return {
      spans: spansEach,
      protobuf: ProtobufTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0),
      json: JsonTraceSerializer.serializeRequest(spans) ?? new Uint8Array(0),
    };
  });
}

/** `count` finished spans of one service, from about `startMs` on. */
export function makeSpans(
  random: Random,
  service: string,
  count: number,
  startMs = corpusStartMs,
): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      "service.name": service,
      "service.namespace": "shop",
      "service.version": `1.${random.below(20)}.${random.below(10)}`,
      "service.instance.id": random.hex(16),
      "telemetry.sdk.language": "nodejs",
      "telemetry.sdk.name": "opentelemetry",
      "telemetry.sdk.version": "3.1.1",
      "host.name": `node-${random.below(40)}.eu-central.internal`,
      "host.arch": "amd64",
      "os.type": "linux",
      "os.version": "6.8.0-45-generic",
      "process.pid": 1 + random.below(60_000),
      "process.executable.name": "node",
      "process.command_args": ["/usr/local/bin/node", "--enable-source-maps", "/app/server.js"],
      "process.runtime.version": "24.11.0",
      "k8s.namespace.name": "shop",
      "k8s.pod.name": `${service}-${random.hex(5)}-${random.hex(3)}`,
      "deployment.environment.name": "production",
    }),
    idGenerator: { generateTraceId: () => random.hex(16), generateSpanId: () => random.hex(8) },
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const scopes = [
    ["@opentelemetry/instrumentation-http", "0.57.0"],
    ["@opentelemetry/instrumentation-pg", "0.50.0"],
    [`${service}-app`, ""],
  ] as const;
  let made = 0;
  let clock = startMs + random.below(60_000);
  while (made < count) {
    clock += random.below(40);
    const remote = trace.setSpanContext(context.active(), {
      traceId: random.hex(16),
      spanId: random.hex(8),
      traceFlags: TraceFlags.SAMPLED,
      isRemote: true,
    });
    const parent = random.chance(0.4) ? context.active() : remote;
    made += makeTrace(random, provider, scopes, parent, clock, count - made);
  }
  return exporter.getFinishedSpans();
}

type Scopes = readonly (readonly [string, string])[];

/** One server span with some children; returns how many spans were made, at most `left`. */
function makeTrace(
  random: Random,
  provider: TracerProvider,
  scopes: Scopes,
  parent: ReturnType<typeof context.active>,
  clock: number,
  left: number,
): number {
  const tracer = (index: number) => provider.getTracer(scopes[index]?.[0] ?? "", scopes[index]?.[1] ?? "");
  const method = random.pick(methods);
  const route = random.pick(routes);
  const failed = random.chance(0.06);
  const links: Link[] = random.chance(0.05)
    ? [
        {
          context: { traceId: random.hex(16), spanId: random.hex(8), traceFlags: TraceFlags.SAMPLED },
          attributes: { "messaging.operation.name": "process", batch: random.below(100) },
        },
      ]
    : [];
  const server = tracer(0).startSpan(
    `${method} ${route}`,
    {
      kind: SpanKind.SERVER,
      startTime: clock,
      links,
      attributes: {
        "http.request.method": method,
        "http.route": route,
        "url.path": route.replace("{id}", String(random.below(10_000))),
        "url.scheme": "https",
        "server.address": "shop.example.com",
        "server.port": 443,
        "client.address": `10.${random.below(256)}.${random.below(256)}.${random.below(256)}`,
        "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
        "network.protocol.version": "1.1",
        "http.response.status_code": failed ? 500 : 200,
        "http.response.body.size": random.below(200_000),
        "app.customer.tier": random.pick(["gold", "silver", "ohne"]),
        "app.cache.hit": random.chance(0.7),
        "app.score": random.below(1000) / 7,
      },
    },
    parent,
  );
  let made = 1;
  const inner = trace.setSpan(parent, server);
  let at = clock + 1;
  const children = random.below(6);
  for (let i = 0; i < children && made < left; i++) {
    at += makeChild({ random, tracer, parent: inner, at });
    made++;
  }
  if (failed) {
    server.recordException(brokenPrice(random), at);
    server.setStatus({ code: SpanStatusCode.ERROR, message: "Bestellung fehlgeschlagen: Preis ungültig" });
  }
  server.end(at + random.below(5));
  return made;
}

/** An exception whose stack does not tell where this corpus was made. */
function brokenPrice(random: Random): Error {
  const error = new RangeError(`price of item ${random.below(9999)} is "negative"\n\tin basket`);
  const frames = ["applyRules", "priceBasket", "checkout", "handle", "dispatch", "next", "run", "emit"];
  error.stack = `RangeError: ${error.message}${frames.map((f, i) => `\n    at ${f} (file:///app/dist/${f}.js:${i}7:13)`).join("")}`;
  return error;
}

/** What a child span is made with. `at`: its start in ms. */
interface ChildOf {
  readonly random: Random;
  readonly tracer: (index: number) => ReturnType<TracerProvider["getTracer"]>;
  readonly parent: ReturnType<typeof context.active>;
  readonly at: number;
}

/** One child span; returns the milliseconds that it took. */
function makeChild(child: ChildOf): number {
  const { random, at } = child;
  const took = 1 + random.below(30);
  const kind = random.below(3);
  const start = kind === 0 ? startQuery : kind === 1 ? startCall : startStep;
  start(child).end(at + took);
  return took;
}

function startQuery({ random, tracer, parent, at }: ChildOf): Span {
  const table = random.pick(tables);
  const span = tracer(1).startSpan(
    `SELECT ${table}`,
    {
      kind: SpanKind.CLIENT,
      startTime: at,
      attributes: {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.query.text": `SELECT id, total, created_at FROM ${table} WHERE customer_id = $1 AND state = $2 LIMIT 50`,
        "db.operation.name": "SELECT",
        "db.collection.name": table,
        "server.address": "pg-0.internal",
        "server.port": 5432,
        "db.response.returned_rows": random.below(50),
        "db.user": "shop_rw",
        "network.peer.address": `10.2.0.${random.below(8)}`,
        "network.transport": "tcp",
        "thread.id": random.below(64),
      },
    },
    parent,
  );
  return span;
}

function startCall({ random, tracer, parent, at }: ChildOf): Span {
  const host = random.pick(["payment", "catalogue", "search-index"]);
  const span = tracer(0).startSpan(
    "POST",
    {
      kind: SpanKind.CLIENT,
      startTime: at,
      attributes: {
        "http.request.method": "POST",
        "url.full": `http://${host}.shop.svc.cluster.local:8080/v1/${random.pick(tables)}?q=${random.below(1000)}`,
        "server.address": `${host}.shop.svc.cluster.local`,
        "server.port": 8080,
        "http.response.status_code": 200,
        "network.peer.address": `10.1.${random.below(256)}.${random.below(256)}`,
        "network.peer.port": 8080,
        "network.protocol.version": "1.1",
        "user_agent.original": "undici/7.2.0",
        "http.response.body.size": random.below(9000),
        "peer.service": host,
      },
    },
    parent,
  );
  return span;
}

function startStep({ random, tracer, parent, at }: ChildOf): Span {
  const span = tracer(2).startSpan(
    random.pick(["render basket", "price rules", "größe berechnen"]),
    {
      startTime: at,
      attributes: {
        "app.step": random.below(12),
        "app.ratio": random.below(100) / 100,
        "app.flags": [random.chance(0.5), random.chance(0.5)],
        "app.skus": [`sku-${random.below(999)}`, `sku-${random.below(999)}`, "größe-XL"],
        "code.function.name": "shop.pricing.applyRules",
        "thread.id": random.below(64),
        "app.customer.tier": random.pick(["gold", "silver", "ohne"]),
        "app.tenant.id": random.hex(8),
        "code.file.path": "/app/dist/pricing/apply-rules.js",
        "code.line.number": random.below(900),
      },
    },
    parent,
  );
  if (random.chance(0.4)) {
    span.addEvent("cache.miss", { "cache.key": `price:${random.below(5000)}`, "cache.tier": "l2" }, at + 1);
  }
  span.setStatus({ code: SpanStatusCode.OK });
  return span;
}
