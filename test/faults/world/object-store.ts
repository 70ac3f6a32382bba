/** R2: create-only puts, listing in key order, deletion; and the two small objects that the ledger keeps there. */

import type { Doorbell } from "../../../shared/messages.ts";
import type { PayloadId, PayloadKey } from "../../../shared/payload-key.ts";
import type { DayRows } from "../../../shared/receipt.ts";
import type { Body } from "./bodies.ts";

/** What a client sends: equal contents are equal bytes, and one payload. */
export interface Content {
  readonly id: PayloadId;
  readonly body: Body;
  /** Ascending by day. */
  readonly rowsByDay: readonly DayRows[];
  readonly spans: number;
  /**
   * `refused`, `unlisted`: ClickHouse never takes its rows, and says so with a code that we list or not.
   * `undecodable`: the ingress took it, the transcoder does not. `slow`: its block takes longer than any lease. `large`:
   * ClickHouse's memory limit is too small for it, each time. `timeout`: a user's view needs longer for it than an INSERT
   * may take. `unreadable metadata`: what R2 says of it is not ours. `kills`: the isolate that decodes it is killed. `breaks an
   * invariant`: of ours, whenever it is decoded.
   */
  readonly flaw: Flaw;
}

export type Flaw =
  | "none"
  | "refused"
  | "unlisted"
  | "undecodable"
  | "slow"
  | "large"
  | "timeout"
  | "unreadable metadata"
  | "kills"
  | "breaks an invariant";

export interface StoredObject {
  readonly key: PayloadKey;
  readonly content: Content;
  readonly arrival: number;
  /** The request that put it kept fewer traces: its metadata says so, and its rows are fewer by one. */
  readonly isSampled: boolean;
}

/** The rows that the object comes to. */
export function rowsOfObject({ content, isSampled }: StoredObject): readonly DayRows[] {
  return isSampled ? sampledRows(content) : content.rowsByDay;
}

/** Of the last day, which has two rows or more or none is left out. */
export function sampledRows({ rowsByDay }: Content): readonly DayRows[] {
  const last = rowsByDay.at(-1);
  return last === undefined || last.rows < 2
    ? rowsByDay
    : [...rowsByDay.slice(0, -1), { day: last.day, rows: last.rows - 1 }];
}

export function doorbellOf(object: StoredObject, cause: Doorbell["cause"]): Doorbell {
  return { v: 1, key: object.key, cause, ...countsOf(object) };
}

/** What the ingress says of a payload. */
export function countsOf(object: StoredObject): Omit<Doorbell, "v" | "key" | "cause"> {
  const { content, arrival } = object;
  const spans = content.flaw === "unreadable metadata" ? 0 : spansOfObject(object);
  const [first] = rowsOfObject(object);
  const counts = { spans, outputBytes: spans * 100, arrival, inflatedBytes: spans * 50 };
  return spans === 0 || first === undefined ? counts : { ...counts, oldestDay: first.day };
}

export function spansOfObject(object: StoredObject): number {
  return rowsOfObject(object).reduce((sum, { rows }) => sum + rows, 0);
}

/** R2 did not answer, or said no. */
export class StoreFailed extends Error {}

export class ObjectStore {
  readonly #objects = new Map<PayloadKey, StoredObject>();
  #sorted: readonly StoredObject[] | null = null;
  epoch: number | null = null;
  counter: number | null = null;

  /** False: the key is taken. */
  create(object: StoredObject): boolean {
    if (this.#objects.has(object.key)) {
      return false;
    }
    this.#objects.set(object.key, object);
    this.#sorted = null;
    return true;
  }

  get(key: PayloadKey): StoredObject | null {
    return this.#objects.get(key) ?? null;
  }

  delete(key: PayloadKey): boolean {
    this.#sorted = null;
    return this.#objects.delete(key);
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Every payload, in the order of keys. */
  list(): readonly StoredObject[] {
    this.#sorted ??= [...this.#objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }
}
