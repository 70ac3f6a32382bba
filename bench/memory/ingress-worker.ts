/**
 * The ingress's own code with real requests, and bindings that keep a body in hand: a put takes a while, as R2's may,
 * so that as many bodies are held at once as the budget allows.
 */
import type { IngressBindings } from "../../workers/ingress/bindings.ts";
import ingress from "../../workers/ingress/worker.ts";
import { benchKeyRecord } from "../bench-key.ts";

const putMs = 4000;
const record = benchKeyRecord();

export default {
  async fetch(request, _env, ctx) {
    const bindings = {
      KEYS: { get: async () => record },
      UNKNOWN_KEYS: { limit: async () => ({ success: true }) },
      PAYLOADS: {
        get: async () => null, // nobody has said what the table keeps
        put: async () => {
          await scheduler.wait(putMs);
          return {};
        },
      },
      OUTCOMES: { send: async () => undefined },
      RING: { send: async () => undefined },
    };
    return await ingress.fetch(request, bindings as unknown as IngressBindings, ctx);
  },
} satisfies ExportedHandler<IngressBindings>;
