/**
 * How many INSERTs may be out at once: one more after each that was stored, half after each that was not; one probe
 * at a time after five groups in a row ended unknown. Whatever it holds back stays in its groups, with their tokens.
 */

import type { GroupId } from "../receipt.ts";
import { dueNever, type Group } from "./group.ts";
import type { Breaker, Call, Head } from "./head.ts";
import { backOffMs, type LedgerSettings } from "./settings.ts";

/** May another INSERT be leased now? */
export function mayInsert(head: Head, now: number): boolean {
  const { breaker, table } = head;
  return (
    table.refusal === "" &&
    breaker.inFlight.length < breaker.concurrencyLimit &&
    (!breaker.isOpen || (breaker.inFlight.length === 0 && now >= breaker.probeAt))
  );
}

/** How many groups are worth ringing now. */
export function insertsFree(head: Head, now: number): number {
  if (!mayInsert(head, now)) {
    return 0;
  }
  const { breaker } = head;
  return Math.max(0, limitOf(breaker) - breaker.inFlight.length - breaker.notified.length);
}

function limitOf({ isOpen, concurrencyLimit }: Breaker): number {
  return isOpen ? 1 : concurrencyLimit;
}

/** A group was notified for its INSERT, for the first time or again. */
export function wasNotified(breaker: Breaker, call: Call): Breaker {
  return { ...breaker, notified: [...wasFetched(breaker, call.group).notified, call] };
}

/** A consumer fetched the group. Returns the same object where the group was not notified. */
export function wasFetched(breaker: Breaker, group: GroupId): Breaker {
  const notified = breaker.notified.filter((one) => one.group !== group);
  return notified.length === breaker.notified.length ? breaker : { ...breaker, notified };
}

/** When a group that waits for its INSERT is worth ringing, if it is due at `due`. Undefined: after another event. */
export function insertDue(head: Head, due: number): number | undefined {
  const { breaker, table } = head;
  if (table.refusal !== "" || breaker.inFlight.length >= breaker.concurrencyLimit) {
    return undefined; // a report, a lease's end or a table check changes that, and each of them arms the alarm anew
  }
  const at = breaker.isOpen ? Math.max(due, breaker.probeAt) : due;
  // All slots are taken or kept for groups that were notified: the next thing to do is to ring one of those again.
  const isFull = breaker.inFlight.length + breaker.notified.length >= limitOf(breaker);
  return isFull ? Math.max(at, Math.min(dueNever, ...breaker.notified.map(({ again }) => again))) : at;
}

export function insertBegan(breaker: Breaker, { id, blocks }: Pick<Group, "id" | "blocks">): Breaker {
  return { ...breaker, inFlight: [...breaker.inFlight, id], ...(blocks > 1 ? { wide: id } : {}) };
}

/** Is a wide group's INSERT out? ClickHouse takes three times its bytes for it, so it goes one at a time. */
export function isWideOut({ inFlight, wide }: Breaker): boolean {
  return wide !== undefined && inFlight.includes(wide);
}

export function insertEnded(breaker: Breaker, group: GroupId): Breaker {
  return { ...breaker, inFlight: breaker.inFlight.filter((id) => id !== group) };
}

/**
 * An INSERT was stored, and its group is not out any more. One more may be out from now on, if all slots were in use:
 * otherwise it is not ClickHouse that sets the pace, and more groups at the door would not be fetched sooner.
 */
export function afterSuccess(breaker: Breaker, settings: LedgerSettings): Breaker {
  const wereAllOut = breaker.inFlight.length + 1 >= limitOf(breaker);
  return {
    ...breaker,
    suspects: breaker.suspects.length === 0 ? breaker.suspects : [],
    isOpen: false,
    failures: 0,
    concurrencyLimit: wereAllOut
      ? Math.min(breaker.concurrencyLimit + 1, settings.concurrencyMax)
      : breaker.concurrencyLimit,
  };
}

/** ClickHouse pushed back, and said that it stored nothing. */
export function afterPressure(breaker: Breaker, now: number, settings: LedgerSettings): Breaker {
  return breaker.isOpen ? opened(breaker, now, settings) : halved(breaker);
}

function halved(breaker: Breaker): Breaker {
  return { ...breaker, concurrencyLimit: Math.max(1, Math.floor(breaker.concurrencyLimit / 2)) };
}

/** Nobody knows how it ended. The fifth group in a row opens the breaker, each failed probe holds it open for longer. */
export function afterUnknown(
  breaker: Breaker,
  group: GroupId,
  now: number,
  settings: LedgerSettings,
): Breaker {
  return suspected(halved(breaker), group, now, settings);
}

/**
 * An attempt was never reported: its isolate died, which says little about ClickHouse. Were the limit
 * lowered, three groups that kill their isolates would wait for each other's leases, and all others for them.
 */
export function afterSilence(
  breaker: Breaker,
  group: GroupId,
  now: number,
  settings: LedgerSettings,
): Breaker {
  return suspected(breaker, group, now, settings);
}

function suspected(breaker: Breaker, group: GroupId, now: number, settings: LedgerSettings): Breaker {
  const suspects = breaker.suspects.includes(group) ? breaker.suspects : [...breaker.suspects, group];
  const pressed = { ...breaker, suspects };
  return breaker.isOpen || suspects.length >= settings.suspectsMax ? opened(pressed, now, settings) : pressed;
}

/** Nothing can be inserted at all: schema, login, read-only. */
export function afterHalt(breaker: Breaker, now: number, settings: LedgerSettings): Breaker {
  return opened(breaker, now, settings);
}

function opened(breaker: Breaker, now: number, settings: LedgerSettings): Breaker {
  return {
    ...breaker,
    // Its work is done: what counts from here on is the probes.
    suspects: breaker.suspects.slice(0, settings.suspectsMax),
    isOpen: true,
    concurrencyLimit: 1,
    probeAt: now + backOffMs(breaker.failures, settings),
    failures: breaker.failures + 1,
  };
}
