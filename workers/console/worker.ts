/**
 * The console: what an operator reads and asks for, as a JSON API behind an admin token, and the page that uses it. It
 * writes no rows and no payloads, only keys. A key for sending spans opens nothing here.
 */
import { StatementFailed } from "../../shared/clickhouse/ask.ts";
import { NotReached } from "../../shared/clickhouse/connection.ts";
import { writeLog } from "../../shared/write-log.ts";
import { answer } from "./answer-request.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { router } from "./router.ts";

/** What could not be reached, where it is, and what was said. */
function dependencyText(error: unknown): string {
  if (error instanceof NotReached) {
    return `${error.message}; what it would tell is not known now, and nothing is lost.`;
  }
  return error instanceof StatementFailed
    ? `ClickHouse did not answer the question: ${error.message}`
    : `R2, KV or a Durable Object did not answer: ${error instanceof Error ? error.message : String(error)}`;
}

export default {
  async fetch(request, env) {
    try {
      return await router.fetch(request, env);
    } catch (error) {
      writeLog("error", { message: "the console could not answer" }, error);
      return answer(503, { error: dependencyText(error) });
    }
  },
} satisfies ExportedHandler<ConsoleBindings>;
