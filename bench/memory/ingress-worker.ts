/**
 * The ingress's own code with real requests, and bindings that keep a body in hand: a put takes a while, as R2's may,
 * so that as many bodies are held at once as the budget allows. Its collector is the real object, in the same isolate, with such puts too.
 */
import type { IngressBindings } from "../../workers/ingress/bindings.ts";
import { Collector as RealCollector } from "../../workers/ingress/collector-object.ts";
import ingress from "../../workers/ingress/worker.ts";
import { benchKeyRecord } from "../bench-key.ts";

const putMs = 4000;
/** Below what a collector waits for: none of its puts is given up. */
const segmentPutMs = 2500;
const record = benchKeyRecord();

const slowBucket = (ms: number) => ({
  get: async () => null, // nobody has said what the table keeps
  put: async () => {
    await scheduler.wait(ms);
    return {};
  },
});
const queue = { send: async () => undefined };

export class Collector extends RealCollector {
  constructor(ctx: DurableObjectState) {
    super(ctx, { PAYLOADS: slowBucket(segmentPutMs), RING: queue } as unknown as IngressBindings);
  }
}

export default {
  async fetch(request, { COLLECTOR }, ctx) {
    const bindings = {
      KEYS: { get: async () => record },
      UNKNOWN_KEYS: { limit: async () => ({ success: true }) },
      PAYLOADS: slowBucket(putMs),
      COLLECTOR,
      OUTCOMES: queue,
      RING: queue,
    };
    return await ingress.fetch(request, bindings as unknown as IngressBindings, ctx);
  },
} satisfies ExportedHandler<IngressBindings>;
