/** The Worker that the ledger's in-workerd tests run in: nothing but the Durable Object. */
export { Ledger } from "../../workers/consumer/ledger-object.ts";

export default {
  fetch(): Response {
    return new Response(null, { status: 404 });
  },
} satisfies ExportedHandler;
