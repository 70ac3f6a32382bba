/**
 * The twin of workers/consumer/perform.ts: the consumer's effects, performed over this world, where any of them may fail
 * before or after it was done.
 */

import { assert, BrokenInvariant } from "../../../shared/assert.ts";
import { bytesToBuild, type Taking, waitForBytes } from "../../../shared/byte-budget.ts";
import { witnessOf } from "../../../shared/clickhouse/table-identity.ts";
import type { DeliveryEffects, FoundObject } from "../../../shared/delivery/effects.ts";
import { type Answered, type Asked, done, failure } from "../../../shared/effect.ts";
import type { GroupPayload, StoredPayload } from "../../../shared/ledger/group.ts";
import type { TableFacts } from "../../../shared/ledger/known-table.ts";
import { overdueMs } from "../../../shared/ledger/settings.ts";
import type { Doorbell } from "../../../shared/messages.ts";
import {
  getsOf,
  idOfKey,
  isInSegment,
  isPayloadKey,
  minuteOfKey,
  minuteToMs,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
} from "../../../shared/payload-key.ts";
import { isGroupId } from "../../../shared/receipt.ts";
import {
  type ErasureEffects,
  erasePayloads,
  type NotErased,
} from "../../../shared/segment/erase-payloads.ts";
import type { Process } from "./clock.ts";
import {
  type Damaged,
  doorbellOf,
  isBody,
  rowsOfObject,
  type StoredObject,
  StoreFailed,
  spansOfObject,
} from "./object-store.ts";
import type { Message } from "./queue.ts";
import { sendInsert } from "./send-insert.ts";
import { Unanswered, type World } from "./world.ts";

/** Effects that take their time are processes; all others happen at once. */
export type TakesTime = "buildBlock" | "sendBlock" | "readObject" | "eraseObjects";
export const takesTime: ReadonlySet<keyof DeliveryEffects> = new Set([
  "buildBlock",
  "sendBlock",
  "readObject",
  "eraseObjects",
] satisfies TakesTime[]);

type Answer<Name extends keyof DeliveryEffects> = DeliveryEffects[Name]["answers"] | Unanswered;

export type ModelPerformer = {
  readonly [Name in keyof DeliveryEffects]: (
    hands: Hands,
    asks: DeliveryEffects[Name]["asks"],
  ) => Name extends TakesTime ? Process<Answer<Name>> : Answer<Name>;
};

/** A batch, and what its handler said of its messages. */
export interface BatchInHand {
  readonly messages: readonly Message[];
  readonly acked: Set<Message>;
  readonly retried: Set<Message>;
  /** The isolate dies at its next wait. */
  isDoomed: boolean;
}

/** R2 deletes so many keys per call: few, so that groups of this world have more. */
export const deleteKeysMax = 4;

/** Gets by which one VERIFY looks for objects: few, so that groups of this world take more. */
export const verifyGetsMax = 2;

/** The block in hand: what `sendBlock` sends. */
interface Block {
  readonly objects: readonly StoredObject[];
  readonly payloads: readonly StoredPayload[];
  /** Native blocks of its body: part of ClickHouse's token. */
  readonly blocks: number;
}

/** What an invocation has in hand while it works on a batch. */
export interface Hands {
  readonly world: World;
  readonly batch: BatchInHand;
  readonly codecVersion: number;
  block: Block | null;
  taking: Taking | null;
  /** When receipts were written last: a receipt that is lost after that was there for a deletion that relies on it. */
  receiptedAt: number;
}

export function newHands(world: World, batch: BatchInHand, codecVersion: number): Hands {
  return { world, batch, codecVersion, block: null, taking: null, receiptedAt: 0 };
}

function drop(hands: Hands): void {
  hands.block = null;
  hands.taking?.give();
  hands.taking = null;
}

function overdueBefore({ clock, settings }: World): number {
  return clock.now - overdueMs(settings);
}

/**
 * One for all batches. Generator functions that are made anew have objects of another shape each time, and slow down every
 * `yield*` of the model: making them per batch and per tick took a fifth of a schedule's time.
 */
export const performer: ModelPerformer = {
  // --- a batch of messages
  completeDoorbell({ world }, { key, cause }) {
    world.askStore("head");
    if (!isPayloadKey(key)) {
      const payloads = world.store.payloadsOf(key) ?? [];
      return payloads.filter(({ isErased }) => !isErased).map(({ payload }) => doorbellOf(payload, cause));
    }
    const doorbell = completeDoorbell(world, key, cause);
    return doorbell === null ? [] : [doorbell];
  },
  parkMessage({ world }, { at, reason }) {
    world.askStore("put");
    world.say(() => `parked: ${reason}`);
    return {
      kind: "parked_message",
      subject: String(at),
      state: "open",
      severity: "warning",
      tenant: "",
      message: reason,
      openedAt: world.clock.now,
    };
  },
  reportFindings({ world }, findings) {
    for (const { kind, subject } of findings) {
      world.witness.findings.add(`${kind} ${subject}`);
    }
    return null;
  },
  writeOutcomes() {
    return null;
  },
  passOver() {
    return null;
  },
  knows({ world }, bells) {
    return world.ledger.knows(bells);
  },
  claim({ world, codecVersion }, { doorbells, messages }) {
    return world.ledger.call({ kind: "claim", doorbells, messages, codecVersion });
  },
  take({ world, codecVersion }, group) {
    assert(isGroupId(group), "a group's id is 32 hex digits");
    return world.ledger.call({ kind: "take", group, codecVersion });
  },
  ackAll({ batch }) {
    for (const message of batch.messages) {
      batch.acked.add(message);
    }
    return null;
  },
  ack({ batch }, { at }) {
    batch.acked.add(messageAt(batch, at));
    return null;
  },
  retry({ batch }, { at }) {
    batch.retried.add(messageAt(batch, at));
    return null;
  },

  // --- the work on a group
  *buildBlock(hands, { payloads: wanted, blocks, deadline }) {
    const { world, batch } = hands;
    drop(hands);
    const bytesMax = 100 * (world.profile.rowsInHandMax ?? Number.POSITIVE_INFINITY);
    const bytes = bytesToBuild(wanted);
    const now = () => world.clock.now + world.skews.consumer;
    hands.taking = yield* waitForBytes(
      world.bytesInHand.consumer,
      "group",
      Math.min(bytes, bytesMax),
      deadline,
      now,
    );
    if (hands.taking === null) {
      return { kind: "busy" };
    }
    const objects: StoredObject[] = [];
    const payloads: StoredPayload[] = [];
    const unreadable: PayloadKey[] = [];
    const gets = new Set<ObjectKey>();
    let fetched: ObjectKey | null = null;
    let getsLeft = world.settings.caps.payloadsMax;
    for (const payload of wanted) {
      // An object in this world is mostly there: where it might be gone, as much is reserved as where it is, so that it happens.
      getsLeft -= fetched === objectOf(payload.key) ? 0 : getsOf(payload.key);
      if (getsLeft < 0) {
        unreadable.push(payload.key); // set aside
        continue;
      }
      const id = idOfKey(payload.key);
      if (!world.witness.firstAttemptAt.has(id)) {
        world.witness.firstAttemptAt.set(id, world.clock.now);
      }
      if (world.fate.strikes("R2 hangs")) {
        yield hangsMs; // and then the platform ends the invocation
        batch.isDoomed = true;
        yield 1;
      }
      // One get for the payloads of an object, which follow each other.
      if (fetched !== objectOf(payload.key)) {
        fetched = objectOf(payload.key);
        world.askStore("get");
        noteRead(world, fetched, gets);
      }
      const object = fetch(world, payload.key);
      if (object === null || object === "damaged" || isUnreadable(object)) {
        unreadable.push(payload.key);
      } else {
        yield* readFlawed(object, batch);
        objects.push(object);
        payloads.push(transcode(object, payload.missingDays));
      }
    }
    if (unreadable.length > 0) {
      drop(hands);
      return { kind: "unreadable", keys: unreadable, reason: "missing_object or decode" };
    }
    if (world.fate.strikes("insert begins late")) {
      yield Math.max(1, deadline - 1 - world.clock.now - world.skews.consumer);
    }
    hands.block = { objects, payloads, blocks };
    return { kind: "built", rows: rowsOf(payloads), payloads };
  },
  *sendBlock(hands, { task, patienceMs }) {
    const { world, codecVersion } = hands;
    if (hands.block === null) {
      throw new BrokenInvariant("a block is built before it is sent");
    }
    const { objects, payloads, blocks } = hands.block;
    try {
      return yield* sendInsert(world, task, objects, payloads, blocks, codecVersion, patienceMs);
    } finally {
      drop(hands); // not where the isolate's invocation is gone: then nothing more of this runs
    }
  },
  readTable({ world }) {
    return world.askTable("table", () => readTable(world));
  },
  readWitness({ world }) {
    return world.askTable("witness", () => witnessOf(world.servers.reach().answer));
  },
  countRows({ world }, { ids }) {
    return world.askTable("count", () => world.countRows(ids));
  },
  findRunning({ world }, { group }) {
    const isElsewhere = world.fate.strikes("processes are elsewhere");
    return world.askTable("processes", () => {
      const running = !isElsewhere && world.table.inTheWay(group, overdueBefore(world)).length > 0;
      const { answer } = isElsewhere ? world.servers.elsewhere() : world.servers.reach();
      return {
        running,
        servers: isElsewhere ? 1 : (answer.replica?.activeReplicas ?? 1),
        witness: witnessOf(answer),
      };
    });
  },
  killRunning({ world }, group) {
    return world.fate.strikes("kill fails")
      ? new Unanswered("kill")
      : world.tellTable("kill", () => world.table.kill(group, overdueBefore(world)));
  },
  readReceipts({ world }, ids) {
    return world.askTable("receipts", () =>
      ids.map((id) => world.receipts.ofId(id).map(({ receipt }) => receipt)),
    );
  },
  *readObject({ world, batch }, { payload, key, count }) {
    world.askStore("get");
    const object = fetch(world, key);
    if (object === "damaged") {
      return { spans: payload.spans, rejectedSpans: 0, bytes: 0, rowsByDay: "unreadable" };
    }
    if (object !== null && count) {
      yield* readFlawed(object, batch);
    }
    return object === null ? null : found(object, count);
  },
  hasObject({ world }, key) {
    world.askStore("head");
    return world.store.head(key) !== null;
  },
  clearRows({ world }, { ids }) {
    return world.tellTable("clear rows", () => deleteRows(world, ids), world.settings.insertMs);
  },
  completeView({ world }, ids) {
    return world.tellTable("complete the view", () => {
      for (const id of ids) {
        for (const { day } of world.table.rowsByDay(id)) {
          world.table.fillView([id], day);
        }
      }
    });
  },
  writeDeadLetters({ world }, { receipts }) {
    world.askStore("put a dead letter");
    for (const { key } of receipts.filter((receipt) => isInSegment(receipt.key))) {
      world.store.copy(key);
    }
    return world.tellTable("dead letters", () => {
      for (const { key } of receipts) {
        world.deadLetters.add(key);
      }
    });
  },
  writeReceipts(hands, { receipts, now }) {
    const { world } = hands;
    hands.receiptedAt = world.clock.now;
    return world.tellTable("receipts", () => {
      world.receipts.write(receipts, now);
      world.say(
        () =>
          `receipts: ${receipts.map(({ key, outcome }) => `${outcome} ${key.slice(6, 22)}…${key.slice(-22, -18)}`).join(", ")}`,
      );
    });
  },
  eraseTraceTimes({ world }) {
    return world.tellTable("erase trace times", () => undefined);
  },
  eraseRows({ world }, { ids }) {
    return world.tellTable("erase rows", () => deleteRows(world, ids));
  },
  *eraseObjects(hands, keys) {
    const { world } = hands;
    const { store, witness, clock } = world;
    assert(2 * keys.length <= deleteKeysMax, "R2 deletes so many keys per call");
    for (const key of keys) {
      witness.erasing.add(key);
    }
    const notErased = yield* eraseInSegments(hands, keys.filter(isInSegment));
    const left = new Set(notErased.keys);
    world.askStore("delete");
    for (const key of keys) {
      if (!isInSegment(key)) {
        store.delete(objectOf(key));
      }
      store.dropCopy(key);
      if (!left.has(key)) {
        witness.bytesGone.add(key);
        witness.overwritten.add(key);
        witness.deletions.push({ key, at: clock.now, runBegan: hands.receiptedAt });
      }
    }
    return notErased;
  },
  report(hands, { task, report }) {
    const { world } = hands;
    drop(hands);
    return world.ledger.call({ kind: "report", group: task.group, attempt: task.attempt, report });
  },
  receipted({ world }, receipted) {
    world.ledger.call({ kind: "receipted", receipted });
    return null;
  },
  leave({ world }, { reason }) {
    world.say(() => `left to its lease: ${reason}`);
    return null;
  },
};

/** An erasure of payloads in segments: what it is asked for, and the payloads of the segment that it read last. */
interface Erasing {
  readonly keys: ReadonlySet<PayloadKey>;
  read: readonly StoredObject[];
}

/** The product's own way of erasing (shared/segment/erase-payloads.ts): between its read and its write, others write. */
function* eraseInSegments(hands: Hands, keys: readonly PayloadKey[]): Process<NotErased> {
  const { world } = hands;
  const erasing: Erasing = { keys: new Set(keys), read: [] };
  const work = erasePayloads(keys);
  let step = work.next();
  while (step.done !== true) {
    const { name, asks } = step.value;
    const answer = eraseEffect(hands, erasing, step.value);
    if (name === "get") {
      yield world.fate.between(1, 100);
    } else if (name === "wait") {
      yield asks.ms;
    }
    step = work.next(answer);
  }
  return step.value;
}

function eraseEffect(hands: Hands, erasing: Erasing, asked: Asked<ErasureEffects>): Answered<ErasureEffects> {
  try {
    return eraseNow(hands, erasing, asked);
  } catch (error) {
    if (error instanceof StoreFailed) {
      return failure(error);
    }
    throw error;
  }
}

function eraseNow(
  { world, receiptedAt }: Hands,
  erasing: Erasing,
  { name, asks }: Asked<ErasureEffects>,
): Answered<ErasureEffects> {
  const { store, witness } = world;
  switch (name) {
    case "get":
      world.askStore("get");
      erasing.read = witness.segments.get(asks) ?? [];
      return done<ErasureEffects, "get">("get", store.readSegment(asks));
    case "isBody":
      return done<ErasureEffects, "isBody">("isBody", isBody(asks.entry, asks.body, erasing.read));
    case "replace": {
      world.askStore("put");
      const isDone = store.rewrite(asks.segment, asks.bytes, asks.etag);
      // From now on they are gone, whether the consumer lives to say so or not; but for a dead one's copy, which is deleted behind this.
      for (const { key } of isDone ? erasing.read : []) {
        if (erasing.keys.has(key)) {
          witness.overwritten.add(key);
        }
      }
      return done<ErasureEffects, "replace">("replace", isDone);
    }
    case "delete":
      world.askStore("delete");
      store.delete(asks);
      witness.segmentsGone.push({ object: asks, runBegan: receiptedAt });
      return done<ErasureEffects, "delete">("delete", null);
    case "wait":
      return done<ErasureEffects, "wait">("wait", null);
  }
}

/** What a reader gets under this key is that payload's, or nothing. */
function fetch({ store, witness }: World, key: PayloadKey): StoredObject | Damaged | null {
  const object = store.get(key);
  if (object !== null && object !== "damaged" && object.content.id !== idOfKey(key)) {
    witness.mistaken.push(`${key} is read as ${object.content.tenant} ${object.content.id}`);
  }
  return object;
}

/** A segment is read once for all of its payloads in a group. */
function noteRead({ witness }: World, object: ObjectKey, gets: Set<ObjectKey>): void {
  if (gets.has(object)) {
    witness.readAgain.push(object);
  }
  gets.add(object);
}

/** An invariant of the product that this world has a payload break, so that what follows of it can be seen. */
export class BrokenByPayload extends Error {}

/** After this the platform ends an invocation. */
const hangsMs = 15 * 60_000;

/** What the object's flaw does to a consumer that fetches and decodes it. */
function* readFlawed({ content }: StoredObject, batch: BatchInHand): Process {
  switch (content.flaw) {
    case "slow":
      yield 2 * hangsMs;
      break;
    case "kills":
      batch.isDoomed = true;
      yield 1000;
      break;
    case "breaks an invariant":
      throw new BrokenByPayload("of a payload of this world");
    default:
      break;
  }
}

/** The twin of workers/consumer/complete-doorbell.ts. */
export function completeDoorbell(
  { store }: World,
  key: PayloadKey,
  cause: Doorbell["cause"],
): Doorbell | null {
  const object = store.head(key);
  return object === "damaged"
    ? { v: 1, key, cause, spans: 0, outputBytes: 0, arrival: minuteToMs(minuteOfKey(key)) }
    : object && doorbellOf(object, cause);
}

function messageAt({ messages }: BatchInHand, at: number): Message {
  const message = messages[at];
  if (message === undefined) {
    throw new BrokenInvariant(`a batch has its message ${at}`);
  }
  return message;
}

/** What one object comes to: all its rows, or those of the days that the table lacks. */
function transcode(object: StoredObject, missingDays: GroupPayload["missingDays"]): StoredPayload {
  const { key } = object;
  const rowsByDay = rowsOfObject(object).filter(
    ({ day }) => missingDays === null || missingDays.days.includes(day),
  );
  return { key, rowsByDay, rejectedSpans: 0, bytes: 100 };
}

function isUnreadable({ content: { flaw } }: StoredObject): boolean {
  return flaw === "undecodable" || flaw === "unreadable metadata";
}

function rowsOf(payloads: readonly StoredPayload[]): number {
  return payloads.reduce((sum, { rowsByDay }) => rowsByDay.reduce((rows, day) => rows + day.rows, sum), 0);
}

function found(object: StoredObject, count: boolean): FoundObject {
  const { flaw } = object.content;
  const flawed = flaw === "undecodable" ? "undecodable" : "unreadable";
  return {
    spans: spansOfObject(object),
    rejectedSpans: 0,
    bytes: 100,
    rowsByDay: isUnreadable(object) ? flawed : count ? rowsOfObject(object) : null,
  };
}

/** What the table says of itself: the check's facts. */
export function readTable({ servers, clock, refusedUntil, skews, profile }: World): TableFacts {
  const { table, answer } = servers.reach();
  const witness = witnessOf(answer);
  return {
    witness,
    refusal: clock.now < refusedUntil ? "no deduplication window" : "",
    measure: {
      blocks: table.blocks,
      identity: witness.table,
      isFenced: true,
      windowBlocks: table.window,
      windowMs: null,
      clockAheadMs: skews.server - skews.consumer,
      ...(profile.ttlDays === null
        ? {}
        : { ttl: { kind: "keeps" as const, months: 0, ms: profile.ttlDays * 86_400_000 } }),
    },
    oldestDay: table.oldestDay,
  };
}

/** All rows of payloads go: because they are erased, or to be written anew. */
function deleteRows({ table }: World, ids: readonly PayloadId[]): void {
  for (const id of ids) {
    for (const { day } of table.rowsByDay(id)) {
      table.delete(id, day);
    }
  }
}
