/**
 * One page of the listing: which of its payloads have not ended, and a ring for those that nobody holds. It only ever
 * rings: a wrong ring costs a claim that finds the id known, and nothing else.
 *
 * Of a segment the listing shows the key alone, which says how many payloads it has and what their ids add up to. Where the
 * receipts say the same, all of them have ended; only where they do not is its index read.
 */

import type { BareDoorbell, Doorbell } from "../messages.ts";
import type { PayloadOutcome } from "../outcome.ts";
import {
  idOfKey,
  isInSegment,
  minuteOfKey,
  minuteToMs,
  type ObjectKey,
  onlyPayloadOf,
  type PayloadId,
  type PayloadKey,
  slotOf,
} from "../payload-key.ts";
import { contentOf } from "../segment/segment-key.ts";
import type { Budget } from "./budget.ts";
import { ask, type CronWork, type IndexedPayload, type KeyOutcome, type Listed } from "./effects.ts";
import { idsOf, missingKeys, receiptCounts } from "./join.ts";
import type { Run } from "./run-context.ts";

export interface JoinedPage {
  /** The first of the page's objects: as far as the budget came, and until enough of their payloads are in doubt. */
  readonly objects: readonly Listed[];
  /** Keys that have not ended, in order. */
  readonly pending: readonly PayloadKey[];
  /** How many of these the ledger holds: in flight, not notified. */
  readonly held: number;
  readonly notified: number;
  /** Keys without receipt that are so old that it may have expired: neither pending nor notified. */
  readonly expired: readonly PayloadKey[];
  /** Keys without receipt whose bytes were erased: there is nothing to notify about. */
  readonly erased: readonly PayloadKey[];
  /** Segments of which not every payload has a receipt, and whose index does not name all of them. */
  readonly damaged: readonly ObjectKey[];
}

/** Receipts of minutes before `receiptsFrom` (ms since the epoch) may have expired. */
export function* joinPage(
  page: readonly Listed[],
  receiptsFrom: number,
  { budget, settings }: Pick<Run, "budget" | "settings">,
): CronWork<JoinedPage> {
  const { objects, doubtful, indexed, damaged } = yield* withoutEnded(page, settings.pageKeys, budget);
  const all = yield* notEnded(doubtful);
  const erased = all.filter((key) => indexed.get(key)?.isErased === true);
  const missing = erased.length === 0 ? all : all.filter((key) => !erased.includes(key));
  const isExpired = (key: PayloadKey): boolean => minuteToMs(minuteOfKey(key)) < receiptsFrom;
  const expired = missing.filter(isExpired);
  const pending = missing.filter((key) => !isExpired(key));
  if (pending.length === 0) {
    return { objects, pending, held: 0, notified: 0, expired, erased, damaged };
  }
  const held = yield* ask("holds", pending);
  const free = pending.filter((_, index) => held[index] !== true);
  // A group may have finished between the two questions: the receipts are read once more before anything is notified.
  const lost = yield* notEnded(free);
  if (lost.length > 0) {
    yield* ask(
      "ring",
      lost.map((key) => doorbellOf(key, indexed.get(key))),
    );
  }
  const isLost = new Set(lost);
  return {
    objects,
    pending: pending.filter((key, index) => held[index] === true || isLost.has(key)),
    held: pending.length - free.length,
    notified: lost.length,
    expired,
    erased,
    damaged,
  };
}

function doorbellOf(key: PayloadKey, indexed: IndexedPayload | undefined): BareDoorbell | Doorbell {
  return { v: 1, key, cause: "reconcile", ...indexed?.counts };
}

interface Doubtful {
  readonly objects: readonly Listed[];
  /** In order: keys that may have no receipt, or one that does not count. */
  readonly doubtful: readonly PayloadKey[];
  /** Of those that stand in an index, what it says of them. */
  readonly indexed: ReadonlyMap<PayloadKey, IndexedPayload>;
  readonly damaged: readonly ObjectKey[];
}

/**
 * The payloads of these objects, without those of segments whose receipts are complete. `atMost`: so many are asked about together; one
 * segment more is begun.
 */
function* withoutEnded(page: readonly Listed[], atMost: number, budget: Budget): CronWork<Doubtful> {
  const segments = page.map(({ key }) => key).filter(isInSegment);
  const receipts = segments.length === 0 ? [] : yield* ask("segmentReceipts", segments);
  const receiptsOf = new Map(receipts.map((one) => [one.segment, one]));
  const doubtful: PayloadKey[] = [];
  const indexed = new Map<PayloadKey, IndexedPayload>();
  const damaged: ObjectKey[] = [];
  for (const [at, { key }] of page.entries()) {
    if (doubtful.length >= atMost) {
      return { objects: page.slice(0, at), doubtful, indexed, damaged };
    }
    if (!isInSegment(key)) {
      doubtful.push(onlyPayloadOf(key));
      continue;
    }
    const { payloads, checksum } = contentOf(key);
    const own = receiptsOf.get(key);
    if (own?.payloads === payloads && own.checksum === checksum) {
      doubtful.push(...own.duplicates);
      continue;
    }
    if (budget.isUsedUp) {
      return { objects: page.slice(0, at), doubtful, indexed, damaged };
    }
    const index = yield* ask("readIndex", key);
    if (index === null) {
      continue; // deleted since it was listed
    }
    for (const one of index) {
      doubtful.push(one.key);
      indexed.set(one.key, one);
    }
    if (index.length < payloads && (own === undefined || (yield* isAnyUnnamed(key, index)))) {
      damaged.push(key); // what has its receipt and no place in the index is not missed before it is to be deleted
    }
  }
  return { objects: page, doubtful, indexed, damaged };
}

/**
 * Has a payload neither a place in the index nor a receipt? The receipts are read at one moment: others of this segment may come
 * while it is looked at.
 */
function* isAnyUnnamed(segment: ObjectKey, index: readonly IndexedPayload[]): CronWork<boolean> {
  const receipts = yield* ask("receipts", [segment]);
  const known = new Set([...index, ...receipts].map(({ key }) => slotOf(key)));
  return known.size < contentOf(segment).payloads;
}

/** Keys without a receipt that counts, of ascending keys. */
function* notEnded(keys: readonly PayloadKey[]): CronWork<readonly PayloadKey[]> {
  if (keys.length === 0) {
    return [];
  }
  const outcomes = yield* ask("outcomes", keys);
  const doubtful = outcomes.filter(({ outcome }) => outcome === "duplicate");
  const worthless = yield* withoutOwner(doubtful);
  const ended = outcomes.filter(({ key }) => !worthless.has(key)).map(({ key }) => key);
  return missingKeys(keys, ended);
}

/** Of keys that are duplicates: those of which no other key is stored, dead or erased. */
function* withoutOwner(duplicates: readonly KeyOutcome[]): CronWork<ReadonlySet<PayloadKey>> {
  if (duplicates.length === 0) {
    return new Set();
  }
  const keys = duplicates.map(({ key }) => key);
  const receipts = yield* ask("receiptsOfIds", idsOf(keys));
  const outcomes = new Map<PayloadId, PayloadOutcome[]>();
  for (const { key, outcome } of receipts) {
    outcomes.set(idOfKey(key), [...(outcomes.get(idOfKey(key)) ?? []), outcome]);
  }
  return new Set(keys.filter((key) => !receiptCounts("duplicate", outcomes.get(idOfKey(key)) ?? [])));
}
