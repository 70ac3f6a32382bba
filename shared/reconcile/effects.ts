/**
 * What the cron's tick asks for, a run of the reconciler being the larger part of it. Performed by
 * workers/consumer/perform-tick.ts, and by its twin in test/faults/world/perform-tick.ts. Where nothing else is said, an
 * effect that failed may have been done.
 */
import type { AlertFacts, AlertState, Channel, TenantVolume, Unreported } from "../alerts.ts";
import type { MinuteRow, MinuteTally, WatermarkRow } from "../clickhouse/minutes.ts";
import type { ServerWitness, TableWitness } from "../clickhouse/table-identity.ts";
import type { TableTtl } from "../clickhouse/ttl.ts";
import type { BypassMinute } from "../collect/bypass.ts";
import { type Ask, type Attempt, askEffect, attemptEffect, type Performer, type Work } from "../effect.ts";
import type { Finding } from "../finding.ts";
import type { ZoneAnswer } from "../front-door/answer.ts";
import type { Period, ZoneQuestion } from "../front-door/question.ts";
import type { TableMeasure } from "../ledger/group.ts";
import type { TableFacts } from "../ledger/known-table.ts";
import type { BareDoorbell, Counts, Doorbell } from "../messages.ts";
import type { PayloadOutcome } from "../outcome.ts";
import type { ObjectKey, PayloadId, PayloadKey } from "../payload-key.ts";
import type { DayRows, Receipt } from "../receipt.ts";
import type { ChangedMinute } from "./changed-minutes.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** An object as R2 lists it: with metadata R2 lists a tenth. The rest is read when a doorbell of it is taken. */
export interface Listed {
  readonly key: ObjectKey;
}

/** What the receipts say of a segment's payloads. */
export interface SegmentReceipts {
  readonly segment: ObjectKey;
  /** So many of its slots have a receipt. */
  readonly payloads: number;
  /** Of the ids in these (`keyChecksum`). */
  readonly checksum: bigint;
  /** Those among them whose receipt is a `duplicate`. */
  readonly duplicates: readonly PayloadKey[];
}

/** A payload of a segment, as the segment's index has it. */
export interface IndexedPayload {
  readonly key: PayloadKey;
  readonly counts: Counts;
  /** Its bytes were erased. */
  readonly isErased: boolean;
}

export interface KeyOutcome {
  readonly key: PayloadKey;
  readonly outcome: PayloadOutcome;
}

export interface DatedReceipt extends Receipt {
  /** When it was written, ms since the epoch. */
  readonly at: number;
}

/** What the reconciler reports, once, as it finds it. */
export type ReconcileFinding = Omit<Finding, "openedAt"> & { readonly openedAt?: number };

/**
 * May hold fewer objects than asked for, or none, while more come after: `cursor` goes on, null is the end. `through`:
 * the last key seen, which may be no payload's; what was asked to be listed after, where none was.
 */
export interface ListedPage {
  readonly objects: readonly Listed[];
  readonly through: string;
  readonly cursor: string | null;
}

/** What the tick learns for the alerts from outside the ledger. */
export type LearntFacts = Pick<AlertFacts, "runFailure" | "recent" | "volumes" | "frontDoor" | "bypassed">;

/** A tick of the cron. */
export interface TickEffects {
  /** The ledger begins if it has not, arms its alarm, and counts the minute in R2. */
  readonly wake: { readonly asks: null; readonly answers: null };
  /** Can the traces table keep the promise of one copy? Asks: its identity, as far as it is known; so of `readWitness`. */
  readonly readTable: { readonly asks: string | null; readonly answers: TableFacts };
  /** The ledger takes the table check's result. */
  readonly tableChecked: {
    readonly asks: { readonly refusal: string; readonly measure: TableMeasure | null };
    readonly answers: null;
  };
  /** The ingress is to know how long the table keeps rows. */
  readonly publishTableLimits: { readonly asks: TableTtl; readonly answers: null };
  /** What the alerts were judged by last, and how far the reconciler has come (null: it has not run yet). */
  readonly alertState: {
    readonly asks: null;
    readonly answers: { readonly alertState: AlertState; readonly checkpoint: Checkpoint | null };
  };
  /** How payloads ended since a time in ms since the epoch. */
  readonly readRecent: {
    readonly asks: number;
    readonly answers: { readonly dead: number; readonly ended: number };
  };
  /** Spans by tenant in the hour that begins then (ms since the epoch), and in the same hour of so many days before. */
  readonly readVolumes: {
    readonly asks: { readonly hour: number; readonly days: number };
    readonly answers: readonly TenantVolume[];
  };
  /** What Cloudflare's analytics say of the zone: one call. Fails where there is no answer. */
  readonly askZone: { readonly asks: ZoneQuestion; readonly answers: ZoneAnswer };
  /** POST requests of a time that the ingress counted as its own. */
  readonly countRequests: { readonly asks: Period; readonly answers: number };
  /** Whole minutes of a time in which requests were accepted, and how many of them bypassed the collector. */
  readonly readBypassed: { readonly asks: Period; readonly answers: readonly BypassMinute[] };
  /** The ledger judges these facts together with what it knows, and answers what is still to be reported. */
  readonly judgeAlerts: { readonly asks: LearntFacts; readonly answers: readonly Unreported[] };
  /** Report each finding by the channels that have not reported it. Answers the channels that succeeded. Never fails. */
  readonly reportAlerts: { readonly asks: readonly Unreported[]; readonly answers: readonly Channel[] };
  /** The ledger notes that these channels have reported these. */
  readonly alertsReported: {
    readonly asks: { readonly unreported: readonly Unreported[]; readonly reached: readonly Channel[] };
    readonly answers: null;
  };
  /** Log what failed and changes nothing. */
  readonly warn: {
    readonly asks: { readonly message: string; readonly reason: string };
    readonly answers: null;
  };
}

/** A run of the reconciler. */
export interface RunEffects {
  /** The ledger gives the lease of a run. Null: another run has it, and is not taken over. */
  readonly beginRun: {
    readonly asks: { readonly takesOver: boolean };
    readonly answers: {
      readonly run: string;
      readonly checkpoint: Checkpoint | null;
      /** The identity of the table that the ledger knows; null: none yet. */
      readonly table: string | null;
      /** Minutes whose sums may have changed since they were sealed, those noted first; at most `limits.changedMinutesARun`. */
      readonly changed: readonly ChangedMinute[];
    } | null;
  };
  /** The run has sealed these anew: the ledger forgets those notes, and no later one of the same minute. */
  readonly sealedAnew: { readonly asks: readonly ChangedMinute[]; readonly answers: null };
  /** The run gives its lease back. Where that fails, the lease ends by itself. */
  readonly endRun: { readonly asks: string; readonly answers: null };
  /** Payloads in R2 after this text, or, where there is one, from an answer's cursor on; in order, at most `atMost`. */
  readonly list: {
    readonly asks: { readonly after: string; readonly cursor: string | null; readonly atMost: number };
    readonly answers: ListedPage;
  };
  /** What the receipts say of these segments: of each one that has any. Ascending keys. */
  readonly segmentReceipts: {
    readonly asks: readonly ObjectKey[];
    readonly answers: readonly SegmentReceipts[];
  };
  /** The payloads of a segment: where it is damaged, those that can still be read. Null: there is no such object. */
  readonly readIndex: { readonly asks: ObjectKey; readonly answers: readonly IndexedPayload[] | null };
  /** How these keys ended, as far as they have receipts. Ascending keys. */
  readonly outcomes: { readonly asks: readonly PayloadKey[]; readonly answers: readonly KeyOutcome[] };
  /** The receipts of all payloads of these objects. Ascending keys. */
  readonly receipts: { readonly asks: readonly ObjectKey[]; readonly answers: readonly DatedReceipt[] };
  /** The receipts of these ids, under all of their keys. */
  readonly receiptsOfIds: { readonly asks: readonly PayloadId[]; readonly answers: readonly DatedReceipt[] };
  /** Stored receipts with `after < key < before`, in order of keys, at most `atMost`. */
  readonly storedReceipts: {
    readonly asks: { readonly after: string; readonly before: string; readonly atMost: number };
    readonly answers: readonly DatedReceipt[];
  };
  /** Does the ledger hold each key's id? */
  readonly holds: { readonly asks: readonly PayloadKey[]; readonly answers: readonly boolean[] };
  /** What the server that answers says of itself and the table. Null: there is no such table. */
  readonly readWitness: { readonly asks: string | null; readonly answers: TableWitness | null };
  /**
   * Rows of these ids by day, from the table itself. `witness`: of the server that counted, in the same statement: of a
   * replica which one it is, and no more. `days`: of these alone; null: of all.
   */
  readonly rows: {
    readonly asks: {
      readonly ids: readonly PayloadId[];
      readonly table: string | null;
      readonly days: readonly number[] | null;
    };
    readonly answers: {
      readonly rows: ReadonlyMap<PayloadId, readonly DayRows[]>;
      readonly witness: ServerWitness | TableWitness | null;
    };
  };
  /** What the receipts of minutes add up to, by minute and tenant. Asks: the minutes' starts, ms since the epoch. */
  readonly tally: { readonly asks: readonly number[]; readonly answers: readonly MinuteTally[] };
  /** Those of these keys whose bytes are there. */
  readonly find: { readonly asks: readonly PayloadKey[]; readonly answers: readonly PayloadKey[] };
  /** Those of these keys that have a dead letter's record in R2. Ascending keys. */
  readonly deadLetters: { readonly asks: readonly PayloadKey[]; readonly answers: readonly PayloadKey[] };
  /** Those of these dead payloads whose bytes are kept beside their segment too. Ascending keys. */
  readonly deadCopies: { readonly asks: readonly PayloadKey[]; readonly answers: readonly PayloadKey[] };
  /** Sends these doorbells to queue `ring`. */
  readonly ring: { readonly asks: readonly (BareDoorbell | Doorbell)[]; readonly answers: null };
  /** Write these rows, the minutes' first. */
  readonly record: {
    readonly asks: { readonly minutes: readonly MinuteRow[]; readonly watermark: WatermarkRow };
    readonly answers: null;
  };
  /** Delete these objects. */
  readonly delete: { readonly asks: readonly ObjectKey[]; readonly answers: null };
  /** Tell people what the run found. Never fails. */
  readonly reportFindings: { readonly asks: readonly ReconcileFinding[]; readonly answers: null };
  /** Keep the checkpoint, if this run still has the lease. False: another run has taken over, and this one ends. */
  readonly save: {
    readonly asks: { readonly run: string; readonly checkpoint: Checkpoint };
    readonly answers: boolean;
  };
}

/** Yields one of these effects. */
export const ask: Ask<CronEffects> = askEffect;
export const attempt: Attempt<CronEffects> = attemptEffect;
export type CronEffects = TickEffects & RunEffects;
export type CronWork<T> = Work<CronEffects, T>;
export type CronPerformer = Performer<CronEffects>;
