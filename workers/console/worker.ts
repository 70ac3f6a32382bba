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

async function respond(request: Request, env: ConsoleBindings): Promise<Response> {
  try {
    return await router.fetch(request, nameDependencies(env, patienceFor(request)));
  } catch (error) {
    const text = failureText(env.CLICKHOUSE_URL, error);
    writeLog("error", { message: "the console could not answer", why: text }, error);
    return answer(503, { error: text });
  }
}

/** What is answered is for who asked, now; the page's files say for how long they are kept (page-files.ts). */
function secured(response: Response): Response {
  response.headers.set("x-content-type-options", "nosniff");
  if (!response.headers.has("cache-control")) {
    response.headers.set("cache-control", "no-store");
  }
  return response;
}

export default {
  async fetch(request, env) {
    return secured(await respond(request, env));
  },
} satisfies ExportedHandler<ConsoleBindings>;
