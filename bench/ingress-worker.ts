/**
 * The ingress's own code inside workerd, called in a loop with bindings that answer at once; and the stages that are
 * functions of `shared/`, each alone. `ingress.ts` measures by the CPU time of the process.
 *
 * POST /body?now=MS with a gzip body; then GET /run?stage=NAME&times=N, answered when it is done.
 */
import * as zlib from "node:zlib";
import { apiKeyId, formatApiKey, isApiKey } from "../shared/api-key.ts";
import { inflate } from "../shared/inflate.ts";
import { limits } from "../shared/limits.ts";
import { inspectTraces } from "../shared/otlp/inspect.ts";
import { payloadId } from "../shared/payload-key.ts";

interface Ingress {
  fetch(request: Request, env: object, ctx: object): Promise<Response>;
}

const key = formatApiKey(new Uint8Array(52));
const record = {
  tenant: "bench",
  name: "bench",
  status: "active",
  spansPerSecond: null,
  burstSpans: null,
  spansPerMonth: null,
  origins: [],
  sample: 1,
};
const env = {
  KEYS: { get: async () => record },
  UNKNOWN_KEYS: { limit: async () => ({ success: true }) },
  PAYLOADS: { put: async () => ({}) },
  OUTCOMES: { send: async () => undefined },
  RING: { send: async () => undefined },
};
const ctx = { waitUntil: (promise: Promise<unknown>) => promise, passThroughOnException: () => undefined };

let gzip: Uint8Array<ArrayBuffer> = new Uint8Array(0);
let inflated: Uint8Array = new Uint8Array(0);
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

const stages: Readonly<Record<string, () => unknown>> = {
  "make the request": request,
  "read body": () => request().arrayBuffer(),
  inflate: () => inflate(zlib, gzip, "gzip", limits.inflatedBytesMax),
  authenticate: async () => isApiKey(key) && (await apiKeyId(key)),
  check: () => inspectTraces(inflated, { startMinMs: 0, startMaxMs: Date.now() }),
  hash: () => payloadId("bench", "pb", "gzip", gzip),
  "whole request": async () => {
    const response = await ingress?.fetch(request(), env, ctx);
    if (response?.status !== 200) {
      throw new Error(`the ingress answered ${response?.status}: ${await response?.text()}`);
    }
    await response.arrayBuffer();
  },
};

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
      inflated = inflate(zlib, gzip, "gzip", limits.inflatedBytesMax);
      const now = Number(searchParams.get("now"));
      Date.now = () => now; // the corpus has its own day
      return new Response("ready");
    }
    const stage = stages[searchParams.get("stage") ?? ""];
    if (stage === undefined) {
      return new Response("no such stage", { status: 400 });
    }
    for (let times = Number(searchParams.get("times")); times > 0; times--) {
      await stage();
    }
    return new Response("done");
  },
};
