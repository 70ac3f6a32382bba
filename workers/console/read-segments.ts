/**
 * Which payloads without receipt the listed objects have. A segment's key says how many payloads it has and what their ids add up
 * to: where its receipts say the same, nobody reads it. Of the others the index names them, and one answer reads few indexes
 * (`limits.segmentIndexesRead`): each is a request to R2.
 */
import { keyChecksum } from "../../shared/key-checksum.ts";
import { limits } from "../../shared/limits.ts";
import {
  idOfKey,
  isInSegment,
  type ObjectKey,
  objectOf,
  onlyPayloadOf,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import { readSegment } from "../../shared/segment/payload-objects.ts";
import { contentOf, payloadsOf } from "../../shared/segment/segment-key.ts";

/** A Worker has as many connections at once. */
const readsAtOnce = 6;

/** What the receipts of one object add up to. */
export interface ObjectReceipts {
  readonly payloads: number;
  readonly checksum: bigint;
}

export interface NamedPayloads {
  /** As the indexes have them, whether or not they have a receipt; without those whose bytes were erased. */
  readonly keys: readonly PayloadKey[];
  readonly erased: readonly PayloadKey[];
  /** Segments of which an index was read, and names fewer payloads than there are: it is damaged. */
  readonly damaged: readonly ObjectKey[];
  /** The segments behind the last one that was read, in order. */
  readonly unread: readonly ObjectKey[];
}

/** Have all payloads of a segment the receipts that add up to this? */
export function isReceipted(segment: ObjectKey, receipts: ObjectReceipts | undefined): boolean {
  const { payloads, checksum } = contentOf(segment);
  return receipts?.payloads === payloads && receipts.checksum === checksum;
}

/** The first of these segments, until so many were read, or so many payloads are named. */
export async function readSegments(
  bucket: R2Bucket,
  segments: readonly ObjectKey[],
  payloadsMax: number,
): Promise<NamedPayloads> {
  const keys: PayloadKey[] = [];
  const erased: PayloadKey[] = [];
  const damaged: ObjectKey[] = [];
  const end = Math.min(segments.length, limits.segmentIndexesRead);
  let read = 0;
  while (read < end && keys.length < payloadsMax) {
    const some = segments.slice(read, Math.min(end, read + readsAtOnce));
    const indexes = await Promise.all(some.map((segment) => readSegment(bucket, segment)));
    for (const [n, segment] of some.entries()) {
      const index = indexes[n] ?? null; // null: deleted since it was listed
      for (const { key, isErased } of index ?? []) {
        (isErased ? erased : keys).push(key);
      }
      if (index !== null && index.length < payloadsOf(segment)) {
        damaged.push(segment);
      }
    }
    read += some.length;
  }
  return { keys, erased, damaged, unread: segments.slice(read) };
}

export interface Unreceipted {
  /** In order. */
  readonly keys: readonly PayloadKey[];
  /** Their bytes were erased: none of them is notified again. */
  readonly erased: readonly PayloadKey[];
  /** How many more there are that no index names: of segments that were not read, or are damaged. */
  readonly unnamed: number;
  /** Segments in doubt that were not read. */
  readonly unread: readonly ObjectKey[];
}

/** Payloads of these objects that have no receipt. `receipted`: keys of all receipts that the objects have. */
export async function readUnreceipted(
  bucket: R2Bucket,
  objects: readonly ObjectKey[],
  receipted: ReadonlySet<PayloadKey>,
  payloadsMax = Number.POSITIVE_INFINITY,
): Promise<Unreceipted> {
  const bySegment = Map.groupBy([...receipted].filter(isInSegment), objectOf);
  const doubtful = objects.filter((object) => {
    const keys = bySegment.get(object) ?? [];
    return (
      isInSegment(object) &&
      !isReceipted(object, { payloads: keys.length, checksum: keyChecksum(keys.map(idOfKey)) })
    );
  });
  const named = await readSegments(bucket, doubtful, payloadsMax);
  const isOpen = (key: PayloadKey): boolean => !receipted.has(key);
  const alone = objects.filter((object) => !isInSegment(object)).map(onlyPayloadOf);
  const ofIndexes = Map.groupBy([...named.keys, ...named.erased], objectOf);
  const unnamedIn = (segment: ObjectKey): number => {
    const known = new Set([...(bySegment.get(segment) ?? []), ...(ofIndexes.get(segment) ?? [])]);
    return Math.max(0, payloadsOf(segment) - known.size);
  };
  return {
    keys: [...alone, ...named.keys].filter(isOpen).sort(),
    erased: named.erased.filter(isOpen),
    unnamed: [...named.damaged, ...named.unread].reduce((sum, segment) => sum + unnamedIn(segment), 0),
    unread: named.unread,
  };
}
