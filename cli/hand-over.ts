/**
 * Hands payload keys to the console a hundred at a time, with progress. An interruption ends it between two requests:
 * what was handed over is under way, and the same command again hands over the rest.
 */
import * as v from "valibot";
import { createProgress } from "../dev/send/progress.ts";
import { type Call, Complaint } from "./command.ts";

/** Each key costs the console a look at R2; this many stay far below its limits and show progress. */
const keysAtOnce = 100;

const askedForSchema = v.object({ taken: v.array(v.string()), missing: v.array(v.string()) });
export type AskedFor = v.InferOutput<typeof askedForSchema>;

/** `path` takes `{ keys, ...more }`. Throws `Complaint` (130) when interrupted, saying how far it came. */
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
      if (call.world.interrupted.aborted) {
        throw new Complaint(`interrupted after ${at} of ${keys.length}: the same command again goes on`, 130);
      }
      const page = keys.slice(at, at + keysAtOnce);
      const answer = await call.console.send("POST", path, { ...more, keys: page }, askedForSchema);
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
