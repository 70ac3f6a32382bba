/**
 * A payload's id, its key, and the key of the R2 object that has its bytes. The id is content-addressed, so that an exporter's
 * retry of the same bytes is the same payload; keys are in order of minutes of arrival, so that the reconciler can list a minute.
 *
 * An object with one payload is named by it, and the two keys are the same: `p/{lane}/{signal}/{minute}/{tenant}/{id}`, for
 * example `p/0/t/2026-11-24T0741/acme/0123456789abcdefghijklmnop`. A segment is an object with many (segment-key.ts); the
 * key of each is the segment's, its place in it, its tenant and its id: `{segment}/{slot}/{tenant}/{id}`.
 */
import { assert } from "./assert.ts";

declare const brand: unique symbol;
/** 26 characters of lower-case base32hex: 16 bytes. */
export type PayloadId = string & { readonly [brand]: "PayloadId" };
export type PayloadKey = string & { readonly [brand]: "PayloadKey" };
/** Of an object in R2: of one payload, or of a segment. */
export type ObjectKey = string & { readonly [brand]: "ObjectKey" };

/** The encoding of the OTLP body: binary protobuf or JSON. */
export type BodyType = "pb" | "json";

export interface PayloadKeyParts {
  readonly lane: "0";
  readonly signal: "t";
  /** UTC minute of arrival, `YYYY-MM-DDTHHmm`. */
  readonly minute: string;
  readonly tenant: string;
  readonly id: PayloadId;
  /** The object that has its bytes, and its place among that object's payloads, from 0. */
  readonly object: ObjectKey;
  readonly slot: number;
}

export const payloadIdBytes = 16;
export const payloadIdCharacters = 26;
/** So many of an id of version 2 are its content minute. Behind them every id, of either version, is a hash. */
export const contentMinuteBytes = 3;

/** What decides an id's version; both in minutes since 2020 (id-time.ts). */
export interface IdTime {
  /** Of the body, and of nothing else: the newest time in it (`Inspection.contentMinute`). */
  readonly contentMinute: number;
  /** Of the deployment (`ID_TIME_FROM`): content of this time and later has ids of version 2. Infinity: none has. */
  readonly from: number;
}
/** The prefix of every payload; the notification rule is set on it. Dead letters and parked messages lie elsewhere. */
export const payloadPrefix = "p/0/t/";
/** Of dead letters' records: outside the payloads' prefix, and so outside the notification rule. */
export const deadLetterPrefix = "dead/";
export const tenantPattern = /^[a-z0-9-]{1,64}$/;
const idPattern = /^[0-9a-v]{25}[048cgkos]$/; // the last character holds 3 bits and two zeros
const minutePattern = /^\d{4}-\d{2}-\d{2}T\d{4}$/;
const minuteCharacters = 15;

// base32hex (RFC 4648 section 7) keeps byte order under string comparison; plain base32 does not.
export const base32hex = "0123456789abcdefghijklmnopqrstuv";
const digitZero = 0x30;
const digitNine = 0x39;
const letterA = 0x61;

/** 16 bytes to 26 characters. */
export function formatPayloadId(bytes: Uint8Array): PayloadId {
  assert(bytes.length === payloadIdBytes, "a payload id is 16 bytes");
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += base32hex.charAt((value >>> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  text += base32hex.charAt((value << (5 - bits)) & 31);
  return text as PayloadId;
}

/** 26 characters to 16 bytes. */
export function payloadIdToBytes(id: PayloadId): Uint8Array {
  const bytes = new Uint8Array(payloadIdBytes);
  writePayloadId(id, bytes, 0);
  return bytes;
}

/** The same into bytes that are there: the ledger does it several times per payload. */
export function writePayloadId(id: PayloadId, bytes: Uint8Array, at: number): void {
  assert(id.length === payloadIdCharacters, "a payload id is 26 characters");
  let to = at;
  for (let from = 0; from < 24; from += 8) {
    const high = bitsOf(id, from);
    const low = bitsOf(id, from + 4);
    bytes[to] = high >>> 12;
    bytes[to + 1] = high >>> 4;
    bytes[to + 2] = (high << 4) | (low >>> 16);
    bytes[to + 3] = low >>> 8;
    bytes[to + 4] = low;
    to += 5;
  }
  bytes[to] = (fiveBits(id, 24) << 3) | (fiveBits(id, 25) >>> 2);
}

/** Of four characters, 20 bits. */
function bitsOf(id: PayloadId, from: number): number {
  return (
    (fiveBits(id, from) << 15) |
    (fiveBits(id, from + 1) << 10) |
    (fiveBits(id, from + 2) << 5) |
    fiveBits(id, from + 3)
  );
}

function fiveBits(id: PayloadId, at: number): number {
  const code = id.charCodeAt(at);
  return code <= digitNine ? code - digitZero : code - letterA + 10;
}

const encoder = new TextEncoder();

/**
 * The payload id of a body (decision 0085). The hash is SHA-256(tenant 0 type 0 content-encoding 0 body as received).
 * Version 2: the content minute in 3 bytes, big-endian, then the hash's first 13. Version 1: the hash's first 16.
 * Under gzip the first member's MTIME (bytes 4-7) and OS (byte 9) count as 0: Python's exporter compresses anew at
 * each try, and its gzip writes the time (RFC 1952 section 2.3.1).
 */
export async function payloadId(
  tenant: string,
  type: BodyType,
  contentEncoding: string,
  body: Uint8Array,
  time: IdTime,
): Promise<PayloadId> {
  return idOfHash(await hashOfBody(tenant, type, contentEncoding, body), time);
}

/** What ids are made of: 32 bytes. */
export async function hashOfBody(
  tenant: string,
  type: BodyType,
  contentEncoding: string,
  body: Uint8Array,
): Promise<Uint8Array> {
  const head = `${tenant}\0${type}\0${contentEncoding}\0`; // ASCII: a byte a character
  const input = new Uint8Array(head.length + body.length);
  encoder.encodeInto(head, input);
  input.set(body, head.length);
  if (contentEncoding === "gzip" && body.length >= 10) {
    input.fill(0, head.length + 4, head.length + 8);
    input[head.length + 9] = 0;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", input));
}

/**
 * Is this the id of a body with this hash (`hashOfBody`)? It is asked of bytes that were read: what is beside the hash in an id of
 * version 2, the content minute, is not looked for in them.
 */
export function isIdOfHash(id: PayloadId, hash: Uint8Array): boolean {
  const bytes = payloadIdToBytes(id);
  const begins = (from: number): boolean => bytes.subarray(from).every((byte, i) => byte === hash[i]);
  return begins(contentMinuteBytes) || begins(0);
}

/**
 * The id of a body with this hash (16 bytes of it or more). The version is decided by the body's own time, and by nothing that
 * differs from one try to the next: equal bytes have one id at every time and in every instance that knows `from`.
 *
 * Example: 2026-11-24T07:41Z is minute 3627821, 0x375b2d: a body of that time has an id that begins with `6tdi`.
 */
export function idOfHash(hash: Uint8Array, { contentMinute, from }: IdTime): PayloadId {
  if (contentMinute < from) {
    return formatPayloadId(hash.subarray(0, payloadIdBytes));
  }
  const id = new Uint8Array(payloadIdBytes);
  new DataView(id.buffer).setUint32(0, contentMinute << 8);
  id.set(hash.subarray(0, payloadIdBytes - contentMinuteBytes), contentMinuteBytes);
  return formatPayloadId(id);
}

/** The UTC minute of a time in milliseconds since the epoch, in the form that keys have: `2026-11-24T0741`. */
export function formatMinute(timeMs: number): string {
  const hour = Math.floor(timeMs / 3_600_000);
  let text = hourTexts.get(hour);
  if (text === undefined) {
    text = new Date(timeMs).toISOString().slice(0, 13);
    if (hourTexts.size >= hourTextsMax) {
      hourTexts.clear();
    }
    hourTexts.set(hour, text);
  }
  const minute = Math.floor(timeMs / 60_000) - 60 * hour;
  return `${text}${minute < 10 ? "0" : ""}${minute}`;
}

/** The same few hours are written again and again: a twentieth of the time of a schedule of test/faults went into it. */
const hourTexts = new Map<number, string>();
const hourTextsMax = 1024;

/** The start of a key's minute, in milliseconds since the epoch. */
export function minuteToMs(minute: string): number {
  let time = minuteTimes.get(minute);
  if (time === undefined) {
    assert(minutePattern.test(minute), "a minute is YYYY-MM-DDTHHmm");
    time = Date.parse(`${minute.slice(0, 13)}:${minute.slice(13)}:00.000Z`);
    if (minuteTimes.size >= minuteTimesMax) {
      minuteTimes.clear();
    }
    minuteTimes.set(minute, time);
  }
  return time;
}

/** The keys of a page, and the pages of a run, are of few minutes. */
const minuteTimes = new Map<string, number>();
const minuteTimesMax = 4096;

export function formatPayloadKey(arrivalMs: number, tenant: string, id: PayloadId): PayloadKey {
  assert(tenantPattern.test(tenant), "a tenant is [a-z0-9-]{1,64}");
  assert(idPattern.test(id), "a payload id is 26 characters of base32hex");
  return `${payloadPrefix}${formatMinute(arrivalMs)}/${tenant}/${id}` as PayloadKey;
}

/** A segment's key has it where a payload's has its tenant: no tenant is named so. `2`: of the format. */
export const segmentMark = "_2";
/** After the mark: when it was opened, a random number, how many payloads it has, and the checksum of their ids (segment-key.ts). */
export const segmentNameLength = 35;
const segmentNamePattern = /^[0-9a-v]{35}$/;
const slotPattern = /^\d{3}$/;

/** The parts of a key, or undefined when the text is none of ours. */
export function parsePayloadKey(text: string): PayloadKeyParts | undefined {
  const parts = text.split("/");
  const minute = minuteOfParts(parts);
  if (minute === undefined) {
    return undefined;
  }
  if (parts.length === 6) {
    const [, , , , tenant, id] = parts;
    return isTenant(tenant) && isId(id)
      ? { lane: "0", signal: "t", minute, tenant, id, object: text as ObjectKey, slot: 0 }
      : undefined;
  }
  const [, , , , mark, name, slot, tenant, id] = parts;
  if (parts.length !== 9 || mark !== segmentMark || name === undefined || !segmentNamePattern.test(name)) {
    return undefined;
  }
  if (slot === undefined || !slotPattern.test(slot) || !isTenant(tenant) || !isId(id)) {
    return undefined;
  }
  const object = text.slice(0, payloadPrefix.length + segmentKeyRest) as ObjectKey;
  return { lane: "0", signal: "t", minute, tenant, id, object, slot: Number(slot) };
}

function minuteOfParts([p, lane, signal, minute]: readonly string[]): string | undefined {
  const isOurs = p === "p" && lane === "0" && signal === "t" && minute !== undefined;
  return isOurs && minutePattern.test(minute) ? minute : undefined;
}

function isTenant(text: string | undefined): text is string {
  return text !== undefined && tenantPattern.test(text);
}

function isId(text: string | undefined): text is PayloadId {
  return text !== undefined && idPattern.test(text);
}

/** Characters of a segment's key behind `payloadPrefix`: its minute, the mark and its name, which all are of one length. */
const segmentKeyRest = minuteCharacters + `/${segmentMark}/`.length + segmentNameLength;

export function isSegmentKey(text: string): text is ObjectKey {
  const parts = text.split("/");
  const [, , , , mark, name = ""] = parts;
  return (
    parts.length === 6 &&
    minuteOfParts(parts) !== undefined &&
    mark === segmentMark &&
    segmentNamePattern.test(name)
  );
}

/** Is it the key of an object that has payloads? */
export function isObjectKey(text: string): text is ObjectKey {
  return isSegmentKey(text) || parsePayloadKey(text)?.object === text;
}

/** The object that has a payload's bytes. */
export function objectOf(key: PayloadKey): ObjectKey {
  return (isInSegment(key) ? key.slice(0, payloadPrefix.length + segmentKeyRest) : key) as ObjectKey;
}

/** Has the object of this key, a payload's or an object's, payloads beside one another? */
export function isInSegment(key: PayloadKey | ObjectKey): boolean {
  return key.startsWith(segmentPart, payloadPrefix.length + minuteCharacters);
}

/** Behind the minute in a key of a segment. Every key is asked for it, so it is written once. */
const segmentPart = `/${segmentMark}/`;

/** The payload that an object which is no segment has. */
export function onlyPayloadOf(object: ObjectKey): PayloadKey {
  assert(!isInSegment(object), "a segment has many payloads");
  return object as string as PayloadKey;
}

/** The key of a segment's payload. `slot`: its place, from 0. */
export function formatSlotKey(segment: ObjectKey, slot: number, tenant: string, id: PayloadId): PayloadKey {
  assert(isSegmentKey(segment), "a place is one in a segment");
  assert(Number.isInteger(slot) && slot >= 0 && slot < 1000, "a slot has three digits");
  return `${segment}/${String(slot).padStart(3, "0")}/${tenant}/${id}` as PayloadKey;
}

/**
 * Where a dead payload's bytes are kept, where it came in a segment: an object of the same form with it alone. So the segment that
 * it came in can go with its other payloads.
 */
export function deadCopyOf(key: PayloadKey): string {
  return `${deadLetterPrefix}${key}.copy`;
}

/** How many gets find a payload, or an object: where a segment is gone, a payload of it may have a copy. */
export function getsOf(key: PayloadKey | ObjectKey): number {
  return isInSegment(key) && isPayloadKey(key) ? 2 : 1;
}

/** The place of a payload in its object, from 0. */
export function slotOf(key: PayloadKey): number {
  const at = payloadPrefix.length + segmentKeyRest + 1;
  return isInSegment(key) ? Number(key.slice(at, at + 3)) : 0;
}

export function isPayloadId(text: string): text is PayloadId {
  return idPattern.test(text);
}

export function isPayloadKey(text: string): text is PayloadKey {
  return parsePayloadKey(text) !== undefined;
}

/** The minute of arrival that a key says, `YYYY-MM-DDTHHmm`. */
export function minuteOfKey(key: PayloadKey | ObjectKey): string {
  return key.slice(payloadPrefix.length, payloadPrefix.length + minuteCharacters);
}

/** The key of the same tenant and id in another minute. */
export function keyOfMinute(key: PayloadKey, minute: string): PayloadKey {
  assert(minutePattern.test(minute), "a minute is YYYY-MM-DDTHHmm");
  return `${payloadPrefix}${minute}${key.slice(payloadPrefix.length + minute.length)}` as PayloadKey;
}

/** The payload id that a key ends with. */
export function idOfKey(key: PayloadKey): PayloadId {
  return key.slice(-payloadIdCharacters) as PayloadId;
}

/** The tenant that a key names: the part before its id. */
export function tenantOfKey(key: PayloadKey): string {
  const end = key.lastIndexOf("/");
  return key.slice(key.lastIndexOf("/", end - 1) + 1, end);
}
