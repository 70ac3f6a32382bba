/**
 * Taking payloads' bytes out of a segment. Their bodies are overwritten by zeros, and the segment is put again if it is what was read;
 * its other payloads are as they were. Where nothing is left in it, it is deleted.
 *
 * An entry may be damaged, or lead to bytes that its id was not made of: then nobody knows where the payload's bytes are, and everything
 * goes that is not the body of another payload. What nobody could read before is lost with it, and the erasure ends.
 */
import { type Ask, askEffect, type Performer, type Work } from "../effect.ts";
import {
  formatSlotKey,
  idOfKey,
  type ObjectKey,
  type PayloadKey,
  slotOf,
  tenantOfKey,
} from "../payload-key.ts";
import {
  blankPayloads,
  type ErasedPayload,
  type IndexEntry,
  indexBytes,
  isAsWritten,
  type Range,
  readIndex,
} from "./segment.ts";
import { payloadsOf } from "./segment-key.ts";

export interface ErasureEffects {
  /** The segment as it is. Null: it is gone. */
  readonly get: {
    readonly asks: ObjectKey;
    readonly answers: { readonly bytes: Uint8Array; readonly etag: string } | null;
  };
  /** Is this the body that the entry's id was made of? */
  readonly isBody: {
    readonly asks: { readonly entry: IndexEntry; readonly body: Uint8Array };
    readonly answers: boolean;
  };
  /** Put it in the place of what has this etag. False: nothing has it any more. */
  readonly replace: {
    readonly asks: { readonly segment: ObjectKey; readonly bytes: Uint8Array; readonly etag: string };
    readonly answers: boolean;
  };
  readonly delete: { readonly asks: ObjectKey; readonly answers: null };
}

const ask: Ask<ErasureEffects> = askEffect;
type ErasureWork<T> = Work<ErasureEffects, T>;
export type ErasurePerformer = Performer<ErasureEffects>;

/** Nothing was erased: the erasure is to be repeated, or the object is none of ours. */
export class NotErased extends Error {
  override readonly name = "NotErased";
}

/** Another erasure of the same segment may write it between the read and the write: then it is read anew, so often. */
const triesMax = 2;

/** May be repeated. Throws where R2 does not do it, or the segment is of a version that this release does not read. */
export function* erasePayloads(segment: ObjectKey, keys: readonly PayloadKey[]): ErasureWork<void> {
  for (let tries = 1; ; tries++) {
    const object = yield* ask("get", segment);
    if (object === null) {
      return;
    }
    const { bytes, etag } = object;
    const blanked = yield* withoutPayloads(segment, bytes, keys);
    if (blanked === null) {
      yield* ask("delete", segment);
      return;
    }
    if (yield* ask("replace", { segment, bytes: blanked, etag })) {
      return;
    }
    if (tries >= triesMax) {
      throw new NotErased(`${segment} was written ${tries} times while it was to be rewritten`);
    }
  }
}

/** Null: none of its payloads has bytes any more. */
function* withoutPayloads(
  segment: ObjectKey,
  bytes: Uint8Array,
  keys: readonly PayloadKey[],
): ErasureWork<Uint8Array | null> {
  const payloads = payloadsOf(segment);
  const index = readIndex(bytes, payloads, bytes.length);
  if (index.kind === "unreadable" && isAsWritten(bytes)) {
    throw new NotErased(`no payload of ${segment} can be erased: ${index.reason}`);
  }
  const entries = index.kind === "index" ? index.entries : Array.from({ length: payloads }, () => null);
  // A key that names another payload than the one in its slot has no bytes here.
  const asked = keys.filter((key) => {
    const entry = entries[slotOf(key)] ?? null;
    return slotOf(key) < payloads && (entry === null || keyOf(segment, entry) === key);
  });
  const slots = new Set(asked.map(slotOf));
  if (entries.every((entry, slot) => slots.has(slot) || entry?.isErased === true)) {
    return null;
  }
  return blankPayloads(bytes, payloads, asked.map(erasedOf), yield* rangesOf(bytes, entries, slots));
}

/** Which bytes are to go, so that nothing is left of the payloads in these slots. */
function* rangesOf(
  bytes: Uint8Array,
  entries: readonly (IndexEntry | null)[],
  slots: ReadonlySet<number>,
): ErasureWork<readonly Range[]> {
  const own: Range[] = [];
  for (const slot of slots) {
    const entry = entries[slot] ?? null;
    if (entry?.isErased === true) {
      continue; // its bytes are gone already, and what its entry leads to may have been another's
    }
    if (entry === null || !(yield* isIts(bytes, entry))) {
      return yield* besideOthers(bytes, entries, slots);
    }
    own.push(rangeOf(entry));
  }
  return own;
}

/** All of the bodies' bytes but those of the payloads in other slots. */
function* besideOthers(
  bytes: Uint8Array,
  entries: readonly (IndexEntry | null)[],
  slots: ReadonlySet<number>,
): ErasureWork<readonly Range[]> {
  const others: Range[] = [];
  for (const [slot, entry] of entries.entries()) {
    if (entry !== null && !slots.has(slot) && (yield* isIts(bytes, entry))) {
      others.push(rangeOf(entry));
    }
  }
  const ranges: Range[] = [];
  let from = indexBytes(entries.length);
  for (const other of others.sort((a, b) => a.from - b.from)) {
    ranges.push({ from, to: Math.max(from, other.from) });
    from = Math.max(from, other.to);
  }
  return [...ranges, { from, to: bytes.length }];
}

function* isIts(bytes: Uint8Array, entry: IndexEntry): ErasureWork<boolean> {
  const { from, to } = rangeOf(entry);
  return yield* ask("isBody", { entry, body: bytes.subarray(from, to) });
}

function rangeOf({ offset, bytes }: IndexEntry): Range {
  return { from: offset, to: offset + bytes };
}

function keyOf(segment: ObjectKey, { slot, tenant, id }: IndexEntry): PayloadKey {
  return formatSlotKey(segment, slot, tenant, id);
}

function erasedOf(key: PayloadKey): ErasedPayload {
  return { slot: slotOf(key), id: idOfKey(key), tenant: tenantOfKey(key) };
}
