/**
 * Subrequests that the effects of the consumer's work take at most. The platform gives an invocation
 * `limits.subrequestsMax`; what one batch and one group can come to is added up there.
 */
import type { Asked } from "../effect.ts";
import { limits } from "../limits.ts";
import { getsOf, isInSegment, type PayloadKey } from "../payload-key.ts";
import type { DeliveryEffects } from "./effects.ts";

export function subrequestsOf(asked: Asked<DeliveryEffects>): number {
  switch (asked.name) {
    case "passOver":
    case "ackAll":
    case "ack":
    case "retry":
    case "leave":
      return 0;
    case "reportFindings":
      return 2; // the table of findings, and the webhook
    case "buildBlock":
      return Math.min(sumOfGets(asked.asks.payloads), limits.groupGetsMax);
    case "completeDoorbell":
    case "readObject":
      return getsOf(asked.asks.key);
    case "hasObject":
      return getsOf(asked.asks);
    case "clearRows":
    case "eraseTraceTimes":
    case "eraseRows":
      return limits.deletionSubrequests;
    case "writeDeadLetters": // of one in a segment its bytes are copied out of that
      return 3 * asked.asks.receipts.length + 1;
    case "eraseObjects":
      return erasureSubrequests(asked.asks.filter(isInSegment).length);
    default:
      return 1;
  }
}

function sumOfGets(payloads: readonly { readonly key: PayloadKey }[]): number {
  return payloads.reduce((sum, { key }) => sum + getsOf(key), 0);
}

/** A get and a put of each segment, and again where others wrote it; and one deletion. */
function erasureSubrequests(inSegments: number): number {
  return inSegments === 0 ? 1 : 2 * (inSegments + limits.segmentRewritesAgainMax) + 1;
}
