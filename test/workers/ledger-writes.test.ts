/** What the ledger's store writes, in rows as the platform bills them; and a deployment that is rolled back over its rows. */
import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { decideAndPersist, type Instance } from "../../shared/delivery/ledger-life.ts";
import { withoutGroups } from "../../shared/ledger/head-row.ts";
import { type LedgerEvent, step, tokensNeeded } from "../../shared/ledger/machine.ts";
import { defaultSettings } from "../../shared/ledger/settings.ts";
import type { GroupId } from "../../shared/receipt.ts";
import { LedgerStorage } from "../../workers/consumer/ledger-storage.ts";
import { LedgerState } from "../ledger/ledger-state.ts";
import { RandomHistory } from "../ledger/random-events.ts";
import { codecVersion, doorbell, emptyWorld, knownTable, startMs, storedReport } from "../ledger/world.ts";
import { OlderLedgerStorage } from "./older-ledger-storage.ts";
import { seen } from "./seen-ledger.ts";

beforeEach(async () => {
  await reset();
});

/** A ledger on this storage, whose rows are counted. */
class CountedLedger {
  readonly #storage: DurableObjectStorage;
  #store: LedgerStorage;
  #instance: Instance = { armedAt: null };
  #drawn = 0;
  now = startMs;
  rows = 0;
  alarms = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#store = new LedgerStorage(this.#counting());
    this.step({ kind: "born", facts: emptyWorld });
    const measure = { blocks: 0, windowBlocks: 100_000, windowMs: null, identity: knownTable };
    this.step({ kind: "table", table: { refusal: "", measure } });
  }

  /** The object is put away and comes back; its alarm is still armed. */
  restart(): void {
    this.#store = new LedgerStorage(this.#counting());
  }

  step(event: LedgerEvent) {
    const tokens = Array.from({ length: tokensNeeded(event) }, () => tokenAt(this.#drawn++));
    const moment = { now: this.now, tokens, databaseBytes: 0 };
    const decided = decideAndPersist(this.#store, this.#instance, event, moment, defaultSettings);
    this.alarms += decided.arm === null ? 0 : 1;
    return decided;
  }

  /** Claims so many payloads that were sent together, and stores and receipts them. */
  bringIn(first: number, count: number): void {
    const arrival = this.now - defaultSettings.caps.ageReadyMs;
    const doorbells = Array.from({ length: count }, (_, i) =>
      doorbell({ n: first + i, arrival, spans: 100 }),
    );
    const { task } = this.step({ kind: "claim", doorbells, codecVersion });
    expect(task?.payloads).toHaveLength(count);
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
  test.each([
    [1, 5],
    [2, 6],
    [20, 24],
    [100, 104],
  ])(
    "writes, of %i payloads, %i rows until it is over, and another for each and itself to forget it",
    async (count, rows) => {
      await runInDurableObject(env.LEDGER.getByName(`${count} payloads`), (_, { storage }) => {
        const ledger = new CountedLedger(storage);
        ledger.bringIn(0, count); // numbers of groups are reserved with the first one
        ledger.now += 1000;
        expect(ledger.counted(() => ledger.bringIn(1000, count))).toBe(rows);
        ledger.now += 1000;
        ledger.restart();
        expect(ledger.counted(() => ledger.bringIn(2000, count))).toBe(rows);
        expect(ledger.alarms).toBe(1);
        ledger.now += defaultSettings.memoryMs + 1;
        const headRow = 1;
        expect(ledger.counted(() => ledger.step({ kind: "minute" }))).toBe(3 * (count + 1) + headRow);
      });
    },
  );
});

describe("a deployment that is rolled back, and deployed once more", () => {
  test.each([1, 2, 3])(
    "goes on from the rows of the other version, whichever made the tables (seed %i)",
    async (seed) => {
      await runInDurableObject(env.LEDGER.getByName(`rolled back ${seed}`), (_, { storage }) => {
        dropTables(storage);
        const memory = new LedgerState();
        const history = new RandomHistory(seed);
        const ids: GroupId[] = [];
        let isOlder = seed % 2 === 0;
        const open = () => (isOlder ? new OlderLedgerStorage(storage) : new LedgerStorage(storage));
        let store: OlderLedgerStorage | LedgerStorage = open();
        for (let i = 0; i < 150; i++) {
          if (i % 30 === 29) {
            isOlder = !isOlder;
            store = open();
            const { head } = store;
            // It may know fewer INSERTs at once and an older INSERT: see shared/ledger/head-row.ts.
            expect(head && needed(head)).toEqual(memory.head && needed(memory.head));
            if (head !== null) {
              memory.apply([{ kind: "head", head }]);
            }
          }
          const event = history.next();
          const tokens = Array.from({ length: tokensNeeded(event) }, (_, n) => tokenAt(i * 100 + n));
          const moment = { now: history.now, tokens, databaseBytes: 0 };
          const done = step(store, event, moment, smallGroups);
          expect(step(memory, event, moment, smallGroups)).toEqual(done);
          store.apply(done.changes);
          memory.apply(done.changes);
          history.learn(done);
          for (const change of done.changes) {
            if (change.kind === "group" && change.isNew) {
              ids.push(change.group.id);
            }
          }
          expect(seen(store, ids.slice(-20), smallGroups), `after event ${i}: ${event.kind}`).toEqual(
            seen(memory, ids.slice(-20), smallGroups),
          );
        }
        expect(ids.length).toBeGreaterThan(10);
      });
    },
  );

  test("has no index but its own, and the earlier version none of ours in its way", async () => {
    await runInDurableObject(env.LEDGER.getByName("indexes"), (_, { storage }) => {
      const indexes = () =>
        [...storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'index'")]
          .map(({ name }) => name)
          .filter((name) => name.startsWith("groups") || name.startsWith("finished") || /groups/.test(name))
          .sort();
      dropTables(storage);
      new OlderLedgerStorage(storage);
      expect(indexes()).toEqual(["finished_at", "groups_due", "sqlite_autoindex_groups_1"]);
      new LedgerStorage(storage);
      expect(indexes()).toEqual(["groups_idle", "groups_idle_id", "groups_notified"]);
      new OlderLedgerStorage(storage);
      expect(indexes()).toContain("groups_due");
      new LedgerStorage(storage);
      expect(indexes()).toEqual(["groups_idle", "groups_idle_id", "groups_notified"]);
    });
  });
});

/** Those that the object itself has made. */
function dropTables({ sql }: DurableObjectStorage): void {
  for (const table of ["documents", "groups", "ids", "finished", "changed"]) {
    sql.exec(`DROP TABLE ${table}`);
  }
}

const smallGroups = { ...defaultSettings, caps: { ...defaultSettings.caps, payloadsMax: 4 } };

function needed(head: NonNullable<LedgerStorage["head"]>) {
  return { ...withoutGroups(head, 0), lastStoredInsertAt: 0 };
}

function tokenAt(n: number): GroupId {
  return n.toString(16).padStart(32, "0") as GroupId;
}
