/**
 * From the accepted body to its answer: the payload is written into R2, create-only, and the queue is notified. From a put
 * that succeeded the payload is ours, whatever happens later.
 *
 * Equal bytes in one minute have one key, and the object that came first says what is stored of them: another request may
 * have counted other spans (its key keeps another share of the traces, or a span has become too old since). So a
 * duplicate never notifies with counts of its own.
 */
import { type Ask, askEffect, EffectFailed, type Performer, type Work } from "../effect.ts";
import type { BareDoorbell, Counts, Doorbell } from "../messages.ts";
import type { PayloadKey } from "../payload-key.ts";

export interface AcceptanceEffects {
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
  | { readonly kind: "created" }
  /** Equal bytes are there. `spans`: how many of theirs are stored; null: R2 did not say. */
  | { readonly kind: "duplicate"; readonly spans: number | null }
  /** Nothing is known to be stored: the client is to try again. */
  | { readonly kind: "unreachable" };

/**
 * `counts`: what this request counted. `isNotified`: whether this isolate has sent this key's doorbell a moment ago; asked when R2 has
 * answered, since the first of several equal requests may have sent it meanwhile.
 */
export function* acceptPayload(
  key: PayloadKey,
  counts: Counts,
  isNotified: () => boolean,
): AcceptanceWork<Acceptance> {
  const isCreated = yield* or("unknown", ask("putIfAbsent", key));
  if (isCreated === true) {
    yield* ask("notify", { v: 1, key, cause: "ingress", ...counts });
    return { kind: "created" };
  }
  // It is there, or the put threw: then it may have landed all the same (the answer was lost), or R2 refused a second
  // write to one key within a second (error 10058). What is there is ours.
  const found = yield* or("unread", ask("readCounts", key));
  if (found === null || (found === "unread" && isCreated === "unknown")) {
    return { kind: "unreachable" };
  }
  const read = found === "unread" || found === "damaged" ? null : found;
  if (!isNotified()) {
    yield* ask("notify", { v: 1, key, cause: "ingress", ...read });
  }
  return { kind: "duplicate", spans: read === null ? null : read.spans };
}

/** What the effect answers, or `otherwise` where it failed. */
function* or<T, const U>(otherwise: U, work: AcceptanceWork<T>): AcceptanceWork<T | U> {
  try {
    return yield* work;
  } catch (error) {
    if (error instanceof EffectFailed) {
      return otherwise;
    }
    throw error;
  }
}
