/**
 * R2 event notifications for the local pipeline. Miniflare has none: this imitates them by listing the bucket, in
 * Cloudflare's documented format (developers.cloudflare.com/r2/buckets/event-notifications), with the delay that the
 * queue `late` has in production.
 */
import type { R2Event } from "../../shared/messages.ts";
import { formatMinute, payloadPrefix } from "../../shared/payload-key.ts";

/** Keys begin with the minute of arrival, so only the last minutes are listed. A put can take one minute. */
const lookBackMs = 3 * 60_000;

/** The parts of R2 and Queues that this needs. */
export interface EventSource {
  list(options: { startAfter: string; cursor?: string }): Promise<{
    objects: { key: string; size: number; etag: string; uploaded: Date }[];
    truncated: boolean;
    cursor?: string;
  }>;
}
export interface EventSink {
  send(event: R2Event, options: { delaySeconds: number }): Promise<unknown>;
}

/** Which objects were notified. An object that was put while nobody asked is lost to it, as a dropped event is. */
export class R2Events {
  readonly #notified = new Map<string, number>();

  /** Sends an event for every payload that is new. */
  async notifyNew(
    bucket: EventSource,
    queue: EventSink,
    { bucketName, delaySeconds, now }: { bucketName: string; delaySeconds: number; now: number },
  ): Promise<void> {
    const startAfter = `${payloadPrefix}${formatMinute(now - lookBackMs)}`;
    let cursor: string | undefined;
    do {
      const page = await bucket.list({ startAfter, ...(cursor === undefined ? {} : { cursor }) });
      for (const object of page.objects) {
        if (object.key.startsWith(payloadPrefix) && !this.#notified.has(object.key)) {
          await queue.send(eventOf(object, bucketName), { delaySeconds });
          this.#notified.set(object.key, now);
        }
      }
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
    this.#forgetBefore(now - 2 * lookBackMs);
  }

  #forgetBefore(time: number): void {
    for (const [key, at] of this.#notified) {
      if (at < time) {
        this.#notified.delete(key);
      }
    }
  }
}

function eventOf(
  object: { key: string; size: number; etag: string; uploaded: Date },
  bucket: string,
): R2Event {
  return {
    account: "local",
    action: "PutObject",
    bucket,
    object: { key: object.key, size: object.size, eTag: object.etag },
    eventTime: object.uploaded.toISOString(),
  };
}
