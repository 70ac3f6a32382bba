/**
 * Taking what is to be erased out of a group that is to be inserted: an erasure does not wait for an INSERT that may not
 * succeed for hours, and what nobody has sent yet is not sent any more.
 */
import { assert } from "../assert.ts";
import { wasFetched } from "./breaker.ts";
import type { Draft } from "./draft.ts";
import type { Group } from "./group.ts";
import { makeGroup, openState, toVerify, verifyingState } from "./make-group.ts";

export function hasErased({ payloads }: Group): boolean {
  return payloads.some(({ erase }) => erase !== null);
}

/**
 * A group that is open, with no attempt out. Where none of its attempts can have sent it, it falls into what is erased at
 * once and the others, under a token of their own; returns these, or null. Else its rows may be there: after its fence
 * VERIFY decides about each payload.
 */
export function takeOutErased(draft: Draft, group: Group): Group | null {
  const { now } = draft;
  assert(group.state.at === "open" && group.state.lease === null, "nobody has it");
  if (group.outcomeUnknown) {
    return toVerify(draft, group);
  }
  const erased = group.payloads.filter(({ erase }) => erase !== null);
  const others = group.payloads.filter(({ erase }) => erase === null);
  draft.head = { ...draft.head, breaker: wasFetched(draft.head.breaker, group.id) };
  makeGroup(draft, erased, verifyingState(now), now, { failure: group.failure });
  let rest: Group | null = null;
  if (others.length > 0) {
    const { failures, ownFailures, ownFailedAt, unlisted, due } = group;
    const made = makeGroup(draft, others, openState, due, group);
    rest = draft.change({ ...made, failures, ownFailures, ownFailedAt, unlisted });
  }
  draft.end(group, [], now);
  return rest;
}
