/**
 * What the ledger keeps of payloads and groups, and what it says to the consumer: a task is what an attempt must do,
 * a report how it ended. All of it is plain data: it is stored as JSON and crosses the Durable Object's border.
 *
 * A group's payloads never change once it is made, and its id is the `insert_deduplication_token` of its INSERT and
 * of no other: under one token ClickHouse keeps the first content that it saw and answers 200 to any other (docs/facts.md: deduplication).
 */
import type { TableTtl } from "../clickhouse/ttl.ts";
import type { Failure } from "../failure.ts";
import type { Cause } from "../messages.ts";
import type { PayloadKey } from "../payload-key.ts";
import type { DayRows, GroupId, PlannedReceipt, ReceiptClaim } from "../receipt.ts";

/** A payload that the ledger has taken over. Its id is the last part of its key. */
export interface GroupPayload {
  readonly key: PayloadKey;
  readonly spans: number;
  /** What its rows can take at most, as the ingress computed it. */
  readonly outputBytes: number;
  /** ms since the epoch */
  readonly arrival: number;
  /** Bytes of its body inflated, and the first day of its spans. A doorbell of an older version says neither. */
  readonly inflatedBytes?: number;
  readonly oldestDay?: number;
  /** Why it was notified; the strongest reason so far (`audit` and `replay` may store again what has a receipt). */
  readonly cause: Cause;
  /** A doorbell of the ingress came for this id: if an event or the reconciler came first, it only overtook. */
  readonly doorbell: boolean;
  /** Other keys under which equal bytes arrived. Their `duplicate` receipts are written with the owner's or after it. */
  readonly duplicateKeys: readonly PayloadKey[];
  /**
   * Set when the table already has the payload's other days: only the rows of `days` are to be inserted. `whole` is
   * what the payload comes to altogether, for its receipt.
   */
  readonly missingDays: { readonly days: readonly number[]; readonly complete: readonly DayRows[] } | null;
  /** A person's reason to erase it as soon as it is no longer live. */
  readonly erase: string | null;
}

/** What one payload of an INSERT came to. */
export interface StoredPayload {
  readonly key: PayloadKey;
  /** Rows inserted. Ascending by day; their sum is the payload's spans (or those of `only.days`). */
  readonly rowsByDay: readonly DayRows[];
  readonly rejectedSpans: number;
  /** Size of the object in R2. */
  readonly bytes: number;
}

interface TaskBase {
  readonly group: GroupId;
  /** Counts every lease of the group. The INSERT's query id is `group.attempt`. */
  readonly attempt: number;
  /** ms since the epoch. The ledger waits for a report until then; no INSERT may start after it (invariant I6). */
  readonly deadline: number;
  readonly payloads: readonly GroupPayload[];
  /** The identity of the table that the ledger knows (clickhouse/table-identity.ts). Null: none yet. */
  readonly table: string | null;
}

export type GroupTask =
  /**
   * Fetch, transcode and insert the payloads in this order, as so many blocks, then report: `stored`, `retry`, `unknown`,
   * `refused`, `unlisted`, `halted` or `unreadable`.
   */
  | (TaskBase & {
      readonly step: "insert";
      /** Absent in what an older version leased: one. */
      readonly blocks?: number;
      /** No INSERT under this token has been sent before: the rows that ClickHouse says it wrote are this INSERT's. */
      readonly isFirstInsert: boolean;
      /** `deadline` by ClickHouse's clock: it refuses what begins later. */
      readonly serverDeadline: number;
      /**
       * It may go by the fence that the table holds (clickhouse/table-fence.ts). Absent in what an older version leased: it may
       * not.
       */
      readonly byColumn?: boolean;
    })
  /** Read the table's blocks and window (TableMeasure), report `measured`: may this token still be trusted? */
  | (TaskBase & { readonly step: "measure" })
  /**
   * Count the rows of each payload by day, report `counted`. `why`: after a 200 too few decide nothing, for VERIFY looks
   * again; after a refusal none is what the next step is built on.
   */
  | (TaskBase & { readonly step: "count"; readonly why: Extract<GroupState, { at: "counting" }>["why"] })
  /**
   * Look for running queries whose id begins with `group.` and KILL them; read the receipts by payload id over all
   * its keys, then the rows by (payload, day), then look for an object under one of its keys (one that is receipted as
   * stored first, then the payload's key); report `verified`, of the first of the payloads where there are many objects to
   * look for. An object is transcoded for its rows by day only if neither `rows` nor a `stored` receipt says them.
   */
  | (TaskBase & {
      readonly step: "verify";
      readonly rows: readonly StoredPayload[] | null;
      /** No object is transcoded: an isolate died of it, or took too long. */
      readonly isBlind: boolean;
    })
  /**
   * A person wants the rows of these payloads written anew. Look for an object under one of the id's keys (the
   * payload's key first): where one has none, report `kept`. Else delete the rows of the ids and report `cleared`. The
   * DELETE's query id is `group.attempt`, and it begins within the deadline like an INSERT.
   */
  | (TaskBase & { readonly step: "clear" })
  /**
   * Write these receipts, and report them as written. With `completeView`, first complete otel_traces_trace_id_ts for these payloads
   * (INSERT ... SELECT: doubled rows are harmless there, it is read by min and max). A `dead` receipt is preceded by
   * its dead letter; an `erased` one is followed by deleting the id's rows, then the key's object. Of one that is written only the object
   * is left.
   */
  | (TaskBase & {
      readonly step: "receipts";
      readonly receipts: readonly PlannedReceipt[];
      readonly completeView: boolean;
      /** What its attempts failed of, for its dead letters. A ledger of an earlier version does not say it. */
      readonly failure?: Failure | null;
    });

/** How far the table's dedup log has been used, by us and by others (docs/facts.md: evidence). */
export interface TableMeasure {
  /** max(max_block_number) over the active parts. */
  readonly blocks: number;
  /** The deduplication window in blocks, and in time where the engine has one. */
  readonly windowBlocks: number;
  readonly windowMs: number | null;
  /** ms that the server's clock is ahead of ours, as far as it is known. Absent where an older version measured. */
  readonly clockAheadMs?: number;
  /** Absent where an older version measured. */
  readonly ttl?: TableTtl;
  /** Which table was measured (clickhouse/table-identity.ts). Null: the server could not say. */
  readonly identity?: string | null;
  /** The table holds a fence of its own, of this identity. Absent where an older version measured. */
  readonly isFenced?: boolean;
}

/** What VERIFY found of one payload. */
export interface Evidence {
  /** The payload's key in the task. */
  readonly key: PayloadKey;
  /** Receipts of every key of the id. */
  readonly receipts: readonly ReceiptClaim[];
  /** Rows in the table, zeros left out, days older than the table's TTL left out. */
  readonly rowsByDay: readonly DayRows[];
  /** An object of the id: under which key, and what it comes to. Null: none of the id's keys has one. */
  readonly object: {
    readonly key: PayloadKey;
    /** Its rows, all days together. */
    readonly spans: number;
    readonly rejectedSpans: number;
    readonly bytes: number;
    /** Null where nobody needed it; `undecodable` where the transcoder refuses the object, `unreadable` where its metadata is not ours. */
    readonly rowsByDay: readonly DayRows[] | "undecodable" | "unreadable" | null;
  } | null;
}

interface FailureFacts {
  readonly reason: string;
  /** Nothing is to be concluded about the group: it came too late, or its isolate had no memory left for it. */
  readonly passes?: true;
  /** A count that proves nothing: of a replica that lags, or of another table. */
  readonly noEvidence?: true;
  /** Its rows take more than an isolate can hold, compressed. */
  readonly tooLarge?: true;
  /** Another table answered, and stored nothing. */
  readonly elsewhere?: true;
  /** ClickHouse's error code, where it answered with one. */
  readonly code?: number;
  /** It keeps an erasure from being completed, and no payload from being stored. */
  readonly ofErasure?: true;
  /** Of receipts: these payloads are in R2 still, and everything else that was leased is done. */
  readonly left?: readonly PayloadKey[];
  /** What the transcoder counted, if it came so far. */
  readonly payloads?: readonly StoredPayload[];
}

/** How an attempt ended. What is not reported by the deadline counts as `unknown`. */
export type AttemptReport =
  /** Status 200, ClickHouse's own headers, no exception in the body, and no fewer rows written than sent. */
  | {
      readonly kind: "stored";
      readonly payloads: readonly StoredPayload[];
      readonly codecVersion: number;
      /** A look at the table after the INSERT, where rows are of days before today: a TTL may have dropped them at once. */
      readonly look?: { readonly refusal: string; readonly measure: TableMeasure };
    }
  /**
   * `retry`: not stored, as far as is known; without a code, no INSERT was begun. `unknown`: it may be. `unlisted`: a complete answer with a code that no table
   * lists. `halted`: everybody's fault (schema, login, read-only).
   */
  | ({ readonly kind: "retry" | "unknown" | "unlisted" | "halted" } & FailureFacts)
  /** The data's fault. */
  | ({ readonly kind: "refused" } & FailureFacts)
  /** An invariant of ours broke, in whatever step. */
  | { readonly kind: "broken"; readonly reason: string }
  /** No INSERT was begun: these payloads have no object under their key, do not decode, or were not read, for there were too many. */
  | { readonly kind: "unreadable"; readonly keys: readonly PayloadKey[]; readonly reason: string }
  /** `refusal`: why nothing may be inserted, by the same look; empty: it may. */
  | { readonly kind: "measured"; readonly table: TableMeasure; readonly refusal: string }
  /** The rows are deleted. */
  | { readonly kind: "cleared" }
  /** Nothing was deleted: R2 has no object to write the rows from again. */
  | { readonly kind: "kept" }
  /** In the task's order: rows by day, zeros left out. */
  | {
      readonly kind: "counted";
      readonly payloads: readonly { readonly key: PayloadKey; readonly rowsByDay: readonly DayRows[] }[];
    }
  /** `running`: a query of the group was still there (and has been killed). `oldestDay`: the first day inside the TTL. */
  | {
      readonly kind: "verified";
      readonly running: boolean;
      readonly oldestDay: number;
      readonly payloads: readonly Evidence[];
    };

/** An attempt in flight: no other caller gets the group before `until`. */
export interface Lease {
  readonly attempt: number;
  readonly until: number;
}

/** How an id ended, as the ledger remembers it. */
export type EndOutcome = "stored" | "dead" | "erased";

export interface EndedPayload {
  readonly key: PayloadKey;
  readonly outcome: EndOutcome;
  /** By which key it is remembered (key-tag.ts), where that is another one than `key`. */
  readonly tag?: number;
}

/** What VERIFY found of a payload that is held, and why nobody may conclude from it. */
interface Held {
  readonly key: PayloadKey;
  readonly rowsByDay: readonly DayRows[];
  readonly reason: string;
}

export type GroupState =
  /** To be inserted. `out`: what the attempt in flight does. */
  | { readonly at: "open"; readonly lease: Lease | null; readonly out: "insert" | "measure" }
  /** Answered, but the answer is not a proof: the rows are to be counted. */
  | {
      readonly at: "counting";
      readonly lease: Lease | null;
      readonly why: "stored" | "refused";
      readonly code: string;
    }
  /** Nobody inserts; after `fence` nothing of it can be running, and the evidence is read. */
  | {
      readonly at: "verifying";
      readonly lease: Lease | null;
      readonly fence: number;
      /** What turns out to be absent is inserted payload by payload: the group as a whole was answered and never stored. */
      readonly split: boolean;
      readonly code: string;
      /** A VERIFY of it was never reported: the next one transcodes nothing. */
      readonly isBlind?: boolean;
    }
  /** Everything is decided; its receipts are to be written. */
  | {
      readonly at: "receipting";
      readonly lease: Lease | null;
      readonly receipts: readonly PlannedReceipt[];
      /** How many of them, from the first, the attempt in flight writes: a part of many. Later ones are appended. */
      readonly leased: number;
      readonly completeView: boolean;
      /** What becomes of its ids. */
      readonly ended: readonly EndedPayload[];
      /** Keys that somebody missed meanwhile (audit, replay): their payloads are verified when the receipts are written. */
      readonly asked?: readonly PayloadKey[];
    }
  /** The table has neither none nor all of it: nobody inserts until a person resolves it. */
  | {
      readonly at: "held";
      readonly lease: null;
      readonly found: readonly Held[];
    }
  /**
   * A person had it decided that its rows are deleted and written anew. `found` is what it goes back to where that
   * cannot be.
   */
  | { readonly at: "clearing"; readonly lease: Lease | null; readonly found: readonly Held[] };

/** Payloads inserted as one INSERT. */
export interface Group {
  readonly id: GroupId;
  /** The ledger's epoch in which its state holds; a group of an older one goes to VERIFY. */
  readonly epoch: number;
  readonly payloads: readonly GroupPayload[];
  /** The Native blocks of its INSERT (grouping.ts, `blocksOf`): never another number under its token. */
  readonly blocks: number;
  readonly made: number;
  /** Leases so far. */
  readonly attempts: number;
  /** How often its INSERT was leased, and when first and last. The DELETE of its rows counts as the last of them. */
  readonly inserts: number;
  readonly firstInsertAt: number | null;
  readonly lastInsertAt: number | null;
  /** The table's blocks as last measured before the first INSERT. Null: not measured yet. */
  readonly blocksBefore: number | null;
  /** Who transcoded it first, and what that came to. Other code may write other bytes under the same token. */
  readonly codecVersion: number | null;
  readonly rows: readonly StoredPayload[] | null;
  /** An attempt ended unknown: a later 200 is not a proof (docs/facts.md: deduplication, the crash hole). */
  readonly outcomeUnknown: boolean;
  /** Refusals of a payload that is alone, each proven to be its own fault by another group's INSERT in between. */
  readonly refusals: number;
  readonly lastRefusalAt: number;
  /** Complete answers with an unlisted code. */
  readonly unlisted: number;
  /** Failures that may be its own (own-failures.ts), and when it last had one. */
  readonly ownFailures: number;
  readonly ownFailedAt: number;
  /** What its attempts failed of. Null: none has failed. */
  readonly failure: Failure | null;
  /** Failed attempts since the last progress: the exponent of the back-off after a failure. */
  readonly failures: number;
  /** Rings since the last lease: the exponent of the back-off after a ring. */
  readonly rings: number;
  /** When the alarm must look at it again: ring it, or take back an expired lease. `dueNever` for what is held. */
  readonly due: number;
  readonly state: GroupState;
}

/** A `due` that does not come. */
export const dueNever = Number.MAX_SAFE_INTEGER;

/** Groups that only wait for their INSERT are notified by the breaker's measure, all others when they are due. */
export type DueQueue = "insert" | "other";

export function dueQueueOf({ state }: Group): DueQueue {
  return state.at === "open" && state.lease === null ? "insert" : "other";
}
