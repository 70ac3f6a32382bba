/**
 * The bytes of what clients send, as far as a payload's id is made of them: real OTLP, which the product's own walk reads. A body
 * has spans of two hosts, and the clock of one of them is wrong by up to two days: which of its spans are accepted then depends on
 * when it arrives, and on the share of the traces that its key keeps.
 */
import { limits } from "../../../shared/limits.ts";
import { inspectTraces } from "../../../shared/otlp/inspect.ts";
import { everyTrace, sampleThreshold } from "../../../shared/otlp/sample-threshold.ts";
import { formatPayloadId, idOfHash, type PayloadId } from "../../../shared/payload-key.ts";
import { bytesField, fixed64Field } from "../../fixtures/protobuf.ts";

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
  const time = Math.floor(now);
  const hash = new Uint8Array(32);
  new DataView(hash.buffer).setUint32(0, Math.imul(n + 1, 0x9e37_79b1));
  hash.fill(n, 4);
  return {
    bytes: request(n, time + clock, time + Math.min(clock, 0) - 10 * MINUTE_MS),
    hash,
    contentMinute: minutesOf(time + clock),
  };
}

/** Two spans of which each has a start and an end; the times are written into a copy of it. */
const template = bytesField(
  1,
  bytesField(
    2,
    // The first is left out by a key that keeps a half of the traces; the second is not.
    [0x00, 0xff].map((traceEnd) =>
      bytesField(2, [
        bytesField(1, new Uint8Array(16).fill(1).fill(traceEnd, 9)),
        bytesField(2, new Uint8Array(8).fill(1)),
        fixed64Field(7, 0n),
        fixed64Field(8, 0n),
      ]),
    ),
  ),
);
/** The second span is the template's end, and as long as the first: its times are the last fields, its id is before them. */
const secondEndAt = template.length - 8;
const firstEndAt = secondEndAt - (template.length - 4) / 2;

function request(n: number, firstEndMs: number, secondEndMs: number): Uint8Array {
  const bytes = template.slice();
  const view = new DataView(bytes.buffer);
  view.setUint32(secondEndAt - 9 - 5, n + 1); // the end of its span's id: no two bodies are the same bytes
  for (const [at, ms] of [
    [firstEndAt, firstEndMs],
    [secondEndAt, secondEndMs],
  ] as const) {
    const nanos = BigInt(ms) * 1_000_000n;
    view.setBigUint64(at, nanos, true);
    view.setBigUint64(at - 9, nanos - 1_000_000_000n, true);
  }
  return bytes;
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
