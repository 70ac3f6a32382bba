/** What is asked for of many keys: one request names so many, and a list of dead letters has more. */
import { limits } from "../limits.ts";
import type { AskedFor } from "./answers.ts";

export interface AskedInParts extends AskedFor {
  /** What one request ended of. Nothing was asked for about `keys`: its own, and those that follow. Null: all were asked for. */
  readonly failed: { readonly error: unknown; readonly keys: number } | null;
}

/** `atOnce`: keys per request, at most `limits.keysAskedMax`. */
export async function askInParts(
  keys: readonly string[],
  send: (part: readonly string[]) => Promise<AskedFor>,
  atOnce: number = limits.keysAskedMax,
): Promise<AskedInParts> {
  const taken: string[] = [];
  const missing: string[] = [];
  for (let at = 0; at < keys.length; at += atOnce) {
    try {
      const answer = await send(keys.slice(at, at + atOnce));
      taken.push(...answer.taken);
      missing.push(...answer.missing);
    } catch (error) {
      return { taken, missing, failed: { error, keys: keys.length - at } };
    }
  }
  return { taken, missing, failed: null };
}
