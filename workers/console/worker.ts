/**
 * The console: what an operator reads and asks for, as a JSON API behind an admin token, and the page that uses it. It
 * writes no rows and no payloads, only keys. A key for sending spans opens nothing here.
 */
import { Router } from "itty-router";
import * as v from "valibot";
import { StatementFailed } from "../../shared/clickhouse/ask.ts";
import { connectClickHouse, NotReached } from "../../shared/clickhouse/connection.ts";
import { metricsContentType } from "../../shared/console/metrics-text.ts";
import { DAY_MS, limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { carriesToken } from "./check-token.ts";
import { eraseSchema, forgetSchema, listDeadLetters, replaySchema, resolveSchema } from "./dead-letters.ts";
import { examineConsole } from "./examine-console.ts";
import { listFindings } from "./findings.ts";
import { health, neverAsked } from "./health.ts";
import { changeKey, createKey, listKeys, revokeKey, rotateKey, showKey } from "./keys.ts";
import { listPayloads } from "./list-payloads.ts";
import { pageFile } from "./page-files.ts";
import { readBalance } from "./read-balance.ts";
import { answer, issueText, readJson } from "./read-json.ts";
import { readMetrics } from "./read-metrics.ts";
import { minutesQuerySchema, readMinutes } from "./read-minutes.ts";
import { readOutcomes } from "./read-outcomes.ts";
import { readPayload } from "./read-payload.ts";
import { payloadSpansQuerySchema, readPayloadSpans } from "./read-payload-spans.ts";
import { readTrace } from "./read-trace.ts";
import { readUsage } from "./read-usage.ts";
import { readWatermark } from "./read-watermark.ts";

// One per Worker instance.
const lastHealth = neverAsked();

function clickHouseOf(env: ConsoleBindings) {
  return connectClickHouse(env, env.CLICKHOUSE, fetch, "read_only");
}

function unauthorized(secret: string): Response {
  const refusal = answer(401, {
    error: `The ${secret} is missing or wrong: send \`Authorization: Bearer …\`.`,
  });
  refusal.headers.set("www-authenticate", 'Bearer realm="headrace console"');
  return refusal;
}

/** The `hours` of a question, or the answer that they are none. */
function hoursOf(request: Request, otherwise: number): number | Response {
  const hours = Number(new URL(request.url).searchParams.get("hours") ?? otherwise);
  return hours > 0 && hours <= limits.hoursMax
    ? hours
    : answer(400, { error: `hours must be a number above 0 and at most ${limits.hoursMax}` });
}

/** The `tenant` of a question; undefined: every tenant. */
function tenantOf(request: Request): string | undefined {
  return new URL(request.url).searchParams.get("tenant") ?? undefined;
}

async function balance(request: Request, env: ConsoleBindings): Promise<Response> {
  const hours = hoursOf(request, 24);
  if (typeof hours !== "number") {
    return hours;
  }
  const since = Date.now() - (hours / 24) * DAY_MS;
  return answer(200, await readBalance(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, since));
}

async function outcomes(request: Request, env: ConsoleBindings): Promise<Response> {
  const hours = hoursOf(request, 1);
  if (typeof hours !== "number") {
    return hours;
  }
  const by = new URL(request.url).searchParams.get("by");
  if (by !== null && by !== "minute") {
    return answer(400, { error: "by must be minute, or left out for one sum of the whole time" });
  }
  const sinceMs = Date.now() - (hours / 24) * DAY_MS;
  const question = { sinceMs, tenant: tenantOf(request), byMinute: by === "minute" };
  return answer(200, await readOutcomes(clickHouseOf(env), question));
}

async function usage(request: Request, env: ConsoleBindings): Promise<Response> {
  const days = Number(new URL(request.url).searchParams.get("days") ?? 31);
  if (!(Number.isInteger(days) && days >= 1 && days <= limits.usageDaysMax)) {
    return answer(400, { error: `days must be a whole number from 1 to ${limits.usageDaysMax}` });
  }
  const since = new Date(Date.now() - (days - 1) * DAY_MS).toISOString().slice(0, 10);
  return answer(200, await readUsage(clickHouseOf(env), env.METER, since, tenantOf(request)));
}

/** Answers a POST: 400 for a body that is not as `schema` says, else what `act` made of it. */
function post<S extends v.GenericSchema>(
  schema: S,
  act: (env: ConsoleBindings, asked: v.InferOutput<S>) => Promise<object>,
) {
  return async (request: Request, env: ConsoleBindings): Promise<Response> => {
    const asked = await readJson(request, schema);
    return typeof asked === "string" ? answer(400, { error: asked }) : answer(200, await act(env, asked));
  };
}

/** A string is why there is no answer. */
async function found(reading: Promise<object | string>): Promise<Response> {
  const read = await reading;
  return typeof read === "string" ? answer(400, { error: read }) : answer(200, read);
}

function parameter(request: Request, name: string): string {
  return new URL(request.url).searchParams.get(name) ?? "";
}

/** Answers a GET: 400 for a query that is not as `schema` says, else what `read` gave; a string is a 404's reason. */
function get<S extends v.GenericSchema>(
  schema: S,
  read: (env: ConsoleBindings, asked: v.InferOutput<S>) => Promise<object | string>,
) {
  return async (request: Request, env: ConsoleBindings): Promise<Response> => {
    const asked = v.safeParse(schema, Object.fromEntries(new URL(request.url).searchParams));
    if (!asked.success) {
      return answer(400, { error: issueText(asked.issues[0]) });
    }
    const found = await read(env, asked.output);
    return typeof found === "string" ? answer(404, { error: found }) : answer(200, found);
  };
}

const router = Router<Request, [ConsoleBindings]>()
  .get("/", (request, env) => pageFile(request, env.ASSETS))
  .get("/assets/*", (request, env) => pageFile(request, env.ASSETS))
  .get("/healthz", (_request, env) => health(env.CONSUMER, lastHealth, Date.now()))
  .get("/metrics", async (request, env) =>
    (await carriesToken(request, [env.METRICS_TOKEN, env.ADMIN_TOKEN]))
      ? new Response(await readMetrics(clickHouseOf(env), env.CONSUMER, Date.now()), {
          headers: { "content-type": metricsContentType },
        })
      : unauthorized("metrics token"),
  )
  .all("/api/*", async (request, env) => {
    return (await carriesToken(request, [env.ADMIN_TOKEN])) ? undefined : unauthorized("admin token");
  })
  .get("/api/balance", balance)
  .get("/api/watermark", async (_request, env) => answer(200, await readWatermark(env.CONSUMER, Date.now())))
  .get(
    "/api/minutes",
    get(minutesQuerySchema, (env, asked) => readMinutes(clickHouseOf(env), env.CONSUMER, asked, Date.now())),
  )
  .get("/api/in-flight", async (_request, env) => answer(200, await env.CONSUMER.inFlight()))
  .get(
    "/api/payload-spans",
    get(payloadSpansQuerySchema, (env, { key }) => readPayloadSpans(env.PAYLOADS, key)),
  )
  .get("/api/about", (_request, env) => answer(200, { otlp: env.OTLP_ENDPOINT ?? "" }))
  .get("/api/findings", async (_request, env) =>
    Response.json(await listFindings(clickHouseOf(env), env.CONSUMER)),
  )
  .get("/api/status", async (_request, env) => Response.json(await env.CONSUMER.status()))
  .post("/api/reconcile", async (_request, env) => Response.json(await env.CONSUMER.reconcile()))
  .get("/api/dead-letters", async (_request, env) => Response.json(await listDeadLetters(clickHouseOf(env))))
  .post(
    "/api/replay",
    post(replaySchema, (env, { keys }) => env.CONSUMER.replay(keys)),
  )
  .post(
    "/api/forget",
    post(forgetSchema, (env, { keys }) => env.CONSUMER.forget(keys)),
  )
  .post(
    "/api/erase",
    post(eraseSchema, (env, { keys, reason }) => env.CONSUMER.erase(keys, reason)),
  )
  .post(
    "/api/resolve",
    post(resolveSchema, async (env, { key, how }) => ({ resolved: await env.CONSUMER.resolve(key, how) })),
  )
  .post("/api/accept-table", async (_request, env) => {
    await env.CONSUMER.acceptTable();
    return answer(200, { accepted: true });
  })
  .get("/api/outcomes", outcomes)
  .get("/api/usage", usage)
  .get("/api/payload", (request, env) =>
    found(readPayload(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, parameter(request, "id"))),
  )
  .get("/api/payloads", (request, env) => {
    const [tenant, after] = [parameter(request, "tenant"), parameter(request, "after")];
    return found(listPayloads(env.PAYLOADS, clickHouseOf(env), env.CONSUMER, tenant, after));
  })
  .get("/api/trace", (request, env) => found(readTrace(clickHouseOf(env), parameter(request, "id"))))
  .get("/api/doctor", async (_request, env) => answer(200, await examineConsole(env, clickHouseOf(env))))
  .get("/api/keys", listKeys)
  .post("/api/keys", createKey)
  .get("/api/keys/:id", showKey)
  .patch("/api/keys/:id", changeKey)
  .post("/api/keys/:id/rotate", rotateKey)
  .post("/api/keys/:id/revoke", revokeKey)
  .all("*", () =>
    answer(404, {
      error:
        "Nothing is here. GET /, /healthz, /metrics, /api/watermark, /api/minutes, /api/in-flight, /api/balance, /api/findings, /api/status, /api/dead-letters, /api/payload, /api/payload-spans, /api/payloads, /api/trace, /api/outcomes, /api/usage, /api/about, /api/doctor, /api/keys; POST /api/reconcile, /api/replay, /api/forget, /api/erase, /api/resolve, /api/accept-table, /api/keys.",
    }),
  );

/** What could not be reached, where it is, and what was said. */
function dependencyText(error: unknown): string {
  if (error instanceof NotReached) {
    return `${error.message}; what it would tell is not known now, and nothing is lost.`;
  }
  return error instanceof StatementFailed
    ? `ClickHouse did not answer the question: ${error.message}`
    : `R2, KV or a Durable Object did not answer: ${error instanceof Error ? error.message : String(error)}`;
}

export default {
  async fetch(request, env) {
    try {
      return await router.fetch(request, env);
    } catch (error) {
      writeLog("error", { message: "the console could not answer" }, error);
      return answer(503, { error: dependencyText(error) });
    }
  },
} satisfies ExportedHandler<ConsoleBindings>;
