/**
 * An exporter, and the ingress that answers it: the product's own acceptance (shared/delivery/acceptance.ts), its effects
 * performed over this world. Every object that lands makes an R2 event.
 */

import { assert } from "../../../shared/assert.ts";
import type { Taking } from "../../../shared/byte-budget.ts";
import { type AcceptanceEffects, acceptPayload } from "../../../shared/delivery/acceptance.ts";
import { type Answered, type Asked, done, failure } from "../../../shared/effect.ts";
import { limits } from "../../../shared/limits.ts";
import { formatPayloadKey, type PayloadId } from "../../../shared/payload-key.ts";
import { idGiven } from "./bodies.ts";
import type { Process } from "./clock.ts";
import type { Door } from "./door.ts";
import { land } from "./landing.ts";
import { type Content, countsOf, type StoredObject, StoreFailed, spansOfObject } from "./object-store.ts";
import { Invocation, isWorldFailure, type World } from "./world.ts";

/** Collector, put, look, look for its counts, doorbell. */
const acceptanceMax = 5;

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
  const { fate, clock, witness } = world;
  witness.contents.set(content.id, content);
  const arrival = clock.now + world.skews.ingress;
  const key = formatPayloadKey(arrival, content.tenant, content.id);
  yield fate.between(1, 30);
  if (fate.strikes("KV remembers a miss")) {
    return false; // 401 for a minute, at a place where the key was used before it was there: nothing was promised
  }
  const body = yield* upload(world, content);
  if (body === "broken off" || body === null) {
    return false; // by the client, or 503: the isolate has no bytes left for it
  }
  const isSampled = fate.strikes("other sampling");
  witness.named.push({
    id: content.id,
    given: idGiven(content.body, arrival, isSampled, world.idTimeFrom()),
  });
  const object = { key, content, arrival, isSampled };
  const performer = performerOf(world, object);
  const spans = spansOfObject(object);
  const counts = { ...countsOf(object), spans, outputBytes: spans * 100 };
  // The isolate that has sent the key's doorbell, or another one.
  const isNotified = world.notified.has(key) && fate.choices.below(2) === 0;
  const way = isCollected(world, object) ? chooseWay(world, content.id) : null;
  const isAlone = way === "alone by advice";
  const collector = typeof way === "number" ? way : null;
  const work = acceptPayload(key, counts, () => isNotified, collector !== null);
  const invocation = new Invocation(world, "a request");
  invocation.spend(limits.requestSubrequests - acceptanceMax); // its key, its rate, the table's limits, outcomes
  let step = work.next();
  while (step.done !== true) {
    invocation.spend(1);
    const { value } = step;
    step = work.next(
      value.name === "collect" && collector !== null
        ? done<AcceptanceEffects, "collect">("collect", yield* collect(world, object, collector))
        : answer(value, performer),
    );
    yield fate.between(1, 10);
    if (fate.strikes("send hangs")) {
      yield clientPatienceMs;
      return false; // its client has given up, and the platform cancels it
    }
    if (fate.strikes("client hangs up")) {
      return false; // the platform cancels the request: nothing more of it runs, and it gives nothing back
    }
  }
  body.give();
  if (isAlone) {
    world.door?.aloneEnded();
  }
  if (step.value.kind === "unreachable") {
    return false;
  }
  witness.accepted.push({ id: content.id, key: step.value.key });
  return true;
}

/** What an index says of a payload has a checksum: where that is wrong, the payload has no name (`damaged_segment`). */
function isCollected({ door }: World, { content }: StoredObject): boolean {
  return door !== null && content.flaw !== "unreadable metadata";
}

/** Where nothing is advised, there is one collector, and everything goes to it. */
function chooseWay(
  { door, profile, clock, fate, witness }: World,
  id: PayloadId,
): ReturnType<Door["choose"]> {
  if (door === null || !profile.isAdvised) {
    return 0;
  }
  const way = door.choose(id, clock.now);
  if (way === "alone by advice") {
    const why = door.sendsAlone(clock.now);
    if (why !== "") {
      witness.wronglyAlone.push(`${id}: ${why}`);
    }
  }
  if (way !== 0) {
    fate.count(typeof way === "number" ? "another collector" : way);
  }
  return way;
}

function* collect(
  world: World,
  object: StoredObject,
  number: number,
): Process<AcceptanceEffects["collect"]["answers"]> {
  const { door, clock, fate, profile, witness } = world;
  assert(door !== null, "there are collectors");
  const { collector, pause } = door.at(number);
  const startedAt = clock.now;
  const caller = door.call();
  const isOverloaded = fate.strikes("collector is overloaded");
  const { added, advice } = isOverloaded
    ? { added: null, advice: null }
    : yield* collector.add(world, object, caller);
  if (profile.isAdvised) {
    if (advice === null) {
      door.unanswered(caller, isOverloaded);
    } else {
      door.answered(advice, clock.now);
    }
    if (added === null) {
      pause.failed(startedAt, clock.now, "collector_failed");
      door.bypassed();
    } else {
      pause.worked(startedAt);
    }
  }
  if (added === null) {
    witness.putAlone.push(object.key);
  }
  return added === null ? { kind: "alone" } : { kind: "stored", ...added };
}

/** Exporters wait so long for an answer. */
const clientPatienceMs = 10_000;

/** The body comes in pieces, of which any may be the last. Null: the isolate's budget has no bytes left for it. */
function* upload(world: World, { spans, tenant }: Content): Process<Taking | "broken off" | null> {
  const { fate, clock, bytesInHand, profile } = world;
  const pieces = profile.rowsInHandMax === null ? 1 : fate.between(1, 3);
  const now = () => clock.now + world.skews.ingress;
  const bytes = (100 * spans) / pieces;
  const taking = bytesInHand.ingress.take(tenant, bytes, now(), now() + limits.bodyIdleMs);
  for (let piece = 1; piece < pieces && taking !== null; piece++) {
    yield fate.between(1, 3000);
    if (fate.strikes("client hangs up")) {
      return "broken off";
    }
    if (!bytesInHand.ingress.grow(taking, bytes, now(), now() + limits.bodyIdleMs)) {
      taking.give();
      return null;
    }
  }
  if (taking !== null) {
    taking.expiresAt = now() + limits.bodyHeldMs;
  }
  return taking;
}

type ModelPerformer = {
  readonly [Name in keyof AcceptanceEffects]: (
    asks: AcceptanceEffects[Name]["asks"],
  ) => AcceptanceEffects[Name]["answers"];
};

function answer<Name extends keyof AcceptanceEffects>(
  { name, asks }: Asked<AcceptanceEffects, Name>,
  performer: ModelPerformer,
): Answered<AcceptanceEffects, Name> {
  try {
    return done<AcceptanceEffects, Name>(name, performer[name](asks));
  } catch (error) {
    if (isWorldFailure(error)) {
      return failure(error);
    }
    throw error;
  }
}

/** The ingress' effects, performed over this world. */
function performerOf(world: World, object: StoredObject): ModelPerformer {
  const { fate, clock, store, queues } = world;
  let lookFails = false;
  return {
    collect: () => {
      throw new TypeError("it takes a while: `collect` does it");
    },
    putIfAbsent() {
      if (fate.strikes("put lands late")) {
        clock.after(fate.sometime(limits.reconcileAgeMs * 6), () => land(world, [object]));
        lookFails = true;
        throw new StoreFailed("put");
      }
      if (clock.now < world.storeAwayUntil || fate.strikes("put fails")) {
        lookFails = true;
        throw new StoreFailed("put");
      }
      const isCreated = land(world, [object]);
      if (fate.strikes("put lands unseen")) {
        lookFails = fate.choices.oneOf(2) === 0; // the look for it may fail as well: 503, though it landed
        throw new StoreFailed("put");
      }
      return isCreated;
    },
    readCounts(key) {
      const found = store.get(key);
      if (lookFails || clock.now < world.storeAwayUntil || fate.strikes("R2 fails")) {
        throw new StoreFailed("head");
      }
      return found === null || found === "damaged" ? found : countsOf(found);
    },
    notify(doorbell) {
      if (!fate.strikes("doorbell lost")) {
        queues.ring.send(
          "spans" in doorbell
            ? { kind: "doorbells", doorbells: [doorbell] }
            : { kind: "bare", key: doorbell.key, cause: doorbell.cause },
        );
        world.notified.add(doorbell.key);
      }
      return null;
    },
  };
}
