/**
 * How groups come to be and change their state. Every group is made here, under a token drawn for it alone (I5), and
 * its payloads are placed in it by the same change (I3).
 */
import { assert } from "../assert.ts";
import type { GroupId, Receipt } from "../receipt.ts";
import type { Draft } from "./draft.ts";
import type { EndedPayload, Group, GroupPayload, GroupState } from "./group.ts";
import { blocksOf, fitsCaps, sizeOf } from "./grouping.ts";
import { fenceMs } from "./settings.ts";

/** How many refusals a new group begins with: a payload that is alone takes them along. */
export type Refusals = Pick<Group, "refusals" | "lastRefusalAt">;

export const noRefusals: Refusals = { refusals: 0, lastRefusalAt: 0 };

/** What a new group begins with of the one that its payloads were in. */
export type History = Partial<Refusals> & Pick<Group, "failure">;

export function makeGroup(
  draft: Draft,
  payloads: readonly GroupPayload[],
  state: GroupState,
  due: number,
  { refusals = 0, lastRefusalAt = 0, failure }: History = { failure: null },
): Group {
  const { now, settings } = draft;
  assert(payloads.length === 0 || fitsCaps(sizeOf(payloads), settings.caps), "a group is within its caps");
  return draft.make({
    id: draft.drawToken(),
    epoch: draft.head.epoch,
    payloads,
    blocks: blocksOf(payloads, settings.caps),
    made: now,
    attempts: 0,
    inserts: 0,
    firstInsertAt: null,
    lastInsertAt: null,
    blocksBefore: null,
    codecVersion: null,
    rows: null,
    outcomeUnknown: false,
    refusals,
    lastRefusalAt,
    unlisted: 0,
    ownFailures: 0,
    ownFailedAt: 0,
    failure,
    failures: 0,
    rings: 0,
    due,
    state,
  });
}

export const openState: GroupState = { at: "open", lease: null, out: "insert" };

export function verifyingState(fence: number): Extract<GroupState, { at: "verifying" }> {
  return { at: "verifying", lease: null, fence, split: false, code: "" };
}

export function receiptingState(
  receipts: readonly Receipt[],
  ended: readonly EndedPayload[],
  completeView: boolean,
): Extract<GroupState, { at: "receipting" }> {
  return { at: "receipting", lease: null, receipts, leased: 0, completeView, ended };
}

/** What a group has when its receipts are planned: which days were lacking, and what they came to, is over. */
export function closed(payloads: readonly GroupPayload[]): Pick<Group, "payloads" | "rows"> {
  const lacks = payloads.some(({ missingDays }) => missingDays !== null);
  const complete = lacks ? payloads.map((payload) => ({ ...payload, missingDays: null })) : payloads;
  return { payloads: complete, rows: null };
}

/**
 * Nobody inserts this group any more: after its fence the evidence is read, and what is missing gets a new token.
 * The fence counts from the last time that its INSERT was leased; a group that never was has nothing to wait for.
 */
export function toVerify(
  draft: Draft,
  group: Group,
  split: { readonly code: string; readonly isBlind?: boolean } | null = null,
): Group {
  const { now, settings } = draft;
  const fence = group.lastInsertAt === null ? now : group.lastInsertAt + fenceMs(settings);
  return draft.change({
    ...group,
    failures: 0,
    due: Math.max(now, fence),
    state: {
      ...verifyingState(fence),
      split: split !== null,
      code: split?.code ?? "",
      isBlind: split?.isBlind ?? false,
    },
  });
}

/**
 * A group as it is in this epoch. One that was written before the ledger was restored knows nothing of what was done
 * since: it goes to VERIFY, with attempt numbers that no report of the lost time can have.
 */
export function inThisEpoch(draft: Draft, group: Group): Group {
  const { settings } = draft;
  const { epoch, birth } = draft.head;
  if (group.epoch === epoch) {
    return group;
  }
  const fence = birth + fenceMs(settings);
  return draft.change({
    ...group,
    epoch,
    attempts: Math.max(group.attempts, epoch * attemptsAnEpoch),
    outcomeUnknown: group.outcomeUnknown || group.inserts > 0,
    failures: 0,
    rings: 0,
    due: fence,
    state: verifyingState(fence),
  });
}

/** More attempts than a group can have: one each two seconds for three weeks. */
const attemptsAnEpoch = 1_000_000;

/** A group by its id, as it is in this epoch. */
export function readGroup(draft: Draft, id: GroupId): Group | undefined {
  const group = draft.group(id);
  return group === undefined ? undefined : inThisEpoch(draft, group);
}
