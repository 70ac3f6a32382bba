/**
 * The last step of a group: everything about its payloads is decided, and is written down. Receipts follow the
 * acknowledged rows, never a materialized view: a receipt must not exist before the rows do, and one that says `erased` not
 * before they are gone. Every part may be repeated: receipts and dead letters replace each other by key, and a deletion that
 * was done deletes nothing.
 */

import { EffectFailed, orElse } from "../effect.ts";
import { erasureFails } from "../failure.ts";
import type { GroupTask } from "../ledger/group.ts";
import { idOfKey, type PayloadKey } from "../payload-key.ts";
import type { NotErased } from "../segment/erase-payloads.ts";
import { ask, type DeliveryContext, type DeliveryWork } from "./effects.ts";
import { eraseRows } from "./erasing.ts";

type ReceiptsTask = Extract<GroupTask, { readonly step: "receipts" }>;

/** Why an erasure is to be repeated. `left`: of these payloads alone; every other one is done. */
interface Unfinished {
  readonly reason: string;
  readonly ofErasure: true;
  readonly left?: readonly PayloadKey[];
}

/**
 * A dead letter is written before its receipt; an erasure is rows, then receipts, then objects, or these alone where an attempt came so far
 * before. Returns null when all is written; otherwise why an erasure is not complete: the other receipts are written.
 */
export function* writeReceipts(
  task: ReceiptsTask,
  context: DeliveryContext,
): DeliveryWork<Unfinished | null> {
  const { payloads, completeView, group, table } = task;
  const receipts = task.receipts.filter(({ isWritten }) => isWritten !== true);
  const written = task.receipts.filter(({ isWritten }) => isWritten === true).map(({ key }) => key);
  if (receipts.length === 0) {
    return yield* eraseAllObjects(written, context);
  }
  const now = context.now();
  if (completeView && payloads.length > 0) {
    const ids = payloads.map(({ key }) => idOfKey(key));
    yield* ask("completeView", ids);
  }
  const dead = receipts.filter(({ outcome }) => outcome === "dead");
  if (dead.length > 0) {
    yield* ask("writeDeadLetters", { receipts: dead, failure: task.failure ?? null, now });
  }
  const erased = receipts.filter(({ outcome }) => outcome === "erased");
  const others = receipts.filter(({ outcome }) => outcome !== "erased");
  if (others.length > 0) {
    yield* ask("writeReceipts", { receipts: others, now });
  }
  if (erased.length === 0) {
    return yield* eraseAllObjects(written, context);
  }
  const keys = erased.map(({ key }) => key);
  const left = yield* eraseRows([...new Set(keys.map(idOfKey))], group, table);
  if (left !== "") {
    return { reason: `${erasureFails.rows}${left}`, ofErasure: true };
  }
  yield* ask("writeReceipts", { receipts: erased, now });
  return yield* eraseAllObjects([...keys, ...written], context);
}

/** Null: R2 has nothing of these any more. */
function* eraseAllObjects(
  keys: readonly PayloadKey[],
  { deleteKeysMax }: DeliveryContext,
): DeliveryWork<Unfinished | null> {
  const notErased: NotErased[] = [];
  for (const some of erasedTogether(keys, deleteKeysMax)) {
    notErased.push(yield* eraseObjects(some));
  }
  const [first] = notErased.filter((one) => one.keys.length > 0);
  return first === undefined
    ? null
    : {
        reason: `${erasureFails.objects}${first.reason}`,
        ofErasure: true,
        left: notErased.flatMap((one) => one.keys),
      };
}

/** What fails for some of them keeps none of the others. */
function eraseObjects(keys: readonly PayloadKey[]): DeliveryWork<NotErased> {
  return orElse(ask("eraseObjects", keys), (error): NotErased => {
    if (error instanceof EffectFailed) {
      return { keys, reason: error.message };
    }
    throw error;
  });
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
