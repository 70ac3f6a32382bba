/**
 * A binding whose failures say who failed: the platform's errors ("internal error; reference = …") name neither the service
 * nor the binding, and an operator who reads one at night has four services to choose from. Where a patience is set, a
 * call that is not answered within it has failed too.
 */
import { within } from "./clickhouse/patience.ts";

/** The services beside ClickHouse, as messages name them: what it is, and the binding by which wrangler.toml addresses it. */
export const dependencies = {
  r2: "R2 (bucket binding PAYLOADS)",
  kv: "KV (namespace binding KEYS)",
  meter: "the Meter (Durable Object binding METER)",
  collector: "the collector (Durable Object binding COLLECTOR)",
  ledger: "the ledger (Durable Object binding LEDGER)",
  consumer: "the consumer (service binding CONSUMER)",
  ringQueue: "the queue of doorbells (binding RING)",
  groupQueue: "the queue of groups (binding GROUP)",
  outcomesQueue: "the queue of outcomes (binding OUTCOMES)",
} as const;
export type Dependency = keyof typeof dependencies;

/** Example: "R2 (bucket binding PAYLOADS) does not answer (no answer within 4 s)". */
export class DependencyFailed extends Error {
  override readonly name = "DependencyFailed";

  constructor(dependency: Dependency, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    // Across a Worker's border an error keeps its message only: who failed behind it is named in that already.
    const named = namedIn(why);
    super(named ?? `${dependencies[dependency]} does not answer (${why})`, { cause });
  }
}

/** The sentence of a failure that was named before it crossed a border; undefined: it was not. */
function namedIn(text: string): string | undefined {
  return /(?:ClickHouse at \S+|(?:R2|KV|the [\w ]+) \([\w ]*binding \w+\)) does not answer \(.*$/s.exec(
    text,
  )?.[0];
}

/** Each call of `binding` fails as `DependencyFailed`, at the latest after `patienceMs` (null: when the platform gives up). */
export function dependencyOf<T extends object>(
  binding: T,
  dependency: Dependency,
  patienceMs: number | null = null,
): T {
  return new Proxy(binding, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target);
      if (typeof method !== "function") {
        return method;
      }
      // `Reflect.apply`, for a stub takes every property for the name of a remote method: `call` and `apply` too.
      return async (...given: readonly unknown[]): Promise<unknown> => {
        const call = async (): Promise<unknown> => await Reflect.apply(method, target, given);
        try {
          return patienceMs === null ? await call() : await within(patienceMs, call);
        } catch (error) {
          throw new DependencyFailed(dependency, error);
        }
      };
    },
  });
}
