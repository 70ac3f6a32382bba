/**
 * The ledger's state in memory: what the SQLite store must be equal to after every change. Used by the tests and by
 * the model; a cursor over plain maps, with no rule of the protocol in it.
 */
import { assert, unreachable } from "../../shared/assert.ts";
import { contentMinuteOfId } from "../../shared/id-time.ts";
import { type DueQueue, dueNever, dueQueueOf, type Group } from "../../shared/ledger/group.ts";
import type { LookedInto } from "../../shared/ledger/group-kinds.ts";
import type { Head } from "../../shared/ledger/head.ts";
import { headAtStart, isToWrite } from "../../shared/ledger/head-row.ts";
import { tagOfEnded } from "../../shared/ledger/key-tag.ts";
import { isForgotten } from "../../shared/ledger/memory.ts";
import { groupToRow, headToRow, waitingToRow } from "../../shared/ledger/rows.ts";
import {
  type Change,
  type LedgerView,
  nothingWaits,
  type PayloadPlace,
  type Waiting,
} from "../../shared/ledger/view.ts";
import { idOfKey, type PayloadId } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { lookedInto } from "./looked-into.ts";

/** A row is larger than the store takes: nothing was applied. */
export class RowTooLarge extends Error {}

/** A store that gets the same changes, and is asked where ids are instead of this one. */
export interface IdStore {
  apply(changes: readonly Change[]): void;
  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace>;
  trimTo(): number | undefined;
  restart(): void;
  copy(): IdStore;
}

export class LedgerState implements LedgerView {
  readonly #ids: IdStore | null;
  readonly #rowBytesMax: Readonly<Record<"head" | "group", number>> | null;
  #head: Head | null = null;
  /** The head that a store would have written last. */
  #written: Head | null = null;
  #waiting: Waiting = nothingWaits;
  readonly #groups = new Map<GroupId, Group>();
  readonly #places = new Map<PayloadId, PayloadPlace>();
  /** Whatever has ended, and when it did last: for checkers, which have no other way to know what was forgotten. */
  readonly #ended = new Map<PayloadId, number>();
  /** Raised by each change of what waits and of groups. */
  moves = 0;

  /** `rowBytesMax`: as a Durable Object's SQLite does, it takes no larger row. Null: any. */
  constructor(
    rowBytesMax: Readonly<Record<"head" | "group", number>> | null = null,
    ids: IdStore | null = null,
  ) {
    this.#rowBytesMax = rowBytesMax;
    this.#ids = ids;
  }

  get head(): Head | null {
    return this.#head;
  }

  get waiting(): Waiting {
    return this.#waiting;
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace> {
    return this.#ids === null ? this.placesInMemory(ids) : this.#ids.places(ids);
  }

  placesInMemory(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace> {
    const found = new Map<PayloadId, PayloadPlace>();
    for (const id of ids) {
      const place = this.placeInMemory(id);
      if (place !== undefined) {
        found.set(id, place);
      }
    }
    return found;
  }

  placeInMemory(id: PayloadId): PayloadPlace | undefined {
    const place = this.#places.get(id);
    return place === undefined || this.#isForgotten(id, place) ? undefined : place;
  }

  group(id: GroupId): Group | undefined {
    return this.#groups.get(id);
  }

  groupsDue(queue: DueQueue, now: number, atMost: number): readonly Group[] {
    const due: Group[] = [];
    for (const group of this.#groups.values()) {
      if (group.due <= now && dueQueueOf(group) === queue) {
        due.push(group);
      }
    }
    return due.sort((a, b) => a.due - b.due || (a.id < b.id ? -1 : 1)).slice(0, atMost);
  }

  nextDue(queue: DueQueue): number | undefined {
    let next: number | undefined;
    for (const group of this.#groups.values()) {
      if (dueQueueOf(group) === queue && (next === undefined || group.due < next)) {
        next = group.due;
      }
    }
    return next;
  }

  heldGroups(atMost: number): readonly Group[] {
    return [...this.#groups.values()]
      .filter(({ due }) => due === dueNever)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, atMost);
  }

  groupsLookedInto(atMost: number): LookedInto {
    return lookedInto(this.#groups.values(), atMost);
  }

  /** The instance ended: what is not stored is gone, and found again as far as groups say it. */
  restart(): void {
    this.#head = this.#written && headAtStart(this.#written, [...this.#groups.values()]);
    this.#ids?.restart();
    this.moves++;
  }

  /** The content minute before which a store that is full would forget: a half of what has ended. Undefined: nothing has. */
  trimTo(): number | undefined {
    if (this.#ids !== null) {
      return this.#ids.trimTo();
    }
    const minutes = [...this.#places]
      .filter(([id, place]) => place.at === "done" && !this.#isForgotten(id, place))
      .map(([id]) => contentMinuteOfId(id))
      .sort((a, b) => a - b);
    const middle = minutes[Math.floor((minutes.length - 1) / 2)];
    return middle === undefined ? undefined : middle + 1;
  }

  /** Everything, for comparisons, checkers and snapshots. */
  dump(): {
    readonly waiting: Waiting;
    readonly groups: ReadonlyMap<GroupId, Group>;
    readonly places: ReadonlyMap<PayloadId, PayloadPlace>;
    readonly ended: ReadonlyMap<PayloadId, number>;
  } {
    return { waiting: this.#waiting, groups: this.#groups, places: this.#places, ended: this.#ended };
  }

  /** A state that is equal now and independent from here on: what a restore goes back to. */
  copy(): LedgerState {
    const copy = new LedgerState(this.#rowBytesMax, this.#ids?.copy() ?? null);
    copy.#head = this.#head;
    copy.#written = this.#written;
    copy.#waiting = this.#waiting;
    for (const [id, group] of this.#groups) {
      copy.#groups.set(id, group);
    }
    for (const [id, place] of this.#places) {
      copy.#places.set(id, place);
    }
    for (const [id, at] of this.#ended) {
      copy.#ended.set(id, at);
    }
    return copy;
  }

  apply(changes: readonly Change[]): void {
    if (this.#rowBytesMax !== null) {
      for (const change of changes) {
        const row = rowOf(change);
        if (row.length > this.#rowBytesMax[change.kind === "head" ? "head" : "group"]) {
          throw new RowTooLarge(`${change.kind}: ${row.length} bytes`);
        }
      }
    }
    for (const change of changes) {
      switch (change.kind) {
        case "head":
          this.#written = isToWrite(this.#written, change.head) ? change.head : this.#written;
          this.#head = change.head;
          break;
        case "waiting":
          this.moves++;
          this.#waiting = change.waiting;
          break;
        case "group":
          assert(
            this.#groups.has(change.group.id) !== change.isNew,
            "a new group is not there, an old one is",
          );
          this.moves++;
          this.#groups.set(change.group.id, change.group);
          if (change.isNew) {
            for (const { key } of change.group.payloads) {
              this.#places.set(idOfKey(key), { at: "group", group: change.group.id });
            }
          }
          break;
        case "end":
          assert(this.#groups.delete(change.group), "a group that ends is there");
          this.moves++;
          for (const one of change.ended) {
            const { key, outcome } = one;
            this.#ended.set(idOfKey(key), change.at);
            this.#places.set(idOfKey(key), {
              at: "done",
              outcome,
              tag: tagOfEnded(one),
              since: change.at,
            });
          }
          break;
        case "forget":
          this.moves++;
          this.#forget();
          break;
        default:
          unreachable(change);
      }
    }
    this.#ids?.apply(changes);
  }

  /** Nothing that is found goes with it: it only has no room any more. */
  #forget(): void {
    for (const [id, place] of this.#places) {
      if (this.#isForgotten(id, place)) {
        this.#places.delete(id);
      }
    }
  }

  #isForgotten(id: PayloadId, place: PayloadPlace): boolean {
    return place.at === "done" && this.#head !== null && isForgotten(this.#head, id, place.since);
  }
}

/** The text that the change writes into one row: ASCII here. */
function rowOf(change: Change): string {
  switch (change.kind) {
    case "head":
      return headToRow(change.head);
    case "waiting":
      return waitingToRow(change.waiting);
    case "group":
      return groupToRow(change.group);
    default:
      return "";
  }
}
