/**
 * The durations and caps that the machine works with, and their relations. Production takes them from
 * shared/limits.ts; tests on real parts run the durations many times shorter.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import type { GroupCaps } from "./grouping.ts";

export interface LedgerSettings {
  readonly caps: GroupCaps;
  /** How long an attempt may stay out. */
  readonly leaseMs: number;
  /** max_execution_time of an INSERT. */
  readonly insertMs: number;
  /** A client's retry of equal bytes is one payload for this long. */
  readonly clientRetryMs: number;
  /** How long a finished id is remembered. */
  readonly memoryMs: number;
  /** What is so long over the memory's time is forgotten by the alarm, if no minute did it. */
  readonly forgetLagMs: number;
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
  /** What a fence waits beyond lease and INSERT: clocks, and a server that is slow to stop. */
  readonly fenceMarginMs: number;
  /** A retry that is younger than this needs no measure of the dedup window. */
  readonly measureAfterMs: number;
  /** A measure is good for this long. */
  readonly measureFreshMs: number;
  /** After another table was seen nothing is inserted for this long, unless a person accepts it. */
  readonly otherTableMs: number;
  /** How long a later ring that found a payload waits for the doorbell that it may have overtaken. */
  readonly overtakenMs: number;
  /** INSERTs out at once: in the beginning, and at most. */
  readonly concurrencyFirst: number;
  readonly concurrencyMax: number;
  /** Distinct groups with unknown outcomes that open the breaker. */
  readonly suspectsMax: number;
  /** Refusals after which a payload that is alone in its group is dead-lettered. */
  readonly refusalsMax: number;
  /** Complete answers with an unlisted code after which the group is verified and split. */
  readonly unlistedMax: number;
  /** Failures that may be a group's own after which it is split. What it was split into needs one. */
  readonly ownFailuresMax: number;
  /** Without a proof that others are stored, one group is split per so long. */
  readonly splitEveryMs: number;
  /** How long payloads cannot be delivered before that is reported. */
  readonly notDeliveredMs: number;
  /** How long a payload is refused while nothing else is stored before that is reported. */
  readonly refusedHeldMs: number;
  /** Into so many parts, where nothing of it was sent. */
  readonly splitParts: number;
  /** SQLite's size at which the oldest are forgotten before their time. */
  readonly databaseBytesMax: number;
  /** Groups that one alarm rings at most. */
  readonly ringsMax: number;
  /** Other keys kept with a payload at most. */
  readonly duplicateKeysMax: number;
  /** Keys of one payload that are erased together. */
  readonly erasedKeysMax: number;
  /** Receipts that one attempt writes, of those that take more than their row. */
  readonly receiptsMax: number;
  /** Late rings that wait to be counted as rescues; further ones are not. */
  readonly pendingRescuesMax: number;
}

export const defaultSettings: LedgerSettings = {
  caps: {
    payloadsMax: limits.groupPayloadsMax,
    keysMax: limits.groupKeysMax,
    rowsMax: limits.groupRowsMax,
    outputBytesMax: limits.groupOutputBytesMax,
    sliceBytes: limits.sliceBytes,
    inflatedBytesMax: limits.groupInflatedBytesMax,
    partitionsMax: limits.groupPartitionsMax,
    rowsReady: limits.groupRowsReady,
    rowsTogether: limits.groupRowsTogether,
    ageReadyMs: limits.groupAgeReadyMs,
    batchMax: limits.queueMessagesMax,
    spanAgeMs: limits.spanAgeCeilingMs,
    spanFutureMs: limits.spanFutureMaxMs,
  },
  leaseMs: limits.leaseMs,
  insertMs: limits.insertTimeoutSeconds * 1000,
  clientRetryMs: limits.clientRetryMs,
  memoryMs: limits.ledgerMemoryMs,
  forgetLagMs: limits.ledgerForgetLagMs,
  retryFirstMs: limits.retryFirstMs,
  retryLastMs: limits.retryLastMs,
  fenceMarginMs: limits.fenceMarginMs,
  measureAfterMs: limits.measureAfterMs,
  measureFreshMs: limits.measureFreshMs,
  otherTableMs: limits.otherTableMs,
  overtakenMs: limits.rescueOvertakenMs,
  concurrencyFirst: limits.insertsAtOnceFirst,
  concurrencyMax: limits.insertsAtOnceMax,
  suspectsMax: limits.breakerSuspectsMax,
  refusalsMax: limits.refusalsMax,
  unlistedMax: limits.unlistedAnswersMax,
  ownFailuresMax: limits.ownFailuresMax,
  splitEveryMs: limits.splitEveryMs,
  notDeliveredMs: limits.alertNotDeliveredMs,
  refusedHeldMs: limits.alertRefusedMs,
  splitParts: limits.splitParts,
  databaseBytesMax: limits.ledgerDatabaseBytesMax,
  ringsMax: limits.ringsAnAlarmMax,
  duplicateKeysMax: limits.duplicateKeysMax,
  erasedKeysMax: limits.erasedKeysMax,
  receiptsMax: limits.receiptsAtOnceMax,
  pendingRescuesMax: limits.pendingRescuesMax,
};

/** The settings with every duration divided: relations between them stay as they are. */
export function settingsFaster(settings: LedgerSettings, times: number): LedgerSettings {
  const faster = (ms: number): number => Math.max(1, Math.round(ms / times));
  return checkSettings({
    ...settings,
    caps: { ...settings.caps, ageReadyMs: faster(settings.caps.ageReadyMs) },
    leaseMs: faster(settings.leaseMs),
    insertMs: faster(settings.insertMs),
    clientRetryMs: faster(settings.clientRetryMs),
    memoryMs: faster(settings.memoryMs),
    forgetLagMs: faster(settings.forgetLagMs),
    splitEveryMs: faster(settings.splitEveryMs),
    notDeliveredMs: faster(settings.notDeliveredMs),
    refusedHeldMs: faster(settings.refusedHeldMs),
    retryFirstMs: faster(settings.retryFirstMs),
    retryLastMs: faster(settings.retryLastMs),
    fenceMarginMs: faster(settings.fenceMarginMs),
    measureAfterMs: faster(settings.measureAfterMs),
    measureFreshMs: faster(settings.measureFreshMs),
    otherTableMs: faster(settings.otherTableMs),
    overtakenMs: faster(settings.overtakenMs),
  });
}

/** Asserts what the protocol needs of the durations, and gives them back. */
function checkSettings(settings: LedgerSettings): LedgerSettings {
  assert(settings.insertMs < settings.leaseMs, "an INSERT ends before its lease");
  assert(settings.clientRetryMs < settings.memoryMs, "the ledger remembers longer than clients retry");
  assert(settings.retryFirstMs <= settings.retryLastMs, "back-off grows");
  const { rowsReady, rowsTogether, rowsMax } = settings.caps;
  assert(rowsReady <= rowsTogether && rowsTogether <= rowsMax, "a group is ready before it is full");
  assert(settings.caps.keysMax >= 2 * settings.caps.payloadsMax, "a full group has room for second keys");
  assert(settings.duplicateKeysMax + 1 <= settings.caps.keysMax, "one payload's keys fit into a group");
  assert(settings.erasedKeysMax <= settings.caps.keysMax, "what is erased together fits into a group");
  assert(fenceMs(settings) < settings.memoryMs, "whatever is forgotten is past its fence");
  assert(settings.measureFreshMs <= settings.measureAfterMs, "a measure is as fresh as an early retry");
  assert(
    settings.concurrencyFirst >= 1 && settings.concurrencyFirst <= settings.concurrencyMax,
    "somebody may insert",
  );
  return settings;
}

/** After the last lease of an INSERT and this, none of it can be running. */
export function fenceMs(settings: LedgerSettings): number {
  return settings.leaseMs + settings.insertMs + settings.fenceMarginMs;
}

/**
 * An INSERT that has been running for longer than this is overdue: the server should have stopped it. What a ledger
 * leased before it was lost is older than this when the first fence after its loss has passed.
 */
export function overdueMs(settings: LedgerSettings): number {
  return settings.insertMs + settings.fenceMarginMs / 2;
}

/** first, 2 first, 4 first ... up to last. */
export function backOffMs(failures: number, settings: LedgerSettings): number {
  return Math.min(settings.retryFirstMs * 2 ** failures, settings.retryLastMs);
}
