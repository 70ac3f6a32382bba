/** The bindings of the in-workerd tests (vitest.config.ts). */
declare namespace Cloudflare {
  interface Env {
    readonly LEDGER: DurableObjectNamespace<import("../../workers/consumer/ledger-object.ts").Ledger>;
    readonly GROUP: Queue<import("../../shared/messages.ts").GroupBell>;
  }
}
