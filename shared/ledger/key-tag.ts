/**
 * By which of its keys an id is remembered. One id has several keys where equal bytes arrived more than once, each in an object of
 * its own; the ledger need not know which they are, only whether a key is the one that it remembers.
 */
import { MINUTE_MS } from "../limits.ts";
import { minuteOfKey, minuteToMs, type PayloadKey } from "../payload-key.ts";
import type { EndedPayload } from "./group.ts";

/** Of 32 bits. Of the keys of one id, those of different minutes have different ones: the minute, counted from the epoch. */
export function tagOfKey(key: PayloadKey): number {
  return minuteToMs(minuteOfKey(key)) / MINUTE_MS;
}

/** By which key this payload is remembered when its group is over. */
export function tagOfEnded({ key, tag }: EndedPayload): number {
  return tag ?? tagOfKey(key);
}
