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
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
  /** Groups that one alarm rings at most. */
  readonly ringsMax: number;
  /** Other keys kept with a payload at most. */
  readonly duplicateKeysMax: number;
}

export const defaultSettings: LedgerSettings = {
  caps: {
    payloadsMax: limits.groupPayloadsMax,
    rowsMax: limits.groupRowsMax,
    outputBytesMax: limits.groupOutputBytesMax,
    partitionsMax: limits.groupPartitionsMax,
    rowsReady: limits.groupRowsReady,
    ageReadyMs: limits.groupAgeReadyMs,
    spanAgeMs: limits.spanAgeCeilingMs,
    spanFutureMs: limits.spanFutureMaxMs,
  },
  leaseMs: limits.leaseMs,
  insertMs: limits.insertTimeoutSeconds * 1000,
  clientRetryMs: limits.clientRetryMs,
  memoryMs: limits.ledgerMemoryMs,
  retryFirstMs: limits.retryFirstMs,
  retryLastMs: limits.retryLastMs,
  ringsMax: limits.ringsAnAlarmMax,
  duplicateKeysMax: limits.duplicateKeysMax,
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
    retryFirstMs: faster(settings.retryFirstMs),
    retryLastMs: faster(settings.retryLastMs),
  });
}

/** Asserts what the protocol needs of the durations, and gives them back. */
export function checkSettings(settings: LedgerSettings): LedgerSettings {
  assert(settings.insertMs < settings.leaseMs, "an INSERT ends before its lease");
  assert(settings.clientRetryMs < settings.memoryMs, "the ledger remembers longer than clients retry");
  assert(settings.retryFirstMs <= settings.retryLastMs, "back-off grows");
  assert(settings.caps.rowsReady <= settings.caps.rowsMax, "a group is ready before it is full");
  return settings;
}
