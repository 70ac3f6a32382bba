/**
 * Deletes the rows of payloads that a person wants written anew, where R2 still has an object to write them from. What
 * follows is the ledger's: it waits for the fence, looks again, and inserts what is absent under a new token.
 */
import type { AttemptReport, GroupTask } from "../ledger/group.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";
import { daysOf } from "./erasing.ts";
import { keysLookedFor } from "./evidence.ts";
import { mayBegin } from "./insertion.ts";

type ClearTask = Extract<GroupTask, { readonly step: "clear" }>;

export function* clearRows(task: ClearTask, { now }: DeliveryContext): DeliveryWork<AttemptReport> {
  const { payloads, group, table } = task;
  const ids = payloads.map(({ key }) => idOfKey(key));
  const receipts = yield* ask("readReceipts", ids);
  for (const [i, payload] of payloads.entries()) {
    if (!(yield* hasObject(keysLookedFor(payload, receipts[i] ?? [])))) {
      return { kind: "kept" };
    }
  }
  const found = yield* daysOf(ids, table);
  if ("unknown" in found) {
    return { kind: "retry", reason: found.unknown, noEvidence: true };
  }
  if (!mayBegin(task, now())) {
    return { kind: "retry", reason: "the attempt's lease ran out before its DELETE began" };
  }
  if (found.days.length > 0) {
    yield* ask("clearRows", { ids, days: found.days, group });
  }
  return { kind: "cleared" };
}

function* hasObject(keys: readonly PayloadKey[]): DeliveryWork<boolean> {
  for (const key of keys) {
    if (yield* ask("hasObject", key)) {
      return true;
    }
  }
  return false;
}
