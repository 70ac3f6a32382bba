/**
 * What R2 has of payloads, whichever objects they are in. A payload with an object of its own has what is to be known of it in the
 * object's custom metadata; one in a segment has it in the segment's index, which is its first bytes.
 *
 * Every function throws where R2 cannot be reached.
 */
import * as v from "valibot";
import { type PayloadMetadata, payloadMetadataSchema } from "../messages.ts";
import {
  deadCopyOf,
  formatSlotKey,
  isInSegment,
  type ObjectKey,
  objectOf,
  onlyPayloadOf,
  type PayloadKey,
  slotOf,
} from "../payload-key.ts";
import { writeLog } from "../write-log.ts";
import { type IndexEntry, indexBytes, isBodyOf, readIndex, type SegmentIndex } from "./segment.ts";
import { payloadsOf } from "./segment-key.ts";

type Bucket = Pick<R2Bucket, "get" | "head">;

/** Of a payload whose bytes are there. `metadata` null: what is said of it is not ours, or damaged. */
export interface PayloadHead {
  readonly metadata: PayloadMetadata | null;
}

/** A payload of a segment, as its index has it. */
export interface SegmentPayloadHead extends IndexEntry {
  readonly key: PayloadKey;
}

/** The payloads of a segment, those whose entry is whole. Null: there is no such object. */
export async function readSegment(
  bucket: Bucket,
  segment: ObjectKey,
): Promise<readonly SegmentPayloadHead[] | null> {
  const index = await readSegmentIndex(bucket, segment);
  return index === null ? null : headsOf(segment, index);
}

function headsOf(segment: ObjectKey, { entries }: SegmentIndex): readonly SegmentPayloadHead[] {
  return entries.flatMap((entry) =>
    entry === null ? [] : [{ ...entry, key: formatSlotKey(segment, entry.slot, entry.tenant, entry.id) }],
  );
}

const nothing: SegmentIndex = { kind: "index", entries: [] };

/** What cannot be read is logged, and has no entries. */
async function readSegmentIndex(bucket: Bucket, segment: ObjectKey): Promise<SegmentIndex | null> {
  const payloads = payloadsOf(segment);
  const object = await bucket.get(segment, { range: { offset: 0, length: indexBytes(payloads) } });
  if (object === null) {
    return null;
  }
  const head = new Uint8Array(await object.arrayBuffer());
  return indexOrNothing(segment, readIndex(head, payloads, object.size));
}

function indexOrNothing(segment: ObjectKey, index: ReturnType<typeof readIndex>): SegmentIndex {
  if (index.kind === "unreadable") {
    writeLog("error", {
      message: "an object under a segment's key cannot be read",
      segment,
      reason: index.reason,
    });
    return nothing;
  }
  return index;
}

/** What is said of a payload whose bytes are there. Null: they are not. */
export async function headPayload(bucket: Bucket, key: PayloadKey): Promise<PayloadHead | null> {
  const object = objectOf(key);
  if (!isInSegment(key)) {
    const found = await bucket.head(object);
    return found === null ? null : { metadata: metadataOf(found) };
  }
  const index = (await readSegmentIndex(bucket, object)) ?? (await readCopyIndex(bucket, key));
  return index === null ? null : headIn(index, key);
}

/** Of a dead payload whose segment is gone: its copy, as if it were in its place. Null: there is none. */
async function readCopyIndex(bucket: Bucket, key: PayloadKey): Promise<SegmentIndex | null> {
  const object = await bucket.get(deadCopyOf(key), { range: { offset: 0, length: indexBytes(1) } });
  if (object === null) {
    return null;
  }
  const head = new Uint8Array(await object.arrayBuffer());
  return inPlaceOf(key, readIndex(head, 1, object.size));
}

/** The index of a copy, its only entry in the slot that the payload had. */
function inPlaceOf(key: PayloadKey, read: ReturnType<typeof readIndex>): SegmentIndex {
  const [entry = null] = indexOrNothing(objectOf(key), read).entries;
  const entries: (IndexEntry | null)[] = [];
  entries[slotOf(key)] = entry;
  return { kind: "index", entries };
}

/** Null: this segment has no such payload, or its bytes were erased. */
function headIn(
  index: SegmentIndex,
  key: PayloadKey,
): (PayloadHead & { readonly entry: IndexEntry | null }) | null {
  const slot = slotOf(key);
  const entry = index.entries[slot] ?? null;
  if (entry === null) {
    return { metadata: null, entry };
  }
  const isIts = formatSlotKey(objectOf(key), slot, entry.tenant, entry.id) === key;
  return isIts && !entry.isErased ? { metadata: entry.metadata, entry } : null;
}

/** One whose metadata is not ours: a copied bucket may have its names in lower case. */
function metadataOf(object: R2Object): PayloadMetadata | null {
  const metadata = v.safeParse(payloadMetadataSchema, object.customMetadata);
  if (!metadata.success) {
    const issues = v.flatten(metadata.issues);
    writeLog("error", { message: "a payload's metadata is not ours", payload: object.key, issues });
  }
  return metadata.success ? metadata.output : null;
}

export interface FetchedObject {
  /** What the object has of this payload. Null: nothing, or no more. */
  payload(key: PayloadKey): Promise<(PayloadHead & { readonly body: Uint8Array }) | null>;
}

/**
 * Fetches an object whole, for all of its payloads that are wanted. Where a segment is gone, those of its payloads that are dead have
 * a copy each.
 */
export async function fetchObject(
  object: ObjectKey,
  get: (key: string) => Promise<{ readonly object: R2Object; readonly bytes: Uint8Array } | null>,
): Promise<FetchedObject> {
  const fetched = await get(object);
  if (fetched === null) {
    return { payload: async (key) => (isInSegment(key) ? await fetchCopy(key, get) : null) };
  }
  const { bytes } = fetched;
  if (!isInSegment(object)) {
    const found = { metadata: metadataOf(fetched.object), body: bytes };
    return { payload: async (key) => (key === onlyPayloadOf(object) ? found : null) };
  }
  const index = indexOrNothing(object, readIndex(bytes, payloadsOf(object), bytes.length));
  return { payload: (key) => bodyIn(index, bytes, key) };
}

async function fetchCopy(key: PayloadKey, get: Parameters<typeof fetchObject>[1]) {
  const copy = await get(deadCopyOf(key));
  return copy === null
    ? null
    : await bodyIn(inPlaceOf(key, readIndex(copy.bytes, 1, copy.bytes.length)), copy.bytes, key);
}

async function bodyIn(index: SegmentIndex, bytes: Uint8Array, key: PayloadKey) {
  const head = headIn(index, key);
  if (head === null) {
    return null;
  }
  const { entry } = head;
  const body =
    entry === null ? bytes.subarray(0, 0) : bytes.subarray(entry.offset, entry.offset + entry.bytes);
  if (entry === null || !(await isBodyOf(entry, body))) {
    writeLog("error", { message: "a payload of a segment is damaged", payload: key });
    return { metadata: null, body };
  }
  return { metadata: head.metadata, body };
}
