/**
 * The bytes of what clients send, as far as a payload's id is made of them: real OTLP, which the product's own walk reads. A body
 * has spans of two hosts, and the clock of one of them is wrong by up to two days: which of its spans are accepted then depends on
 * when it arrives, and on the share of the traces that its key keeps.
 */
import { limits } from "../../../shared/limits.ts";
import { inspectTraces } from "../../../shared/otlp/inspect.ts";
import { everyTrace, sampleThreshold } from "../../../shared/otlp/sample-threshold.ts";
import { formatPayloadId, idOfHash, type PayloadId } from "../../../shared/payload-key.ts";
import { bytesField, fixed64Field, join } from "../../fixtures/protobuf.ts";

const MINUTE_MS = 60_000;
const year2020 = Date.UTC(2020, 0, 1);

/** How far the second host's clock is ahead, in minutes; of so many bodies one has each. */
const clocksMinutes = [0, 36 * 60, -48 * 60, 3, 48 * 60, -1, 20 * 60, -30 * 60];

export interface Body {
  readonly bytes: Uint8Array;
  /** What stands for its SHA-256. */
  readonly hash: Uint8Array;
  /** The newest time in it, in minutes since 2020. */
  readonly contentMinute: number;
}

/** The `n`-th body, made at `now` (ms since the epoch) by hosts whose clocks are ahead by at most `aheadMsMax`. */
export function makeBody(n: number, now: number, aheadMsMax = Number.POSITIVE_INFINITY): Body {
  const clock = Math.min((clocksMinutes[n % clocksMinutes.length] ?? 0) * MINUTE_MS, aheadMsMax);
  const newest = now + Math.max(clock, 0);
  const hash = new Uint8Array(32);
  new DataView(hash.buffer).setUint32(0, Math.imul(n + 1, 0x9e37_79b1));
  hash.fill(n, 4);
  return {
    // The first is left out by a key that keeps a half of the traces; the second is not.
    bytes: request([spanAt(0x00, now + clock), spanAt(0xff, now + Math.min(clock, 0) - 10 * MINUTE_MS)]),
    hash,
    contentMinute: Math.floor((clock < 0 ? now + clock : newest) / MINUTE_MS) - year2020 / MINUTE_MS,
  };
}

function request(spans: readonly Uint8Array[]): Uint8Array {
  return bytesField(
    1,
    bytesField(
      2,
      spans.map((span) => bytesField(2, span)),
    ),
  );
}

function spanAt(traceEnd: number, endMs: number): Uint8Array {
  const nanos = BigInt(endMs) * 1_000_000n;
  return join(
    bytesField(1, new Uint8Array(16).fill(1).fill(traceEnd, 9)),
    bytesField(2, new Uint8Array(8).fill(1)),
    fixed64Field(7, nanos - 1_000_000_000n),
    fixed64Field(8, nanos),
  );
}

/**
 * The one id that a body has: version 2 from the content minute `from` on, before it version 1. Written without the product's own
 * function, which `idGiven` calls.
 */
export function idOf({ hash, contentMinute }: Body, from: number): PayloadId {
  const time = [16, 8, 0].map((bits) => (contentMinute >>> bits) & 255);
  return formatPayloadId(
    contentMinute >= from ? Uint8Array.of(...time, ...hash.subarray(0, 13)) : hash.slice(0, 16),
  );
}

/** The id that an instance of the ingress gives at `arrival`. `from`: what it knows of ID_TIME_FROM. */
export function idGiven({ bytes, hash }: Body, arrival: number, isSampled: boolean, from: number): PayloadId {
  const { contentMinute } = inspectTraces(bytes, {
    startMinMs: arrival - limits.spanAgeMaxMs,
    startMaxMs: arrival + limits.spanFutureMaxMs,
    sampleThreshold: isSampled ? sampleThreshold(0.5) : everyTrace,
  });
  return idOfHash(hash, { contentMinute, from });
}

/** Minutes since 2020. */
export function minutesOf(timeMs: number): number {
  return Math.floor((timeMs - year2020) / MINUTE_MS);
}
