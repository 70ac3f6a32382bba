/**
 * What the ledger keeps of payloads and groups, and what it says to the consumer: a task is what an attempt must do,
 * a report how it ended. All of it is plain data: it is stored as JSON and crosses the Durable Object's border.
 *
 * A group's payloads never change once it is made, and its id is the `insert_deduplication_token` of its INSERT and
 * of no other: under one token ClickHouse keeps the first content that it saw and answers 200 to any other (FACTS B2).
 */
import type { Cause } from "../messages.ts";
import type { PayloadOutcome } from "../outcome.ts";
import type { PayloadKey } from "../payload-key.ts";

declare const brand: unique symbol;
/** 128 random bits as 32 lower-case hex digits: a group's id, its token, and the base of its query ids. */
export type GroupId = string & { readonly [brand]: "GroupId" };

const groupIdPattern = /^[0-9a-f]{32}$/;

export function isGroupId(text: string): text is GroupId {
  return groupIdPattern.test(text);
}

/** A payload that the ledger has taken over. Its id is the last part of its key. */
export interface GroupPayload {
  readonly key: PayloadKey;
  readonly spans: number;
  /** What its rows can take at most, as the ingress computed it. */
  readonly outputBytes: number;
  /** ms since the epoch */
  readonly arrival: number;
  /** Why it was rung first. */
  readonly cause: Cause;
  /** Other keys under which equal bytes arrived. Their `duplicate` receipts are written with the owner's or after it. */
  readonly duplicateKeys: readonly PayloadKey[];
}

/** Rows of one day (UTC), counted in days since 1970-01-01: a partition of `otel_traces`. */
export interface DayRows {
  readonly day: number;
  readonly rows: number;
}

/** What one payload of a stored group came to. */
export interface StoredPayload {
  readonly key: PayloadKey;
  /** Ascending by day; their sum is the payload's spans. */
  readonly rowsByDay: readonly DayRows[];
  readonly rejectedSpans: number;
  /** Size of the object in R2. */
  readonly bytes: number;
}

/** A row of `headrace_receipts` as the ledger wants it written. */
export interface ReceiptDraft {
  readonly key: PayloadKey;
  readonly outcome: PayloadOutcome;
  /** The group whose INSERT stored the rows. */
  readonly group: GroupId;
  readonly spans: number;
  readonly rowsByDay: readonly DayRows[];
  readonly rejectedSpans: number;
  readonly bytes: number;
  readonly reason: string;
}

interface TaskBase {
  readonly group: GroupId;
  /** Counts every hand-out of the group from 1. The INSERT's query id is `group.attempt`. */
  readonly attempt: number;
  /** ms since the epoch. The ledger waits for a report until then; no INSERT may start after it (invariant I6). */
  readonly deadline: number;
  readonly payloads: readonly GroupPayload[];
}

export type GroupTask =
  /** Fetch, transcode and insert the payloads as one block, in this order, then report. */
  | (TaskBase & { readonly step: "insert" })
  /** The rows are in the table. Write these receipts, then settle. */
  | (TaskBase & { readonly step: "receipts"; readonly receipts: readonly ReceiptDraft[] });

/** How an attempt ended. What is not reported by the deadline counts as `unknown`. */
export type AttemptReport =
  /** Status 200, ClickHouse's own headers, no exception in the body, and no fewer rows written than sent. */
  | {
      readonly kind: "stored";
      readonly payloads: readonly StoredPayload[];
      readonly codecVersion: number;
    }
  /** `retry`: known not to be stored. `unknown`: it may be. `refused`: the data's fault. `halted`: everybody's. */
  | {
      readonly kind: "retry" | "unknown" | "refused" | "halted";
      readonly reason: string;
      /** ClickHouse's error code, where it answered with one. */
      readonly code?: number;
    };

/** An attempt that is out: nobody else gets the group before `until`. */
export interface Lease {
  readonly attempt: number;
  readonly until: number;
}

export type GroupState =
  /** To be inserted. */
  | { readonly at: "open"; readonly lease: Lease | null }
  /** Stored; its receipts are to be written. */
  | {
      readonly at: "stored";
      readonly lease: Lease | null;
      readonly receipts: readonly ReceiptDraft[];
      /** How many of them, from the first, the attempt that is out was handed. Later ones are appended. */
      readonly given: number;
    };

/** Payloads inserted as one block; with no payloads, receipts that are owed for ids that are done. */
export interface Group {
  readonly id: GroupId;
  readonly payloads: readonly GroupPayload[];
  readonly made: number;
  /** Hand-outs so far. */
  readonly attempts: number;
  /** An attempt ended unknown: a later 200 is no proof (FACTS B2, the crash hole). */
  readonly unclean: boolean;
  /** Failed attempts since the last progress: the exponent of the back-off after a failure. */
  readonly failures: number;
  /** Rings since the last hand-out: the exponent of the back-off after a ring. */
  readonly rings: number;
  /** When the alarm must look at it again: ring it, or take back an expired lease. */
  readonly due: number;
  readonly state: GroupState;
}
