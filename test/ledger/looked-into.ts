/** `LookedInto` of groups that are in memory, as the ledger's store has it from its rows (workers/consumer/ledger-storage.ts). */
import type { Group } from "../../shared/ledger/group.ts";
import { kindOf, type LookedInto, noneLookedInto } from "../../shared/ledger/group-kinds.ts";

/** `groups`: the longest living first. */
export function lookedInto(groups: Iterable<Group>, atMost: number): LookedInto {
  const counts = { ...noneLookedInto.counts };
  const looked: Group[] = [];
  for (const group of groups) {
    if (counts[kindOf(group)]++ < atMost) {
      looked.push(group);
    }
  }
  return { groups: looked, counts };
}
