/**
 * What a segment's bytes have of a payload. Who reads a payload out of a segment believes no entry: what it leads to is that payload's
 * body only where the payload's id was made of it. So damage, whatever it is, costs the payloads that it struck, and shows nobody's bytes
 * as another's.
 */
import type { PayloadMetadata } from "../messages.ts";
import { formatSlotKey, type ObjectKey, objectOf, type PayloadKey, slotOf } from "../payload-key.ts";
import type { IndexEntry, SegmentIndex } from "./segment.ts";

/** Of a payload whose bytes are there. `metadata` null: what is said of it is not ours, or damaged. */
export interface PayloadHead {
  readonly metadata: PayloadMetadata | null;
}

/** A payload of a segment, as its index has it. */
export interface SegmentPayloadHead extends IndexEntry {
  readonly key: PayloadKey;
}

/** `metadata` null: its bytes are not to be believed. */
export interface PayloadBody extends PayloadHead {
  readonly body: Uint8Array;
}

/** Where an entry leads. Null: the entry is damaged, and leads nowhere. */
export interface BodyPlace {
  readonly entry: IndexEntry | null;
  readonly body: Uint8Array;
}

/** The payloads whose entry is whole. */
export function headsOf(segment: ObjectKey, { entries }: SegmentIndex): readonly SegmentPayloadHead[] {
  return entries.flatMap((entry) => (entry === null ? [] : [{ ...entry, key: keyOf(segment, entry) }]));
}

/** Null: this segment has no such payload, or its bytes were erased. */
export function headIn(index: SegmentIndex, key: PayloadKey): PayloadHead | null {
  const place = placeIn(index, key);
  return place === null ? null : { metadata: place.entry?.metadata ?? null };
}

/** Null as of `headIn`. `bytes`: the segment's. */
export function bodyIn(index: SegmentIndex, bytes: Uint8Array, key: PayloadKey): BodyPlace | null {
  const place = placeIn(index, key);
  if (place === null) {
    return null;
  }
  const { entry } = place;
  return {
    entry,
    body: entry === null ? bytes.subarray(0, 0) : bytes.subarray(entry.offset, entry.offset + entry.bytes),
  };
}

/** `isIts`: whether the entry's id was made of this body. */
export function believed({ entry, body }: BodyPlace, isIts: boolean): PayloadBody {
  return { metadata: entry !== null && isIts ? entry.metadata : null, body };
}

function placeIn(index: SegmentIndex, key: PayloadKey): { readonly entry: IndexEntry | null } | null {
  const entry = index.entries[slotOf(key)] ?? null;
  if (entry === null) {
    return { entry };
  }
  // A copy of a dead payload has it in its first slot, and stands for the slot that it had.
  const own = keyOf(objectOf(key), { ...entry, slot: slotOf(key) });
  return own === key && !entry.isErased ? { entry } : null;
}

function keyOf(segment: ObjectKey, { slot, tenant, id }: IndexEntry): PayloadKey {
  return formatSlotKey(segment, slot, tenant, id);
}
