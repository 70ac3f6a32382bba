/**
 * Taking payloads' bytes out of a segment. Their bodies are overwritten by zeros, and the segment is put again if it is what was read;
 * its other payloads are as they were. Where nothing is left in it, it is deleted.
 *
 * An entry may be damaged, or lead to bytes that its id was not made of: then nobody knows where the payload's bytes are, and everything
 * goes that is not the body of another payload. What nobody could read before is lost with it, and the erasure ends.
 *
 * A segment that a later version wrote is left as it is: this one would not know what it overwrites.
 */
import { type Ask, askEffect, EffectFailed, type Performer, type Work } from "../effect.ts";
import { limits } from "../limits.ts";
import {
  formatSlotKey,
  idOfKey,
  type ObjectKey,
  objectOf,
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
  readonly wait: { readonly asks: { readonly ms: number }; readonly answers: null };
}

const ask: Ask<ErasureEffects> = askEffect;
type ErasureWork<T> = Work<ErasureEffects, T>;
export type ErasurePerformer = Performer<ErasureEffects>;

/** What was not erased: these keys, and why the first of them. Empty: nothing is left. */
export interface NotErased {
  readonly keys: readonly PayloadKey[];
  readonly reason: string;
}

/** A segment, and the keys in it that are asked for. */
type Asked = readonly [segment: ObjectKey, keys: readonly PayloadKey[]];

/**
 * Takes these payloads, all of them in segments, out of R2. May be repeated. A segment that cannot be rewritten (R2 does not do it, or a
 * later version wrote it) keeps none of the others.
 *
 * Others may write a segment between the read and the write. Each time one of them has been done, so as many as `segmentRewritesAgainMax`
 * and one more end in one attempt, one after the other: the segment is read anew each time, a second later, for R2 takes one write per
 * second of a key.
 */
export function* erasePayloads(keys: readonly PayloadKey[]): ErasureWork<NotErased> {
  const left: PayloadKey[] = [];
  let reason = "";
  let asked: readonly Asked[] = [...Map.groupBy(keys, objectOf)];
  for (let again = limits.segmentRewritesAgainMax; ; again -= asked.length) {
    const overtaken: Asked[] = [];
    for (const one of asked) {
      const end = yield* eraseIn(one);
      if (end.kind === "overtaken" && overtaken.length < again) {
        overtaken.push(one);
      } else if (end.kind !== "erased") {
        const [segment, own] = one;
        left.push(...own);
        reason ||= `${segment}: ${end.why}`;
      }
    }
    if (overtaken.length === 0) {
      return { keys: left, reason };
    }
    asked = overtaken;
    yield* ask("wait", { ms: limits.segmentRewriteGapMs });
  }
}

type End =
  | { readonly kind: "erased" }
  /** Another write came first, or R2 did not take this one: it is to be read anew. */
  | { readonly kind: "overtaken"; readonly why: string }
  | { readonly kind: "failed"; readonly why: string };

const erased: End = { kind: "erased" };

function* eraseIn([segment, keys]: Asked): ErasureWork<End> {
  let kind: "failed" | "overtaken" = "failed";
  try {
    const object = yield* ask("get", segment);
    if (object === null) {
      return erased;
    }
    const { bytes, etag } = object;
    const blanked = yield* withoutPayloads(segment, bytes, keys);
    if (typeof blanked === "string") {
      return { kind, why: blanked };
    }
    if (blanked === bytes) {
      return erased;
    }
    if (blanked === null) {
      yield* ask("delete", segment);
      return erased;
    }
    kind = "overtaken";
    const isDone = yield* ask("replace", { segment, bytes: blanked, etag });
    return isDone ? erased : { kind, why: "others wrote it each time that it was to be rewritten" };
  } catch (error) {
    if (error instanceof EffectFailed) {
      return { kind, why: error.message };
    }
    throw error;
  }
}

/**
 * Null: none of its payloads has bytes any more. The same bytes: it has none of these, as an attempt that did not come to its end may have
 * left it. A text: why it cannot be done.
 */
function* withoutPayloads(
  segment: ObjectKey,
  bytes: Uint8Array,
  keys: readonly PayloadKey[],
): ErasureWork<Uint8Array | string | null> {
  const payloads = payloadsOf(segment);
  const index = readIndex(bytes, payloads, bytes.length);
  if (index.kind === "unreadable" && isAsWritten(bytes)) {
    return index.reason;
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
  if ([...slots].every((slot) => entries[slot]?.isErased === true)) {
    return bytes;
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
