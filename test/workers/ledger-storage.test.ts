import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { assert, beforeEach, describe, expect, test } from "vitest";
import type { Failure } from "../../shared/failure.ts";
import { dueNever, type Group, type GroupPayload } from "../../shared/ledger/group.ts";
import { type GroupKind, groupKinds, noneLookedInto } from "../../shared/ledger/group-kinds.ts";
import { hotSaltBytes } from "../../shared/ledger/hot-ids.ts";
import { memberBytes } from "../../shared/ledger/id-records.ts";
import { type LedgerEvent, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { groupToRow } from "../../shared/ledger/rows.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import type { Change } from "../../shared/ledger/view.ts";
import { limits } from "../../shared/limits.ts";
import { formatPayloadKey } from "../../shared/payload-key.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerIds } from "../../workers/consumer/ledger-ids.ts";
import { LedgerStorage, type StoreBounds, usualStoreBounds } from "../../workers/consumer/ledger-storage.ts";
import { LedgerState } from "../ledger/ledger-state.ts";
import { failure, groupIn, open, payloadAt } from "../ledger/one-step.ts";
import { RandomHistory } from "../ledger/random-events.ts";
import { codecVersion, doorbell, emptyWorld, idAt, timedIdAt } from "../ledger/world.ts";
import { seen } from "./seen-ledger.ts";

beforeEach(async () => {
  await reset();
});

const settings = { ...defaultSettings, caps: { ...defaultSettings.caps, payloadsMax: 4 } };
/** What takes a million ids otherwise: rows are merged, ids go cold and filters are given up after a few. */
const merging = { groupsMin: 3, afterMs: 0, groupsMax: 3, idsMax: 1 };
const small: StoreBounds = { hotIdsMax: 8, filterBytesMax: 64, merging, liveCharsMax: 2000 };
/** More groups are merged where many end within a while. */
const gathering: StoreBounds = {
  ...small,
  merging: { groupsMin: 2, afterMs: 20_000, groupsMax: 7, idsMax: 60 },
};

/** What a history is of: groups of a few payloads or of many, content of one time or of all. */
const histories = [
  { payloadsMax: 4, bellsMax: 4, idOf: idAt, bounds: usualStoreBounds },
  { payloadsMax: 4, bellsMax: 4, idOf: timedIdAt, bounds: small },
  { payloadsMax: 30, bellsMax: 12, idOf: timedIdAt, bounds: small },
] as const;

describe("the SQLite store", () => {
  test.each(Array.from({ length: 12 }, (_, i) => i + 1))(
    "equals the state in memory after every step, and when it is read anew from SQL (seed %i)",
    async (seed) => {
      await runInDurableObject(env.LEDGER.getByName(`seed ${seed}`), (_, { storage }) => {
        const { payloadsMax, bellsMax, idOf, ...one } = histories[seed % histories.length] ?? histories[0];
        const bounds = one.bounds === small && seed > 6 ? gathering : one.bounds;
        const settings = { ...defaultSettings, caps: { ...defaultSettings.caps, payloadsMax } };
        const memory = new LedgerState();
        const history = new RandomHistory(seed, idOf, bellsMax);
        const ids: GroupId[] = [];
        let sqlite = new LedgerStorage(storage, bounds);
        let merged = 0;
        let forgets = 0;
        for (let i = 0; i < 300; i++) {
          const event = history.next();
          const tokens = Array.from({ length: tokensNeeded(event) }, (_, n) => tokenAt(i * 100 + n));
          const isFull = event.kind === "alarm" && i % 9 === 0;
          const databaseBytes = isFull ? settings.databaseBytesMax + 1 : 0;
          const trimTo = isFull ? sqlite.trimTo() : undefined;
          const moment = { now: history.now, tokens, databaseBytes, trimTo };
          const done = step(sqlite, event, moment, settings);
          expect(step(memory, event, moment, settings)).toEqual(done);
          sqlite.apply(done.changes);
          memory.apply(done.changes);
          history.learn(done);
          for (const change of done.changes) {
            forgets += change.kind === "forget" ? 1 : 0;
            if (change.kind === "group" && change.isNew) {
              ids.push(change.group.id);
            }
          }
          if (i % 2 === 0) {
            // A new instance: both know of the head what is stored, and what groups say.
            sqlite = new LedgerStorage(storage, bounds);
            memory.restart();
          }
          expect(seen(sqlite, ids.slice(-20), settings, idOf), `after event ${i}: ${event.kind}`).toEqual(
            seen(memory, ids.slice(-20), settings, idOf),
          );
          expect(sqlite.groupsLookedInto(2), `after event ${i}: ${event.kind}`).toEqual(
            memory.groupsLookedInto(2),
          );
          merged = Math.max(merged, countOf(storage, "runs"));
        }
        expect(ids.length).toBeGreaterThan(10);
        expect(sqlite.counts().groups).toBe(memory.dump().groups.size);
        expect(merged > 0).toBe(bounds !== usualStoreBounds);
        expect(forgets).toBeGreaterThan(0);
      });
    },
  );

  test("applies all changes of a step or none, and goes on from what is stored", async () => {
    await runInDurableObject(env.LEDGER.getByName("torn"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage);
      const born = { kind: "born", facts: emptyWorld } as const;
      sqlite.apply(step(sqlite, born, { now: 0, tokens: [], databaseBytes: 0 }, settings).changes);
      const event = { kind: "claim", doorbells: [doorbell({ n: 1 })], codecVersion } as const;
      const tokens = Array.from({ length: 100 }, (_, n) => tokenAt(n));
      const { changes } = step(sqlite, event, { now: 0, tokens, databaseBytes: 0 }, settings);
      expect(changes[0]?.kind).toBe("waiting");
      const missing = { kind: "end", group: tokenAt(1), ended: [], at: 0 } as const;
      expect(() => sqlite.apply([...changes, missing])).toThrow("a group that ends is there");
      expect(sqlite.waiting.payloads).toEqual([]);
      expect(new LedgerStorage(storage).waiting.payloads).toEqual([]);
      const erase = { kind: "erase", payloads: [doorbell({ n: 2 })], reason: "asked for" } as const;
      const erased = step(sqlite, erase, { now: 0, tokens, databaseBytes: 0 }, settings).changes;
      expect(erased.map(({ kind }) => kind)).toEqual(["group"]);
      expect(() => sqlite.apply([...erased, missing])).toThrow("a group that ends is there");
      expect(sqlite.group(tokenAt(0))).toBeUndefined();
      sqlite.apply(erased);
      expect(sqlite.group(tokenAt(0))?.payloads).toHaveLength(1);
    });
  });

  test("knows what was merged, also where a group is made next that is the first of its instance", async () => {
    await runInDurableObject(env.LEDGER.getByName("merged"), (_, { storage }) => {
      const bounds = { ...small, merging: { ...merging, groupsMin: 2 } };
      let sqlite = new LedgerStorage(storage, bounds);
      let drawn = 0;
      const apply = (event: LedgerEvent) => {
        const tokens = Array.from({ length: tokensNeeded(event) }, () => tokenAt(++drawn));
        const { changes } = step(sqlite, event, { now: 1000, tokens, databaseBytes: 0 }, settings);
        sqlite.apply(changes);
        return changes.flatMap((change) => (change.kind === "group" && change.isNew ? [change.group] : []));
      };
      const erase = (n: number) => apply({ kind: "erase", payloads: [doorbell({ n })], reason: "asked for" });
      apply({ kind: "born", facts: emptyWorld });
      const groups = [...erase(1), ...erase(2)];
      expect(groups).toHaveLength(2);
      sqlite = new LedgerStorage(storage, bounds);
      for (const { id, payloads } of groups) {
        const ended = payloads.map(({ key }) => ({ key, outcome: "stored" as const }));
        sqlite.apply([{ kind: "end", group: id, ended, at: 2000 }]);
      }
      expect(countOf(storage, "groups")).toBe(0);
      expect(erase(3)).toHaveLength(1);
      // Each by itself: a row that is read for another one is looked into for all.
      const at = (n: number) => sqlite.places([idAt(n)]).get(idAt(n))?.at;
      expect([1, 2, 3].map(at)).toEqual(["done", "done", "group"]);
    });
  });

  test("applies nothing that was decided while what it knows could not be read", async () => {
    await runInDurableObject(env.LEDGER.getByName("unread"), (_, { storage }) => {
      let fails = "";
      const sql = new Proxy(storage.sql, {
        get:
          (target, name) =>
          (query: string, ...bound: unknown[]) => {
            if (fails !== "" && query.includes(fails)) {
              fails = fails.startsWith("INSERT") ? "low IS NOT NULL" : "";
              throw new Error("the disk is away");
            }
            return Reflect.apply(Reflect.get(target, name), target, [query, ...bound]);
          },
      });
      const transactionSync = (work: () => void) => storage.transactionSync(work);
      const sqlite = new LedgerStorage({ sql, transactionSync } as unknown as DurableObjectStorage, small);
      let drawn = 0;
      const decide = (event: LedgerEvent) => {
        const tokens = Array.from({ length: tokensNeeded(event) }, () => tokenAt(++drawn));
        return step(sqlite, event, { now: 1000, tokens, databaseBytes: 0 }, settings).changes;
      };
      const erase = (n: number) =>
        decide({ kind: "erase", payloads: [doorbell({ n })], reason: "asked for" });
      sqlite.apply(decide({ kind: "born", facts: emptyWorld }));
      sqlite.apply(erase(1));
      const second = erase(2);
      fails = "INSERT INTO groups_3";
      expect(() => sqlite.apply(second)).toThrow();
      expect(sqlite.places([idAt(1)]).size, "it knows nothing now").toBe(0);
      expect(() => sqlite.apply(second)).toThrow("could not persist");
      expect(sqlite.places([idAt(1)]).size, "it has read it again").toBe(1);
      sqlite.apply(erase(2));
      expect(sqlite.places([idAt(1), idAt(2)]).size).toBe(2);
    });
  });

  test("refuses a row that the platform would refuse, and local workerd takes", async () => {
    await runInDurableObject(env.LEDGER.getByName("wide"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage);
      const note = (length: number) => ({ text: "x".repeat(length) });
      const around = JSON.stringify(note(0)).length + "broken".length;
      sqlite.keepNote("broken", note(limits.ledgerRowBytesMax - around));
      expect(() => sqlite.keepNote("broken", note(limits.ledgerRowBytesMax - around + 1))).toThrow(
        "a row of the ledger is within what SQLite takes",
      );
    });
  });

  test("counts a group's ids to what its row takes", async () => {
    await runInDurableObject(env.LEDGER.getByName("wide group"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage);
      const born = { kind: "born", facts: emptyWorld } as const;
      sqlite.apply(step(sqlite, born, { now: 0, tokens: [], databaseBytes: 0 }, settings).changes);
      const event = { kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" } as const;
      const tokens = Array.from({ length: 4 }, (_, n) => tokenAt(n));
      const { changes } = step(sqlite, event, { now: 0, tokens, databaseBytes: 0 }, settings);
      const [change] = changes;
      assert(change?.kind === "group");
      const write = (isNew: boolean, pad: number) =>
        sqlite.apply([{ ...change, isNew, group: { ...change.group, ...{ pad: "x".repeat(pad) } } }]);
      const around = groupToRow({ ...change.group, ...{ pad: "" } }).length + change.group.id.length;
      const room = limits.ledgerRowBytesMax - around - memberBytes;
      const refusal = "a row of the ledger is within what SQLite takes";
      expect(() => write(true, room + 1)).toThrow(refusal);
      write(true, room);
      expect(() => write(false, room + 1)).toThrow(refusal);
      write(false, room);
    });
  });

  test("leaves no id to the next group, of one that ended without it", async () => {
    await runInDurableObject(env.LEDGER.getByName("left"), (_, { storage }) => {
      let sqlite = new LedgerStorage(storage);
      let drawn = 0;
      const apply = (event: LedgerEvent) => {
        const tokens = Array.from({ length: tokensNeeded(event) }, () => tokenAt(++drawn));
        const { changes } = step(sqlite, event, { now: 1000, tokens, databaseBytes: 0 }, settings);
        sqlite.apply(changes);
        return changes.flatMap((change) => (change.kind === "group" && change.isNew ? [change] : []));
      };
      apply({ kind: "born", facts: emptyWorld });
      const [made] = apply({ kind: "erase", payloads: [doorbell({ n: 1 })], reason: "asked for" });
      assert(made !== undefined);
      // Of many of one time and one of another, which has a row of its own.
      const payloads = [...Array.from({ length: 9 }, (_, n) => idAt(100 + n)), timedIdAt(4)].map((id) => ({
        ...(made.group.payloads[0] ?? assert.fail()),
        key: formatPayloadKey(1000, "acme", id),
      }));
      const group = { ...made.group, id: tokenAt(1000), payloads };
      sqlite.apply([{ ...made, group }]);
      expect(countOf(storage, "strays")).toBe(1);
      expect(sqlite.places([timedIdAt(4)]).size).toBe(1);
      sqlite.apply([{ kind: "end", group: group.id, ended: [], at: 2000 }]);
      sqlite = new LedgerStorage(storage);
      expect(apply({ kind: "erase", payloads: [doorbell({ n: 2 })], reason: "asked for" })).toHaveLength(1);
      expect(sqlite.places([timedIdAt(4)]).size, "it is in no group").toBe(0);
      expect(countOf(storage, "strays")).toBe(0);
    });
  });

  test("binds no text that the platform would refuse, however many rows are forgotten at once", async () => {
    await runInDurableObject(env.LEDGER.getByName("many rows"), (_, { storage }) => {
      new LedgerStorage(storage);
      const rows = 250_000;
      storage.sql.exec(
        `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${rows})
         INSERT INTO runs_3 SELECT 1000000000 + n, 0, 0, 1, 1, x'00', x'00' FROM numbers`,
      );
      let longest = 0;
      const sql = new Proxy(storage.sql, {
        get:
          (target, name) =>
          (query: string, ...bound: unknown[]) => {
            longest = Math.max(longest, ...bound.map((one) => (typeof one === "string" ? one.length : 0)));
            return Reflect.apply(Reflect.get(target, name), target, [query, ...bound]);
          },
      });
      const ids = new LedgerIds(sql, usualStoreBounds, new Uint8Array(hotSaltBytes));
      ids.readAll();
      ids.forget({ forgottenBefore: 2 });
      expect(countOf(storage, "runs")).toBe(0);
      expect(longest).toBeGreaterThan(100_000);
      expect(longest).toBeLessThan(2_000_000);
    });
  });

  test("reads groups that are large a few at a time", async () => {
    await runInDurableObject(env.LEDGER.getByName("large"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage);
      const born = { kind: "born", facts: emptyWorld } as const;
      sqlite.apply(step(sqlite, born, { now: 0, tokens: [], databaseBytes: 0 }, settings).changes);
      for (let n = 0; n < 10; n++) {
        const erase = { kind: "erase", payloads: [doorbell({ n })], reason: "asked for" } as const;
        const tokens = Array.from({ length: 4 }, (_, i) => tokenAt(n * 4 + i));
        sqlite.apply(step(sqlite, erase, { now: 0, tokens, databaseBytes: 0 }, settings).changes);
      }
      const due = () => new LedgerStorage(storage).groupsDue("other", Number.MAX_SAFE_INTEGER, 100).length;
      expect(due()).toBe(10);
      const pad = limits.ledgerRowBytesMax - 10_000;
      storage.sql.exec("UPDATE groups_3 SET doc = json_set(doc, '$.pad', ?)", "x".repeat(pad));
      expect(due()).toBe(Math.floor(limits.ledgerRowsReadBytesMax / pad));
    });
  });

  /** A group, in the order of its number, as a change. `more`: what makes it one of its kind. */
  const groupAt = (
    n: number,
    { payload = {}, ...more }: Partial<Group> & { payload?: Partial<GroupPayload> } = {},
  ) => {
    const payloads = [{ ...payloadAt({ n }), ...payload }];
    const group = groupIn(open, {
      id: tokenAt(n),
      failure: null,
      payloads,
      rows: null,
      rings: 0,
      due: 5,
      ...more,
    });
    return { kind: "group", group, isNew: true } as const;
  };
  const failing = (kind: Failure["kind"], more: Partial<Failure> = {}) => ({
    failure: { ...failure, kind, ...more },
  });
  const asked = { payload: { cause: "replay" } } as const;
  const lease = { attempt: 1, until: 9 };
  const ofKinds: Readonly<Record<GroupKind, Parameters<typeof groupAt>[1]>> = {
    usual: {},
    asked,
    failing: failing("unknown"),
    failing_asked: { ...asked, ...failing("halted") },
    refused: { refusals: 1, ...failing("refused") },
    erasure: { ...asked, ...failing("retry", { ofErasure: true }) },
    held: { due: dueNever, state: { at: "held", lease: null, found: [] } },
  };

  test.each([usualStoreBounds, small])(
    "looks into the longest living groups of each kind, however many there are of others",
    async (bounds) => {
      await runInDurableObject(env.LEDGER.getByName(`kinds ${bounds.liveCharsMax}`), (_, { storage }) => {
        const memory = new LedgerState();
        let sqlite = new LedgerStorage(storage, bounds);
        const apply = (...changes: readonly Change[]) => {
          for (const store of [memory, sqlite]) {
            store.apply(changes);
          }
          for (const atMost of [1, 3]) {
            expect(sqlite.groupsLookedInto(atMost)).toEqual(memory.groupsLookedInto(atMost));
          }
        };
        let n = 0;
        for (const kind of groupKinds) {
          for (let i = 0; i < 5; i++) {
            apply(groupAt(++n, ofKinds[kind]));
          }
        }
        expect(memory.groupsLookedInto(3).counts).toEqual(
          Object.fromEntries(groupKinds.map((kind) => [kind, 5])),
        );
        // Leased, notified and changed: their rows do not say their kinds, or another one.
        for (const [at, kind] of groupKinds.entries()) {
          const { group } = groupAt(5 * at + 1, ofKinds[kind]);
          if (kind !== "held") {
            apply({ kind: "group", isNew: false, group: { ...group, state: { ...open, lease } } });
            apply({ kind: "group", isNew: false, group });
            apply({ kind: "group", isNew: false, group: { ...group, rings: 1 } });
          }
          if (at % 2 === 0) {
            sqlite = new LedgerStorage(storage, bounds);
          }
          const other = groupKinds[(at + 1) % groupKinds.length] ?? "usual";
          const changed = groupAt(5 * at + 1, { ...ofKinds[other], payloads: group.payloads });
          apply({ ...changed, isNew: false });
          apply({ kind: "end", group: group.id, ended: [], at: 9 });
        }
      });
    },
  );

  test("looks into the first of each kind where they are large", async () => {
    await runInDurableObject(env.LEDGER.getByName("large kinds"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage, { ...usualStoreBounds, liveCharsMax: 0 });
      const changes = Array.from({ length: 12 }, (_, n) =>
        groupAt(n + 1, ofKinds[n % 2 === 0 ? "usual" : "erasure"]),
      );
      sqlite.apply(changes);
      expect(sqlite.groupsLookedInto(9).groups).toHaveLength(12);
      const pad = (chars: number) =>
        storage.sql.exec("UPDATE groups_3 SET doc = json_set(doc, '$.pad', ?)", "x".repeat(chars));
      pad(limits.groupsLookedBytesMax);
      expect(sqlite.groupsLookedInto(9).groups.map(({ id }) => id)).toEqual([tokenAt(1), tokenAt(2)]);
      pad(limits.groupsLookedBytesMax / 2);
      expect(sqlite.groupsLookedInto(9).groups).toHaveLength(4);
    });
  });

  test("looks for groups that an earlier version wrote among the usual ones, until they are written again", async () => {
    await runInDurableObject(env.LEDGER.getByName("older kinds"), (_, { storage }) => {
      const before = new LedgerStorage(storage);
      const changes = groupKinds.map((kind, at) => groupAt(at + 1, ofKinds[kind]));
      before.apply(changes);
      storage.sql.exec("DROP INDEX kinds_3");
      storage.sql.exec("UPDATE groups_3 SET role = 0");
      const sqlite = new LedgerStorage(storage);
      const looked = () => sqlite.groupsLookedInto(9);
      expect(looked().groups).toEqual(changes.map(({ group }) => group));
      expect(looked().counts).toEqual({ ...noneLookedInto.counts, usual: groupKinds.length - 1, held: 1 });
      sqlite.apply(changes.map((change) => ({ ...change, isNew: false })));
      expect(looked().groups).toEqual(changes.map(({ group }) => group));
      expect(looked().counts).toEqual(Object.fromEntries(groupKinds.map((kind) => [kind, 1])));
    });
  });

  test("counts groups of a kind that a later version knows among the usual ones", async () => {
    await runInDurableObject(env.LEDGER.getByName("later kinds"), (_, { storage }) => {
      const sqlite = new LedgerStorage(storage);
      sqlite.apply([groupAt(1, ofKinds.erasure), groupAt(2, ofKinds.refused)]);
      storage.sql.exec("UPDATE groups_3 SET role = 99 WHERE seq = 1");
      const { groups, counts } = new LedgerStorage(storage).groupsLookedInto(9);
      expect(counts).toEqual({ ...noneLookedInto.counts, usual: 1, refused: 1 });
      expect(groups).toHaveLength(1);
    });
  });

  test("reads a head that an earlier version stored, which kept no calls", async () => {
    await runInDurableObject(env.LEDGER.getByName("older"), (_, { storage }) => {
      const born = { kind: "born", facts: emptyWorld } as const;
      const tokens = Array.from({ length: tokensNeeded(born) }, (_, n) => tokenAt(n));
      const first = new LedgerStorage(storage);
      first.apply(step(first, born, { now: 1, tokens, databaseBytes: 0 }, settings).changes);
      storage.sql.exec(
        "UPDATE documents SET doc = json_remove(doc, '$.breaker.notified') WHERE name = 'head.2'",
      );
      expect(new LedgerStorage(storage).head).toEqual(first.head);
    });
  });
});

function countOf({ sql }: DurableObjectStorage, table: "groups" | "runs" | "strays"): number {
  return sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}_3`).one().n;
}

function tokenAt(n: number): GroupId {
  return n.toString(16).padStart(32, "0") as GroupId;
}
