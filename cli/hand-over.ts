/**
 * Sends payload keys to the console a hundred at a time, with progress. An interruption ends it between two requests:
 * what was sent is under way, and the same command, run again, sends the rest.
 */
import { createProgress } from "../dev/send/progress.ts";
import type { AskedFor } from "../shared/console/answers.ts";
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
  const taken: string[] = [];
  const missing: string[] = [];
  try {
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const page = keys.slice(at, at + keysAtOnce);
      const answer = await sendPage(call, page, send).catch((error: unknown) => {
        throw error instanceof UserError
          ? new UserError(
              `${error.message} (after ${at} of ${keys.length}; run the same command again to continue)`,
              error.exitCode,
              { cause: error },
            )
          : error;
      });
      taken.push(...answer.taken);
      missing.push(...answer.missing);
      if (keys.length > keysAtOnce) {
        progress.show(label, at + page.length, keys.length, "");
      }
    }
  } finally {
    progress.end();
  }
  return { taken, missing };
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
