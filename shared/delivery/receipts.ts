/**
 * The last step of a group: everything about its payloads is decided, and is written down. Receipts follow the
 * acknowledged rows, never a materialized view: a receipt must not exist before the rows do. Every part may be
 * repeated: receipts and dead letters replace each other by key, and a deletion that was done deletes nothing.
 */
import type { GroupTask } from "../ledger/group.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";

type ReceiptsTask = Extract<GroupTask, { readonly step: "receipts" }>;

/** A dead letter stands before its receipt does; an erasure is receipts, then rows, then objects. */
export function* writeReceipts(task: ReceiptsTask, context: DeliveryContext): DeliveryWork<void> {
  const { receipts, payloads, completeView } = task;
  const now = context.now();
  if (completeView && payloads.length > 0) {
    const ids = payloads.map(({ key }) => idOfKey(key));
    yield* ask("completeView", ids);
  }
  const dead = receipts.filter(({ outcome }) => outcome === "dead");
  if (dead.length > 0) {
    yield* ask("writeDeadLetters", { receipts: dead, failure: task.failure ?? null, now });
  }
  if (receipts.length > 0) {
    yield* ask("writeReceipts", { receipts, now });
  }
  const erased = receipts.filter(({ outcome }) => outcome === "erased").map(({ key }) => key);
  if (erased.length > 0) {
    const ids = [...new Set(erased.map(idOfKey))];
    yield* ask("eraseTraceTimes", ids);
    yield* ask("eraseRows", ids);
    for (const some of erasedTogether(erased, context.deleteKeysMax)) {
      yield* ask("eraseObjects", some);
    }
  }
}

/** Two objects per key: the payload's, and its dead letter's. 1000 keys of R2's are 500 of these. */
function* erasedTogether(
  keys: readonly PayloadKey[],
  deleteKeysMax: number,
): Iterable<readonly PayloadKey[]> {
  const each = Math.floor(deleteKeysMax / 2);
  for (let at = 0; at < keys.length; at += each) {
    yield keys.slice(at, at + each);
  }
}
