/** Where the ledger has one payload, for a person who asks what became of it. */

import type { Failure } from "../failure.ts";
import type { PayloadId, PayloadKey } from "../payload-key.ts";
import { idOfKey } from "../payload-key.ts";
import type { GroupId } from "../receipt.ts";
import type { EndOutcome, GroupState } from "./group.ts";
import type { LedgerView } from "./view.ts";

export type Whereabouts =
  /** Taken over, and not in a group yet. */
  | { readonly at: "waiting"; readonly key: PayloadKey }
  | {
      readonly at: "group";
      /** Undefined where the payload is in the group as one that is not inserted any more (its receipt is due). */
      readonly key: PayloadKey | null;
      readonly group: GroupId;
      readonly state: GroupState["at"];
      readonly payloads: number;
      readonly attempts: number;
      /** ms since the epoch: when the group was made, and when it is looked at again. */
      readonly made: number;
      readonly due: number;
      /** Why attempts to store it failed; null: none has. */
      readonly failure: Failure | null;
    }
  /** It ended, and is still remembered. `since`: ms since the epoch. */
  | { readonly at: "done"; readonly outcome: EndOutcome; readonly since: number }
  /** Never seen, or forgotten: receipts and rows say what became of it. */
  | { readonly at: "unknown" };

export function whereaboutsOf(view: LedgerView, id: PayloadId): Whereabouts {
  const waits = view.waiting.payloads.find(({ key }) => idOfKey(key) === id);
  if (waits !== undefined) {
    return { at: "waiting", key: waits.key };
  }
  const place = view.places([id]).get(id);
  if (place === undefined) {
    return { at: "unknown" };
  }
  if (place.at === "done") {
    return { at: "done", outcome: place.outcome, since: place.since };
  }
  const group = view.group(place.group);
  return group === undefined
    ? { at: "unknown" }
    : {
        at: "group",
        key: group.payloads.find(({ key }) => idOfKey(key) === id)?.key ?? null,
        group: group.id,
        state: group.state.at,
        payloads: group.payloads.length,
        attempts: group.attempts,
        made: group.made,
        due: group.due,
        failure: group.failure,
      };
}
