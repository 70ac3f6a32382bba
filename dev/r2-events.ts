/**
 * R2 event notifications for the local pipeline. Miniflare has none: this imitates them by polling the bucket, in
 * Cloudflare's documented format (developers.cloudflare.com/r2/buckets/event-notifications), with the delay that the
 * queue `late` has in production.
 */
import { limits } from "../shared/limits.ts";
import type { R2Event } from "../shared/messages.ts";
import { formatMinute, payloadPrefix } from "../shared/payload-key.ts";

const pollMs = 1000;
/** Keys begin with the minute of arrival, so a poll lists only the last minutes. A put can take one minute. */
const lookBackMs = 3 * 60_000;

/** The parts of R2 and Queues that polling needs. */
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

/** Polls until `stop` is called. Events of objects that were put while nothing polled are lost, as a dropped event is. */
export function startR2Events(
  bucket: EventSource,
  queue: EventSink,
  bucketName: string,
  delaySeconds: number = limits.lateDelaySeconds,
): { stop(): Promise<void> } {
  const seen = new Map<string, number>();
  let stopped = false;
  let wake: () => void = () => undefined;
  const running = (async () => {
    while (!stopped) {
      try {
        await poll();
      } catch (error) {
        if (!stopped) {
          console.warn(`R2 events: polling failed, and goes on: ${String(error)}`);
        }
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, pollMs);
      });
    }
  })();

  async function poll(): Promise<void> {
    const now = Date.now();
    const startAfter = `${payloadPrefix}${formatMinute(now - lookBackMs)}`;
    let cursor: string | undefined;
    do {
      const page = await bucket.list({ startAfter, ...(cursor === undefined ? {} : { cursor }) });
      for (const object of page.objects) {
        if (object.key.startsWith(payloadPrefix) && !seen.has(object.key)) {
          await queue.send(eventOf(object, bucketName), { delaySeconds });
          seen.set(object.key, now);
        }
      }
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
    for (const [key, at] of seen) {
      if (at < now - 2 * lookBackMs) {
        seen.delete(key);
      }
    }
  }

  return {
    async stop() {
      stopped = true;
      wake();
      await running;
    },
  };
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
