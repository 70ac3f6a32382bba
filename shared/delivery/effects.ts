/**
 * What the consumer's work asks for: taking a batch of messages, and the work on a group. Performed by
 * workers/consumer/perform.ts, and by its twin in test/faults/world/perform.ts. Where nothing else is said, an effect
 * that failed may have been done.
 */
import type { Processes } from "../clickhouse/barrier.ts";
import type { Answer } from "../clickhouse/errors.ts";
import type { ServerWitness, TableWitness } from "../clickhouse/table-identity.ts";
import { type Ask, type Attempt, askEffect, attemptEffect, type Performer, type Work } from "../effect.ts";
import type { Failure } from "../failure.ts";
import type { Finding } from "../finding.ts";
import type { AttemptReport, GroupPayload, GroupTask, StoredPayload } from "../ledger/group.ts";
import type { TableFacts } from "../ledger/known-table.ts";
import type { BareBell } from "../ledger/knows.ts";
import type { Receipted } from "../ledger/machine.ts";
import type { Cause, Doorbell, OutcomesMessage } from "../messages.ts";
import type { ObjectKey, PayloadId, PayloadKey } from "../payload-key.ts";
import type { DayRows, GroupId, Receipt, ReceiptClaim } from "../receipt.ts";
import type { NotErased } from "../segment/erase-payloads.ts";

export type InsertTask = Extract<GroupTask, { readonly step: "insert" }>;

/** A group's payloads as blocks: what they come to. The bytes stay with the performer. */
type Built =
  | { readonly kind: "built"; readonly rows: number; readonly payloads: readonly StoredPayload[] }
  /** The isolate had no memory left for it in time. */
  | { readonly kind: "busy" }
  /** It takes more than an isolate can hold, compressed. */
  | { readonly kind: "too_large"; readonly reason: string }
  /** These payloads have no object, or do not decode. */
  | { readonly kind: "unreadable"; readonly keys: readonly PayloadKey[]; readonly reason: string };

/** An object of R2, as far as VERIFY wants to know it. */
export interface FoundObject {
  /** Its rows, all days together, as its metadata says. */
  readonly spans: number;
  readonly rejectedSpans: number;
  /** Size of the object. */
  readonly bytes: number;
  /** Null where nobody asked; `undecodable` where the transcoder refuses the object, `unreadable` where its metadata is not ours. */
  readonly rowsByDay: readonly DayRows[] | "undecodable" | "unreadable" | null;
}

/** Rows of payloads, on the days that they may have some. `group`: which deletion it is, to distinguish it from others. */
interface RowsToDelete {
  readonly ids: readonly PayloadId[];
  readonly days: readonly number[];
  readonly group: GroupId;
}

/** The messages of a batch are named by their place in it. */
/** A batch of messages. */
export interface BatchEffects {
  /** The doorbells of a bare key, from its object: of one payload, or of a segment's. None: there is no payload here. */
  readonly completeDoorbell: {
    readonly asks: { readonly key: PayloadKey | ObjectKey; readonly cause: Cause };
    readonly answers: readonly Doorbell[];
  };
  /** Would the ledger change nothing, should these ring? In the order asked. */
  readonly knows: { readonly asks: readonly BareBell[]; readonly answers: readonly boolean[] };
  /** Keep a message in R2 for operators, and return the finding to report. */
  readonly parkMessage: {
    readonly asks: { readonly at: number; readonly reason: string };
    readonly answers: Finding;
  };
  /** Tell people. Never fails. */
  readonly reportFindings: { readonly asks: readonly Finding[]; readonly answers: null };
  /** Write the ingress' reports into ClickHouse. Never fails: one that could not be written is retried by itself. */
  readonly writeOutcomes: {
    readonly asks: readonly { readonly at: number; readonly outcomes: OutcomesMessage }[];
    readonly answers: null;
  };
  /** Log why a message leads to no payload. */
  readonly passOver: { readonly asks: string; readonly answers: null };
  /** Once it is answered, the payloads are the ledger's. Failed: none or all of them are. */
  readonly claim: {
    readonly asks: {
      readonly doorbells: readonly Doorbell[];
      /** How many the batch has that they come from: behind a full one are others. Null: others of this one follow. */
      readonly messages: number | null;
    };
    readonly answers: GroupTask | null;
  };
  readonly take: { readonly asks: string; readonly answers: GroupTask | null };
  readonly ackAll: { readonly asks: null; readonly answers: null };
  readonly ack: { readonly asks: { readonly at: number }; readonly answers: null };
  readonly retry: {
    readonly asks: { readonly at: number; readonly reason: string };
    readonly answers: null;
  };
}

/** The work on a group. */
export interface GroupEffects {
  /**
   * Fetch the payloads from R2, decode, transcode and compress them to so many Native blocks, and keep these for `sendBlock`.
   * Failed: nothing was sent.
   */
  readonly buildBlock: {
    readonly asks: {
      readonly payloads: readonly GroupPayload[];
      readonly blocks: number;
      /** ms since the epoch: after it nobody needs the block. */
      readonly deadline: number;
    };
    readonly answers: Built;
  };
  /** Send the block that was built last as the INSERT `group.attempt`. Waits `patienceMs` for the answer. */
  readonly sendBlock: {
    readonly asks: { readonly task: InsertTask; readonly patienceMs: number };
    readonly answers: {
      readonly answer: Answer;
      /** Of ClickHouse's summary (a view's rows are counted too). Undefined where it has none. */
      readonly writtenRows: number | undefined;
    };
  };
  /** `asks`: the table's identity, as far as it is known; so of `readWitness` and `countRows`. */
  readonly readTable: { readonly asks: string | null; readonly answers: TableFacts };
  /** What the server that answers says of itself and the table. Null: there is no such table. */
  readonly readWitness: { readonly asks: string | null; readonly answers: TableWitness | null };
  /** Rows by day of each id, from the table itself, in the order asked; zeros left out, ascending by day. */
  readonly countRows: {
    readonly asks: { readonly ids: readonly PayloadId[]; readonly table: string | null };
    readonly answers: {
      readonly rows: readonly (readonly DayRows[])[];
      /** Of the server that counted, in the same statement: of a replica which one it is, and no more. */
      readonly witness: ServerWitness | TableWitness | null;
    };
  };
  /** Does an INSERT of this group still run, or any of ours that should have ended long ago? */
  readonly findRunning: {
    readonly asks: { readonly group: GroupId; readonly table: string | null };
    readonly answers: Processes;
  };
  /** End these, and wait until they have ended. */
  readonly killRunning: { readonly asks: GroupId; readonly answers: null };
  /** Receipts of each id under all of its keys, in the order asked. */
  readonly readReceipts: {
    readonly asks: readonly PayloadId[];
    readonly answers: readonly (readonly ReceiptClaim[])[];
  };
  /** The object under this key, with its rows by day where `count` is set; null: there is none. */
  readonly readObject: {
    readonly asks: { readonly payload: GroupPayload; readonly key: PayloadKey; readonly count: boolean };
    readonly answers: FoundObject | null;
  };
  readonly hasObject: { readonly asks: PayloadKey; readonly answers: boolean };
  /** Delete the rows of these ids for good, once per group. Answers when they are gone; fails while a DELETE goes on. */
  readonly clearRows: { readonly asks: RowsToDelete; readonly answers: null };
  /** Fill in the times of these payloads' traces, should the view have missed them. */
  readonly completeView: { readonly asks: readonly PayloadId[]; readonly answers: null };
  /** Keep the dead letter of each receipt in R2, and then as rows; `failure`: why it cannot be stored. `now`: ms since the epoch. */
  readonly writeDeadLetters: {
    readonly asks: {
      readonly receipts: readonly Receipt[];
      readonly failure: Failure | null;
      readonly now: number;
    };
    readonly answers: null;
  };
  readonly writeReceipts: {
    readonly asks: { readonly receipts: readonly Receipt[]; readonly now: number };
    readonly answers: null;
  };
  /** Remove the times of traces of which nothing but these ids' rows is left. Before those rows go: they name the traces. */
  readonly eraseTraceTimes: { readonly asks: RowsToDelete; readonly answers: null };
  /** As `clearRows`. */
  readonly eraseRows: { readonly asks: RowsToDelete; readonly answers: null };
  /** Delete the payloads' objects, and their dead letters': two keys of R2's for each. What it answers with was not erased. */
  readonly eraseObjects: { readonly asks: readonly PayloadKey[]; readonly answers: NotErased };
  /** Tell the ledger how the attempt ended; it answers with the group's next step for this caller. */
  readonly report: {
    readonly asks: { readonly task: GroupTask; readonly report: AttemptReport };
    readonly answers: GroupTask | null;
  };
  readonly receipted: { readonly asks: readonly Receipted[]; readonly answers: null };
  /** Log that the group is left to its lease, and why. */
  readonly leave: {
    readonly asks: { readonly group: GroupId; readonly reason: string };
    readonly answers: null;
  };
}

/** Yields one of these effects. */
export const ask: Ask<DeliveryEffects> = askEffect;
export const attempt: Attempt<DeliveryEffects> = attemptEffect;
export type DeliveryEffects = BatchEffects & GroupEffects;
export type DeliveryWork<T> = Work<DeliveryEffects, T>;
export type DeliveryPerformer = Performer<DeliveryEffects>;

/** What the work knows besides its messages and tasks. */
export interface DeliveryContext {
  /** ms since the epoch */
  readonly now: () => number;
  /** R2 deletes so many keys per call. */
  readonly deleteKeysMax: number;
  /** Gets by which one VERIFY looks for objects, give or take those of one payload. */
  readonly verifyGetsMax: number;
  /** Of the transcoder in this isolate: it runs one version to its end. */
  readonly codecVersion: number;
}
