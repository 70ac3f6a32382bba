/** Our code (own-code.ts) in workerd: the runtime that it is made for, with the HTTP server that comes with it. */
import { successBody } from "../../shared/otlp/responses.ts";
import { receive } from "./own-code.ts";

interface Bindings {
  readonly CLICKHOUSE_URL: string;
}

export default {
  async fetch(request, { CLICKHOUSE_URL }, ctx) {
    await receive(new Uint8Array(await request.arrayBuffer()), CLICKHOUSE_URL, (work) => ctx.waitUntil(work));
    return new Response(successBody("pb"), { headers: { "Content-Type": "application/x-protobuf" } });
  },
} satisfies ExportedHandler<Bindings>;
