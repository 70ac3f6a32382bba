/** The Worker that the in-workerd tests of consumer and console run in: nothing but the Durable Objects. */
export { Ledger } from "../../workers/consumer/ledger-object.ts";
export { Meter } from "../../workers/ingress/meter-object.ts";

export default {
  fetch(): Response {
    return new Response(null, { status: 404 });
  },
} satisfies ExportedHandler;
