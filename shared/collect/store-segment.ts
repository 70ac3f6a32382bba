/**
 * A segment's way into R2: a create-only put, and where that is in doubt a look for the object by its name, which nobody else has.
 * What was not found is put once more under the same name: then the two are one object, whichever lands and however late.
 */
import { type Ask, askEffect, orWhereFailed, type Performer, type Work } from "../effect.ts";
import type { ObjectKey } from "../payload-key.ts";

export interface SegmentEffects {
  /** Put the segment under this key unless an object is there. True: it was created. */
  readonly putIfAbsent: { readonly asks: ObjectKey; readonly answers: boolean };
  /** How many bytes the object under this key has. Null: there is none. */
  readonly sizeOf: { readonly asks: ObjectKey; readonly answers: number | null };
}

const ask: Ask<SegmentEffects> = askEffect;
type SegmentWork<T> = Work<SegmentEffects, T>;
export type SegmentPerformer = Performer<SegmentEffects>;

const triesMax = 2;

/** True: it is stored. False: nothing is known to be; it may land yet. `bytes`: of the segment. */
export function* storeSegment(key: ObjectKey, bytes: number): SegmentWork<boolean> {
  for (let tries = 0; tries < triesMax; tries++) {
    const isCreated = yield* orWhereFailed(ask("putIfAbsent", key), false);
    if (isCreated) {
      return true;
    }
    // The put threw or hangs, and may have landed; or the one before it did meanwhile.
    if ((yield* orWhereFailed(ask("sizeOf", key), null)) === bytes) {
      return true;
    }
  }
  return false;
}
