/** Shares schedules out over threads, and says in one text what was run, at what rate, and what struck how often. */
import type { Failure } from "./schedule-worker.ts";
import { bundleModel, runInThread } from "./threads.ts";

export interface Wanted {
  readonly profiles: readonly string[];
  readonly firstSeed: number;
  readonly schedules: number;
  readonly threads: number;
}

export interface Ran {
  readonly schedules: number;
  readonly failure: Failure | null;
  readonly text: string;
}

export async function runSchedules({ profiles, firstSeed, schedules, threads }: Wanted): Promise<Ran> {
  const bundle = await bundleModel();
  const began = performance.now();
  const share = Math.ceil(schedules / threads);
  const results = await Promise.all(
    Array.from({ length: threads }, (_, i) =>
      runInThread(bundle, {
        kind: "seeds",
        profiles,
        firstSeed: firstSeed + i,
        stride: threads,
        schedules: share,
      }),
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  const sum = (of: (result: (typeof results)[number]) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const struck = new Map<string, number>();
  for (const result of results) {
    for (const [fault, times] of Object.entries(result.struck)) {
      struck.set(fault, (struck.get(fault) ?? 0) + times);
    }
  }
  const ran = sum((result) => result.schedules);
  const faults = [...struck].sort(([, a], [, b]) => b - a).map(([fault, times]) => `${times} ${fault}`);
  const text = `${ran} schedules from seed ${firstSeed} in ${seconds.toFixed(1)} s, ${Math.round(ran / seconds)} a second on ${threads} threads: ${sum(({ payloads }) => payloads)} payloads, ${sum(({ steps }) => steps)} steps; ${faults.join(", ")}`;
  return { schedules: ran, failure: results.find(({ failure }) => failure !== null)?.failure ?? null, text };
}
