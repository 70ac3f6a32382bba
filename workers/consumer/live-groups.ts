/**
 * Groups of the ledger that were written last, as their rows have them. A group is written and read several times within a
 * second or two, and reading it from its row took more than everything else of a step. What a transaction wrote and did not
 * commit is never here: its store gives up all of it then.
 */
import type { Group } from "../../shared/ledger/group.ts";
import type { GroupId } from "../../shared/receipt.ts";

interface Kept {
  readonly seq: number;
  readonly group: Group;
  /** What its row has: it takes about twice as many bytes here. */
  readonly chars: number;
}

export class LiveGroups {
  /** Of all groups' rows together. */
  readonly #charsMax: number;
  /** The one that was written longest ago is first. */
  readonly #kept = new Map<GroupId, Kept>();
  #chars = 0;

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  get(id: GroupId): Kept | undefined {
    return this.#kept.get(id);
  }

  keep(seq: number, group: Group, chars: number): void {
    this.delete(group.id);
    this.#kept.set(group.id, { seq, group, chars });
    this.#chars += chars;
    for (const oldest of this.#kept.keys()) {
      if (this.#chars <= this.#charsMax) {
        break;
      }
      this.delete(oldest);
    }
  }

  delete(id: GroupId): void {
    this.#chars -= this.#kept.get(id)?.chars ?? 0;
    this.#kept.delete(id);
  }

  clear(): void {
    this.#kept.clear();
    this.#chars = 0;
  }
}
