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
  takeStep,
  wake,
} from "../../shared/delivery/ledger-life.ts";
import type { GroupId } from "../../shared/ledger/group.ts";
import type { LedgerEvent } from "../../shared/ledger/machine.ts";
import { defaultSettings as settings } from "../../shared/ledger/settings.ts";
import { LedgerState } from "../ledger/ledger-state.ts";

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
  readonly instance: Instance = { armedAt: null };
  readonly done: string[] = [];
  readonly events: LedgerEvent[] = [];
  readonly store: Store;
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
      default:
        return { to: effect.do };
    }
  }
}

function born(): ObjectOfTest {
  const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
  object.live(begin(object.state));
  object.done.length = 0;
  return object;
}

describe("the ledger's object", () => {
  test("is a genesis where R2 has no epoch and no payload, and the table no row", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    object.live(begin(object.state));
    expect(object.done).toEqual(["readEpoch", "findPayload", "findRow", "createEpoch", "step"]);
    expect(object.events).toEqual([
      { kind: "born", facts: { epoch: null, anyPayload: false, anyRow: false } },
    ]);
  });

  test("is no genesis where another ledger wrote the first epoch after it had looked", () => {
    const object = new ObjectOfTest({ epoch: null, counter: null, payloads: 0 });
    object.fails = (effect) => {
      object.store.epoch = effect.do === "createEpoch" ? 1 : object.store.epoch;
    };
    object.live(begin(object.state));
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
    expect(() => object.live(begin(object.state))).toThrow("R2 is away");
    expect(object.state.head?.epoch).toBe(2);
    object.fails = () => undefined;
    object.live(begin(object.state));
    expect([object.state.head?.epoch, object.store.epoch]).toEqual([3, 3]);
  });

  test("counts the minute in R2 after it has persisted it", () => {
    const object = born();
    object.live(wake(object.instance, object.state));
    expect(object.done).toEqual(["begin", "step", "putCounter"]);
    expect(object.store.counter).toBe(object.state.head?.counter);
  });

  test("arms its alarm again before it lets a broken invariant out, which it records", () => {
    const object = born();
    object.fails = (effect) => assert(effect.do !== "step", "a group that ends is there");
    expect(() => object.live(fireAlarm(object.instance))).toThrow(BrokenInvariant);
    expect(object.done).toEqual(["begin", "step", "recordBroken", "armRetry"]);
    expect(object.instance.armedAt).toBe(now + settings.retryFirstMs);
  });

  test("arms its alarm again after any other failure, and does not throw", () => {
    const object = born();
    object.fails = (effect) => {
      if (effect.do === "begin") {
        throw new Error("R2 is away");
      }
    };
    object.live(fireAlarm(object.instance));
    expect(object.done).toEqual(["begin", "armRetry", "log"]);
    expect(object.instance.armedAt).toBe(now + settings.retryFirstMs);
  });

  test("lets a caller see what failed, and records only what is an invariant", () => {
    const object = born();
    object.fails = (effect) => {
      if (effect.do === "step") {
        throw new Error("disk full");
      }
    };
    expect(() => object.live(takeStep({ kind: "minute" }))).toThrow("disk full");
    expect(object.done).toEqual(["begin", "step"]);
  });

  test("moves its alarm forward and never back", () => {
    const instance: Instance = { armedAt: now + settings.retryFirstMs + 1 };
    expect(armRetry(instance, now, settings)).toBe(now + settings.retryFirstMs);
    expect(armRetry(instance, now + 1, settings)).toBeNull();
    expect(instance.armedAt).toBe(now + settings.retryFirstMs);
  });
});
