/** What happens to the world from outside: losses, outages, deployments, operators. */
import { BrokenInvariant } from "../../../shared/assert.ts";
import { whereaboutsOf } from "../../../shared/ledger/whereabouts.ts";
import { idOfKey, isInSegment, type PayloadId } from "../../../shared/payload-key.ts";
import { forgettingOf, presenceOf } from "../../../shared/reconcile/presence.ts";
import { eraseByPerson, keysToErase } from "./asked-erasures.ts";
import { sendContent } from "./client.ts";
import { damageSegment } from "./damage.ts";
import type { Snapshot } from "./ledger-shell.ts";
import { doorbellOf, type StoredObject } from "./object-store.ts";
import type { Incident } from "./profile.ts";
import type { World } from "./world.ts";

const MINUTE_MS = 60_000;
const dayMs = 86_400_000;

/** Chooses what happens in this schedule, each some time after one of the times at which payloads are sent. */
export function scheduleIncidents(world: World, sentAt: readonly number[]): number {
  const { fate, profile, clock } = world;
  let last = clock.now;
  for (const [name, { times, probability }] of Object.entries(profile.incidents) as [
    Incident,
    { times: number; probability: number },
  ][]) {
    for (let i = 0; i < times; i++) {
      if (!fate.choices.happens(probability)) {
        continue;
      }
      const at = (sentAt[fate.choices.oneOf(sentAt.length)] ?? clock.now) + fate.sometime(profile.incidentMs);
      last = Math.max(last, at);
      schedule(world, name, at);
    }
  }
  return last;
}

function schedule(world: World, name: Incident, at: number): void {
  if (name === "ledger restored") {
    // The copy that it goes back to is taken some time before.
    const { fate, clock } = world;
    const takenAt = Math.max(clock.now, at - fate.sometime(world.profile.incidentMs));
    let copy: Snapshot | null = null;
    clock.at(takenAt, () => {
      copy = world.ledger.snapshot();
    });
    clock.at(at, () => {
      if (copy?.state.head != null) {
        const isSeen = (world.store.counter ?? 0) > copy.counter;
        const byCommand = !isSeen || fate.choices.oneOf(2) === 0;
        world.say(
          () =>
            `the ledger is restored ${byCommand ? "by command" : "by somebody"} to ${new Date(takenAt).toISOString()}`,
        );
        world.ledger.restore(copy, byCommand);
      }
    });
    return;
  }
  world.clock.at(at, () => {
    try {
      happen(world, name);
    } catch (error) {
      if (error instanceof BrokenInvariant || error instanceof TypeError) {
        throw error;
      }
      // An operator's call that failed: perhaps done, perhaps not.
    }
  });
}

/** Losses that strike just between two effects of somebody. */
export function loseSomething(world: World): void {
  const { fate, profile, table, clock } = world;
  if (!profile.losesSuddenly || fate.isCalm) {
    return; // nothing strikes, and no copy is gone back to
  }
  if (fate.strikes("ledger lost")) {
    world.say(() => "the ledger is lost");
    world.ledger.lose();
  }
  const copies = world.copies;
  copies.push(world.ledger.snapshot());
  if (copies.length > copiesMax) {
    copies.shift();
  }
  if (fate.strikes("ledger restored")) {
    // The first of what is left is the oldest.
    const copy = copies[fate.choices.oneOf(copies.length)];
    if (copy !== undefined && copy.state.head !== null) {
      world.say(() => "the ledger is restored by command");
      world.ledger.restore(copy, true);
    }
  }
  if (fate.strikes("engine restarts")) {
    world.say(() => "the engine restarts");
    const since = clock.now - (fate.choices.oneOf(2) === 0 ? 1000 : 30_000);
    world.rowsLost(table.restart(since, fate.choices.oneOf(2) === 0));
  }
  if (fate.strikes("receipts lost")) {
    world.say(() => "receipts are lost");
    const isAll = fate.choices.oneOf(2) === 0;
    world.receipts.lose(() => isAll || fate.choices.oneOf(2) === 1, clock.now);
  }
}

const copiesMax = 12;

function happen(world: World, name: Exclude<Incident, "ledger restored">): void {
  const { fate, clock, table, witness } = world;
  world.say(() => `incident: ${name}`);
  if (name !== "segment damaged later") {
    fate.count(name);
  }
  switch (name) {
    case "ledger lost":
      world.ledger.lose();
      break;
    case "ledger full":
      world.ledger.isFull = true;
      clock.after(fate.sometime(dayMs), () => {
        world.ledger.isFull = false;
      });
      break;
    case "engine restarts": {
      const since = clock.now - fate.sometime(5 * MINUTE_MS);
      world.rowsLost(table.restart(since, fate.choices.oneOf(2) === 0));
      if (fate.choices.oneOf(2) === 1) {
        world.receipts.lose(({ at }) => at > since, clock.now);
      }
      break;
    }
    case "receipts truncated": {
      const isAll = fate.choices.oneOf(2) === 0;
      world.receipts.lose(() => isAll || fate.choices.oneOf(2) === 1, clock.now);
      break;
    }
    case "rows deleted": {
      const object = someObject(world);
      if (object !== null) {
        const { id, rowsByDay } = object.content;
        const isAll = fate.choices.oneOf(2) === 0;
        for (const { day } of isAll ? rowsByDay : rowsByDay.slice(0, 1)) {
          if (table.delete(id, day) > 0) {
            witness.lost.set(`${id}/${day}`, clock.now);
          }
        }
        if (fate.choices.oneOf(2) === 1) {
          world.queues.ring.send({ kind: "doorbells", doorbells: [doorbellOf(object, "replay")] });
        }
      }
      break;
    }
    case "rows damaged": {
      const object = someObject(world);
      const day = object?.content.rowsByDay.find(({ rows }) => rows > 1)?.day;
      if (object !== null && day !== undefined && table.delete(object.content.id, day, 1) > 0) {
        witness.damaged.add(object.content.id);
      }
      break;
    }
    case "day dropped":
      world.rowsTaken(table.dropDay(Math.floor(clock.now / dayMs) - fate.choices.oneOf(2)));
      break;
    case "part detached": {
      const { taken, attach } = table.detachDay(Math.floor(clock.now / dayMs) - fate.choices.oneOf(2));
      world.rowsTaken(taken);
      clock.after(fate.sometime(dayMs), () => {
        world.say(() => "the part is attached again");
        for (const { id } of taken) {
          witness.reattached.add(id);
        }
        attach();
      });
      break;
    }
    case "replica lags":
      world.servers.lag(
        clock.now - fate.sometime(10 * MINUTE_MS),
        clock.now + fate.sometime(3 * 60 * MINUTE_MS),
      );
      break;
    case "another table":
      world.servers.otherUntil = clock.now + fate.sometime(3 * 60 * MINUTE_MS);
      break;
    case "table created anew":
      world.rowsTaken(table.recreate(fate.choices.oneOf(2) === 1));
      world.servers.recreated();
      clock.after(fate.sometime(60 * MINUTE_MS), () => acceptTable(world));
      break;
    case "others write":
      // As much as the other half of the window allows for, again and again (shared/limits.ts, measureAfterMs).
      for (let i = fate.within(1, 4); i > 0; i--) {
        clock.after(i * 10 * MINUTE_MS, () => table.othersWrite(45_000, Math.floor(clock.now / dayMs) - 40));
      }
      break;
    case "outage":
      world.outageUntil = Math.max(world.outageUntil, clock.now + fate.sometime(dayMs));
      break;
    case "R2 away":
      world.storeAwayUntil = clock.now + fate.sometime(60 * MINUTE_MS);
      break;
    case "ledger away":
      world.ledgerAwayUntil = clock.now + fate.sometime(60 * MINUTE_MS);
      break;
    case "codec changes":
      world.codecVersion++;
      break;
    case "schema broken":
      witness.breaks++;
      world.brokenUntil = clock.now + fate.sometime(2 * 60 * MINUTE_MS);
      break;
    case "schema flaps":
      for (let i = 0; i < 6; i++) {
        clock.after(i * fate.sometime(10 * MINUTE_MS), () => {
          witness.breaks++;
          world.brokenUntil = Math.max(world.brokenUntil, clock.now + fate.sometime(MINUTE_MS));
        });
      }
      break;
    case "table refused":
      world.refusedUntil = clock.now + fate.sometime(60 * MINUTE_MS);
      break;
    case "erase": {
      const object = someObject(world);
      if (object !== null) {
        clock.start(eraseByPerson(world, keysToErase(world, object)));
      }
      break;
    }
    case "replay": {
      const object = someObject(world);
      if (object !== null) {
        world.queues.ring.send({ kind: "doorbells", doorbells: [doorbellOf(object, "replay")] });
      }
      break;
    }
    case "resolve":
      resolveHeld(world);
      break;
    case "forget": {
      const object = someObject(world);
      if (object !== null) {
        deleteAndForget(world, object);
      }
      break;
    }
    case "segment damaged later": {
      const segments = world.store.listObjects().filter(isInSegment);
      const segment = segments[fate.choices.oneOf(segments.length)];
      if (segment !== undefined && damageSegment(world, segment)) {
        fate.count(name);
      }
      break;
    }
    case "first client is first":
      break; // taken up when the world begins (schedule.ts)
  }
}

/** A person accepts the table that is there, when they have seen that another one is refused. */
export function acceptTable(world: World): void {
  try {
    if (world.ledger.state.head?.table.other != null) {
      world.say(() => "a person accepts the table");
      world.ledger.call({ kind: "acceptTable" });
    }
  } catch (error) {
    if (error instanceof BrokenInvariant || error instanceof TypeError) {
      throw error;
    }
  }
}

function someObject(world: World): StoredObject | null {
  const objects = world.store.list();
  return objects[world.fate.choices.oneOf(objects.length)] ?? null;
}

/** A person deletes rows of a payload, or one day's, and lets it in again a while later. */
function deleteAndForget(world: World, { content }: StoredObject): void {
  const { fate, clock, table, witness } = world;
  const { id, rowsByDay } = content;
  const isAll = fate.choices.oneOf(2) === 0;
  for (const { day } of isAll ? rowsByDay : rowsByDay.slice(0, 1)) {
    if (table.delete(id, day) > 0) {
      witness.lost.set(`${id}/${day}`, clock.now);
      witness.forgotten.delete(id); // what came back is gone once more
    }
  }
  const asks = fate.between(1, 2); // a person who sees no answer asks again
  for (let n = 0; n < asks; n++) {
    clock.after(fate.sometime(20 * MINUTE_MS), () => {
      if (fate.choices.oneOf(2) === 0) {
        // The file is sent once more, and the receipt of that duplicate is being written when the question comes.
        clock.start(sendContent(world, content, 0));
        clock.after(fate.within(1, 1000), () => forget(world, id));
      } else {
        forget(world, id);
      }
    });
  }
}

/** What the consumer does for a person who asks (workers/consumer/forget.ts). */
function forget(world: World, id: PayloadId): void {
  const { clock, table, witness, store, ledger } = world;
  const at = whereaboutsOf(ledger.state, id);
  const receipts = world.receipts.ofId(id).map(({ receipt }) => receipt);
  const presence = presenceOf({
    at,
    receipts,
    rowsByDay: table.rowsByDay(id),
    oldestDay: table.oldestDay,
  });
  const objects = store.list().filter(({ key }) => idOfKey(key) === id);
  const object = objects[world.fate.choices.oneOf(objects.length)]; // whichever key was named
  const forgetting = forgettingOf(presence, object !== undefined);
  world.say(() => `a person forgets ${id}: ${presence}, ${forgetting.kind}`);
  if (forgetting.kind === "look" && object !== undefined) {
    // It has others to look at first, and much may happen meanwhile.
    clock.after(world.fate.within(1, 3000), () =>
      world.queues.ring.send({ kind: "doorbells", doorbells: [doorbellOf(object, "replay")] }),
    );
    if (presence === "gone" || presence === "days_gone") {
      const stored = receipts.filter(({ outcome }) => outcome === "stored").map(({ key }) => key);
      const until = witness.forgotten.get(id)?.until ?? clock.now + forgottenWithinMs;
      witness.forgotten.set(id, { until, stored });
    }
  }
}

/** The audit brings rows back too, an hour later at the earliest. */
const forgottenWithinMs = 30 * MINUTE_MS;

/** A person decides about what is held: it is accepted as it is, or written anew. */
export function resolveHeld(world: World): void {
  const how = world.fate.choices.oneOf(2) === 0 ? "rewrite" : "accept";
  for (const group of world.ledger.state.dump().groups.values()) {
    const { state } = group;
    if (state.at === "held") {
      const [found] = state.found;
      if (found?.reason.startsWith("broken_invariant") === true) {
        continue; // nobody knows what to do about it: it waits for a release with a fix
      }
      if (found !== undefined) {
        const id: PayloadId = idOfKey(found.key);
        const hasObject = world.store.list().some(({ key }) => idOfKey(key) === id);
        if (how === "accept" || !hasObject) {
          world.witness.resolved.set(id, found.rowsByDay);
          world.ledger.call({ kind: "resolve", key: found.key, how: "accept" });
        } else {
          world.ledger.call({ kind: "resolve", key: found.key, how });
          if (
            ![...world.ledger.state.dump().groups.values()].some(({ state: { at } }) => at === "clearing")
          ) {
            return; // a ledger that was restored verifies it first: ask again
          }
          world.witness.damaged.delete(id); // from here on it must be whole again
          world.witness.rewriting.add(id);
          for (const { day } of world.witness.contents.get(id)?.rowsByDay ?? []) {
            world.witness.lost.set(`${id}/${day}`, world.clock.now);
          }
        }
      }
      return;
    }
  }
}
