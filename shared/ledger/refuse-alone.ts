/**
 * A payload that is alone in its group and refused: after three refusals, with other groups stored in between, it
 * becomes a dead letter.
 */
import { limits } from "../limits.ts";
import type { Receipt } from "../receipt.ts";
import type { Draft } from "./draft.ts";
import type { EndedPayload, Group } from "./group.ts";
import { makeGroup, openState, type Refusals, receiptingState } from "./make-group.ts";
import { ownReasons } from "./own-failures.ts";
import { blankReceipt, deadReceipts, keysOf } from "./receipts.ts";
import { shortText } from "./short-text.ts";

/**
 * A payload that is alone in its group was refused, and the table shows none of its rows. It is dead-lettered or retried,
 * either way in a new group: ClickHouse may have committed before a view refused, then crashed, and kept the token but not
 * the rows (take-insert.ts). Under that token a clean 200 would be for rows that nobody has.
 */
export function refuseAlone(
  draft: Draft,
  alone: Group,
  code: string,
  again: Pick<Group, "due" | "failures">,
): void {
  const { now, settings } = draft;
  const history = { ...countRefusal(draft, alone), failure: alone.failure };
  if (history.refusals < settings.refusalsMax) {
    const made = makeGroup(draft, alone.payloads, openState, again.due, history);
    draft.change({ ...made, failures: again.failures });
    return;
  }
  const { receipts, ended } = condemn(alone, code);
  makeGroup(draft, alone.payloads, receiptingState(receipts, ended, false), now, history);
}

/**
 * One more refusal of a payload that is alone. It counts if another group was stored whose INSERT began after the
 * last one that counted: then not everything is refused. Example, three refusals: at 12:00, at 12:02 after a group
 * that was leased at 12:01, at 12:04 with nothing stored since: two count.
 */
function countRefusal(draft: Draft, { refusals, lastRefusalAt }: Refusals): Refusals {
  const { now } = draft;
  const counts = refusals === 0 || draft.head.lastStoredInsertAt > lastRefusalAt;
  return counts ? { refusals: refusals + 1, lastRefusalAt: now } : { refusals, lastRefusalAt };
}

function condemn(
  group: Group,
  code: string,
): { readonly receipts: readonly Receipt[]; readonly ended: readonly EndedPayload[] } {
  return {
    receipts: group.payloads.flatMap((payload) => {
      const rows = group.rows?.find(({ key }) => key === payload.key);
      const blank = {
        ...blankReceipt(payload, group.id, rows),
        reason: shortText(ownReasons.includes(code) ? code : `rejected:${code}`, limits.reasonBytesMax),
      };
      return deadReceipts(keysOf(payload), blank);
    }),
    ended: group.payloads.map(({ key }) => ({ key, outcome: "dead" })),
  };
}
