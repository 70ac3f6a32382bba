/**
 * The ingress: OTLP/HTTP traces in, payloads in R2 out. It holds no ClickHouse secret and cannot read receipts.
 *
 * It promises that a request answered 200 is in R2 (or held no span), that nothing of a refused request is stored,
 * and that no failure of ours is answered with a status that exporters do not retry. Bringing the payload into
 * ClickHouse is the consumer's.
 */
import { ByteBudget } from "../../shared/byte-budget.ts";
import { type Acceptance, acceptPayload } from "../../shared/delivery/acceptance.ts";
import { perform } from "../../shared/effect.ts";
import { limits } from "../../shared/limits.ts";
import { countsOf, type PayloadMetadata } from "../../shared/messages.ts";
import {
  type Inspection,
  partialMessage,
  rejectionMessage,
  type SpanBounds,
} from "../../shared/otlp/inspect.ts";
import { repairsCount } from "../../shared/otlp/repairs.ts";
import { sampleThreshold } from "../../shared/otlp/sample-threshold.ts";
import { formatPayloadKey, payloadId } from "../../shared/payload-key.ts";
import { spanAges, type TableLimits } from "../../shared/table-limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import { accepted, encoded, refused } from "./answer.ts";
import { authenticate, KeyMemory, type Sender } from "./authenticate.ts";
import type { IngressBindings } from "./bindings.ts";
import { checkPayload } from "./check-payload.ts";
import { answerType, type Content, readContent } from "./content.ts";
import { addCorsHeaders, originAllowed, preflight } from "./cors.ts";
import { Deadline } from "./deadline.ts";
import { acceptancePerformer, NotifiedKeys } from "./perform-acceptance.ts";
import { drainBody, readBody } from "./read-body.ts";
import type { Refusal } from "./refusal.ts";
import { OutcomeReport } from "./report-outcomes.ts";
import { type Admission, type Leases, overLimit, spendSpans } from "./spend-spans.ts";
import { TableMemory } from "./table-memory.ts";
import { Tally } from "./tally.ts";

// One a Worker instance, shared by its requests.
const keyMemory = new KeyMemory();
const tableMemory = new TableMemory();
const leases: Leases = new Map();
const outcomes = new OutcomeReport();
const notifiedKeys = new NotifiedKeys();
const bodyBudgets = {
  budget: new ByteBudget(limits.ingressBytesInHandMax, limits.ingressKeyBytesMax),
  announced: new ByteBudget(limits.announcedBytesMax),
};

/** A body without spans that is longer than this is most likely a mistake (fields of other names, say): it gets a warning. */
const emptyBodyBytesQuiet = 100;

/** The story of one request. */
async function receiveTraces(
  request: Request,
  env: IngressBindings,
  ctx: ExecutionContext,
  tally: Tally,
  deadline: Deadline,
): Promise<Response> {
  const content = readContent(request.headers);
  if (!content.ok) {
    return await refuseRequest(request, content.refusal, tally);
  }
  const key = await authenticate(request.headers, env, keyMemory, Date.now(), tally);
  if (!key.ok) {
    return await refuseRequest(request, key.refusal, tally);
  }
  if (!originAllowed(request.headers, key.value.record)) {
    const origin = request.headers.get("origin");
    return await refuseRequest(
      request,
      {
        reason: "forbidden_origin",
        message: `The API key "${key.value.record.name}" may not be used by pages of ${origin?.slice(0, 200)}.`,
      },
      tally,
    );
  }
  const over = overLimit(key.value, leases, Date.now());
  if (over !== undefined) {
    return await refuseRequest(request, over, tally);
  }
  const table = await tableMemory.read(env.PAYLOADS, Date.now(), deadline);
  const receive = async (): Promise<Response> => {
    const body = await readBody(request, { ...bodyBudgets, holder: key.value.id }, deadline);
    return body.ok
      ? await receiveBody(request, body.value, content.value, key.value, table, env, ctx, tally, deadline)
      : await refuseRequest(request, body.refusal, tally);
  };
  const received = receive();
  // A client that hangs up would otherwise end the work here and now, and with it whatever gives back what it holds.
  ctx.waitUntil(received.catch(() => undefined));
  return await received;
}

/** The second half of the story: from the bytes on. `body` is released exactly once. */
async function receiveBody(
  request: Request,
  body: { readonly bytes: Uint8Array; readonly release: () => void },
  content: Content,
  sender: Sender,
  table: TableLimits,
  env: IngressBindings,
  ctx: ExecutionContext,
  tally: Tally,
  deadline: Deadline,
): Promise<Response> {
  const { tenant } = sender.record;
  let stored: Promise<Response>;
  try {
    tally.bytes = body.bytes.length;
    const arrival = Date.now(); // the body is complete; the put follows at once, or after a call to the Meter
    const bounds = spanBounds(arrival, sender.record.sample, table);
    const checked = checkPayload(body.bytes, content, bounds);
    if (!checked.ok) {
      body.release();
      return await refuseRequest(request, checked.refusal, tally);
    }
    const { inspection, inflatedBytes, repairedTexts } = checked.value;
    tally.spans = inspection.spans;
    tally.rejectedSpans = inspection.rejectedSpans;
    tally.sampledSpans = inspection.sampledSpans;
    if (inspection.spans === 0) {
      body.release();
      return answerNothing(content, inspection, inflatedBytes, tally);
    }
    const admission = await spendSpans(sender, inspection.spans, env.METER, leases, Date.now(), tally);
    if (!admission.ok) {
      body.release();
      return await refuseRequest(request, admission.refusal, tally);
    }
    stored = store(
      {
        version: "1",
        type: content.type,
        encoding: content.encoding,
        spans: inspection.spans,
        rejectedSpans: inspection.rejectedSpans,
        inflatedBytes,
        outputBytes: inspection.outputBytes,
        arrival,
        oldestDay: inspection.oldestDay,
        ...bounds,
        repairs: repairsCount(inspection.repairs),
        repairedTexts,
      },
      partialMessage(inspection),
      admission.value,
    );
  } catch (error) {
    body.release();
    throw error;
  }
  ctx.waitUntil(stored.then(body.release, body.release));
  return await stored;

  async function store(metadata: PayloadMetadata, message: string, admission: Admission): Promise<Response> {
    const id = await payloadId(tenant, content.type, content.encoding, body.bytes);
    const payload = formatPayloadKey(metadata.arrival, tenant, id);
    const waitUntil = (promise: Promise<unknown>): void => ctx.waitUntil(promise);
    const cameEarlier = notifiedKeys.hasEarlier(payload, id);
    const acceptance = await perform(
      acceptPayload(payload, countsOf(metadata), notifiedKeys.has(payload, id)),
      acceptancePerformer(env.PAYLOADS, env.RING, body.bytes, metadata, notifiedKeys, deadline, waitUntil),
    );
    if (acceptance.kind !== "created") {
      admission.giveBack();
    }
    if (acceptance.kind === "unreachable") {
      return await refuseRequest(
        request,
        {
          reason: "store_unreachable",
          message: "The payload could not be stored at this moment. Try again.",
        },
        tally,
      );
    }
    const isDuplicate = acceptance.kind === "duplicate" || cameEarlier;
    if (isDuplicate) {
      writeLog("log", { outcome: "accepted", payload, duplicate: true });
    }
    if (metadata.repairs !== 0) {
      log("accepted", { payload, repairs: metadata.repairs, message });
    }
    tally.end("accepted", admission.metered ? acceptance.kind : "unmetered");
    return accepted(content.type, partialSuccess(metadata, message, acceptance), {
      "x-headrace-payload": id,
      ...(isDuplicate ? { "x-headrace-duplicate": "1" } : {}),
    });
  }
}

/**
 * What the client is told: of spans that were refused, of what was repaired, and of spans that are not stored because equal
 * bytes, which came first, do not have them: their key kept a smaller share of the traces.
 */
function partialSuccess(metadata: PayloadMetadata, message: string, acceptance: Acceptance) {
  const stored = acceptance.kind === "duplicate" ? (acceptance.spans ?? metadata.spans) : metadata.spans;
  const missing = Math.max(0, metadata.spans - stored);
  const before = `These bytes were stored before, with ${stored} of their ${metadata.spans} spans: their key kept another share of the traces.`;
  const errorMessage = [message, missing > 0 ? before : ""].filter((text) => text !== "").join(" ");
  return errorMessage === "" ? undefined : { rejectedSpans: metadata.rejectedSpans + missing, errorMessage };
}

/** A request that holds no span, or whose good ones were all sampled out, is a success (OTLP: an empty one is). */
function answerNothing(
  content: Content,
  inspection: Inspection,
  inflatedBytes: number,
  tally: Tally,
): Response {
  const { rejectedSpans, sampledSpans } = inspection;
  if (sampledSpans > 0) {
    tally.end("sampled", "all_spans");
    return accepted(
      content.type,
      rejectedSpans === 0 ? undefined : { rejectedSpans, errorMessage: rejectionMessage(inspection) },
    );
  }
  tally.end("empty", inflatedBytes <= emptyBodyBytesQuiet ? "no_spans" : "no_spans_in_a_body");
  log("empty", { inflatedBytes });
  if (inflatedBytes <= emptyBodyBytesQuiet) {
    return accepted(content.type);
  }
  return accepted(content.type, {
    rejectedSpans: 0,
    errorMessage: `The body of ${inflatedBytes} bytes holds no span. Are the fields named as in OTLP (resourceSpans, scopeSpans, spans)?`,
  });
}

/**
 * Which spans a payload may have. Times: older ones would fall out of the table, later ones are a wrong clock.
 * Traces: the share that the key keeps.
 */
function spanBounds(arrival: number, sample: number, table: TableLimits) {
  const ages = spanAges(table);
  return {
    startMinMs: arrival - ages.start,
    endMinMs: arrival - ages.end,
    startMaxMs: arrival + limits.spanFutureMaxMs,
    sampleThreshold: sampleThreshold(sample),
  } satisfies SpanBounds;
}

async function refuseRequest(request: Request, refusal: Refusal, tally: Tally): Promise<Response> {
  tally.refused(refusal.reason);
  tally.rejectedSpans = refusal.rejectedSpans ?? 0;
  await drainBody(request);
  log(tally.outcome ?? "", { reason: refusal.reason, message: refusal.message });
  return refused(answerType(request.headers), refusal);
}

function log(outcome: string, fields: object): void {
  writeLog("warn", { outcome, ...fields });
}

const tracesPath = "/v1/traces";

/**
 * The path as clients mean it. A base endpoint that ends in a slash becomes `//v1/traces` in many exporters; the
 * Collector redirects there, and a redirect costs a POST its body in some clients.
 */
function pathOf(url: string): string {
  const path = new URL(url).pathname.replace(/\/{2,}/g, "/");
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

/** Every other request. A preflight is answered on any path: a page whose URL is wrong could not read our 404 else. */
async function route(
  request: Request,
  env: IngressBindings,
  ctx: ExecutionContext,
  tally: Tally,
  deadline: Deadline,
): Promise<Response> {
  const { method, headers } = request;
  if (method === "OPTIONS") {
    return preflight(headers);
  }
  const path = pathOf(request.url);
  switch (path) {
    case tracesPath: {
      if (method === "POST") {
        return await receiveTraces(request, env, ctx, tally, deadline);
      }
      const message = `${method} is not taken here: POST an ExportTraceServiceRequest.`;
      return await refuseRequest(request, { reason: "wrong_method", message }, tally);
    }
    case "/healthz":
      // RFC 9110 section 9.3.2: HEAD answers as GET does; the platform leaves the body out.
      if (method === "GET" || method === "HEAD") {
        return new Response("ok\n", { headers: { "content-type": "text/plain" } });
      }
  }
  return await refuseRequest(request, { reason: "unknown_path", message: nothingAt(path) }, tally);
}

function nothingAt(path: string): string {
  switch (path) {
    case "/v1/logs":
    case "/v1/metrics": {
      const signal = path.slice("/v1/".length);
      return `Headrace takes traces at /v1/traces; it does not take ${signal}. Set OTEL_${signal.toUpperCase()}_EXPORTER=none in the exporter.`;
    }
    default:
      return `Nothing is at ${path.slice(0, 200)}: POST traces to /v1/traces. (OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT does not.)`;
  }
}

/** Whether a request is the one that nearly all are: its URL need not be taken apart. */
function postsTraces({ method, url }: Request): boolean {
  // The path begins at the first slash behind `https://` and a host's first character.
  return (
    method === "POST" && url.endsWith(tracesPath) && url.indexOf("/", 8) === url.length - tracesPath.length
  );
}

async function answer(
  request: Request,
  env: IngressBindings,
  ctx: ExecutionContext,
  tally: Tally,
  deadline: Deadline,
): Promise<Response> {
  try {
    const response = postsTraces(request)
      ? await receiveTraces(request, env, ctx, tally, deadline)
      : await route(request, env, ctx, tally, deadline);
    addCorsHeaders(request.headers, response.headers);
    return await encoded(request, response);
  } catch (error) {
    // Whatever breaks here is ours. The exporter must try again, and must not be told how we are built.
    writeLog("error", { outcome: "unavailable", reason: "internal" }, error);
    tally.refused("internal");
    const response = refused(answerType(request.headers), {
      reason: "internal",
      message: "The request could not be handled at this moment. Try again.",
    });
    addCorsHeaders(request.headers, response.headers);
    return response;
  }
}

export { Meter } from "./meter-object.ts";

export default {
  async fetch(request, env, ctx) {
    const tally = new Tally();
    const deadline = new Deadline();
    const response = await answer(request, env, ctx, tally, deadline);
    deadline.end();
    outcomes.count(tally, env.OUTCOMES, ctx, Date.now());
    return response;
  },
} satisfies ExportedHandler<IngressBindings>;
