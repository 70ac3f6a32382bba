/**
 * The console's router: each route of the contract (shared/console/routes.ts) with what answers it, behind the admin
 * token, and the routes whose answers are not JSON.
 */
import { Router } from "itty-router";
import { metricsContentType } from "../../shared/console/metrics-text.ts";
import {
  type PlainRouteName,
  plainRouteNames,
  type RouteName,
  routeNames,
} from "../../shared/console/routes.ts";
import type { LedgerStatus } from "../../shared/delivery/ledger-status.ts";
import { DAY_MS, HOUR_MS } from "../../shared/limits.ts";
import { listActions } from "./actions.ts";
import { answer, answerRequest, type Handler } from "./answer-request.ts";
import { listDeadLetters } from "./dead-letters.ts";
import { checkToken, letIn, newEntrance } from "./entrance.ts";
import { examineConsole } from "./examine-console.ts";
import { listFindings } from "./findings.ts";
import { health, neverAsked } from "./health.ts";
import { changeKey, createKey, listKeys, revokeKey, rotateKey, showKey } from "./keys.ts";
import { listMinutePayloads } from "./list-minute-payloads.ts";
import { listPayloads } from "./list-payloads.ts";
import { clickHouseOf, type NamedBindings } from "./name-dependencies.ts";
import { openApiFile, pageFile } from "./page-files.ts";
import { probeDependencies } from "./probe-dependencies.ts";
import { readBalance } from "./read-balance.ts";
import { readMetrics } from "./read-metrics.ts";
import { readMinutes } from "./read-minutes.ts";
import { readOutcomes } from "./read-outcomes.ts";
import { readPayload } from "./read-payload.ts";
import { readPayloadSpans } from "./read-payload-spans.ts";
import { readUsage } from "./read-usage.ts";
import { readWatermark } from "./read-watermark.ts";
import { traceHandlers } from "./trace-requests.ts";
import { nothingRemembered } from "./trace-search.ts";

// One per Worker instance.
const lastHealth = neverAsked();
const entrance = newEntrance();
const traces = traceHandlers(nothingRemembered());

/** What the ledger says of itself, with what else turns clients away. */
async function status(env: NamedBindings, now: number): Promise<LedgerStatus> {
  const [unreachable, said] = await Promise.all([
    probeDependencies(env, lastHealth.probe, now),
    env.CONSUMER.status(),
  ]);
  const trouble = [said.trouble, ...unreachable.map(({ text }) => text)].filter((text) => text !== "");
  return { ...said, trouble: trouble.join(" ") };
}

async function metrics(env: NamedBindings, now: number): Promise<string> {
  const probing = probeDependencies(env, lastHealth.probe, now);
  return await readMetrics(clickHouseOf(env), env.CONSUMER, probing, now);
}

/** What each route of the contract is answered by. */
const handlers: { readonly [N in RouteName]: Handler<N> } = {
  "GET /api/about": async (_asked, env) => ({ otlp: env.OTLP_ENDPOINT ?? "" }),
  "GET /api/actions": async ({ query, now }, env) =>
    await listActions(env.PAYLOADS, now - query.hours * HOUR_MS),
  "GET /api/balance": async ({ query, now }, env) =>
    await readBalance(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, now - query.hours * HOUR_MS),
  "GET /api/dead-letters": async (_asked, env) =>
    await listDeadLetters(env.PAYLOADS, clickHouseOf(env), env.CONSUMER),
  "GET /api/doctor": async (_asked, env) => await examineConsole(env, clickHouseOf(env)),
  "GET /api/findings": async (_asked, env) => await listFindings(clickHouseOf(env), env.CONSUMER),
  "GET /api/in-flight": async (_asked, env) => await env.CONSUMER.inFlight(),
  "GET /api/keys": async (asked, env) => await listKeys(asked, env.KEYS),
  "GET /api/keys/:id": async (asked, env) => await showKey(asked, env.KEYS),
  "GET /api/minute-payloads": async ({ query }, env) =>
    await listMinutePayloads(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, query.minute),
  "GET /api/minutes": async ({ query, now }, env) =>
    await readMinutes(clickHouseOf(env), env.CONSUMER, query, now),
  "GET /api/outcomes": async ({ query, now }, env) =>
    await readOutcomes(clickHouseOf(env), {
      sinceMs: now - query.hours * HOUR_MS,
      tenant: query.tenant,
      byMinute: query.by === "minute",
    }),
  "GET /api/payload": async ({ query }, env) =>
    await readPayload(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, query.id),
  "GET /api/payload-spans": async ({ query: { key, trace = null } }, env) =>
    await readPayloadSpans(env.PAYLOADS, key, trace),
  "GET /api/payloads": async ({ query, now }, env) =>
    await listPayloads(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, query.tenant, query.after, now),
  "GET /api/status": async ({ now }, env) => await status(env, now),
  "GET /api/trace": async ({ query: { id: traceId, tenant = null } }, env) =>
    await traces.trace(clickHouseOf(env), { traceId, tenant }),
  "GET /api/trace-shape": async ({ query: { id: traceId, tenant = null } }, env) =>
    await traces.shape(clickHouseOf(env), { traceId, tenant }),
  "GET /api/trace-span": async ({ query: { trace: traceId, span, tenant = null } }, env) =>
    await traces.span(clickHouseOf(env), { traceId, span, tenant }),
  "GET /api/trace-times": async ({ query, now }, env) => await traces.times(clickHouseOf(env), query, now),
  "GET /api/trace-values": async ({ query, now }, env) => await traces.values(clickHouseOf(env), query, now),
  "GET /api/traces": async ({ query, now }, env) => await traces.list(clickHouseOf(env), query, now),
  "GET /api/usage": async ({ query: { days, tenant }, now }, env) => {
    const since = new Date(now - (days - 1) * DAY_MS).toISOString().slice(0, 10);
    return await readUsage(clickHouseOf(env), env.METER, since, tenant);
  },
  "GET /api/watermark": async ({ now }, env) => await readWatermark(env.CONSUMER, now),
  "POST /api/accept-table": async (_asked, env) => {
    await env.CONSUMER.acceptTable();
    return { accepted: true };
  },
  "POST /api/erase": async ({ body }, env) => await env.CONSUMER.erase(body.keys, body.reason),
  "POST /api/forget": async ({ body }, env) => await env.CONSUMER.forget(body.keys),
  "POST /api/keys": async (asked, env) => await createKey(asked, env.KEYS),
  "POST /api/keys/:id/revoke": async (asked, env) => await revokeKey(asked, env.KEYS),
  "POST /api/keys/:id/rotate": async (asked, env) => await rotateKey(asked, env.KEYS),
  "POST /api/reconcile": async (_asked, env) => {
    const report = await env.CONSUMER.reconcile();
    return report === null ? null : { ...report, watermark: new Date(report.watermark).toISOString() };
  },
  "POST /api/replay": async ({ body }, env) => await env.CONSUMER.replay(body.keys),
  "POST /api/resolve": async ({ body }, env) => ({
    resolved: await env.CONSUMER.resolve(body.key, body.how),
  }),
  "PATCH /api/keys/:id": async (asked, env) => await changeKey(asked, env.KEYS),
};

const plainHandlers: {
  readonly [N in PlainRouteName]: (request: Request, env: NamedBindings) => Promise<Response>;
} = {
  "GET /": async (request, env) => await pageFile(request, env.ASSETS),
  "GET /assets/*": async (request, env) => await pageFile(request, env.ASSETS),
  "GET /healthz": async (_request, env) => await health(env, lastHealth, Date.now()),
  "GET /metrics": async (request, env) => {
    const tokens = [env.METRICS_TOKEN, env.ADMIN_TOKEN];
    const now = Date.now();
    const refused = await checkToken(request, env, entrance, tokens, "metrics token", now);
    return (
      refused ?? new Response(await metrics(env, now), { headers: { "content-type": metricsContentType } })
    );
  },
  "GET /api/openapi.json": async (request, env) => await openApiFile(request, env.ASSETS),
};

export const router = Router<Request, [NamedBindings]>().all("/api/*", async (request, env) => {
  const letInAs = await letIn(request, env, entrance, Date.now());
  if (letInAs instanceof Response) {
    return letInAs;
  }
  env.who = letInAs.who;
  return undefined;
});

function add(name: string, act: (request: Request, env: NamedBindings) => Promise<Response>): void {
  const [method, path = ""] = name.split(" ");
  const to = method === "GET" ? router.get : method === "POST" ? router.post : router.patch;
  to(path, act);
}

function addRoute<N extends RouteName>(name: N): void {
  add(name, async (request, env) => await answerRequest(name, handlers[name], request, env));
}

for (const name of routeNames) {
  addRoute(name);
}
for (const name of plainRouteNames) {
  add(name, plainHandlers[name]);
}
router.all("*", () =>
  answer(404, { error: `No such endpoint. ${[...plainRouteNames, ...routeNames].join(", ")}.` }),
);
