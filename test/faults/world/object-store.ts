/**
 * R2: create-only puts, conditional writes, listing in key order, deletion; and the two small objects that the ledger keeps there. Of
 * segments it has the bytes, written and read by the product's own code.
 */

import type { Doorbell } from "../../../shared/messages.ts";
import {
  formatSlotKey,
  isIdOfHash,
  isInSegment,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
} from "../../../shared/payload-key.ts";
import type { DayRows } from "../../../shared/receipt.ts";
import { type NewSegmentPayload, readIndex, writeSegment } from "../../../shared/segment/segment.ts";
import { payloadsOf } from "../../../shared/segment/segment-key.ts";
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

/** A payload's place in an object. */
interface Slot {
  readonly payload: StoredObject;
  readonly isErased: boolean;
}

interface R2Object {
  /** Of a segment; a payload that has an object of its own is no part of what this world has as bytes. */
  readonly bytes: Uint8Array | null;
  /** Another one after each write. */
  readonly etag: number;
  readonly slots: ReadonlyMap<PayloadKey, Slot>;
}

/** A segment as it was read. */
export interface ReadSegment {
  readonly bytes: Uint8Array;
  readonly etag: number;
}

export class ObjectStore {
  readonly #objects = new Map<ObjectKey, R2Object>();
  /** Of dead payloads whose segment may be gone. */
  readonly #copies = new Map<PayloadKey, StoredObject>();
  #writes = 0;
  #sorted: readonly StoredObject[] | null = null;
  #sortedObjects: readonly ObjectKey[] | null = null;
  epoch: number | null = null;
  counter: number | null = null;
  /** Raised by whatever changes objects. */
  version = 0;
  /** The segments that were written or deleted since the checker looked. */
  readonly touched = new Set<ObjectKey>();

  /** Puts payloads with one object. False: its key is taken. */
  create(...payloads: readonly [StoredObject, ...StoredObject[]]): boolean {
    const object = objectOf(payloads[0].key);
    if (this.#objects.has(object)) {
      return false;
    }
    if (isInSegment(object)) {
      const bytes = writeSegment(payloads[0].arrival, payloads.map(newPayload));
      this.#write(object, bytes, payloads);
    } else {
      const slots = new Map(payloads.map((payload) => [payload.key, { payload, isErased: false }]));
      this.#objects.set(object, { bytes: null, etag: ++this.#writes, slots });
      this.#changed();
    }
    return true;
  }

  /** Its payloads are those that its bytes say, which are among these. */
  #write(object: ObjectKey, bytes: Uint8Array, among: readonly StoredObject[]): void {
    this.#objects.set(object, { bytes, etag: ++this.#writes, slots: slotsOf(object, bytes, among) });
    this.touched.add(object);
    this.#changed();
  }

  get(key: PayloadKey): StoredObject | null {
    const slot = this.#objects.get(objectOf(key))?.slots.get(key);
    const own = slot === undefined || slot.isErased ? undefined : slot.payload;
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

  dropCopy(key: PayloadKey): void {
    this.#copies.delete(key);
    this.version++;
  }

  /** Deletes the object. Returns the payloads whose bytes it had. */
  delete(object: ObjectKey): readonly PayloadKey[] {
    const slots = [...(this.#objects.get(object)?.slots.values() ?? [])];
    this.#objects.delete(object);
    if (isInSegment(object)) {
      this.touched.add(object);
    }
    this.#changed();
    return slots.filter(({ isErased }) => !isErased).map(({ payload }) => payload.key);
  }

  readSegment(object: ObjectKey): ReadSegment | null {
    const { bytes, etag } = this.#objects.get(object) ?? {};
    return bytes == null || etag === undefined ? null : { bytes, etag };
  }

  /** Writes a segment anew, if it is what `etag` says. False: it is not. */
  rewrite(object: ObjectKey, bytes: Uint8Array, etag: number): boolean {
    const before = this.#objects.get(object);
    if (before?.etag !== etag) {
      return false;
    }
    this.#write(
      object,
      bytes,
      [...before.slots.values()].map(({ payload }) => payload),
    );
    return true;
  }

  #changed(): void {
    this.version++;
    this.#sorted = null;
    this.#sortedObjects = null;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Every payload whose bytes are in an object, in the order of keys. */
  list(): readonly StoredObject[] {
    this.#sorted ??= [...this.#objects.values()]
      .flatMap(({ slots }) => [...slots.values()])
      .filter(({ isErased }) => !isErased)
      .map(({ payload }) => payload)
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }

  /** Every object, in the order of keys. */
  listObjects(): readonly ObjectKey[] {
    this.#sortedObjects ??= [...this.#objects.keys()].sort();
    return this.#sortedObjects;
  }

  /** The payloads of an object, with those that were erased. Null: there is no such object. */
  payloadsOf(object: ObjectKey): readonly Slot[] | null {
    const found = this.#objects.get(object);
    return found === undefined ? null : [...found.slots.values()];
  }
}

function newPayload({ content, arrival, isSampled }: StoredObject): NewSegmentPayload {
  const { id, body, spans } = content;
  return {
    id,
    tenant: "acme",
    body: body.bytes,
    metadata: {
      version: "1",
      type: "pb",
      encoding: "identity",
      spans,
      rejectedSpans: 0,
      inflatedBytes: body.bytes.length,
      outputBytes: spans * 100,
      arrival,
      startMinMs: 0,
      startMaxMs: arrival,
      ...(isSampled ? { sampleThreshold: "80000000000000" } : {}),
    },
  };
}

/**
 * What a segment's bytes say that it has, read as `fetchObject` (shared/segment/payload-objects.ts) reads them: a body that the id of
 * its entry was not made of is none. Which content a body is, its bytes say.
 */
function slotsOf(
  object: ObjectKey,
  bytes: Uint8Array,
  among: readonly StoredObject[],
): ReadonlyMap<PayloadKey, Slot> {
  const index = readIndex(bytes, payloadsOf(object), bytes.length);
  const slots = new Map<PayloadKey, Slot>();
  for (const entry of index.kind === "index" ? index.entries : []) {
    if (entry === null) {
      continue;
    }
    const { slot, tenant, id, offset, isErased, metadata } = entry;
    const key = formatSlotKey(object, slot, tenant, id);
    const body = bytes.subarray(offset, offset + entry.bytes);
    const own = among.find(({ content }) =>
      isErased ? content.id === id : isEqual(content.body.bytes, body),
    );
    if (own !== undefined && isIdOfHash(id, own.content.body.hash)) {
      const isSampled = metadata.sampleThreshold !== undefined;
      slots.set(key, {
        payload: { key, content: own.content, arrival: metadata.arrival, isSampled },
        isErased,
      });
    }
  }
  return slots;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
