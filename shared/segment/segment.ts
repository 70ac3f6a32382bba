/**
 * A segment: one R2 object with 1 to 128 payloads, each as it was received. Little-endian:
 *
 *     0  "HRSG", version u8 = 2, 3 bytes 0, payloads u32, opened f64 (ms since the epoch), 8 bytes 0, CRC-32 of these
 *    32  an entry of 192 bytes for each payload
 *        the bodies, one behind the other
 *
 * An entry says of its payload what is to be known before its body is read, and has a checksum of its own: where one is damaged, the
 * others are not. A body needs none. Its id is a hash of it, and every reader of a body compares the two (`isBodyOf`): so whatever
 * an entry says, it leads to the bytes that its id was made of, or to none.
 *
 * How many payloads an object has is said by its key too (segment-key.ts), and the header is read for its version alone: where that is
 * damaged, the entries are read all the same.
 */
import { assert } from "../assert.ts";
import { type ContentEncoding, contentEncodings, type PayloadMetadata } from "../messages.ts";
import {
  type BodyType,
  formatPayloadId,
  hashOfBody,
  isIdOfHash,
  type PayloadId,
  payloadIdBytes,
  payloadIdToBytes,
  tenantPattern,
} from "../payload-key.ts";
import { crc32 } from "./crc32.ts";
import { segmentPayloadsMax } from "./segment-key.ts";

export const segmentVersion = 2;

export interface SegmentPayload {
  readonly id: PayloadId;
  readonly tenant: string;
  readonly metadata: PayloadMetadata;
}

export interface NewSegmentPayload extends SegmentPayload {
  readonly body: Uint8Array;
}

export interface IndexEntry extends SegmentPayload {
  /** Its place among the segment's payloads, from 0. */
  readonly slot: number;
  /** Where its body is in the object, in bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** Its body was overwritten with zeros. */
  readonly isErased: boolean;
}

/** The object is not a segment that this version reads. */
export interface UnreadableSegment {
  readonly kind: "unreadable";
  readonly reason: string;
}

export interface SegmentIndex {
  readonly kind: "index";
  /** By slot. Null: the entry is damaged. */
  readonly entries: readonly (IndexEntry | null)[];
}

const headerBytes = 32;
const entryBytes = 192;
const magic = Uint8Array.from("HRSG", (character) => character.charCodeAt(0));

/** Where the fields of an entry are. */
const at = {
  id: 0,
  signal: 16,
  type: 17,
  encoding: 18,
  flags: 19,
  spans: 20,
  rejectedSpans: 24,
  inflatedBytes: 28,
  outputBytes: 32,
  repairs: 36,
  repairedTexts: 40,
  oldestDay: 44,
  arrival: 48,
  startMinMs: 56,
  startMaxMs: 64,
  endMinMs: 72,
  sampleThreshold: 80,
  offset: 88,
  bytes: 92,
  tenantLength: 96,
  tenant: 97,
  checksum: entryBytes - 4,
} as const;

const signals = { traces: 1 } as const;
const types: readonly BodyType[] = ["pb", "json"];
const flags = { erased: 1, endMinMs: 2, oldestDay: 4, sampleThreshold: 8, repairs: 16 } as const;
const sampleThresholdBytes = 7;

/** So many of a segment's first bytes are its header and its entries. */
export function indexBytes(payloads: number): number {
  return headerBytes + payloads * entryBytes;
}

/** `openedAt`: ms since the epoch. */
export function writeSegment(openedAt: number, payloads: readonly NewSegmentPayload[]): Uint8Array {
  assert(payloads.length > 0 && payloads.length <= segmentPayloadsMax, "a segment has 1 to 128 payloads");
  const bodies = payloads.reduce((sum, { body }) => sum + body.length, 0);
  const segment = new Uint8Array(indexBytes(payloads.length) + bodies);
  const view = new DataView(segment.buffer);
  segment.set(magic);
  view.setUint8(4, segmentVersion);
  view.setUint32(8, payloads.length, true);
  view.setFloat64(12, openedAt, true);
  view.setUint32(headerBytes - 4, crc32(segment.subarray(0, headerBytes - 4)), true);
  let offset = indexBytes(payloads.length);
  for (const [slot, payload] of payloads.entries()) {
    writeEntry(entryOf(segment, slot), payload, offset, payload.body.length, 0);
    segment.set(payload.body, offset);
    offset += payload.body.length;
  }
  return segment;
}

function entryOf(segment: Uint8Array, slot: number): Uint8Array {
  return segment.subarray(indexBytes(slot), indexBytes(slot + 1));
}

function writeEntry(
  entry: Uint8Array,
  { id, tenant, metadata }: SegmentPayload,
  offset: number,
  bytes: number,
  erased: number,
): void {
  const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
  const { endMinMs, oldestDay, sampleThreshold, repairs } = metadata;
  assert(tenantPattern.test(tenant), "a tenant is [a-z0-9-]{1,64}");
  entry.set(payloadIdToBytes(id), at.id);
  entry[at.signal] = signals.traces;
  entry[at.type] = types.indexOf(metadata.type);
  entry[at.encoding] = contentEncodings.indexOf(metadata.encoding);
  entry[at.flags] =
    erased |
    (endMinMs === undefined ? 0 : flags.endMinMs) |
    (oldestDay === undefined ? 0 : flags.oldestDay) |
    (sampleThreshold === undefined ? 0 : flags.sampleThreshold) |
    (repairs === undefined ? 0 : flags.repairs);
  view.setUint32(at.spans, metadata.spans, true);
  view.setUint32(at.rejectedSpans, metadata.rejectedSpans, true);
  view.setUint32(at.inflatedBytes, metadata.inflatedBytes, true);
  view.setUint32(at.outputBytes, metadata.outputBytes, true);
  view.setUint32(at.repairs, repairs ?? 0, true);
  view.setUint32(at.repairedTexts, metadata.repairedTexts ?? 0, true);
  view.setUint32(at.oldestDay, oldestDay ?? 0, true);
  view.setFloat64(at.arrival, metadata.arrival, true);
  view.setFloat64(at.startMinMs, metadata.startMinMs, true);
  view.setFloat64(at.startMaxMs, metadata.startMaxMs, true);
  view.setFloat64(at.endMinMs, endMinMs ?? 0, true);
  for (let i = 0; i < sampleThresholdBytes && sampleThreshold !== undefined; i++) {
    entry[at.sampleThreshold + i] = Number.parseInt(sampleThreshold.slice(2 * i, 2 * i + 2), 16);
  }
  view.setUint32(at.offset, offset, true);
  view.setUint32(at.bytes, bytes, true);
  entry[at.tenantLength] = tenant.length;
  for (let i = 0; i < tenant.length; i++) {
    entry[at.tenant + i] = tenant.charCodeAt(i);
  }
  view.setUint32(at.checksum, crc32(entry.subarray(0, at.checksum)), true);
}

/**
 * What a segment has, by its first bytes. `head`: `indexBytes(payloads)` of them, or more. `payloads`: as its key says. `size`: of the
 * object, in bytes; an entry that leads outside of it is damaged. A header that is damaged hides no entry: these have their own
 * checksums.
 */
export function readIndex(
  head: Uint8Array,
  payloads: number,
  size: number,
): SegmentIndex | UnreadableSegment {
  const reason = whyUnreadable(head);
  if (reason !== null && isAsWritten(head)) {
    return { kind: "unreadable", reason };
  }
  const entries = Array.from({ length: payloads }, (_, slot) =>
    readEntry(entryOf(head, slot), slot, indexBytes(payloads), size),
  );
  return reason !== null && entries.every((entry) => entry === null)
    ? { kind: "unreadable", reason }
    : { kind: "index", entries };
}

/** Null: it is a segment of this version, as far as it says. */
function whyUnreadable(head: Uint8Array): string | null {
  if (magic.some((byte, i) => head[i] !== byte)) {
    return "it does not begin as a segment";
  }
  const version = head[magic.length];
  return version === segmentVersion
    ? null
    : `it is a segment of version ${version}, which this release does not read`;
}

/** Has the header its checksum? Then it means what it says: where it is unreadable all the same, another release wrote it. */
export function isAsWritten(head: Uint8Array): boolean {
  const sum = headerBytes - 4;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  return head.length >= headerBytes && view.getUint32(sum, true) === crc32(head.subarray(0, sum));
}

function readEntry(entry: Uint8Array, slot: number, first: number, size: number): IndexEntry | null {
  if (entry.length < entryBytes) {
    return null;
  }
  const view = new DataView(entry.buffer, entry.byteOffset, entryBytes);
  if (view.getUint32(at.checksum, true) !== crc32(entry.subarray(0, at.checksum))) {
    return null;
  }
  const offset = view.getUint32(at.offset, true);
  const bytes = view.getUint32(at.bytes, true);
  const type = types[entry[at.type] ?? types.length];
  const encoding = contentEncodings[entry[at.encoding] ?? contentEncodings.length];
  const tenant = String.fromCharCode(...entry.subarray(at.tenant, at.tenant + (entry[at.tenantLength] ?? 0)));
  if (offset < first || offset + bytes > size || type === undefined || encoding === undefined) {
    return null;
  }
  if (entry[at.signal] !== signals.traces || !tenantPattern.test(tenant)) {
    return null;
  }
  return {
    slot,
    id: formatPayloadId(entry.slice(at.id, at.id + payloadIdBytes)),
    tenant,
    metadata: readMetadata(entry, view, type, encoding),
    offset,
    bytes,
    isErased: hasFlag(entry, flags.erased),
  };
}

function hasFlag(entry: Uint8Array, flag: number): boolean {
  return ((entry[at.flags] ?? 0) & flag) !== 0;
}

function readMetadata(
  entry: Uint8Array,
  view: DataView,
  type: BodyType,
  encoding: ContentEncoding,
): PayloadMetadata {
  const threshold = entry.subarray(at.sampleThreshold, at.sampleThreshold + sampleThresholdBytes);
  return {
    version: "1",
    type,
    encoding,
    spans: view.getUint32(at.spans, true),
    rejectedSpans: view.getUint32(at.rejectedSpans, true),
    inflatedBytes: view.getUint32(at.inflatedBytes, true),
    outputBytes: view.getUint32(at.outputBytes, true),
    arrival: view.getFloat64(at.arrival, true),
    startMinMs: view.getFloat64(at.startMinMs, true),
    startMaxMs: view.getFloat64(at.startMaxMs, true),
    ...(hasFlag(entry, flags.endMinMs) ? { endMinMs: view.getFloat64(at.endMinMs, true) } : {}),
    ...(hasFlag(entry, flags.oldestDay) ? { oldestDay: view.getUint32(at.oldestDay, true) } : {}),
    ...(hasFlag(entry, flags.sampleThreshold)
      ? { sampleThreshold: [...threshold].map((byte) => byte.toString(16).padStart(2, "0")).join("") }
      : {}),
    ...(hasFlag(entry, flags.repairs)
      ? { repairs: view.getUint32(at.repairs, true), repairedTexts: view.getUint32(at.repairedTexts, true) }
      : {}),
  };
}

/** Are these the bytes that the entry's id was made of? */
export async function isBodyOf({ id, tenant, metadata }: SegmentPayload, body: Uint8Array): Promise<boolean> {
  return isIdOfHash(id, await hashOfBody(tenant, metadata.type, metadata.encoding, body));
}

/** A payload whose bytes are to go: what its key says. */
export type ErasedPayload = Pick<IndexEntry, "slot" | "id" | "tenant">;

/** Bytes of an object, from the first to the one behind the last. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * The same segment with these ranges overwritten by zeros, and the entries of these payloads saying that they were erased. An entry that
 * is damaged or another payload's is written anew. Nothing else is changed.
 */
export function blankPayloads(
  segment: Uint8Array,
  payloads: number,
  erased: readonly ErasedPayload[],
  ranges: readonly Range[],
): Uint8Array {
  const first = indexBytes(payloads);
  const blanked = new Uint8Array(Math.max(segment.length, first)); // what was cut off in its index has room for these entries again
  blanked.set(segment);
  for (const { from, to } of ranges) {
    assert(from >= first && to <= segment.length, "what is overwritten are bodies");
    blanked.fill(0, from, to);
  }
  for (const payload of erased) {
    const { slot, id, tenant } = payload;
    assert(slot < payloads, "a segment has an entry for each of its payloads");
    const before = readEntry(entryOf(segment, slot), slot, first, segment.length);
    const own = before?.id === id && before.tenant === tenant ? before : null;
    const { offset, bytes, metadata } = own ?? { offset: first, bytes: 0, metadata: nothingKnown };
    writeEntry(entryOf(blanked, slot).fill(0), { id, tenant, metadata }, offset, bytes, flags.erased);
  }
  return blanked;
}

const nothingKnown: PayloadMetadata = {
  version: "1",
  type: "pb",
  encoding: "identity",
  spans: 0,
  rejectedSpans: 0,
  inflatedBytes: 0,
  outputBytes: 0,
  arrival: 0,
  startMinMs: 0,
  startMaxMs: 0,
};
