/**
 * A Worker of the local pipeline alone, beside the product's three: it does what Cloudflare does there (R2 event
 * notifications, the cron, in chaos runs queues that deliver twice), and makes the local API key. It has bindings for it,
 * because Miniflare's own access from Node blocks the thread until workerd answers, which workerd cannot while that
 * thread has its log to drain.
 *
 * `drive-stand-ins.ts` asks it over HTTP. It answers to the admin token only.
 */
import { type ApiKeyRecord, apiKeyName, formatApiKey, formatKeyEntry } from "../../shared/api-key.ts";
import { assert } from "../../shared/assert.ts";
import { formatMinute, isSegmentKey, payloadPrefix } from "../../shared/payload-key.ts";
import { readSegment } from "../../shared/segment/payload-objects.ts";
import { R2Events } from "./r2-events.ts";

interface StandInBindings {
  readonly KEYS: KVNamespace;
  readonly PAYLOADS: R2Bucket;
  /** The queues of the first and the second ring. */
  readonly RING: Queue;
  readonly EVENTS: Queue;
  /** The consumer, for its cron. */
  readonly CONSUMER: {
    scheduled(options: { scheduledTime: Date; cron: string }): Promise<{ readonly outcome: string }>;
  };
  readonly ADMIN_TOKEN: string;
  readonly BUCKET_NAME: string;
  readonly EVENT_DELAY_SECONDS: string;
}

const events = new R2Events();

const recentMs = 60_000;
const recentMost = 300;

/** Objects of the last minute, as JSON: what a test may ring once more. */
async function recentPayloads(bucket: R2Bucket): Promise<string> {
  const { objects } = await bucket.list({
    startAfter: `${payloadPrefix}${formatMinute(Date.now() - recentMs)}`,
    include: ["customMetadata"],
    limit: recentMost,
  });
  return JSON.stringify(
    objects.map(({ key, size, etag, uploaded, customMetadata }) => ({
      key,
      size,
      etag,
      uploaded: uploaded.toISOString(),
      customMetadata,
    })),
  );
}

/** The keys of the payloads that an object has. */
async function payloadsOf(bucket: R2Bucket, object: string): Promise<readonly string[]> {
  return isSegmentKey(object) ? ((await readSegment(bucket, object)) ?? []).map(({ key }) => key) : [object];
}

/** The key of an earlier start where it is still there, else a new one for the tenant `dev`. */
async function findOrMakeKey(keys: KVNamespace, before: string): Promise<string> {
  if (before !== "" && (await keys.get(await apiKeyName(before))) !== null) {
    return before;
  }
  const key = formatApiKey(crypto.getRandomValues(new Uint8Array(52)));
  const record: ApiKeyRecord = {
    tenant: "dev",
    name: "npm run dev",
    status: "active",
    spansPerSecond: null,
    burstSpans: null,
    spansPerMonth: null,
    bytesPerSecond: null,
    burstBytes: null,
    bytesPerMonth: null,
    origins: ["*"],
    sample: 1,
    spanAgeDays: 30,
    expiresAt: null,
    createdAt: Date.now(),
    account: null,
  };
  const entry = formatKeyEntry(record);
  assert(entry !== undefined, "the record of the local key is short");
  await keys.put(await apiKeyName(key), entry.value, { metadata: entry.metadata });
  return key;
}

async function answer(request: Request, env: StandInBindings): Promise<string> {
  switch (new URL(request.url).pathname) {
    case "/events":
      await events.notifyNew(env.PAYLOADS, env.EVENTS, {
        bucketName: env.BUCKET_NAME,
        delaySeconds: Number(env.EVENT_DELAY_SECONDS),
        now: Date.now(),
      });
      return "";
    case "/cron":
      return (await env.CONSUMER.scheduled({ scheduledTime: new Date(), cron: "* * * * *" })).outcome;
    case "/recent":
      return await recentPayloads(env.PAYLOADS);
    case "/payloads":
      return JSON.stringify(await payloadsOf(env.PAYLOADS, await request.text()));
    case "/ring":
      await env.RING.send(await request.json());
      return "";
    case "/event":
      await env.EVENTS.send(await request.json());
      return "";
    case "/key":
      return await findOrMakeKey(env.KEYS, await request.text());
    default:
      throw new Error("no such stand-in");
  }
}

export default {
  async fetch(request, env) {
    if (request.headers.get("authorization") !== `Bearer ${env.ADMIN_TOKEN}`) {
      return new Response("the admin token is missing\n", { status: 401 });
    }
    try {
      return new Response(await answer(request, env));
    } catch (error) {
      return new Response(error instanceof Error ? error.message : String(error), { status: 500 });
    }
  },
} satisfies ExportedHandler<StandInBindings>;
