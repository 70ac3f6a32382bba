/** Performs what the acceptance of a payload asks for (shared/delivery/acceptance.ts). */
import * as v from "valibot";
import type { AcceptancePerformer } from "../../shared/delivery/acceptance.ts";
import { limits } from "../../shared/limits.ts";
import {
  type BareDoorbell,
  type Doorbell,
  formatPayloadMetadata,
  type PayloadMetadata,
  payloadMetadataSchema,
} from "../../shared/messages.ts";
import type { PayloadKey } from "../../shared/payload-key.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { Deadline } from "./deadline.ts";

/** Creates, and never replaces. One for all puts: it is read only. */
const createOnly = new Headers({ "If-None-Match": "*" });

/** The keys whose doorbells this isolate has sent of late: a duplicate of one of them notifies nobody. */
export class NotifiedKeys {
  readonly #keys = new Set<PayloadKey>();

  has(key: PayloadKey): boolean {
    return this.#keys.has(key);
  }

  add(key: PayloadKey): void {
    this.#keys.add(key);
    if (this.#keys.size > limits.notifiedKeysMax) {
      const [oldest] = this.#keys;
      if (oldest !== undefined) {
        this.#keys.delete(oldest);
      }
    }
  }
}

/** `waitUntil`: keeps the isolate for what nobody waits for. */
export function acceptancePerformer(
  bucket: R2Bucket,
  queue: Queue<Doorbell | BareDoorbell>,
  body: Uint8Array,
  metadata: PayloadMetadata,
  notified: NotifiedKeys,
  deadline: Deadline,
  waitUntil: (promise: Promise<unknown>) => void,
): AcceptancePerformer {
  return {
    putIfAbsent: async (key) => {
      const put = bucket.put(key, body, {
        onlyIf: createOnly,
        customMetadata: formatPayloadMetadata(metadata),
      });
      return (await logged("R2 put failed", key, deadline.within(put, limits.putTimeoutMs))) !== null;
    },
    readCounts: async (key) => {
      const head = deadline.within(bucket.head(key), limits.putTimeoutMs);
      const object = await logged("R2 head failed", key, head);
      if (object === null) {
        return null;
      }
      const read = v.safeParse(payloadMetadataSchema, object.customMetadata);
      if (!read.success) {
        return "damaged";
      }
      const { spans, outputBytes, arrival } = read.output;
      return { spans, outputBytes, arrival };
    },
    notify: async (doorbell) => {
      waitUntil(send(queue, doorbell, notified));
      return null;
    },
  };
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
  queue: Queue<Doorbell | BareDoorbell>,
  doorbell: Doorbell | BareDoorbell,
  notified: NotifiedKeys,
): Promise<void> {
  try {
    await queue.send(doorbell);
    notified.add(doorbell.key);
  } catch (error) {
    const message = "the doorbell was not taken; the R2 event or the reconciler brings the payload in";
    writeLog("warn", { message, payload: doorbell.key }, error);
  }
}
