/**
 * What a reconciler run asks of the world, and what it is answered. A run is a generator: it yields one effect at a
 * time and goes on with its answer, so the same code runs in the Worker (which awaits each one) and in the model of
 * test/faults (which may fail or abandon a run at any of them).
 */
import { assert } from "../assert.ts";
import type { Finding } from "../clickhouse/findings.ts";
import type { DayRows, Receipt } from "../ledger/group.ts";
import type { Doorbell } from "../messages.ts";
import type { PayloadOutcome } from "../outcome.ts";
import type { PayloadId, PayloadKey } from "../payload-key.ts";
import type { MinuteBook } from "./minute-book.ts";

/** A payload as R2 lists it. The doorbell's cause is `reconcile`. */
export interface Listed {
  readonly key: PayloadKey;
  readonly doorbell: Doorbell;
}

export interface KeyOutcome {
  readonly key: PayloadKey;
  readonly outcome: PayloadOutcome;
}

export interface DatedReceipt extends Receipt {
  /** When it was written, ms since the epoch. */
  readonly at: number;
}

/** What the receipts say of one minute and tenant. The checksum is that of `keyChecksum` over all keys. */
export interface MinuteTally {
  readonly tenant: string;
  readonly accepted: number;
  readonly stored: number;
  readonly dead: number;
  readonly duplicate: number;
  readonly erased: number;
  readonly expired: number;
  readonly spans: number;
  readonly rejectedSpans: number;
  readonly bytes: number;
  readonly checksum: bigint;
}

/** A row of `headrace_minutes`. `minute`: ms since the epoch. */
export interface MinuteRow extends MinuteTally {
  readonly minute: number;
  readonly sealed: boolean;
}

/** A row of `headrace_watermarks`: everything that arrived before `watermark` is balanced, nothing of it in flight. */
export interface WatermarkRow {
  /** ms since the epoch */
  readonly watermark: number;
  readonly openMinutes: number;
}

/** What the reconciler tells people about, once, as it finds it. */
export type ReconcileFinding = Omit<Finding, "openedAt"> & { readonly openedAt?: number };

export type Effect =
  /** Payloads in R2 after this text, or, where there is one, from an answer's cursor on; in order, at most `atMost`. */
  | {
      readonly do: "list";
      readonly after: string;
      readonly cursor: string | null;
      readonly atMost: number;
    }
  /** How these keys ended, as far as they have receipts. Ascending keys. */
  | { readonly do: "outcomes"; readonly keys: readonly PayloadKey[] }
  /** The receipts of these keys. Ascending keys. */
  | { readonly do: "receipts"; readonly keys: readonly PayloadKey[] }
  /** The receipts of these ids, under all of their keys. */
  | { readonly do: "receiptsOfIds"; readonly ids: readonly PayloadId[] }
  /** Stored receipts with `after < key < before`, in order of keys, at most `atMost`. */
  | {
      readonly do: "storedReceipts";
      readonly after: string;
      readonly before: string;
      readonly atMost: number;
    }
  /** Does the ledger hold each key's id? */
  | { readonly do: "holds"; readonly keys: readonly PayloadKey[] }
  /** Rows of these ids by day, from the table itself. */
  | { readonly do: "rows"; readonly ids: readonly PayloadId[] }
  /** What the receipts of a minute add up to, by tenant. */
  | { readonly do: "tally"; readonly minute: number }
  /** The objects that are there of these keys. */
  | { readonly do: "find"; readonly keys: readonly PayloadKey[] }
  /** Those of these keys that have a dead letter's record in R2. Ascending keys. */
  | { readonly do: "deadLetters"; readonly keys: readonly PayloadKey[] }
  | { readonly do: "ring"; readonly doorbells: readonly Doorbell[] }
  /** Write these rows, the minutes' first. */
  | { readonly do: "record"; readonly minutes: readonly MinuteRow[]; readonly watermark: WatermarkRow }
  /** Delete these payloads' objects. */
  | { readonly do: "delete"; readonly keys: readonly PayloadKey[] }
  | { readonly do: "tell"; readonly findings: readonly ReconcileFinding[] }
  /** Keep the book, if this run still has the lease. */
  | { readonly do: "save"; readonly book: MinuteBook };

export type Answer =
  /**
   * May hold fewer objects than asked for, or none, while more come after: `cursor` goes on, null is the end. `through`:
   * the last key seen, which may be no payload's; `after` where none was.
   */
  | {
      readonly to: "list";
      readonly objects: readonly Listed[];
      readonly through: string;
      readonly cursor: string | null;
    }
  | { readonly to: "outcomes"; readonly outcomes: readonly KeyOutcome[] }
  | { readonly to: "receipts"; readonly receipts: readonly DatedReceipt[] }
  | { readonly to: "receiptsOfIds"; readonly receipts: readonly DatedReceipt[] }
  | { readonly to: "storedReceipts"; readonly receipts: readonly DatedReceipt[] }
  | { readonly to: "holds"; readonly held: readonly boolean[] }
  /** `oldestDay`: the first day inside the table's TTL. */
  | {
      readonly to: "rows";
      readonly rows: ReadonlyMap<PayloadId, readonly DayRows[]>;
      readonly oldestDay: number;
    }
  | { readonly to: "tally"; readonly tenants: readonly MinuteTally[] }
  | { readonly to: "find"; readonly objects: readonly Listed[] }
  | { readonly to: "deadLetters"; readonly keys: readonly PayloadKey[] }
  | { readonly to: "ring" | "record" | "delete" | "tell" }
  /** `kept` false: another run has taken over, and this one ends. */
  | { readonly to: "save"; readonly kept: boolean };

/** A part of a run that yields effects and comes to a `T`. */
export type Asking<T> = Generator<Effect, T, Answer>;

/** Yields one effect and gives its own answer back. */
export function* ask<Name extends Effect["do"]>(
  effect: Extract<Effect, { readonly do: Name }>,
): Asking<Extract<Answer, { readonly to: Name }>> {
  const answer = yield effect;
  assert(isAnswerTo(answer, effect.do), "an effect is given its own answer");
  return answer;
}

function isAnswerTo<Name extends Effect["do"]>(
  answer: Answer,
  name: Name,
): answer is Extract<Answer, { readonly to: Name }> {
  return answer.to === name;
}
