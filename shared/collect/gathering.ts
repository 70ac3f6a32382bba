/**
 * What a collector has in hand: the segment that is open, those that are being put, and the ids that it has stored of late. It
 * decides in which segment a payload goes, and when a segment is closed. It knows no clock and does nothing: who runs it puts the
 * segments that `closed` returns, says how each ended, and asks again when `lookAt` says.
 *
 * A segment is closed when it is full or old enough; or, while no put is in flight, when waiting would bring nothing. So a sender that
 * waits for each of its answers never waits for anybody else.
 */
import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import type { ObjectKey, PayloadId } from "../payload-key.ts";
import { segmentPayloadsMax } from "../segment/segment-key.ts";
import { type Advice, type Caller, Demand } from "./advice.ts";
import { Crowd } from "./crowd.ts";

/** What is to be known of a payload, to find it a place. */
export interface Sized {
  readonly id: PayloadId;
  /** Of its body as received. */
  readonly bytes: number;
  readonly outputBytes: number;
  readonly spans: number;
}

/** A segment as it is gathered. */
export interface Gathered<P extends Sized> {
  /** ms since the epoch */
  readonly openedAt: number;
  /** By slot. */
  readonly payloads: readonly P[];
}

interface Open<P extends Sized> extends Gathered<P> {
  readonly payloads: P[];
  bytes: number;
  outputBytes: number;
  spans: number;
  lastAt: number;
}

/** Where a payload is. */
export type Place<P extends Sized> =
  /** In a segment that is not stored yet. */
  | { readonly kind: "in_hand"; readonly segment: Gathered<P>; readonly slot: number }
  | { readonly kind: "stored"; readonly segment: ObjectKey; readonly slot: number; readonly spans: number };

interface Stored {
  readonly segment: ObjectKey;
  readonly slot: number;
  readonly spans: number;
  /** ms since the epoch */
  readonly at: number;
}

/**
 * Nothing comes for so many times what lies between two payloads, usually or in this segment: then nothing is waited for. Senders that
 * were answered together send together again, and until the next answer none of them sends.
 */
const gapTimes = 3;

export class Gathering<P extends Sized> {
  readonly #collectMs: number;
  readonly #crowd: Crowd;
  readonly #demand: Demand;
  #open: Open<P> | null = null;
  /** Closed, and not yet returned. */
  readonly #closing: Open<P>[] = [];
  /** Closed, and how they end is not known. With when their puts began. */
  readonly #flying = new Map<Gathered<P>, number>();
  readonly #inHand = new Map<PayloadId, Extract<Place<P>, { readonly kind: "in_hand" }>>();
  /** In order of time. */
  readonly #stored = new Map<PayloadId, Stored>();

  /** `collectMs`: what a payload waits for others at most. `now`, here and below: ms since the epoch. */
  constructor(collectMs: number, now: number) {
    assert(collectMs >= 0 && collectMs <= limits.collectMsMax, "a payload waits for a second at most");
    this.#collectMs = collectMs;
    this.#crowd = new Crowd(now);
    this.#demand = new Demand(now);
  }

  /** Somebody calls with a payload of so many bytes, whether there is a place for it or not. */
  called(caller: Caller, bytes: number, now: number): void {
    this.#demand.called(caller, bytes, now);
  }

  /** What to tell this caller. */
  advice(caller: Caller, now: number): Advice {
    return this.#demand.advice(caller, this.#lingerMs(), now);
  }

  /** Where this id is, if it is in hand or was stored a moment ago. */
  find(id: PayloadId, now: number): Place<P> | undefined {
    this.#forget(now);
    const inHand = this.#inHand.get(id);
    const stored = this.#stored.get(id);
    return inHand ?? (stored === undefined ? undefined : { kind: "stored", ...stored });
  }

  /** A place for a payload that `find` does not know. "full": there is none until a put has ended. */
  add(payload: P, now: number): Extract<Place<P>, { readonly kind: "in_hand" }> | "full" {
    assert(!this.#inHand.has(payload.id), "an id has one place");
    if (!isCollected(payload)) {
      return "full";
    }
    if (this.#open !== null && !fits(this.#open, payload)) {
      if (this.#isBusy()) {
        return "full";
      }
      this.#close(this.#open, now);
    }
    this.#crowd.arrived(now);
    this.#open ??= { openedAt: now, payloads: [], bytes: 0, outputBytes: 0, spans: 0, lastAt: now };
    const segment = this.#open;
    const place = { kind: "in_hand", segment, slot: segment.payloads.length } as const;
    segment.payloads.push(payload);
    segment.bytes += payload.bytes;
    segment.outputBytes += payload.outputBytes;
    segment.spans += payload.spans;
    segment.lastAt = now;
    this.#inHand.set(payload.id, place);
    return place;
  }

  /** The segments to put now; they are in flight from now on. */
  closed(now: number): readonly Gathered<P>[] {
    if (this.#open !== null && !this.#isBusy() && now >= this.#closesAt(this.#open, now)) {
      this.#close(this.#open, now);
    }
    return this.#closing.splice(0);
  }

  /** When to ask `closed` again, if nothing comes and no put ends until then. Null: there is no need. */
  lookAt(now: number): number | null {
    return this.#open === null || this.#isBusy() ? null : this.#closesAt(this.#open, now);
  }

  /** Its put has resolved, or the object was found. */
  stored(segment: Gathered<P>, key: ObjectKey, now: number): void {
    const { payloads } = segment;
    this.#crowd.putTook(now - this.#land(segment, now));
    for (const [slot, { id, spans }] of payloads.entries()) {
      this.#stored.delete(id); // so that it is the newest
      this.#stored.set(id, { segment: key, slot, spans, at: now });
    }
    this.#forget(now);
  }

  /** It may land yet: nothing of it is known to be stored. */
  failed(segment: Gathered<P>, now: number): void {
    this.#land(segment, now);
  }

  /** Has it nothing to do? */
  get isIdle(): boolean {
    return this.#open === null && this.#flying.size === 0;
  }

  #isBusy(): boolean {
    return this.#flying.size >= limits.segmentPutsAtOnceMax;
  }

  #close(segment: Open<P>, now: number): void {
    this.#open = null;
    this.#closing.push(segment);
    this.#flying.set(segment, now);
    this.#setInFlight(now);
  }

  /** When its put began. */
  #land(segment: Gathered<P>, now: number): number {
    const began = this.#flying.get(segment);
    assert(began !== undefined, "what has landed was in flight");
    this.#flying.delete(segment);
    this.#setInFlight(now);
    for (const { id } of segment.payloads) {
      this.#inHand.delete(id);
    }
    return began;
  }

  #setInFlight(now: number): void {
    this.#crowd.setInFlight(this.#flying.size > 0, now);
    this.#demand.setInFlight(this.#flying.size > 0, now);
  }

  /** What a payload waits for others at most. */
  #lingerMs(): number {
    const { putMs } = this.#crowd;
    return putMs === null ? this.#collectMs : Math.min(this.#collectMs, limits.collectPutTimes * putMs);
  }

  #closesAt({ payloads, bytes, outputBytes, spans, openedAt, lastAt }: Open<P>, now: number): number {
    const isFull =
      payloads.length >= segmentPayloadsMax ||
      bytes >= limits.segmentBytesMax ||
      outputBytes >= limits.segmentOutputBytesMax ||
      spans >= limits.segmentRowsMax;
    if (isFull) {
      return now;
    }
    const lingerMs = this.#lingerMs();
    const isOldAt = openedAt + lingerMs;
    if (this.#flying.size > 0) {
      return isOldAt;
    }
    const crowdRate = this.#crowd.inFlightRate(now);
    if (crowdRate * lingerMs < 1) {
      return now;
    }
    const usualMs = 1 / Math.max(crowdRate, this.#crowd.rate(now));
    return Math.min(
      isOldAt,
      lastAt + gapTimes * Math.min(usualMs, betweenMs(payloads.length, lastAt - openedAt)),
    );
  }

  #forget(now: number): void {
    for (const [id, { at }] of this.#stored) {
      if (this.#stored.size <= limits.collectKnownMax && now - at <= limits.collectKnownMs) {
        return;
      }
      this.#stored.delete(id);
    }
  }
}

/** Does a payload go to a collector? One that would fill a segment goes alone, and so does one whose bytes are what it costs. */
export function isCollected({ bytes, outputBytes, spans }: Omit<Sized, "id">): boolean {
  return (
    bytes <= limits.collectBodyBytesMax &&
    outputBytes <= limits.segmentOutputBytesMax &&
    spans <= limits.segmentRowsMax
  );
}

/** What lies between two of so many payloads that came within `ms`. A clock of whole ms cannot tell it below one. */
function betweenMs(payloads: number, ms: number): number {
  return payloads === 1 ? Number.POSITIVE_INFINITY : Math.max(1, ms / (payloads - 1));
}

function fits<P extends Sized>(segment: Open<P>, payload: P): boolean {
  return (
    segment.payloads.length < segmentPayloadsMax &&
    segment.bytes + payload.bytes <= limits.segmentBytesMax &&
    segment.outputBytes + payload.outputBytes <= limits.segmentOutputBytesMax &&
    segment.spans + payload.spans <= limits.segmentRowsMax
  );
}
