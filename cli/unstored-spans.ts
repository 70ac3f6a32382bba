/**
 * Spans of a trace that no row names: dead letters hold what was never stored, and are looked into one by one; what is in flight is
 * counted alone, for it is stored in a moment, or dies.
 */
import type { AnswerOf } from "../shared/console/routes.ts";
import { counted } from "../shared/counted.ts";
import { limits } from "../shared/limits.ts";
import type { Console } from "./console.ts";
import { UserError } from "./user-error.ts";

type DeadLetter = AnswerOf<"GET /api/dead-letters">[number];

export interface Unstored {
  /** Of dead letters that have spans of the trace. */
  readonly keys: readonly string[];
  /** What is to be said of them, and of what nobody can say. */
  readonly notes: readonly string[];
}

/** `tenant` undefined: of every tenant. */
export async function unstoredSpans(
  console: Console,
  trace: string,
  tenant: string | undefined,
): Promise<Unstored> {
  const isAsked = (one: string): boolean => tenant === undefined || one === tenant;
  const keys: string[] = [];
  const unread: string[] = [];
  const letters = await console.ask("GET /api/dead-letters");
  for (const { key } of letters.filter((one) => isAsked(one.tenant))) {
    const found = await spansIn(console, key, trace);
    if (found === null) {
      unread.push(key);
    } else if (found > 0) {
      keys.push(key);
    }
  }
  const notes: string[] = [];
  if (letters.length >= limits.deadLettersListed) {
    notes.push(
      `Only the newest ${letters.length} dead letters are looked into: run this again when they are replayed or purged`,
    );
  }
  if (keys.length > 0) {
    notes.push(`${counted(keys.length, "dead letter")} with spans of this trace:\n${keys.join("\n")}`);
  }
  if (unread.length > 0) {
    notes.push(
      `${counted(unread.length, "dead letter")} cannot be read, and may have spans of this trace: \`headrace dead-letters purge KEY\` takes one away\n${unread.join("\n")}`,
    );
  }
  const { waiting, groups } = await console.ask("GET /api/in-flight");
  const own = groups.filter(({ tenants }) => tenants.some(isAsked));
  const inFlight = own.reduce((sum, { payloads }) => sum + payloads, waiting);
  if (inFlight > 0) {
    notes.push(
      `${counted(inFlight, "payload")} in flight may bring more of it: run this again when \`headrace status\` has none`,
    );
  }
  return { keys, notes };
}

/** How many spans of the trace a dead letter has. Null: it cannot be read to its end, and no such span was met. */
async function spansIn(console: Console, key: DeadLetter["key"], trace: string): Promise<number | null> {
  try {
    const { spansCount, failure } = await console.ask("GET /api/payload-spans", { query: { key, trace } });
    return spansCount === 0 && failure !== "" ? null : spansCount;
  } catch (error) {
    if (error instanceof UserError && error.exitCode === 1) {
      return null; // it has no object, or was purged meanwhile
    }
    throw error;
  }
}
