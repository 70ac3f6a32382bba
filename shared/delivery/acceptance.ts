/**
 * From the accepted body to its answer: the payload is written into R2, create-only, and the queue is notified. From a put
 * that succeeded the payload is ours, whatever happens later.
 *
 * Where a collector gathers payloads, it is asked first: it answers when the segment that has this payload is in R2, and notifies the
 * queue itself. Whatever else it answers, or that it does not, changes nothing: the payload is put alone, as where there is no
 * collector. Should both be in R2 in the end, the ledger takes the second for what it is, a duplicate.
 *
 * Equal bytes in one minute have one key, and the object that came first says what is stored of them: another request may
 * have counted other spans (its key keeps another share of the traces, or a span has become too old since). So a
 * duplicate never notifies with counts of its own.
 */
import { type Ask, askEffect, orWhereFailed, type Performer, type Work } from "../effect.ts";
import type { BareDoorbell, Counts, Doorbell } from "../messages.ts";
import type { PayloadKey } from "../payload-key.ts";

/** What a collector has made of a payload. */
export type Collected =
  | {
      readonly kind: "stored";
      /** Where it is: in a segment that is in R2. */
      readonly key: PayloadKey;
      /** Equal bytes came a moment before: they are there, with so many spans. */
      readonly isDuplicate: boolean;
      readonly spans: number;
    }
  /** Nothing that anybody may rely on: the payload goes alone. */
  | { readonly kind: "alone" };

export interface AcceptanceEffects {
  /** Give the body to the collector, and wait until it is in R2. Failed: it may get there all the same. */
  readonly collect: { readonly asks: PayloadKey; readonly answers: Collected };
  /** Put the body under this key unless an object is there. True: it was created. */
  readonly putIfAbsent: { readonly asks: PayloadKey; readonly answers: boolean };
  /** What the object under this key says of itself. Null: there is none. `damaged`: its metadata is not ours. */
  readonly readCounts: { readonly asks: PayloadKey; readonly answers: Counts | "damaged" | null };
  /** Notify the queue. Nobody waits for it, and it never fails: the R2 event and the reconciler notify too. */
  readonly notify: { readonly asks: Doorbell | BareDoorbell; readonly answers: null };
}

const ask: Ask<AcceptanceEffects> = askEffect;
export type AcceptanceWork<T> = Work<AcceptanceEffects, T>;
export type AcceptancePerformer = Performer<AcceptanceEffects>;

export type Acceptance =
  | { readonly kind: "created"; readonly key: PayloadKey }
  /** Equal bytes are there. `spans`: how many of theirs are stored; null: R2 did not say. */
  | { readonly kind: "duplicate"; readonly key: PayloadKey; readonly spans: number | null }
  /** Nothing is known to be stored: the client is to try again. */
  | { readonly kind: "unreachable" };

/**
 * `counts`: what this request counted. `isNotified`: whether this isolate has sent this key's doorbell a moment ago; asked when R2 has
 * answered, since the first of several equal requests may have sent it meanwhile. `isCollected`: whether a collector is asked.
 */
export function* acceptPayload(
  key: PayloadKey,
  counts: Counts,
  isNotified: () => boolean,
  isCollected: boolean,
): AcceptanceWork<Acceptance> {
  const collected = isCollected ? yield* orWhereFailed(ask("collect", key), alone) : alone;
  if (collected.kind === "stored") {
    const { key: place, isDuplicate, spans } = collected;
    return isDuplicate ? { kind: "duplicate", key: place, spans } : { kind: "created", key: place };
  }
  const isCreated = yield* orWhereFailed(ask("putIfAbsent", key), "unknown");
  if (isCreated === true) {
    yield* ask("notify", { v: 1, key, cause: "ingress", ...counts });
    return { kind: "created", key };
  }
  // It is there, or the put threw: then it may have landed all the same (the answer was lost), or R2 refused a second
  // write to one key within a second (error 10058). What is there is ours.
  const found = yield* orWhereFailed(ask("readCounts", key), "unread");
  if (found === null || (found === "unread" && isCreated === "unknown")) {
    return { kind: "unreachable" };
  }
  const read = found === "unread" || found === "damaged" ? null : found;
  if (!isNotified()) {
    yield* ask("notify", { v: 1, key, cause: "ingress", ...read });
  }
  return { kind: "duplicate", key, spans: read === null ? null : read.spans };
}

const alone: Collected = { kind: "alone" };
