/**
 * Which traces a key's sampling rate keeps. The rule is OpenTelemetry's consistent probability sampling (specification,
 * trace/tracestate-probability-sampling): the last 7 bytes of a trace id are its randomness R, a share p of traces is
 * kept by the rejection threshold T = (1 - p) * 2^56, and a trace is kept when R >= T. So every service and every
 * isolate decides alike, and who keeps a tenth keeps a part of what another keeps by half.
 *
 * An explicit randomness (`ot=rv:…` in the tracestate) is not read.
 */
import { assert } from "../assert.ts";

const bits = 56;
const digits = 14;

/** The threshold that leaves out no trace. */
export const everyTrace = "00000000000000";

/**
 * The threshold of a share from 0 (no trace) to 1 (every trace) as 14 hex digits: 0.5 is `80000000000000`. No trace at
 * all is the 15 digits of 2^56.
 */
export function sampleThreshold(share: number): string {
  assert(share >= 0 && share <= 1, "a share is from 0 to 1");
  // In integers: a double has 53 bits, and 1 - share would lose the smallest shares.
  const threshold = (1n << BigInt(bits)) - BigInt(Math.round(share * 2 ** bits));
  return threshold.toString(16).padStart(digits, "0");
}

/** A threshold's high 24 bits (25 for "no trace") and low 32 bits. */
export function thresholdParts(threshold: string): { readonly high: number; readonly low: number } {
  return {
    high: Number.parseInt(threshold.slice(0, -8), 16),
    low: Number.parseInt(threshold.slice(-8), 16),
  };
}
