/**
 * One run of the reconciler: the third ring, the seal, the second listing, the audit and the deletion, in this order
 * and each with its own budget, so that none starves the others. What a stage has come to is kept before the next
 * begins; a run that ends anywhere loses at most the stage that it was in, and every stage may be repeated.
 *
 * ClickHouse or R2 that cannot be asked throws out of the run: then nothing is rung, sealed or deleted on a guess.
 */
import { minuteOfKey, minuteToMs, payloadPrefix } from "../payload-key.ts";
import { audit } from "./audit.ts";
import { deletePayloads } from "./delete-payloads.ts";
import { resolveDoubts } from "./doubts.ts";
import { type Asking, ask, type MinuteRow } from "./effects.ts";
import { Listing } from "./listing.ts";
import { type MinuteBook, newBook, startOfMinute, watermarkOf } from "./minute-book.ts";
import type { ReconcileSettings } from "./settings.ts";
import { type Counts, type Run, ringYoung, walkAgain, walkFresh, walkOpen } from "./walk-minutes.ts";

export interface ReconcileAsked {
  /** ms since the epoch */
  readonly now: number;
  /** What the last run kept; null: there was none, or it was lost. */
  readonly book: MinuteBook | null;
  /** Rings young payloads too, and walks every open minute: a person asked, or the local pipeline starts. */
  readonly everything: boolean;
}

export interface ReconcileReport extends Readonly<Counts> {
  readonly deleted: number;
  /** Minutes that were walked and are not sealed. */
  readonly openMinutes: number;
  /** ms since the epoch: everything that arrived before is balanced. */
  readonly watermark: number;
  /** Another run took over: this one ended early. */
  readonly overtaken: boolean;
}

export function* reconcileRun(
  { now, book: kept, everything }: ReconcileAsked,
  settings: ReconcileSettings,
): Asking<ReconcileReport> {
  const counts: Counts = { listed: 0, held: 0, rung: 0, sealed: 0 };
  const run: Run = { now, settings, counts };
  const calls = settings.listCalls;
  const listing = (budget: number) => new Listing(budget, settings.pageKeys);
  // A book of before there were doubts has none.
  let book =
    kept === null
      ? yield* firstBook(now, listing(calls.fresh), settings)
      : { ...kept, doubts: kept.doubts ?? [] };
  let deleted = 0;
  const report = (overtaken: boolean): ReconcileReport => ({
    ...counts,
    deleted,
    openMinutes: book.open.length,
    watermark: watermarkOf(book),
    overtaken,
  });

  const fresh = yield* walkFresh(book, listing(calls.fresh), run);
  book = fresh.book;
  if (!(yield* keep(book, fresh.rows))) {
    return report(true);
  }
  const open = yield* walkOpen(book, listing(calls.open), run, everything);
  book = open.book;
  if (!(yield* keep(book, open.rows))) {
    return report(true);
  }
  if (everything) {
    yield* ringYoung(book.from, listing(calls.fresh), run);
  }
  const again = yield* walkAgain(book, listing(calls.again), run);
  book = again.book;
  if (!(yield* keep(book, again.rows))) {
    return report(true);
  }
  book = yield* audit(yield* resolveDoubts(book, run), run);
  if (!(yield* keep(book, []))) {
    return report(true);
  }
  const gone = yield* deletePayloads(book, listing(calls.delete), run);
  deleted = gone.deleted;
  book = { ...gone.book, ranAt: now };
  return report(!(yield* keep(book, gone.rows)));
}

/** Begins with the first payload that R2 holds, or with now where it holds none. */
function* firstBook(now: number, listing: Listing, settings: ReconcileSettings): Asking<MinuteBook> {
  const page = yield* listing.next(payloadPrefix);
  const first = page?.objects[0];
  const isEmpty = page?.more === false;
  // The budget ended before any payload was seen: the walk begins before all of them.
  const none = isEmpty ? now - settings.ageMs : 0;
  const oldest = first === undefined ? none : minuteToMs(minuteOfKey(first.key));
  return newBook(Math.min(oldest, startOfMinute(now - settings.ageMs)));
}

/** Writes the rows, then the book: a run that dies between writes the same rows again. False: it was overtaken. */
function* keep(book: MinuteBook, minutes: readonly MinuteRow[]): Asking<boolean> {
  if (minutes.length > 0) {
    const watermark = { watermark: watermarkOf(book), openMinutes: book.open.length };
    yield* ask({ do: "record", minutes, watermark });
  }
  return (yield* ask({ do: "save", book })).kept;
}
