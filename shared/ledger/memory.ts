/**
 * How long the ledger knows how an id ended, and of which ids that it does not know it can be said that they are new.
 *
 * What has ended is known for `memoryMs`, and forgotten by time: `forgottenBefore`. A store that is full forgets what has the
 * oldest content, whenever that ended: `trimmed`. Both are marks of the head, and hold at once; the store deletes its rows
 * when it comes to it. So two stores with the same marks know the same, whichever rows they still have.
 *
 * Content time is what an id begins with. It may be a clock's that is wrong, and of an id of version 1 it is a hash: it only
 * has to be the same whenever the same bytes come.
 */
import { contentMinuteOfId } from "../id-time.ts";
import type { PayloadId } from "../payload-key.ts";
import type { Draft } from "./draft.ts";
import type { Head } from "./head.ts";

type Marks = Pick<Head, "forgottenBefore" | "trimmed">;

/** Is it forgotten that this id ended then? */
export function isForgotten({ forgottenBefore, trimmed }: Marks, id: PayloadId, since: number): boolean {
  return (
    since < (forgottenBefore ?? Number.NEGATIVE_INFINITY) ||
    (trimmed != null && since <= trimmed.at && contentMinuteOfId(id) < trimmed.from)
  );
}

/** May an id that is not known have ended and been trimmed? */
export function mayBeTrimmed({ trimmed }: Marks, id: PayloadId): boolean {
  return trimmed != null && contentMinuteOfId(id) < trimmed.from;
}

/**
 * Until when an id that is not known may have been live: a ledger before this one may have inserted it until its end, this one
 * until it trimmed. The fence counts from here.
 */
export function unknownSince(head: Head, id: PayloadId): number {
  return mayBeTrimmed(head, id) ? Math.max(head.birth, head.trimmed?.at ?? 0) : head.birth;
}

/**
 * Forgets what ended before the memory's time, and where the store is full what has the oldest content. Since then, and not
 * longer, is the memory complete (`memSince`), and of what was trimmed for newer content only: older arrivals and older
 * content are verified. What was trimmed had ended by then: once the memory's time has reached that, it is forgotten in any
 * case, and content of every time is complete again.
 */
export function forget(draft: Draft, lagMs: number): void {
  const { now, settings, head, trimTo } = draft;
  const before = now - settings.memoryMs;
  const isLate = before > Math.max(head.forgottenBefore ?? 0, head.birth) + lagMs;
  const isFull = draft.databaseBytes > settings.databaseBytesMax && trimTo !== undefined;
  if (!isLate && !isFull) {
    return;
  }
  const memSince = isLate ? Math.max(head.memSince, before) : head.memSince;
  const isOver = isLate && head.trimmed != null && before > head.trimmed.at;
  const kept = isOver ? null : (head.trimmed ?? null);
  draft.head = {
    ...head,
    memSince,
    ...(isLate ? { forgottenBefore: before } : {}),
    trimmed: isFull ? { from: Math.max(kept?.from ?? 0, trimTo), at: now } : kept,
  };
  draft.forget();
}
