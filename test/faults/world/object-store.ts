/**
 * R2: create-only puts, conditional writes, listing in key order, deletion; and the two small objects that the ledger keeps there. Of
 * segments it has the bytes, written, read and damaged; what of them is whose, the product's own code says.
 */

import { assert } from "../../../shared/assert.ts";
import type { AskedErasure } from "../../../shared/delivery/asked-erasures.ts";
import type { Doorbell } from "../../../shared/messages.ts";
import {
  isIdOfHash,
  isInSegment,
  type ObjectKey,
  objectOf,
  type PayloadId,
  type PayloadKey,
  slotOf,
} from "../../../shared/payload-key.ts";
import type { DayRows } from "../../../shared/receipt.ts";
import {
  type IndexEntry,
  type NewSegmentPayload,
  readIndex,
  type SegmentIndex,
  writeSegment,
} from "../../../shared/segment/segment.ts";
import { payloadsOf } from "../../../shared/segment/segment-key.ts";
import { believed, bodyIn, headIn, headsOf } from "../../../shared/segment/segment-payloads.ts";
import type { Body } from "./bodies.ts";

/** What a client sends: equal contents are equal bytes, and one payload. */
export interface Content {
  readonly id: PayloadId;
  readonly tenant: string;
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

/** Its bytes are there, and what is said of it is not to be believed. */
export type Damaged = "damaged";

/** R2 did not answer, or said no. */
export class StoreFailed extends Error {}

/** A payload's place in an object. */
interface Slot {
  readonly payload: StoredObject;
  readonly isErased: boolean;
}

interface R2Object {
  /** What was put with it. */
  readonly put: readonly StoredObject[];
  /** Of a segment; a payload that has an object of its own is no part of what this world has as bytes. */
  readonly bytes: Uint8Array | null;
  /** What these say; null: it is no segment that this release reads. */
  readonly index: SegmentIndex | null;
  /** Another one after each write. */
  readonly etag: string;
  /** Of its payloads those whose entry is whole. */
  readonly slots: readonly Slot[];
  /** What was fetched of it already. */
  readonly fetched: Map<PayloadKey, StoredObject | Damaged | null>;
}

/** A segment as it was read. */
export interface ReadSegment {
  readonly bytes: Uint8Array;
  readonly etag: string;
}

export class ObjectStore {
  readonly #objects = new Map<ObjectKey, R2Object>();
  /** Of dead payloads whose segment may be gone. */
  readonly #copies = new Map<PayloadKey, StoredObject>();
  #writes = 0;
  #sorted: readonly StoredObject[] | null = null;
  #sortedObjects: readonly ObjectKey[] | null = null;
  /** What a person asked to be erased, by name. */
  readonly erasures = new Map<string, { readonly erasure: AskedErasure; readonly writtenAt: number }>();
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
      this.#write(object, writeSegment(payloads[0].arrival, payloads.map(newPayload)), payloads);
    } else {
      const slots = payloads.map((payload) => ({ payload, isErased: false }));
      const etag = this.#nextEtag();
      this.#objects.set(object, { put: payloads, bytes: null, index: null, etag, slots, fetched: new Map() });
      this.#changed();
    }
    return true;
  }

  #nextEtag(): string {
    return String(++this.#writes);
  }

  #write(object: ObjectKey, bytes: Uint8Array, put: readonly StoredObject[], etag = this.#nextEtag()): void {
    const read = readIndex(bytes, payloadsOf(object), bytes.length);
    const index = read.kind === "index" ? read : null;
    const slots = index === null ? [] : slotsOf(object, index, put);
    this.#objects.set(object, { put, bytes, index, etag, slots, fetched: new Map() });
    this.touched.add(object);
    this.#changed();
  }

  /** What a fetch of this payload finds. */
  get(key: PayloadKey): StoredObject | Damaged | null {
    const object = this.#objects.get(objectOf(key));
    if (object === undefined) {
      return this.#copies.get(key) ?? null;
    }
    let found = object.fetched.get(key);
    if (found === undefined) {
      found = fetched(object, key);
      object.fetched.set(key, found);
    }
    return found;
  }

  /** The same, of which its entry alone is read. */
  head(key: PayloadKey): StoredObject | Damaged | null {
    const { index, put } = this.#objects.get(objectOf(key)) ?? {};
    if (index == null || put === undefined) {
      return this.get(key);
    }
    const head = headIn(index, key);
    return head === null ? null : head.metadata === null ? "damaged" : (put[slotOf(key)] ?? "damaged");
  }

  /** What a dead payload is replayed from. */
  copy(key: PayloadKey): void {
    const payload = this.get(key);
    if (payload !== null && payload !== "damaged") {
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
    const keys = (this.#objects.get(object)?.put ?? [])
      .map(({ key }) => key)
      .filter((key) => this.get(key) !== null);
    this.#objects.delete(object);
    if (isInSegment(object)) {
      this.touched.add(object);
    }
    this.#changed();
    return keys;
  }

  readSegment(object: ObjectKey): ReadSegment | null {
    const { bytes, etag } = this.#objects.get(object) ?? {};
    return bytes == null || etag === undefined ? null : { bytes, etag };
  }

  /** Writes a segment anew, if it is what `etag` says. False: it is not. */
  rewrite(object: ObjectKey, bytes: Uint8Array, etag: string): boolean {
    const before = this.#objects.get(object);
    if (before?.etag !== etag) {
      return false;
    }
    this.#write(object, bytes, before.put);
    return true;
  }

  /** Its bytes are others now, and nobody has written them. */
  damage(object: ObjectKey, bytes: Uint8Array): void {
    const before = this.#objects.get(object);
    assert(before !== undefined, "what is damaged is there");
    this.#write(object, bytes, before.put, before.etag);
  }

  #changed(): void {
    this.version++;
    this.#sorted = null;
    this.#sortedObjects = null;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Every payload that an object names and whose bytes are there, in the order of keys. */
  list(): readonly StoredObject[] {
    this.#sorted ??= [...this.#objects.values()]
      .flatMap(({ slots }) => slots)
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

  /** The payloads of an object whose entry is whole, with those that were erased. Null: there is no such object. */
  payloadsOf(object: ObjectKey): readonly Slot[] | null {
    return this.#objects.get(object)?.slots ?? null;
  }
}

function newPayload({ content, arrival, isSampled }: StoredObject): NewSegmentPayload {
  const { id, tenant, body, spans } = content;
  return {
    id,
    tenant,
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

/** The payloads that `readSegment` (shared/segment/payload-objects.ts) finds. */
function slotsOf(object: ObjectKey, index: SegmentIndex, put: readonly StoredObject[]): readonly Slot[] {
  return headsOf(object, index).flatMap(({ slot, isErased }) => {
    const payload = put[slot];
    return payload === undefined ? [] : [{ payload, isErased }];
  });
}

/**
 * What `fetchObject` (the same file) finds: the content whose bytes the product reads, and not the one that was put there. A body
 * has the hash of the content that it is; what is no content's has another one.
 */
function fetched({ put, bytes, index, slots }: R2Object, key: PayloadKey): StoredObject | Damaged | null {
  if (bytes === null) {
    return slots.find(({ payload }) => payload.key === key)?.payload ?? null;
  }
  if (index === null) {
    return "damaged";
  }
  const place = bodyIn(index, bytes, key);
  if (place === null) {
    return null;
  }
  const { metadata } = believed(place, isBody(place.entry, place.body, put));
  const found = put.find(({ content }) => isEqual(content.body.bytes, place.body));
  const content = found?.content ?? garbled;
  return metadata === null
    ? "damaged"
    : { key, content, arrival: metadata.arrival, isSampled: metadata.sampleThreshold !== undefined };
}

/** The twin of `isBodyOf` (shared/segment/segment.ts). */
export function isBody(entry: IndexEntry | null, body: Uint8Array, among: readonly StoredObject[]): boolean {
  const found = among.find(({ content }) => isEqual(content.body.bytes, body));
  return entry !== null && isIdOfHash(entry.id, (found?.content ?? garbled).body.hash);
}

/** Bytes that no client sent. */
const garbled: Content = {
  id: "" as PayloadId,
  tenant: "",
  body: { bytes: new Uint8Array(), hash: new Uint8Array(32), contentMinute: 0 },
  rowsByDay: [],
  spans: 0,
  flaw: "none",
};

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
