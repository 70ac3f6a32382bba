/**
 * The console: what an operator reads and asks for, as a JSON API behind an admin token, and the page that uses it. It
 * writes no rows and no payloads, only keys. A key for sending spans opens nothing here.
 */
import { writeLog } from "../../shared/write-log.ts";
import { answer } from "./answer-request.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { failureText } from "./failure-text.ts";
import { nameDependencies, patienceFor } from "./name-dependencies.ts";
import { router } from "./router.ts";

export default {
  async fetch(request, env) {
    try {
      return await router.fetch(request, nameDependencies(env, patienceFor(request)));
    } catch (error) {
      const text = failureText(env.CLICKHOUSE_URL, error);
      writeLog("error", { message: "the console could not answer", why: text }, error);
      return answer(503, { error: text });
    }
  },
} satisfies ExportedHandler<ConsoleBindings>;
