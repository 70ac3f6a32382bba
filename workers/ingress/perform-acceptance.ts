/** Performs what the acceptance of a payload asks for (shared/delivery/acceptance.ts). */
import * as v from "valibot";
import { assert } from "../../shared/assert.ts";
import type { BypassReason } from "../../shared/collect/bypass.ts";
import type { KnownCollectors } from "../../shared/collect/known-collectors.ts";
import { parseCollectorLocation } from "../../shared/collect/settings.ts";
import type { AcceptancePerformer, Collected } from "../../shared/delivery/acceptance.ts";
import { dependencies } from "../../shared/dependency.ts";
import { limits } from "../../shared/limits.ts";
import {
  type BareDoorbell,
  countsOf,
  type Doorbell,
  formatPayloadMetadata,
  payloadMetadataSchema,
} from "../../shared/messages.ts";
import {
  formatSlotKey,
  idOfKey,
  isInSegment,
  minuteOfKey,
  minuteToMs,
  onlyPayloadOf,
  type PayloadId,
  type PayloadKey,
} from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { IngressBindings } from "./bindings.ts";
import type { CollectAnswer, CollectHeader } from "./collector-object.ts";
import { createOnly } from "./create-only.ts";
import type { Deadline } from "./deadline.ts";

type AcceptanceBindings = Pick<IngressBindings, "PAYLOADS" | "RING" | "COLLECTOR" | "COLLECTOR_LOCATION">;

interface Notified {
  readonly key: PayloadKey;
  /** When its doorbell was sent, ms since the epoch. */
  readonly at: number;
}

/**
 * The payloads whose doorbells this isolate has sent of late, each with the key under which they came last: a duplicate of
 * such a key notifies nobody, and equal bytes of a later minute are known for a duplicate. A client that sends more payloads than are
 * remembered, one after another, gets no further doorbells by that: while one of the last 10 s is forgotten, duplicates that are not
 * known notify nobody either. The R2 event and the reconciler do, should the first copy's doorbell have been lost.
 */
export class NotifiedKeys {
  readonly #keys = new Map<PayloadId, Notified>();
  /** Until then a doorbell of the last `limits.duplicateNotifyMs` is forgotten. */
  #forgottenUntil = 0;

  /** Was its doorbell sent, or may it have been within the last 10 s? */
  has(key: PayloadKey, id: PayloadId, now: number): boolean {
    return this.#keys.get(id)?.key === key || now < this.#forgottenUntil;
  }

  /** Did equal bytes come under a key of another minute, within the time for which the ledger remembers them? */
  hasEarlier(key: PayloadKey, id: PayloadId): boolean {
    const last = this.#keys.get(id);
    if (last === undefined || last.key === key) {
      return false;
    }
    const age = minuteToMs(minuteOfKey(key)) - minuteToMs(minuteOfKey(last.key));
    return age > 0 && age <= limits.clientRetryMs;
  }

  /** Its doorbell is being sent. */
  add(key: PayloadKey, id: PayloadId, now: number): void {
    this.#keys.delete(id); // so that it is the newest
    this.#keys.set(id, { key, at: now });
    if (this.#keys.size > limits.notifiedKeysMax) {
      const [oldest] = this.#keys;
      if (oldest !== undefined) {
        this.#keys.delete(oldest[0]);
        this.#forgottenUntil = Math.max(this.#forgottenUntil, oldest[1].at + limits.duplicateNotifyMs);
      }
    }
  }

  /** Its doorbell was not taken: a duplicate may send one. */
  remove(key: PayloadKey, id: PayloadId): void {
    if (this.#keys.get(id)?.key === key) {
      this.#keys.delete(id);
    }
  }
}

/** What is accepted. */
export interface AcceptedPayload extends Omit<CollectHeader, "v" | "caller"> {
  readonly body: Uint8Array;
}

/** The collector of a payload, and what the isolate knows of it. */
export interface Collecting {
  readonly collector: number;
  readonly known: KnownCollectors;
  /** Called with why the payload goes alone after all. */
  readonly bypassed: (why: BypassReason) => void;
}

/** `collecting` null: it goes alone. `waitUntil`: keeps the isolate for what nobody waits for. */
export function acceptancePerformer(
  bindings: AcceptanceBindings,
  accepted: AcceptedPayload,
  collecting: Collecting | null,
  notified: NotifiedKeys,
  deadline: Deadline,
  waitUntil: (promise: Promise<unknown>) => void,
): AcceptancePerformer {
  const { PAYLOADS: bucket, RING: queue } = bindings;
  const { body, metadata } = accepted;
  return {
    collect: async () => {
      assert(collecting !== null, "what has no collector is not given to one");
      return await collect(bindings, accepted, collecting, notified, deadline);
    },
    putIfAbsent: async (key) => {
      const put = bucket.put(key, body, {
        onlyIf: createOnly,
        customMetadata: formatPayloadMetadata(metadata),
      });
      return (
        (await logged(
          `${dependencies.r2}: the put failed`,
          key,
          deadline.within(put, limits.putTimeoutMs),
        )) !== null
      );
    },
    readCounts: async (key) => {
      const head = deadline.within(bucket.head(key), limits.putTimeoutMs);
      const object = await logged(`${dependencies.r2}: the head failed`, key, head);
      if (object === null) {
        return null;
      }
      const read = v.safeParse(payloadMetadataSchema, object.customMetadata);
      if (!read.success) {
        return "damaged";
      }
      return countsOf(read.output);
    },
    notify: async (doorbell) => {
      waitUntil(send(queue, doorbell, notified));
      return null;
    },
  };
}

type CollectorBindings = Pick<IngressBindings, "COLLECTOR" | "COLLECTOR_LOCATION">;

/** Its location counts when it is asked for the first time ever, and never again (Durable Objects, "Data location"). */
function collectorAt(
  { COLLECTOR: collectors, COLLECTOR_LOCATION: place = "" }: CollectorBindings,
  number: number,
) {
  const locationHint = parseCollectorLocation(place);
  assert(locationHint !== undefined, "COLLECTOR_LOCATION is a location hint of Durable Objects, or empty");
  const id = collectors.idFromName(String(number));
  return locationHint === null ? collectors.get(id) : collectors.get(id, { locationHint });
}

/** Gives the payload to its collector, and says what that made of it. */
async function collect(
  bindings: CollectorBindings,
  { body, ...payload }: AcceptedPayload,
  collecting: Collecting,
  notified: NotifiedKeys,
  deadline: Deadline,
): Promise<Collected> {
  const { collector: number, known } = collecting;
  const { advised } = known;
  const pause = known.pauseOf(number);
  const bypassed = (why: BypassReason): void => {
    advised.bypassed();
    collecting.bypassed(why);
  };
  const startedAt = Date.now();
  const caller = advised.call();
  try {
    const collector = collectorAt(bindings, number);
    const added: Promise<CollectAnswer> = collector.add({ v: 1, ...payload, caller }, ofItsOwn(body));
    const collected = await deadline.within(added, limits.collectPatienceMs);
    advised.answered(collected.advice, Date.now());
    switch (collected.kind) {
      case "full":
        pause.full(startedAt, Date.now());
        bypassed("collector_full");
        return { kind: "alone" };
      case "failed":
      case "unknown_version": {
        const why = collected.kind === "failed" ? "collector_failed" : "collector_version";
        pause.failed(startedAt, Date.now(), why);
        bypassed(why);
        return { kind: "alone" };
      }
      case "alone":
        pause.worked(startedAt);
        return collected;
      case "stored": {
        pause.worked(startedAt);
        const { segment, slot, isDuplicate, spans } = collected;
        if (isInSegment(segment)) {
          const key = formatSlotKey(segment, slot, payload.tenant, payload.id);
          return { kind: "stored", key, isDuplicate, spans };
        }
        const key = onlyPayloadOf(segment);
        notified.add(key, payload.id, Date.now()); // by the collector
        return { kind: "stored", key, isDuplicate, spans };
      }
    }
  } catch (error) {
    advised.unanswered(caller, isOverloaded(error));
    pause.failed(startedAt, Date.now(), "collector_failed");
    bypassed("collector_failed");
    const message = `${dependencies.collector} does not answer; the payload is put alone`;
    writeLog("warn", { message }, error);
    // Also an invariant that is broken there (its error keeps its name over the border of an object) is no fault of this request.
    throw new Error(message, { cause: error });
  }
}

/** Cloudflare marks what an object has too many requests for (Durable Objects, "Error handling"). */
function isOverloaded(error: unknown): boolean {
  return typeof error === "object" && error !== null && "overloaded" in error && error.overloaded === true;
}

/** What crosses the border of an object is a view's whole buffer. */
function ofItsOwn(body: Uint8Array): Uint8Array {
  return body.buffer.byteLength > body.length + 1024 ? body.slice() : body;
}

async function logged<T>(message: string, payload: PayloadKey, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    writeLog("error", { message, payload }, error);
    throw error;
  }
}

async function send(
  queue: IngressBindings["RING"],
  doorbell: Doorbell | BareDoorbell,
  notified: NotifiedKeys,
): Promise<void> {
  const { key } = doorbell;
  const id = idOfKey(key);
  notified.add(key, id, Date.now()); // before it is taken: duplicates that come meanwhile send none
  try {
    await queue.send(doorbell);
  } catch (error) {
    notified.remove(key, id);
    const message = `${dependencies.ringQueue} did not accept one; the R2 event or the reconciler will find the payload`;
    writeLog("warn", { message, payload: key }, error);
  }
}
