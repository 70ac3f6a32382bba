/** Our code (own-code.ts) in workerd: the runtime that it is made for, with the HTTP server that comes with it. */
import { receive } from "./own-code.ts";

interface Bindings {
  /** With none nothing is done with a body: what HTTP alone costs. */
  readonly CLICKHOUSE_URL: string;
}

export default {
  async fetch(request, { CLICKHOUSE_URL }, ctx) {
    const body = new Uint8Array(await request.arrayBuffer());
    if (CLICKHOUSE_URL !== "") {
      await receive(body, CLICKHOUSE_URL, (work) => ctx.waitUntil(work));
    }
    // An empty message, as the ingress answers a whole success.
    return new Response(null, { headers: { "Content-Type": "application/x-protobuf" } });
  },
} satisfies ExportedHandler<Bindings>;
