/**
 * The ingress's own code inside workerd, called in a loop with bindings that answer at once; and its stations one after
 * another, up to the one that is asked for. `ingress.ts` measures by the CPU time of the process, and takes one from the
 * next: what a station costs behind the others is two or three times what it costs alone, where every cache is its own.
 *
 * POST /body?now=MS with a gzip body; then GET /run?stage=NAME&times=N, answered when it is done.
 */
import * as zlib from "node:zlib";
import { type ApiKeyRecord, formatApiKey } from "../shared/api-key.ts";
import { ByteBudget } from "../shared/byte-budget.ts";
import { acceptPayload } from "../shared/delivery/acceptance.ts";
import { perform } from "../shared/effect.ts";
import { everyTime } from "../shared/id-time.ts";
import { inflate } from "../shared/inflate.ts";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { sampleThreshold } from "../shared/otlp/sample-threshold.ts";
import { formatPayloadKey, payloadId } from "../shared/payload-key.ts";
import { accepted, encoded } from "../workers/ingress/answer.ts";
import { authenticate, KeyMemory } from "../workers/ingress/authenticate.ts";
import type { IngressBindings } from "../workers/ingress/bindings.ts";
import { type Content, readContent } from "../workers/ingress/content.ts";
import { addCorsHeaders, forbiddenOrigin } from "../workers/ingress/cors.ts";
import { Deadline } from "../workers/ingress/deadline.ts";
import { acceptancePerformer, NotifiedKeys } from "../workers/ingress/perform-acceptance.ts";
import { readBody } from "../workers/ingress/read-body.ts";
import { OutcomeReport } from "../workers/ingress/report-outcomes.ts";
import { Tally } from "../workers/ingress/tally.ts";
import { benchKeyRecord } from "./bench-key.ts";
import { lastOf } from "./ingress-stages.ts";

interface Ingress {
  fetch(request: Request, env: object, ctx: object): Promise<Response>;
}

const notifiedKeys = new NotifiedKeys();
const key = formatApiKey(new Uint8Array(52));
const record = benchKeyRecord();
const env = {
  KEYS: { get: async () => record },
  UNKNOWN_KEYS: { limit: async () => ({ success: true }) },
  PAYLOADS: { put: async () => ({}), get: async () => null },
  OUTCOMES: { send: async () => undefined },
  RING: { send: async () => undefined },
  ID_TIME_FROM: everyTime,
  COLLECT: "off",
};
const ctx = { waitUntil: (promise: Promise<unknown>) => promise, passThroughOnException: () => undefined };

let gzip: Uint8Array<ArrayBuffer> = new Uint8Array(0);
let ingress: Ingress | undefined;

const request = (): Request =>
  new Request("https://ingress.example/v1/traces", {
    method: "POST",
    headers: {
      "content-type": "application/x-protobuf",
      "content-encoding": "gzip",
      "content-length": String(gzip.length),
      authorization: `Bearer ${key}`,
    },
    body: gzip,
  });

const bindings = env as unknown as IngressBindings;
const context = ctx as unknown as ExecutionContext;
const memory = new KeyMemory();
const bytesInHand = {
  budget: new ByteBudget(limits.ingressBodyBytesMax),
  announced: new ByteBudget(limits.announcedBytesMax),
  holder: "bench",
};
const outcomes = new OutcomeReport();

/** The story of `workers/ingress/worker.ts` for a good request, up to and with the stage of this number. */
async function goThrough(last: number): Promise<void> {
  const asked = request();
  if (last === 0) {
    return;
  }
  const { headers } = asked;
  const content = readContent(headers);
  if (last === 1) {
    return;
  }
  const tally = new Tally();
  const sender = await authenticate(headers, bindings, memory, Date.now(), tally);
  if (!content.ok || !sender.ok || forbiddenOrigin(headers, sender.value.record) !== undefined) {
    throw new Error("the request is refused");
  }
  if (last === 2) {
    return;
  }
  const deadline = new Deadline();
  const body = await readBody(asked, bytesInHand, deadline);
  if (!body.ok) {
    throw new Error(body.refusal.reason);
  }
  const { bytes, release } = body.value;
  if (last > 3) {
    await goOn(last, asked, bytes, content.value, sender.value.record, tally, deadline);
  }
  release();
  deadline.end();
}

async function goOn(
  last: number,
  asked: Request,
  bytes: Uint8Array,
  { type, encoding }: Content,
  { tenant, sample }: ApiKeyRecord,
  tally: Tally,
  deadline: Deadline,
): Promise<void> {
  const inflated = inflate(zlib, bytes, encoding, limits.inflatedBytesMax);
  if (last === 4) {
    return;
  }
  const arrival = Date.now();
  const bounds = {
    startMinMs: arrival - limits.spanAgeMaxMs,
    startMaxMs: arrival + limits.spanFutureMaxMs,
    sampleThreshold: sampleThreshold(sample),
  };
  const { spans, rejectedSpans, outputBytes, contentMinute } = inspectTraces(inflated, bounds);
  if (last === 5) {
    return;
  }
  const id = await payloadId(tenant, type, encoding, bytes, { contentMinute, from: 0 });
  const key = formatPayloadKey(arrival, tenant, id);
  if (last === 6) {
    return;
  }
  const inflatedBytes = inflated.length;
  const metadata = { type, encoding, spans, rejectedSpans, inflatedBytes, outputBytes, arrival, ...bounds };
  const waitUntil = (promise: Promise<unknown>): void => context.waitUntil(promise);
  const full = { version: "1", ...metadata } as const;
  await perform(
    acceptPayload(key, { spans, outputBytes, arrival }, () => false, false),
    acceptancePerformer(
      bindings,
      { tenant, id, body: bytes, metadata: full },
      null,
      notifiedKeys,
      deadline,
      waitUntil,
    ),
  );
  if (last === 7) {
    return;
  }
  const response = accepted(type, undefined, { "x-headrace-payload": id });
  addCorsHeaders(asked.headers, response.headers);
  await encoded(asked, response);
  if (last === 8) {
    return;
  }
  tally.end("accepted", "created");
  outcomes.count(tally, bindings.OUTCOMES, context, arrival);
}

/** The Worker as it is. Its answer is not read: that would be the client's work. */
async function wholeRequest(): Promise<void> {
  const response = await ingress?.fetch(request(), env, ctx);
  if (response?.status !== 200) {
    throw new Error(`the ingress answered ${response?.status}: ${await response?.text()}`);
  }
}

/** The bundle of workers/ingress, beside this one: bench/ does not reach into workers/. */
async function loadIngress(): Promise<Ingress> {
  const name: string = "./ingress.js";
  const { default: loaded } = await import(name);
  return loaded;
}

export default {
  async fetch(asked: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(asked.url);
    ingress ??= await loadIngress();
    if (pathname === "/body") {
      gzip = new Uint8Array(await asked.arrayBuffer());
      const now = Number(searchParams.get("now"));
      Date.now = () => now; // the corpus has its own day
      return new Response("ready");
    }
    const last = lastOf(searchParams.get("stage") ?? "");
    for (let times = Number(searchParams.get("times")); times > 0; times--) {
      await (last === undefined ? wholeRequest() : goThrough(last));
    }
    return new Response("done");
  },
};
