/**
 * R2 event notifications for the local pipeline. Miniflare has none: this imitates them by listing the bucket, in
 * Cloudflare's documented format (developers.cloudflare.com/r2/buckets/event-notifications), with the delay that the
 * queue `late` has in production.
 */
import type { R2Event } from "../../shared/messages.ts";
import { formatMinute, payloadPrefix } from "../../shared/payload-key.ts";

/**
 * Keys begin with the minute of arrival, so only the last minutes are listed. A put can take one minute; what lands in its own, as
 * nearly all does, is found by listing that one.
 */
const lookBackMs = 3 * 60_000;
const lookBackEveryMs = 10_000;
/** Queues take so many messages at once. */
const eventsAtOnceMax = 100;

/** The parts of R2 and Queues that this needs. */
export interface EventSource {
  list(options: { startAfter: string; cursor?: string }): Promise<{
    objects: { key: string; size: number; etag: string; uploaded: Date }[];
    truncated: boolean;
    cursor?: string;
  }>;
}
export interface EventSink {
  sendBatch(messages: readonly { body: R2Event }[], options: { delaySeconds: number }): Promise<unknown>;
}

/** Which objects were notified. An object that was put while nobody asked is lost to it, as a dropped event is. */
export class R2Events {
  readonly #notified = new Map<string, number>();
  #lookedBackAt = Number.NEGATIVE_INFINITY;

  /** Sends an event for every payload that is new. */
  async notifyNew(
    bucket: EventSource,
    queue: EventSink,
    { bucketName, delaySeconds, now }: { bucketName: string; delaySeconds: number; now: number },
  ): Promise<void> {
    const isLookingBack = now - this.#lookedBackAt >= lookBackEveryMs;
    const startAfter = `${payloadPrefix}${formatMinute(isLookingBack ? now - lookBackMs : now)}`;
    let cursor: string | undefined;
    do {
      const page = await bucket.list({ startAfter, ...(cursor === undefined ? {} : { cursor }) });
      const fresh = page.objects.filter(
        ({ key }) => key.startsWith(payloadPrefix) && !this.#notified.has(key),
      );
      for (let at = 0; at < fresh.length; at += eventsAtOnceMax) {
        const some = fresh.slice(at, at + eventsAtOnceMax);
        await queue.sendBatch(
          some.map((object) => ({ body: eventOf(object, bucketName) })),
          { delaySeconds },
        );
        for (const { key } of some) {
          this.#notified.set(key, now);
        }
      }
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
    if (isLookingBack) {
      this.#lookedBackAt = now;
    }
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
