/**
 * The third ring and the auditor, performed effect by effect. It may die between any two effects, and two of them
 * may run at once.
 */
import { limits } from "../../../shared/limits.ts";
import { idOfKey, type PayloadKey } from "../../../shared/payload-key.ts";
import { auditRows } from "../../../shared/reconcile/evidence.ts";
import { missingKeys, receiptCounts } from "../../../shared/reconcile/join.ts";
import type { Process } from "./clock.ts";
import { doorbellOf, pause } from "./consumer.ts";
import type { World } from "./world.ts";

export function* reconcile(world: World): Process {
  yield* pause(world);
  world.askStore("list");
  const old = world.clock.now - limits.reconcileAgeMs;
  const objects = world.store.list().filter(({ arrival }) => arrival < old);
  const keys = objects.map(({ key }) => key);
  yield* pause(world);
  const unreceipted = missingKeys(keys, readReceiptKeys(world, keys));
  if (unreceipted.length > 0) {
    yield* pause(world);
    const answers = world.ledger.holds(unreceipted);
    const held = new Set(unreceipted.filter((_, i) => answers[i] === true));
    yield* pause(world);
    const missing = new Set(
      missingKeys(unreceipted, readReceiptKeys(world, unreceipted)).filter((key) => !held.has(key)),
    );
    for (const object of objects) {
      if (missing.has(object.key)) {
        world.say(() => `the reconciler rings ${object.key.slice(6, 22)}…${object.key.slice(-22, -18)}`);
        world.witness.rung++;
        world.queues.ring.send({ kind: "doorbell", doorbell: doorbellOf(object, "reconcile") });
      }
    }
  }
  yield* pause(world);
  audit(world);
}

function readReceiptKeys(world: World, keys: readonly PayloadKey[]): readonly PayloadKey[] {
  return world.askTable("receipts", () =>
    keys.filter((key) => {
      const own = world.receipts.get(key)?.receipt.outcome;
      const all = world.receipts.ofId(idOfKey(key)).map(({ receipt }) => receipt.outcome);
      return own !== undefined && receiptCounts(own, all);
    }),
  );
}

function audit(world: World): void {
  for (const object of world.store.list()) {
    const id = idOfKey(object.key);
    const receipts = world.askTable("audit", () => world.receipts.ofId(id));
    const stored = receipts.filter(({ receipt }) => receipt.outcome === "stored");
    const isErased = receipts.some(({ receipt }) => receipt.outcome === "erased");
    const claimed = stored[0];
    if (claimed !== undefined && !isErased && claimed.at < world.clock.now - 3_600_000) {
      const found = auditRows(claimed.receipt.rowsByDay, world.table.rowsByDay(id), stored.length, 0);
      if (found === "too few") {
        world.say(() => `the auditor rings ${object.key.slice(6, 22)}…${object.key.slice(-22, -18)}`);
        world.queues.ring.send({ kind: "doorbell", doorbell: doorbellOf(object, "audit") });
      }
    }
  }
}
