/**
 * Hands payload keys to the console a hundred at a time, with progress. An interruption ends it between two requests:
 * what was handed over is under way, and the same command again hands over the rest.
 */
import * as v from "valibot";
import { createProgress } from "../dev/send/progress.ts";
import type { Call } from "./command.ts";
import { Complaint } from "./complaint.ts";

/** Each key costs the console a look at R2; this many stay far below its limits and show progress. */
const keysAtOnce = 100;

const askedForSchema = v.object({ taken: v.array(v.string()), missing: v.array(v.string()) });
export type AskedFor = v.InferOutput<typeof askedForSchema>;

/** `path` takes `{ keys, ...more }`. Throws `Complaint`, saying how far it came: 130 when interrupted. */
export async function handOver(
  call: Call,
  path: string,
  keys: readonly string[],
  more: Readonly<Record<string, unknown>>,
  label: string,
): Promise<AskedFor> {
  const progress = createProgress(call.world.err);
  const taken: string[] = [];
  const missing: string[] = [];
  try {
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const page = keys.slice(at, at + keysAtOnce);
      const answer = await sendPage(call, path, { ...more, keys: page }).catch((error: unknown) => {
        throw error instanceof Complaint
          ? new Complaint(
              `${error.message} (after ${at} of ${keys.length}; the same command again goes on)`,
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

async function sendPage({ console, world }: Call, path: string, body: object): Promise<AskedFor> {
  if (world.interrupted.aborted) {
    throw new Complaint("interrupted", 130);
  }
  return await console.send("POST", path, body, askedForSchema);
}
