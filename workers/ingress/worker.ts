/**
 * The ingress: OTLP/HTTP traces in, payloads in R2 out. It holds no ClickHouse secret and cannot read receipts.
 *
 * It promises that a request answered 200 is in R2 (or held no span), that nothing of a refused request is stored,
 * and that no failure of ours is answered with a status that exporters do not retry. Bringing the payload into
 * ClickHouse is the consumer's.
 *
 * This is its edge: which path is asked, and the one place that words and counts what came of a request.
 */
import { ok, type Result, refuse } from "../../shared/result.ts";
import { writeLog } from "../../shared/write-log.ts";
import { accepted, encoded, healthy, refused, type Success } from "./answer.ts";
import type { IngressBindings } from "./bindings.ts";
import { answerType } from "./content.ts";
import { addCorsHeaders, preflight } from "./cors.ts";
import { Deadline } from "./deadline.ts";
import { drainBody } from "./read-body.ts";
import { type Asked, receiveTraces } from "./receive-traces.ts";
import type { Refusal } from "./refusal.ts";
import { OutcomeReport } from "./report-outcomes.ts";
import { Tally } from "./tally.ts";
import { wordRefusal } from "./word-refusal.ts";

/** One per Worker instance, shared by its requests. */
const outcomes = new OutcomeReport();

const tracesPath = "/v1/traces";

/** What came of a request: of a POST of traces, or of another that is not a mistake. */
type Ended = Success | "preflight" | "healthy";

/** Whether a request is the one that nearly all are: its URL need not be taken apart. */
function postsTraces({ method, url }: Request): boolean {
  // The path begins at the first slash behind `https://` and a host's first character.
  return (
    method === "POST" && url.endsWith(tracesPath) && url.indexOf("/", 8) === url.length - tracesPath.length
  );
}

/** Every other request. A preflight is answered on any path: a page whose URL is wrong could not read our 404 else. */
async function route(asked: Asked): Promise<Result<Ended, Refusal>> {
  const { method, url } = asked.request;
  if (method === "OPTIONS") {
    return ok("preflight");
  }
  const path = pathOf(url);
  switch (path) {
    case tracesPath: {
      if (method === "POST") {
        return await receiveTraces(asked);
      }
      return refuse({ reason: "wrong_method", method });
    }
    case "/healthz":
      // RFC 9110 section 9.3.2: HEAD answers as GET does; the platform leaves the body out.
      if (method === "GET" || method === "HEAD") {
        return ok("healthy");
      }
  }
  return refuse({ reason: "unknown_path", path });
}

/**
 * The path as clients mean it. A base endpoint that ends in a slash becomes `//v1/traces` in many exporters; the
 * Collector redirects there, and a redirect costs a POST its body in some clients.
 */
function pathOf(url: string): string {
  const path = new URL(url).pathname.replace(/\/{2,}/g, "/");
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** Runs the request. Whatever breaks is our fault: the exporter must retry, and must not learn our internals. */
async function handle(asked: Asked): Promise<Result<Ended, Refusal>> {
  try {
    return postsTraces(asked.request) ? await receiveTraces(asked) : await route(asked);
  } catch (error) {
    writeLog("error", { outcome: "unavailable", reason: "internal" }, error);
    return refuse({ reason: "internal" });
  }
}

async function answer(asked: Asked): Promise<Response> {
  const { request, tally } = asked;
  const ended = await handle(asked);
  const response = ended.ok ? answerTo(ended.value, request, tally) : await refusal(ended.refusal, asked);
  addCorsHeaders(request.headers, response.headers);
  return await encoded(request, response);
}

function answerTo(ended: Ended, request: Request, tally: Tally): Response {
  switch (ended) {
    case "preflight":
      return preflight(request.headers);
    case "healthy":
      return healthy();
    default:
      tally.end(ended.outcome, ended.reason);
      return accepted(ended.type, ended.partial, ended.headers);
  }
}

async function refusal(why: Refusal, { request, tally }: Asked): Promise<Response> {
  const { reason, rejectedSpans = 0 } = why;
  const message = wordRefusal(why);
  tally.refused(reason);
  tally.rejectedSpans = rejectedSpans;
  await drainBody(request);
  if (reason !== "internal") {
    outcomes.log({ outcome: tally.outcome ?? "", reason, message });
  }
  return refused(answerType(request.headers), why, message);
}

export { Collector } from "./collector-object.ts";
export { Meter } from "./meter-object.ts";

export default {
  async fetch(request, env, ctx) {
    const asked = { request, env, ctx, tally: new Tally(), deadline: new Deadline() };
    const response = await answer(asked);
    asked.deadline.end();
    outcomes.count(asked.tally, env.OUTCOMES, ctx, Date.now());
    return response;
  },
} satisfies ExportedHandler<IngressBindings>;
