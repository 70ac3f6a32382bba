/** An object that lands in R2: its payloads are there from now on, and R2 makes one event of it. */
import { isInSegment, objectOf } from "../../../shared/payload-key.ts";
import { damageSegment } from "./damage.ts";
import type { StoredObject } from "./object-store.ts";
import type { World } from "./world.ts";

/** True: it was created. */
export function land(world: World, payloads: readonly [StoredObject, ...StoredObject[]]): boolean {
  const object = objectOf(payloads[0].key);
  const isNew = world.store.create(...payloads);
  world.say(() => `put ${object.slice(6, 22)}…${object.slice(-22, -18)} ${isNew ? "created" : "is there"}`);
  if (!isNew) {
    return false;
  }
  if (isInSegment(object)) {
    world.witness.segments.set(object, payloads);
  }
  for (const { key, content, arrival, isSampled } of payloads) {
    world.witness.overwritten.delete(key);
    if (world.witness.bytesGone.delete(key)) {
      world.witness.asked.delete(key); // it was done, and they came once more, under the same key
      world.witness.cameAgain.add(key);
    }
    const landed = world.witness.landed.get(content.id);
    const one = { key, at: arrival - world.skews.ingress, landedAt: world.clock.now, isSampled };
    if (landed === undefined) {
      world.witness.landed.set(content.id, [one]);
    } else {
      landed.push(one);
    }
  }
  if (isInSegment(object) && world.fate.strikes("segment is damaged")) {
    damageSegment(world, object);
  }
  world.cron.isWanted();
  if (!world.fate.strikes("event lost")) {
    const [{ key }] = payloads;
    world.queues.late.send({ kind: "bare", key: isInSegment(key) ? object : key, cause: "event" });
  }
  return true;
}
