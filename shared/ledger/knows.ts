/**
 * What rings late and by a bare key mostly brings nothing new: its payload has ended, or is in flight. The ledger can
 * say so by the key alone, and its object in R2 need not be looked at.
 */
import type { Cause } from "../messages.ts";
import { idOfKey, isPayloadKey, type ObjectKey, type PayloadKey } from "../payload-key.ts";
import type { GroupPayload } from "./group.ts";
import { tagOfKey } from "./key-tag.ts";
import type { LedgerView, PayloadPlace } from "./view.ts";

export interface BareBell {
  /** Of a payload, or of an object of which it is not known which payloads it has. */
  readonly key: PayloadKey | ObjectKey;
  readonly cause: Cause;
}
type PayloadBell = BareBell & { readonly key: PayloadKey };

/**
 * Would a claim of each of these change nothing? In the order asked. What it is not sure of it does not know: then the
 * object is looked at, and the claim decides.
 */
export function knows(view: LedgerView, bells: readonly BareBell[]): readonly boolean[] {
  const waiting = new Map(view.waiting.payloads.map((payload) => [idOfKey(payload.key), payload]));
  const places = view.places(bells.filter(isOfPayload).map(({ key }) => idOfKey(key)));
  return bells.map((bell) => {
    if (!isLate(bell) || !isOfPayload(bell)) {
      return false;
    }
    const id = idOfKey(bell.key);
    const waits = waiting.get(id);
    return waits === undefined ? isPlaced(view, places.get(id), bell) : hasKey(waits, bell);
  });
}

/** Which payloads a segment has is said by its index alone. */
function isOfPayload(bell: BareBell): bell is PayloadBell {
  return isPayloadKey(bell.key);
}

/** The ingress's own doorbells say that none was lost; audit and replay ask. */
function isLate({ cause }: BareBell): boolean {
  return cause === "event" || cause === "reconcile";
}

function isPlaced(view: LedgerView, place: PayloadPlace | undefined, bell: PayloadBell): boolean {
  switch (place?.at) {
    case "group": {
      const group = view.group(place.group);
      // A ledger that was restored verifies what it finds of the time before, and a claim is one way to find it.
      return (
        group !== undefined &&
        group.epoch === view.head?.epoch &&
        group.payloads.some((payload) => idOfKey(payload.key) === idOfKey(bell.key) && hasKey(payload, bell))
      );
    }
    case "done":
      // The reconciler rings because it misses the receipt: VERIFY looks.
      return bell.cause === "event" && tagOfKey(bell.key) === place.tag;
    default:
      return false;
  }
}

/** Under another key equal bytes arrived once more, and are owed a receipt of their own. */
function hasKey({ key, duplicateKeys }: GroupPayload, bell: PayloadBell): boolean {
  return key === bell.key || duplicateKeys.includes(bell.key);
}
