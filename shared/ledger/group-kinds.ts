/**
 * What a group is to those who look for trouble. There may be any number of one kind, for any time (erasures that R2 does not do, payloads
 * that ClickHouse refuses), and the longest living groups are then of that kind alone. So of each kind the longest living ones are looked
 * into, and all of them are counted.
 */
import { type Failure, isOfErasure } from "../failure.ts";
import type { Group, GroupPayload } from "./group.ts";
import { isRefusedAlone } from "./refused-payloads.ts";

export const groupKinds = [
  /** Nothing has failed, or what did is a payload's own. */
  "usual",
  /** A person asked for all of it: a replay, an erasure. Nobody is notified that it takes long. */
  "asked",
  /** Its last attempt failed for a reason that does not lie in its payloads; and so did one of what a person asked for. */
  "failing",
  "failing_asked",
  /** ClickHouse refuses its only payload. */
  "refused",
  /** An erasure that its last attempt could not complete. */
  "erasure",
  /** It waits for a person. */
  "held",
] as const;
export type GroupKind = (typeof groupKinds)[number];

export function kindOf(group: Group): GroupKind {
  const { state, failure, payloads } = group;
  if (state.at === "held") {
    return "held";
  }
  if (isRefusedAlone(group)) {
    return "refused";
  }
  if (failure !== null && isOfErasure(failure)) {
    return "erasure";
  }
  const isAsked = payloads.every(isAskedFor);
  if (failure !== null && !isOwn(failure)) {
    return isAsked ? "failing_asked" : "failing";
  }
  return isAsked ? "asked" : "usual";
}

/** A person wants it stored again, or erased. */
export function isAskedFor({ cause, erase }: Pick<GroupPayload, "cause" | "erase">): boolean {
  return cause === "replay" || erase !== null;
}

/** It lies in the payload: ClickHouse refuses it, nobody can decode it, an invariant of ours breaks on it. */
export function isOwn({ kind }: Pick<Failure, "kind">): boolean {
  return kind === "refused" || kind === "unreadable" || kind === "broken";
}

export interface LookedInto {
  /** Of each kind the longest living ones, by age. */
  readonly groups: readonly Group[];
  /** All that live. */
  readonly counts: Readonly<Record<GroupKind, number>>;
}

export const noneLookedInto: LookedInto = {
  groups: [],
  counts: { usual: 0, asked: 0, failing: 0, failing_asked: 0, refused: 0, erasure: 0, held: 0 },
};

/** How many live that are not among those looked into. */
export function unlookedOf({ groups, counts }: LookedInto, kind: GroupKind): number {
  return counts[kind] - groups.filter((group) => kindOf(group) === kind).length;
}

export function groupsCountOf({ counts }: Pick<LookedInto, "counts">): number {
  return groupKinds.reduce((sum, kind) => sum + counts[kind], 0);
}
