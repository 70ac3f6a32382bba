/**
 * An exporter, and the ingress that answers it: a create-only put, a look whether a put that threw has landed after
 * all, 200 and a doorbell (workers/ingress/accept-payload.ts, ring.ts). Every object that lands makes an R2 event.
 */

import { limits } from "../../../shared/limits.ts";
import { formatPayloadKey } from "../../../shared/payload-key.ts";
import type { Process } from "./clock.ts";
import { type Content, doorbellOf, type StoredObject } from "./object-store.ts";
import type { World } from "./world.ts";

/** How often a client sends again what was answered 503; then it gives up, and nothing was promised. */
const triesMax = 6;

/** Sends a content, and `resends` times again: exporters do so whenever an answer does not reach them. */
export function* sendContent(world: World, content: Content, resends: number): Process {
  for (let sent = 0; sent <= resends; sent++) {
    for (let tries = 0; tries < triesMax; tries++) {
      const isAnswered = yield* sendOnce(world, content);
      if (isAnswered && !world.fate.strikes("answer lost")) {
        break;
      }
      yield world.fate.between(1000, 20_000);
    }
    if (sent < resends) {
      yield world.fate.sometime(world.profile.resendMs);
    }
  }
}

/** True: answered 200. */
function* sendOnce(world: World, content: Content): Process<boolean> {
  const { fate, store, clock, queues, witness } = world;
  witness.contents.set(content.id, content);
  const arrival = clock.now + world.skews.ingress;
  const key = formatPayloadKey(arrival, "acme", content.id);
  const object: StoredObject = { key, content, arrival };
  yield fate.between(1, 30);
  if (fate.strikes("put lands late")) {
    clock.after(fate.sometime(limits.reconcileAgeMs * 6), () => land(world, object));
    return false;
  }
  if (clock.now < world.storeAwayUntil || fate.strikes("put fails")) {
    return false;
  }
  land(world, object);
  if (fate.strikes("put lands unseen") && fate.choices.oneOf(2) === 0) {
    return false; // the put threw, and the look for it failed as well: 503, though it landed
  }
  witness.accepted.add(key);
  yield fate.between(1, 10);
  if (!fate.strikes("doorbell lost")) {
    const landed = store.get(key);
    if (landed !== null) {
      queues.ring.send({ kind: "doorbell", doorbell: doorbellOf(landed, "ingress") });
    }
  }
  return true;
}

function land(world: World, object: StoredObject): void {
  const { key, content } = object;
  const isNew = world.store.create(object);
  world.say(() => `put ${key.slice(6, 22)}…${key.slice(-22, -18)} ${isNew ? "created" : "is there"}`);
  if (!isNew) {
    return;
  }
  const landed = world.witness.landed.get(content.id);
  const one = { key, at: object.arrival - world.skews.ingress, landedAt: world.clock.now };
  if (landed === undefined) {
    world.witness.landed.set(content.id, [one]);
  } else {
    landed.push(one);
  }
  world.cron.isWanted();
  if (!world.fate.strikes("event lost")) {
    world.queues.late.send({ kind: "event", key });
  }
}
