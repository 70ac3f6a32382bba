/** R2: create-only puts, listing in key order, deletion; and the two small objects that the ledger keeps there. */

import type { Doorbell } from "../../../shared/messages.ts";
import { type ObjectKey, objectOf, type PayloadId, type PayloadKey } from "../../../shared/payload-key.ts";
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
  /** Of each object its payloads, by their keys; those of a segment whose bytes were erased too. */
  readonly #objects = new Map<ObjectKey, Map<PayloadKey, StoredObject>>();
  readonly #erased = new Set<PayloadKey>();
  /** Of dead payloads whose segment may be gone. */
  readonly #copies = new Map<PayloadKey, StoredObject>();
  #sorted: readonly StoredObject[] | null = null;
  #sortedObjects: readonly ObjectKey[] | null = null;
  epoch: number | null = null;
  counter: number | null = null;

  /** Puts payloads with one object. False: its key is taken. */
  create(...payloads: readonly [StoredObject, ...StoredObject[]]): boolean {
    const object = objectOf(payloads[0].key);
    if (this.#objects.has(object)) {
      return false;
    }
    this.#objects.set(object, new Map(payloads.map((payload) => [payload.key, payload])));
    for (const { key } of payloads) {
      this.#erased.delete(key); // its bytes came once more, under the same key
    }
    this.#changed();
    return true;
  }

  get(key: PayloadKey): StoredObject | null {
    const own = this.#erased.has(key) ? undefined : this.#objects.get(objectOf(key))?.get(key);
    return own ?? this.#copies.get(key) ?? null;
  }

  copy(key: PayloadKey): void {
    const payload = this.get(key);
    if (payload !== null) {
      this.#copies.set(key, payload);
    }
  }

  hasCopy(key: PayloadKey): boolean {
    return this.#copies.has(key);
  }

  /** Deletes the object. Returns the payloads whose bytes it had. */
  delete(object: ObjectKey): readonly PayloadKey[] {
    const keys = [...(this.#objects.get(object)?.keys() ?? [])].filter((key) => !this.#erased.has(key));
    this.#objects.delete(object);
    this.#changed();
    return keys;
  }

  /** Takes a payload's bytes away, and the object with the last of them. */
  erase(key: PayloadKey): void {
    const object = objectOf(key);
    this.#erased.add(key);
    this.#copies.delete(key);
    if ([...(this.#objects.get(object)?.keys() ?? [])].every((one) => this.#erased.has(one))) {
      this.#objects.delete(object);
    }
    this.#changed();
  }

  #changed(): void {
    this.#sorted = null;
    this.#sortedObjects = null;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Every payload whose bytes are in an object, in the order of keys. */
  list(): readonly StoredObject[] {
    this.#sorted ??= [...this.#objects.values()]
      .flatMap((payloads) => [...payloads.values()])
      .filter(({ key }) => !this.#erased.has(key))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }

  /** Every object, in the order of keys. */
  listObjects(): readonly ObjectKey[] {
    this.#sortedObjects ??= [...this.#objects.keys()].sort();
    return this.#sortedObjects;
  }

  /** The payloads of an object, with those that were erased. Null: there is no such object. */
  payloadsOf(
    object: ObjectKey,
  ): readonly { readonly payload: StoredObject; readonly isErased: boolean }[] | null {
    const payloads = this.#objects.get(object);
    return payloads === undefined
      ? null
      : [...payloads.values()].map((payload) => ({ payload, isErased: this.#erased.has(payload.key) }));
  }
}
