/**
 * The ingress' collector, as far as others see it: payloads of concurrent requests have one object, and each is answered when
 * that is there. It may die at any moment, with what is open and what flies; then its callers hear nothing, and put for themselves. For
 * a while there may be two of it, which know nothing of each other.
 */
import { assert } from "../../../shared/assert.ts";
import { type Advice, type Caller, Demand } from "../../../shared/collect/advice.ts";
import { type SegmentEffects, storeSegment } from "../../../shared/collect/store-segment.ts";
import { type Answered, type Asked, done, failure } from "../../../shared/effect.ts";
import { limits } from "../../../shared/limits.ts";
import {
  formatPayloadKey,
  formatSlotKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
} from "../../../shared/payload-key.ts";
import { indexBytes } from "../../../shared/segment/segment.ts";
import { formatSegmentKey } from "../../../shared/segment/segment-key.ts";
import type { Process } from "./clock.ts";
import { land } from "./landing.ts";
import { countsOf, doorbellOf, type StoredObject, StoreFailed } from "./object-store.ts";
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

/** How long an instance knows what it has stored, ms. */
const rememberedMs = 120_000;
/** How long the platform may take to move an object, ms. */
const movesMs = 30_000;

export class Collector {
  #instance = new Instance();
  /** While the platform moves the object, requests may reach the instance before or the one after. */
  #older: Instance | null = null;
  #olderUntil = 0;

  /** Hands a payload over. `added` null: it is to be put alone. Else where it is. */
  *add(world: World, payload: Omit<StoredObject, "key">, caller: Caller): Process<Answer> {
    const { clock, fate } = world;
    if (fate.strikes("collector moves")) {
      this.#older = this.#instance;
      this.#olderUntil = clock.now + movesMs;
      this.#instance = new Instance();
    }
    const isOlder = clock.now < this.#olderUntil && fate.choices.below(2) === 0;
    const instance = isOlder && this.#older !== null ? this.#older : this.#instance;
    instance.called(world, payload, caller);
    const answer = yield* instance.add(world, payload);
    return answer === "unanswered"
      ? { added: null, advice: null }
      : { added: answer, advice: instance.advice(world, caller) };
  }
}

/** `advice` null: nothing was answered. */
interface Answer {
  readonly added: Added | null;
  readonly advice: Advice | null;
}

/** What a payload waits for others at most, as advice has it (COLLECT_MS). */
const collectMs = 100;

class Instance {
  #demand: Demand | null = null;
  #open: Segment | null = null;
  /** The open one and those in flight. */
  readonly #inHand = new Set<Segment>();
  readonly #stored = new Map<PayloadId, Added & { readonly until: number }>();

  called({ clock, profile }: World, { content }: Omit<StoredObject, "key">, caller: Caller): void {
    if (profile.isAdvised) {
      this.#demand ??= new Demand(clock.now);
      this.#demand.called(caller, content.body.bytes.length, clock.now);
    }
  }

  advice({ clock }: World, caller: Caller): Advice | null {
    return this.#demand?.advice(caller, collectMs, clock.now) ?? null;
  }

  *add(world: World, payload: Omit<StoredObject, "key">): Process<Added | null | "unanswered"> {
    const { clock } = world;
    const { id } = payload.content;
    const stored = this.#stored.get(id);
    if (stored !== undefined && clock.now < stored.until) {
      return stored;
    }
    // Equal bytes that are in hand already are one payload; what was counted first holds.
    const isIn = (one: Segment): boolean => one.payloads.some(({ content }) => content.id === id);
    const known = [...this.#inHand].find(isIn);
    const segment = known ?? this.#openFor(world);
    if (known === undefined) {
      segment.payloads.push(payload);
    }
    const slot = segment.payloads.findIndex(({ content }) => content.id === id);
    const until = clock.now + patienceMs;
    while (
      (segment.state === "open" || segment.state === "flying" || segment.state === "lost") &&
      clock.now < until
    ) {
      yield world.fate.between(5, 20);
    }
    if (segment.state !== "landed" && segment.state !== "failed") {
      return "unanswered";
    }
    const key = segment.state === "landed" ? segment.keys[slot] : undefined;
    const first = segment.payloads[slot];
    return key === undefined || first === undefined
      ? null
      : { key, isDuplicate: known !== undefined, spans: countsOf({ ...first, key }).spans };
  }

  #openFor(world: World): Segment {
    const isFull = (this.#open?.payloads.length ?? 0) >= payloadsMax;
    if (this.#open === null || isFull) {
      this.#open = { payloads: [], state: "open", keys: [] };
      this.#inHand.add(this.#open);
      world.clock.start(this.#fly(world, this.#open));
    }
    return this.#open;
  }

  *#fly(world: World, segment: Segment): Process {
    const { fate, clock } = world;
    yield fate.between(1, lingerMs);
    if (this.#open === segment) {
      this.#open = null;
    }
    if (segment.state === "lost" || fate.strikes("collector dies")) {
      this.#die();
      return;
    }
    segment.state = "flying";
    this.#demand?.setInFlight(true, clock.now);
    const objects = landingOf(world, segment);
    segment.keys = objects.map((object) => object.key);
    yield fate.between(1, 30);
    const isStored = yield* objects.length === 1 ? storeAlone(world, objects) : store(world, objects);
    if (fate.strikes("collector dies")) {
      this.#die(); // its object may be there, and nobody hears of it
    }
    this.#inHand.delete(segment);
    this.#demand?.setInFlight(false, clock.now);
    if (hasDied(segment)) {
      return;
    }
    segment.state = isStored ? "landed" : "failed";
    if (isStored) {
      this.#remember(clock.now, objects);
    }
    if (isStored && !fate.strikes("doorbell lost")) {
      const doorbells = objects.map((object) => doorbellOf(object, "ingress"));
      world.queues.ring.send({ kind: "doorbells", doorbells });
    }
  }

  #remember(now: number, objects: Landing): void {
    for (const object of objects) {
      const { key, content } = object;
      const { spans } = countsOf(object);
      this.#stored.set(content.id, { key, isDuplicate: true, spans, until: now + rememberedMs });
    }
  }

  /** With all that it has in hand; what flies may land. */
  #die(): void {
    for (const segment of this.#inHand) {
      segment.state = "lost";
    }
    this.#inHand.clear();
    this.#stored.clear();
    this.#open = null;
  }
}

/** What comes of it: a payload that nobody shares with has the object that it would have alone. */
function landingOf({ fate, clock, skews }: World, { payloads }: Segment): Landing {
  const [only, ...others] = payloads;
  assert(only !== undefined, "a segment has a payload");
  if (others.length === 0) {
    return [{ ...only, key: formatPayloadKey(only.arrival, only.content.tenant, only.content.id) }];
  }
  const ids = payloads.map(({ content }) => content.id);
  const random = Uint8Array.from({ length: 10 }, () => fate.choices.below(256));
  const key = formatSegmentKey(clock.now + skews.ingress, random, ids);
  const [first, ...rest] = payloads.map((payload, slot) => ({
    ...payload,
    key: formatSlotKey(key, slot, payload.content.tenant, payload.content.id),
  }));
  assert(first !== undefined, "a segment has a payload");
  return [first, ...rest];
}

/** Its own process may have been in the middle of something meanwhile. */
function hasDied({ state }: Segment): boolean {
  return state === "lost";
}

/** The product's own way of it into R2 (shared/collect/store-segment.ts). */
function* store(world: World, objects: Landing): Process<boolean> {
  const bytes = objects.reduce(
    (sum, { content }) => sum + content.body.bytes.length,
    indexBytes(objects.length),
  );
  const performer = performerOf(world, objects);
  const work = storeSegment(objectOf(objects[0].key), bytes);
  let step = work.next();
  while (step.done !== true) {
    step = work.next(answer(step.value, performer));
    yield world.fate.between(1, 10);
  }
  return step.value;
}

/** One put: whatever it leaves in doubt, and what is there already, its caller finds out by a put of its own. */
function* storeAlone(world: World, objects: Landing): Process<boolean> {
  const put = { name: "putIfAbsent", asks: objectOf(objects[0].key) } as const;
  const answered = answer(put, performerOf(world, objects));
  yield world.fate.between(1, 10);
  return answered.is === "done" && answered.value;
}

function performerOf(world: World, objects: Landing): ModelPerformer {
  const { fate, clock } = world;
  let isUnseen = false;
  return {
    putIfAbsent() {
      if (fate.strikes("put lands late")) {
        clock.after(fate.sometime(limits.reconcileAgeMs * 6), () => land(world, objects));
        throw new StoreFailed("put");
      }
      if (clock.now < world.storeAwayUntil || fate.strikes("put fails")) {
        throw new StoreFailed("put");
      }
      const isCreated = land(world, objects);
      if (fate.strikes("put lands unseen")) {
        isUnseen = fate.choices.oneOf(2) === 0; // the look for it may fail as well
        throw new StoreFailed("put");
      }
      return isCreated;
    },
    sizeOf(name) {
      world.askStore("head");
      if (isUnseen) {
        throw new StoreFailed("head");
      }
      return world.store.readSegment(name)?.bytes.length ?? null;
    },
  };
}

type ModelPerformer = {
  readonly [Name in keyof SegmentEffects]: (
    asks: SegmentEffects[Name]["asks"],
  ) => SegmentEffects[Name]["answers"];
};

function answer<Name extends keyof SegmentEffects>(
  { name, asks }: Asked<SegmentEffects, Name>,
  performer: ModelPerformer,
): Answered<SegmentEffects, Name> {
  try {
    return done<SegmentEffects, Name>(name, performer[name](asks));
  } catch (error) {
    if (error instanceof StoreFailed) {
      return failure(error);
    }
    throw error;
  }
}
