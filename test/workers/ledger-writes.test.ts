/** What the ledger's store writes, in rows as the platform bills them; and a deployment that is rolled back over its rows. */
import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import {
  decideAndPersist,
  type Instance,
  type LedgerStore,
  newInstance,
} from "../../shared/delivery/ledger-life.ts";
import type { GroupTask } from "../../shared/ledger/group.ts";
import { withoutGroups } from "../../shared/ledger/head-row.ts";
import { type LedgerEvent, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import { limits } from "../../shared/limits.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerStorage, type StoreBounds } from "../../workers/consumer/ledger-storage.ts";
import { LedgerState } from "../ledger/ledger-state.ts";
import { RandomHistory } from "../ledger/random-events.ts";
import {
  codecVersion,
  doorbell,
  emptyWorld,
  idAt,
  knownTable,
  startMs,
  storedReport,
  timedIdAt,
} from "../ledger/world.ts";
import { OlderLedgerStorage } from "./older-ledger-storage.ts";
import { PreviousLedgerStorage } from "./previous-ledger-storage.ts";
import { seen } from "./seen-ledger.ts";

beforeEach(async () => {
  await reset();
});

/** The store of a version, on a storage. */
type Open = (storage: DurableObjectStorage) => LedgerStore;

/** A ledger on this storage, whose rows are counted. */
class CountedLedger {
  readonly #storage: DurableObjectStorage;
  readonly #open: Open;
  store: LedgerStore;
  #instance: Instance = newInstance();
  #drawn = 0;
  now = startMs;
  rows = 0;
  alarms = 0;

  /** `before`: who had the storage until now. */
  constructor(
    storage: DurableObjectStorage,
    open: Open = (on) => new LedgerStorage(on),
    before?: CountedLedger,
  ) {
    this.#storage = storage;
    this.#open = open;
    this.store = open(this.#counting());
    if (before === undefined) {
      this.step({ kind: "born", facts: emptyWorld });
      const measure = { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable };
      this.step({ kind: "table", table: { refusal: "", measure } });
    } else {
      this.#drawn = before.#drawn;
      this.now = before.now + 1000;
    }
  }

  /** The object is put away and comes back; its alarm is still armed. */
  restart(): void {
    this.store = this.#open(this.#counting());
  }

  step(event: LedgerEvent) {
    const tokens = Array.from({ length: tokensNeeded(event) }, () => tokenAt(this.#drawn++));
    const moment = { now: this.now, tokens, databaseBytes: 0 };
    const decided = decideAndPersist(this.store, this.#instance, event, moment, defaultSettings);
    this.alarms += decided.arm === null ? 0 : 1;
    return decided;
  }

  /** Claims so many payloads that were sent together. */
  claim(first: number, count: number, idOf = idAt): GroupTask | null {
    const { ageReadyMs, rowsReady, batchMax } = defaultSettings.caps;
    const arrival = this.now - ageReadyMs;
    // Fewer than a batch are a group by their age, more of them by their rows.
    const spans = count < batchMax ? 100 : Math.ceil(rowsReady / count);
    const doorbells = Array.from({ length: count }, (_, i) =>
      doorbell({ n: first + i, id: idOf(first + i), arrival, spans }),
    );
    return this.step({ kind: "claim", doorbells, codecVersion }).task;
  }

  /** Claims them, and stores and receipts them. */
  bringIn(first: number, count: number, idOf = idAt): void {
    const task = this.claim(first, count, idOf);
    expect(task?.payloads).toHaveLength(count);
    this.bringInTask(task);
  }

  bringInTask(task: GroupTask | null): void {
    if (task !== null) {
      const { group, attempt } = task;
      const stored = this.step({ kind: "report", group, attempt, report: storedReport(task) });
      expect(stored.task?.step).toBe("receipts");
      this.step({ kind: "receipted", receipted: [{ group, attempt: stored.task?.attempt ?? 0 }] });
    }
  }

  /** The rows that this writes. */
  counted(act: () => void): number {
    const before = this.rows;
    act();
    return this.rows - before;
  }

  #counting(): DurableObjectStorage {
    const { sql } = this.#storage;
    const exec = (query: string, ...bindings: unknown[]) => {
      const cursor = sql.exec(query, ...bindings);
      this.rows += cursor.rowsWritten;
      return cursor;
    };
    return {
      sql: new Proxy(sql, { get: (_, name) => (name === "exec" ? exec : Reflect.get(sql, name, sql)) }),
      transactionSync: <T>(closure: () => T): T => this.#storage.transactionSync(closure),
    } as unknown as DurableObjectStorage;
  }
}

describe("a group that is leased by the claim that made it", () => {
  test.each([1, 2, 20, 100, 500])("writes three rows until it is over, of %i payloads", async (count) => {
    await runInDurableObject(env.LEDGER.getByName(`${count} payloads`), (_, { storage }) => {
      const ledger = new CountedLedger(storage);
      expect(ledger.counted(() => ledger.bringIn(0, count))).toBe(3);
      ledger.now += 1000;
      ledger.restart();
      expect(ledger.counted(() => ledger.bringIn(1000, count))).toBe(3);
      expect(ledger.alarms).toBe(1);
    });
  });

  test.each([1, 20, 100, 500])(
    "writes five rows at most in its whole life, and none for any of its %i payloads",
    async (count) => {
      await runInDurableObject(env.LEDGER.getByName(`life of ${count}`), (_, { storage }) => {
        const ledger = new CountedLedger(storage);
        const groups = 2 * limits.ledgerGroupsMerged + 1;
        const before = ledger.rows;
        for (let n = 0; n < groups; n++) {
          ledger.bringIn(n * count, count);
          ledger.now += 1000;
        }
        expect(countOf(storage, "groups")).toBe(1);
        expect(countOf(storage, "strays")).toBe(0);
        ledger.now += defaultSettings.memoryMs + 1;
        ledger.step({ kind: "minute" });
        expect(countOf(storage, "groups") + countOf(storage, "runs")).toBe(0);
        const headRow = 1;
        const rows = (ledger.rows - before - headRow) / groups;
        expect(rows).toBeLessThanOrEqual(5);
        expect(rows).toBeGreaterThan(4);
      });
    },
  );

  test("writes for what has content of another time a row each, one when it is over, and deletes as many", async () => {
    await runInDurableObject(env.LEDGER.getByName("strays"), (_, { storage }) => {
      const ledger = new CountedLedger(storage);
      const far = (n: number) => (n % 50 === 7 ? timedIdAt(5 * n + 4) : idAt(n));
      expect(ledger.counted(() => ledger.bringIn(0, 100, far))).toBe(3 + 2 + 1);
      expect(countOf(storage, "strays")).toBe(2);
      ledger.now += defaultSettings.memoryMs + 1;
      const headRow = 1;
      expect(ledger.counted(() => ledger.step({ kind: "minute" }))).toBe(1 + 2 + 1 + headRow);
    });
  });
});

describe("a deployment that is rolled back, and deployed once more", () => {
  const olderStores = [OlderLedgerStorage, PreviousLedgerStorage];

  test.each([1, 2, 3, 4, 5, 6])(
    "goes on from the rows of the older version, which had begun anew and verifies what it does not know (seed %i)",
    async (seed) => {
      await runInDurableObject(env.LEDGER.getByName(`rolled back ${seed}`), (_, { storage }) => {
        dropTables(storage);
        const Older = olderStores[seed % 2] ?? OlderLedgerStorage;
        let memory = new LedgerState();
        const history = new RandomHistory(seed, timedIdAt, 12);
        const ids: GroupId[] = [];
        let isOlder = true;
        let store: OlderLedgerStorage | PreviousLedgerStorage | LedgerStorage = new Older(storage);
        const act = (event: LedgerEvent, i: number): void => {
          ids.push(...stepBoth(store, memory, history, event, i));
        };
        for (let i = 0; i < 240; i++) {
          if (i % 40 === 39) {
            isOlder = !isOlder;
            const epoch = memory.head?.epoch ?? 0;
            store = isOlder ? new Older(storage) : new LedgerStorage(storage, small);
            const { head, waiting } = store;
            if (isOlder) {
              // It finds the head of an epoch that is over, what waits, and nothing else: R2 has a later one.
              expect(head?.epoch).toBeLessThan(epoch);
              expect(waiting).toEqual(memory.waiting);
              memory = new LedgerState();
              memory.apply([{ kind: "waiting", waiting }]);
            } else {
              // It may know fewer INSERTs at once and an older INSERT: see shared/ledger/head-row.ts.
              expect(head && needed(head)).toEqual(memory.head && needed(memory.head));
            }
            if (head !== null) {
              memory.apply([{ kind: "head", head }]);
            }
            if (isOlder) {
              act({ kind: "restored", epoch }, 10_000 + i);
              expect(store.head?.memSince).toBe(history.now);
            }
          }
          const event = history.next();
          act(event, i);
          expect(
            seen(store, ids.slice(-20), someGroups, timedIdAt),
            `after event ${i}: ${event.kind}`,
          ).toEqual(seen(memory, ids.slice(-20), someGroups, timedIdAt));
        }
        expect(ids.length).toBeGreaterThan(10);
      });
    },
  );

  test.each([
    ["the version before", PreviousLedgerStorage],
    ["the one before that", OlderLedgerStorage],
  ])("takes nothing for new that was live or over, %s", async (name, Older) => {
    await runInDurableObject(env.LEDGER.getByName(`known ${name}`), (_, { storage }) => {
      dropTables(storage);
      const first = new CountedLedger(storage, (on) => new Older(on));
      first.bringIn(0, 2);
      const live = first.claim(10, 2);
      // The present version: what is over is over, what is live goes on.
      const now = new CountedLedger(storage, (on) => new LedgerStorage(on), first);
      expect(now.store.places([idAt(0)]).get(idAt(0))).toMatchObject({ at: "done", outcome: "stored" });
      expect(now.claim(0, 2)).toBeNull();
      now.bringInTask(live);
      now.bringIn(20, 2);
      const ours = now.claim(30, 2);
      expect(ours).not.toBeNull();
      const { epoch } = now.store.head ?? { epoch: 0 };
      // Rolled back: nothing of it is known, and nothing is new.
      const back = new CountedLedger(storage, (on) => new Older(on), now);
      back.step({ kind: "restored", epoch });
      for (const n of [0, 10, 20, 30]) {
        expect(back.claim(n, 2), `payload ${n}`).toBeNull();
      }
      const states = back.store.groupsDue("other", Number.MAX_SAFE_INTEGER, 10).map(({ state }) => state.at);
      expect(states).toEqual(["verifying", "verifying", "verifying", "verifying"]);
      // And once more the present one: what the other has is live, and what we had before it is not found twice.
      const again = new CountedLedger(storage, (on) => new LedgerStorage(on), back);
      expect(again.store.head?.epoch).toBe(epoch);
      for (const n of [0, 10, 20, 30]) {
        expect(again.claim(n, 2), `payload ${n}`).toBeNull();
      }
      expect(again.store.groupsDue("other", Number.MAX_SAFE_INTEGER, 10)).toHaveLength(4);
      expect(again.store.group(ours?.group ?? tokenAt(0))).toBeUndefined();
    });
  });

  test.each([1, 2, 3, 4])(
    "goes on from the tables of the last version, groups with their ids beside them (seed %i)",
    async (seed) => {
      await runInDurableObject(env.LEDGER.getByName(`taken over ${seed}`), (_, { storage }) => {
        dropTables(storage);
        const memory = new LedgerState();
        const history = new RandomHistory(seed, timedIdAt, 12);
        const ids: GroupId[] = [];
        let store = new LedgerStorage(storage, small);
        for (let i = 0; i < 120; i++) {
          if (i % 30 === 29) {
            asLastVersion(storage);
            store = new LedgerStorage(storage, small);
            expect(store.head && needed(store.head)).toEqual(memory.head && needed(memory.head));
            if (store.head !== null) {
              memory.apply([{ kind: "head", head: store.head }]);
            }
            // Rolled back, the last version finds no group, and a head of an epoch that is over.
            const [old] = storage.sql.exec<{ epoch: number }>(
              "SELECT json_extract(doc, '$.epoch') AS epoch FROM documents WHERE name = 'head.2'",
            );
            expect(old?.epoch).toBe((memory.head?.epoch ?? 0) - 1);
            const left = storage.sql.exec(
              "SELECT name FROM sqlite_master WHERE name IN ('live', 'members', 'runs', 'strays', 'stray_ends', 'live_idle')",
            );
            expect([...left]).toEqual([]);
          }
          const event = history.next();
          ids.push(...stepBoth(store, memory, history, event, i));
          expect(
            seen(store, ids.slice(-20), someGroups, timedIdAt),
            `after event ${i}: ${event.kind}`,
          ).toEqual(seen(memory, ids.slice(-20), someGroups, timedIdAt));
        }
        expect(ids.length).toBeGreaterThan(5);
      });
    },
  );

  test("without a head, which it had not come to write, is born once more", async () => {
    await runInDurableObject(env.LEDGER.getByName("no head"), (_, { storage }) => {
      dropTables(storage);
      const ledger = new CountedLedger(storage);
      ledger.bringIn(0, 1);
      new PreviousLedgerStorage(storage);
      const again = new LedgerStorage(storage);
      expect(again.head).toBeNull();
      expect(again.places([idAt(0)]).size).toBe(0);
    });
  });

  test("has no index but its own, and the earlier version none of ours in its way", async () => {
    await runInDurableObject(env.LEDGER.getByName("indexes"), (_, { storage }) => {
      const indexes = () =>
        [...storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'index'")]
          .map(({ name }) => name)
          .filter((name) => /groups|finished|live|idle|notified/.test(name))
          .sort();
      const ours = ["idle_3", "idle_id_3", "notified_3"];
      dropTables(storage);
      new OlderLedgerStorage(storage);
      expect(indexes()).toEqual(["finished_at", "groups_due", "sqlite_autoindex_groups_1"]);
      new LedgerStorage(storage);
      expect(indexes()).toEqual(ours);
      new PreviousLedgerStorage(storage);
      expect(indexes()).toEqual(["groups_idle", "groups_idle_id", "groups_notified", ...ours].sort());
      new LedgerStorage(storage);
      expect(indexes()).toEqual(ours);
    });
  });
});

/** One step of a store and of the state in memory, which must decide the same. Returned are the groups that it made. */
function stepBoth(
  store: OlderLedgerStorage | PreviousLedgerStorage | LedgerStorage,
  memory: LedgerState,
  history: RandomHistory,
  event: LedgerEvent,
  i: number,
): readonly GroupId[] {
  const tokens = Array.from({ length: tokensNeeded(event) }, (_, n) => tokenAt(i * 100 + n));
  const moment = { now: history.now, tokens, databaseBytes: 0 };
  const done = step(store, event, moment, someGroups);
  expect(step(memory, event, moment, someGroups)).toEqual(done);
  store.apply(done.changes);
  memory.apply(done.changes);
  history.learn(done);
  return done.changes.flatMap((change) => (change.kind === "group" && change.isNew ? [change.group.id] : []));
}

/** Those that the object itself has made. */
function dropTables({ sql }: DurableObjectStorage): void {
  for (const table of [
    "documents",
    ...["groups", "members", "runs", "strays", "stray_ends"].map((name) => `${name}_3`),
    "changed",
  ]) {
    sql.exec(`DROP TABLE ${table}`);
  }
}

/** What is there, as the last version would have it: a group's ids in a row beside it, and tables under other names. */
function asLastVersion({ sql }: DurableObjectStorage): void {
  sql.exec(`
    CREATE TABLE live (
      seq INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL, due INTEGER NOT NULL, role INTEGER NOT NULL DEFAULT 0,
      doc TEXT NOT NULL);
    CREATE TABLE members (
      seq INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL, count INTEGER NOT NULL, at INTEGER,
      records BLOB NOT NULL);
    INSERT INTO live SELECT seq, id, lane, due, role, doc FROM groups_3 WHERE lane < 2;
    INSERT INTO members SELECT seq, low, high, count, at, records FROM groups_3 WHERE low IS NOT NULL
      UNION ALL SELECT seq, low, high, count, at, records FROM members_3;
    DROP TABLE groups_3;
    DROP TABLE members_3;
    ALTER TABLE runs_3 RENAME TO runs;
    ALTER TABLE strays_3 RENAME TO strays;
    ALTER TABLE stray_ends_3 RENAME TO stray_ends;
    CREATE INDEX live_idle ON live (lane, due, id) WHERE role <> 1;
    CREATE INDEX live_idle_id ON live (id) WHERE role <> 1;
    CREATE INDEX live_notified ON live (due) WHERE role = 2;
    DELETE FROM documents WHERE name = 'head.2';
    UPDATE documents SET name = 'head.2' WHERE name = 'head.3';
  `);
}

const someGroups = { ...defaultSettings, caps: { ...defaultSettings.caps, payloadsMax: 12 } };
const merging = { groupsMin: 3, afterMs: 0, groupsMax: 3, idsMax: 1 };
const small: StoreBounds = { hotIdsMax: 8, filterBytesMax: 64, merging, liveCharsMax: 2000 };

function countOf({ sql }: DurableObjectStorage, table: "groups" | "runs" | "strays"): number {
  return sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}_3`).one().n;
}

function needed(head: NonNullable<LedgerStorage["head"]>) {
  return { ...withoutGroups(head, 0), lastStoredInsertAt: 0 };
}

function tokenAt(n: number): GroupId {
  return n.toString(16).padStart(32, "0") as GroupId;
}
