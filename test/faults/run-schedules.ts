/** Shares schedules out over threads, and says in one text what was run, at what rate, and what struck how often. */
import type { Failure, Share, ShareResult } from "./schedule-worker.ts";
import { bundleModel, ModelThread } from "./threads.ts";
import { type Profile, smallWorlds } from "./world/profile.ts";

export interface Ran {
  readonly schedules: number;
  readonly failure: Failure | null;
  /** How often what struck. */
  readonly struck: ReadonlyMap<string, number>;
  readonly text: string;
}

/** Schedules by seed, in shares that are small enough to keep all threads busy to the end. */
export function seedShares(
  profiles: readonly string[],
  firstSeed: number,
  schedules: number,
): readonly Share[] {
  const each = 2500;
  const stride = Math.ceil(schedules / each);
  return Array.from({ length: stride }, (_, i) => ({
    kind: "seeds",
    profiles,
    firstSeed: firstSeed + i,
    stride,
    schedules: Math.min(each, schedules - i * each),
  }));
}

/** Every schedule of these small worlds, or so many of each, a world per share. */
export function everyShare(
  worlds: readonly Profile[] = smallWorlds,
  schedules: number = Number.MAX_SAFE_INTEGER,
): readonly Share[] {
  return worlds.map(({ name }) => ({ kind: "every", worlds: [name], schedules }));
}

export async function runShares(shares: readonly Share[], threads: number): Promise<Ran> {
  const bundle = await bundleModel();
  const began = performance.now();
  const queue = [...shares];
  const results: ShareResult[] = [];
  const work = async (): Promise<void> => {
    const thread = new ModelThread(bundle);
    try {
      for (let share = queue.shift(); share !== undefined; share = queue.shift()) {
        const result = await thread.run(share);
        results.push(result);
        if (result.failure !== null) {
          queue.length = 0;
        }
      }
    } finally {
      await thread.close();
    }
  };
  await Promise.all(Array.from({ length: threads }, work));
  const seconds = (performance.now() - began) / 1000;
  const sum = (of: (result: ShareResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const struck = new Map<string, number>();
  for (const result of results) {
    for (const [fault, times] of Object.entries(result.struck)) {
      struck.set(fault, (struck.get(fault) ?? 0) + times);
    }
  }
  const ran = sum((result) => result.schedules);
  const faults = [...struck].sort(([, a], [, b]) => b - a).map(([fault, times]) => `${times} ${fault}`);
  return {
    schedules: ran,
    struck,
    failure: results.find(({ failure }) => failure !== null)?.failure ?? null,
    text: `${ran} schedules in ${seconds.toFixed(1)} s, ${Math.round(ran / seconds)} a second on ${threads} threads: ${sum(({ payloads }) => payloads)} payloads, ${sum(({ steps }) => steps)} steps; ${faults.join(", ")}`,
  };
}
