/**
 * What a person asked to be erased, kept in R2 until each key of it has its receipt. The ledger has it too, but one that is lost
 * between the rows and the receipts of an erasure forgets it: the receipts said `stored`, and the rows came back.
 *
 * An erasure is asked for by keys. One by a trace or a tenant is that of the keys that a query found.
 */
import { type Ask, askEffect, type Performer, type Work } from "../effect.ts";
import { toHex } from "../hex.ts";
import { DAY_MS, limits, MINUTE_MS } from "../limits.ts";
import type { Doorbell } from "../messages.ts";
import { isPayloadKey, minuteOfKey, minuteToMs, type PayloadKey } from "../payload-key.ts";
import type { KeyOutcome } from "../reconcile/effects.ts";

export interface AskedErasure {
  readonly keys: readonly PayloadKey[];
  readonly reason: string;
}

/** An object under `erasuresPrefix`. */
export interface ErasureRecord {
  readonly name: string;
  /** When it was last written, ms since the epoch. */
  readonly writtenAt: number;
}

export interface AskedErasureEffects {
  /** The oldest records, at most so many. */
  readonly listRecords: {
    readonly asks: { readonly atMost: number };
    readonly answers: readonly ErasureRecord[];
  };
  /** Null: it is gone. */
  readonly readRecord: { readonly asks: string; readonly answers: AskedErasure | null };
  readonly writeRecord: {
    readonly asks: { readonly name: string; readonly erasure: AskedErasure };
    readonly answers: null;
  };
  readonly deleteRecord: { readonly asks: string; readonly answers: null };
  /** A doorbell of what R2 has under this key. Null: it has nothing. */
  readonly completeDoorbell: { readonly asks: PayloadKey; readonly answers: Doorbell | null };
  /** Of these keys those that have a receipt, and their spans. */
  readonly readSpans: {
    readonly asks: readonly PayloadKey[];
    readonly answers: readonly { readonly key: PayloadKey; readonly spans: number }[];
  };
  /** Of these keys those of whose ids the table has rows. */
  readonly findRows: { readonly asks: readonly PayloadKey[]; readonly answers: readonly PayloadKey[] };
  readonly outcomes: { readonly asks: readonly PayloadKey[]; readonly answers: readonly KeyOutcome[] };
  readonly holds: { readonly asks: readonly PayloadKey[]; readonly answers: readonly boolean[] };
  /** The ledger erases the payloads under all of their keys, when they are no longer live. */
  readonly erase: {
    readonly asks: { readonly payloads: readonly Doorbell[]; readonly reason: string };
    readonly answers: null;
  };
  /** Log it: an erasure that is asked for again, or given up. */
  readonly report: {
    readonly asks: {
      readonly severity: "warn" | "error";
      readonly message: string;
      readonly keys: readonly PayloadKey[];
    };
    readonly answers: null;
  };
}

const ask: Ask<AskedErasureEffects> = askEffect;
type ErasureWork<T> = Work<AskedErasureEffects, T>;
export type AskedErasurePerformer = Performer<AskedErasureEffects>;

export const erasuresPrefix = "erasures/";
/** A look is a list and three subrequests for each of these: what the cron's tick has left (`widestInvocations`). */
const looksMax = 5;
/** Younger ones are on their way to the ledger. */
const leastAgeMs = 5 * MINUTE_MS;
const isoChars = "2026-11-24T07:41:00.000Z".length;
/** As long as a payload's object lives: afterwards nothing brings its rows back. */
const givenUpAfterMs = limits.payloadRetentionMs + DAY_MS;

export interface AskedKeys {
  readonly taken: readonly PayloadKey[];
  /** Neither R2 nor the receipts have them, nor has the table a row of theirs. */
  readonly missing: readonly string[];
}

/** A name of its own. `random`: 8 bytes. `now`: ms since the epoch. */
export function nameOfErasure(now: number, random: Uint8Array): string {
  return `${erasuresPrefix}${new Date(now).toISOString()}-${toHex(random)}`;
}

/** Remembers what is asked before the ledger is: from then on it is done, whatever the ledger forgets. */
export function* eraseAsked(name: string, keys: readonly string[], reason: string): ErasureWork<AskedKeys> {
  const erasure = { keys: keys.filter(isPayloadKey).sort(), reason };
  yield* ask("writeRecord", { name, erasure });
  return yield* askToErase(keys, reason);
}

/**
 * A payload whose object was deleted after its retention still has rows: what its receipt says of it is enough. Receipts are kept for
 * weeks and rows for as long as the table's TTL says: of one that has no receipt any more the rows are, under whatever key it is asked for.
 */
function* askToErase(keys: readonly string[], reason: string): ErasureWork<AskedKeys> {
  const payloads: Doorbell[] = [];
  const missing: string[] = [];
  for (const key of keys) {
    const payload = isPayloadKey(key) ? yield* ask("completeDoorbell", key) : null;
    if (payload === null) {
      missing.push(key);
    } else {
      payloads.push(payload);
    }
  }
  // Before ClickHouse is asked anything: what nobody has sent there yet is not sent any more, also while it does not answer.
  yield* handOver(payloads, reason);
  const gone = missing.filter(isPayloadKey).sort();
  const receipts = gone.length === 0 ? [] : yield* ask("readSpans", gone);
  const receipted = new Set(receipts.map(({ key }) => key));
  const unreceipted = gone.filter((key) => !receipted.has(key));
  const rows = unreceipted.length === 0 ? [] : yield* ask("findRows", unreceipted);
  // Usage is made of receipts, by the minute of their keys: what outlived its receipt was counted when it came, and is not counted anew.
  const uncounted = rows.map((key) => ({ key, spans: 0 }));
  const others = [...receipts, ...uncounted].map(({ key, spans }): Doorbell => {
    const arrival = minuteToMs(minuteOfKey(key));
    return { v: 1, key, cause: "replay", spans, outputBytes: 0, arrival };
  });
  yield* handOver(others, reason);
  const taken = [...payloads, ...others].map(({ key }) => key);
  const found = new Set<string>(taken);
  return { taken, missing: missing.filter((key) => !found.has(key)) };
}

function* handOver(payloads: readonly Doorbell[], reason: string): ErasureWork<void> {
  if (payloads.length > 0) {
    // The oldest first: a group is of few days, and each group more costs mutations.
    yield* ask("erase", { payloads: payloads.toSorted((a, b) => a.arrival - b.arrival), reason });
  }
}

/**
 * Looks at the oldest of what was asked: what has all its receipts is forgotten, and of the first that has not, and is in no group,
 * the ledger is asked again. True: it was, and this invocation has no subrequests for anything else.
 */
export function* resumeErasures(now: number): ErasureWork<boolean> {
  const records = yield* ask("listRecords", { atMost: looksMax });
  for (const { name, writtenAt } of records) {
    const erasure = writtenAt > now - leastAgeMs ? null : yield* ask("readRecord", name);
    if (erasure === null) {
      continue;
    }
    const { keys, reason } = erasure;
    // The ledger first: what it let go of by then has its receipt.
    const held = yield* ask("holds", keys);
    const erased = yield* erasedKeys(keys);
    const left = keys.filter((key) => !erased.has(key));
    // An earlier version wrote more of them into a record: the others are the next look's.
    const lost = keys.filter((key, i) => held[i] !== true && !erased.has(key)).slice(0, limits.keysAskedMax);
    if (lost.length === 0) {
      if (left.length === 0) {
        yield* ask("deleteRecord", name);
      }
      continue;
    }
    if (now - askedAt(name) > givenUpAfterMs) {
      const message = "an erasure did not end within days, and is not asked for again";
      yield* ask("report", { severity: "error", message, keys: lost });
      yield* ask("deleteRecord", name);
      continue;
    }
    const message = "an erasure that the ledger does not know is asked for again";
    yield* ask("report", { severity: "warn", message, keys: lost });
    const { missing } = yield* askToErase(lost, reason);
    const still = left.filter((key) => !missing.includes(key));
    yield* ask("writeRecord", { name, erasure: { keys: still, reason } });
    return true;
  }
  return false;
}

function askedAt(name: string): number {
  return Date.parse(name.slice(erasuresPrefix.length, erasuresPrefix.length + isoChars));
}

function* erasedKeys(keys: readonly PayloadKey[]): ErasureWork<ReadonlySet<PayloadKey>> {
  const outcomes = keys.length === 0 ? [] : yield* ask("outcomes", keys);
  return new Set(outcomes.filter(({ outcome }) => outcome === "erased").map(({ key }) => key));
}
