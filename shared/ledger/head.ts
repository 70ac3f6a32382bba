/**
 * The ledger's head: the little that is not about one payload or group. Its memory (since when it is complete), the
 * breaker, what the table check said, and the counts of what people should know.
 */
import type { Cause } from "../messages.ts";
import type { PayloadId } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import type { TableMeasure } from "./group.ts";

/** `memSince` of a ledger that was there from the first payload on. */
const always = Number.MIN_SAFE_INTEGER;

/**
 * A group that was notified for its INSERT keeps a slot until it is fetched: a slot for which everybody is notified is refused
 * to all but one of them, and fills the queue with bells. It is notified again at `again`, for the ring may be lost.
 */
export interface Call {
  readonly group: GroupId;
  readonly again: number;
}

export interface Breaker {
  /** Groups whose INSERT is in flight. */
  readonly inFlight: readonly GroupId[];
  /** The wide group whose INSERT was leased last: a second one waits while that is in flight. */
  readonly wide?: GroupId;
  /** Groups that were notified for their INSERT and have not been fetched. */
  readonly notified: readonly Call[];
  /** How many may be out. */
  readonly concurrencyLimit: number;
  /** Distinct groups with unknown outcomes since the last success. */
  readonly suspects: readonly GroupId[];
  /** While open, one probe at a time, none before `probeAt`. */
  readonly isOpen: boolean;
  readonly probeAt: number;
  readonly failures: number;
}

export interface TableState {
  /** Empty: inserts may go. Else why not, for people. */
  readonly refusal: string;
  readonly measure: TableMeasure | null;
  readonly measuredAt: number;
  /** Which table it is (clickhouse/table-identity.ts), as the first look found it. Absent in what an older version wrote. */
  readonly identity?: string | null;
  /** Another table answered: when last, and which, as far as it was said. */
  readonly other?: { readonly at: number; readonly found: string } | null;
  /** When a person last accepted another table. */
  readonly acceptedAt?: number;
}

/** The table's rows could not be established: since when, and why. */
export interface NoEvidence {
  readonly since: number;
  readonly reason: string;
}

/** A payload that a late ring found; it counts as a rescue unless its doorbell still comes. */
interface PendingRescue {
  readonly id: PayloadId;
  readonly ring: "event" | "reconcile";
  readonly at: number;
}

/** The store was full at `at`. What had ended by then and has content before `from` (minutes since 2020) is forgotten. */
interface Trimmed {
  readonly from: number;
  readonly at: number;
}

export interface Head {
  /** Raised by our own restore command before it restores. */
  readonly epoch: number;
  /** No ledger before this one can have leased anything since then. */
  readonly birth: number;
  /** Every id that was finished at or after this is remembered, but for what was trimmed. */
  readonly memSince: number;
  /** Ids that ended before this are forgotten. Absent while none is. */
  readonly forgottenBefore?: number;
  /** Null or absent: nothing was trimmed that ended at or after `memSince`. */
  readonly trimmed?: Trimmed | null;
  /** Counts minutes; its copy in R2 being ahead means that this ledger was restored to an older time. */
  readonly counter: number;
  readonly breaker: Breaker;
  readonly table: TableState;
  /** Since then no count of rows was evidence. Null: the last one was, or none was asked for. Absent in older heads. */
  readonly noEvidence?: NoEvidence | null;
  /** When the newest INSERT that was stored had been leased. */
  readonly lastStoredInsertAt: number;
  /** When a group was last split because of its failures (own-failures.ts). */
  readonly lastSplitAt: number;
  readonly pendingRescues: readonly PendingRescue[];
  readonly rescues: Readonly<Record<"event" | "reconcile", number>>;
  /** When a doorbell last came that had been in its queue for longer than a rescue waits. */
  readonly backlogAt: number;
  /** Bells for payloads whose rows a person had removed: acked, counted. */
  readonly lateBells: number;
}

/** What a ledger without memory finds in R2 and ClickHouse when it begins. */
export interface BirthFacts {
  /** R2 has the epoch object: there was a ledger before. */
  readonly epoch: number | null;
  /** R2 has any payload. */
  readonly anyPayload: boolean;
  /** The table has any row of ours. */
  readonly anyRow: boolean;
}

/** The head of a new ledger. Only where nothing was there before it is its memory complete from the beginning. */
export function bornHead(facts: BirthFacts, now: number, concurrencyLimit: number): Head {
  const isGenesis = facts.epoch === null && !facts.anyPayload && !facts.anyRow;
  return {
    epoch: facts.epoch ?? 1,
    birth: now,
    memSince: isGenesis ? always : now,
    counter: 0,
    breaker: {
      inFlight: [],
      notified: [],
      concurrencyLimit,
      suspects: [],
      isOpen: false,
      probeAt: 0,
      failures: 0,
    },
    table: { refusal: "", measure: null, measuredAt: 0 },
    lastStoredInsertAt: 0,
    lastSplitAt: 0,
    pendingRescues: [],
    rescues: { event: 0, reconcile: 0 },
    backlogAt: 0,
    lateBells: 0,
  };
}

/** May this cause store again what has a `stored` receipt? Only when somebody looked and asked for it. */
export function mayStoreAgain(cause: Cause): boolean {
  return cause === "audit" || cause === "replay";
}
