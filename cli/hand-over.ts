/**
 * Sends payload keys to the console a hundred at a time, with progress. An interruption ends it between two requests:
 * what was sent is under way, and the same command, run again, sends the rest.
 */
import { createProgress } from "../dev/send/progress.ts";
import type { AskedFor } from "../shared/console/answers.ts";
import { askInParts } from "../shared/console/ask-in-parts.ts";
import type { Call } from "./command.ts";
import { UserError } from "./user-error.ts";

/** Each key costs the console a look at R2; this many stay far below its limits and show progress. */
const keysAtOnce = 100;

/** `send` asks the console about a page of them. Throws `UserError`, saying how far it came: 130 when interrupted. */
export async function handOver(
  call: Call,
  keys: readonly string[],
  label: string,
  send: (page: readonly string[]) => Promise<AskedFor>,
): Promise<AskedFor> {
  const progress = createProgress(call.context.err);
  let sent = 0;
  const { failed, ...answer } = await askInParts(
    keys,
    async (page) => {
      const pageAnswer = await sendPage(call, page, send);
      sent += page.length;
      if (keys.length > keysAtOnce) {
        progress.show(label, sent, keys.length, "");
      }
      return pageAnswer;
    },
    keysAtOnce,
  );
  progress.end();
  if (failed === null) {
    return answer;
  }
  const { error } = failed;
  throw error instanceof UserError
    ? new UserError(
        `${error.message} (after ${sent} of ${keys.length}; run the same command again to continue)`,
        error.exitCode,
        { cause: error },
      )
    : error;
}

async function sendPage(
  { context }: Call,
  page: readonly string[],
  send: (page: readonly string[]) => Promise<AskedFor>,
): Promise<AskedFor> {
  if (context.interrupted.aborted) {
    throw new UserError("interrupted", 130);
  }
  return await send(page);
}
