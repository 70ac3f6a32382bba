/**
 * Plans one trace as plain data: which spans, in which service, when, with which attributes, events, links and
 * status. Pure: the same random source plans the same traces. Names and attributes follow OpenTelemetry's semantic
 * conventions (HTTP 1.23+, database 1.33+, messaging as of 1.45). What the SDK makes of a plan is not decided here.
 *
 * Times are offsets in nanoseconds from the trace's start.
 */
import { type Attributes, SpanKind } from "@opentelemetry/api";
import { type Failure, failures } from "./failures.ts";
import { hex, type Service } from "./fleet.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** The instrumentation libraries whose spans occur: the OTLP scopes. */
export const scopes = {
  http: { name: "@opentelemetry/instrumentation-http", version: "0.301.0" },
  sql: { name: "io.opentelemetry.jdbc", version: "2.21.0-alpha" },
  redis: { name: "opentelemetry.instrumentation.redis", version: "0.66b2" },
  kafka: { name: "github.com/twmb/franz-go/plugin/kotel", version: "1.8.0" },
  app: { name: "shop", version: "" },
} as const;
export type ScopeName = keyof typeof scopes;

interface PlannedEvent {
  readonly name: string;
  readonly atNs: number;
  readonly attributes: Attributes;
}

/** A link to a producer span of an earlier trace. Dropped when there were not that many. */
interface PlannedLink {
  /** 0 is the last producer span made, 1 the one before. */
  readonly producersBack: number;
  readonly attributes: Attributes;
}

type PlannedStatus =
  | { readonly code: "unset" }
  | { readonly code: "ok" }
  | { readonly code: "error"; readonly message: string };

export interface PlannedSpan {
  readonly service: Service;
  readonly scope: ScopeName;
  readonly name: string;
  readonly kind: SpanKind;
  readonly startNs: number;
  readonly endNs: number;
  readonly attributes: Attributes;
  readonly events: readonly PlannedEvent[];
  readonly exceptions: readonly { readonly failure: Failure; readonly atNs: number }[];
  readonly links: readonly PlannedLink[];
  readonly status: PlannedStatus;
  readonly children: readonly PlannedSpan[];
}

export interface PlannedTrace {
  /** W3C tracestate of all spans of the trace; empty where there is none. */
  readonly tracestate: string;
  readonly root: PlannedSpan;
}

const microsecondNs = 1_000;
const millisecondNs = 1_000_000;
/** The first even integers beyond 2^53: a double holds them exactly, and so does the SDK's int64. */
const beyondSafeInteger = 2 ** 53 + 2;

const places = ["Zürich", "São Paulo", "東京", "Kraków", "Αθήνα", "Reykjavík", "Portland"] as const;
const terms = [
  "crème brûlée 🍮",
  "naïve bayes",
  "抹茶",
  "smörgås",
  "teapot",
  "1' OR 1=1 --",
  "<b>sale</b>",
] as const;
const userAgents = [
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
  "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
  "shop-ios/8.14.0",
] as const;

/** What a plan is drawn from: the services by role, and the random source. */
interface Scene {
  readonly fleet: readonly Service[];
  readonly random: SeededRandom;
}

type SpanParts = Pick<PlannedSpan, "service" | "scope" | "name" | "startNs" | "endNs"> & Partial<PlannedSpan>;

function span(parts: SpanParts): PlannedSpan {
  return {
    kind: SpanKind.INTERNAL,
    attributes: {},
    events: [],
    exceptions: [],
    links: [],
    status: { code: "unset" },
    children: [],
    ...parts,
  };
}

/** The next trace. `fleet` has at least one service; with few of them a service plays several roles. */
export function planTrace(fleet: readonly Service[], random: SeededRandom): PlannedTrace {
  const scene: Scene = { fleet, random };
  const draw = random.fraction();
  const root =
    draw < 0.5
      ? planPageView(scene)
      : draw < 0.8
        ? planCheckout(scene)
        : draw < 0.9
          ? planQueueBatch(scene)
          : planNightlyJob(scene);
  return { tracestate: planTracestate(random), root };
}

function planTracestate(random: SeededRandom): string {
  const draw = random.fraction();
  if (draw < 0.6) {
    return "";
  }
  const sampling = `ot=th:${hex(random, 2)};rv:${hex(random, 14)}`;
  return draw < 0.9 ? sampling : `${sampling},congo=t61rcWkgMzE,tenant@vendor=shop:${random.integer(1, 9)}`;
}

/** The service that plays a role: roles are dealt out over the fleet in turn. */
function roleOf({ fleet, random }: Scene, role: number): Service {
  return fleet[role % fleet.length] ?? random.pick(fleet);
}

function lastEnd(spans: readonly PlannedSpan[], at: number): number {
  return spans.reduce((end, child) => Math.max(end, child.endNs), at);
}

/** A visitor looks at a product: cache, database, another service, and sometimes an exception. */
function planPageView(scene: Scene): PlannedSpan {
  const { random } = scene;
  const front = roleOf(scene, 0);
  const term = random.pick(terms);
  const product = random.integer(1, 9_999);
  const start = 0;
  const cache = planCache(scene, front, start + random.integer(50, 400) * microsecondNs, product);
  const lookup = planCall(scene, {
    from: front,
    to: roleOf(scene, 1),
    startNs: cache.endNs + 40 * microsecondNs,
    method: "GET",
    route: "/products/{id}",
    path: `/products/${product}`,
    inside: (service, at) => {
      const select = planSql(scene, service, at, {
        operation: "SELECT",
        table: "products",
        text: "SELECT id, name, price FROM products WHERE id = $1",
      });
      return [select];
    },
  });
  const other = random.pick(scene.fleet);
  const similar = planCall(scene, {
    from: front,
    to: other,
    startNs: lookup.startNs + 30 * microsecondNs,
    method: "GET",
    route: "/similar",
    path: "/similar",
    inside: (service, at) => [planRanking(scene, service, at)],
  });
  const fetched = lastEnd([lookup, similar], cache.endNs);
  const render = span({
    service: front,
    scope: "app",
    name: random.chance(0.2) ? "render Übersicht" : "render product",
    startNs: fetched + 20 * microsecondNs,
    endNs: fetched + random.integer(200, 4_000) * microsecondNs,
    attributes: {
      "shop.template": "product.html",
      "shop.template.partials": ["header", "price", "footer"],
      "shop.template.cached": random.chance(0.5),
    },
  });
  return planRequest(scene, front, {
    startNs: start,
    endNs: render.endNs + random.integer(20, 200) * microsecondNs,
    method: "GET",
    route: "/p/{slug}",
    path: `/p/teapot-${product}`,
    query: `q=${encodeURIComponent(term)}`,
    failureChance: 0.04,
    attributes: { "shop.search.term": term, "shop.customer.place": random.pick(places) },
    children: [cache, lookup, similar, render],
  });
}

/** An order: a payment that may be declined, a transaction, and a message that another service handles. */
function planCheckout(scene: Scene): PlannedSpan {
  const { random } = scene;
  const front = roleOf(scene, 0);
  const cents = random.integer(100, 90_000);
  const declined = random.chance(0.12);
  const pay = planCall(scene, {
    from: front,
    to: roleOf(scene, 3),
    startNs: random.integer(100, 500) * microsecondNs,
    method: "POST",
    route: "/charges",
    path: "/charges",
    failing: declined,
    inside: (service, at) => [planCharge(scene, service, at, cents, declined)],
  });
  const children: PlannedSpan[] = [pay];
  if (!declined) {
    const checkpoint = planCall(scene, {
      from: front,
      to: roleOf(scene, 2),
      startNs: pay.endNs + 60 * microsecondNs,
      method: "POST",
      route: "/orders",
      path: "/orders",
      inside: (service, at) => {
        const order = planOrder(scene, service, at);
        return [order, planPublish(scene, service, order.endNs + 30 * microsecondNs)];
      },
    });
    children.push(checkpoint);
  }
  return planRequest(scene, front, {
    startNs: 0,
    endNs: lastEnd(children, 0) + random.integer(50, 300) * microsecondNs,
    method: "POST",
    route: "/checkout",
    path: "/checkout",
    query: "",
    failureChance: 0.02,
    attributes: {
      "shop.order.total": cents / 100 + 0.005, // never a whole number: the SDK sends those as integers
      "shop.order.sequence": beyondSafeInteger + 2 * random.integer(0, 500),
      "shop.customer.balance_cents": -random.integer(1, 5_000),
      "shop.customer.returning": random.chance(0.6),
    },
    children,
  });
}

/** A consumer that polls several messages at once: a trace of its own, with links to those who sent them. */
function planQueueBatch(scene: Scene): PlannedSpan {
  const { random } = scene;
  const worker = roleOf(scene, 4);
  const messages = random.integer(1, 5);
  const weigh = span({
    service: worker,
    scope: "app",
    name: "weigh parcels",
    startNs: 300 * microsecondNs,
    endNs: random.integer(1, 20) * millisecondNs,
    attributes: {
      "shop.parcel.weights_kg": Array.from({ length: messages }, () => random.integer(1, 400) / 16 + 0.03125),
      "shop.parcel.counts": Array.from({ length: messages }, () => random.integer(1, 12)),
      "shop.parcel.fragile": Array.from({ length: messages }, () => random.chance(0.3)),
      "shop.parcel.destinations": Array.from({ length: messages }, () => random.pick(places)),
    },
  });
  const insert = planSql(scene, worker, weigh.endNs + 100 * microsecondNs, {
    operation: "INSERT",
    table: "parcels",
    text: "INSERT INTO parcels (id, weight_kg) VALUES ($1, $2)",
  });
  return span({
    service: worker,
    scope: "kafka",
    name: "poll orders",
    kind: SpanKind.CONSUMER,
    startNs: 0,
    endNs: insert.endNs + 80 * microsecondNs,
    attributes: {
      "messaging.system": "kafka",
      "messaging.destination.name": "orders",
      "messaging.operation.name": "poll",
      "messaging.operation.type": "receive",
      "messaging.consumer.group.name": "shipping",
      "messaging.batch.message_count": messages,
    },
    links: Array.from({ length: messages }, (_, index) => ({
      producersBack: index,
      attributes: {
        "messaging.kafka.offset": random.integer(0, 2 ** 31),
        "shop.redelivered": random.chance(0.1),
      },
    })),
    children: [weigh, insert],
  });
}

/** A scheduled job: no request at its root, long spans, statements one after another. */
function planNightlyJob(scene: Scene): PlannedSpan {
  const { random } = scene;
  const service = roleOf(scene, random.integer(1, 7));
  const children: PlannedSpan[] = [];
  let at = random.integer(1, 5) * millisecondNs;
  for (let step = random.integer(1, 4); step > 0; step--) {
    const statement = planSql(scene, service, at, {
      operation: random.pick(["SELECT", "DELETE", "UPDATE"]),
      table: random.pick(["sessions", "baskets", "stock"]),
      text: "DELETE FROM sessions WHERE seen < now() - interval '30 days' /* nächtlich */",
    });
    children.push(statement);
    at = statement.endNs + random.integer(100, 900) * microsecondNs;
  }
  const failed = random.chance(0.15);
  const failure = random.pick(failures[service.language]);
  return span({
    service,
    scope: "app",
    name: "nightly cleanup",
    startNs: 0,
    endNs: at + random.integer(1, 40) * millisecondNs,
    attributes: {
      "shop.job.attempt": random.integer(1, 3),
      "shop.job.progress": random.integer(1, 999) / 1_000 + 0.0001,
      "shop.job.settings": { dryRun: false, tables: ["sessions", "baskets"], batch: { rows: 500 } },
      ...(failed ? { "error.type": failure.type } : {}),
    },
    events: [
      { name: "job.checkpoint", atNs: at, attributes: { "shop.job.rows": random.integer(0, 100_000) } },
    ],
    exceptions: failed ? [{ failure, atNs: at }] : [],
    status: failed ? { code: "error", message: failure.message } : { code: "ok" },
    children,
  });
}

interface Request {
  readonly startNs: number;
  readonly endNs: number;
  readonly method: "GET" | "POST";
  readonly route: string;
  readonly path: string;
  readonly query: string;
  readonly failureChance: number;
  readonly attributes: Attributes;
  readonly children: readonly PlannedSpan[];
}

/** The server span that a visitor's request starts. */
function planRequest({ random }: Scene, service: Service, request: Request): PlannedSpan {
  const failed = random.chance(request.failureChance);
  const failure = random.pick(failures[service.language]);
  const status = failed ? 500 : request.method === "POST" ? 201 : random.chance(0.05) ? 404 : 200;
  return span({
    service,
    scope: "http",
    name: `${request.method} ${request.route}`,
    kind: SpanKind.SERVER,
    startNs: request.startNs,
    endNs: request.endNs,
    attributes: {
      "http.request.method": request.method,
      "http.route": request.route,
      "http.response.status_code": status,
      "http.request.header.accept": ["text/html", "application/json;q=0.9"],
      "url.scheme": "https",
      "url.path": request.path,
      ...(request.query === "" ? {} : { "url.query": request.query }),
      "server.address": "shop.example.com",
      "server.port": 443,
      "client.address": `203.0.113.${random.integer(1, 254)}`,
      "network.protocol.version": random.pick(["1.1", "2", "3"]),
      "user_agent.original": random.pick(userAgents),
      ...(failed ? { "error.type": failure.type } : {}),
      ...request.attributes,
    },
    exceptions: failed ? [{ failure, atNs: request.endNs - 10 * microsecondNs }] : [],
    status: failed ? { code: "error", message: failure.message } : { code: "unset" },
    children: request.children,
  });
}

interface Call {
  readonly from: Service;
  readonly to: Service;
  readonly startNs: number;
  readonly method: "GET" | "POST";
  readonly route: string;
  readonly path: string;
  readonly failing?: boolean;
  /** The spans inside the called service, given the time at which it began. */
  readonly inside: (service: Service, atNs: number) => readonly PlannedSpan[];
}

/** A call between two services: a client span and the server span that it causes. */
function planCall({ random }: Scene, call: Call): PlannedSpan {
  const arrived = call.startNs + random.integer(100, 900) * microsecondNs;
  const children = call.inside(call.to, arrived + random.integer(20, 200) * microsecondNs);
  const served = lastEnd(children, arrived) + random.integer(20, 300) * microsecondNs;
  const code = call.failing === true ? 502 : 200;
  const errorType = call.failing === true ? { "error.type": "502" } : {};
  const server = span({
    service: call.to,
    scope: "http",
    name: `${call.method} ${call.route}`,
    kind: SpanKind.SERVER,
    startNs: arrived,
    endNs: served,
    attributes: {
      "http.request.method": call.method,
      "http.route": call.route,
      "http.response.status_code": code,
      "url.scheme": "http",
      "url.path": call.path,
      "server.address": call.to.address,
      "server.port": 8080,
      ...errorType,
    },
    status: call.failing === true ? { code: "error", message: "" } : { code: "unset" },
    children,
  });
  return span({
    service: call.from,
    scope: "http",
    name: call.method,
    kind: SpanKind.CLIENT,
    startNs: call.startNs,
    endNs: served + random.integer(100, 900) * microsecondNs,
    attributes: {
      "http.request.method": call.method,
      "http.response.status_code": code,
      "http.request.resend_count": random.chance(0.05) ? 1 : 0,
      "url.full": `http://${call.to.address}:8080${call.path}`,
      "server.address": call.to.address,
      "server.port": 8080,
      ...errorType,
    },
    status: call.failing === true ? { code: "error", message: "Bad Gateway" } : { code: "unset" },
    children: [server],
  });
}

function planCache({ random }: Scene, service: Service, startNs: number, product: number): PlannedSpan {
  const hit = random.chance(0.7);
  const endNs = startNs + random.integer(80, 900) * microsecondNs;
  return span({
    service,
    scope: "redis",
    name: "GET",
    kind: SpanKind.CLIENT,
    startNs,
    endNs,
    attributes: {
      "db.system.name": "redis",
      "db.namespace": "0",
      "db.operation.name": "GET",
      "db.query.text": `GET product:${product}`,
      "server.address": "redis.shop.svc.cluster.local",
      "server.port": 6379,
      "shop.cache.hit": hit,
    },
    events: hit
      ? []
      : [{ name: "cache.miss", atNs: endNs, attributes: { "shop.cache.key": `product:${product}` } }],
  });
}

interface Statement {
  readonly operation: "SELECT" | "INSERT" | "UPDATE" | "DELETE";
  readonly table: string;
  readonly text: string;
}

function planSql({ random }: Scene, service: Service, startNs: number, statement: Statement): PlannedSpan {
  return span({
    service,
    scope: "sql",
    name: `${statement.operation} ${statement.table}`,
    kind: SpanKind.CLIENT,
    startNs,
    endNs: startNs + random.integer(200, 12_000) * microsecondNs,
    attributes: {
      "db.system.name": "postgresql",
      "db.namespace": "shop",
      "db.collection.name": statement.table,
      "db.operation.name": statement.operation,
      "db.query.summary": `${statement.operation} ${statement.table}`,
      "db.query.text": statement.text,
      "db.response.returned_rows": random.integer(0, 40),
      "server.address": "postgres.shop.svc.cluster.local",
      "server.port": 5432,
    },
  });
}

function planRanking({ random }: Scene, service: Service, startNs: number): PlannedSpan {
  return span({
    service,
    scope: "app",
    name: "rank similar",
    startNs,
    endNs: startNs + random.integer(500, 9_000) * microsecondNs,
    attributes: {
      "shop.ranking.scores": Array.from({ length: 4 }, () => random.fraction() / 2 + 0.0001),
      "shop.ranking.ids": Array.from({ length: 4 }, () => random.integer(1, 9_999)),
      // A mixed array, an empty value and bytes: what OTLP's AnyValue holds beyond the scalars.
      "shop.ranking.reason": ["bought together", random.integer(1, 9), 0.75, true],
      "shop.ranking.override": null,
      "shop.ranking.digest": Uint8Array.from({ length: 8 }, () => random.integer(0, 255)),
    },
    events: [
      {
        name: "model.loaded",
        atNs: startNs + 100 * microsecondNs,
        attributes: {
          "shop.model.name": "ähnlich-v3",
          "shop.model.layers": [64, 32, 8],
          "shop.model.dropout": 0.125,
          "shop.model.warm": random.chance(0.9),
          "shop.model.bytes": random.integer(1, 2 ** 31),
        },
      },
    ],
  });
}

function planCharge(
  { random }: Scene,
  service: Service,
  startNs: number,
  cents: number,
  declined: boolean,
): PlannedSpan {
  const endNs = startNs + random.integer(20, 240) * millisecondNs;
  const failure = random.pick(failures[service.language]);
  return span({
    service,
    scope: "app",
    name: "charge card",
    startNs,
    endNs,
    attributes: {
      "shop.charge.cents": cents,
      "shop.charge.currency": random.pick(["EUR", "JPY", "PLN"]),
      "shop.charge.risk": random.fraction() / 2 + 0.0001,
      ...(declined ? { "error.type": failure.type } : {}),
    },
    events: [{ name: "charge.attempt", atNs: startNs + millisecondNs, attributes: { "shop.charge.try": 1 } }],
    exceptions: declined ? [{ failure, atNs: endNs - 5 * microsecondNs }] : [],
    status: declined ? { code: "error", message: failure.message } : { code: "ok" },
  });
}

function planOrder(scene: Scene, service: Service, startNs: number): PlannedSpan {
  const insert = planSql(scene, service, startNs + 200 * microsecondNs, {
    operation: "INSERT",
    table: "orders",
    text: "INSERT INTO orders (id, customer, total) VALUES ($1, $2, $3)",
  });
  const update = planSql(scene, service, insert.endNs + 50 * microsecondNs, {
    operation: "UPDATE",
    table: "stock",
    text: "UPDATE stock SET left = left - $1 WHERE product = ANY($2)",
  });
  return span({
    service,
    scope: "app",
    name: "transaction",
    startNs,
    endNs: update.endNs + scene.random.integer(100, 2_000) * microsecondNs,
    attributes: { "shop.transaction.isolation": "serializable", "shop.transaction.retried": false },
    children: [insert, update],
  });
}

/** A message sent, and its handling in another service some time later, in the same trace. */
function planPublish(scene: Scene, service: Service, startNs: number): PlannedSpan {
  const { random } = scene;
  const mailer = roleOf(scene, 4);
  const endNs = startNs + random.integer(300, 3_000) * microsecondNs;
  const partition = String(random.integer(0, 11));
  const message = hex(random, 16);
  const handled = endNs + random.integer(1, 60) * millisecondNs;
  const failed = random.chance(0.08);
  const failure = random.pick(failures[mailer.language]);
  const mark = planSql(scene, mailer, handled + 400 * microsecondNs, {
    operation: "UPDATE",
    table: "mails",
    text: "UPDATE mails SET sent = true WHERE id = $1",
  });
  const process = span({
    service: mailer,
    scope: "kafka",
    name: "process orders",
    kind: SpanKind.CONSUMER,
    startNs: handled,
    endNs: mark.endNs + random.integer(1, 30) * millisecondNs,
    attributes: {
      "messaging.system": "kafka",
      "messaging.destination.name": "orders",
      "messaging.destination.partition.id": partition,
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.consumer.group.name": "mailer",
      "messaging.message.id": message,
      "messaging.kafka.offset": random.integer(0, 2 ** 40),
      ...(failed ? { "error.type": failure.type } : {}),
    },
    links: [{ producersBack: 0, attributes: {} }],
    exceptions: failed ? [{ failure, atNs: mark.endNs }] : [],
    status: failed ? { code: "error", message: failure.message } : { code: "unset" },
    children: [mark],
  });
  return span({
    service,
    scope: "kafka",
    name: "send orders",
    kind: SpanKind.PRODUCER,
    startNs,
    endNs,
    attributes: {
      "messaging.system": "kafka",
      "messaging.destination.name": "orders",
      "messaging.destination.partition.id": partition,
      "messaging.operation.name": "send",
      "messaging.operation.type": "send",
      "messaging.message.id": message,
      "messaging.message.body.size": random.integer(200, 4_000),
    },
    children: [process],
  });
}
