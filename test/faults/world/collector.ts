/**
 * The ingress' collector, as far as others see it: payloads of concurrent requests have one object, and each is answered when
 * that is there. It may die at any moment, with what is open and what flies; then its callers hear nothing, and put for themselves.
 */
import { assert } from "../../../shared/assert.ts";
import { limits } from "../../../shared/limits.ts";
import { formatSlotKey, type PayloadKey } from "../../../shared/payload-key.ts";
import { formatSegmentKey } from "../../../shared/segment/segment-key.ts";
import type { Process } from "./clock.ts";
import { land } from "./landing.ts";
import { countsOf, doorbellOf, type StoredObject } from "./object-store.ts";
import type { World } from "./world.ts";

/** Payloads of one segment: few, so that schedules of few payloads come to a full one. */
const payloadsMax = 3;
/** How long a segment waits for others, and a caller for its answer, ms. */
const lingerMs = 3000;
const patienceMs = 4000;

type Landing = readonly [StoredObject, ...StoredObject[]];

interface Added {
  readonly key: PayloadKey;
  readonly isDuplicate: boolean;
  readonly spans: number;
}

interface Segment {
  readonly payloads: Omit<StoredObject, "key">[];
  /** `lost`: its collector died. `failed`: its put did, as far as is known. */
  state: "open" | "flying" | "landed" | "failed" | "lost";
  keys: readonly PayloadKey[];
}

export class Collector {
  #open: Segment | null = null;

  /** Hands a payload over. Null: it is to be put alone. Else where it is. */
  *add(world: World, payload: Omit<StoredObject, "key">): Process<Added | null> {
    const { clock } = world;
    const isFull = (this.#open?.payloads.length ?? 0) >= payloadsMax;
    if (this.#open === null || isFull) {
      this.#open = { payloads: [], state: "open", keys: [] };
      clock.start(this.#fly(world, this.#open));
    }
    const segment = this.#open;
    // Equal bytes that are in it already are one payload; what was counted first holds.
    const known = segment.payloads.findIndex(({ content }) => content.id === payload.content.id);
    const slot = known >= 0 ? known : segment.payloads.push(payload) - 1;
    const until = clock.now + patienceMs;
    while (
      (segment.state === "open" || segment.state === "flying" || segment.state === "lost") &&
      clock.now < until
    ) {
      yield world.fate.between(5, 20);
    }
    const key = segment.state === "landed" ? segment.keys[slot] : undefined;
    const first = segment.payloads[slot];
    return key === undefined || first === undefined
      ? null
      : { key, isDuplicate: known >= 0, spans: countsOf({ ...first, key }).spans };
  }

  *#fly(world: World, segment: Segment): Process {
    const { fate, clock } = world;
    yield fate.between(1, lingerMs);
    if (this.#open === segment) {
      this.#open = null;
    }
    if (fate.strikes("collector dies")) {
      segment.state = "lost";
      return;
    }
    segment.state = "flying";
    const ids = segment.payloads.map(({ content }) => content.id);
    const random = Uint8Array.from({ length: 10 }, () => fate.choices.below(256));
    const key = formatSegmentKey(clock.now + world.skews.ingress, random, ids);
    const [first, ...rest] = segment.payloads.map((payload, slot) => ({
      ...payload,
      key: formatSlotKey(key, slot, "acme", payload.content.id),
    }));
    assert(first !== undefined, "a segment has a payload");
    const objects: Landing = [first, ...rest];
    segment.keys = objects.map((object) => object.key);
    yield fate.between(1, 30);
    segment.state = this.#put(world, objects);
    if (segment.state === "landed" && !fate.strikes("doorbell lost")) {
      const doorbells = objects.map((object) => doorbellOf(object, "ingress"));
      world.queues.ring.send({ kind: "doorbells", doorbells });
    }
  }

  #put(world: World, objects: Landing): Segment["state"] {
    const { fate, clock } = world;
    if (fate.strikes("put lands late")) {
      clock.after(fate.sometime(limits.reconcileAgeMs * 6), () => land(world, objects));
      return "failed";
    }
    if (clock.now < world.storeAwayUntil || fate.strikes("put fails")) {
      return "failed";
    }
    land(world, objects);
    if (fate.strikes("collector dies")) {
      return "lost"; // its object is there, and nobody hears of it
    }
    // The put threw: the object is looked for by its name, and that may fail too.
    return fate.strikes("put lands unseen") && fate.choices.oneOf(2) === 0 ? "failed" : "landed";
  }
}
