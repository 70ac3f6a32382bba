/**
 * The consumer Worker, effect by effect as workers/consumer/ performs them: worker.ts (a batch and a group's way),
 * insert-group.ts, verify-group.ts, close-group.ts, read-table.ts. Between any two effects time passes, and the
 * invocation may die.
 */
import { BrokenInvariant, unreachable } from "../../../shared/assert.ts";
import type { Answer } from "../../../shared/clickhouse/errors.ts";
import { verdict } from "../../../shared/clickhouse/errors.ts";
import { mayBegin, needsCount } from "../../../shared/ledger/attempt.ts";
import type {
  AttemptReport,
  Evidence,
  GroupPayload,
  GroupTask,
  StoredPayload,
} from "../../../shared/ledger/group.ts";
import { overdueMs } from "../../../shared/ledger/settings.ts";
import type { Doorbell } from "../../../shared/messages.ts";
import { idOfKey, type PayloadId, type PayloadKey } from "../../../shared/payload-key.ts";
import type { Process } from "./clock.ts";
import { loseSomething } from "./incidents.ts";
import type { StoredObject } from "./object-store.ts";
import type { Message, Queue } from "./queue.ts";
import { sendInsert } from "./send-insert.ts";
import type { World } from "./world.ts";

type Task<S extends GroupTask["step"]> = Extract<GroupTask, { step: S }>;

/** A batch was delivered. It is acked when the handler returns, and comes again when it throws or dies. */
export function takeBatch(world: World, messages: readonly Message[], queue: Queue): void {
  const batch = { isAcked: false };
  const dies = () => world.fate.strikes("consumer dies");
  world.clock.start(handleBatch(world, messages, queue, batch), dies, () => {
    world.say(() => "a consumer died");
    // Acks are sent when the handler ends: whether those of one that died arrived is not known.
    if (!batch.isAcked || world.fate.choices.oneOf(2) === 1) {
      queue.retry(messages);
    } else {
      queue.ack(messages);
    }
  });
}

function* handleBatch(
  world: World,
  messages: readonly Message[],
  queue: Queue,
  batch: { isAcked: boolean },
): Process {
  const tasks: GroupTask[] = [];
  const { codecVersion } = world; // an isolate runs one version to its end
  try {
    const doorbells: Doorbell[] = [];
    for (const { body } of messages) {
      if (body.kind === "doorbell") {
        doorbells.push(body.doorbell);
      } else if (body.kind === "event") {
        yield* pause(world);
        world.askStore("head");
        const object = world.store.get(body.key);
        if (object !== null) {
          doorbells.push(doorbellOf(object, "event"));
        }
      }
    }
    yield* pause(world);
    if (doorbells.length > 0) {
      keep(tasks, world.ledger.call({ kind: "claim", doorbells, codecVersion }));
      yield* pause(world);
    }
    for (const { body } of messages) {
      if (body.kind === "group") {
        keep(tasks, world.ledger.call({ kind: "take", group: body.group, codecVersion }));
        yield* pause(world);
      }
    }
  } catch (error) {
    rethrowBroken(error);
    queue.retry(messages);
    return;
  }
  batch.isAcked = true;
  for (const task of tasks) {
    yield* finishGroup(world, task, codecVersion);
  }
  queue.ack(messages);
}

function keep(tasks: GroupTask[], task: GroupTask | null): void {
  if (task !== null) {
    tasks.push(task);
  }
}

export function doorbellOf({ key, content, arrival }: StoredObject, cause: Doorbell["cause"]): Doorbell {
  return { v: 1, key, cause, spans: content.spans, outputBytes: content.spans * 100, arrival };
}

/** The network's way, or an isolate that waits: for its turn, for memory, for nobody knows what. */
export function* pause(world: World): Process {
  yield world.fate.strikes("consumer stalls") ? world.fate.within(1000, 240_000) : world.fate.between(1, 30);
  loseSomething(world);
}

/** A broken invariant is ours, and must not be mistaken for a failure of the world's. */
function rethrowBroken(error: unknown): void {
  if (error instanceof BrokenInvariant || !(error instanceof Error) || error.constructor === TypeError) {
    throw error;
  }
}

/** Works on a group until the ledger has nothing more for this caller. */
function* finishGroup(world: World, first: GroupTask, codecVersion: number): Process {
  try {
    for (let task: GroupTask | null = first; task !== null; ) {
      if (task.step === "receipts") {
        yield* closeGroup(world, task);
        yield* pause(world);
        world.ledger.call({ kind: "settle", settled: [{ group: task.group, attempt: task.attempt }] });
        return;
      }
      const report: AttemptReport = yield* attempt(world, task, codecVersion);
      yield* pause(world);
      task = world.ledger.call({ kind: "report", group: task.group, attempt: task.attempt, report });
      yield* pause(world);
    }
  } catch (error) {
    rethrowBroken(error); // else: left to its lease
  }
}

function* attempt(
  world: World,
  task: Exclude<GroupTask, { step: "receipts" }>,
  codecVersion: number,
): Process<AttemptReport> {
  switch (task.step) {
    case "insert":
      return yield* insertGroup(world, task, codecVersion);
    case "measure":
    case "count":
    case "verify":
    case "clear":
      try {
        return yield* readEvidence(world, task);
      } catch (error) {
        rethrowBroken(error);
        return { kind: "retry", reason: "the evidence could not be read" };
      }
    default:
      return unreachable(task);
  }
}

// --- insert

/** What one object comes to: all its rows, or those of the days that the table lacks. */
function transcode(object: StoredObject, only: GroupPayload["only"]): StoredPayload {
  const { key, content } = object;
  const rowsByDay = content.rowsByDay.filter(({ day }) => only === null || only.days.includes(day));
  return { key, rowsByDay, rejectedSpans: 0, bytes: 100 };
}

function* insertGroup(world: World, task: Task<"insert">, codecVersion: number): Process<AttemptReport> {
  const objects: StoredObject[] = [];
  const payloads: StoredPayload[] = [];
  const unreadable: PayloadKey[] = [];
  yield* pause(world);
  for (const { key, only } of task.payloads) {
    const isAway = world.clock.now < world.storeAwayUntil || world.fate.strikes("R2 fails");
    const object = isAway ? "failed" : world.store.get(key);
    if (object === "failed") {
      return { kind: "retry", reason: "the block could not be built" };
    }
    if (object === null || object.content.flaw === "undecodable") {
      unreadable.push(key);
    } else {
      objects.push(object);
      payloads.push(transcode(object, only));
    }
  }
  if (unreadable.length > 0) {
    return { kind: "unreadable", keys: unreadable, reason: "missing_object or decode" };
  }
  yield* pause(world);
  if (world.fate.strikes("insert begins late")) {
    yield Math.max(1, task.deadline - 1 - world.clock.now - world.skews.consumer);
  }
  const now = world.clock.now + world.skews.consumer;
  if (!mayBegin(task, now)) {
    return { kind: "retry", reason: "the attempt's lease ran out before its INSERT began" };
  }
  const answer: Answer | null = yield* sendInsert(
    world,
    task,
    objects,
    payloads,
    codecVersion,
    task.deadline - now,
  );
  if (answer === null) {
    return { kind: "unknown", reason: "no answer", payloads };
  }
  const judged = verdict(answer);
  if (judged.class === "stored") {
    return { kind: "stored", payloads, codecVersion };
  }
  const kind = judged.unlisted === true ? "unlisted" : judged.class;
  const { reason, code } = judged;
  return { kind, reason, payloads, ...(code === undefined ? {} : { code }) };
}

// --- evidence

function* readEvidence(
  world: World,
  task: Task<"measure" | "count" | "verify" | "clear">,
): Process<AttemptReport> {
  switch (task.step) {
    case "measure": {
      yield* pause(world);
      return { kind: "measured", table: world.askTable("measure", measure) };
    }
    case "count": {
      yield* pause(world);
      const payloads = world.askTable("count", () =>
        task.payloads.map(({ key }) => ({ key, rowsByDay: world.showRows(idOfKey(key)) })),
      );
      return { kind: "counted", payloads };
    }
    case "verify":
      return yield* verifyGroup(world, task);
    case "clear":
      return yield* clearRows(world, task);
    default:
      return unreachable(task);
  }
}

export function measure(table: World["table"]) {
  return { blocks: table.blocks, windowBlocks: table.window, windowMs: null };
}

function overdueBefore({ clock, settings }: World): number {
  return clock.now - overdueMs(settings);
}

function* verifyGroup(world: World, task: Task<"verify">): Process<AttemptReport> {
  yield* pause(world);
  const running = world.askTable(
    "processes",
    (table) => table.inTheWay(task.group, overdueBefore(world)).length > 0,
  );
  if (running) {
    yield* pause(world);
    if (world.fate.strikes("kill fails")) {
      return { kind: "retry", reason: "the evidence could not be read" };
    }
    world.tellTable("kill", () => world.table.kill(task.group, overdueBefore(world)));
  }
  yield* pause(world);
  const receipts = world.askTable("receipts", () =>
    task.payloads.map(({ key }) => world.receipts.ofId(idOfKey(key)).map(({ receipt }) => receipt)),
  );
  yield* pause(world);
  const rows = world.askTable("count", () => task.payloads.map(({ key }) => world.showRows(idOfKey(key))));
  const payloads: Evidence[] = [];
  for (const [i, payload] of task.payloads.entries()) {
    const own = receipts[i] ?? [];
    yield* pause(world);
    let object: Evidence["object"] = null;
    for (const key of new Set([
      payload.key,
      ...payload.duplicateKeys,
      ...own.map((receipt) => receipt.key),
    ])) {
      world.askStore("get");
      const found = world.store.get(key);
      if (found !== null) {
        const isBad = found.content.flaw === "undecodable";
        const counted = needsCount(task.rows, own) ? found.content.rowsByDay : null;
        object = { key, rejectedSpans: 0, bytes: 100, rowsByDay: isBad ? "undecodable" : counted };
        break;
      }
    }
    payloads.push({ key: payload.key, receipts: own, rowsByDay: rows[i] ?? [], object });
  }
  return { kind: "verified", running, oldestDay: 0, payloads };
}

/** workers/consumer/clear-rows.ts */
function* clearRows(world: World, task: Task<"clear">): Process<AttemptReport> {
  yield* pause(world);
  const receipts = world.askTable("receipts", () =>
    task.payloads.map(({ key }) => world.receipts.ofId(idOfKey(key)).map(({ receipt }) => receipt.key)),
  );
  for (const [i, { key, duplicateKeys }] of task.payloads.entries()) {
    yield* pause(world);
    world.askStore("head");
    if (![key, ...duplicateKeys, ...(receipts[i] ?? [])].some((one) => world.store.get(one) !== null)) {
      return { kind: "kept" };
    }
  }
  yield* pause(world);
  if (!mayBegin(task, world.clock.now + world.skews.consumer)) {
    return { kind: "retry", reason: "the attempt's lease ran out before its DELETE began" };
  }
  const until = world.clock.now + world.settings.insertMs;
  world.tellTable(
    "delete rows",
    () => {
      for (const { key } of task.payloads) {
        deleteRows(world, idOfKey(key));
      }
    },
    until - world.clock.now,
  );
  return { kind: "cleared" };
}

/** All rows of a payload go: because it is erased, or to be written anew. */
function deleteRows({ table }: World, id: PayloadId): void {
  for (const { day } of table.rowsByDay(id)) {
    table.delete(id, day);
  }
}

// --- receipts

function* closeGroup(world: World, task: Task<"receipts">): Process {
  const { receipts } = task;
  const now = world.clock.now;
  if (task.completeView) {
    yield* pause(world);
    world.tellTable("complete the view", () => {
      for (const { key } of task.payloads) {
        for (const { day } of world.table.rowsByDay(idOfKey(key))) {
          world.table.fillView([idOfKey(key)], day);
        }
      }
    });
  }
  const dead = receipts.filter(({ outcome }) => outcome === "dead");
  if (dead.length > 0) {
    yield* pause(world);
    world.askStore("put a dead letter");
    yield* pause(world);
    world.tellTable("dead letters", () => {
      for (const { key } of dead) {
        world.deadLetters.add(key);
      }
    });
  }
  if (receipts.length > 0) {
    yield* pause(world);
    world.tellTable("receipts", () => {
      world.receipts.write(receipts, now);
      world.say(
        () =>
          `receipts: ${receipts.map(({ key, outcome }) => `${outcome} ${key.slice(6, 22)}…${key.slice(-22, -18)}`).join(", ")}`,
      );
    });
  }
  const erased = receipts.filter(({ outcome }) => outcome === "erased");
  if (erased.length > 0) {
    yield* pause(world);
    world.tellTable("erase rows", () => {
      for (const { key } of erased) {
        deleteRows(world, idOfKey(key));
      }
    });
    yield* pause(world);
    world.askStore("delete");
    for (const { key } of erased) {
      world.store.delete(key);
      world.witness.deletions.push({ key, at: world.clock.now, runBegan: now });
    }
  }
}
