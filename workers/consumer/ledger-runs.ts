/**
 * Ids of groups that are over, many groups' together, in the ledger's SQLite: sorted, and cut into rows (`runs_3`). Which rows there
 * are is known in memory, with a filter for each of the newest. docs/storage.md describes the table.
 */
import { assert } from "../../shared/assert.ts";
import { IdHashes, makeFilter } from "../../shared/ledger/id-filter.ts";
import { type EndedMembers, mergeMembers, placeOfId, runBytes } from "../../shared/ledger/id-records.ts";
import { IdRows } from "../../shared/ledger/id-rows.ts";
import { rowsOfRun } from "../../shared/ledger/id-spread.ts";
import type { PayloadId } from "../../shared/payload-key.ts";
import { boundLists } from "./bound-lists.ts";

/** An id that is looked for. */
export interface Wanted {
  readonly id: PayloadId;
  readonly bytes: Uint8Array;
  readonly place: number;
}

export class LedgerRuns {
  readonly #sql: SqlStorage;
  readonly #filterBytesMax: number;
  #rows = new IdRows();
  /** Of the newest rows. */
  #filters: Filters;
  /** Of those that were looked for last among the others: what comes late comes from one outage. */
  #readFilters: Filters;

  constructor(sql: SqlStorage, filterBytesMax: number) {
    this.#sql = sql;
    this.#filterBytesMax = filterBytesMax;
    this.#filters = new Filters(filterBytesMax);
    this.#readFilters = new Filters(filterBytesMax);
  }

  /** As an instance finds it when it starts. */
  readAll(): void {
    this.#rows = new IdRows();
    this.#filters = new Filters(this.#filterBytesMax);
    this.#readFilters = new Filters(this.#filterBytesMax);
    const rows = this.#sql.exec<RunRow>("SELECT number, low, high, count, last FROM runs_3 ORDER BY number");
    for (const { number, low, high, count, last } of rows) {
      this.#rows.set({ number, low, high, count, last, generation: 0 });
    }
    this.#readNewest();
  }

  /** Of the newest rows, as many as there is room for; the oldest of them is the first to go. */
  #readNewest(): void {
    const newest: [number, Uint8Array][] = [];
    let bytes = 0;
    for (const { number, filter } of this.#sql.exec<{ number: number; filter: ArrayBuffer }>(
      "SELECT number, filter FROM runs_3 ORDER BY number DESC",
    )) {
      bytes += filter.byteLength;
      if (bytes > this.#filterBytesMax) {
        break;
      }
      newest.push([number, new Uint8Array(filter)]);
    }
    for (const [number, filter] of newest.reverse()) {
      this.#filters.keep(number, filter);
    }
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
    const places = Float64Array.from(wanted, ({ place }) => place);
    const hashes = new IdHashes(wanted.map(({ bytes }) => bytes));
    const held = new Uint32Array(wanted.length + 1);
    const found = new Map<number, Wanted[]>();
    const ask = (number: number, filter: Uint8Array, high: number, first: number): void => {
      let end = first;
      while (end < places.length && (places[end] ?? 0) <= high) {
        end++;
      }
      const count = hashes.heldBy(filter, first, end, held);
      if (count > 0) {
        const some = found.get(number) ?? [];
        found.set(number, some);
        for (const at of held.subarray(0, count)) {
          const one = wanted[at];
          assert(one !== undefined, "each place is of an id that is wanted");
          some.push(one);
        }
      }
    };
    const unread = new Map<number, readonly [high: number, first: number]>();
    this.#rows.around(places, hotFrom, (number, high, first) => {
      const filter = this.#filters.get(number) ?? this.#readFilters.get(number);
      if (filter === undefined) {
        unread.set(number, [high, first]);
      } else {
        ask(number, filter, high, first);
      }
    });
    const filters = this.#ofRows<{ number: number; filter: ArrayBuffer }>("filter", [...unread.keys()]);
    for (const { number, filter } of filters) {
      const read = new Uint8Array(filter);
      this.#readFilters.keep(number, read);
      const [high, first] = unread.get(number) ?? [];
      assert(high !== undefined && first !== undefined, "what is read was asked for");
      ask(number, read, high, first);
    }
    return found;
  }

  /** The records of these rows, by their numbers. */
  *read(numbers: readonly number[]): Iterable<{ readonly number: number; readonly records: Uint8Array }> {
    for (const { number, records } of this.#ofRows<{ number: number; records: ArrayBuffer }>(
      "records",
      [...numbers].sort((a, b) => a - b),
    )) {
      yield { number, records: new Uint8Array(records) };
    }
  }

  /** A column of these rows. */
  *#ofRows<Row extends Record<string, SqlStorageValue>>(
    column: "filter" | "records",
    numbers: readonly number[],
  ): Iterable<Row> {
    for (const list of boundLists(numbers)) {
      yield* this.#sql.exec<Row>(
        `SELECT runs.number AS number, runs.${column} AS ${column}
         FROM json_each(?) AS asked JOIN runs_3 AS runs ON runs.number = asked.value ORDER BY runs.number`,
        list,
      );
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
    this.#filters.keep(number, filter);
  }

  /** Deletes the rows of which this holds. */
  forget(isOver: (row: { readonly last: number; readonly high: number }) => boolean): void {
    const gone = this.#rows.takeOut(isOver).map(({ number }) => number);
    for (const list of boundLists(gone)) {
      this.#sql.exec("DELETE FROM runs_3 WHERE number IN (SELECT value FROM json_each(?))", list);
    }
    for (const number of gone) {
      this.#filters.delete(number);
      this.#readFilters.delete(number);
    }
  }
}

/** Filters by their row's number, as many as there is room for: the one that was kept first is the first to go. */
class Filters {
  readonly #bytesMax: number;
  readonly #kept = new Map<number, Uint8Array>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get(number: number): Uint8Array | undefined {
    return this.#kept.get(number);
  }

  keep(number: number, filter: Uint8Array): void {
    this.#kept.set(number, filter);
    this.#bytes += filter.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#bytesMax) {
        break;
      }
      this.delete(oldest);
    }
  }

  delete(number: number): void {
    this.#bytes -= this.#kept.get(number)?.length ?? 0;
    this.#kept.delete(number);
  }
}

interface RunRow {
  readonly number: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
  readonly last: number;
  readonly [column: string]: SqlStorageValue;
}
