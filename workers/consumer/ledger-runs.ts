/**
 * Ids of groups that are over, many groups' together, in the ledger's SQLite: sorted, and cut into rows (`runs_3`). Which rows there
 * are is known in memory, with a filter for each of the newest. docs/storage.md describes the table.
 */
import { assert } from "../../shared/assert.ts";
import { type IdHash, makeFilter, mayHold } from "../../shared/ledger/id-filter.ts";
import { type EndedMembers, mergeMembers, placeOfId, runBytes } from "../../shared/ledger/id-records.ts";
import { IdRows } from "../../shared/ledger/id-rows.ts";
import { rowsOfRun } from "../../shared/ledger/id-spread.ts";
import type { PayloadId } from "../../shared/payload-key.ts";

/** An id that is looked for. */
export interface Wanted {
  readonly id: PayloadId;
  readonly bytes: Uint8Array;
  readonly place: number;
  readonly hash: IdHash;
}

export class LedgerRuns {
  readonly #sql: SqlStorage;
  readonly #filterBytesMax: number;
  #rows = new IdRows();
  /** By a row's number, of the newest ones. */
  #filters = new Map<number, Uint8Array>();
  #filterBytes = 0;

  constructor(sql: SqlStorage, filterBytesMax: number) {
    this.#sql = sql;
    this.#filterBytesMax = filterBytesMax;
  }

  /** As an instance finds it when it starts. */
  readAll(): void {
    this.#rows = new IdRows();
    this.#filters = new Map();
    this.#filterBytes = 0;
    const rows = this.#sql.exec<RunRow>("SELECT number, low, high, count, last FROM runs_3 ORDER BY number");
    for (const { number, low, high, count, last } of rows) {
      this.#rows.set({ number, low, high, count, last, generation: 0 });
    }
    this.#readFilters();
  }

  /** Of the newest rows, as many as there is room for; the oldest of them is the first to go. */
  #readFilters(): void {
    const newest: [number, Uint8Array][] = [];
    for (const { number, filter } of this.#sql.exec<{ number: number; filter: ArrayBuffer }>(
      "SELECT number, filter FROM runs_3 ORDER BY number DESC",
    )) {
      if (this.#filterBytes + filter.byteLength > this.#filterBytesMax) {
        break;
      }
      newest.push([number, new Uint8Array(filter)]);
      this.#filterBytes += filter.byteLength;
    }
    this.#filters = new Map(newest.reverse());
  }

  /** Which rows there are. */
  get rows(): IdRows {
    return this.#rows;
  }

  /**
   * The rows that may have one of these ids, which are in the order of their places, each with those that it may have. Rows of
   * generations from `hotFrom` on have none.
   */
  rowsFor(wanted: readonly Wanted[], hotFrom: number): Map<number, Wanted[]> {
    const places = wanted.map(({ place }) => place);
    const found = new Map<number, Wanted[]>();
    for (const number of this.#rows.around(places, hotFrom)) {
      const filter = this.#filters.get(number);
      const row = this.#rows.get(number);
      assert(row !== undefined, "a row that was found is there");
      const may: Wanted[] = [];
      for (let at = firstFrom(places, row.low); at < wanted.length; at++) {
        const one = wanted[at];
        if (one === undefined || one.place > row.high) {
          break;
        }
        if (filter === undefined || mayHold(filter, one.hash)) {
          may.push(one);
        }
      }
      if (may.length > 0) {
        found.set(number, may);
      }
    }
    return found;
  }

  /** The records of these rows, by their numbers. */
  *read(numbers: readonly number[]): Iterable<{ readonly number: number; readonly records: Uint8Array }> {
    if (numbers.length === 0) {
      return;
    }
    const rows = this.#sql.exec<{ number: number; records: ArrayBuffer }>(
      `SELECT runs.number AS number, runs.records AS records
       FROM json_each(?) AS asked JOIN runs_3 AS runs ON runs.number = asked.value ORDER BY runs.number`,
      JSON.stringify(numbers),
    );
    for (const { number, records } of rows) {
      yield { number, records: new Uint8Array(records) };
    }
  }

  /** The ids of groups that are over become one sequence, under this generation of hot ids. */
  add(groups: readonly EndedMembers[], generation: number): void {
    const last = groups.reduce((latest, { at }) => Math.max(latest, at), 0);
    for (const records of rowsOfRun(mergeMembers(groups))) {
      this.#write(records, last, generation);
    }
  }

  #write(records: Uint8Array, last: number, generation: number): void {
    const number = this.#rows.highest + 1;
    const low = placeOfId(records);
    const high = placeOfId(records, records.length - runBytes);
    const count = records.length / runBytes;
    const filter = makeFilter({ bytes: records, width: runBytes });
    this.#sql.exec(
      "INSERT INTO runs_3 (number, low, high, count, last, filter, records) VALUES (?, ?, ?, ?, ?, ?, ?)",
      number,
      low,
      high,
      count,
      last,
      filter,
      records,
    );
    this.#rows.set({ number, low, high, count, last, generation });
    this.#filters.set(number, filter);
    this.#filterBytes += filter.length;
    for (const [oldest, { length }] of this.#filters) {
      if (this.#filterBytes <= this.#filterBytesMax) {
        break;
      }
      this.#filters.delete(oldest);
      this.#filterBytes -= length;
    }
  }

  /** Deletes the rows of which this holds. */
  forget(isOver: (row: { readonly last: number; readonly high: number }) => boolean): void {
    const gone = this.#rows.takeOut(isOver);
    if (gone.length === 0) {
      return;
    }
    this.#sql.exec(
      "DELETE FROM runs_3 WHERE number IN (SELECT value FROM json_each(?))",
      JSON.stringify(gone.map(({ number }) => number)),
    );
    for (const { number } of gone) {
      this.#filterBytes -= this.#filters.get(number)?.length ?? 0;
      this.#filters.delete(number);
    }
  }
}

/** Of numbers in their order, where the first that is not below `least` is. */
function firstFrom(places: readonly number[], least: number): number {
  let from = 0;
  let to = places.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((places[middle] ?? 0) < least) {
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return from;
}

interface RunRow {
  readonly number: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
  readonly last: number;
  readonly [column: string]: SqlStorageValue;
}
