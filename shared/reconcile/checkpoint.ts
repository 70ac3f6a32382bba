/**
 * The reconciler's memory, between its runs: which minutes are sealed, which are open, and how far the second
 * listing, the audit and the deletion have come. It is plain data, kept by the ledger's Durable Object. Losing it
 * costs one long round over what R2 still holds, and nothing else.
 *
 * A minute's way: walked from its first key to its last, five minutes after its end at the earliest. Nothing missing
 * and nothing in flight: it is sealed, and kept nowhere (`from` has passed it). Else it is open, and walked again with
 * back-off, in the order in which minutes are due and not in the order of time, so that minutes which cannot be sealed
 * for a while do not stand in front of all others.
 */
import { MINUTE_MS } from "../limits.ts";
import { formatMinute, type ObjectKey, type PayloadKey, payloadPrefix } from "../payload-key.ts";

/** A minute that was walked, or is being walked, and is not sealed. Times in ms since the epoch. */
export interface OpenMinute {
  readonly minute: number;
  readonly tries: number;
  readonly dueAt: number;
  /** Where a walk that ran out of its budget goes on: the last key that it saw. Empty: from the minute's start. */
  readonly after: string;
  /** Of the walk that is under way or was the last: payloads listed, those without receipt, and the key of one, or of its object. */
  readonly listed: number;
  /** Of the keys listed (`keyChecksum`), in decimal. */
  readonly checksum: string;
  readonly pending: number;
  readonly example: PayloadKey | ObjectKey | null;
}

/** A minute to be listed once more, for it was sealed when the second listing had passed it. */
export interface AgainMinute {
  readonly minute: number;
  readonly at: number;
  /** Where a walk that ran out of its budget goes on. Empty: from the minute's start. */
  readonly after: string;
}

/** Rows that a reading missed, to be read again at `dueAt` (doubts.ts). `reportedAt` 0: it is not reported yet. */
export type Doubt = {
  readonly missing: number;
  readonly dueAt: number;
  readonly tries: number;
  readonly reportedAt: number;
} & (
  | { readonly kind: "keys"; readonly keys: readonly PayloadKey[] }
  /** So many of a page that none is notified on their word. `notified`: the one whose rows are waited for. */
  | {
      readonly kind: "page";
      readonly after: string;
      readonly before: string;
      readonly notified: PayloadKey | null;
    }
);

export interface Checkpoint {
  /** The first minute that no walk has begun. */
  readonly from: number;
  readonly open: readonly OpenMinute[];
  /** The newest minute in which a walk has seen a key; 0: none. */
  readonly newest: number;
  /** How far the second listing has come: a text that keys are compared with. */
  readonly againAfter: string;
  readonly again: readonly AgainMinute[];
  /** How far the audit has come, likewise. */
  readonly auditAfter: string;
  readonly doubts: readonly Doubt[];
  /** How far this round of deletion has come, likewise; the next round begins at `deleteNextAt`. */
  readonly deleteAfter: string;
  readonly deleteNextAt: number;
  /** The last objects that were reported as older than receipts are kept. Absent in an older version's checkpoint. */
  readonly expiredReported?: readonly PayloadKey[];
  /** Since when the table's rows cannot be established, and why; null: the last run could. Absent in an older version's checkpoint. */
  readonly noEvidence?: { readonly since: number; readonly reason: string } | null;
  /** When a run last came to its end. */
  readonly ranAt: number;
}

/** A checkpoint that begins with everything from the minute of `from` on. */
export function newCheckpoint(from: number): Checkpoint {
  const minute = startOfMinute(from);
  return {
    from: minute,
    open: [],
    newest: 0,
    againAfter: beforeMinute(minute),
    again: [],
    auditAfter: beforeMinute(minute),
    doubts: [],
    deleteAfter: payloadPrefix,
    deleteNextAt: 0,
    ranAt: 0,
  };
}

export function startOfMinute(time: number): number {
  return Math.floor(time / MINUTE_MS) * MINUTE_MS;
}

/** A text that sorts before every key of the minute, and after every key of the one before. */
export function beforeMinute(minute: number): string {
  const number = Math.floor(minute / MINUTE_MS);
  const slot = number & (textsKept - 1);
  let text = textsBefore[slot];
  if (text === undefined || minutesOfTexts[slot] !== number) {
    text = `${payloadPrefix}${formatMinute(minute)}/`;
    textsBefore[slot] = text;
    minutesOfTexts[slot] = number;
  }
  return text;
}

/** A run compares keys with the same few of them again and again: each slot has the last one of its minutes. */
const textsKept = 4096;
const textsBefore: (string | undefined)[] = new Array(textsKept).fill(undefined);
const minutesOfTexts = new Int32Array(textsKept);

/** A minute whose walk begins now. */
export function opened(minute: number, now: number): OpenMinute {
  return { minute, tries: 0, dueAt: now, after: "", listed: 0, checksum: "0", pending: 0, example: null };
}

/** The checkpoint with this version of an open minute. */
export function withOpen(checkpoint: Checkpoint, one: OpenMinute): Checkpoint {
  return { ...checkpoint, open: [...checkpoint.open.filter(({ minute }) => minute !== one.minute), one] };
}

export function withoutOpen(checkpoint: Checkpoint, minute: number): Checkpoint {
  return { ...checkpoint, open: checkpoint.open.filter((one) => one.minute !== minute) };
}

export function isOpen(checkpoint: Checkpoint, minute: number): boolean {
  return minute >= checkpoint.from || checkpoint.open.some((one) => one.minute === minute);
}

/** The open minutes to be walked now: the one that has been due for the longest first, of equals the oldest. */
export function dueMinutes({ open }: Checkpoint, now: number): readonly OpenMinute[] {
  return open.filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt || a.minute - b.minute);
}

/**
 * The watermark, ms since the epoch: everything that arrived before it is stored, dead, duplicate, erased or expired, and
 * nothing of it is in flight.
 */
export function watermarkOf(checkpoint: Checkpoint): number {
  return checkpoint.open.reduce((least, { minute }) => Math.min(least, minute), checkpoint.from);
}
