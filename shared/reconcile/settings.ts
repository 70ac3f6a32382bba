/** The reconciler's durations and budgets, and their relations. Production takes them from shared/limits.ts. */
import { assert } from "../assert.ts";
import { DAY_MS, limits } from "../limits.ts";

export interface ReconcileSettings {
  /** A minute is walked when it ended this long ago: until then the other rings are at work. */
  readonly ageMs: number;
  /** An open minute is walked again after the first of these, then twice that, up to the last. */
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
  /** A sealed minute is listed again when it ended this long ago: a put that landed after the seal shows then. */
  readonly againMs: number;
  /** Rows are audited an hour (this long) at a time. */
  readonly auditSpanMs: number;
  /** An hour that still has an open minute is audited all the same when it ended this long ago. */
  readonly auditAtLastMs: number;
  /** Rows that were missed are looked for again after this. */
  readonly secondReadingMs: number;
  /** More than so many in 1,000 of a page, and at least so many, are not lost one by one: nothing is notified on that. */
  readonly brakePerMille: number;
  readonly brakeLeast: number;
  /** Doubts that are kept; what a run reads of them; and how often one is read before it is let go. */
  readonly doubtsMax: number;
  readonly doubtsARun: number;
  readonly doubtTriesMax: number;
  /** Minutes that are open at once, and those that are listed once more: the checkpoint is one row of the ledger. */
  readonly openMax: number;
  readonly againMax: number;
  /** Keys of one id that are looked for in R2. */
  readonly headsMax: number;
  /** Payloads are deleted this long after their arrival, at the earliest. */
  readonly retentionMs: number;
  /** ... and only if their receipt is this old: a younger one may be a VERIFY's that has just stored them again. */
  readonly receiptAgeMs: number;
  /** A receipt of a payload that arrived this long ago may have expired: that it is missing says nothing. */
  readonly receiptsMs: number;
  /** A round over everything that is old enough to be deleted begins this often. */
  readonly deleteEveryMs: number;
  /** One run at a time: a run that has not ended by then is dead. */
  readonly leaseMs: number;
  /** List calls of one run: for minutes that are new, open, listed again, and for deletion. */
  readonly listCalls: {
    readonly fresh: number;
    readonly open: number;
    readonly again: number;
    readonly delete: number;
  };
  /** Subrequests that each stage may use; `audit` with the doubts. */
  readonly subrequests: {
    readonly fresh: number;
    readonly open: number;
    readonly young: number;
    readonly again: number;
    readonly audit: number;
    readonly delete: number;
  };
  /** Objects of one list call. */
  readonly pageKeys: number;
  /** Payloads that are looked at together before they are deleted: those of one object at least. */
  readonly deletePayloads: number;
  /** Pages of receipts that one run audits. */
  readonly auditPages: number;
}

export const reconcileSettings: ReconcileSettings = checkReconcileSettings({
  ageMs: limits.reconcileAgeMs,
  retryFirstMs: limits.reconcileRetryFirstMs,
  retryLastMs: limits.reconcileRetryLastMs,
  againMs: limits.reconcileAgainMs,
  auditSpanMs: limits.auditSpanMs,
  auditAtLastMs: limits.auditAtLastMs,
  secondReadingMs: limits.auditSecondReadingMs,
  brakePerMille: limits.auditBrakePerMille,
  brakeLeast: limits.auditBrakeLeast,
  doubtsMax: limits.auditDoubtsMax,
  doubtsARun: limits.auditDoubtsARun,
  doubtTriesMax: limits.auditDoubtTriesMax,
  openMax: limits.openMinutesMax,
  againMax: limits.againMinutesMax,
  headsMax: limits.auditHeadsMax,
  retentionMs: limits.payloadRetentionMs,
  receiptAgeMs: limits.deleteReceiptAgeMs,
  // A day less than the TTL: clocks differ, and the TTL counts from the minute's start.
  receiptsMs: (limits.receiptsRetentionDays - 1) * DAY_MS,
  deleteEveryMs: limits.deleteEveryMs,
  leaseMs: limits.reconcileLeaseMs,
  listCalls: limits.reconcileListCalls,
  subrequests: limits.reconcileSubrequests,
  pageKeys: limits.r2ListKeysMax,
  deletePayloads: limits.deletePayloadsMax,
  auditPages: limits.auditPagesMax,
});

/** The settings with every duration divided. The minute stays a minute: keys are grouped by it. */
export function reconcileSettingsFaster(settings: ReconcileSettings, times: number): ReconcileSettings {
  const faster = (ms: number): number => Math.max(1, Math.round(ms / times));
  return checkReconcileSettings({
    ...settings,
    ageMs: faster(settings.ageMs),
    retryFirstMs: faster(settings.retryFirstMs),
    retryLastMs: faster(settings.retryLastMs),
    againMs: faster(settings.againMs),
    auditSpanMs: Math.max(60_000, faster(settings.auditSpanMs)),
    auditAtLastMs: faster(settings.auditAtLastMs),
    secondReadingMs: faster(settings.secondReadingMs),
    retentionMs: faster(settings.retentionMs),
    receiptAgeMs: faster(settings.receiptAgeMs),
    deleteEveryMs: faster(settings.deleteEveryMs),
    leaseMs: faster(settings.leaseMs),
  });
}

function checkReconcileSettings(settings: ReconcileSettings): ReconcileSettings {
  assert(settings.retryFirstMs <= settings.retryLastMs, "back-off grows");
  assert(settings.ageMs < settings.againMs, "a minute is listed again after it was sealed");
  assert(settings.againMs < settings.retentionMs, "a minute is listed again before its payloads are deleted");
  assert(settings.retentionMs < settings.receiptsMs, "a receipt outlives its payload's retention");
  assert(settings.receiptAgeMs < settings.retentionMs, "a payload's age outlasts its receipt's");
  assert(settings.auditSpanMs >= 60_000, "whole minutes are audited");
  return settings;
}
