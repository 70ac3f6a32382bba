/** The two places where the stages run, and how much CPU they take there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { bundleWorker } from "../dev/bundle.ts";
import { forkChild } from "./ask-child.ts";
import { cpuSecondsOf, treeOf } from "./process-cost.ts";
import type { ChildRequest } from "./transcode-child.ts";
import type { Bodies, StageName } from "./transcode-stages.ts";

export interface Runtime {
  readonly name: string;
  /** Gives the runtime the bodies that `run` goes over. */
  load(bodies: Bodies): Promise<void>;
  /** Goes `passes` times over the bodies; returns the CPU seconds that the process took. */
  run(stage: StageName, passes: number): Promise<number>;
  close(): Promise<void>;
}

export function nodeRuntime(): Runtime {
  const { ask, close } = forkChild<ChildRequest>("transcode-child.ts");
  return {
    name: `Node ${process.version}`,
    load: async (bodies) => {
      await ask({ load: bodies });
    },
    run: (stage, passes) => ask({ run: { stage, passes } }),
    close,
  };
}

/** workerd under Miniflare. Its CPU time is read from Linux's /proc, in ticks of 10 ms; undefined elsewhere. */
export async function workerdRuntime(): Promise<Runtime | undefined> {
  if (process.platform !== "linux") {
    return undefined;
  }
  const { pidOf } = newWorkerdPid();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: await bundleWorker(join(import.meta.dirname, "transcode-worker.ts")),
      compatibilityDate: "2026-11-02",
      compatibilityFlags: ["nodejs_compat"],
      log: new Log(LogLevel.ERROR),
    }),
  );
  const url = await miniflare.ready;
  const pid = pidOf();
  const ask = async (path: string, body?: Uint8Array<ArrayBuffer>): Promise<void> => {
    const response = await fetch(new URL(path, url), body === undefined ? {} : { method: "POST", body });
    if (!response.ok) {
      throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
    }
    await response.text();
  };
  return {
    name: "workerd",
    load: async ({ spansEach, gzips, bounds }) => {
      const query = new URLSearchParams({
        spans: String(spansEach),
        min: String(bounds.startMinMs),
        max: String(bounds.startMaxMs),
      });
      await ask(`/bodies?${query}`, framed(gzips));
    },
    run: async (stage, passes) => {
      const start = cpuSecondsOf(pid);
      await ask(`/run?stage=${stage}&passes=${passes}`);
      return cpuSecondsOf(pid) - start;
    },
    close: () => miniflare.dispose(),
  };
}

/** Each body behind its length in four bytes. */
function framed(bodies: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bodies.reduce((sum, body) => sum + 4 + body.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const body of bodies) {
    view.setUint32(at, body.length, true);
    bytes.set(body, at + 4);
    at += 4 + body.length;
  }
  return bytes;
}

/** Remembers which processes there are; `pidOf` then finds the workerd that was started since. Throws without one. */
export function newWorkerdPid(): { readonly pidOf: () => number } {
  const before = new Set(treeOf(process.pid));
  return {
    pidOf: () => {
      const pid = treeOf(process.pid).find(
        (child) => !before.has(child) && readFileSync(`/proc/${child}/cmdline`, "utf8").includes("workerd"),
      );
      if (pid === undefined) {
        throw new Error("Miniflare started no workerd");
      }
      return pid;
    },
  };
}
