/**
 * The ledger's state in memory: what the SQLite store must be equal to after every change. Used by the tests and by
 * the model; a cursor over plain maps, with no rule of the protocol in it.
 */
import { assert, unreachable } from "../assert.ts";
import { idOfKey, type PayloadId } from "../payload-key.ts";
import type { Group, GroupId } from "./group.ts";
import { type Change, type LedgerView, nothingWaits, type Place, type Waiting } from "./view.ts";

export class LedgerState implements LedgerView {
  #waiting: Waiting = nothingWaits;
  readonly #groups = new Map<GroupId, Group>();
  readonly #places = new Map<PayloadId, Place>();

  get waiting(): Waiting {
    return this.#waiting;
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, Place> {
    const found = new Map<PayloadId, Place>();
    for (const id of ids) {
      const place = this.#places.get(id);
      if (place !== undefined) {
        found.set(id, place);
      }
    }
    return found;
  }

  group(id: GroupId): Group | undefined {
    return this.#groups.get(id);
  }

  groupsDue(now: number, atMost: number): readonly Group[] {
    return [...this.#groups.values()]
      .filter((group) => group.due <= now)
      .sort((a, b) => a.due - b.due || (a.id < b.id ? -1 : 1))
      .slice(0, atMost);
  }

  nextDue(): number | undefined {
    let next: number | undefined;
    for (const { due } of this.#groups.values()) {
      next = next === undefined ? due : Math.min(next, due);
    }
    return next;
  }

  oldestFinished(): number | undefined {
    let oldest: number | undefined;
    for (const place of this.#places.values()) {
      if (place.at === "done") {
        oldest = oldest === undefined ? place.since : Math.min(oldest, place.since);
      }
    }
    return oldest;
  }

  /** Every group and every placed id, for comparisons and checkers. */
  dump(): {
    readonly waiting: Waiting;
    readonly groups: ReadonlyMap<GroupId, Group>;
    readonly places: ReadonlyMap<PayloadId, Place>;
  } {
    return { waiting: this.#waiting, groups: this.#groups, places: this.#places };
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      switch (change.kind) {
        case "waiting":
          this.#waiting = change.waiting;
          break;
        case "group":
          assert(
            this.#groups.has(change.group.id) !== change.isNew,
            "a new group is not there, an old one is",
          );
          this.#groups.set(change.group.id, change.group);
          if (change.isNew) {
            for (const { key } of change.group.payloads) {
              this.#places.set(idOfKey(key), { at: "group", group: change.group.id });
            }
          }
          break;
        case "end":
          assert(this.#groups.delete(change.group), "a group that ends is there");
          for (const { id, minute, outcome } of change.ended) {
            this.#places.set(id, { at: "done", outcome, minute, since: change.at });
          }
          break;
        case "forget":
          for (const [id, place] of this.#places) {
            if (place.at === "done" && place.since < change.before) {
              this.#places.delete(id);
            }
          }
          break;
        default:
          unreachable(change);
      }
    }
  }
}
