/**
 * The Collector: a Durable Object that gathers the payloads of concurrent requests into segments (shared/collect/). It answers a
 * request when the segment that has its payload is in R2, and never before. It touches no storage: nothing of it is remembered, an
 * instance that ends takes with it what nobody was promised, and should the platform run two of them, they write other segments.
 *
 * What it cannot do (no bytes left, R2 does not take the segment) it says at once, and the caller puts the payload alone.
 */
import { DurableObject } from "cloudflare:workers";
import { assert } from "../../shared/assert.ts";
import type { Taking } from "../../shared/byte-budget.ts";
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
  type PayloadMetadata,
  type SegmentDoorbell,
} from "../../shared/messages.ts";
import type { ObjectKey, PayloadId } from "../../shared/payload-key.ts";
import { writeSegment } from "../../shared/segment/segment.ts";
import { formatSegmentKey } from "../../shared/segment/segment-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import { budget } from "./bytes-in-hand.ts";
import { createOnly } from "./create-only.ts";
import { within } from "./deadline.ts";

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
}

export type CollectAnswer =
  | {
      readonly kind: "stored";
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
  | { readonly kind: "failed" };

interface Frame extends Sized {
  readonly tenant: string;
  readonly metadata: PayloadMetadata;
  /** As received; empty once it is in its segment's bytes. */
  body: Uint8Array;
  readonly taking: Taking;
}

/** How a segment ended. Null: it failed. */
type Ended = PromiseWithResolvers<ObjectKey | null>;

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
    const key = await promise;
    const spans = segment.payloads[slot]?.spans ?? 0;
    return key === null
      ? { kind: "failed" }
      : { kind: "stored", segment: key, slot, spans, isDuplicate: known !== undefined };
  }

  #take({ id, tenant, metadata }: CollectHeader, body: Uint8Array, now: number) {
    const taking = budget.take(holder, body.length, now, now + limits.segmentHeldMs);
    if (taking === null) {
      return "full";
    }
    const { spans, outputBytes } = metadata;
    const frame = { id, bytes: body.length, outputBytes, spans, tenant, metadata, body, taking };
    const place = this.#gathering.add(frame, now);
    if (place === "full") {
      taking.give();
    }
    return place;
  }

  #endOf(segment: Gathered<Frame>): Ended {
    let end = this.#ends.get(segment);
    if (end === undefined) {
      end = Promise.withResolvers<ObjectKey | null>();
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
    const key = await this.#store(segment);
    const now = Date.now();
    const { payloads } = segment;
    if (key === null) {
      this.#gathering.failed(segment, now);
    } else {
      this.#gathering.stored(segment, key, now);
      this.ctx.waitUntil(this.#notify(key, payloads));
    }
    for (const { taking } of payloads) {
      taking.give();
    }
    this.#endOf(segment).resolve(key);
    this.#ends.delete(segment);
    this.#look();
  }

  /** Its key once it is in R2; null: it was not seen there. */
  async #store({ openedAt, payloads }: Gathered<Frame>): Promise<ObjectKey | null> {
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
      return (await perform(storeSegment(key, bytes.length), this.#performer(bytes))) ? key : null;
    } catch (error) {
      writeLog("error", { message: "a segment could not be made", payloads: payloads.length }, error);
      return null;
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

  /** One message names all of a segment's payloads. */
  async #notify(key: ObjectKey, payloads: readonly Frame[]): Promise<void> {
    const bells = payloads.map(({ id, tenant, metadata }, slot) => ({
      slot,
      tenant,
      id,
      ...countsOf(metadata),
      inflatedBytes: metadata.inflatedBytes,
    }));
    try {
      await this.env.RING.send({ v: 2, key, cause: "ingress", payloads: bells });
    } catch (error) {
      const message = `${dependencies.ringQueue} did not accept one; the R2 event or the reconciler will find the segment`;
      writeLog("warn", { message, segment: key }, error);
    }
  }
}
