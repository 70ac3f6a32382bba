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
import {
  believed,
  bodyIn,
  headIn,
  headsOf,
  type PayloadBody,
  type PayloadHead,
  type SegmentPayloadHead,
} from "./segment-payloads.ts";

type Bucket = Pick<R2Bucket, "get" | "head">;

/** The payloads of a segment, those whose entry is whole. Null: there is no such object. */
export async function readSegment(
  bucket: Bucket,
  segment: ObjectKey,
): Promise<readonly SegmentPayloadHead[] | null> {
  const index = await readSegmentIndex(bucket, segment);
  return index === null ? null : headsOf(segment, index);
}

const nothing: SegmentIndex = { kind: "index", entries: [] };

/** What cannot be read is logged, and has no entries. */
async function readSegmentIndex(bucket: Bucket, segment: ObjectKey): Promise<SegmentIndex | null> {
  const payloads = payloadsOf(segment);
  const head = await firstBytes(bucket, segment, indexBytes(payloads));
  return head === null ? null : indexOrNothing(segment, readIndex(head.bytes, payloads, head.size));
}

/** Of an object, at most so many. `size`: of all of it. Null: there is none. */
async function firstBytes(
  bucket: Bucket,
  name: string,
  atMost: number,
): Promise<{ readonly bytes: Uint8Array; readonly size: number } | null> {
  let object: R2ObjectBody | null;
  try {
    object = await bucket.get(name, { range: { offset: 0, length: atMost } });
  } catch (error) {
    // R2 refuses every range of an object that has no bytes (error 10039): somebody may have cut it off.
    if ((await bucket.head(name))?.size !== 0) {
      throw error;
    }
    return { bytes: new Uint8Array(0), size: 0 };
  }
  return object === null ? null : { bytes: new Uint8Array(await object.arrayBuffer()), size: object.size };
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
  const head = await firstBytes(bucket, deadCopyOf(key), indexBytes(1));
  return head === null ? null : inPlaceOf(key, readIndex(head.bytes, 1, head.size));
}

/** The index of a copy, its only entry in the slot that the payload had. */
function inPlaceOf(key: PayloadKey, read: ReturnType<typeof readIndex>): SegmentIndex {
  const [entry = null] = indexOrNothing(objectOf(key), read).entries;
  const entries: (IndexEntry | null)[] = [];
  entries[slotOf(key)] = entry;
  return { kind: "index", entries };
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
  payload(key: PayloadKey): Promise<PayloadBody | null>;
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
  return { payload: (key) => readBody(index, bytes, key) };
}

async function fetchCopy(key: PayloadKey, get: Parameters<typeof fetchObject>[1]) {
  const copy = await get(deadCopyOf(key));
  return copy === null
    ? null
    : await readBody(inPlaceOf(key, readIndex(copy.bytes, 1, copy.bytes.length)), copy.bytes, key);
}

async function readBody(
  index: SegmentIndex,
  bytes: Uint8Array,
  key: PayloadKey,
): Promise<PayloadBody | null> {
  const place = bodyIn(index, bytes, key);
  if (place === null) {
    return null;
  }
  const read = believed(place, place.entry !== null && (await isBodyOf(place.entry, place.body)));
  if (read.metadata === null) {
    writeLog("error", { message: "a payload of a segment is damaged", payload: key });
  }
  return read;
}
