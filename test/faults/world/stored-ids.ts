/**
 * The ledger's own store in the model: the product's `LedgerStorage` over real SQLite, which gets every change, and is asked where ids are. Its
 * bounds are small, so that rows are merged, ids go cold and filters are given up within a schedule.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { hotSaltBytes } from "../../../shared/ledger/hot-ids.ts";
import type { Change, PayloadPlace } from "../../../shared/ledger/view.ts";
import type { PayloadId } from "../../../shared/payload-key.ts";
import { LedgerStorage, type StoreBounds } from "../../../workers/consumer/ledger-storage.ts";
import type { IdStore } from "../../ledger/ledger-state.ts";

const merging = { groupsMin: 2, afterMs: 0, groupsMax: 2, idsMax: 1 };
const bounds: StoreBounds = { hotIdsMax: 4, filterBytesMax: 48, merging, liveCharsMax: 4000 };

/** Databases of the schedule that runs: thousands of them would wait for the garbage collector. */
const open: DatabaseSync[] = [];

/** Node 24 has them, its types do not. */
type Copied = DatabaseSync & { serialize(): Uint8Array; deserialize(from: Uint8Array): void };

/** A schedule begins: those of the one before it are over. */
export function closeStores(): void {
  for (const database of open.splice(0)) {
    database.close();
  }
}

export class StoredIds implements IdStore {
  readonly #database = new DatabaseSync(":memory:") as Copied;
  readonly #over = storageOver(this.#database);
  #storage: LedgerStorage;
  #starts = 0;

  constructor(from: Uint8Array | null = null) {
    open.push(this.#database);
    if (from !== null) {
      this.#database.deserialize(from);
    }
    this.#storage = this.#start();
  }

  /** An instance, with a salt that no other one of this store has. */
  #start(): LedgerStorage {
    this.#starts++;
    return new LedgerStorage(this.#over, bounds, new Uint8Array(hotSaltBytes).fill(this.#starts));
  }

  apply(changes: readonly Change[]): void {
    this.#storage.apply(changes);
  }

  places(ids: readonly PayloadId[]): ReadonlyMap<PayloadId, PayloadPlace> {
    return this.#storage.places(ids);
  }

  trimTo(): number | undefined {
    return this.#storage.trimTo();
  }

  restart(): void {
    this.#storage = this.#start();
  }

  copy(): StoredIds {
    return new StoredIds(this.#database.serialize());
  }
}

/** As much of a Durable Object's storage as the ledger uses. */
function storageOver(database: DatabaseSync): DurableObjectStorage {
  const prepared = new Map<string, StatementSync>();
  const exec = (query: string, ...bindings: readonly SqlStorageValue[]): object => {
    if (bindings.length === 0 && /;\s*\S/.test(query)) {
      database.exec(query);
      return [];
    }
    const statement = prepared.get(query) ?? database.prepare(query);
    prepared.set(query, statement);
    return statement.all(...bindings.map(toSqlite)).map(fromSqlite);
  };
  const storage = {
    sql: { exec, databaseSize: 0 },
    transactionSync(work: () => unknown): unknown {
      database.exec("BEGIN");
      try {
        const result = work();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
  };
  return storage as unknown as DurableObjectStorage;
}

function toSqlite(value: SqlStorageValue): SQLInputValue {
  return value instanceof ArrayBuffer ? new Uint8Array(value) : value;
}

/** A Durable Object gives blobs as array buffers. */
function fromSqlite(row: Record<string, unknown>): Record<string, unknown> {
  for (const [name, value] of Object.entries(row)) {
    if (value instanceof Uint8Array) {
      row[name] = value.slice().buffer;
    }
  }
  return row;
}
