/**
 * What many instances of the ingress's module ask of KV for their keys, and how often they report outcomes: the product's own
 * `KeyMemory` and `authenticate`, for requests at random, by a clock that jumps. All instances are in one process here; on the
 * platform each is an isolate, whose number and life nobody promises.
 */
import { apiKeyName, formatApiKey, keyNamePrefix } from "../../shared/api-key.ts";
import { assert } from "../../shared/assert.ts";
import { leaseKept, type MeteredAccount, meteredAccount } from "../../shared/meter/kept-account.ts";
import type { Asks } from "../../shared/meter/key-limits.ts";
import { ReportTimes } from "../../shared/report-times.ts";
import { authenticate, KeyMemory, type Sender } from "../../workers/ingress/authenticate.ts";
import type { IngressBindings } from "../../workers/ingress/bindings.ts";
import { isCharged, type Leases, openCharge } from "../../workers/ingress/charge-request.ts";
import type { MeteredKey } from "../../workers/ingress/meter-object.ts";
import { Tally } from "../../workers/ingress/tally.ts";
import { Random } from "../random.ts";

export interface InstancesRun {
  /** Requests per second, of all instances together. */
  readonly rate: number;
  readonly instances: number;
  readonly keys: number;
  /** Whether each key has a rate and a quota, which it does not reach. */
  readonly isLimited: boolean;
}

export interface CountedInstances {
  readonly requests: number;
  readonly lookUps: number;
  readonly lists: number;
  readonly reports: number;
  readonly meterCalls: number;
  readonly meterRows: number;
}

/** KV pages of a list have so many names. */
const pageKeys = 1000;
const spansARequest = 100;
const bytesARequest = 20_000;
/** A Durable Object that nobody called for so long starts anew. */
const hibernatesMs = 10_000;

/** The first two minutes, in which the instances learn, are not counted; the six behind them are. */
export async function countInstances(run: InstancesRun): Promise<CountedInstances> {
  const { rate, instances, keys } = run;
  const random = new Random(instances + keys);
  const senders = await Promise.all(
    Array.from({ length: keys }, async () => {
      const key = formatApiKey(Uint8Array.from({ length: 52 }, () => random.below(256)));
      return { headers: new Headers({ "x-api-key": key }), name: await apiKeyName(key) };
    }),
  );
  const kv = new CountedKeys(senders.map(({ name }) => name).sort(), recordOf(run));
  const meters = new CountedMeters();
  const all = Array.from({ length: instances }, () => new Instance(kv, meters));
  const [learnt, end] = [120_000, 480_000];
  const realNow = Date.now;
  let [requests, reports] = [0, 0];
  let isCounted = false;
  for (let now = 0; now < end; now += (-Math.log(1 - random.next() / 2 ** 32) / rate) * 1000) {
    if (!isCounted && now >= learnt) {
      isCounted = true;
      [requests, reports, kv.lookUps, kv.lists, meters.calls, meters.rows] = [0, 0, 0, 0, 0, 0];
    }
    const at = now;
    Date.now = () => at;
    requests++;
    const isReported = await random.pick(all).receive(random.pick(senders).headers, now);
    reports += isReported ? 1 : 0;
  }
  Date.now = realNow;
  const { lookUps, lists } = kv;
  return { requests, lookUps, lists, reports, meterCalls: meters.calls, meterRows: meters.rows };
}

function recordOf({ rate, keys, isLimited }: InstancesRun): unknown {
  const aKey = (rate * spansARequest) / keys;
  return {
    tenant: "acme",
    name: "bench",
    status: "active",
    sample: 1,
    origins: [],
    spansPerSecond: isLimited ? Math.max(10 * spansARequest, 5 * Math.ceil(aKey)) : null,
    burstSpans: null,
    spansPerMonth: isLimited ? 1_000_000_000_000 : null,
  };
}

class Instance {
  readonly #memory = new KeyMemory();
  readonly #leases: Leases = new Map();
  readonly #times = new ReportTimes();
  #dueAt = Number.POSITIVE_INFINITY;
  readonly #kv: CountedKeys;
  readonly #meters: CountedMeters;

  constructor(kv: CountedKeys, meters: CountedMeters) {
    this.#kv = kv;
    this.#meters = meters;
  }

  /** A request that is accepted. True: outcomes were reported before it. */
  async receive(headers: Headers, now: number): Promise<boolean> {
    const KEYS = this.#kv.namespace;
    const env = { KEYS, UNKNOWN_KEYS: { limit: () => Promise.resolve({ success: true }) } };
    const found = await authenticate(headers, env, this.#memory, now, new Tally());
    assert(found.ok, "a key that there is may send");
    if (isCharged(found.value)) {
      await this.#charge(found.value);
    }
    if (this.#memory.list.isDue(now)) {
      await this.#memory.list.read(KEYS, now);
    }
    const isReported = now >= this.#dueAt;
    if (isReported) {
      this.#times.sent(this.#dueAt);
      this.#dueAt = Number.POSITIVE_INFINITY;
    }
    const ms = this.#times.arm(now, false);
    if (ms !== undefined) {
      this.#dueAt = now + ms;
    }
    return isReported;
  }

  async #charge(sender: Sender): Promise<void> {
    const { namespace } = this.#meters;
    const charge = await openCharge(sender, bytesARequest, namespace, this.#leases, new Tally());
    assert(charge.ok, "a key that is within its limits may send");
    const spent = await charge.value.spend({ spans: spansARequest, bytes: bytesARequest });
    assert(spent.ok, "a key that is within its limits may send");
    charge.value.settle("all");
  }
}

/** KV with the keys, and what it is asked. */
class CountedKeys {
  lookUps = 0;
  lists = 0;
  readonly #names: readonly string[];
  readonly #metadata: unknown;

  constructor(names: readonly string[], metadata: unknown) {
    this.#names = names;
    this.#metadata = metadata;
  }

  readonly namespace = {
    get: () => {
      this.lookUps++;
      return Promise.resolve(this.#metadata);
    },
    list: ({ prefix, cursor }: { readonly prefix: string; readonly cursor: string | null }) => {
      assert(prefix === keyNamePrefix, "keys are listed");
      this.lists++;
      const from = Number(cursor ?? 0);
      const page = this.#names.slice(from, from + pageKeys);
      const keys = page.map((name) => ({ name, metadata: this.#metadata }));
      const to = from + page.length;
      return Promise.resolve({ keys, list_complete: to === this.#names.length, cursor: String(to) });
    },
  } as unknown as KVNamespace;
}

/** The Meters of all tenants, of which each key here has its own: the product's rules, and how often an account is written. */
class CountedMeters {
  calls = 0;
  rows = 0;
  readonly #accounts = new Map<string, { metered: MeteredAccount; calledAt: number }>();
  readonly namespace = {
    idFromName: (name: string) => name,
    get: () => ({
      leaseUnits: ({ account, limits }: MeteredKey, asks: Asks) => {
        const now = Date.now();
        this.calls++;
        const present = this.#accounts.get(account);
        const before = present?.metered ?? meteredAccount();
        const isAwake = present !== undefined && now - present.calledAt < hibernatesMs;
        const known = isAwake ? before : meteredAccount(before.kept);
        const { metered, answers } = leaseKept(known, limits, asks, now);
        this.rows += metered.kept === known.kept ? 0 : 1;
        this.#accounts.set(account, { metered, calledAt: now });
        return Promise.resolve({ answers });
      },
    }),
  } as unknown as IngressBindings["METER"];
}
