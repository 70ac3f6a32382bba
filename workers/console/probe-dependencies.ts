/**
 * Do R2, KV and the Meter answer? The ingress needs them, but answers only its clients. So
 * each is asked for something small when somebody asks for the pipeline's state, once in ten seconds for each Worker
 * instance.
 */
import { type Dependency, DependencyFailed } from "../../shared/dependency.ts";
import { sinceText } from "../../shared/ledger/trouble.ts";
import { limits } from "../../shared/limits.ts";
import { writeLog } from "../../shared/write-log.ts";
import type { ConsoleBindings } from "./bindings.ts";
import { nameDependencies } from "./name-dependencies.ts";

export const probed = ["r2", "kv", "meter"] as const satisfies readonly Dependency[];
type Probed = (typeof probed)[number];

export interface Unreachable {
  readonly dependency: Probed;
  /** Who does not answer, since when this Worker instance knows of it, and what that means for clients. */
  readonly text: string;
}

/** What was learnt last, one per Worker instance. `at`, `since`: ms since the epoch. */
export interface LastProbe {
  at: number;
  readonly failed: Map<Probed, { readonly since: number; readonly text: string }>;
}

export function neverProbed(): LastProbe {
  return { at: 0, failed: new Map() };
}

const consequences: Readonly<Record<Probed, string>> = {
  r2: "Clients get 503 and retry; nothing that was accepted is lost.",
  kv: "Keys that were used in the last 30 s still work, others get 503 and retry.",
  meter: "Requests are admitted, and counted as unmetered.",
};

/** Those that do not answer. `now`: ms since the epoch. Never throws. */
export async function probeDependencies(
  env: ConsoleBindings,
  last: LastProbe,
  now: number,
): Promise<readonly Unreachable[]> {
  // While one request asks, others are answered by what was learnt before: none may wait for what another one asked.
  if (now - last.at >= limits.healthFreshMs) {
    last.at = now;
    await askEach(nameDependencies(env, limits.glanceMs), last, now);
  }
  return probed.flatMap((dependency) => {
    const failure = last.failed.get(dependency);
    return failure === undefined
      ? []
      : [
          {
            dependency,
            text: `${failure.text}, ${sinceText(failure.since, now)} or earlier. ${consequences[dependency]}`,
          },
        ];
  });
}

async function askEach(env: ConsoleBindings, { failed }: LastProbe, now: number): Promise<void> {
  const questions: Readonly<Record<Probed, () => Promise<unknown>>> = {
    r2: () => env.PAYLOADS.head("probe"),
    kv: () => env.KEYS.get("probe"),
    meter: () => env.METER.get(env.METER.idFromName("probe")).usage(),
  };
  await Promise.all(
    probed.map(async (dependency) => {
      try {
        await questions[dependency]();
        failed.delete(dependency);
      } catch (error) {
        const text = error instanceof DependencyFailed ? error.message : String(error);
        failed.set(dependency, { since: failed.get(dependency)?.since ?? now, text });
        writeLog("error", { message: text, dependency });
      }
    }),
  );
}
