/**
 * What the console calls, each under the name that a failure is reported with. A read is waited for as long as
 * `limits.glanceMs`; an action is not given up: it may be done although its answer is late.
 */
import { type ClickHouseConnection, connectClickHouse } from "../../shared/clickhouse/connection.ts";
import { dependencyOf } from "../../shared/dependency.ts";
import { limits } from "../../shared/limits.ts";
import type { ConsoleBindings, MeterNamespace } from "./bindings.ts";

export interface NamedBindings extends ConsoleBindings {
  /** How long an answer is waited for, ms; null: as long as the platform does. */
  readonly patienceMs: number | null;
  /** Who asks, once the entrance has let them in. */
  who: string;
}

/** Each is named when it is asked for. */
export function nameDependencies(env: ConsoleBindings, patienceMs: number | null): NamedBindings {
  return {
    ...env,
    patienceMs,
    who: "",
    get KEYS() {
      return dependencyOf(env.KEYS, "kv", patienceMs);
    },
    get PAYLOADS() {
      return dependencyOf(env.PAYLOADS, "r2", patienceMs);
    },
    get CONSUMER() {
      return dependencyOf(env.CONSUMER, "consumer", patienceMs);
    },
    get METER() {
      return nameMeters(env.METER, patienceMs);
    },
  };
}

function nameMeters(meters: MeterNamespace, patienceMs: number | null): MeterNamespace {
  return {
    idFromName: (tenant) => meters.idFromName(tenant),
    get: (id) => dependencyOf(meters.get(id), "meter", patienceMs),
  };
}

/** For reading. */
export function clickHouseOf(env: NamedBindings): ClickHouseConnection {
  const connection = connectClickHouse(env, env.CLICKHOUSE, fetch, "read_only");
  const { patienceMs } = env;
  return patienceMs === null ? connection : { ...connection, patienceMs };
}

/** Questions whose answer is a list to act on, a look at every part, or a search with a patience of its own: worth more than a glance. */
const thorough = /^\/api\/(doctor|payloads|traces?|trace-[a-z]+)$/;

/** How long a request's questions are waited for, ms. */
export function patienceFor(request: Request): number | null {
  return request.method === "GET" && !thorough.test(new URL(request.url).pathname) ? limits.glanceMs : null;
}
