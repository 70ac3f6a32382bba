/**
 * What many instances of the ingress's module ask of KV for their keys, and how often they report outcomes: the product's own
 * `KeyMemory` and `authenticate`, for requests at random, by a clock that jumps. All instances are in one process here; on the
 * platform each is an isolate, whose number and life nobody promises.
 */
import { apiKeyName, formatApiKey, keyNamePrefix } from "../../shared/api-key.ts";
import { assert } from "../../shared/assert.ts";
import { ReportTimes } from "../../shared/report-times.ts";
import { authenticate, KeyMemory } from "../../workers/ingress/authenticate.ts";
import { Tally } from "../../workers/ingress/tally.ts";
import { Random } from "../random.ts";

export interface InstancesRun {
  /** Requests per second, of all instances together. */
  readonly rate: number;
  readonly instances: number;
  readonly keys: number;
}

export interface CountedInstances {
  readonly requests: number;
  readonly lookUps: number;
  readonly lists: number;
  readonly reports: number;
}

/** KV pages of a list have so many names. */
const pageKeys = 1000;

/** The first two minutes, in which the instances learn, are not counted; the six behind them are. */
export async function countInstances({ rate, instances, keys }: InstancesRun): Promise<CountedInstances> {
  const random = new Random(instances + keys);
  const record = { tenant: "acme", name: "bench", status: "active", sample: 1, origins: [] };
  const limitless = { spansPerSecond: null, burstSpans: null, spansPerMonth: null };
  const metadata = { ...record, ...limitless };
  const senders = await Promise.all(
    Array.from({ length: keys }, async () => {
      const key = formatApiKey(Uint8Array.from({ length: 52 }, () => random.below(256)));
      return { headers: new Headers({ "x-api-key": key }), name: await apiKeyName(key) };
    }),
  );
  const names = senders.map(({ name }) => name).sort();
  let [lookUps, lists, reports, requests] = [0, 0, 0, 0];
  const namespace = {
    get: () => {
      lookUps++;
      return Promise.resolve(metadata);
    },
    list: ({ prefix, cursor }: { readonly prefix: string; readonly cursor: string | null }) => {
      assert(prefix === keyNamePrefix, "keys are listed");
      lists++;
      const from = Number(cursor ?? 0);
      const page = names.slice(from, from + pageKeys).map((name) => ({ name, metadata }));
      const to = from + page.length;
      return Promise.resolve({ keys: page, list_complete: to === names.length, cursor: String(to) });
    },
  } as unknown as KVNamespace;
  const env = { KEYS: namespace, UNKNOWN_KEYS: { limit: () => Promise.resolve({ success: true }) } };
  const memories = Array.from({ length: instances }, () => ({
    memory: new KeyMemory(),
    times: new ReportTimes(),
    dueAt: Number.POSITIVE_INFINITY,
  }));
  const [learnt, end] = [120_000, 480_000];
  let isCounted = false;
  for (let now = 0; now < end; now += (-Math.log(1 - random.next() / 2 ** 32) / rate) * 1000) {
    if (!isCounted && now >= learnt) {
      isCounted = true;
      [lookUps, lists, reports, requests] = [0, 0, 0, 0];
    }
    const instance = random.pick(memories);
    const sender = random.pick(senders);
    requests++;
    const found = await authenticate(sender.headers, env, instance.memory, now, new Tally());
    assert(found.ok, "a key that there is may send");
    if (instance.memory.list.isDue(now)) {
      await instance.memory.list.read(namespace, now);
    }
    if (now >= instance.dueAt) {
      instance.times.sent(instance.dueAt);
      instance.dueAt = Number.POSITIVE_INFINITY;
      reports++;
    }
    const ms = instance.times.arm(now, false);
    if (ms !== undefined) {
      instance.dueAt = now + ms;
    }
  }
  return { requests, lookUps, lists, reports };
}
