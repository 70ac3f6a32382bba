/**
 * The ledger's state as the machine reads it, and the changes that the machine asks for. What is remembered can be
 * hundreds of millions of ids, so the state is not one object: the machine reads the few things that an event is
 * about, and answers with changes that are applied in one transaction. Two stores hold a state: the Durable Object's
 * SQLite (workers/consumer/ledger-storage.ts), and `LedgerState` in memory for the tests and the model
 * (test/ledger/ledger-state.ts); a property test keeps them equal.
 */
import type { PayloadId } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import type { DueQueue, EndedPayload, EndOutcome, Group, GroupPayload } from "./group.ts";
import type { Head } from "./head.ts";

/** Payloads that wait for others: at most one group's worth. */
export interface Waiting {
  /** When the first of them came, ms since the epoch. Meaningless while there is none. */
  readonly since: number;
  readonly payloads: readonly GroupPayload[];
}

export const nothingWaits: Waiting = { since: 0, payloads: [] };

/** Where the ledger has an id that does not wait. An id that it has nowhere is unknown. */
export type PayloadPlace =
  | { readonly at: "group"; readonly group: GroupId }
  /** `tag`: of the key that it is remembered by (key-tag.ts): the same id under another tag is another key. */
  | {
      readonly at: "done";
      readonly outcome: EndOutcome;
      readonly tag: number;
      readonly since: number;
    };

export type Change =
  | { readonly kind: "head"; readonly head: Head }
  | { readonly kind: "waiting"; readonly waiting: Waiting }
  /** A group that is new (its payloads are now placed in it) or another version of one that exists. */
  | { readonly kind: "group"; readonly group: Group; readonly isNew: boolean }
  /** A group is over. What is in `ended` is remembered as done; its other payloads are placed elsewhere. */
  | {
      readonly kind: "end";
      readonly group: GroupId;
      readonly ended: readonly EndedPayload[];
      readonly at: number;
    }
  /** What is forgotten by the head's marks (memory.ts) may be deleted, now or bit by bit: it is not found any more. */
  | { readonly kind: "forget" };

/** Reading a view changes nothing, and the same view answers the same. */
export interface LedgerView {
  /** Null: not born yet, or everything lost. */
  readonly head: Head | null;
  readonly waiting: Waiting;
  /** Where these ids are; an id that waits, is unknown or is forgotten by the head's marks is left out. */
  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace>;
  group(id: GroupId): Group | undefined;
  /** Groups of a queue with `due` at or before `now`, the longest due first, ties by id; at most `atMost`, fewer where they are large. */
  groupsDue(queue: DueQueue, now: number, atMost: number): readonly Group[];
  /** The earliest `due` of a queue's groups. */
  nextDue(queue: DueQueue): number | undefined;
  /** Groups that are held for a person, by id, at most `atMost`: nothing of them is ever due. */
  heldGroups(atMost: number): readonly Group[];
}
