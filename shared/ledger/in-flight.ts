/**
 * What is in flight, for people: the longest living groups of each kind (group-kinds.ts) with what each waits for. Pure: the ledger's
 * object hands in its groups.
 */
import { assert, unreachable } from "../assert.ts";
import type { Failure } from "../failure.ts";
import { type PayloadKey, tenantOfKey } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import { mayInsert } from "./breaker.ts";
import type { Group, GroupPayload } from "./group.ts";
import { groupsCountOf, isAskedFor, type LookedInto } from "./group-kinds.ts";
import type { Head } from "./head.ts";
import { isRefusedAlone } from "./refused-payloads.ts";
import type { Waiting } from "./view.ts";

/** Why a group does not go on at this moment. The closed list; `waitsForText` says it in words. */
export const waitReasons = [
  "attempt",
  "table",
  "breaker",
  "back_off",
  "others",
  "slot",
  "fence",
  "evidence",
  "receipts",
  "clearing",
  "person",
] as const;
type WaitReason = (typeof waitReasons)[number];

interface InFlightGroup {
  readonly group: GroupId;
  readonly state: Group["state"]["at"];
  readonly waitsFor: WaitReason;
  /** ms since the epoch; null: nothing that is due at a known time. */
  readonly until: number | null;
  readonly made: number;
  /** Arrival of its oldest payload. */
  readonly oldestArrival: number;
  readonly payloads: number;
  readonly spans: number;
  /** leases so far, and those of its INSERT. */
  readonly attempts: number;
  readonly inserts: number;
  readonly refusals: number;
  /** What its attempts failed of; null: none has. */
  readonly failure: Failure | null;
  /** An INSERT's outcome is not known: its rows are counted before anything else is done. */
  readonly outcomeUnknown: boolean;
  readonly tenants: readonly string[];
  /** The first of its payloads. */
  readonly keys: readonly PayloadKey[];
}

export interface InFlight {
  /** Payloads that wait to become a group. */
  readonly waiting: number;
  /** Groups altogether, of which the oldest of each kind are looked into. */
  readonly groupsCount: number;
  /** And by kind. Absent: a consumer of an earlier version has not counted. */
  readonly kinds?: LookedInto["counts"];
  readonly groups: readonly InFlightGroup[];
  /** Of what waits and of the groups above; with more groups than were looked into it is a lower bound. */
  readonly payloads: number;
  readonly oldestArrival: number | null;
  /** Since when the longest work has been under way that no person asked for or has to decide about; null: there is none. */
  readonly oldestWork: number | null;
}

const keysShown = 5;
const tenantsShown = 5;

/** `now` in ms since the epoch. */
export function inFlightOf(
  head: Head | null,
  waiting: Waiting,
  { groups, counts: kinds }: LookedInto,
  now: number,
): InFlight {
  const groupsCount = groupsCountOf({ counts: kinds });
  assert(groups.length <= groupsCount, "the groups shown are among all groups");
  const payloads = [...waiting.payloads, ...groups.flatMap((group) => group.payloads)];
  return {
    waiting: waiting.payloads.length,
    groupsCount,
    kinds,
    groups: groups.map((group) => shown(group, head, now)),
    payloads: payloads.length,
    oldestArrival: payloads.length === 0 ? null : oldest(payloads),
    oldestWork: oldestWork(waiting, groups),
  };
}

function shown(group: Group, head: Head | null, now: number): InFlightGroup {
  const { payloads } = group;
  return {
    group: group.id,
    state: group.state.at,
    ...waitOf(group, head, now),
    made: group.made,
    oldestArrival: oldest(payloads),
    payloads: payloads.length,
    spans: payloads.reduce((sum, { spans }) => sum + spans, 0),
    attempts: group.attempts,
    inserts: group.inserts,
    refusals: group.refusals,
    failure: group.failure,
    outcomeUnknown: group.outcomeUnknown,
    tenants: [...new Set(payloads.map(({ key }) => tenantOfKey(key)))].sort().slice(0, tenantsShown),
    keys: payloads.slice(0, keysShown).map(({ key }) => key),
  };
}

function waitOf(
  group: Group,
  head: Head | null,
  now: number,
): { readonly waitsFor: WaitReason; readonly until: number | null } {
  const { state, due } = group;
  if (state.lease !== null) {
    return { waitsFor: "attempt", until: state.lease.until };
  }
  switch (state.at) {
    case "open":
      if (head !== null && head.table.refusal !== "") {
        return { waitsFor: "table", until: null };
      }
      if (head?.breaker.isOpen === true) {
        return { waitsFor: "breaker", until: Math.max(due, head.breaker.probeAt) };
      }
      if (due > now) {
        return { waitsFor: isRefusedAlone(group) ? "others" : "back_off", until: due };
      }
      return { waitsFor: "slot", until: head !== null && mayInsert(head, now) ? now : null };
    case "verifying":
      return state.fence > now
        ? { waitsFor: "fence", until: state.fence }
        : { waitsFor: "evidence", until: due };
    case "counting":
      return { waitsFor: "evidence", until: due };
    case "receipting":
      return { waitsFor: "receipts", until: due };
    case "clearing":
      return { waitsFor: "clearing", until: due };
    case "held":
      return { waitsFor: "person", until: null };
    default:
      return unreachable(state);
  }
}

/** What a group waits for, as a sentence's part: "waits for …". */
export function waitsForText(reason: WaitReason): string {
  switch (reason) {
    case "attempt":
      return "the answer of the attempt in flight";
    case "table":
      return "the traces table, which the table check refused";
    case "breaker":
      return "the breaker's next probe: INSERTs fail at this moment";
    case "back_off":
      return "its next try after a failure";
    case "others":
      return "its next try: ClickHouse refuses it, and it is held until that is fixed or others are stored meanwhile";
    case "slot":
      return "one of the INSERTs in flight to complete";
    case "fence":
      return "the fence: until then an earlier INSERT of it may still be running";
    case "evidence":
      return "its rows to be counted in ClickHouse";
    case "receipts":
      return "its receipts to be written; its rows are decided";
    case "clearing":
      return "its rows to be deleted, as somebody asked who wants it written anew";
    case "person":
      return "a person: the table holds neither none nor all of its rows";
    default:
      return unreachable(reason);
  }
}

function oldest(payloads: readonly GroupPayload[]): number {
  return payloads.reduce((least, { arrival }) => Math.min(least, arrival), Number.POSITIVE_INFINITY);
}

/**
 * Since when the longest work that no person asked for, and none has to decide about, has been under way, ms since the epoch; null: there
 * is none. Work
 * on what has just arrived began with its arrival. What is missed later (the audit, the reconciler) may have arrived a week
 * ago: work on it began with its group, or with the first failure in the groups that it was in before.
 */
export function oldestWork(waiting: Waiting, groups: readonly Group[]): number | null {
  let oldestSince: number | null = null;
  const look = (since: number): void => {
    oldestSince = oldestSince === null ? since : Math.min(oldestSince, since);
  };
  for (const payload of waiting.payloads) {
    if (!isAskedFor(payload)) {
      look(payload.arrival);
    }
  }
  for (const { made, failure, payloads, state } of groups) {
    for (const payload of state.at === "held" ? [] : payloads) {
      const { cause, arrival } = payload;
      if (!isAskedFor(payload)) {
        look(cause === "audit" || cause === "reconcile" ? Math.min(made, failure?.since ?? made) : arrival);
      }
    }
  }
  return oldestSince;
}
