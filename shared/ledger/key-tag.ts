/**
 * By which of its keys an id is remembered. One id has several keys where equal bytes arrived more than once, each in an object of
 * its own; the ledger need not know which they are, only whether a key is the one that it remembers.
 */
import { MINUTE_MS } from "../limits.ts";
import {
  formatPayloadKey,
  idOfKey,
  isInSegment,
  minuteOfKey,
  minuteToMs,
  objectOf,
  type PayloadKey,
  slotOf,
  tenantOfKey,
} from "../payload-key.ts";
import type { EndedPayload } from "./group.ts";

/** Above every minute, counted from the epoch, for thousands of years. */
const segmentTags = 2 ** 31;

/**
 * Of 32 bits. A key with an object of its own has its minute, counted from the epoch, for of such keys an id has one in each minute.
 * One in a segment has 31 bits of a hash of its segment and place. Two keys of one id that have one tag are taken for one: the
 * second gets no receipt from the ledger, and so is missed by the reconciler, which has VERIFY write it.
 */
export function tagOfKey(key: PayloadKey): number {
  if (!isInSegment(key)) {
    return minuteToMs(minuteOfKey(key)) / MINUTE_MS;
  }
  const object = objectOf(key);
  if (object !== lastHashed.object) {
    // A segment's name has 80 random bits.
    lastHashed = { object, hash: fnv1a(0x81_1c_9d_c5, object) };
  }
  return segmentTags + (fnv1a(lastHashed.hash, String(slotOf(key))) >>> 1);
}

/** The payloads of a segment mostly come one after the other. */
let lastHashed: { readonly object: string; readonly hash: number } = { object: "", hash: 0 };

function fnv1a(begun: number, text: string): number {
  let hash = begun;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01_00_01_93);
  }
  return hash;
}

/**
 * What `key` names ended as stored, and is remembered by its key with this tag. Where that key has an object of its own, the tag says
 * which it is, and it is named: an earlier version, to which a deployment may be rolled back, reads keys alone.
 */
export function storedUnder(key: PayloadKey, tag: number): EndedPayload {
  return tag < segmentTags
    ? { key: formatPayloadKey(tag * MINUTE_MS, tenantOfKey(key), idOfKey(key)), outcome: "stored" }
    : { key, outcome: "stored", tag };
}

/** By which key this payload is remembered when its group is over. */
export function tagOfEnded({ key, tag }: EndedPayload): number {
  return tag ?? tagOfKey(key);
}
