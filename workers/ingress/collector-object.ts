/**
 * The Collector: a Durable Object that gathers the payloads of concurrent requests into segments (shared/collect/). It answers a
 * request when the segment that has its payload is in R2, and never before. It touches no storage: nothing of it is remembered, an
 * instance that ends takes with it what nobody was promised, and should the platform run two of them, they write other segments.
 *
 * What it cannot do (no bytes left, R2 does not take the segment) it says at once, and the caller puts the payload alone. A payload
 * that nobody shares a segment with gets the object that it would have alone.
 */
import { DurableObject } from "cloudflare:workers";
import { assert } from "../../shared/assert.ts";
import type { Taking } from "../../shared/byte-budget.ts";
import type { Advice, Caller } from "../../shared/collect/advice.ts";
import { type Gathered, Gathering, type Sized } from "../../shared/collect/gathering.ts";
import { parseCollectMs } from "../../shared/collect/settings.ts";
import { type SegmentPerformer, storeSegment } from "../../shared/collect/store-segment.ts";
import { dependencies } from "../../shared/dependency.ts";
import { perform } from "../../shared/effect.ts";
import { limits } from "../../shared/limits.ts";
import {
  type BareDoorbell,
  countsOf,
  type Doorbell,
  formatPayloadMetadata,
  type PayloadMetadata,
  type SegmentDoorbell,
} from "../../shared/messages.ts";
import { formatPayloadKey, type ObjectKey, objectOf, type PayloadId } from "../../shared/payload-key.ts";
import { writeSegment } from "../../shared/segment/segment.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import { budget } from "./bytes-in-hand.ts";
import { createOnly } from "./create-only.ts";
import { DeadlinePassed, within } from "./deadline.ts";

/** What the collector may touch. */
export interface CollectorBindings {
  readonly PAYLOADS: R2Bucket;
  readonly RING: Queue<Doorbell | BareDoorbell | SegmentDoorbell>;
  /** What a payload waits for others at most, in ms; absent or empty: 100. */
  readonly COLLECT_MS?: string;
}

/** A payload beside its bytes. Worker and object are deployed at different times: a version that is not known is refused. */
export interface CollectHeader {
  readonly v: 1;
  readonly id: PayloadId;
  readonly tenant: string;
  readonly metadata: PayloadMetadata;
  /** Absent: an isolate that knows no advice, and no answer but of segments. */
  readonly caller?: Caller;
}

/** Absent: a collector that gives none. */
interface Advising {
  readonly advice?: Advice;
}

export type CollectAnswer = Advising & Answer;

type Answer =
  | {
      readonly kind: "stored";
      /** Or the object that a payload has alone. */
      readonly segment: ObjectKey;
      readonly slot: number;
      /** It was there, or on its way, when this call came: with so many spans. */
      readonly isDuplicate: boolean;
      readonly spans: number;
    }
  /** It was not taken: too much is in hand. */
  | { readonly kind: "full" }
  /** Its header is of a version that this collector does not know. */
  | { readonly kind: "unknown_version" }
  /** Its segment was put twice, and was not seen in R2. It may land yet. */
  | { readonly kind: "failed" }
  /** Nobody shares a segment with it, and the object that it would have alone is there: what is in it, the caller may read. */
  | { readonly kind: "alone" };

interface Frame extends Sized {
  readonly tenant: string;
  /** Its caller knows the object that a payload has alone. */
  readonly mayBeAlone: boolean;
  readonly metadata: PayloadMetadata;
  /** As received; empty once it is in its segment's bytes. */
  body: Uint8Array;
  readonly taking: Taking;
}

/** How a segment ended: under which key it is stored, or not. */
type End = { readonly kind: "stored"; readonly key: ObjectKey } | { readonly kind: "failed" | "alone" };
type Ended = PromiseWithResolvers<End>;

/** Its share of the isolate's bytes is that of a key. */
const holder = "collector";
const nothing = new Uint8Array(0);

export class Collector extends DurableObject<CollectorBindings> {
  readonly #gathering: Gathering<Frame>;
  /** Of the segments in hand. */
  readonly #ends = new Map<Gathered<Frame>, Ended>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** ms since the epoch */
  #firesAt = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState, env: CollectorBindings) {
    super(ctx, env);
    const collectMs = parseCollectMs(env.COLLECT_MS ?? "");
    assert(collectMs !== undefined, `COLLECT_MS is a number of ms up to ${limits.collectMsMax}, or empty`);
    this.#gathering = new Gathering(collectMs, Date.now());
  }

  /** Answers when the payload is in R2, or is not going to be by this call. `body`: as it was received. */
  async add(header: CollectHeader, body: Uint8Array): Promise<CollectAnswer> {
    if (header.v !== 1) {
      return { kind: "unknown_version" };
    }
    const { caller } = header;
    this.#gathering.called(caller ?? unadvised, body.length, Date.now());
    const answer = await this.#answer(header, body);
    return caller === undefined ? answer : { ...answer, advice: this.#gathering.advice(caller, Date.now()) };
  }

  async #answer(header: CollectHeader, body: Uint8Array): Promise<Answer> {
    const now = Date.now();
    const known = this.#gathering.find(header.id, now);
    if (known?.kind === "stored") {
      return { ...known, isDuplicate: true };
    }
    const place = known ?? this.#take(header, body, now);
    if (place === "full") {
      return { kind: "full" };
    }
    const { segment, slot } = place;
    const { promise } = this.#endOf(segment);
    this.#look();
    const end = await promise;
    if (end.kind !== "stored") {
      return end;
    }
    const spans = segment.payloads[slot]?.spans ?? 0;
    return { kind: "stored", segment: end.key, slot, spans, isDuplicate: known !== undefined };
  }

  #take({ id, tenant, metadata, caller }: CollectHeader, body: Uint8Array, now: number) {
    const taking = budget.take(holder, body.length, now, now + limits.segmentHeldMs);
    if (taking === null) {
      return "full";
    }
    const { spans, outputBytes } = metadata;
    const mayBeAlone = caller !== undefined;
    const frame = { id, bytes: body.length, outputBytes, spans, tenant, metadata, mayBeAlone, body, taking };
    const place = this.#gathering.add(frame, now);
    if (place === "full") {
      taking.give();
    }
    return place;
  }

  #endOf(segment: Gathered<Frame>): Ended {
    let end = this.#ends.get(segment);
    if (end === undefined) {
      end = Promise.withResolvers<End>();
      this.#ends.set(segment, end);
    }
    return end;
  }

  /** Puts what is closed, and looks again when it must. */
  #look(): void {
    const now = Date.now();
    for (const segment of this.#gathering.closed(now)) {
      // Nobody awaits it: whatever becomes of it ends its segment.
      void this.#put(segment);
    }
    const at = this.#gathering.lookAt(now);
    // A timer that fires too early looks, and is set again: that is less than to set one for each payload.
    if (at !== null && at < this.#firesAt) {
      clearTimeout(this.#timer);
      this.#firesAt = at;
      const fire = (): void => {
        this.#firesAt = Number.POSITIVE_INFINITY;
        this.#look();
      };
      this.#timer = setTimeout(fire, Math.max(1, Math.ceil(at - now)));
    }
  }

  async #put(segment: Gathered<Frame>): Promise<void> {
    const { payloads } = segment;
    const [first, ...others] = payloads;
    const isAlone = first?.mayBeAlone === true && others.length === 0;
    const end = isAlone ? await this.#storeAlone(first) : await this.#store(segment);
    const now = Date.now();
    if (end.kind === "stored") {
      const { key } = end;
      this.#gathering.stored(segment, key, now);
      this.ctx.waitUntil(this.#notify(key, isAlone ? aloneBell(first) : segmentBell(key, payloads)));
    } else {
      this.#gathering.failed(segment, now);
    }
    for (const { taking } of payloads) {
      taking.give();
    }
    this.#endOf(segment).resolve(end);
    this.#ends.delete(segment);
    this.#look();
  }

  /** The object that a payload has alone, put as its caller would put it, who decides whatever this put leaves in doubt. */
  async #storeAlone({ tenant, id, metadata, body }: Frame): Promise<End> {
    const key = objectOf(formatPayloadKey(metadata.arrival, tenant, id));
    try {
      const put = this.env.PAYLOADS.put(key, body, {
        onlyIf: createOnly,
        customMetadata: formatPayloadMetadata(metadata),
      });
      const isCreated = (await within(put, limits.segmentPutTimeoutMs)) !== null;
      return isCreated ? { kind: "stored", key } : { kind: "alone" };
    } catch (error) {
      writeLog("error", { message: `${dependencies.r2}: the collector's put failed`, payload: key }, error);
      // What R2 refuses at once (a second write of one key within a second, say) the caller's own look decides as soon.
      return { kind: error instanceof DeadlinePassed ? "failed" : "alone" };
    }
  }

  /** Its key once it is in R2. Failed: it was not seen there. */
  async #store({ openedAt, payloads }: Gathered<Frame>): Promise<End> {
    try {
      const random = crypto.getRandomValues(new Uint8Array(10));
      const key = formatSegmentKey(
        openedAt,
        random,
        payloads.map(({ id }) => id),
      );
      const bytes = writeSegment(openedAt, payloads);
      for (const payload of payloads) {
        payload.body = nothing;
      }
      const isStored = await perform(storeSegment(key, bytes.length), this.#performer(bytes));
      return isStored ? { kind: "stored", key } : { kind: "failed" };
    } catch (error) {
      writeLog("error", { message: "a segment could not be made", payloads: payloads.length }, error);
      return { kind: "failed" };
    }
  }

  #performer(segment: Uint8Array): SegmentPerformer {
    const { PAYLOADS: bucket } = this.env;
    const logged = async <T>(what: string, key: ObjectKey, promise: Promise<T>, ms: number): Promise<T> => {
      try {
        return await within(promise, ms);
      } catch (error) {
        writeLog("error", { message: `${dependencies.r2}: ${what}`, segment: key }, error);
        throw error;
      }
    };
    return {
      putIfAbsent: async (key) => {
        const put = bucket.put(key, segment, { onlyIf: createOnly });
        return (await logged("the put of a segment failed", key, put, limits.segmentPutTimeoutMs)) !== null;
      },
      sizeOf: async (key) => {
        const head = bucket.head(key);
        return (
          (await logged("the head of a segment failed", key, head, limits.segmentHeadTimeoutMs))?.size ?? null
        );
      },
    };
  }

  async #notify(key: ObjectKey, doorbell: Doorbell | SegmentDoorbell): Promise<void> {
    try {
      await this.env.RING.send(doorbell);
    } catch (error) {
      const message = `${dependencies.ringQueue} did not accept one; the R2 event or the reconciler will find the object`;
      writeLog("warn", { message, segment: key }, error);
    }
  }
}

/** One message names all of a segment's payloads. */
function segmentBell(key: ObjectKey, payloads: readonly Frame[]): SegmentDoorbell {
  const bells = payloads.map(({ id, tenant, metadata }, slot) => ({
    slot,
    tenant,
    id,
    ...countsOf(metadata),
    inflatedBytes: metadata.inflatedBytes,
  }));
  return { v: 2, key, cause: "ingress", payloads: bells };
}

function aloneBell({ tenant, id, metadata }: Frame): Doorbell {
  const key = formatPayloadKey(metadata.arrival, tenant, id);
  return { v: 1, key, cause: "ingress", ...countsOf(metadata) };
}

/** Of an isolate that says nothing of itself. */
const unadvised: Caller = { collectors: 1, alone: 0 };
