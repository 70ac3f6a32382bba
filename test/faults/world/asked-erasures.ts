/**
 * A person who asks for payloads to be erased, by a key, a trace or a tenant; and the cron that looks after what was asked. The product's
 * own work (shared/delivery/asked-erasures.ts), its effects performed over this world.
 */
import {
  type AskedErasureEffects,
  eraseAsked,
  nameOfErasure,
  resumeErasures,
} from "../../../shared/delivery/asked-erasures.ts";
import { type Answered, type Asked, done, EffectFailed, failure, type Work } from "../../../shared/effect.ts";
import { sumOf } from "../../../shared/ledger/receipts.ts";
import { idOfKey, objectOf, type PayloadKey, tenantOfKey } from "../../../shared/payload-key.ts";
import type { Process } from "./clock.ts";
import type { StoredObject } from "./object-store.ts";
import { completeDoorbell } from "./perform.ts";
import { Invocation, isWorldFailure, Unanswered, type World } from "./world.ts";

/** Keys that a person's query finds: those of this payload, of others of its trace, or of its tenant. */
export function keysToErase(world: World, { key }: StoredObject): readonly PayloadKey[] {
  const { store, receipts, fate } = world;
  // A trace has spans in several payloads, which may share an object.
  const trace = (store.payloadsOf(objectOf(key)) ?? []).map(({ payload }) => payload.key).slice(0, 2);
  const known = [
    ...store.list().map((object) => object.key),
    ...receipts.list().map(({ receipt }) => receipt.key),
  ];
  const tenant = known.filter((one) => tenantOfKey(one) === tenantOfKey(key)).slice(0, keysMax);
  const asked = [[key], [...new Set([key, ...trace])], [...new Set([key, ...tenant])]];
  return asked[fate.choices.oneOf(asked.length)] ?? [key];
}

const keysMax = 4;

/** What the console and the consumer do for a person, who asks again where it fails; or does not. */
export function* eraseByPerson(world: World, keys: readonly PayloadKey[]): Process {
  const { fate, clock, witness } = world;
  for (let tries = 0; tries < 2; tries++) {
    for (const key of keys) {
      witness.erased.add(idOfKey(key));
    }
    const name = nameOfErasure(
      clock.now,
      Uint8Array.from({ length: 8 }, () => fate.choices.below(256)),
    );
    const invocation = new Invocation(world, "an erasure");
    const taken = yield* workOn(world, invocation, eraseAsked(name, keys, "asked for"));
    if (taken !== null) {
      for (const key of taken.taken) {
        witness.asked.add(key); // it was promised, whether R2 remembers it or not
      }
      return;
    }
    yield fate.between(1000, 60_000);
  }
}

/** The cron's look. True: its invocation does nothing else. */
export function* resumeAsked(world: World, invocation: Invocation): Process<boolean> {
  const { store, clock, skews } = world;
  if (store.erasures.size === 0) {
    return false;
  }
  return (yield* workOn(world, invocation, resumeErasures(clock.now + skews.consumer))) ?? false;
}

/** Null: an effect failed. */
function* workOn<T>(
  world: World,
  invocation: Invocation,
  work: Work<AskedErasureEffects, T>,
): Process<T | null> {
  try {
    let step = work.next();
    while (step.done !== true) {
      invocation.spend(1);
      yield world.fate.between(1, 30);
      step = work.next(answer(world, step.value));
    }
    return step.value;
  } catch (error) {
    if (error instanceof EffectFailed) {
      return null;
    }
    throw error;
  }
}

function answer<Name extends keyof AskedErasureEffects>(
  world: World,
  { name, asks }: Asked<AskedErasureEffects, Name>,
): Answered<AskedErasureEffects, Name> {
  try {
    const value = performer[name](world, asks);
    return value instanceof Unanswered ? value : done<AskedErasureEffects, Name>(name, value);
  } catch (error) {
    if (isWorldFailure(error)) {
      return failure(error);
    }
    throw error;
  }
}

type ErasurePerformer = {
  readonly [Name in keyof AskedErasureEffects]: (
    world: World,
    asks: AskedErasureEffects[Name]["asks"],
  ) => AskedErasureEffects[Name]["answers"] | Unanswered;
};

const performer: ErasurePerformer = {
  listRecords(world, { atMost }) {
    world.askStore("list");
    const names = [...world.store.erasures.keys()].sort().slice(0, atMost);
    return names.map((name) => ({ name, writtenAt: world.store.erasures.get(name)?.writtenAt ?? 0 }));
  },
  readRecord(world, name) {
    world.askStore("get");
    return world.store.erasures.get(name)?.erasure ?? null;
  },
  writeRecord(world, { name, erasure }) {
    world.askStore("put");
    world.store.erasures.set(name, { erasure, writtenAt: world.clock.now });
    for (const key of erasure.keys) {
      world.witness.asked.add(key);
    }
    world.cron.isWanted();
    world.askStore("put: the answer");
    return null;
  },
  deleteRecord(world, name) {
    world.askStore("delete");
    world.store.erasures.delete(name);
    return null;
  },
  completeDoorbell(world, key) {
    world.askStore("head");
    return completeDoorbell(world, key, "replay");
  },
  readSpans: (world, keys) =>
    world.askTable("receipts", () =>
      keys.flatMap((key) => {
        const written = world.receipts.get(key);
        return written === undefined ? [] : [{ key, spans: written.receipt.spans }];
      }),
    ),
  findRows: (world, keys) =>
    world.askTable("rows", () => {
      const { rows } = world.countRows(keys.map(idOfKey));
      return keys.filter((_key, i) => sumOf(rows[i] ?? []) > 0);
    }),
  outcomes: (world, keys) =>
    world.askTable("outcomes", () =>
      keys.flatMap((key) => {
        const written = world.receipts.get(key);
        return written === undefined ? [] : [{ key, outcome: written.receipt.outcome }];
      }),
    ),
  holds: (world, keys) => world.ledger.holds(keys),
  erase(world, { payloads, reason }) {
    world.ledger.call({ kind: "erase", payloads, reason });
    return null;
  },
  report(world, { severity, message, keys }) {
    world.say(() => `${message}: ${keys.length}`);
    for (const key of severity === "error" ? keys : []) {
      world.witness.asked.delete(key); // given up after days, and a person knows
    }
    return null;
  },
};
