/**
 * Can payloads be stored? From what the ledger itself met, so that it is known also while ClickHouse does not answer,
 * and by one quiet group alone: the breaker opens by five.
 */
import { assert } from "../assert.ts";
import { counted } from "../counted.ts";
import { errorText, type Failure, isOfErasure } from "../failure.ts";
import type { Group } from "./group.ts";
import { isOwn, type LookedInto, unlookedOf } from "./group-kinds.ts";
import type { Head } from "./head.ts";
import type { Waiting } from "./view.ts";

/** Attempts fail for a reason that does not lie in any payload. */
export interface Trouble {
  /** When that began, and when it was met last: ms since the epoch. */
  readonly since: number;
  readonly last: Failure;
  /** Payloads that wait in the ledger, of the groups that were looked into. */
  readonly payloads: number;
  /** There are more groups than were looked into. */
  readonly isLowerBound: boolean;
}

/** The pipeline's health, for those who ask; one call of the ledger. */
export interface LedgerHealth {
  /** In one sentence; empty: payloads are stored. */
  readonly trouble: string;
  /** It has lasted for long enough that somebody should know, or the breaker is open. */
  readonly isFailing: boolean;
  /** Why the table check lets nothing be inserted; empty: it does. */
  readonly refusal: string;
  /** When the reconciler last came to its end, ms since the epoch; null: never. */
  readonly reconciledAt: number | null;
}

/**
 * Null: nothing fails, or what fails is a payload's own (ClickHouse refuses it, nobody can decode it) or an erasure, or an INSERT that
 * was leased after the last failure has been stored. `groups`: those that were looked into (group-kinds.ts), of `groupsCount`.
 */
export function troubleOf(
  head: Head | null,
  waiting: Waiting,
  groups: readonly Group[],
  groupsCount: number,
): Trouble | null {
  assert(groups.length <= groupsCount, "the groups looked into are among all groups");
  const storedAt = head?.lastStoredInsertAt ?? 0;
  const waits = groups.filter(({ state }) => state.at !== "held");
  const failures = waits.flatMap(({ failure }) =>
    failure !== null && !isOwn(failure) && !isOfErasure(failure) && failure.at >= storedAt ? [failure] : [],
  );
  const [first] = failures;
  if (first === undefined) {
    return null;
  }
  const last = failures.reduce((newest, failure) => (failure.at > newest.at ? failure : newest), first);
  const since = Math.min(...failures.map((failure) => failure.since));
  return {
    since: Math.max(since, storedAt),
    last,
    payloads: waits.reduce((sum, { payloads }) => sum + payloads.length, waiting.payloads.length),
    isLowerBound: groups.length < groupsCount,
  };
}

/** Erasures that an attempt could not complete; nothing but themselves waits for them. */
export interface ErasureTrouble {
  /** Since when the longest of them has failed, ms since the epoch. */
  readonly since: number;
  /** What the newest failure says. */
  readonly text: string;
  /** Payloads, of the groups that were looked into. */
  readonly payloads: number;
  /** There are more groups than were looked into. */
  readonly isLowerBound: boolean;
}

/** Null: no erasure fails. */
export function erasureTroubleOf(looked: LookedInto): ErasureTrouble | null {
  const { groups } = looked;
  const fail = groups.flatMap(({ failure, made, payloads }) =>
    failure !== null && isOfErasure(failure)
      ? [{ ...failure, since: Math.max(failure.since, made), payloads: payloads.length }]
      : [],
  );
  const [first] = fail;
  if (first === undefined) {
    return null;
  }
  const { text } = fail.reduce((newest, one) => (one.at > newest.at ? one : newest), first);
  return {
    since: Math.min(...fail.map(({ since }) => since)),
    text,
    payloads: fail.reduce((sum, { payloads }) => sum + payloads, 0),
    isLowerBound: unlookedOf(looked, "erasure") > 0,
  };
}

/**
 * One sentence. `clickHouse`: its host. Example: "ClickHouse at 10.0.0.7:8443 does not answer since 07:34 UTC (connection
 * refused); 41 payloads wait; nothing is lost." Of another day than `now` (ms since the epoch) the date is said too.
 */
export function troubleText(
  { since, last, payloads, isLowerBound }: Trouble,
  clickHouse: string,
  now: number,
): string {
  const from = sinceText(since, now);
  const wait = waitText(payloads, isLowerBound);
  const silence = noAnswerIn(last);
  const what =
    silence !== null
      ? `ClickHouse at ${clickHouse} does not answer ${from} (${silence})`
      : last.code !== null
        ? `ClickHouse at ${clickHouse} stores nothing ${from} (${errorText(last)})`
        : `Payloads cannot be stored ${from} (${last.text.replace(/^(?:the block could not be built: )?(?:\w*(?:Error|Failed): )?/, "")})`;
  return `${what}; ${wait}; nothing is lost.`;
}

/** Example: "since 07:34 UTC"; of another day than `now`: "since 2026-11-26 07:34 UTC". Both in ms since the epoch. */
export function sinceText(since: number, now: number): string {
  const time = new Date(since).toISOString();
  const isToday = time.slice(0, 10) === new Date(now).toISOString().slice(0, 10);
  return `since ${isToday ? "" : `${time.slice(0, 10)} `}${time.slice(11, 16)} UTC`;
}

/** Example: "1 payload waits", "at least 50 payloads wait". */
export function waitText(payloads: number, isLowerBound: boolean): string {
  return isLowerBound
    ? `at least ${payloads} payloads wait`
    : counted(payloads, "payload waits", "payloads wait");
}

/** The queue of groups accepts no message, so that no consumer is notified of what is ready. */
export interface QueueFailure {
  /** The first failure after the last message that was taken, ms since the epoch. */
  readonly since: number;
  /** Names the queue. */
  readonly text: string;
}

export interface QueueTrouble extends QueueFailure {
  readonly payloads: number;
  readonly isLowerBound: boolean;
}

/** Null: nothing waits for the queue. `groups`: those that were looked into (group-kinds.ts), of `groupsCount`. */
export function queueTroubleOf(
  failure: QueueFailure | null,
  waiting: Waiting,
  groups: readonly Group[],
  groupsCount: number,
): QueueTrouble | null {
  const waits = groups.filter(({ state }) => state.at !== "held");
  const payloads = waits.reduce((sum, one) => sum + one.payloads.length, waiting.payloads.length);
  return failure === null || payloads === 0
    ? null
    : { ...failure, payloads, isLowerBound: groups.length < groupsCount };
}

export function queueTroubleText({ since, text, payloads, isLowerBound }: QueueTrouble, now: number): string {
  return `${text} ${sinceText(since, now)}; ${waitText(payloads, isLowerBound)}; nothing is lost.`;
}

/** As the delivery words it (delivery/insertion.ts, group-work.ts): nobody answered at ClickHouse's address. */
function noAnswerIn({ kind, text }: Failure): string | null {
  const asked = /\bClickHouse at \S+ does not answer \((.*)\)$/s.exec(text)?.[1];
  const sent = kind === "unknown" && text.startsWith(noAnswer) ? text.slice(noAnswer.length) : undefined;
  // "Error: Network connection lost.": what kind of exception it was says nothing to a person.
  return (asked ?? sent)?.replace(/^\w*Error: |\.$/g, "") ?? null;
}

const noAnswer = "no answer: ";
