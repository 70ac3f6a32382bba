/** Why attempts to store payloads failed, as it is kept and as people read it. Nothing is decided by it. */
import { formatDateTime } from "./clickhouse/date-time.ts";

/** How an attempt failed: as it was reported, or never. */
export const failureKinds = [
  "retry",
  "unknown",
  "unlisted",
  "halted",
  "refused",
  "unreadable",
  "broken",
  "unreported",
] as const;

export interface Failure {
  /** Failed attempts so far, in this group and in those that its payloads were in before; and refusals among them. */
  readonly failed: number;
  readonly refused: number;
  /** The first of them, ms since the epoch. */
  readonly since: number;
  /** The last one: ms since the epoch, how, ClickHouse's error where it answered with one, and the words. */
  readonly at: number;
  readonly kind: (typeof failureKinds)[number];
  readonly code: number | null;
  /** As ClickHouse names the code; empty: there is none. */
  readonly name: string;
  /** At most `limits.failureTextBytesMax`, and without values of spans (clickhouse/errors.ts). */
  readonly text: string;
  /**
   * It keeps an erasure from being completed, and no payload from being stored. No kind of its own: an earlier version, to which a
   * deployment may be rolled back, passes over a field that it does not know, and not over a kind.
   */
  readonly ofErasure?: true;
}

/** For people: what an erasure could not do, its rows or its bytes in R2. Everything else of its group is done. */
export const erasureFails = { rows: "rows are to be erased: ", objects: "not erased: " } as const;

/** As it was known before `ofErasure` was written: never reworded, for a group that failed then says nothing else of it. */
const wordsOfErasure = ["rows are to be erased: ", "not erased: "];

export function isOfErasure({
  kind,
  text,
  ofErasure,
}: Pick<Failure, "kind" | "text" | "ofErasure">): boolean {
  return ofErasure === true || (kind === "retry" && wordsOfErasure.some((words) => text.startsWith(words)));
}

/**
 * Example: "refused 7 times, last at 2026-11-27 07:26:08 UTC: VIOLATED_CONSTRAINT (469): Constraint `no_poison` …".
 * Where not all of them were refusals: "failed 9 times, refused 7 of them, last …".
 */
export function failureText({
  failed,
  refused,
  at,
  code,
  name,
  text,
}: Omit<Failure, "kind" | "since">): string {
  const all = refused === failed ? `refused ${times(refused)}` : `failed ${times(failed)}`;
  const some = refused > 0 && refused < failed ? `, refused ${refused} of them` : "";
  return `${all}${some}, last at ${formatDateTime(at)} UTC: ${errorText({ code, name, text })}`;
}

/** Example: "VIOLATED_CONSTRAINT (469): Constraint `no_poison` …". */
export function errorText({ code, name, text }: Pick<Failure, "code" | "name" | "text">): string {
  if (code === null) {
    return text;
  }
  return `${name === "" ? `code ${code}` : `${name} (${code})`}: ${text}`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
