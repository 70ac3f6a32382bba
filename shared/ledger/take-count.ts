/**
 * What a count of the rows makes of its group: after a 200 that followed an attempt of unknown outcome all of them must be there,
 * and a refusal splits the group only when the table shows none.
 */
import { assert, unreachable } from "../assert.ts";
import type { PayloadKey } from "../payload-key.ts";
import type { DayRows } from "../receipt.ts";
import type { Draft } from "./draft.ts";
import type { AttemptReport, Group, GroupState, GroupTask } from "./group.ts";
import { halvesOf } from "./grouping.ts";
import { leaseNext } from "./lease-task.ts";
import { makeGroup, openState, toVerify } from "./make-group.ts";
import { refuseAlone } from "./refuse-alone.ts";
import { backOffMs } from "./settings.ts";
import { close } from "./take-insert.ts";

export function takeCount(
  draft: Draft,
  group: Group,
  state: Extract<GroupState, { at: "counting" }>,
  report: Extract<AttemptReport, { kind: "counted" }>,
): GroupTask | null {
  const { now, settings } = draft;
  const found = new Map(report.payloads.map(({ key, rowsByDay }) => [key, rowsByDay]));
  assert(found.size === group.payloads.length, "a count answers for each payload once");
  switch (state.why) {
    case "stored": {
      const { rows } = group;
      assert(rows !== null, "what was stored was transcoded");
      const isWhole = rows.every(({ key, rowsByDay }) => covers(found.get(key), rowsByDay));
      return leaseNext(draft, isWhole ? close(draft, group, rows) : toVerify(draft, group));
    }
    case "refused": {
      const isAbsent = group.payloads.every(({ key }) => isNoneOf(group, key, found.get(key) ?? []));
      if (!isAbsent) {
        return leaseNext(draft, toVerify(draft, group));
      }
      if (group.payloads.length === 1) {
        const again = { due: now + backOffMs(group.failures, settings), failures: group.failures + 1 };
        refuseAlone(draft, group, state.code, again);
      } else {
        for (const half of halvesOf(group.payloads)) {
          makeGroup(draft, half, openState, now, { failure: group.failure });
        }
      }
      draft.end(group, [], now);
      return null;
    }
    default:
      return unreachable(state.why);
  }
}

/**
 * Nothing of what this group was to insert of a payload. The days that the payload had before do not count: a group that
 * went to VERIFY for them would come back with the same refusal for ever.
 */
function isNoneOf({ rows }: Group, key: PayloadKey, found: readonly DayRows[]): boolean {
  const inserted = rows?.find((one) => one.key === key)?.rowsByDay;
  return found.every((one) => one.rows === 0 || inserted?.every(({ day }) => day !== one.day) === true);
}

/** Exactly the inserted rows on the inserted days. Days that a payload had before this group are not of concern here. */
function covers(found: readonly DayRows[] | undefined, inserted: readonly DayRows[]): boolean {
  return inserted.every(({ day, rows }) => found?.find((one) => one.day === day)?.rows === rows);
}
