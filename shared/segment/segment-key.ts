/**
 * The key of a segment says, beside when it was opened, how many payloads it has and the checksum of their ids: so a listing,
 * which has nothing but keys in pages of a thousand, is enough to see that each of them has its receipt.
 *
 * `{opened}{random}{payloads}{checksum}` in base32hex: milliseconds of its minute (4 characters), 80 random bits (16), how many
 * payloads (2), and the sum of 64 bits that `keyChecksum` makes of their ids (13).
 */
import { assert } from "../assert.ts";
import { keyChecksum } from "../key-checksum.ts";
import { MINUTE_MS } from "../limits.ts";
import {
  base32hex,
  formatMinute,
  idOfKey,
  isInSegment,
  type ObjectKey,
  onlyPayloadOf,
  type PayloadId,
  payloadPrefix,
  segmentMark,
} from "../payload-key.ts";

/** Payloads that a segment has at most. */
export const segmentPayloadsMax = 128;

const openedCharacters = 4;
const randomCharacters = 16;
const payloadsCharacters = 2;
const checksumCharacters = 13;

/** `openedAt`: ms since the epoch. `random`: 10 bytes. */
export function formatSegmentKey(openedAt: number, random: Uint8Array, ids: readonly PayloadId[]): ObjectKey {
  assert(random.length === 10, "a segment's name has 80 random bits");
  assert(ids.length > 0 && ids.length <= segmentPayloadsMax, "a segment has 1 to 128 payloads");
  let drawn = 0n;
  for (const byte of random) {
    drawn = (drawn << 8n) | BigInt(byte);
  }
  const name = [
    digits(BigInt(Math.floor(openedAt) % MINUTE_MS), openedCharacters),
    digits(drawn, randomCharacters),
    digits(BigInt(ids.length), payloadsCharacters),
    digits(keyChecksum(ids), checksumCharacters),
  ].join("");
  return `${payloadPrefix}${formatMinute(openedAt)}/${segmentMark}/${name}` as ObjectKey;
}

/** How many payloads an object has, as its key says. */
export function payloadsOf(object: ObjectKey): number {
  return isInSegment(object)
    ? Number(numberOf(object.slice(-checksumCharacters - payloadsCharacters, -checksumCharacters)))
    : 1;
}

/** The same, and the checksum of their ids. */
export function contentOf(object: ObjectKey): { readonly payloads: number; readonly checksum: bigint } {
  const checksum = isInSegment(object)
    ? BigInt.asUintN(64, numberOf(object.slice(-checksumCharacters)))
    : keyChecksum([idOfKey(onlyPayloadOf(object))]);
  return { payloads: payloadsOf(object), checksum };
}

/** Of several objects together. */
export function contentOfAll(objects: readonly ObjectKey[]): ReturnType<typeof contentOf> {
  const alone = objects.filter((object) => !isInSegment(object)).map(onlyPayloadOf);
  let payloads = alone.length;
  let checksum = keyChecksum(alone.map(idOfKey));
  for (const object of objects.filter(isInSegment)) {
    const content = contentOf(object);
    payloads += content.payloads;
    checksum += content.checksum;
  }
  return { payloads, checksum: BigInt.asUintN(64, checksum) };
}

function digits(value: bigint, characters: number): string {
  let text = "";
  for (let rest = value; text.length < characters; rest >>= 5n) {
    text = base32hex.charAt(Number(rest & 31n)) + text;
  }
  return text;
}

function numberOf(text: string): bigint {
  let value = 0n;
  for (const digit of text) {
    value = (value << 5n) | BigInt(base32hex.indexOf(digit));
  }
  return value;
}
