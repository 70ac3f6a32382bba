/** All that the machine can see of a view: two stores of one state show the same. */
import { nextAlarm } from "../../shared/ledger/machine.ts";
import type { LedgerSettings } from "../../shared/ledger/settings.ts";
import type { LedgerView } from "../../shared/ledger/view.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { idAt } from "../ledger/world.ts";

export function seen(
  view: LedgerView,
  groups: readonly GroupId[],
  settings: LedgerSettings,
  idOf = idAt,
): unknown {
  const everyId = Array.from({ length: 41 }, (_, n) => idOf(n));
  return {
    head: view.head,
    waiting: view.waiting,
    places: new Map([...view.places(everyId)].sort(([a], [b]) => (a < b ? -1 : 1))),
    groups: groups.map((id) => view.group(id)),
    due: view.groupsDue("other", Number.MAX_SAFE_INTEGER, 1000),
    firstInserts: view.groupsDue("insert", Number.MAX_SAFE_INTEGER, 2),
    held: view.heldGroups(2),
    nextDue: [view.nextDue("insert"), view.nextDue("other")],
    alarm: nextAlarm(view, settings),
  };
}
