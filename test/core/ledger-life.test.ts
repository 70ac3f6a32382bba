import { describe, expect, test } from "vitest";
import { assert, BrokenInvariant } from "../../shared/assert.ts";
import {
  armRetry,
  begin,
  decideAndPersist,
  fireAlarm,
  type Instance,
  type Life,
  type LifeAnswer,
  type LifeEffect,
  newInstance,
  subrequestsOf,
  takeStep,
  wake,
} from "../../shared/delivery/ledger-life.ts";
import type { LedgerEvent } from "../../shared/ledger/machine.ts";
import { defaultSettings as settings } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerState } from "../ledger/ledger-state.ts";
import { groupId, groupIn, one, open } from "../ledger/one-step.ts";

const now = Date.UTC(2026, 10, 27, 12);
let drawn = 0;

/** R2 as one ledger finds it. */
interface Store {
  epoch: number | null;
  counter: number | null;
  payloads: number;
}

/** An object with its effects in order, each of which `fails` may let fail. */
class ObjectOfTest {
  readonly state = new LedgerState();
  readonly instance: Instance = newInstance();
  readonly done: string[] = [];
  readonly events: LedgerEvent[] = [];
  readonly notified: GroupId[] = [];
  readonly logged: string[] = [];
  readonly store: Store;
  alarmAt: number | null = null;
  fails: (effect: LifeEffect) => void = () => undefined;

  constructor(store: Store) {
    this.store = store;
  }

  live<T>(life: Life<T>): T {
    let next = life.next();
    while (next.done !== true) {
      let answer: LifeAnswer;
      try {
        answer = this.#perform(next.value);
      } catch (error) {
        next = life.throw(error);
        continue;
      }
      next = life.next(answer);
    }
    return next.value;
  }

  #perform(effect: LifeEffect): LifeAnswer {
    this.done.push(effect.do);
    this.fails(effect);
    const { store, state, instance } = this;
    switch (effect.do) {
      case "begin":
        this.live(begin(instance, state));
        return { to: "begin" };
      case "readAlarm":
        return { to: "readAlarm", at: this.alarmAt };
      case "readEpoch":
        return { to: "readEpoch", epoch: store.epoch };
      case "readCounter":
        return { to: "readCounter", counter: store.counter };
      case "findPayload":
        return { to: "findPayload", found: store.payloads > 0 };
      case "findRow":
        return { to: "findRow", found: false };
      case "createEpoch": {
        const created = store.epoch === null;
        store.epoch ??= effect.epoch;
        return { to: "createEpoch", created };
      }
      case "putEpoch":
        store.epoch = effect.epoch;
        return { to: "putEpoch" };
      case "putCounter":
        store.counter = effect.counter;
        return { to: "putCounter" };
      case "step": {
        this.events.push(effect.event);
        const tokens = Array.from({ length: 4 }, () => String(++drawn).padStart(32, "0") as GroupId);
        const moment = { now, tokens, databaseBytes: 0 };
        return { to: "step", decided: decideAndPersist(state, instance, effect.event, moment, settings) };
      }
      case "armRetry":
        armRetry(instance, now, settings);
        return { to: "armRetry" };
      case "notify":
        this.notified.push(...effect.groups);
        return { to: "notify" };
      case "log":
        this.logged.push(`${effect.message} (${String(effect.cause)})`);
        return { to: "log" };
      default:
        return { to: effect.do };
    }
  }
}

function born(): ObjectOfTest {
  const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
  object.live(begin(object.instance, object.state));
  object.done.length = 0;
  object.events.length = 0;
  return object;
}

describe("the ledger's object", () => {
  test("is a genesis where R2 has no epoch and no payload, and the table no row", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    object.live(begin(object.instance, object.state));
    expect(object.done).toEqual(["readAlarm", "readEpoch", "findPayload", "findRow", "createEpoch", "step"]);
    expect(object.store.epoch).toBe(1);
    expect(object.events).toEqual([
      { kind: "born", facts: { epoch: null, anyPayload: false, anyRow: false } },
    ]);
  });

  test("is no genesis where R2 has an epoch: nothing more is looked for, and all of it is taken to be there", () => {
    const object = new ObjectOfTest({ epoch: 3, counter: 7, payloads: 0 });
    object.live(begin(object.instance, object.state));
    expect(object.done).toEqual(["readAlarm", "readEpoch", "step"]);
    expect(object.events).toEqual([{ kind: "born", facts: { epoch: 3, anyPayload: true, anyRow: true } }]);
    expect(object.state.head?.epoch).toBe(3);
  });

  test("is no genesis where R2 has a payload, whose rows need not be looked for", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 1 });
    object.live(begin(object.instance, object.state));
    expect(object.done).toEqual(["readAlarm", "readEpoch", "findPayload", "createEpoch", "step"]);
    expect(object.events).toEqual([{ kind: "born", facts: { epoch: null, anyPayload: true, anyRow: true } }]);
  });

  test("was not restored where R2 counts as many minutes, fewer, or none yet, and no later epoch", () => {
    const object = born();
    for (const counter of [null, 0]) {
      object.store.counter = counter;
      object.live(begin(object.instance, object.state));
    }
    object.live(wake(object.instance, object.state));
    for (const counter of [1, 0]) {
      object.store.counter = counter;
      object.live(begin(object.instance, object.state));
    }
    object.store.epoch = null;
    object.live(begin(object.instance, object.state));
    expect(object.events.map(({ kind }) => kind)).toEqual(["minute"]);
  });

  test("was restored where R2 counts a minute more, or has a later epoch, which it then goes to", () => {
    const behind = born();
    behind.store.counter = 1;
    behind.live(begin(behind.instance, behind.state));
    expect(behind.events).toEqual([{ kind: "restored", epoch: 2 }]);
    expect(behind.done).toEqual(["readAlarm", "readEpoch", "readCounter", "log", "step", "putEpoch"]);
    expect(behind.logged).toEqual([
      "the ledger was restored to an older time: everything it holds is verified (epoch 2)",
    ]);
    const older = born();
    older.store.epoch = 7;
    older.live(begin(older.instance, older.state));
    expect(older.events).toEqual([{ kind: "restored", epoch: 7 }]);
    expect(older.store.epoch).toBe(7);
  });

  test("is no genesis where another ledger wrote the first epoch after it had looked", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    object.fails = (effect) => {
      object.store.epoch = effect.do === "createEpoch" ? 1 : object.store.epoch;
    };
    object.live(begin(object.instance, object.state));
    expect(object.events).toMatchObject([{ kind: "born", facts: { anyPayload: true } }]);
  });

  test("that was restored is so until its later epoch is in R2", () => {
    const object = born();
    object.store.counter = 5;
    object.fails = (effect) => {
      if (effect.do === "putEpoch") {
        throw new Error("R2 is away");
      }
    };
    expect(() => object.live(begin(object.instance, object.state))).toThrow("R2 is away");
    expect(object.state.head?.epoch).toBe(2);
    object.fails = () => undefined;
    object.live(begin(object.instance, object.state));
    expect([object.state.head?.epoch, object.store.epoch]).toEqual([3, 3]);
  });

  test("counts the minute in R2 after it has persisted it", () => {
    const object = born();
    for (const minute of [1, 2, 3]) {
      object.done.length = 0;
      object.live(wake(object.instance, object.state));
      expect(object.done).toEqual(["step", "putCounter"]);
      expect([object.state.head?.counter, object.store.counter]).toEqual([minute, minute]);
    }
  });

  test("is woken although the platform has given its alarm up, and arms it for what is to be done", () => {
    const object = born();
    object.state.apply([{ kind: "waiting", waiting: { since: now, payloads: [one] } }]);
    object.instance.armedAt = now - 1;
    object.live(wake(object.instance, object.state));
    expect(object.instance.armedAt).toBe(now + settings.caps.ageReadyMs);
  });

  test("notifies of what is due when its alarm fires, after that is persisted, and arms the next one", () => {
    const object = born();
    const { head } = object.state;
    const due = { epoch: head?.epoch ?? 0, due: now };
    object.state.apply([{ kind: "group", group: groupIn(open, due), isNew: true }]);
    object.instance.armedAt = now;
    object.live(fireAlarm(object.instance));
    expect(object.done).toEqual(["step", "notify"]);
    expect(object.notified).toEqual([groupId]);
    expect(object.instance.armedAt).toBe(object.state.group(groupId)?.due);
    object.done.length = 0;
    object.live(fireAlarm(object.instance));
    expect(object.done).toEqual(["step"]);
  });

  test("arms its alarm again before it lets a broken invariant out, which it records", () => {
    const object = born();
    object.fails = (effect) => assert(effect.do !== "step", "a group that ends is there");
    expect(() => object.live(fireAlarm(object.instance))).toThrow(BrokenInvariant);
    expect(object.done).toEqual(["step", "recordBroken", "armRetry"]);
    expect(object.instance.armedAt).toBe(now + settings.retryFirstMs);
  });

  test("arms its alarm again after any other failure, and does not throw", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    object.fails = (effect) => {
      if (effect.do === "begin") {
        throw new Error("R2 is away");
      }
    };
    object.instance.armedAt = now;
    object.live(fireAlarm(object.instance));
    expect(object.done).toEqual(["begin", "armRetry", "log"]);
    expect(object.logged).toEqual(["the alarm failed and is armed again (Error: R2 is away)"]);
    expect(object.instance.armedAt).toBe(now + settings.retryFirstMs);
  });

  test("lets a caller see what failed, and records only what is an invariant", () => {
    const object = born();
    object.fails = (effect) => {
      if (effect.do === "step") {
        throw new Error("disk full");
      }
    };
    expect(() => object.live(takeStep(object.instance, { kind: "minute" }))).toThrow("disk full");
    expect(object.done).toEqual(["step"]);
  });

  test("asks how it began before each step of an instance until it knows it, and then no more", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    const takeMinute = () => object.live(takeStep(object.instance, { kind: "minute" }));
    object.fails = (effect) => {
      if (effect.do === "readEpoch") {
        throw new Error("R2 is away");
      }
    };
    expect(takeMinute).toThrow("R2 is away");
    object.fails = () => undefined;
    object.done.length = 0;
    takeMinute();
    expect(object.done.slice(0, 3)).toEqual(["begin", "readAlarm", "readEpoch"]);
    object.done.length = 0;
    takeMinute();
    expect(object.done).toEqual(["step"]);
  });

  test("arms no alarm where an earlier instance armed one that fires before it", () => {
    const object = born();
    object.alarmAt = now + 1;
    object.instance.armedAt = null;
    object.live(begin(object.instance, object.state));
    expect(armRetry(object.instance, now, settings)).toBeNull();
    object.alarmAt = now + settings.retryFirstMs + 1;
    object.live(begin(object.instance, object.state));
    expect(armRetry(object.instance, now, settings)).toBe(now + settings.retryFirstMs);
  });

  test("of a store that is full forgets bit by bit, and arms no alarm where nothing is left to forget", () => {
    const { state, instance } = born();
    const moment = { now, tokens: [], databaseBytes: settings.databaseBytesMax + 1 };
    expect(decideAndPersist(state, instance, { kind: "minute" }, moment, settings).arm).toBeNull();
    const trimming = { ...moment, trimTo: 7 };
    const { arm } = decideAndPersist(state, instance, { kind: "minute" }, trimming, settings);
    expect(arm).toBe(now + settings.retryFirstMs);
  });

  test("moves its alarm forward and never back", () => {
    const instance: Instance = { ...newInstance(), armedAt: now + settings.retryFirstMs + 1 };
    expect(armRetry(instance, now, settings)).toBe(now + settings.retryFirstMs);
    expect(armRetry(instance, now, settings)).toBeNull();
    expect(armRetry(instance, now + 1, settings)).toBeNull();
    expect(instance.armedAt).toBe(now + settings.retryFirstMs);
  });
});

test("an effect of the ledger's is one subrequest, those on its own storage are none, and groups are notified by the hundred", () => {
  const event = { kind: "minute" } as const;
  const broken = new BrokenInvariant("a group that ends is there");
  const log = { do: "log", message: "", cause: null } as const;
  for (const effect of [{ do: "begin" }, { do: "step", event }, { do: "armRetry" }, log] as const) {
    expect(subrequestsOf(effect), effect.do).toBe(0);
  }
  expect(subrequestsOf({ do: "recordBroken", broken })).toBe(0);
  for (const name of ["readEpoch", "readCounter", "findPayload", "findRow"] as const) {
    expect(subrequestsOf({ do: name }), name).toBe(1);
  }
  expect(subrequestsOf({ do: "createEpoch", epoch: 1 })).toBe(1);
  expect(subrequestsOf({ do: "putEpoch", epoch: 1 })).toBe(1);
  expect(subrequestsOf({ do: "putCounter", counter: 1 })).toBe(1);
  const notify = (groups: number) =>
    subrequestsOf({ do: "notify", groups: Array.from({ length: groups }, (_, n) => String(n) as GroupId) });
  const most = limits.queueMessagesMax;
  expect([1, most, most + 1, 2 * most].map(notify)).toEqual([1, 1, 2, 2]);
});
