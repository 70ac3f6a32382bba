/**
 * Tells the person at `npm run dev` that bytes were sent again whose rows were deleted: they are answered 200 as a duplicate
 * and never become rows, which looks like a broken pipeline. It reads the Workers' log for duplicates and asks the console
 * about each; a burst is one message, and a payload is named again after a while only.
 */
import * as v from "valibot";
import { isPayloadKey, parsePayloadKey } from "../shared/payload-key.ts";

/** Payloads that are waited for or were named. More than that are not looked at: the first of a burst say it all. */
const payloadsMax = 1000;
/** Payloads named in one message. */
const namedMax = 3;

export interface DuplicateTimes {
  /** From a duplicate to the look at its rows, so that a burst is one message. */
  readonly gatherMs: number;
  /** Until a payload is named again. */
  readonly againMs: number;
  /** Looks at a payload that is in flight. */
  readonly looksMax: number;
}

export const duplicateTimes: DuplicateTimes = { gatherMs: 1500, againMs: 60_000, looksMax: 10 };

/** What the console says of a payload. */
const answerSchema = v.object({ presence: v.string() });
export type PresenceAnswer = v.InferOutput<typeof answerSchema>;

/** A Worker's line that names keys of payloads that were sent again. */
const lineSchema = v.union([
  v.object({ payload: v.string(), duplicate: v.literal(true) }),
  v.object({ duplicates: v.array(v.string()) }),
]);

/** The keys of duplicates that a line of a Worker's log names. */
function duplicatesIn(line: string): readonly string[] {
  if (!line.includes('"duplicate')) {
    return [];
  }
  try {
    const read = v.safeParse(lineSchema, JSON.parse(line));
    return read.success ? ("payload" in read.output ? [read.output.payload] : read.output.duplicates) : [];
  } catch {
    return []; // a line of somebody else's
  }
}

/** Reads lines until `stop`. `ask`: the console's answer about a payload id; it may throw. */
export function watchDuplicates(
  ask: (id: string) => Promise<PresenceAnswer>,
  print: (text: string) => void,
  times: DuplicateTimes = duplicateTimes,
): { readLine(line: string): void; stop(): void } {
  /** Ids to look at, with the looks so far. */
  let due = new Map<string, number>();
  /** When an id was named last, ms since the epoch. */
  const named = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function plan(id: string, looks: number): void {
    if (stopped || (due.size >= payloadsMax && !due.has(id))) {
      return;
    }
    due.set(id, looks);
    timer ??= setTimeout(() => void look(), times.gatherMs);
  }

  async function look(): Promise<void> {
    timer = undefined;
    const looked = due;
    due = new Map();
    const gone: string[] = [];
    for (const [id, looks] of looked) {
      const presence = await ask(id).then(
        (answer) => answer.presence,
        () => "in_flight", // the console or ClickHouse is away: asked again
      );
      if (stopped) {
        return;
      }
      if (presence === "in_flight" && looks + 1 < times.looksMax) {
        plan(id, looks + 1);
      } else if (presence === "gone" || presence === "days_gone" || presence === "inexact") {
        gone.push(id);
      }
    }
    reportFindings(gone);
  }

  function reportFindings(gone: readonly string[]): void {
    const now = Date.now();
    for (const [id, at] of named) {
      if (at + times.againMs <= now) {
        named.delete(id);
      }
    }
    const fresh = gone.filter((id) => !named.has(id));
    for (const id of fresh.slice(0, payloadsMax - named.size)) {
      named.set(id, now);
    }
    if (fresh.length > 0) {
      print(duplicatesText(fresh));
    }
  }

  return {
    readLine(line) {
      for (const key of duplicatesIn(line)) {
        const id = isPayloadKey(key) ? parsePayloadKey(key)?.id : undefined;
        if (id !== undefined && !due.has(id)) {
          plan(id, 0);
        }
      }
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function duplicatesText(ids: readonly string[]): string {
  const names = ids.slice(0, namedMax).join(" ");
  const more = ids.length > namedMax ? ` … (${ids.length - namedMax} more)` : "";
  const which =
    ids.length === 1
      ? "A payload was sent again whose rows were deleted from the table: it is a duplicate, and is not stored again."
      : `${ids.length} payloads were sent again whose rows were deleted from the table: they are duplicates, and are not stored again.`;
  return `${which}\n  npx headrace forget ${names}${more}\nbrings the rows back (docs/operating.md, "Rows were deleted by a person").`;
}

/** Asks the console of a running pipeline. */
export function askConsole(console: string, token: string): (id: string) => Promise<PresenceAnswer> {
  return async (id) => {
    const response = await fetch(`${console}/api/payload?id=${id}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return v.parse(answerSchema, await response.json());
  };
}
