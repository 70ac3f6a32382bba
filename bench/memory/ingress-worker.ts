/**
 * The ingress's own code with real requests, and bindings that keep a body in hand: a put takes a while, as R2's may,
 * so that as many bodies are held at once as the budget allows. Its collector is the real object, in the same isolate, with such puts too.
 *
 * After `/hold` no put ends until `/release`, and a collector waits for its own as long as that takes: a computation that the inspector
 * stops lasts longer than it would wait otherwise, and gave its segments up before the rest was full.
 */
import { limits } from "../../shared/limits.ts";
import type { IngressBindings } from "../../workers/ingress/bindings.ts";
import { budget } from "../../workers/ingress/bytes-in-hand.ts";
import { Collector as RealCollector } from "../../workers/ingress/collector-object.ts";
import ingress from "../../workers/ingress/worker.ts";
import { benchKeyRecord } from "../bench-key.ts";

const putMs = 4000;
/** Below what a collector waits for: none of its puts is given up. */
const segmentPutMs = 2500;
const lookMs = 50;
const heldMs = 300_000;
const record = benchKeyRecord();

let isHeld = false;
/** Bytes at their puts. */
const atPuts = { segments: 0, alone: 0 };

const slowBucket = (kind: keyof typeof atPuts, ms: number) => ({
  get: async () => null, // nobody has said what the table keeps
  put: async (_key: string, body: Uint8Array) => {
    atPuts[kind] += body.length;
    if (!isHeld) {
      await scheduler.wait(ms);
    }
    while (isHeld) {
      await scheduler.wait(lookMs);
    }
    atPuts[kind] -= body.length;
    return {};
  },
});
const queue = { send: async () => undefined };

export class Collector extends RealCollector {
  constructor(ctx: DurableObjectState) {
    const bindings = { PAYLOADS: slowBucket("segments", segmentPutMs), RING: queue, COLLECT_MS: "1000" };
    super(ctx, bindings as unknown as IngressBindings);
  }
}

function hold(): void {
  isHeld = true;
  Object.assign(limits, {
    collectPatienceMs: heldMs,
    segmentPutTimeoutMs: heldMs,
    putTimeoutMs: heldMs,
    segmentHeldMs: heldMs,
    bodyHeldMs: heldMs,
  });
}

export default {
  async fetch(request, { COLLECTOR }, ctx) {
    switch (new URL(request.url).pathname) {
      case "/hold":
        hold();
        return new Response();
      case "/release":
        isHeld = false;
        return new Response();
      case "/held":
        return Response.json({ ...atPuts, budget: budget.bytesAt(Date.now()) });
    }
    const bindings = {
      KEYS: { get: async () => record },
      UNKNOWN_KEYS: { limit: async () => ({ success: true }) },
      PAYLOADS: slowBucket("alone", putMs),
      COLLECTOR,
      OUTCOMES: queue,
      RING: queue,
    };
    return await ingress.fetch(request, bindings as unknown as IngressBindings, ctx);
  },
} satisfies ExportedHandler<IngressBindings>;
